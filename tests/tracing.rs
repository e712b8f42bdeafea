//! Trace events: each comes from a real situation, with its fields. A subscriber may use the
//! library, and may panic. Needs the feature `tracing`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{Delivery, SendToError, WorkerChange};
use packetring::{
    Board, Missed, OpenError, Overflow, RecvError, RecvTimeoutError, Ring, RingBuilder, Worker,
    one_of, packet,
};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::peer::{self, Peer};
use support::{LONG, Watch, hold_control_lock, object, unique};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Metadata, Subscriber};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let name = &role.arguments[0];
    match role.name.as_str() {
        "reserve" => {
            let ring = small().shared().attach(name).unwrap();
            let mut out = ring.publisher::<[u64; 20]>().unwrap();
            let _reserved = out.reserve().unwrap();
            rest();
        }
        "consume" => {
            let worker = Worker::join(name, "killed").unwrap();
            let mut jobs = worker.queue::<u64>("jobs").unwrap();
            let _job = jobs.recv().unwrap();
            rest();
        }
        "work" => {
            let _worker = Worker::join(name, "killed").unwrap();
            rest();
        }
        "inbox" => {
            let worker = Worker::join(name, "killed").unwrap();
            let _inbox = worker.inbox().unwrap();
            rest();
        }
        "fork" => fork(name),
        other => panic!("unknown role: {other}"),
    }
}

/// Waits until the test is over or the process is killed.
fn rest() {
    peer::say("here");
    while peer::hear().is_some() {}
}

/// Starts a peer that has done its part when it says so.
fn start(role: &str, name: &str) -> Peer {
    let mut peer = Peer::start(&format!("{role} {name}"));
    peer.expect("here");
    peer
}

// ── A subscriber ─────────────────────────────────────────────────────────────────────────────

/// An event as the subscriber got it.
#[derive(Clone, Debug, Default)]
struct Recorded {
    level: String,
    target: String,
    message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        match field.name() {
            "message" => self.message = text,
            name => _ = self.fields.insert(name, text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

impl Recorded {
    #[track_caller]
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).unwrap_or_else(|| panic!("no field {field}: {self:?}"))
    }

    #[track_caller]
    fn number(&self, field: &str) -> u64 {
        self.get(field).parse().unwrap()
    }

    /// Asserts the level, the target below `packetring`, and the names of the fields.
    #[track_caller]
    fn is(&self, level: &str, target: &str, fields: &[&str]) -> &Self {
        let found: Vec<&str> = self.fields.keys().copied().collect();
        let mut expected = fields.to_vec();
        expected.sort_unstable();
        assert_eq!((&*self.level, found), (level, expected), "{self:?}");
        assert_eq!(self.target, format!("packetring::{target}"), "{self:?}");
        self
    }
}

/// What a subscriber does with each event.
type Callback = dyn Fn(&Recorded) + Send + Sync;

/// Records the events of this library, then calls back.
struct Recorder {
    events: Arc<Mutex<Vec<Recorded>>>,
    callback: Box<Callback>,
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("packetring::")
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut recorded = Recorded {
            level: metadata.level().to_string(),
            target: metadata.target().to_owned(),
            ..Recorded::default()
        };
        event.record(&mut recorded);
        self.events.lock().unwrap().push(recorded.clone());
        (self.callback)(&recorded);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The events so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Recorded>>>);

impl Log {
    fn named(&self, message: &str) -> Vec<Recorded> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|event| event.message == message).cloned().collect()
    }

    /// The only event with this message.
    #[track_caller]
    fn one(&self, message: &str) -> Recorded {
        match &self.named(message)[..] {
            [one] => one.clone(),
            found => panic!("{} events {message:?} in {:?}", found.len(), self.messages()),
        }
    }

    fn messages(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|event| event.message.clone()).collect()
    }
}

/// Runs `body` with a subscriber for the calling thread.
fn recorded(body: impl FnOnce(&Log)) -> Log {
    recorded_by(|_| {}, body)
}

fn recorded_by(
    callback: impl Fn(&Recorded) + Send + Sync + 'static,
    body: impl FnOnce(&Log),
) -> Log {
    let _watch = Watch::start();
    let log = Log::default();
    let recorder = Recorder { events: Arc::clone(&log.0), callback: Box::new(callback) };
    with_default(recorder, || body(&log));
    log
}

