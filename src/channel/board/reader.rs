//! The reader of a board.

use super::endpoint::{BoardEntry, BoardKey, CellId, KnownKeys};
use super::error::{ChangedError, ChangedTimeoutError, ReadError, TryChangedError};
use crate::channel::received::deref_to_packet;
use crate::channel::verb;
use crate::error::{Failure, Form, OpenError};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, Unpack, UnpackError};
use crate::ring::buffer::StableBytes;
use crate::ring::cell::{CellFault, CellReader, CellWord, Pinned, PinnedValue};
use crate::segment::SharedSegment;
use crate::sys::stop::Stop;
use crate::wait::{IDLE, PENDING, Sleep, Timeout, Wait, Waiter, wait_until};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Reads the values of a board, in place. It has one value in hand at a time.
///
/// Dropping it leaves the board.
pub struct BoardReader<T: Packet> {
    cells: CellReader,
    keys: KnownKeys,
    /// The word of each cell that this reader read last.
    seen: Vec<CellWord>,
    waiter: Waiter,
    entry: BoardEntry,
    packet: PhantomData<fn() -> T>,
}

// Not derived: that would require `T: Debug`.
impl<T: Packet> fmt::Debug for BoardReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoardReader").field("type", &T::TYPE.name).finish_non_exhaustive()
    }
}

impl<T: Packet> BoardReader<T> {
    pub(super) fn join(attachment: &Arc<SharedSegment>, wait: Wait) -> Result<Self, OpenError> {
        let (entry, cells) = BoardEntry::reader(attachment)?;
        let keys = KnownKeys::new(attachment.segment().memory().address());
        let seen = vec![CellWord::NONE; cells.cells().heads().len()];
        let waiter = Waiter::new(wait, Sleep::Futex).with_stop(attachment.segment().stop());
        Ok(Self { cells, keys, seen, waiter, entry, packet: PhantomData })
    }

