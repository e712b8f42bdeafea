//! What a passive reader sees, and that nobody sees it.

use super::boxes::{Boxes, fill, len_of, publish, receive};
use crate::ring::observer::{Copies, Look, ObserveFrom, PassiveReader};
use crate::ring::recover::{Voided, recover};
use crate::ring::slot::{Descriptor, StampedPosition};
use crate::segment::entry::EntryId;
use crate::segment::settings::{Claims, Overflow};
use crate::sync::Ordering;

const SLOTS: u64 = 16;

fn ring(claims: Claims, overflow: Overflow) -> Boxes {
    Boxes::new(SLOTS as usize, claims, overflow)
}

fn observer(ring: &Boxes, from: ObserveFrom) -> PassiveReader {
    PassiveReader::new(ring.memory(), &ring.settings, from)
}

/// The tags of the packets that are there, each of which must fill its packet.
fn tags(reader: &mut PassiveReader) -> (Look, Vec<u64>) {
    let mut copies = Copies::default();
    let look = reader.copy(&mut copies);
    let tags = copies.list().iter().map(|copied| {
        let bytes = copies.bytes(copied);
        assert_eq!((bytes.as_ptr().addr() % 16, bytes.len() % 64), (0, 48));
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let mut words: Vec<u64> = words.collect();
        words.dedup();
        assert_eq!(words.len(), 1, "a torn packet");
        words[0]
    });
    (look, tags.collect())
}

#[test]
fn packets_are_copied_in_order_and_voids_are_passed_over() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        let ring = ring(claims, Overflow::Block);
        let mut writer = ring.writer(0);
        (0..8).for_each(|tag| assert!(publish(&mut writer, 1, tag).is_ok()));
        let mut seen = observer(&ring, ObserveFrom::Now);
        assert_eq!(tags(&mut seen), (Look::Nothing, vec![]));
        // Padding comes before the last packet.
        for (tag, span) in [(1, 1), (2, 3), (3, 2), (4, 4)] {
            publish(&mut writer, span, tag).unwrap();
        }
        assert_eq!(tags(&mut seen), (Look::Packets, vec![1, 2, 3, 4]), "{claims:?}");
        assert_eq!((seen.position(), seen.tail()), (20, 20));
        assert_eq!(tags(&mut seen), (Look::Nothing, vec![]));
    }
}

/// The first packets are overwritten, and the walk finds the first that is not.
#[test]
fn an_observer_goes_on_at_a_packet_that_is_left() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let mut writer = ring.writer(0);
    let mut seen = observer(&ring, ObserveFrom::Now);
    for tag in 0..14 {
        publish(&mut writer, 1, tag).unwrap();
    }
    // The limit, and nothing is written there yet.
    let position = writer.claim(1).unwrap();
    let limit = position + 6;
    ring.memory().publishers()[0].details.limit.store(limit, Ordering::Relaxed);
    assert_eq!(tags(&mut seen), (Look::Skipped(limit - SLOTS), vec![]));
    assert_eq!(tags(&mut seen), (Look::Packets, (limit - SLOTS..14).collect()));
}

#[test]
fn three_quarters_of_a_ring_without_subscribers_can_be_read() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let mut writer = ring.writer(0);
    for first in 0..3 * SLOTS {
        // Exactly a lap behind the limit that the next packet needs.
        let mut seen = observer(&ring, ObserveFrom::Now);
        for tag in 0..SLOTS * 3 / 4 {
            publish(&mut writer, 1, first + tag).unwrap();
        }
        let expected = (first..first + SLOTS * 3 / 4).collect();
        assert_eq!(tags(&mut seen), (Look::Packets, expected));
        publish(&mut writer, 1, 0).unwrap();
    }
}

#[test]
fn an_observer_that_is_overrun_counts_the_slots() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let mut writer = ring.writer(0);
    let mut seen = observer(&ring, ObserveFrom::Now);
    for tag in 0..5 * SLOTS {
        publish(&mut writer, 1, tag).unwrap();
    }
    // Without a subscriber the tail is the only boundary that is known.
    assert_eq!(tags(&mut seen), (Look::Skipped(5 * SLOTS), vec![]));
    publish(&mut writer, 1, 99).unwrap();
    assert_eq!(tags(&mut seen), (Look::Packets, vec![99]));
}

#[test]
fn the_backlog_of_the_slowest_subscriber_can_be_read() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let (mut slow, mut fast) = (ring.reader(0), ring.reader(1));
    let mut writer = ring.writer(0);
    for tag in 0..SLOTS {
        publish(&mut writer, 1, tag).unwrap();
        receive(&mut fast).unwrap();
    }
    (0..4).for_each(|tag| assert_eq!(receive(&mut slow), Ok(tag)));
    let mut seen = observer(&ring, ObserveFrom::Backlog);
    assert_eq!(tags(&mut seen), (Look::Packets, (4..SLOTS).collect()));
    // It holds nobody back.
    (4..SLOTS).for_each(|tag| assert_eq!(receive(&mut slow), Ok(tag)));
    for tag in 0..SLOTS {
        publish(&mut writer, 1, tag).unwrap();
    }
    assert!(publish(&mut writer, 1, 0).is_err());
}

