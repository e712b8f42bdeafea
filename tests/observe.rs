//! Observers: they see what passes, and nobody sees them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{Delivery, Request};
use packetring::inventory::{ObjectInfo, ObjectKind};
use packetring::observe::{JoinedObserver, ObserveFrom, Observed, Observer};
use packetring::{
    Board, OpenError, Overflow, RecvError, Ring, TryRecvError, TrySendError, Worker, inventory,
    one_of, packet,
};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::unique;

/// A packet whose words all follow from the first.
#[packet]
struct Checked {
    number: u64,
    words: Vec<u64>,
}

impl Checked {
    fn of(number: u64) -> Self {
        Self { number, words: (0..number % 23).map(|index| number ^ index).collect() }
    }
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "publish" => publish(&role),
        other => panic!("{other}"),
    }
}

/// Publishes numbers from 0 on until it is killed. Argument: ring.
fn publish(role: &Role) {
    let ring = Ring::attach(&role.arguments[0]).unwrap();
    let mut out = ring.publisher::<Checked>().unwrap();
    peer::say("publishing");
    for number in 0.. {
        out.send(&Checked::of(number)).unwrap();
    }
}

/// The listed object of this name: of a plain ring, or of a cluster.
fn listed(name: &str, is_it: impl Fn(&ObjectInfo) -> bool) -> ObjectInfo {
    let is_named = |object: &ObjectInfo| {
        object.name == name && object.cluster.is_none() || object.cluster.as_deref() == Some(name)
    };
    inventory().unwrap().into_iter().find(|object| is_named(object) && is_it(object)).unwrap()
}

fn observer(name: &str, from: ObserveFrom) -> Observer {
    Observer::open(&listed(name, |_| true), from).unwrap()
}

/// The next packet as a number.
fn number(observer: &mut Observer) -> u64 {
    match observer.try_next().unwrap() {
        Observed::Next(packet) => packet.open_as::<u64>().unwrap().to_native(),
        other => panic!("{other:?}"),
    }
}

fn is_nothing(observer: &mut Observer) -> bool {
    matches!(observer.try_next().unwrap(), Observed::Nothing)
}

#[test]
fn what_is_read_was_published_and_the_rest_is_counted() {
    let name = unique("observe-stream");
    let ring = Ring::builder().capacity(16 << 10).open(&name).unwrap();
    let mut publisher = Peer::start(&format!("publish {name}"));
    publisher.expect("publishing");
    let mut observer = observer(&name, ObserveFrom::Now);
    let (mut packets, mut skips, mut next, mut end) = (0, 0, None, 0);
    while packets < 5_000 || skips < 5 {
        match observer.try_next().unwrap() {
            Observed::Next(packet) => {
                let found = packet.open_as::<Checked>().unwrap();
                let number = found.number.to_native();
                assert_eq!(found.words.len() as u64, number % 23);
                assert!((0..).zip(found.words.iter()).all(|(i, word)| *word == number ^ i));
                assert!(next.is_none_or(|next| next == number), "{number} instead of {next:?}");
                // Padding is passed over without a word.
                assert!(packet.position() >= end, "{} is below {end}", packet.position());
                (next, end) = (Some(number + 1), packet.position() + packet.slots());
                packets += 1;
                if packets % 500 == 0 {
                    // The observer falls behind.
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Observed::Skipped { slots } => {
                assert!(slots > 0);
                (skips, next, end) = (skips + 1, None, end + slots);
            }
            Observed::Nothing => {}
            other => panic!("{other:?}"),
        }
    }
    publisher.kill();
    drop(ring);
}

#[test]
fn nobody_sees_an_observer() {
    let name = unique("observe-unseen");
    let ring = Ring::builder().capacity(4096).open(&name).unwrap();
    let mut reader = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let object = listed(&name, |_| true);
    let bytes = || fs::read(&object.path).unwrap();
    (0..40).for_each(|number| {
        out.send(&number).unwrap();
    });
    let before = bytes();
    let mut observer = observer(&name, ObserveFrom::Backlog);
    assert_eq!(observer.backlog_slots(), 40);
    for expected in 0..40 {
        assert_eq!(number(&mut observer), expected);
        assert_eq!(observer.backlog_slots(), 39 - expected);
    }
    assert!(is_nothing(&mut observer));
    let waited = observer.next_timeout(Duration::from_millis(5)).unwrap();
    assert!(matches!(waited, Observed::Nothing));
    assert_eq!(bytes(), before, "an observer changed a byte");
    // It holds no packet back, and keeps none.
    (0..40).for_each(|expected| assert_eq!(*reader.recv().unwrap(), expected));
    let room = (0..).take_while(|number| out.try_send(number).is_ok()).count();
    assert_eq!(room, 64, "slots of the ring");
    assert!(matches!(out.try_send(&0), Err(TrySendError::Full { .. })));
}

#[test]
fn a_ring_without_subscribers_can_be_read_back() {
    let name = unique("observe-back");
    let ring = Ring::builder().capacity(4096).open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut observer = observer(&name, ObserveFrom::Now);
    for round in 0..100 {
        // Three quarters of 64 slots.
        (0..48).for_each(|index| {
            out.send(&(round * 48 + index)).unwrap();
        });
        (0..48).for_each(|index| assert_eq!(number(&mut observer), round * 48 + index));
    }
}

#[test]
fn drop_oldest_and_shared_rings_are_read() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        let name = unique("observe-shared");
        let ring = Ring::builder().shared().overflow(overflow).open(&name).unwrap();
        let mut slow = ring.subscriber::<u64>().unwrap();
        let mut outs = [(); 3].map(|()| ring.publisher::<u64>().unwrap());
        let mut observer = observer(&name, ObserveFrom::Now);
        for number in 0..3000 {
            outs[number as usize % 3].send(&number).unwrap();
        }
        (0..3000).for_each(|expected| assert_eq!(number(&mut observer), expected));
        assert_eq!(*slow.recv().unwrap(), 0);
    }
}

