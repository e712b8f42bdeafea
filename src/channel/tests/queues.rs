//! Queues whose entries are all taken, and consumers that drain.

use super::types::{join_consumer, join_publisher, take, version};
use crate::channel::join::Types;
use crate::channel::untyped::Draining;
use crate::channel::{Cursor, GroupReceiver, MessageHeader, RecvFailure, SendFailure, Waitable};
use crate::sync::Ordering;
use crate::wait::Timeout;
use crate::{OpenError, RecvError, Ring};

/// Position and deliveries of the job that is received next.
fn job(consumer: &mut GroupReceiver) -> (u64, u64) {
    take(consumer);
    let taken = consumer.cursor.in_flight().unwrap();
    (taken.position, consumer.cursor.deliveries(&taken))
}

#[test]
fn a_consumer_joins_a_queue_whose_consumers_all_died_with_jobs() {
    // One entry has the shared cursor.
    let builder = Ring::builder().capacity(8192).max_subscribers(3).shared().queue();
    let ring = builder.heap().unwrap();
    let (info, other) = (version(1), version(2));
    let types = Types::One(&info);
    let (mut sender, index) = join_publisher(&ring, &types).unwrap();
    for _ in 0..3 {
        sender
            .send_archive::<SendFailure>(&[7], index, MessageHeader::NONE, Timeout::Zero)
            .unwrap();
    }
    let (mut first, _) = join_consumer(&ring, &types).unwrap();
    let (mut second, _) = join_consumer(&ring, &types).unwrap();
    assert_eq!((job(&mut first), job(&mut second)), ((0, 1), (1, 1)));
    let full = join_consumer(&ring, &types).map(drop).unwrap_err();
    assert!(matches!(full, OpenError::Full { .. }), "{full}");
    drop((first, second));

    // A consumer of another type takes nothing over.
    assert!(join_consumer(&ring, &Types::One(&other)).is_err());
    let mut left = vec![(0, 2), (1, 2), (2, 1)];
    let (mut third, _) = join_consumer(&ring, &types).unwrap();
    let taken_over = job(&mut third);
    assert_eq!(taken_over, (0, 2));
    // It dies, too. Its successor counts on.
    drop(third);
    left[0] = (0, 3);
    let (mut fourth, _) = join_consumer(&ring, &types).unwrap();
    while !left.is_empty() {
        fourth.reap_dead();
        let found = job(&mut fourth);
        let index = left.iter().position(|&job| job == found);
        left.remove(index.unwrap_or_else(|| panic!("{found:?} of {left:?}")));
        fourth.ack();
    }
    drop((fourth, sender));
    assert!(join_consumer(&ring, &Types::One(&other)).is_ok());
}

/// It would keep the packet until it leaves.
#[test]
fn a_consumer_that_drains_adopts_nothing() {
    let ring = Ring::builder().capacity(8192).shared().queue().heap().unwrap();
    let info = version(1);
    let types = Types::One(&info);
    let (mut sender, index) = join_publisher(&ring, &types).unwrap();
    sender.send_archive::<SendFailure>(&[7], index, MessageHeader::NONE, Timeout::Zero).unwrap();
    let (mut dead, _) = join_consumer(&ring, &types).unwrap();
    let (mut drains, _) = join_consumer(&ring, &types).unwrap();
    let (mut heir, _) = join_consumer(&ring, &types).unwrap();
    assert_eq!(job(&mut dead), (0, 1));
    // Its job stays at its entry.
    drop(dead);
    let draining = Draining::default();
    drains.drain_with(draining.clone());
    draining.start();
    drains.reap_dead();
    assert_eq!(drains.cursor.in_flight().map(|taken| taken.position), None);
    let ended = drains.take::<RecvFailure>(Timeout::Zero).map(drop).unwrap_err();
    assert!(matches!(ended, RecvFailure::Error(RecvError::Closed)), "{ended:?}");
    assert_eq!(drains.cursor.in_flight().map(|taken| taken.position), None);

    heir.reap_dead();
    assert_eq!(job(&mut heir), (0, 2));
    heir.ack();
}

#[test]
fn a_consumer_that_leaves_a_packet_behind_passes_its_wake_up_on() {
    let ring = Ring::builder().shared().queue().heap().unwrap();
    let info = version(1);
    let types = Types::One(&info);
    let (mut sender, index) = join_publisher(&ring, &types).unwrap();
    let (mut consumer, _) = join_consumer(&ring, &types).unwrap();
    let word =
        |consumer: &GroupReceiver| consumer.entry.event_count().futex.load(Ordering::Relaxed);
    let passes_on = |consumer: &mut GroupReceiver| {
        let before = word(consumer);
        consumer.end_sleep();
        word(consumer) - before
    };
    assert_eq!(passes_on(&mut consumer), 0, "nothing is there");
    for _ in 0..2 {
        sender
            .send_archive::<SendFailure>(&[7], index, MessageHeader::NONE, Timeout::Zero)
            .unwrap();
    }
    assert_eq!(passes_on(&mut consumer), 1, "it leaves without a packet");
    take(&mut consumer);
    assert_eq!(passes_on(&mut consumer), 1, "it took the first packet of two");
    consumer.ack();
    take(&mut consumer);
    assert_eq!(passes_on(&mut consumer), 0, "it took the last packet");
}
