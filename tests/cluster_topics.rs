//! Topics: named rings inside a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::{
    OpenError, Overflow, RecvTimeoutError, Ring, TryRecvError, TrySendError, Worker, packet,
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
    let OpenError::TypeMismatch { expected, found } = &error else { panic!("{error}") };
    assert!(expected.contains("Trade") && found.contains("Price"), "{error}");
    let text = error.to_string();
    assert!(text.contains(expected.as_str()) && text.contains(found.as_str()), "{text}");
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