#[one_of]
enum Note {
    Number(u64),
    Text(String),
}

#[test]
fn messages_show_their_senders() {
    let cluster = unique("observe-inbox");
    let [one, two] = ["one", "two"].map(|name| Worker::join(&cluster, name).unwrap());
    let mut inbox = one.inbox().unwrap();
    let found = listed(&cluster, |object| object.kind == ObjectKind::Inbox);
    let mut observer = Observer::open(&found, ObserveFrom::Now).unwrap();
    two.send_to("one", &5_u64).unwrap();
    one.send_to("one", &"six".to_owned()).unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let Observed::Next(packet) = observer.try_next().unwrap() else { panic!("no packet") };
        seen.push((packet.sender().unwrap(), packet.type_name().to_owned()));
        assert_eq!(packet.event(), None);
    }
    assert_eq!((seen[0].0, seen[1].0), (two.id(), one.id()));
    assert_eq!(seen[0].1, "u64");
    // The messages are still there.
    for _ in 0..2 {
        let message = inbox.recv().unwrap();
        assert!(message.open::<Note>().unwrap().is_some());
        message.ack();
    }
    drop(inbox);
    one.leave().unwrap();
}

#[test]
fn events_show_their_names() {
    let cluster = unique("observe-events");
    let worker = Worker::join(&cluster, "one").unwrap();
    let mut events = worker.events().unwrap();
    let found = listed(&cluster, |object| object.kind == ObjectKind::Events);
    let mut observer = Observer::open(&found, ObserveFrom::Now).unwrap();
    events.emit("opened", &7_u64).unwrap();
    let Observed::Next(packet) = observer.try_next().unwrap() else { panic!("no packet") };
    assert_eq!((packet.event(), packet.sender()), (Some("opened"), Some(worker.id())));
    assert_eq!(*packet.open_as::<u64>().unwrap(), 7);
    let error = packet.open_as::<u32>().unwrap_err().to_string();
    assert!(error.contains("expected u32") && error.contains("found u64"), "{error}");
}

#[test]
fn jobs_and_requests_are_read_and_not_taken() {
    let cluster = unique("observe-jobs");
    let worker = Worker::join(&cluster, "one").unwrap();
    let mut jobs = worker.queue::<u64>("resize").unwrap();
    let mut out = worker.queue_publisher::<u64>("resize").unwrap();
    let found = listed(&cluster, |object| object.kind == ObjectKind::Queue);
    let mut observer = Observer::open(&found, ObserveFrom::Now).unwrap();
    out.send(&3).unwrap();
    assert_eq!(number(&mut observer), 3);
    let job = jobs.recv().unwrap();
    assert_eq!(*job, 3);
    Delivery::ack(job);
    assert!(is_nothing(&mut observer));

    let mut server = worker.service::<u64, u64>("double").unwrap();
    let client = worker.client::<u64, u64>("double").unwrap();
    let found = listed(&cluster, |object| object.kind == ObjectKind::Requests);
    let mut observer = Observer::open(&found, ObserveFrom::Now).unwrap();
    let call = client.start(&21).unwrap();
    assert_eq!(number(&mut observer), 21);
    let request = server.recv().unwrap();
    let answer = *request * 2;
    Request::reply(request, &answer).unwrap();
    assert_eq!(*call.wait().unwrap(), 42);
}

