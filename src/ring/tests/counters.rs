//! Counters that outlive the stay of their owner, and those of entries that are used again.

use super::boxes::{Boxes, publish, receive};
use crate::ring::claim;
use crate::ring::counters::{self, Counters};
use crate::ring::cursor::{Cursor, Next};
use crate::ring::membership;
use crate::ring::reader::Reader;
use crate::ring::reap::{self, Slots};
use crate::segment::entry::EntryId;
use crate::segment::settings::{Claims, Overflow};
use std::num::NonZeroU32;

fn of(ring: &Boxes, entry_id: EntryId) -> Counters {
    counters::snapshot(&ring.memory(), entry_id).unwrap()
}

/// Packets and bytes.
fn traffic(ring: &Boxes, entry_id: EntryId) -> (u64, u64) {
    let counters = of(ring, entry_id);
    (counters.packets, counters.bytes)
}

const PUBLISHER: EntryId = EntryId::Publisher(0);
const SUBSCRIBER: EntryId = EntryId::Subscriber(0);

#[test]
fn the_counters_stay_when_the_dead_are_cleared_and_begin_anew_with_the_next_owner() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            let ring = Boxes::new(16, claims, overflow);
            // Positions that are not 0.
            let mut before = ring.writer(0);
            publish(&mut before, 3, 1).unwrap();
            let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
            for span in [1, 3, 2, 4] {
                publish(&mut writer, span, 2).unwrap();
            }
            for _ in 0..3 {
                receive(&mut reader).unwrap();
            }
            let expected = [(4, 640), (3, 384)];
            let now = || [traffic(&ring, PUBLISHER), traffic(&ring, SUBSCRIBER)];
            assert_eq!(now(), expected);
            // Both die with a claim and a packet in flight, and are cleared.
            writer.claim(2).unwrap();
            writer.forget_claim();
            assert!(matches!(reader.next(), Next::Taken(_)));
            assert_eq!(now(), expected);
            let reaped = reap::reap(&ring.memory(), &ring.settings, Slots::Writable, &|_| false);
            assert_eq!((reaped.endpoints, now()), (2, expected));
            // Clearing changes nothing the second time.
            membership::release(&ring.memory(), 0);
            assert_eq!(now(), expected);

            let (_writer, mut reader) = (ring.writer(0), ring.reader(0));
            assert_eq!(now(), [(0, 0); 2], "{claims:?}, {overflow:?}");
            let mut writer = ring.writer(1);
            publish(&mut writer, 2, 3).unwrap();
            receive(&mut reader).unwrap();
            assert_eq!(traffic(&ring, SUBSCRIBER), (1, 128));
        }
    }
}

#[test]
fn void_slots_and_aborted_claims_are_no_packets() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            let ring = Boxes::new(16, claims, overflow);
            let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
            let mut packets = 0;
            for turn in 0..40 {
                writer.claim(2).unwrap();
                writer.abandon();
                // Crosses the end of the memory, behind padding, again and again.
                publish(&mut writer, 5, turn).unwrap();
                packets += 1;
                receive(&mut reader).unwrap();
                let expected = (packets, packets * 320);
                assert_eq!(traffic(&ring, PUBLISHER), expected);
                assert_eq!(traffic(&ring, SUBSCRIBER), expected);
            }
        }
    }
}

#[test]
fn a_batch_counts_the_packets_that_are_kept() {
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        let ring = Boxes::new(32, Claims::Shared, overflow);
        let (mut writer, mut reader) = (ring.writer(0), ring.reader(0));
        publish(&mut writer, 2, 1).unwrap();
        writer.claim(3).unwrap();
        writer.abandon();
        publish(&mut writer, 1, 2).unwrap();
        publish(&mut writer, 4, 3).unwrap();
        writer.claim(1).unwrap();
        writer.abandon();
        let take = |reader: &mut Reader| {
            let Next::Taken(first) = reader.next() else { panic!() };
            reader.take_more(first, 256, |_| true);
        };
        take(&mut reader);
        assert_eq!(traffic(&ring, SUBSCRIBER), (0, 0), "in flight");
        reader.unreceive();
        take(&mut reader);
        reader.keep_first(2);
        assert!(reader.release());
        assert_eq!(traffic(&ring, SUBSCRIBER), (2, 192), "{overflow:?}");
        take(&mut reader);
        assert!(reader.release() && !reader.release());
        assert_eq!(traffic(&ring, SUBSCRIBER), (3, 448));
        assert_eq!(of(&ring, SUBSCRIBER).redelivered, 3);
        // The void packet at the end was a part of the last batch.
        assert_eq!(reader.next(), Next::Nothing);
        publish(&mut writer, 1, 4).unwrap();
        receive(&mut reader).unwrap();
        assert_eq!(traffic(&ring, SUBSCRIBER), (4, 512));
        assert_eq!(of(&ring, SUBSCRIBER).redelivered, 3);
    }
}

/// Of a batch that is put back in part, each probe counts once.
#[test]
fn a_probe_that_a_reader_meets_twice_counts_once() {
    for claims in [Claims::Exclusive, Claims::Shared] {
        let ring = Boxes::new(32, claims, Overflow::Block);
        claim::switch(&ring.memory(), NonZeroU32::new(1));
        let (mut reader, mut writer) = (ring.reader(0), ring.writer(0));
        for tag in 0..3 {
            publish(&mut writer, 1, tag).unwrap();
        }
        let Next::Taken(first) = reader.next() else { panic!("no packet") };
        reader.take_more(first, 3, |_| true);
        let second = reader.list()[1].position;
        reader.keep_until(second);
        reader.release();
        assert_eq!([receive(&mut reader), receive(&mut reader)], [Ok(1), Ok(2)]);
        assert_eq!(ring.memory().latency().of_reader(0).count, 3, "{claims:?}");
    }
}
