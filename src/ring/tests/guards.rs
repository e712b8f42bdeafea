//! Safe code cannot misuse guards and entries: a batch belongs to its guard, and an endpoint to its
//! ring.

use super::boxes::{Boxes, publish};
use crate::ring::board_cell::CellReader;
use crate::ring::buffer::StableBatch;
use crate::ring::claim::Writer;
use crate::ring::cursor::{Cursor, Next};
use crate::ring::guard::{BatchGuard, HoldsBatch, HoldsPacket};
use crate::ring::reader::Reader;
use crate::segment::settings::{Claims, Overflow};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A holder that lends one reader, and then another one.
struct Wrong {
    readers: [Reader; 2],
    lent: Cell<usize>,
    /// `reader_mut` swaps the readers.
    swaps: bool,
}

impl HoldsPacket for Wrong {
    type Cursor = Reader;

    fn cursor(&self) -> &Reader {
        &self.readers[self.lent.get()]
    }

    fn release(&mut self) {}
}

impl HoldsBatch for Wrong {
    fn reader_mut(&mut self) -> &mut Reader {
        if self.swaps {
            let [first, second] = &mut self.readers;
            std::mem::swap(first, second);
        }
        &mut self.readers[0]
    }
}

/// Two readers of one ring: the first has three packets in flight, of these spans. The second has
/// released the same ones, and still has their list.
fn wrong(spans: [u64; 3], swaps: bool) -> Wrong {
    let ring = Boxes::new(16, Claims::Exclusive, Overflow::Block);
    let mut readers = [ring.reader(0), ring.reader(1)];
    let mut writer = ring.writer(0);
    for (tag, span) in spans.into_iter().enumerate() {
        publish(&mut writer, span, tag as u64).unwrap();
    }
    for reader in &mut readers {
        take(reader);
    }
    readers[1].release();
    Wrong { readers, lent: Cell::new(0), swaps }
}

fn take(reader: &mut Reader) {
    let Next::Taken(taken) = reader.next() else { panic!("a packet") };
    reader.take_more(taken, 3, |_| true);
}

/// Packets of different lengths, which are listed, and a run.
const KINDS: [[u64; 3]; 2] = [[1, 1, 2], [1, 1, 1]];

#[test]
fn a_guard_does_not_read_the_batch_of_another_reader() {
    let mut holder = wrong(KINDS[0], false);
    let guard = BatchGuard::new(&mut holder);
    assert_eq!((guard.count(), guard.bytes(1).len()), (3, 48));
    guard.endpoint().lent.set(1);
    let read = catch_unwind(AssertUnwindSafe(|| guard.bytes(1).len()));
    assert!(read.is_err(), "a packet that is not in flight was read");
}

#[test]
fn a_guard_of_a_run_reads_what_was_in_flight() {
    let mut holder = wrong(KINDS[1], false);
    let guard = BatchGuard::new(&mut holder);
    let addresses = |guard: &BatchGuard<'_, Wrong>| [0, 1, 2].map(|at| guard.bytes(at).as_ptr());
    let before = addresses(&guard);
    guard.endpoint().lent.set(1);
    assert_eq!((guard.count(), addresses(&guard)), (3, before));
    assert!(catch_unwind(AssertUnwindSafe(|| guard.bytes(3).len())).is_err());
}

#[test]
fn a_guard_keeps_a_part_of_its_own_batch_only() {
    for (spans, swaps) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let mut holder = wrong(spans, swaps);
        let mut guard = BatchGuard::new(&mut holder);
        let kept = catch_unwind(AssertUnwindSafe(|| {
            guard.keep(2);
            (guard.count(), guard.taken(1).position)
        }));
        assert_eq!(kept.ok(), (!swaps).then_some((2, 1)), "{spans:?}, swaps: {swaps}");
    }
}

#[test]
#[should_panic(expected = "makes no publisher")]
fn the_entry_of_a_subscriber_makes_no_publisher() {
    let ring = Boxes::new(16, Claims::Exclusive, Overflow::Block);
    Writer::join(ring.subscriber_entry(0));
}

#[test]
#[should_panic(expected = "the cells of another board")]
fn a_reader_does_not_pin_the_cells_of_another_board() {
    let (board, other) = (Boxes::board(2), Boxes::board(2));
    CellReader::join(board.subscriber_entry(0), other.cells());
}
