//! A payload is never taken for a packet, whatever bytes it holds.
//!
//! The inner slots of a multi-slot packet hold payload where other slots hold a header. A reader
//! that inspects such a slot one lap later waits for the stamp of its own position. No payload can
//! forge that stamp: the salt is random and never visible to users. In a shared ring, the memory of
//! a reservation shows no old stamp. In an exclusive ring it may show one, but the stamps of a
//! later lap cannot be derived from it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use packetring::{Publisher, Ring, Subscriber, Tail, TryRecvError};
use std::collections::HashSet;
use support::{on_all, on_both};

type Text = Tail<u64, u8>;

/// Number of slots in the test rings.
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

/// Sends and receives one-slot packets until the next position is `next`.
fn advance(out: &mut Publisher<Text>, inbox: &mut Subscriber<Text>, next: u64) {
    while send(out, b"x") + 1 < next {
        drop(inbox.recv().unwrap());
    }
    drop(inbox.recv().unwrap());
}

/// The words of a large reservation that lie where a slot header may be.
fn leftovers(out: &mut Publisher<Text>) -> Vec<u64> {
    let mut room = out.reserve_tail(400).unwrap();
    let tail = room.tail_mut();
    let start = tail.as_ptr().addr();
    let places = (0..tail.len() - 8).filter(|at| (start + at).is_multiple_of(64));
    places.map(|at| u64::from_le_bytes(tail[at..at + 8].try_into().unwrap())).collect()
}

#[test]
fn a_reservation_in_a_shared_ring_shows_no_stamp() {
    on_both(small, |ring| {
        let mut inbox = ring.subscriber::<Text>().unwrap();
        let mut out = ring.publisher::<Text>().unwrap();
        // Each slot has been the first slot of a packet.
        advance(&mut out, &mut inbox, LAP);
        let words = leftovers(&mut out);
        assert!(words.len() >= 5);
        // Stamps of one lap would differ by the distance of their positions.
        let seen: HashSet<u64> = words.iter().copied().collect();
        assert_eq!(seen, HashSet::from([0]), "{words:x?}");
    });
}

#[test]
fn a_payload_built_from_leftovers_is_not_a_packet() {
    on_all(small, |ring| {
        let mut inbox = ring.subscriber::<Text>().unwrap();
        let mut out = ring.publisher::<Text>().unwrap();
        advance(&mut out, &mut inbox, LAP);
        let mut room = out.reserve_tail(200).unwrap();
        let tail = room.tail_mut();
        let start = tail.as_ptr().addr();
        let at = (0..).find(|at| (start + at).is_multiple_of(64)).unwrap();
        // The salt, if the word is the stamp of position 1.
        let salt = u64::from_le_bytes(tail[at..at + 8].try_into().unwrap()).wrapping_sub(1);
        let forged = salt.wrapping_add(2 * LAP + 1);
        tail[at..at + 8].copy_from_slice(&forged.to_le_bytes());
        room.commit();
        drop(inbox.recv().unwrap());
        advance(&mut out, &mut inbox, 2 * LAP + 1);
        assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)), "received a forged packet");
    });
}

#[test]
fn the_salt_of_a_heap_ring_is_not_constant() {
    // The constant salt of an earlier version.
    let salt = 0x9e37_79b9_7f4a_7c15_u64;
    let ring = small().heap().unwrap();
    let mut inbox = ring.subscriber::<Vec<u8>>().unwrap();
    let mut out = ring.publisher::<Vec<u8>>().unwrap();
    let mut forged_payload = vec![0_u8; 200];
    forged_payload[48..56].copy_from_slice(&(LAP + 1 + salt).to_le_bytes());
    out.send(&forged_payload).unwrap();
    drop(inbox.recv().unwrap());
    while out.send(&vec![1]).unwrap() < LAP {
        drop(inbox.recv().unwrap());
    }
    drop(inbox.recv().unwrap());
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)), "received a forged packet");
}
