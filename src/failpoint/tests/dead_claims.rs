//! Claims of publishers that have just died, found by `try_send` and by a subscriber.

use super::process::GENEROUS;
use crate::channel::owned_entry;
use crate::segment::entry::EntryId;
use crate::{Overflow, Publisher, Ring};
use std::cell::Cell;
use std::time::Instant;

/// A publisher dies after the check for abandoned claims and before the dead are cleared. The
/// subscriber's slots are read-only: a store to them would be a SIGSEGV.
#[test]
fn a_publisher_dies_while_a_subscriber_asks() {
    let name = format!("dead-dies-{}", std::process::id());
    let ring = Ring::open(&name).unwrap();
    let mut subscriber = ring.subscriber::<u64>().unwrap();
    subscriber.protect().unwrap();
    let mut publisher = ring.publisher::<u64>().unwrap();
    std::mem::forget(publisher.reserve().unwrap());
    let segment = &subscriber.receiver.entry.segment;
    let asked = Cell::new(0);
    let is_alive = |entry_id| {
        if entry_id != EntryId::Publisher(0) {
            return true;
        }
        asked.set(asked.get() + 1);
        asked.get() == 1
    };
    let control = segment.lock().unwrap();
    owned_entry::reap(segment, segment.memory(), &is_alive);
    drop(control);
    assert!(subscriber.try_recv().is_err());
}

/// With history and without subscribers: only `try_send` can find the dead claim.
#[test]
fn try_send_recovers_a_dead_claim_under_the_history() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        let name = format!("dead-history-{}-{overflow}", std::process::id()).replace(' ', "-");
        let ring =
            Ring::builder().capacity(1024).history(2).overflow(overflow).open(&name).unwrap();
        let mut dead = ring.publisher::<u64>().unwrap();
        let mut living = ring.publisher::<u64>().unwrap();
        std::mem::forget(dead.reserve().unwrap());
        // Dies: its lock goes, its claim stays.
        die(&dead);
        try_to_send_100(&mut living);
    }
}

#[track_caller]
fn try_to_send_100(living: &mut Publisher<u64>) {
    let started = Instant::now();
    let mut sent = 0;
    while sent < 100 {
        sent += u64::from(living.try_send(&7).is_ok());
        assert!(started.elapsed() < GENEROUS, "stuck after {sent}");
    }
}

/// Like a kill: the liveness lock is released, everything else stays until the test ends.
fn die(publisher: &Publisher<u64>) {
    let endpoint = &publisher.sender.entry;
    endpoint.release_liveness();
}

/// In a `DropOldest` ring with an idle subscriber at the position of the dead claim.
#[test]
fn try_send_recovers_a_dead_claim_under_an_idle_subscriber() {
    let name = format!("dead-idle-{}", std::process::id());
    let ring = Ring::builder().capacity(1024).overflow(Overflow::DropOldest).open(&name).unwrap();
    let _idle = ring.subscriber::<u64>().unwrap();
    let mut dead = ring.publisher::<u64>().unwrap();
    let mut living = ring.publisher::<u64>().unwrap();
    std::mem::forget(dead.reserve().unwrap());
    die(&dead);
    try_to_send_100(&mut living);
}

/// A dead claim and a dead subscriber block a publisher.
fn both_dead(topic: &str, hinder: impl FnOnce(&str)) {
    let name = format!("dead-{topic}-{}", std::process::id());
    let ring = Ring::builder().capacity(1024).open(&name).unwrap();
    let idle = ring.subscriber::<u64>().unwrap();
    let mut reader = ring.subscriber::<u64>().unwrap();
    let mut dead = ring.publisher::<u64>().unwrap();
    let mut living = ring.publisher::<u64>().unwrap();
    std::mem::forget(dead.reserve().unwrap());
    die(&dead);
    let endpoint = &idle.receiver.entry;
    endpoint.release_liveness();
    hinder(&name);
    for number in 0..40 {
        living.send_timeout(&number, GENEROUS).unwrap();
        assert_eq!(*reader.recv_timeout(GENEROUS).unwrap(), number);
    }
}

#[test]
fn the_dead_are_cleared_after_the_name_is_gone() {
    both_dead("name", |name| {
        std::fs::remove_file(format!("/dev/shm/packetring.{name}")).unwrap();
    });
}

#[test]
fn the_dead_are_cleared_from_a_full_ring() {
    both_dead("full", |_| {});
}
