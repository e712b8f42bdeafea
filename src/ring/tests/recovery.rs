//! Recovery, case by case: each rule of `ring::recover`.

use super::boxes::{Boxes, fill, len_of, publish, receive};
use crate::ring::cursor::Next;
use crate::ring::recover::{Recovered, Voided, recover};
use crate::ring::slot::Descriptor;
use crate::segment::entry::EntryId;
use crate::segment::layout::NOWHERE;
use crate::segment::settings::{Claims, Overflow};
use crate::sync::Ordering;

fn ring() -> Boxes {
    Boxes::new(8, Claims::Shared, Overflow::Block)
}

/// Leaves the record of a dead publisher.
fn leave_record(ring: &Boxes, index: usize, position: u64, len: u64) {
    let memory = ring.memory();
    memory.publishers()[index].record.len.store(len, Ordering::Relaxed);
    memory.publishers()[index].record.position.store(position, Ordering::Relaxed);
}

fn record(ring: &Boxes, index: usize) -> u64 {
    ring.memory().publishers()[index].record.position.load(Ordering::Relaxed)
}

fn nobody(_: EntryId) -> bool {
    false
}

fn second(entry: EntryId) -> bool {
    entry == EntryId::Publisher(1)
}

fn recover_dead(ring: &Boxes, index: usize, is_alive: &dyn Fn(EntryId) -> bool) -> Recovered {
    recover(&ring.memory(), &ring.geometry(), index, is_alive, &mut Voided::default())
}

#[test]
fn a_claim_that_was_filled_and_not_stamped_becomes_void() {
    let ring = ring();
    let mut reader = ring.reader(0);
    let mut dead = ring.writer(0);
    let position = dead.claim(3).unwrap();
    fill(&dead, position, 3, 9);
    assert_eq!(receive(&mut reader), Err(Next::Nothing));
    assert_eq!(recover_dead(&ring, 0, &nobody), Recovered::Cleared);
    publish(&mut ring.writer(1), 1, 5).unwrap();
    assert_eq!(receive(&mut reader), Ok(5));
    assert_eq!(record(&ring, 0), NOWHERE);
}

#[test]
fn the_stamped_part_of_a_batch_stays() {
    let ring = ring();
    let mut reader = ring.reader(0);
    let mut dead = ring.writer(0);
    let (position, count) = dead.claim_many(&[1, 1, 2]).unwrap();
    assert_eq!(count, 3);
    fill(&dead, position, 1, 7);
    dead.commit(Descriptor::data(len_of(1), 0));
    assert_eq!(recover_dead(&ring, 0, &nobody), Recovered::Cleared);
    publish(&mut ring.writer(1), 1, 8).unwrap();
    assert_eq!((receive(&mut reader), receive(&mut reader)), (Ok(7), Ok(8)));
}

#[test]
fn a_claim_over_the_end_of_the_memory_is_recovered_before_its_padding_is_stamped() {
    let ring = ring();
    let mut reader = ring.reader(0);
    let mut writer = ring.writer(1);
    for tag in 1..=2 {
        publish(&mut writer, 3, tag).unwrap();
        assert_eq!(receive(&mut reader), Ok(tag));
    }
    // Position 6 of 8: two slots of padding, then three of packet.
    ring.memory().head().tail.store(11, Ordering::Relaxed);
    leave_record(&ring, 0, 6, 5);
    assert_eq!(recover_dead(&ring, 0, &nobody), Recovered::Cleared);
    publish(&mut writer, 1, 3).unwrap();
    assert_eq!(receive(&mut reader), Ok(3));
}

#[test]
fn a_record_whose_claim_was_never_made_voids_nothing() {
    let ring = ring();
    let mut reader = ring.reader(0);
    leave_record(&ring, 0, 0, 4);
    assert_eq!(recover_dead(&ring, 0, &nobody), Recovered::Cleared);
    publish(&mut ring.writer(1), 2, 6).unwrap();
    assert_eq!(receive(&mut reader), Ok(6));
}

