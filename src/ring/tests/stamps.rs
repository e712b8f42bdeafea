//! Stamps: their value, and that one lap's do not reveal another's.

use super::boxes::Boxes;
use crate::ring::slot::StampedPosition;
use crate::segment::settings::{Claims, Overflow};
use proptest::prelude::*;
use std::collections::HashSet;

const SLOTS: u64 = 16;

fn ring() -> Boxes {
    Boxes::new(SLOTS as usize, Claims::Exclusive, Overflow::Block)
}

proptest! {
    #[test]
    fn a_spot_that_moves_is_the_spot_that_is_there(from in 0_u64..100, to in 0_u64..140) {
        let ring = ring();
        let memory = ring.memory();
        prop_assert_eq!(StampedPosition::at(&memory, from).to(&memory, to), StampedPosition::at(&memory, to));
    }
}

#[test]
fn the_stamps_of_one_lap_do_not_reveal_those_of_the_next() {
    let ring = ring();
    let stamp = |lap| StampedPosition::at(&ring.memory(), lap * SLOTS).stamp();
    let distances: HashSet<u64> =
        (0..100).map(|lap| stamp(lap + 1).wrapping_sub(stamp(lap))).collect();
    assert_eq!(distances.len(), 100);
}

#[test]
fn the_hash_is_siphash_2_4() {
    // Computed by a program written from the paper's description (Aumasson, Bernstein: SipHash,
    // 2012), which gives the paper's own test value.
    let ring = ring();
    let salts = [0, 1].map(|lap| ring.memory().salt(lap * SLOTS));
    assert_eq!(salts, [0xee5a_7138_87db_7f84, 0x595d_a17a_b3e4_f31f]);
}