/// Holds 32 slots.
fn small() -> RingBuilder {
    Ring::builder().capacity(2048)
}

fn own_pid() -> u64 {
    u64::from(std::process::id())
}

// ── Segments and endpoints ───────────────────────────────────────────────────────────────────

#[test]
fn a_segment_is_made_and_removed_and_endpoints_join_and_leave() {
    let name = unique("tracing");
    let log = recorded(|_| {
        let ring = small().open(&name).unwrap();
        let reader = ring.subscriber::<u64>().unwrap();
        let writer = ring.publisher::<u64>().unwrap();
        let second = ring.durable::<u64>("audit").unwrap();
        drop((writer, reader, second));
        assert!(ring.remove_durable("audit").unwrap());
    });
    let shown = format!("ring {name:?}");
    let made = log.one("segment made");
    made.is("DEBUG", "segment", &["object", "bytes"]);
    assert_eq!(made.get("object"), shown);
    assert!(made.number("bytes") > 2048);

    let joined = log.named("endpoint joined");
    let left = log.named("endpoint left");
    for event in joined.iter().chain(&left) {
        event.is("DEBUG", "ring", &["object", "role", "entry"]);
        assert_eq!(event.get("object"), shown);
    }
    let roles = |events: &[Recorded]| -> Vec<(String, u64)> {
        events.iter().map(|it| (it.get("role").to_owned(), it.number("entry"))).collect()
    };
    let [publisher, subscriber, durable] =
        [("publisher", 0), ("subscriber", 0), ("durable subscriber", 1)]
            .map(|(role, entry)| (role.to_owned(), entry));
    assert_eq!(roles(&joined), [subscriber.clone(), publisher.clone(), durable.clone()]);
    assert_eq!(roles(&left), [publisher, subscriber, durable]);

    let removed = log.one("segment removed");
    removed.is("DEBUG", "segment", &["object"]);
    assert_eq!(removed.get("object"), shown);
    assert_eq!(log.messages().last().unwrap(), "segment removed");
}

#[test]
fn endpoints_of_a_board_have_roles_of_their_own() {
    let name = unique("tracing-board");
    let log = recorded(|_| {
        let board = Board::<u64>::builder().keys(2).open::<u64>(&name).unwrap();
        drop((board.writer().unwrap(), board.reader().unwrap()));
    });
    for message in ["endpoint joined", "endpoint left"] {
        let mut roles: Vec<String> =
            log.named(message).iter().map(|event| event.get("role").to_owned()).collect();
        roles.sort_unstable();
        assert_eq!(roles, ["reader", "writer"], "{message}");
        assert_eq!(log.named(message)[0].get("object"), format!("board {name:?}"));
    }
}

#[test]
fn a_death_and_the_recovery_of_its_claim_are_reported_once() {
    let name = unique("tracing-death");
    let log = recorded(|log| {
        let ring = small().shared().open(&name).unwrap();
        let mut reader = ring.subscriber::<[u64; 20]>().unwrap();
        let mut peer = start("reserve", &name);
        peer.kill();
        // No publisher is left once the dead one is cleared.
        assert!(matches!(reader.recv(), Err(RecvError::Closed)));
        let died = log.one("endpoint died");
        died.is("INFO", "ring", &["object", "role", "entry", "pid"]);
        assert_eq!(died.get("object"), format!("ring {name:?}"));
        assert_eq!((died.get("role"), died.number("entry")), ("publisher", 0));
        assert_eq!(died.number("pid"), u64::from(peer.pid()));

        let recovered = log.one("claim recovered");
        recovered.is("INFO", "ring", &["object", "entry", "pid", "voids", "slots"]);
        assert_eq!(recovered.number("pid"), u64::from(peer.pid()));
        // 160 bytes and the header.
        assert_eq!((recovered.number("voids"), recovered.number("slots")), (1, 3));
    });
    assert_eq!(log.named("endpoint died").len(), 1);
}

