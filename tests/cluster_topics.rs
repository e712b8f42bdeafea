//! Topics: named rings inside a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{
    CarriedType, OpenError, Overflow, RecvTimeoutError, Ring, TryRecvError, TrySendError, Worker,
    packet,
};
use support::peer::{self, Peer};
use support::{LONG, SHORT, Watch, assert_gone, unique};

#[packet]
struct Price {
    symbol: u32,
    bid: u64,
}

#[packet]
struct Trade {
    symbol: u32,
    paid: u64,
}

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let [cluster, topic] = [0, 1].map(|index| role.arguments[index].as_str());
    let worker = Worker::join(cluster, "feed").unwrap();
    let mut feed = worker.publisher::<Price>(topic).unwrap();
    feed.wait_for_subscribers_timeout(1, LONG).unwrap();
    for bid in 0..role.number(2) {
        feed.send_timeout(&Price { symbol: 7, bid }, LONG).unwrap();
    }
}

#[test]
fn a_publisher_or_a_subscriber_creates_the_topic() {
    let cluster = unique("shared");
    let trader = Worker::join(&cluster, "trader").unwrap();
    let mut prices = trader.subscriber::<Price>("EURUSD").unwrap();
    let feed = Peer::start(&format!("feed {cluster} EURUSD 1000"));
    for bid in 0..1000 {
        assert_eq!(prices.recv_timeout(LONG).unwrap().bid, bid);
    }
    feed.finish();
    // The last publisher has left, and the topic stays open.
    assert!(matches!(prices.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    drop((prices, trader));
    assert_gone(&format!("{cluster}~t.EURUSD"));
}

#[test]
fn topics_of_two_clusters_and_plain_rings_are_separate() {
    let [one, two] = ["one", "two"].map(unique);
    let [first, second] = [&one, &two].map(|cluster| Worker::join(cluster, "w").unwrap());
    let ring = Ring::open(&one).unwrap();
    let mut topic = first.subscriber::<u64>("t").unwrap();
    second.publisher::<u64>("t").unwrap().send(&2).unwrap();
    first.publisher::<u64>("t.").unwrap().send(&3).unwrap();
    ring.publisher::<u64>().unwrap().send(&4).unwrap();
    assert!(matches!(topic.try_recv(), Err(TryRecvError::Empty)));
    assert!(matches!(Ring::open(&format!("{one}~t.t")), Err(OpenError::BadName { .. })));
}

#[test]
fn mismatched_settings_are_reported_with_both_values() {
    let cluster = unique("settings");
    let worker = Worker::join(&cluster, "w").unwrap();
    let topic = || worker.topic("prices");
    let first = topic().capacity(64 * 1024).history(10).subscriber::<Price>().unwrap();
    let refused = |error: Option<OpenError>| {
        let error = error.unwrap();
        let OpenError::SettingsMismatch { setting, expected, found, .. } = &error else {
            panic!("{error}");
        };
        let text = error.to_string();
        assert!(text.contains(expected.as_str()) && text.contains(found.as_str()), "{text}");
        let labelled = text.starts_with("topic \"") && text.contains(" of cluster \"");
        assert!(labelled && !text.contains('~'), "{text}");
        (*setting, expected.clone(), found.clone())
    };
    let shown =
        |setting, expected: &str, found: &str| (setting, expected.to_owned(), found.to_owned());
    assert_eq!(
        refused(topic().capacity(4096).publisher::<Price>().err()),
        shown("capacity", "4096", "65536")
    );
    assert_eq!(
        refused(topic().overflow(Overflow::DropOldest).publisher::<Price>().err()),
        shown("overflow", "drop oldest", "block")
    );
    assert_eq!(
        refused(topic().history(11).subscriber::<Price>().err()),
        shown("history", "11", "10")
    );
    assert_eq!(
        refused(topic().exclusive().publisher::<Price>().err()),
        shown("claims", "exclusive", "shared")
    );
    assert_eq!(
        refused(topic().closes_when_left().publisher::<Price>().err()),
        shown("stays_open", "false", "true")
    );
    // A setting that the opener does not choose takes the existing value.
    drop(topic().publisher::<Price>().unwrap());
    drop(topic().history(10).publisher::<Price>().unwrap());
    drop(first);
}

#[test]
fn a_mismatched_type_is_reported_with_both_types() {
    let cluster = unique("types");
    let worker = Worker::join(&cluster, "w").unwrap();
    let _trader = worker.subscriber::<Price>("prices").unwrap();
    let error = worker.publisher::<Trade>("prices").err().unwrap();
    let OpenError::TypeMismatch { expected, found, .. } = &error else { panic!("{error}") };
    assert!(expected.contains("Trade") && found.contains("Price"), "{error}");
    let text = error.to_string();
    assert!(text.contains(expected.as_str()) && text.contains(found.as_str()), "{text}");
}

mod old {
    /// The type before its field `mood` was added.
    #[packetring::packet]
    pub(crate) struct Chat {
        pub(crate) room: u64,
        pub(crate) text: u32,
    }
}

#[packetring::packet]
struct Chat {
    room: u64,
    text: u32,
    mood: u8,
}

const CHAT: Chat = Chat { room: 1, text: 2, mood: 3 };
const OLD: old::Chat = old::Chat { room: 1, text: 2 };

/// Each error about two types of one name names the first difference between them.
#[test]
fn a_type_mismatch_names_the_first_difference() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("difference"), "w").unwrap();
    let missing = "field \"mood: u8\" at offset 12 is missing in the ring's Chat";
    let too_much = "field \"mood: u8\" at offset 12 of the ring's Chat is missing here";
    let _topic = worker.subscriber::<old::Chat>("t").unwrap();
    let _queue = worker.queue::<old::Chat>("q").unwrap();
    let _requests = worker.service::<old::Chat, u64>("requests").unwrap();
    let _replies = worker.service::<u64, old::Chat>("replies").unwrap();
    for error in [
        worker.publisher::<Chat>("t").map(drop).unwrap_err(),
        worker.subscriber::<Chat>("t").map(drop).unwrap_err(),
        worker.queue::<Chat>("q").map(drop).unwrap_err(),
        worker.queue_publisher::<Chat>("q").map(drop).unwrap_err(),
        worker.client::<Chat, u64>("requests").map(drop).unwrap_err(),
        worker.service::<u64, Chat>("replies").map(drop).unwrap_err(),
    ] {
        assert!(error.to_string().contains(missing), "{error}");
        let OpenError::TypeMismatch { difference, .. } = error else { panic!("{error}") };
        assert_eq!(difference.as_deref(), Some(missing));
    }
    // A type of another name has no difference.
    let error = worker.publisher::<u64>("t").map(drop).unwrap_err();
    assert!(matches!(error, OpenError::TypeMismatch { difference: None, .. }), "{error}");

    let mut inbox = worker.inbox().unwrap();
    worker.send_to("w", &CHAT).unwrap();
    let message = inbox.recv().unwrap();
    let error = message.open_as::<old::Chat>().map(drop).unwrap_err();
    assert!(error.to_string().contains(too_much), "{error}");
    message.ack();
    drop(inbox);
    #[packetring::one_of]
    enum Old {
        Chat(old::Chat),
    }
    let inbox = worker.inbox_of::<Old<'static>>().unwrap();
    let error = worker.send_to("w", &CHAT).unwrap_err();
    assert!(error.to_string().contains(missing), "{error}");
    worker.send_to("w", &OLD).unwrap();

    let mut events = worker.events().unwrap();
    events.on::<old::Chat>("said", |_, _| {});
    events.emit("said", &CHAT).unwrap();
    let error = events.poll().unwrap_err();
    assert!(error.to_string().contains(too_much), "{error}");

    // The types of each kind of object.
    let names = |types: Result<Vec<CarriedType>, OpenError>| -> Vec<String> {
        types.unwrap().into_iter().map(|carried| carried.name).collect()
    };
    assert_eq!(names(worker.topic_types("t")), ["Chat"]);
    assert_eq!(names(worker.queue_types("q")), ["Chat"]);
    assert_eq!(names(worker.inbox_types("w")), ["Chat", "Chat"]);
    assert_eq!(names(worker.inbox_types(&worker.id())), ["Chat", "Chat"]);
    assert_eq!(names(worker.service_types("requests")), ["Chat -> u64", "Chat", "u64"]);
    assert_eq!(names(worker.event_types()), ["Chat"]);
    for absent in [worker.topic_types("no"), worker.queue_types("no"), worker.inbox_types("no")] {
        assert!(matches!(absent, Err(OpenError::NotFound { .. })), "{absent:?}");
    }
    drop((inbox, events));
    worker.leave().unwrap();
}