#[test]
fn only_rings_are_observed() {
    let name = unique("observe-board");
    let _board = Board::<u64>::open(&name).unwrap();
    let error = Observer::open(&listed(&name, |_| true), ObserveFrom::Now).unwrap_err();
    assert!(matches!(error, OpenError::BadSettings { .. }), "{error}");
    assert!(error.to_string().contains("holds no packets"), "{error}");

    let gone = unique("observe-gone");
    let ring = Ring::open(&gone).unwrap();
    let object = listed(&gone, |_| true);
    drop(ring);
    let error = Observer::open(&object, ObserveFrom::Now).unwrap_err();
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
}

#[test]
fn the_last_packets_of_a_removed_ring_are_read() {
    let name = unique("observe-removed");
    let ring = Ring::open(&name).unwrap();
    let mut observer = observer(&name, ObserveFrom::Now);
    ring.publisher::<u64>().unwrap().send(&1).unwrap();
    drop(ring);
    // The name is that of another ring now.
    let again = Ring::open(&name).unwrap();
    again.publisher::<u64>().unwrap().send(&2).unwrap();
    assert_eq!(number(&mut observer), 1);
    for _ in 0..2 {
        assert!(matches!(observer.try_next().unwrap(), Observed::Removed));
    }
    let waited = observer.next_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(waited, Observed::Removed));
}

/// A type's index is given to another type while the observer still has packets ahead.
#[test]
fn a_packet_is_never_taken_for_one_of_another_type() {
    let name = unique("observe-types");
    let ring = Ring::open(&name).unwrap();
    let mut observer = observer(&name, ObserveFrom::Now);
    ring.publisher::<u64>().unwrap().send(&1).unwrap();
    // A ring with one type has one index, which now is that of `u32`.
    let mut out = ring.publisher::<u32>().unwrap();
    out.send(&2).unwrap();
    let mut known = 0;
    for round in 0..50 {
        match observer.try_next().unwrap() {
            Observed::Next(packet) => match packet.fingerprint() {
                None => {
                    assert!(packet.type_name().is_empty() && packet.carried().is_none());
                    let refused = packet.open_as::<u64>();
                    assert!(matches!(refused, Err(RecvError::TypeMismatch(_))), "{refused:?}");
                }
                Some(_) if round == 0 => panic!("the index has had two types: {packet:?}"),
                Some(_) => {
                    assert_eq!(packet.type_name(), "u32");
                    assert!(*packet.open_as::<u32>().unwrap() >= 2);
                    known += 1;
                }
            },
            other => panic!("{other:?}"),
        }
        out.send(&(round + 3)).unwrap();
    }
    assert!(known >= 48, "{known} packets had a type");
}

#[cfg(feature = "dynamic")]
#[test]
fn packets_are_read_without_their_types() {
    let name = unique("observe-dynamic");
    let ring = Ring::open(&name).unwrap();
    let mut observer = observer(&name, ObserveFrom::Now);
    ring.publisher::<Checked>().unwrap().send(&Checked::of(3)).unwrap();
    let Observed::Next(packet) = observer.try_next().unwrap() else { panic!("no packet") };
    let schema = packet.schema().unwrap();
    let value = packet.value(&schema).unwrap();
    assert_eq!(value.to_string(), r#"{"number":3,"words":[3,2,1]}"#);
    let other = packetring::dynamic::layout_of::<u64>().unwrap();
    assert!(matches!(packet.value(&other), Err(RecvError::TypeMismatch(_))));
}

/// A claim that was given up is a void packet.
#[test]
fn a_void_packet_does_not_end_a_wait() {
    let name = unique("observe-void");
    let ring = Ring::builder().shared().open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut observer = observer(&name, ObserveFrom::Now);
    drop(out.reserve().unwrap());
    let (asked, is_asked) = std::sync::mpsc::channel();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(move || {
            asked.send(()).unwrap();
            match observer.next_timeout(Duration::from_secs(60)).unwrap() {
                Observed::Next(packet) => packet.open_as::<u64>().unwrap().to_native(),
                other => panic!("{other:?}"),
            }
        });
        is_asked.recv().unwrap();
        // Without this pause the packet can come before the wait.
        std::thread::sleep(Duration::from_millis(20));
        out.send(&5).unwrap();
        assert_eq!(waiting.join().unwrap(), 5);
    });
}

#[test]
fn an_observer_goes_to_another_thread() {
    let name = unique("observe-thread");
    let ring = Ring::open(&name).unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut observer = observer(&name, ObserveFrom::Now);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for expected in 0..1000 {
                loop {
                    match observer.next_timeout(Duration::from_secs(30)).unwrap() {
                        Observed::Next(packet) => {
                            assert_eq!(*packet.open_as::<u64>().unwrap(), expected);
                            break;
                        }
                        Observed::Nothing => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            is_done.store(true, Ordering::Relaxed);
        });
        (0..1000).for_each(|number| {
            out.send(&number).unwrap();
        });
    });
    assert!(is_done.into_inner());
}

