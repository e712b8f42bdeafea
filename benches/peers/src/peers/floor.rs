//! The floors: what the machine itself takes for the two works, and nothing else.
//!
//! A stream: slots with a stamp, copied into by one writer and out of by one reader, which says how
//! far it is once in [`CREDIT`] slots. A slot is one cache line for a record of 48 bytes and two
//! for one of 64. A round trip: a number on a cache line each way ([`bounce`](crate::bounce)),
//! whatever the record.

use crate::bounce::Lines;
use crate::record::Record;
use crate::shared::{Plain, Shared};
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The reader publishes its cursor once in so many slots.
const CREDIT: u64 = 64;

pub(crate) struct Floor;

#[repr(C, align(64))]
struct Slot<R> {
    /// The position of the record, plus one: a fresh slot holds none.
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

// SAFETY: a record is written by the one writer, before the release of its stamp and after the
// acquire of a cursor beyond its last reading; and read by the one reader, between the two.
unsafe impl<R: Record> Sync for Slots<R> {}
// SAFETY: words, for which zeros are values, aligned to 128; all that is stored to is an atomic or
// a cell.
unsafe impl<R: Record> Plain for Slots<R> {}

/// The next position of one end; for the writer, with how far it may go.
pub(crate) struct End<R: Record> {
    slots: Shared<Slots<R>>,
    position: u64,
    limit: u64,
}

impl Transport for Floor {
    type Sender<R: Record> = End<R>;
    type Receiver<R: Record> = End<R>;

    fn sender<R: Record>(way: &Way) -> Result<End<R>, Failure> {
        way.learn("made")?;
        Ok(End { slots: Shared::open(&name(way))?, position: 0, limit: DEPTH as u64 })
    }

    fn receiver<R: Record>(way: &Way) -> Result<End<R>, Failure> {
        let slots = Shared::create(&name(way))?;
        way.tell("made", "")?;
        Ok(End { slots, position: 0, limit: 0 })
    }
}

fn name(way: &Way) -> String {
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
        // SAFETY: the reader is beyond what was here, and not to look at it before the stamp.
        unsafe { slot.record.get().write(*record) };
        // Pairs with the acquire in `receive`.
        slot.stamp.store(self.position + 1, Ordering::Release);
        self.position += 1;
        Ok(())
    }

    /// One by one: the floor has nothing that could be gathered.
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
        // SAFETY: the stamp says that it is written, and the writer waits for the cursor.
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

/// The line that is bounced: made by who calls, opened by who answers.
pub(crate) fn lines(way: &Way, is_caller: bool) -> Result<Shared<Lines>, Failure> {
    if is_caller {
        let lines = Shared::create(&name(way))?;
        way.tell("made", "")?;
        return Ok(lines);
    }
    way.learn("made")?;
    Ok(Shared::open(&name(way))?)
}
