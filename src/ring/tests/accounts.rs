//! Loss counters, hand-out positions, and the endpoint that a gate names.

use super::boxes::{Boxes, fill, publish, receive};
use crate::ring::cursor::{Cursor, Next};
use crate::ring::membership::{self, Side};
use crate::ring::overflow::Missed;
use crate::ring::reader::Reader;
use crate::segment::entry::EntryId;
use crate::segment::settings::{Claims, Overflow};
use crate::sync::Ordering;

/// An evictor died after it moved the cursor and before it counted. The next eviction is counted
/// right.
#[test]
fn after_an_orphaned_eviction_the_next_is_reported_whole() {
    for lost in [1, 2] {
        let ring = Boxes::new(8, Claims::Shared, Overflow::DropOldest);
        let mut reader = ring.reader(0);
        let mut writer = ring.writer(0);
        for tag in 0..8 {
            publish(&mut writer, 1, tag).unwrap();
        }
        let memory = ring.memory();
        let entry = &memory.subscribers()[0];
        // Died here: three begun, moved, not counted.
        entry.details.evictions_begun.fetch_add(3, Ordering::Relaxed);
        entry.cursor.store(3, Ordering::Release);
        assert_eq!(reader.next(), missed(0, false));
        for tag in 8..11 + lost {
            publish(&mut writer, 1, tag).unwrap();
        }
        assert_eq!(reader.next(), missed(lost, true), "lost {lost}");
    }
}

fn missed(packets: u64, exact: bool) -> Next {
    Next::Missed(Missed { packets, exact })
}

/// An evictor is slow to count. Then another one moves the cursor and is slow, too.
#[test]
fn a_late_count_does_not_hide_the_next_eviction() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::DropOldest);
    let mut reader = ring.reader(0);
    let mut writer = ring.writer(0);
    for tag in 0..8 {
        publish(&mut writer, 1, tag).unwrap();
    }
    let memory = ring.memory();
    let entry = &memory.subscribers()[0];
    entry.details.evictions_begun.fetch_add(3, Ordering::Relaxed);
    entry.cursor.store(3, Ordering::Release);
    assert_eq!(reader.next(), missed(0, false));
    // It counts now. The subscriber reads everything, and the number is reported.
    entry.details.evictions_counted.fetch_add(3, Ordering::Release);
    for tag in 3..8 {
        assert_eq!(receive(&mut reader), Ok(tag));
    }
    assert_eq!(reader.next(), missed(3, true));
    for tag in 8..16 {
        publish(&mut writer, 1, tag).unwrap();
    }
    // The next one moves the cursor over three and is preempted before it counts.
    entry.details.evictions_begun.fetch_add(3, Ordering::Relaxed);
    entry.cursor.store(11, Ordering::Release);
    assert!(matches!(reader.next(), Next::Missed(_)), "a gap that nobody was told of");
}

/// An evictor is slow to count. When it does, another one has begun and not moved the cursor.
#[test]
fn a_late_count_is_reported_once() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::DropOldest);
    let mut reader = ring.reader(0);
    let mut writer = ring.writer(0);
    for tag in 0..8 {
        publish(&mut writer, 1, tag).unwrap();
    }
    let memory = ring.memory();
    let entry = &memory.subscribers()[0];
    entry.details.evictions_begun.fetch_add(1, Ordering::Relaxed);
    entry.cursor.store(1, Ordering::Release);
    let mut told = 0;
    let mut look = |reader: &mut Reader| match reader.next() {
        Next::Missed(missed) => told += missed.packets,
        other => panic!("{other:?}"),
    };
    look(&mut reader);
    entry.details.evictions_counted.fetch_add(1, Ordering::Release);
    entry.details.evictions_begun.fetch_add(1, Ordering::Relaxed);
    for tag in 1..8 {
        assert_eq!(receive(&mut reader), Ok(tag));
    }
    look(&mut reader);
    assert_eq!(told, 1, "of one packet that was lost");
}

