//! Walks over rings that are used meanwhile.

use super::*;
use crate::ring::claim::Writer;
use crate::ring::cursor::{Cursor, Next};
use crate::ring::slot::Descriptor;
use crate::ring::tests::boxes::Boxes;
use crate::segment::settings::Claims;

fn publish(writer: &mut Writer, slots: u64) {
    writer.claim(slots).unwrap();
    writer.commit(Descriptor::data((slots * 64 - 16) as usize, 0));
}

#[test]
fn one_walk_counts_for_all_cursors() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        let ring = Boxes::new(16, claims, Overflow::Block);
        let (memory, _reader) = (ring.memory(), ring.reader(0));
        let mut writer = ring.writer(0);
        // Positions 0, 1, 4, 5, then padding from 12 to 16.
        for slots in [1, 3, 1, 7] {
            publish(&mut writer, slots);
        }
        let geometry = Geometry::of(&ring.settings);
        let counts = count_packets(&memory, &geometry, &[0, 4, 5, 12], 12);
        assert_eq!(counts, [Some(4), Some(2), Some(1), Some(0)]);
        // No boundary, and what is left of the walk.
        let counts = count_packets(&memory, &geometry, &[0, 2, 5], 12);
        assert_eq!(counts, [None, Some(0), Some(1)]);
    }
}

#[test]
fn a_walk_over_slots_that_are_used_again_does_not_spoil_the_others() {
    let ring = Boxes::new(16, Claims::Exclusive, Overflow::Block);
    let (memory, mut reader) = (ring.memory(), ring.reader(0));
    let mut writer = ring.writer(0);
    for _ in 0..16 {
        publish(&mut writer, 1);
        while matches!(reader.next(), Next::Taken(_)) {
            reader.release();
        }
    }
    for _ in 0..15 {
        publish(&mut writer, 1);
    }
    // A cursor stood at 12, and the tail at 28, when they were read.
    let counts = count_packets(&memory, &Geometry::of(&ring.settings), &[12, 16], 28);
    assert_eq!(counts[1], Some(12));
    let snapshot = read(&memory, &ring.settings);
    assert_eq!(snapshot.subscribers[0].cursor.unwrap().lag.packets, Some(15));
}

#[test]
fn packets_of_a_subscriber_that_joins_or_moved_on_are_not_counted() {
    let ring = Boxes::new(16, Claims::Exclusive, Overflow::Block);
    let (memory, mut reader) = (ring.memory(), ring.reader(0));
    let mut writer = ring.writer(0);
    publish(&mut writer, 1);
    let geometry = Geometry::of(&ring.settings);
    let packets = |snapshot: &RingSnapshot| snapshot.subscribers[0].cursor.unwrap().lag.packets;
    let mut before = pass(&memory, &ring.settings);
    count(&memory, &geometry, &mut before);
    assert_eq!(packets(&before), Some(1));
    let owner = &memory.subscribers()[0].details.owner;
    OwnerState::Joining.set(owner);
    assert_eq!(packets(&read(&memory, &ring.settings)), None);
    OwnerState::Taken.set(owner);
    let mut before = pass(&memory, &ring.settings);
    assert!(matches!(reader.next(), Next::Taken(_)));
    reader.release();
    count(&memory, &geometry, &mut before);
    assert_eq!(packets(&before), None);
}