#[test]
fn a_packet_of_a_dead_consumer_is_adopted() {
    let cluster = unique("tracing-jobs");
    recorded(|log| {
        let worker = Worker::join(&cluster, "here").unwrap();
        let mut jobs = worker.queue_publisher::<u64>("jobs").unwrap();
        let position = jobs.send(&7).unwrap();
        let mut peer = start("consume", &cluster);
        peer.kill();
        let mut consumer = worker.queue::<u64>("jobs").unwrap();
        let job = consumer.recv().unwrap();
        let adopted = log.one("packet adopted");
        adopted.is("INFO", "ring", &["object", "entry", "position"]);
        assert_eq!(adopted.get("object"), format!("work queue \"jobs\" of cluster {cluster:?}"),);
        assert_eq!(adopted.number("position"), position);
        Delivery::ack(job);
        // The next endpoint that joins clears the entry.
        drop(worker.queue::<u64>("jobs").unwrap());
        let died = log.one("endpoint died");
        assert_eq!(died.get("role"), "consumer");
        assert_eq!(died.number("pid"), u64::from(peer.pid()));
        let roles = log.named("endpoint joined");
        assert!(roles.iter().any(|event| event.get("role") == "consumer"), "{roles:?}");
    });
}

#[test]
fn a_packet_that_a_living_consumer_leaves_is_no_death() {
    let cluster = unique("tracing-alive");
    recorded(|log| {
        let worker = Worker::join(&cluster, "here").unwrap();
        let mut jobs = worker.queue_publisher::<u64>("jobs").unwrap();
        jobs.send_all(&[7, 8]).unwrap();
        let mut first = worker.queue::<u64>("jobs").unwrap();
        Delivery::nack(first.recv().unwrap());
        drop(first.recv().unwrap());
        drop(first);
        let mut second = worker.queue::<u64>("jobs").unwrap();
        for _ in 0..2 {
            Delivery::ack(second.recv_timeout(LONG).unwrap());
        }
        assert_eq!(log.named("packet adopted").len(), 2);
        drop(worker.queue::<u64>("jobs").unwrap());
        assert!(log.named("endpoint died").is_empty(), "{:#?}", log.named("endpoint died"));
    });
}

#[test]
fn lost_packets_are_reported_as_the_error_reports_them() {
    recorded(|log| {
        let ring = small().overflow(Overflow::DropOldest).heap().unwrap();
        let mut reader = ring.subscriber::<u64>().unwrap();
        let mut writer = ring.publisher::<u64>().unwrap();
        for number in 0..100 {
            writer.send(&number).unwrap();
        }
        let Err(RecvError::Missed(Missed { packets, exact })) = reader.recv() else { panic!() };
        let lost = log.one("packets lost");
        lost.is("WARN", "ring", &["object", "entry", "packets", "exact"]);
        assert_eq!(lost.get("object"), "ring on the heap");
        assert_eq!(
            (lost.number("packets"), lost.get("exact")),
            (packets, exact.to_string().as_str())
        );
        assert_eq!(lost.number("entry"), 0);

        for number in 0..100 {
            writer.send(&number).unwrap();
        }
        let skipped = reader.skip_to_newest().unwrap();
        let second = &log.named("packets lost")[1];
        assert!(second.number("packets") > 0 && second.number("packets") < skipped);
    });
}

// ── Types and damage ─────────────────────────────────────────────────────────────────────────

#[packet]
struct Price {
    symbol: u32,
    bid: u64,
}

#[one_of]
enum Prices {
    Price(Price),
}

/// The name and the fingerprint of a type, as errors show them.
fn shown<T: packetring::Packet>() -> String {
    format!("{} (fingerprint {:032x})", T::TYPE.name, T::TYPE.fingerprint.0)
}

