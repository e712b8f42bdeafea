//! The newest value: the interface of a peer that has a cell for it, and the works with a cell.
//!
//! A cell in shared memory holds one [`Record`]. One process writes it, others read it at any time.
//!
//! - Write: one process writes. Afterwards the other process opens the cell, and checks that it
//!   holds the last value.
//! - Watched write: meanwhile the other process reads without a pause. It checks that no value is
//!   damaged or older than the one before, until it has read the last value. A burst of writes
//!   counts only if the other process read during it: a busy machine may take its core.
//! - Read: one process reads a value that the other process has written, and checks each read.
//!
//! Operations are timed in bursts, and the median burst counts: a process that loses its core for a
//! moment spoils few bursts.

use crate::peers::floor;
use crate::record::Record;
use crate::shared::{Plain, Shared};
use crate::tally::wrong;
use crate::transport::Failure;
use crate::way::Way;
use crate::work::{BURST, Kind, Side, Task};
use std::hint::black_box;
use std::mem::replace;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of the value that is read. It differs from the number of a default record.
const VALUE: u64 = 48;

/// Number of reads of the process that watches, on a cache line of its own.
#[repr(align(128))]
struct Reads(AtomicU64);

// SAFETY: zeros are valid, the alignment is 128, and all stores go to an atomic.
unsafe impl Plain for Reads {}

/// A peer that has a cell.
pub(crate) trait Cell {
    type Writer<R: Record>: Writer<R>;
    type Reader<R: Record>: Reader;

    /// Creates the cell and opens its writing end.
    fn writer<R: Record>(way: &Way) -> Result<Self::Writer<R>, Failure>;

    /// Opens a reading end in the other process, after the first write.
    fn reader<R: Record>(way: &Way) -> Result<Self::Reader<R>, Failure>;
}

/// The writing end.
pub(crate) trait Writer<R> {
    /// Replaces the value.
    fn write(&mut self, value: &R) -> Result<(), Failure>;
}

/// The reading end. It reads the value in place if the peer allows that.
pub(crate) trait Reader {
    /// Reads the value, and returns its [`sequence`](Record::sequence). Does not wait for a change.
    fn read(&mut self) -> Result<u64, Failure>;
}

impl Task {
    /// Runs this side of a work with a cell.
    pub(crate) fn run_cell<C: Cell, R: Record>(&self) -> Result<(), Failure> {
        let pin = self.pin();
        let _pinned = self.cores.pin_before_joining(pin)?;
        match (self.kind, self.side) {
            (Kind::Read, Side::Measuring) => self.read_cell::<C, R>(pin),
            (Kind::Read, Side::Other) => self.hold_cell::<C, R>(),
            (_, Side::Measuring) => self.write_cell::<C, R>(pin),
            (_, Side::Other) => self.watch_cell::<C, R>(pin),
        }
    }

    fn read_cell<C: Cell, R: Record>(&self, pin: usize) -> Result<(), Failure> {
        self.there.wait_for("made")?;
        let mut cell = C::reader::<R>(&self.there)?;
        let _pinned = self.cores.pin_after_joining(pin)?;
        let read = |_| match black_box(&mut cell).read()? {
            VALUE => Ok(()),
            found => Err(wrong(found, VALUE)),
        };
        self.time_bursts(read, || true)?;
        self.finish_together()
    }

    fn hold_cell<C: Cell, R: Record>(&self) -> Result<(), Failure> {
        let _cell = self.make_cell::<C, R>(VALUE)?;
        self.finish_together()
    }

    fn write_cell<C: Cell, R: Record>(&self, pin: usize) -> Result<(), Failure> {
        let reads: Shared<Reads> = Shared::create(&floor::name(&self.back))?;
        let mut cell = self.make_cell::<C, R>(0)?;
        let _pinned = self.cores.pin_after_joining(pin)?;
        let is_watched = self.kind == Kind::WatchedWrite;
        if is_watched {
            self.there.wait_for("watched")?;
        }
        // The value lies in memory, as in a program. Otherwise the compiler may compose it in
        // registers, because all its words are equal.
        let write = |number| cell.write(black_box(&R::of(number)));
        let mut seen = 0;
        self.time_bursts(write, || {
            let before = replace(&mut seen, reads.0.load(Ordering::Relaxed));
            !is_watched || seen != before
        })?;
        self.there.post("written", "")?;
        self.finish_together()
    }

    fn watch_cell<C: Cell, R: Record>(&self, pin: usize) -> Result<(), Failure> {
        let last = (self.warm_up() + self.count) * BURST - 1;
        let (opens_at, mut oldest) =
            if self.kind == Kind::WatchedWrite { ("made", 0) } else { ("written", last) };
        self.there.wait_for(opens_at)?;
        let reads: Shared<Reads> = Shared::open(&floor::name(&self.back))?;
        let mut cell = C::reader::<R>(&self.there)?;
        let _pinned = self.cores.pin_after_joining(pin)?;
        self.there.post("watched", "")?;
        for count in 1.. {
            let found = cell.read()?;
            reads.0.store(count, Ordering::Relaxed);
            if !(oldest..=last).contains(&found) {
                return Err(wrong(found, oldest));
            }
            if found == last {
                break;
            }
            oldest = found;
        }
        self.finish_together()
    }

    /// Creates the cell with a first value.
    fn make_cell<C: Cell, R: Record>(&self, number: u64) -> Result<C::Writer<R>, Failure> {
        let mut cell = C::writer::<R>(&self.there)?;
        cell.write(&R::of(number))?;
        self.there.post("made", "")?;
        Ok(cell)
    }
}