/// An evictor died before it moved the cursor. Then another one moves it over void packets only.
#[test]
fn void_packets_are_not_missed() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::DropOldest);
    let mut reader = ring.reader(0);
    let mut writer = ring.writer(0);
    writer.claim(1).unwrap();
    writer.abandon();
    for tag in 1..8 {
        publish(&mut writer, 1, tag).unwrap();
    }
    // Died here: three begun, not moved.
    ring.memory().subscribers()[0].details.evictions_begun.fetch_add(3, Ordering::Relaxed);
    publish(&mut writer, 1, 8).unwrap();
    let (mut received, mut missed) = (0, 0);
    loop {
        match reader.next() {
            Next::Taken(_) => received += 1,
            Next::Missed(some) => missed += some.packets,
            Next::Nothing => break,
            Next::Corrupt(fault) => panic!("{fault:?}"),
        }
        reader.release();
    }
    assert_eq!((received, missed), (8, 0));
}

/// The evictor of an entry's previous owner counts after the entry was reused.
#[test]
fn a_newcomer_does_not_report_its_predecessor_s_losses() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::DropOldest);
    let memory = ring.memory();
    memory.subscribers()[0].details.evictions_begun.fetch_add(3, Ordering::Relaxed);
    let mut reader = ring.reader(0);
    memory.subscribers()[0].details.evictions_counted.fetch_add(3, Ordering::Relaxed);
    assert_eq!(reader.next(), Next::Nothing);
}

/// The evictor may count or give up, and the newcomer cannot tell which. It would lose as many
/// packets of its own count.
#[test]
fn an_entry_with_an_eviction_under_way_is_taken_last() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::DropOldest);
    let memory = ring.memory();
    let vacancy = || membership::vacancy(&memory, &ring.settings, Side::Subscribers);
    assert_eq!(vacancy(), Some(EntryId::Subscriber(0)));
    let entries = memory.subscribers();
    entries[0].details.evictions_begun.fetch_add(3, Ordering::Relaxed);
    assert_eq!(vacancy(), Some(EntryId::Subscriber(1)));
    for entry in &entries[1..] {
        entry.details.evictions_begun.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(vacancy(), Some(EntryId::Subscriber(0)));
}

/// The end of the handed-out packets is never lowered.
#[test]
fn a_successor_does_not_take_back_what_was_handed_out() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::Block);
    let mut first = Reader::join_durable(ring.subscriber_entry(0), "cache");
    let mut writer = ring.writer(0);
    for tag in 0..4 {
        publish(&mut writer, 1, tag).unwrap();
    }
    let Next::Taken(taken) = first.next() else { panic!() };
    first.take_more(taken, 256, |_| true);
    let handed = |ring: &Boxes| ring.memory().subscribers()[0].details.durable.handed_out();
    assert_eq!(handed(&ring), 4);
    // It dies. The successor takes one and dies.
    let mut second = Reader::succeed(ring.subscriber_entry(0));
    assert!(matches!(second.next(), Next::Taken(_)));
    second.record_handed_out();
    assert_eq!(handed(&ring), 4, "packets 1 to 3 would come again without the flag");
}

/// A dead claim at the position of the subscriber's cursor (or of the history) is the blocker, so
/// that `try_send` recovers it.
#[test]
fn the_gate_names_the_claim_behind_which_a_subscriber_waits() {
    let ring = Boxes::new(8, Claims::Shared, Overflow::DropOldest);
    let _reader = ring.reader(0);
    let mut dead = ring.writer(0);
    let position = dead.claim(1).unwrap();
    fill(&dead, position, 1, 1);
    let mut living = ring.writer(1);
    let full = loop {
        if let Err(full) = publish(&mut living, 1, 2) {
            break full;
        }
    };
    assert_eq!(full.gate.holder, Some(EntryId::Publisher(0)));
}

/// A newcomer stores a tail as its first cursor that it read a lap ago.
#[test]
fn a_stale_newcomer_does_not_shrink_a_claim_to_nothing() {
    let ring = Boxes::new(8, Claims::Exclusive, Overflow::Block);
    let mut writer = ring.writer(0);
    // The third packet needs padding, so the last scan was at position 6.
    for span in [3, 3, 3, 1] {
        publish(&mut writer, span, 7).unwrap();
    }
    assert_eq!((writer.tail(), writer.limit()), (12, 13));
    let memory = ring.memory();
    memory.head().membership.subscribers.store(1, Ordering::Relaxed);
    memory.subscribers()[0].cursor.store(1, Ordering::Release);
    // Four would need another scan, which the newcomer's cursor stops.
    assert_eq!(writer.claim_many(&[1, 1, 1, 1]), Ok((12, 2)));
}