#[test]
fn a_type_that_does_not_fit_is_reported_with_its_fingerprint() {
    recorded(|log| {
        let ring = small().heap().unwrap();
        let (mut writer, mut reader) =
            (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
        writer.send(&Price { symbol: 1, bid: 2 }).unwrap();
        let packet = reader.recv().unwrap();
        assert!(matches!(packet.open_as::<u64>(), Err(RecvError::TypeMismatch(_))));
        let other = log.one("packet of another type");
        other.is("WARN", "ring", &["object", "expected", "found"]);
        assert_eq!(other.get("expected"), shown::<u64>());
        assert_eq!(other.get("found"), shown::<Price>());
        drop(packet);

        assert!(matches!(ring.subscriber::<u64>(), Err(OpenError::TypeMismatch { .. })));
        let refused = log.one("type refused");
        refused.is("WARN", "ring", &["object", "expected", "found"]);
        assert_eq!(refused.get("expected"), shown::<Price>());
        assert_eq!(refused.get("found"), shown::<u64>());
    });
}

#[test]
fn a_message_that_an_inbox_refuses_is_reported() {
    let cluster = unique("tracing-refused");
    recorded(|log| {
        let worker = Worker::join(&cluster, "shop").unwrap();
        let inbox = worker.inbox_of::<Prices<'static>>().unwrap();
        let refused = worker.send_to("shop", &7_u64);
        drop(inbox);
        assert!(matches!(refused, Err(SendToError::TypeRefused { .. })), "{refused:?}");
        // The call tried again, in case that the inbox had been replaced.
        let refused = log.named("type refused").pop().unwrap();
        assert_eq!(refused.get("object"), format!("inbox \"shop\" of cluster {cluster:?}"));
        assert_eq!(refused.get("expected"), shown::<Price>());
        assert_eq!(refused.get("found"), shown::<u64>());
        worker.leave().unwrap();
    });
}

/// The file of a ring.
fn file_of(name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(object(name)).unwrap()
}

/// Offset of the first slot in the file of a ring of 4096 bytes, which are its end.
fn first_slot(name: &str) -> u64 {
    std::fs::metadata(object(name)).unwrap().len() - 4096
}

#[test]
fn invalid_bytes_of_a_packet_and_of_a_header_are_reported() {
    let name = unique("tracing-damage");
    recorded(|log| {
        let ring = small().capacity(4096).open(&name).unwrap();
        let mut reader = ring.subscriber::<bool>().unwrap();
        let mut writer = ring.publisher::<bool>().unwrap();
        let file = file_of(&name);
        let position = writer.send(&true).unwrap();
        // The archive is behind the header of 16 bytes.
        let at = first_slot(&name) + position * 64;
        file.write_all_at(&[7], at + 16).unwrap();
        assert!(matches!(reader.recv(), Err(RecvError::Corrupt(_))));
        let invalid = log.one("invalid packet");
        invalid.is("WARN", "ring", &["object", "position", "what"]);
        assert_eq!(invalid.number("position"), position);
        assert!(invalid.get("what").contains("bool"), "{invalid:?}");

        let position = writer.send(&true).unwrap();
        let at = first_slot(&name) + position * 64;
        file.write_all_at(&[0xff; 8], at + 8).unwrap();
        assert!(matches!(reader.recv(), Err(RecvError::Corrupt(_))));
        let corrupt = log.one("corrupt ring");
        corrupt.is("ERROR", "ring", &["object", "entry", "what"]);
        assert_eq!(corrupt.get("what"), format!("invalid packet header at position {position}"));
    });
}

#[test]
fn a_damaged_segment_is_reported() {
    let name = unique("tracing-corrupt");
    recorded(|log| {
        let ring = small().open(&name).unwrap();
        // The capacity.
        file_of(&name).write_all_at(&3_u64.to_le_bytes(), 32).unwrap();
        let error = Ring::attach(&name).map(drop);
        let Err(OpenError::Corrupt { what, expected, found, .. }) = error else { panic!() };
        let corrupt = log.one("corrupt segment");
        corrupt.is("ERROR", "segment", &["object", "what", "expected", "found"]);
        assert_eq!(corrupt.get("object"), format!("ring {name:?}"));
        assert_eq!(corrupt.get("what"), what);
        assert_eq!((corrupt.number("expected"), corrupt.number("found")), (expected, found));
        file_of(&name).write_all_at(&32_u64.to_le_bytes(), 32).unwrap();
        drop(ring);
    });
}

#[test]
fn a_long_wait_for_the_control_lock_is_reported() {
    let name = unique("tracing-lock");
    recorded(|log| {
        let settings = small().open_timeout(Duration::from_millis(150));
        let ring = settings.clone().open(&name).unwrap();
        let mut writer = ring.any_publisher().unwrap();
        let held = hold_control_lock(&name);
        assert!(matches!(settings.open(&name), Err(OpenError::Busy { .. })));
        let waited = log.one("waited for the control lock");
        waited.is("WARN", "segment", &["object", "waited_ms", "taken"]);
        assert_eq!(waited.get("object"), format!("ring {name:?}"));
        assert!(waited.number("waited_ms") >= 150);
        assert_eq!(waited.get("taken"), "false");

        // An endpoint that is attached knows the last holder.
        assert!(writer.send(&1_u64).is_err());
        let waited = &log.named("waited for the control lock")[1];
        waited.is("WARN", "segment", &["object", "waited_ms", "holder", "taken"]);
        assert_eq!(waited.number("holder"), own_pid());
        drop(held);
    });
}

// ── Clusters ─────────────────────────────────────────────────────────────────────────────────

#[test]
fn workers_that_join_leave_and_die_are_reported() {
    let cluster = unique("tracing-workers");
    recorded(|log| {
        let mut worker = Worker::join(&cluster, "first").unwrap();
        let joined = log.one("worker joined");
        joined.is("DEBUG", "cluster", &["cluster", "worker", "id"]);
        assert_eq!((joined.get("cluster"), joined.get("worker")), (&*cluster, "first"));
        assert_eq!(joined.number("id"), 0);

        let mut peer = start("work", &cluster);
        peer.kill();
        let second = Worker::join(&cluster, "second").unwrap();
        let died = log.one("worker died");
        died.is("INFO", "cluster", &["cluster", "worker", "id", "pid"]);
        assert_eq!((died.get("cluster"), died.get("worker")), (&*cluster, "killed"));
        assert_eq!((died.number("id"), died.number("pid")), (1, u64::from(peer.pid())));
        drop(second);

        drop(worker.inbox().unwrap());
        drop(worker);
        worker = Worker::join(&cluster, "first").unwrap();
        worker.leave().unwrap();
        let left: Vec<_> = log
            .named("worker left")
            .iter()
            .map(|event| {
                event.is("DEBUG", "cluster", &["cluster", "worker", "id", "kept"]);
                (event.get("worker").to_owned(), event.get("kept").to_owned())
            })
            .collect();
        let expected = [("second", "false"), ("first", "true"), ("first", "false")];
        assert_eq!(left, expected.map(|(worker, kept)| (worker.to_owned(), kept.to_owned())));
        assert_eq!(log.named("worker died").len(), 1);
    });
}

#[test]
fn a_watch_reports_the_death_of_a_worker_that_stays() {
    let cluster = unique("tracing-away");
    recorded(|log| {
        let worker = Worker::join(&cluster, "here").unwrap();
        let mut watch = worker.watch().unwrap();
        let mut peer = start("inbox", &cluster);
        assert!(matches!(watch.recv().unwrap(), WorkerChange::Joined(_)));
        peer.kill();
        let change = watch.recv().unwrap();
        assert!(matches!(&change, WorkerChange::Died(info) if info.name == "killed"), "{change:?}");
        let died = log.one("worker died");
        assert_eq!((died.get("worker"), died.number("pid")), ("killed", u64::from(peer.pid())));
        worker.retire("killed").unwrap();
    });
}

// ── What a subscriber may do ─────────────────────────────────────────────────────────────────

/// Opens the ring or the worker that an event is about. It waits for the control lock, and finds it
/// free: the library holds none while it calls a subscriber.
fn use_the_library(event: &Recorded, name: &str) {
    let timeout = Duration::from_secs(20);
    if event.target == "packetring::cluster" {
        let joined = Worker::builder().join_timeout(timeout).join(name, "subscriber");
        let worker = joined.expect("the directory is free");
        drop(worker.inbox().unwrap());
        worker.leave().unwrap();
    } else {
        let ring = small().shared().open_timeout(timeout).open(name).expect("the ring is free");
        let (mut writer, mut reader) =
            (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
        writer.send(&[7_u64; 20]).unwrap();
        assert!(reader.recv_timeout(LONG).is_ok());
    }
}

#[test]
fn a_subscriber_may_use_the_ring_that_an_event_is_about() {
    let name = unique("tracing-again");
    let used = Arc::new(Mutex::new(0));
    let (counted, shared) = (Arc::clone(&used), name.clone());
    let callback = move |event: &Recorded| {
        use_the_library(event, &shared);
        *counted.lock().unwrap() += 1;
    };
    let log = recorded_by(callback, |log| {
        let ring = small().shared().open(&name).unwrap();
        let reader = ring.any_subscriber().unwrap();
        let mut peer = start("reserve", &name);
        peer.kill();
        assert!(ring.subscriber::<u32>().is_err());
        drop(ring.any_publisher().unwrap());
        drop(reader);
        // The calls of the subscriber itself are not reported.
        assert_eq!(log.named("segment made").len(), 1);
        assert_eq!(log.named("endpoint joined").len(), 2);
    });
    for message in ["type refused", "endpoint died", "claim recovered", "endpoint left"] {
        assert!(log.messages().iter().any(|found| found == message), "{:?}", log.messages());
    }
    // Each callback came to its end: a panic in it would have been caught.
    assert_eq!(*used.lock().unwrap(), log.messages().len());
}

#[test]
fn a_subscriber_may_use_the_cluster_that_an_event_is_about() {
    let cluster = unique("tracing-cluster");
    let used = Arc::new(Mutex::new(0));
    let (counted, shared) = (Arc::clone(&used), cluster.clone());
    let callback = move |event: &Recorded| {
        if event.target == "packetring::cluster" {
            use_the_library(event, &shared);
        } else {
            // While an inbox, a service or a queue is opened.
            let worker = Worker::join(&shared, "other").unwrap();
            let _ = worker.topic("news").publisher::<u64>().unwrap();
        }
        *counted.lock().unwrap() += 1;
    };
    let log = recorded_by(callback, |_| {
        let worker = Worker::join(&cluster, "here").unwrap();
        drop(worker.inbox().unwrap());
        drop(worker.service::<u64, u64>("ask").unwrap());
        drop(worker.client::<u64, u64>("ask").unwrap());
        let mut peer = start("work", &cluster);
        peer.kill();
        drop(Worker::join(&cluster, "next").unwrap());
        worker.leave().unwrap();
    });
    assert_eq!(log.named("worker died").len(), 1);
    assert_eq!(*used.lock().unwrap(), log.messages().len());
}

#[test]
fn a_panic_of_a_subscriber_ends_in_the_library() {
    let name = unique("tracing-panic");
    let log = recorded_by(
        |_| panic!("a subscriber panics on purpose"),
        |_| {
            let ring = small().open(&name).unwrap();
            let (mut writer, mut reader) =
                (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
            writer.send(&7).unwrap();
            assert_eq!(*reader.recv().unwrap(), 7);
            drop((writer, reader, ring));
            support::assert_gone(&name);
        },
    );
    assert_eq!(log.messages().len(), 6, "{:?}", log.messages());
}

#[test]
fn a_subscriber_of_warnings_gets_no_joins() {
    struct Warnings(Recorder);
    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= tracing::Level::WARN && self.0.enabled(metadata)
        }
        fn event(&self, event: &Event<'_>) {
            self.0.event(event);
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.0.new_span(span)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let log = Log::default();
    let recorder = Recorder { events: Arc::clone(&log.0), callback: Box::new(|_| {}) };
    with_default(Warnings(recorder), || {
        let ring = small().overflow(Overflow::DropOldest).heap().unwrap();
        let mut reader = ring.subscriber::<u64>().unwrap();
        ring.publisher::<u64>().unwrap().send_all(&[7; 100]).unwrap();
        assert!(matches!(reader.recv_timeout(LONG), Err(RecvTimeoutError::Missed(_))));
    });
    assert_eq!(log.messages(), ["packets lost"]);
}

/// In a peer: a forked child drops what it inherited, and this emits nothing.
fn fork(name: &str) {
    let log = recorded(|log| {
        let ring = small().open(name).unwrap();
        let ends = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
        let before = log.messages().len();
        // SAFETY: the child runs a few lines in its only thread and then exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop((ends, ring));
            let code = i32::from(log.messages().len() != before);
            // SAFETY: ends the child and skips the exit handlers of the test harness.
            unsafe { libc::_exit(code) }
        }
        let mut status = -1;
        // SAFETY: the call stores the status of a child.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        peer::say(&format!("status {status}"));
    });
    peer::say(&format!("left {}", log.named("endpoint left").len()));
}

#[test]
fn a_forked_child_reports_nothing_about_its_parents_endpoints() {
    let mut peer = Peer::start(&format!("fork {}", unique("tracing-fork")));
    peer.expect("status 0");
    peer.expect("left 2");
    peer.finish();
}