#[test]
fn a_slow_subscriber_of_a_drop_oldest_topic_does_not_block() {
    let _watch = Watch::start();
    let cluster = unique("slow");
    let worker = Worker::join(&cluster, "w").unwrap();
    let topic = || worker.topic("prices").capacity(4096).overflow(Overflow::DropOldest);
    let mut fast = topic().subscriber::<Price>().unwrap();
    let mut slow = topic().subscriber::<Price>().unwrap();
    let mut feed = topic().publisher::<Price>().unwrap();
    // Many times the capacity of the topic, and no send has to wait.
    for bid in 0..10_000 {
        feed.try_send(&Price { symbol: 7, bid }).unwrap();
        assert_eq!(fast.try_recv().unwrap().bid, bid);
    }
    let Err(TryRecvError::Missed(missed)) = slow.try_recv() else {
        panic!("no packets were missed")
    };
    let next = slow.try_recv().unwrap().bid.to_native();
    assert_eq!(missed.packets, next, "{missed:?}");
    assert!(next > 9_900);
}

#[test]
fn a_slow_subscriber_of_a_block_topic_makes_it_full() {
    let cluster = unique("block");
    let worker = Worker::join(&cluster, "w").unwrap();
    let mut slow = worker.topic("prices").capacity(4096).subscriber::<Price>().unwrap();
    let mut feed = worker.publisher::<Price>("prices").unwrap();
    let sent = (0..).take_while(|&bid| feed.try_send(&Price { symbol: 7, bid }).is_ok()).count();
    let full = feed.try_send(&Price { symbol: 7, bid: 0 });
    assert!(matches!(full, Err(TrySendError::Full { .. })), "{full:?}");
    for bid in 0..sent as u64 {
        assert_eq!(slow.try_recv().unwrap().bid, bid);
    }
}

