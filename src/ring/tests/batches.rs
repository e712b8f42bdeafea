//! Batches whose packets become visible together, and what is left of one whose publisher died.

use super::boxes::{Boxes, publish, publish_batch, receive};
use crate::ring::cursor::{Cursor, Next};
use crate::ring::recover::{Recovered, Voided, recover};
use crate::ring::slot::Descriptor;
use crate::segment::layout::NOWHERE;
use crate::segment::settings::{Claims, Overflow};
use crate::sync::Ordering;

const BOTH: [Claims; 2] = [Claims::Exclusive, Claims::Shared];

/// All lengths up to three slots, through the caches and past them.
#[test]
fn each_packet_of_a_batch_is_a_copy() {
    for (claims, past_caches) in BOTH.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        for len in 1..=176_usize {
            let ring = Boxes::new(16, claims, Overflow::Block);
            let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
            // What is left over from earlier laps.
            for _ in 0..5 {
                publish(&mut writer, 3, u64::MAX).unwrap();
                receive(&mut reader).unwrap();
            }
            let archives: Vec<u8> = (0..4 * len).map(|at| (at % 251) as u8).collect();
            let descriptor = Descriptor::data(len, 7);
            let spans = [descriptor.span(); 4];
            let mut sent = 0;
            while sent < 4 {
                let (_, count) = writer.claim_many(&spans[sent..]).unwrap();
                let some = &archives[sent * len..][..count * len];
                writer.publish_copies(descriptor, some, past_caches);
                sent += count;
            }
            for archive in archives.chunks(len) {
                let Next::Taken(taken) = reader.next() else { panic!("{claims:?} {len}") };
                assert_eq!(taken.descriptor, descriptor);
                assert_eq!(reader.payload(), archive, "{claims:?}, past caches: {past_caches}");
                reader.release();
            }
            assert_eq!(reader.next(), Next::Nothing);
            let memory = ring.memory();
            let record = &memory.publishers()[0].record;
            assert_eq!(record.position.load(Ordering::Relaxed), NOWHERE);
        }
    }
}

#[test]
#[should_panic(expected = "a batch that is longer than its claim")]
fn a_batch_that_is_longer_than_its_claim_is_refused() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::Block);
    let mut writer = ring.writer(0);
    writer.claim_many(&[1, 1]).unwrap();
    writer.publish_copies(Descriptor::data(48, 0), &[0; 3 * 48], false);
}

#[test]
fn a_successor_uncovers_nothing_of_a_batch() {
    for (before, behind) in [(0, 1), (3, 2), (6, 3), (11, 4)] {
        let ring = Boxes::new(8, Claims::Exclusive, Overflow::Block);
        let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
        for tag in 0..before {
            publish(&mut writer, 1, tag).unwrap();
            assert_eq!(receive(&mut reader), Ok(tag));
        }
        // A batch that was complete leaves its end, too, and one may be left twice.
        publish_batch(&mut writer, &[20]).unwrap();
        writer.leave_batch(2);
        drop(writer);
        let mut second = ring.writer(0);
        second.leave_batch(behind.min(8 - (before as usize + 1) % 8));
        drop(second);
        let mut successor = ring.writer(0);
        assert_eq!(receive(&mut reader), Ok(20));
        for tag in 30..50 {
            assert_eq!(receive(&mut reader), Err(Next::Nothing), "{before}");
            publish(&mut successor, 1, tag).unwrap();
            assert_eq!(receive(&mut reader), Ok(tag), "{before}");
        }
    }
}

/// A batch that was stamped completely and whose tail was not stored.
#[test]
fn a_successor_keeps_a_batch_that_is_visible() {
    let ring = Boxes::new(8, Claims::Exclusive, Overflow::Block);
    let mut reader = ring.reader(0);
    publish_batch(&mut ring.writer(0), &[1, 2, 3]).unwrap();
    ring.memory().head().tail.store(0, Ordering::Relaxed);
    publish(&mut ring.writer(0), 1, 4).unwrap();
    assert_eq!([0; 4].map(|_| receive(&mut reader)), [Ok(1), Ok(2), Ok(3), Ok(4)]);
}