#[test]
fn of_two_dead_at_one_position_the_claim_that_was_made_holds() {
    // Either of the two made the claim, and either is recovered first.
    for (winner, loser) in [(1, 3), (3, 1)] {
        for order in [[0, 1], [1, 0]] {
            let ring = ring();
            let mut reader = ring.reader(0);
            ring.memory().head().tail.store(winner, Ordering::Relaxed);
            leave_record(&ring, 0, 0, winner);
            leave_record(&ring, 1, 0, loser);
            for index in order {
                assert_eq!(recover_dead(&ring, index, &nobody), Recovered::Cleared);
            }
            publish(&mut ring.writer(0), 1, 4).unwrap();
            assert_eq!(receive(&mut reader), Ok(4), "{winner} {order:?}");
        }
    }
}

#[test]
fn a_dead_loser_does_not_cover_the_claim_behind_the_winner_s() {
    let ring = ring();
    let mut reader = ring.reader(0);
    // The winner's slot is committed. Another claim begins behind it and is stamped.
    let mut writer = ring.writer(1);
    publish(&mut writer, 1, 1).unwrap();
    publish(&mut writer, 1, 2).unwrap();
    leave_record(&ring, 0, 0, 2);
    assert_eq!(recover_dead(&ring, 0, &second), Recovered::Cleared);
    assert_eq!((receive(&mut reader), receive(&mut reader)), (Ok(1), Ok(2)));
}

#[test]
fn neighbours_that_died_are_both_recovered() {
    let ring = ring();
    let mut reader = ring.reader(0);
    let (mut first, mut next) = (ring.writer(0), ring.writer(1));
    first.claim(2).unwrap();
    next.claim(1).unwrap();
    for index in [1, 0] {
        assert_eq!(recover_dead(&ring, index, &nobody), Recovered::Cleared);
    }
    publish(&mut ring.writer(0), 1, 3).unwrap();
    assert_eq!(receive(&mut reader), Ok(3));
}

#[test]
fn a_living_claim_is_never_revoked() {
    let ring = ring();
    let mut reader = ring.reader(0);
    let mut living = ring.writer(1);
    let position = living.claim(2).unwrap();
    leave_record(&ring, 0, position, 1);
    assert_eq!(recover_dead(&ring, 0, &second), Recovered::Blocked);
    fill(&living, position, 2, 8);
    living.commit(Descriptor::data(len_of(2), 0));
    assert_eq!(recover_dead(&ring, 0, &second), Recovered::Cleared);
    assert_eq!(receive(&mut reader), Ok(8));
}

#[test]
fn a_record_from_the_lap_before_is_stale() {
    let ring = ring();
    let mut reader = ring.reader(0);
    let mut writer = ring.writer(1);
    for tag in 0..10 {
        publish(&mut writer, 1, tag).unwrap();
        assert_eq!(receive(&mut reader), Ok(tag));
    }
    publish(&mut writer, 1, 10).unwrap();
    leave_record(&ring, 0, 1, 1);
    assert_eq!(recover_dead(&ring, 0, &second), Recovered::Cleared);
    assert_eq!(receive(&mut reader), Ok(10));
}

#[test]
fn a_recoverer_that_died_half_way_is_succeeded() {
    let ring = ring();
    let mut reader = ring.reader(0);
    let mut dead = ring.writer(0);
    dead.claim_many(&[2, 1]).unwrap();
    // A recoverer stamped the first void packet and died before the second.
    dead.void_first(2);
    assert_eq!(recover_dead(&ring, 0, &nobody), Recovered::Cleared);
    publish(&mut ring.writer(1), 1, 3).unwrap();
    assert_eq!(receive(&mut reader), Ok(3));
}

#[test]
fn a_record_of_any_numbers_ends_in_time() {
    for (position, len) in [(0, u64::MAX), (u64::MAX - 1, 7), (3, 8), (0, 0), (1 << 63, 7)] {
        let ring = ring();
        let mut reader = ring.reader(0);
        leave_record(&ring, 0, position, len);
        assert_eq!(recover_dead(&ring, 0, &nobody), Recovered::Cleared);
        publish(&mut ring.writer(1), 1, 3).unwrap();
        assert_eq!(receive(&mut reader), Ok(3), "{position} {len}");
    }
}