#[test]
fn a_topic_has_as_many_slots_as_the_cluster() {
    let cluster = unique("room");
    let worker = Worker::builder().max_workers(3).join(&cluster, "w").unwrap();
    let all = [(); 3].map(|()| worker.subscriber::<u64>("t").unwrap());
    let one_more = worker.subscriber::<u64>("t").err().unwrap();
    assert!(matches!(one_more, OpenError::Full { limit: 3, .. }), "{one_more}");
    drop(all);
    let mut closes = worker.topic("closes").closes_when_left().subscriber::<u64>().unwrap();
    drop(worker.publisher::<u64>("closes").unwrap());
    assert!(matches!(closes.recv_timeout(LONG), Err(RecvTimeoutError::Closed)));
}

#[test]
fn a_late_subscriber_gets_the_history() {
    let cluster = unique("history");
    let worker = Worker::join(&cluster, "w").unwrap();
    let mut feed = worker.topic("t").history(2).publisher::<u64>().unwrap();
    for number in 0..5_u64 {
        feed.send(&number).unwrap();
    }
    let mut late = worker.subscriber::<u64>("t").unwrap();
    [3, 4].into_iter().for_each(|number| assert_eq!(*late.recv().unwrap(), number));
}

#[test]
fn invalid_topic_names_are_rejected() {
    let cluster = unique("names");
    let worker = Worker::join(&cluster, "w").unwrap();
    for name in ["", &"x".repeat(200), &"::".repeat(40)] {
        let refused = worker.subscriber::<u64>(name).err().unwrap();
        assert!(matches!(refused, OpenError::BadName { .. }), "{name:?}: {refused}");
    }
    let mut colons = worker.subscriber::<u64>("a::b").unwrap();
    worker.publisher::<u64>("a:b").unwrap().send(&1).unwrap();
    assert!(matches!(colons.try_recv(), Err(TryRecvError::Empty)));
}