/// The end in a record is that of another process.
#[test]
fn a_successor_erases_nothing_but_stamps_ahead() {
    let ring = Boxes::new(8, Claims::Exclusive, Overflow::Block);
    let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
    for tag in 0..6 {
        publish(&mut writer, 1, tag).unwrap();
    }
    drop(writer);
    for end in [0, 3, 6, 7, 1 << 62, u64::MAX] {
        ring.memory().publishers()[0].record.batch_end.store(end, Ordering::Relaxed);
        drop(ring.writer(0));
    }
    assert_eq!([0; 6].map(|_| receive(&mut reader)), [0, 1, 2, 3, 4, 5].map(Ok));
}

fn recover_dead(ring: &Boxes, index: usize) -> (Recovered, Voided) {
    let mut voided = Voided::default();
    let done = recover(&ring.memory(), &ring.geometry(), index, &|_| false, &mut voided);
    (done, voided)
}

#[test]
fn a_batch_of_the_dead_becomes_one_void_packet() {
    let ring = Boxes::new(16, Claims::Shared, Overflow::Block);
    let mut reader = ring.reader(0);
    let (mut dying, mut other) = (ring.writer(0), ring.writer(1));
    publish(&mut dying, 1, 1).unwrap();
    dying.leave_batch(5);
    publish(&mut other, 1, 2).unwrap();
    assert_eq!(receive(&mut reader), Ok(1));
    assert_eq!(receive(&mut reader), Err(Next::Nothing));
    let voided = Voided { packets: 1, slots: 5 };
    assert_eq!(recover_dead(&ring, 0), (Recovered::Cleared, voided));
    assert_eq!(receive(&mut reader), Ok(2));
    assert_eq!(receive(&mut reader), Err(Next::Nothing));
}

/// A publisher that lost the race for the batch's position is recovered first.
#[test]
fn a_batch_of_the_dead_is_void_as_a_whole_behind_a_lost_race() {
    for len in 1..=6 {
        let ring = Boxes::new(16, Claims::Shared, Overflow::Block);
        let mut reader = ring.reader(0);
        ring.writer(1).leave_batch(4);
        let memory = ring.memory();
        let record = &memory.publishers()[0].record;
        record.len.store(len, Ordering::Relaxed);
        record.position.store(0, Ordering::Relaxed);
        publish(&mut ring.writer(0), 1, 9).unwrap();
        record.position.store(0, Ordering::Relaxed);
        assert_eq!(recover_dead(&ring, 0).1, Voided { packets: 1, slots: 4 }, "{len}");
        assert_eq!(receive(&mut reader), Ok(9), "{len}");
        assert_eq!(recover_dead(&ring, 1), (Recovered::Cleared, Voided::default()), "{len}");
    }
}

/// The end of a batch that is complete says nothing about a later claim.
#[test]
fn a_later_claim_keeps_what_was_stamped() {
    let ring = Boxes::new(16, Claims::Shared, Overflow::Block);
    let mut reader = ring.reader(0);
    let mut dying = ring.writer(0);
    publish_batch(&mut dying, &[1, 2, 3]).unwrap();
    let (position, _) = dying.claim_many(&[1, 1, 1]).unwrap();
    super::boxes::fill(&dying, position, 1, 4);
    dying.commit(Descriptor::data(48, 0));
    dying.forget_claim();
    assert_eq!(recover_dead(&ring, 0).1, Voided { packets: 1, slots: 2 });
    publish(&mut ring.writer(1), 1, 5).unwrap();
    assert_eq!([0; 5].map(|_| receive(&mut reader)), [1, 2, 3, 4, 5].map(Ok));
}