/// What both kinds of observers report of a packet.
type Seen = (u64, String, Option<u16>, Option<String>, Vec<u8>);

/// All packets that are there.
fn drain(observer: &mut JoinedObserver) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let result = observer.try_each(|packet| {
            let event = packet.event().map(str::to_owned);
            let (name, sender) = (packet.type_name().to_owned(), packet.sender().map(|id| id.0));
            seen.push((packet.position(), name, sender, event, packet.archive().to_vec()));
        });
        match result {
            Ok(number) => assert!(number > 0),
            Err(TryRecvError::Empty) => return seen,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The packets that an observer without a place finds.
fn observe(observer: &mut Observer) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Observed::Next(packet) = observer.try_next().unwrap() {
        let event = packet.event().map(str::to_owned);
        let (name, sender) = (packet.type_name().to_owned(), packet.sender().map(|id| id.0));
        seen.push((packet.position(), name, sender, event, packet.archive().to_vec()));
    }
    seen
}

#[test]
fn a_joined_observer_sees_the_same_and_publishers_wait_for_it() {
    let cluster = unique("joined");
    let worker = Worker::join(&cluster, "one").unwrap();
    let ring = Ring::builder().capacity(16 << 10).open(&cluster).unwrap();
    let mut out = ring.any_publisher().unwrap();
    let mut topic = worker.publisher::<Checked>("numbers").unwrap();
    let mut events = worker.events().unwrap();
    let plain = || listed(&cluster, |object| object.kind == ObjectKind::Ring);
    let joined = |kind| JoinedObserver::open(&listed(&cluster, |object| object.kind == kind));
    let passive = |kind| {
        Observer::open(&listed(&cluster, |object| object.kind == kind), ObserveFrom::Now).unwrap()
    };
    let kinds = [ObjectKind::Ring, ObjectKind::Topic, ObjectKind::Events];
    let mut both = kinds.map(|kind| (joined(kind).unwrap(), passive(kind)));
    for number in 0..20_u64 {
        out.send(&number).unwrap();
        out.send(&Checked::of(number)).unwrap();
        topic.send(&Checked::of(number)).unwrap();
        events.emit(&format!("event {number}"), &number).unwrap();
    }
    for (kind, (joined, passive)) in kinds.iter().zip(&mut both) {
        let seen = drain(joined);
        assert_eq!(seen, observe(passive), "{kind:?}");
        assert_eq!(seen.len(), if *kind == ObjectKind::Ring { 40 } else { 20 }, "{kind:?}");
        assert!(seen.iter().all(|(_, name, ..)| !name.is_empty()), "{kind:?}");
    }

    // No other subscriber is there, and the publisher does not pass it.
    let mut sent = 0;
    while out.try_send(&sent).is_ok() {
        sent += 1;
    }
    assert!(matches!(out.try_send(&sent), Err(TrySendError::Full { .. })));
    assert_eq!(drain(&mut both[0].0).len() as u64, sent);
    out.try_send(&sent).unwrap();
    assert_eq!(observer(&cluster, ObserveFrom::Now).backlog_slots(), 0);
    let found = plain();
    drop(both);
    drop((out, ring));
    assert!(matches!(JoinedObserver::open(&found), Err(OpenError::NotFound { .. })));
}

#[test]
fn no_observer_joins_where_it_would_take_or_lose_packets() {
    let cluster = unique("joined-not");
    let worker = Worker::join(&cluster, "one").unwrap();
    let inbox = worker.inbox().unwrap();
    let jobs = worker.queue::<u64>("jobs").unwrap();
    let service = worker.service::<u64, u64>("add").unwrap();
    let topic = worker.topic("drops").overflow(Overflow::DropOldest);
    let drops = topic.publisher::<u64>().unwrap();
    for (kind, says) in [
        (ObjectKind::Inbox, "an inbox has one receiver"),
        (ObjectKind::Queue, "each of its packets goes to one consumer"),
        (ObjectKind::Requests, "each of its packets goes to one consumer"),
        (ObjectKind::Directory, "it holds no packets"),
        (ObjectKind::Topic, "it drops the oldest packets"),
    ] {
        let error = JoinedObserver::open(&listed(&cluster, |object| object.kind == kind));
        let error = error.unwrap_err();
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
    drop((inbox, jobs, service, drops));
    worker.leave().unwrap();
}
