//! A payload is never taken for a packet, whatever it holds.
//!
//! The inner slots of a packet hold payload where headers lie in others. What keeps a reader that
//! comes there a lap later from believing one is that no payload can hold the stamp it waits for:
//! the salt is random, and nobody is shown it. What is left over in a reservation shows no stamp
//! in a shared ring; in an exclusive one it may, and nothing follows from it for a later lap.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use packetring::{Publisher, Ring, Subscriber, Tail, TryRecvError};
use std::collections::HashSet;
use support::{on_all, on_both};

type Text = Tail<u64, u8>;

/// Slots of the rings here.
const LAP: u64 = 16;

fn small() -> packetring::RingBuilder {
    Ring::builder().capacity(LAP as usize * 64)
}

fn send(out: &mut Publisher<Text>, text: &[u8]) -> u64 {
    let mut room = out.reserve_tail(text.len()).unwrap();
    *room.head_mut() = 7.into();
    room.tail_mut().copy_from_slice(text);
    room.commit()
}

/// One-slot packets, each received, until the next one's position is this.
fn advance(out: &mut Publisher<Text>, inbox: &mut Subscriber<Text>, next: u64) {
    while send(out, b"x") + 1 < next {
        drop(inbox.recv().unwrap());
    }
    drop(inbox.recv().unwrap());
}

/// The words of the room for a large packet that lie where headers may be.
fn leftovers(out: &mut Publisher<Text>) -> Vec<u64> {
    let mut room = out.reserve_tail(400).unwrap();
    let tail = room.tail_mut();
    let start = tail.as_ptr().addr();
    let places = (0..tail.len() - 8).filter(|at| (start + at).is_multiple_of(64));
    places.map(|at| u64::from_le_bytes(tail[at..at + 8].try_into().unwrap())).collect()
}

#[test]
fn what_is_left_over_in_a_reservation_of_a_shared_ring_shows_no_stamp() {
    on_both(small, |ring| {
        let mut inbox = ring.subscriber::<Text>().unwrap();
        let mut out = ring.publisher::<Text>().unwrap();
        // Every slot has been a packet's first.
        advance(&mut out, &mut inbox, LAP);
        let words = leftovers(&mut out);
        assert!(words.len() >= 5);
        // Stamps of one lap differ by the distance of their positions.
        let seen: HashSet<u64> = words.iter().copied().collect();
        assert_eq!(seen, HashSet::from([0]), "{words:x?}");
    });
}

#[test]
fn a_payload_that_holds_what_was_left_over_is_no_packet() {
    on_all(small, |ring| {
        let mut inbox = ring.subscriber::<Text>().unwrap();
        let mut out = ring.publisher::<Text>().unwrap();
        advance(&mut out, &mut inbox, LAP);
        let mut room = out.reserve_tail(200).unwrap();
        let tail = room.tail_mut();
        let start = tail.as_ptr().addr();
        let at = (0..).find(|at| (start + at).is_multiple_of(64)).unwrap();
        // If it is the stamp of position 1, this is the salt.
        let salt = u64::from_le_bytes(tail[at..at + 8].try_into().unwrap()).wrapping_sub(1);
        let forged = salt.wrapping_add(2 * LAP + 1);
        tail[at..at + 8].copy_from_slice(&forged.to_le_bytes());
        room.commit();
        drop(inbox.recv().unwrap());
        advance(&mut out, &mut inbox, 2 * LAP + 1);
        assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)), "a packet that nobody sent");
    });
}

#[test]
fn the_salt_of_a_ring_on_the_heap_is_no_constant() {
    // It was this one once.
    let salt = 0x9e37_79b9_7f4a_7c15_u64;
    let ring = small().heap().unwrap();
    let mut inbox = ring.subscriber::<Vec<u8>>().unwrap();
    let mut out = ring.publisher::<Vec<u8>>().unwrap();
    let mut evil = vec![0_u8; 200];
    evil[48..56].copy_from_slice(&(LAP + 1 + salt).to_le_bytes());
    out.send(&evil).unwrap();
    drop(inbox.recv().unwrap());
    while out.send(&vec![1]).unwrap() < LAP {
        drop(inbox.recv().unwrap());
    }
    drop(inbox.recv().unwrap());
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)), "a packet that nobody sent");
}