#[test]
fn a_claim_that_is_not_committed_stops_an_observer() {
    let ring = ring(Claims::Shared, Overflow::Block);
    let mut seen = observer(&ring, ObserveFrom::Now);
    let (mut one, mut other) = (ring.writer(0), ring.writer(1));
    let position = one.claim(2).unwrap();
    publish(&mut other, 1, 7).unwrap();
    assert_eq!(tags(&mut seen), (Look::Nothing, vec![]));
    fill(&one, position, 2, 6);
    one.commit(Descriptor::data(len_of(2), 0));
    assert_eq!(tags(&mut seen), (Look::Packets, vec![6, 7]));
}

/// The dead owner of an entry may have written up to its limit. Its successor's first limit can be
/// lower: the tail may have been moved on little since.
#[test]
fn a_successor_does_not_lower_the_limit() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let mut dead = ring.writer(0);
    publish(&mut dead, 1, 1).unwrap();
    dead.claim_many(&[1; 8]).unwrap();
    let limit = || ring.memory().publishers()[0].details.limit.load(Ordering::Relaxed);
    let before = limit();
    assert!(before >= 9, "{before}");
    drop(dead);
    let mut successor = ring.writer(0);
    publish(&mut successor, 1, 2).unwrap();
    assert!(successor.limit() < before && limit() == before, "{} {}", successor.limit(), limit());
}

#[test]
fn damaged_words_neither_hang_nor_leave_the_ring() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let mut writer = ring.writer(0);
    publish(&mut writer, 1, 1).unwrap();
    let memory = ring.memory();
    let words = [0, 1, SLOTS, 1 << 40, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX];
    for (limit, tail, cursor) in
        words.iter().flat_map(|a| words.iter().flat_map(move |b| words.map(|c| (*a, *b, c))))
    {
        memory.publishers()[0].details.limit.store(limit, Ordering::Relaxed);
        memory.head().tail.store(tail, Ordering::Relaxed);
        memory.head().membership.subscribers.store(u32::MAX, Ordering::Relaxed);
        memory.subscribers()[0].cursor.store(cursor, Ordering::Relaxed);
        for from in [ObserveFrom::Now, ObserveFrom::Backlog] {
            let mut seen = observer(&ring, from);
            (0..8).for_each(|_| drop(tags(&mut seen)));
        }
    }
}

#[test]
fn a_header_that_leaves_the_ring_is_refused() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let mut writer = ring.writer(0);
    let mut seen = observer(&ring, ObserveFrom::Now);
    publish(&mut writer, 1, 1).unwrap();
    publish(&mut writer, 1, 2).unwrap();
    let too_long = u64::from(u32::MAX);
    ring.memory().slot(1).descriptor.store(too_long, Ordering::Relaxed);
    assert_eq!(tags(&mut seen), (Look::Packets, vec![1]));
    for _ in 0..2 {
        assert_eq!(tags(&mut seen), (Look::Corrupt, vec![]));
    }
}

/// The last packet comes when the observer has found nothing, and has not yet looked whether the
/// ring was removed.
#[test]
fn a_ring_that_is_removed_meanwhile_is_read_to_its_end() {
    let ring = ring(Claims::Exclusive, Overflow::Block);
    let mut writer = ring.writer(0);
    let mut seen = observer(&ring, ObserveFrom::Now);
    let mut copies = Copies::default();
    let last = || publish(&mut writer, 1, 7).is_ok();
    assert_eq!(seen.copy_unless_removed(&mut copies, last), Some(Look::Packets));
    assert_eq!(copies.list().len(), 1);
    assert_eq!(seen.copy_unless_removed(&mut copies, || false), Some(Look::Nothing));
    assert_eq!(seen.copy_unless_removed(&mut copies, || true), None);
}

/// An observer that is overrun steps over a slot that is being overwritten, and comes to a packet
/// of a batch whose first packet is not stamped, because its publisher is at work or dead.
#[test]
fn an_observer_takes_nothing_of_a_batch_that_is_not_visible() {
    for is_recovered in [false, true] {
        let ring = Boxes::new(16, Claims::Shared, Overflow::Block);
        let memory = ring.memory();
        let (mut unfinished, mut other) = (ring.writer(0), ring.writer(1));
        let mut seen = PassiveReader::new(ring.memory(), &ring.settings, ObserveFrom::Now);
        for tag in 0..4 {
            publish(&mut other, 1, tag).unwrap();
        }
        assert_eq!(tags(&mut seen), (Look::Packets, vec![0, 1, 2, 3]));
        publish(&mut other, 1, 4).unwrap();
        assert_eq!(unfinished.leave_batch(4), 5);
        for tag in 9..18 {
            publish(&mut other, 1, tag).unwrap();
        }
        // Three slots that begin at 18: the second word of slot 4 looks like a header of 100 bytes.
        publish(&mut other, 3, 100).unwrap();
        if is_recovered {
            let geometry = ring.geometry();
            let is_alive = |entry: EntryId| entry.index() != 0;
            let mut voided = Voided::default();
            recover(&memory, &geometry, 0, &is_alive, &mut voided);
            assert_eq!(voided, Voided { packets: 1, slots: 4 });
        }
        // The observer loaded this stamp before it was overwritten.
        memory.slot(4).stamp.store(StampedPosition::at(&memory, 4).stamp(), Ordering::Relaxed);
        let (look, _) = tags(&mut seen);
        assert!(matches!(look, Look::Skipped(_)), "{look:?}");
        let (_, found) = tags(&mut seen);
        assert!(found.iter().all(|&tag| tag >= 9), "{is_recovered}: {found:?}");
    }
}