    /// Reads the latest value of a key, in place. Does not wait.
    ///
    /// The value in hand is never rewritten. It stays the same while the guard lives, and keeps one
    /// buffer of its cell.
    ///
    /// Cost: one check of the archive; no copy. A value that this reader has not read before costs
    /// one exchange, and a key one hash: a [`CellId`] needs none.
    ///
    /// # Errors
    ///
    /// [`UnknownKey`](ReadError::UnknownKey), [`NoValue`](ReadError::NoValue),
    /// [`Corrupt`](ReadError::Corrupt).
    #[inline]
    pub fn read<K: BoardKey + ?Sized>(&mut self, key: &K) -> Result<CellValue<'_, T>, ReadError> {
        let cell = self.find(key)?;
        self.read_cell(cell)
    }

    verb! {
        /// Waits until a key has another value than this reader read last, then reads it in place.
        /// A value that it has not read yet counts as a change. Several changes count as one.
        ///
        /// # Errors
        ///
        /// [`UnknownKey`](ChangedError::UnknownKey), [`Corrupt`](ChangedError::Corrupt).
        wait_changed, try_changed, wait_changed_timeout
            = changed[K: BoardKey + ?Sized](key: &K) -> CellValue<'_, T>;
        ChangedError, TryChangedError::Unchanged, ChangedTimeoutError::Timeout
    }

    /// The cell of a key.
    ///
    /// # Errors
    ///
    /// [`UnknownKey`](ReadError::UnknownKey).
    pub fn cell(&mut self, key: &str) -> Result<CellId, ReadError> {
        let index = self.find(key)?;
        Ok(self.keys.id(index))
    }

    /// Changes how this reader waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.waiter.set(wait);
    }

    /// Sets what ends the waits of this reader.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.waiter.set_stop(Some(stop));
    }

    /// Joins as another reader, for another thread. It shares the attachment.
    ///
    /// # Errors
    ///
    /// As [`Board::reader`](super::Board::reader).
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        let mut reader = Self::join(self.entry.attachment(), self.waiter.wait())?;
        reader.waiter.set_stop(self.waiter.stop());
        Ok(reader)
    }

    fn changed<K: BoardKey + ?Sized, F: Form<ChangedError, ()>>(
        &mut self,
        key: &K,
        timeout: Timeout,
    ) -> Result<CellValue<'_, T>, F> {
        let cell = self.find(key).map_err(ChangedError::from)?;
        self.changed_cell(cell, timeout)
    }

    /// Waits for a change of a cell, and reads it.
    pub(super) fn changed_cell<F: Form<ChangedError, ()>>(
        &mut self,
        cell: usize,
        timeout: Timeout,
    ) -> Result<CellValue<'_, T>, F> {
        F::retry(|| match self.wait(cell, timeout) {
            true => Ok(()),
            false if self.waiter.is_stopped() => Err(ChangedError::Stopped.into()),
            false => Err(Failure::NotReady(())),
        })?;
        Ok(self.read_cell(cell).map_err(ChangedError::from)?)
    }

    /// Returns false if the cell has not changed in time.
    fn wait(&self, cell: usize, timeout: Timeout) -> bool {
        let is_changed = || {
            let word = self.cells.word(cell);
            word != CellWord::NONE && word != self.seen[cell]
        };
        if is_changed() || matches!(timeout, Timeout::Zero) {
            return is_changed();
        }
        let (waiter, deadline) = (&self.waiter, timeout.deadline());
        if waiter.spin_briefly(is_changed) || waiter.spin(deadline.cut(PENDING), is_changed) {
            return true;
        }
        let event_count = &self.cells.cells().heads()[cell].changed;
        // Some(false): stopped.
        let look = |_: &mut ()| match is_changed() {
            false => waiter.is_stopped().then_some(false),
            true => Some(true),
        };
        let pause = |_: &mut (), deadline: crate::wait::Deadline| {
            waiter.park(event_count, deadline.cut(IDLE), is_changed);
        };
        wait_until(&mut (), deadline, look, pause).unwrap_or(false)
    }

    /// Reads the value of a cell.
    #[inline]
    pub(super) fn read_cell(&mut self, cell: usize) -> Result<CellValue<'_, T>, ReadError> {
        match self.cells.take(cell) {
            Ok(Pinned::Same) => {}
            Ok(Pinned::New) => self.seen[cell] = self.cells.held_word(),
            Ok(Pinned::Nothing) => return Err(ReadError::NoValue),
            Err(fault) => return Err(corrupt(cell, fault)),
        }
        match Validated::open(PinnedValue::new(&mut self.cells)) {
            Ok(opened) => Ok(CellValue { opened }),
            Err((guard, _)) => Err(ReadError::Corrupt(packet::explain::<T>(guard.bytes()).into())),
        }
    }

    #[inline]
    fn find<K: BoardKey + ?Sized>(&mut self, key: &K) -> Result<usize, ReadError> {
        let found = self.keys.find(self.cells.cells(), key);
        found.ok_or_else(|| ReadError::UnknownKey(key.key().to_string()))
    }
}

#[cold]
fn corrupt(cell: usize, fault: CellFault) -> ReadError {
    let what = match fault {
        CellFault::Word => "word",
        CellFault::Len => "length",
    };
    ReadError::Corrupt(format!("invalid {what} of cell {cell}").into())
}

/// A value of a cell, checked and read in place. Derefs to its archived type.
///
/// It is never rewritten while this guard lives. Operations are associated functions, such as
/// `CellValue::version(&value)`, so that they never hide the value's own methods.
pub struct CellValue<'a, T: Packet> {
    opened: Validated<PinnedValue<'a>, T>,
}

impl<T: Packet> CellValue<'_, T> {
    /// Number of the write: ascending in each cell, from 1 when the board was made.
    pub fn version(this: &Self) -> u64 {
        this.opened.guard().word().version()
    }

    /// Makes an owned value, and releases the buffer.
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can fail.
    pub fn unpack(this: Self) -> Result<T, UnpackError>
    where
        T: Unpack,
    {
        T::unpack(this.opened.get())
    }
}

deref_to_packet!(CellValue);
