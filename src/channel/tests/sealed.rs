//! Rings that are sealed and superseded: no publisher gets a packet into them, however late it
//! comes.

use crate::any::{AnyPublisher, AnySubscriber};
use crate::channel::join::{self, Types};
use crate::channel::untyped::Sender;
use crate::{OpenError, Ring, SendError, TryRecvError, TrySendError, Wait};

const SLOTS: u64 = 16;

/// A ring as that of an inbox, with its durable subscriber.
fn inbox() -> (Ring, AnySubscriber) {
    let ring = Ring::builder().capacity(1024).max_subscribers(1).max_publishers(3).stays_open(true);
    let ring = ring.heap().unwrap();
    let messages = ring.any_acknowledged("inbox").unwrap();
    (ring, messages)
}

fn publisher(ring: &Ring) -> Sender {
    join::publisher(ring.segment(), &Types::Any, Wait::park()).unwrap().0
}

/// Sends and receives this many messages of one slot.
fn pass(out: &mut AnyPublisher, messages: &mut AnySubscriber, count: u64) {
    for number in 0..count {
        out.try_send(&number).unwrap();
        let message = messages.try_recv().unwrap();
        assert_eq!(*message.open_as::<u64>().unwrap(), number);
        message.ack();
    }
}

#[test]
fn an_empty_ring_is_sealed_at_each_position_and_can_go_on() {
    let (ring, mut messages) = inbox();
    let mut out = ring.any_publisher().unwrap();
    for _ in 0..2 * SLOTS {
        // Its limit is one lap above the cursor already.
        let mut late = publisher(&ring);
        late.writer.claim(1).unwrap();
        late.writer.abandon();
        assert!(matches!(messages.try_recv(), Err(TryRecvError::Empty)));
        assert!(ring.seal(&mut messages).unwrap());
        assert!(late.writer.claim(1).is_err(), "a slot of a sealed ring was claimed");
        assert!(matches!(out.try_send(&7_u64), Err(TrySendError::Full { .. })));
        // It can be repeated.
        assert!(ring.seal(&mut messages).unwrap());
        assert_eq!(messages.backlog(), SLOTS);
        // A receive skips the void packets. Then there is room again.
        assert!(matches!(messages.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(messages.backlog(), 0);
        pass(&mut out, &mut messages, 1);
    }
}

#[test]
fn a_ring_with_a_message_is_not_sealed() {
    let (ring, mut messages) = inbox();
    let mut out = ring.any_publisher().unwrap();
    pass(&mut out, &mut messages, 5);
    out.try_send(&7_u64).unwrap();
    assert!(!ring.seal(&mut messages).unwrap());
    let message = messages.try_recv().unwrap();
    assert_eq!((*message.open_as::<u64>().unwrap(), message.deliveries()), (7.into(), 1));
    // It is not acknowledged, so it is there still.
    drop(message);
    assert!(!ring.seal(&mut messages).unwrap());
    let message = messages.try_recv().unwrap();
    assert_eq!((*message.open_as::<u64>().unwrap(), message.deliveries()), (7.into(), 2));
    message.ack();
    assert!(ring.seal(&mut messages).unwrap());
}

#[test]
fn a_ring_with_a_claim_under_way_is_not_sealed() {
    let (ring, mut messages) = inbox();
    let (mut first, mut out) = (publisher(&ring), ring.any_publisher().unwrap());
    first.writer.claim(1).unwrap();
    assert!(!ring.seal(&mut messages).unwrap());
    let mut reserved = out.try_reserve::<u64>().unwrap();
    first.writer.abandon();
    assert!(!ring.seal(&mut messages).unwrap());
    *reserved = 7.into();
    crate::Reserved::commit(reserved);
    let message = messages.try_recv().unwrap();
    assert_eq!(*message.open_as::<u64>().unwrap(), 7);
    message.ack();
    assert!(ring.seal(&mut messages).unwrap());
}

#[test]
fn a_ring_without_a_free_entry_is_not_sealed() {
    let (ring, mut messages) = inbox();
    let entries = [publisher(&ring), publisher(&ring), publisher(&ring)];
    assert!(!ring.seal(&mut messages).unwrap());
    drop(entries);
    assert!(ring.seal(&mut messages).unwrap());
}

/// The publisher found the ring open before it was closed, and claims a slot long after.
#[test]
fn no_slot_of_a_superseded_ring_is_claimed_after_its_subscriber_has_gone() {
    let (ring, mut messages) = inbox();
    let (mut late, mut out) = (publisher(&ring), ring.any_publisher().unwrap());
    pass(&mut out, &mut messages, 3);
    assert!(ring.seal(&mut messages).unwrap());
    ring.supersede().unwrap();
    drop(messages);
    // Clears the dead, as a publisher that waits for room does.
    late.entry.reap_dead();
    assert!(late.writer.claim(1).is_err(), "a message would be lost");
    assert!(matches!(out.send(&7_u64), Err(SendError::Closed)));
    assert!(matches!(ring.any_publisher(), Err(OpenError::Closed { .. })));
}
