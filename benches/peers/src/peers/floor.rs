//! The floors: the two works on the bare machine.
//!
//! - Stream: slots with a stamp. A writer copies records in, a reader copies them out and
//!   publishes its cursor once in [`CREDIT`] slots. A slot takes one cache line for a record of 48
//!   bytes, and two for a record of 64 bytes.
//! - Round trip: a number on one cache line for each direction ([`bounce`](crate::bounce)), for any
//!   size of record.

use crate::bounce::Lines;
use crate::record::Record;
use crate::shared::{Plain, Shared};
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The reader publishes its cursor once in this many slots.
const CREDIT: u64 = 64;

pub(crate) struct Floor;

#[repr(C, align(64))]
struct Slot<R> {
    /// Position of the record plus one; 0 in a fresh slot.
    stamp: AtomicU64,
    record: UnsafeCell<R>,
}

#[repr(align(128))]
struct Cursor(AtomicU64);

/// The slots and the reader's cursor.
#[repr(C)]
pub(crate) struct Slots<R> {
    cursor: Cursor,
    slots: [Slot<R>; DEPTH],
}

// SAFETY: the only writer writes a record after it acquires a cursor beyond the previous record of
// the slot, and before it releases the stamp. The only reader reads the record after it acquires
// the stamp and before it releases the cursor.
unsafe impl<R: Record> Sync for Slots<R> {}
// SAFETY: all fields are words, for which zeros are valid; the alignment is 128; all stores go to
// atomics or cells.
unsafe impl<R: Record> Plain for Slots<R> {}

/// An end with its next position. `limit`: the writer may write below this position.
pub(crate) struct End<R: Record> {
    slots: Shared<Slots<R>>,
    position: u64,
    limit: u64,
}

impl Transport for Floor {
    type Sender<R: Record> = End<R>;
    type Receiver<R: Record> = End<R>;

    fn sender<R: Record>(way: &Way) -> Result<End<R>, Failure> {
        way.wait_for("made")?;
        Ok(End { slots: Shared::open(&name(way))?, position: 0, limit: DEPTH as u64 })
    }

    fn receiver<R: Record>(way: &Way) -> Result<End<R>, Failure> {
        let slots = Shared::create(&name(way))?;
        way.post("made", "")?;
        Ok(End { slots, position: 0, limit: 0 })
    }
}

/// Name of the shared memory of this direction.
pub(crate) fn name(way: &Way) -> String {
    format!("/{}", way.name())
}

impl<R: Record> End<R> {
    #[inline]
    fn slot(&self) -> &Slot<R> {
        &self.slots.slots[self.position as usize % DEPTH]
    }

    #[cold]
    fn wait_for_room(&mut self) {
        let Self { slots, position, .. } = self;
        self.limit = spin(|| {
            // Pairs with the release in `receive`.
            let limit = slots.cursor.0.load(Ordering::Acquire) + DEPTH as u64;
            (*position < limit).then_some(limit)
        });
    }
}

impl<R: Record> transport::Sender<R> for End<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        if self.position >= self.limit {
            self.wait_for_room();
        }
        let slot = self.slot();
        // SAFETY: the reader has passed the previous record, and reads no record before its stamp.
        unsafe { slot.record.get().write(*record) };
        // Pairs with the acquire in `receive`.
        slot.stamp.store(self.position + 1, Ordering::Release);
        self.position += 1;
        Ok(())
    }

    /// Sends one by one: the floor has no cost that a batch could share.
    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        records.iter().try_for_each(|record| self.send(record))
    }
}

impl<R: Record> transport::Receiver<R> for End<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let slot = self.slot();
        // Pairs with the release in `send`.
        spin(|| (slot.stamp.load(Ordering::Acquire) == self.position + 1).then_some(()));
        // SAFETY: the stamp was stored after the record, and the writer waits for the cursor.
        tally.take(unsafe { slot.record.get().read() }.sequence());
        self.position += 1;
        if self.position.is_multiple_of(CREDIT) {
            // Pairs with the acquire in `wait_for_room`.
            self.slots.cursor.0.store(self.position, Ordering::Release);
        }
        Ok(())
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        self.receive(tally)
    }
}

/// The lines that are bounced. The caller creates them, the other side opens them.
pub(crate) fn lines(way: &Way, is_caller: bool) -> Result<Shared<Lines>, Failure> {
    if is_caller {
        let lines = Shared::create(&name(way))?;
        way.post("made", "")?;
        return Ok(lines);
    }
    way.wait_for("made")?;
    Ok(Shared::open(&name(way))?)
}
