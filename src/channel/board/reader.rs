//! The reader of a board.

use super::endpoint::{BoardEntry, BoardKey, CellId, KeyRef, KnownKeys};
use super::{ChangedError, ChangedTimeoutError, ReadError, TryChangedError};
use crate::channel::received::deref_to_packet;
use crate::channel::reports;
use crate::channel::verb;
use crate::channel::waitable::{Selectable, Selectee, Waitable};
use crate::error::{Failure, Form, OpenError};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, Unpack, UnpackError};
use crate::ring::board_cell::{CellFault, CellReader, CellWord, Pinned, PinnedValue};
use crate::ring::buffer::StableBytes;
use crate::segment::Segment;
use crate::segment::kept::KeptEventCount;
use crate::segment::layout::EventCount;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, PENDING, Pace, Sleep, Subject, Timeout, Wait, Waiter, wait_until};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A reader that polls looks once in this many polls whether a writer can still come.
const IDLE_POLLS: u32 = 1024;

/// Reads the values of a board, in place. It has one value in hand at a time.
///
/// Dropping it leaves the board.
///
/// # When the name was removed
///
/// Once the name of the board in `/dev/shm` was removed, no endpoint can join it. If no writer
/// lives either, a wait for a change ends with [`Detached`](ChangedError::Detached). Reads go on.
/// A reader checks this once a second while it waits.
///
/// # Selecting
///
/// [`select`](crate::select) waits for a change of one key: see [`change_of`](Self::change_of). The
/// reader itself is not selectable. Each key has its own event count, so that a write wakes only
/// the readers of its key. A wait for any of 65,536 keys would have to register with each.
pub struct BoardReader<T: Packet> {
    cells: CellReader,
    keys: KnownKeys,
    /// The word of each cell that this reader read last.
    seen: Vec<CellWord>,
    /// Polls that found nothing.
    polls: u32,
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
    pub(super) fn join(attachment: &Arc<Segment>, wait: Wait) -> Result<Self, OpenError> {
        let (entry, cells) = BoardEntry::reader(attachment)?;
        let keys = KnownKeys::new(attachment.memory().address());
        let seen = vec![CellWord::NONE; cells.cells().heads().len()];
        let waiter = Waiter::new(wait, Sleep::Futex).with_stop(attachment.stop());
        Ok(Self { cells, keys, seen, polls: 0, waiter, entry, packet: PhantomData })
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
        /// A value that it has not read yet counts as a change. Several changes count as one. The
        /// key must be there: a writer adds it with a write, or with
        /// [`cell`](super::BoardWriter::cell) before there is a value.
        ///
        /// # Errors
        ///
        /// [`UnknownKey`](ChangedError::UnknownKey), [`Corrupt`](ChangedError::Corrupt),
        /// [`Stopped`](ChangedError::Stopped), [`Detached`](ChangedError::Detached).
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

    /// A key's next change, for [`select`](crate::select). It is ready when
    /// [`wait_changed`](Self::wait_changed) would return at once. A read of the key ends that.
    ///
    /// ```
    /// use packetring::{Board, select, try_select};
    ///
    /// let board = Board::<f64>::builder().heap::<f64>()?;
    /// let (mut rates, mut reader) = (board.writer()?, board.reader()?);
    /// rates.write("EURUSD", &1.08)?;
    /// rates.write("EURJPY", &160.2)?;
    /// let keys = [reader.cell("EURUSD")?, reader.cell("EURJPY")?];
    /// reader.read(&keys[0])?;
    /// let [mut usd, mut jpy] = [reader.change_of(keys[0])?, reader.change_of(keys[1])?];
    /// assert_eq!(select(&mut [&mut usd, &mut jpy]), 1); // not read before: a change
    /// assert_eq!(*reader.read(&keys[1])?, 160.2);
    /// assert_eq!(try_select(&mut [&mut reader.change_of(keys[1])?]), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownKey`](ReadError::UnknownKey) for a cell of another board.
    pub fn change_of(&self, cell: CellId) -> Result<CellChange<'_, T>, ReadError> {
        match self.keys.index_of(self.cells.cells(), cell) {
            Some(cell) => Ok(CellChange { reader: self, cell }),
            None => Err(ReadError::UnknownKey(KeyRef::Cell(cell).to_string())),
        }
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
            false => match self.entry.cut_off() {
                Some(cause) => Err(ChangedError::Detached(cause).into()),
                None => Err(Failure::NotReady(())),
            },
        })?;
        Ok(self.read_cell(cell).map_err(ChangedError::from)?)
    }

    /// Returns true if a wait for a change of this cell ends at once.
    pub(super) fn is_ready(&self, cell: usize) -> bool {
        self.is_changed(cell) || self.entry.cut_off().is_some()
    }

    /// See [`BoardEntry::check_cut_off`].
    pub(super) fn check_cut_off(&self) {
        self.entry.check_cut_off();
    }

    /// Returns true if a cell has another value than this reader read last.
    pub(super) fn is_changed(&self, cell: usize) -> bool {
        let word = self.cells.word(cell);
        word != CellWord::NONE && word != self.seen[cell]
    }

    /// The event count that is notified after each write of a cell.
    pub(super) fn changed_of(&self, cell: usize) -> &EventCount {
        &self.cells.cells().heads()[cell].changed
    }

    /// As [`changed_of`](Self::changed_of), with its memory.
    pub(super) fn kept_changed_of(&self, cell: usize) -> KeptEventCount {
        self.cells.cells().changed(cell)
    }

    /// The version of the value that this reader read last; 0 before the first one.
    pub(super) fn seen_version(&self, cell: usize) -> u64 {
        match self.seen[cell] {
            CellWord::NONE => 0,
            word => word.version(),
        }
    }

    /// Counts the present value of a cell as read.
    pub(super) fn note_seen(&mut self, cell: usize) {
        self.seen[cell] = self.cells.word(cell);
    }

    /// The stop that ends its waits.
    pub(super) fn stop(&self) -> Option<&Stop> {
        self.waiter.stop()
    }

    /// How this reader waits.
    pub(super) fn how_to_wait(&self) -> Wait {
        self.waiter.wait()
    }

    /// Returns false if the cell has not changed in time, or its wait was ended.
    fn wait(&mut self, cell: usize, timeout: Timeout) -> bool {
        if self.is_changed(cell) {
            return true;
        }
        if matches!(timeout, Timeout::Zero) {
            self.polls = self.polls.wrapping_add(1);
            if self.polls.is_multiple_of(IDLE_POLLS) {
                self.check_cut_off();
            }
            return false;
        }
        let is_changed = || self.is_changed(cell);
        let (waiter, deadline) = (&self.waiter, timeout.deadline());
        if waiter.spin_briefly(is_changed) || waiter.spin(deadline.cut(PENDING), is_changed) {
            return true;
        }
        let event_count = self.changed_of(cell);
        let look = |_: &mut Pace| {
            let ended = || self.entry.cut_off().map(|_| false);
            waiter.outcome(is_changed()).or_else(ended)
        };
        let pause = |pace: &mut Pace, deadline: Deadline| {
            // Bounded: a writer may be killed between its write and its wake-up.
            let subject = Subject { id: 0, is_pending: false };
            let sleep = |bound| waiter.park(event_count, bound, is_changed);
            if !pace.pause(subject, deadline, sleep) {
                self.check_cut_off();
            }
        };
        wait_until(&mut Pace::new(), deadline, look, pause).unwrap_or(false)
    }

    /// Reads the value of a cell.
    #[inline]
    pub(super) fn read_cell(&mut self, cell: usize) -> Result<CellValue<'_, T>, ReadError> {
        match self.cells.take(cell) {
            Ok(Pinned::Same) => {}
            Ok(Pinned::New) => self.seen[cell] = self.cells.held_word(),
            Ok(Pinned::Nothing) => return Err(ReadError::NoValue),
            Err(fault) => return Err(corrupt(&self.entry, cell, fault)),
        }
        match Validated::open(PinnedValue::new(&mut self.cells)) {
            Ok(opened) => Ok(CellValue { opened }),
            Err((guard, _)) => Err(invalid::<T>(&self.entry, cell, guard.bytes())),
        }
    }

    #[inline]
    fn find<K: BoardKey + ?Sized>(&mut self, key: &K) -> Result<usize, ReadError> {
        let found = self.keys.find(self.cells.cells(), key);
        found.ok_or_else(|| ReadError::UnknownKey(key.key().to_string()))
    }
}

#[cold]
fn invalid<T: Packet>(entry: &BoardEntry, cell: usize, bytes: &[u8]) -> ReadError {
    let what = packet::explain::<T>(bytes);
    reports::invalid_value(entry.attachment(), cell, &what);
    ReadError::Corrupt(what.into())
}

#[cold]
fn corrupt(entry: &BoardEntry, cell: usize, fault: CellFault) -> ReadError {
    let what = match fault {
        CellFault::Word => "word",
        CellFault::Len => "length",
    };
    let what = format!("invalid {what} of cell {cell}");
    reports::corrupt(entry.attachment(), entry.index(), &what);
    ReadError::Corrupt(what.into())
}

/// The next change of one key of a [`BoardReader`], to be [selected](crate::select).
/// [`BoardReader::change_of`] returns it.
pub struct CellChange<'a, T: Packet> {
    reader: &'a BoardReader<T>,
    cell: usize,
}

impl<T: Packet> fmt::Debug for CellChange<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellChange").field("cell", &self.cell).finish_non_exhaustive()
    }
}

impl<T: Packet> Selectable for CellChange<'_, T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

impl<T: Packet> Waitable for CellChange<'_, T> {
    fn has_next(&mut self) -> bool {
        self.is_ready()
    }

    fn is_ready(&self) -> bool {
        self.reader.is_ready(self.cell)
    }

    fn check_liveness(&mut self, _is_long: bool) {
        self.reader.check_cut_off();
    }

    fn event_count(&self) -> Option<&EventCount> {
        Some(self.reader.changed_of(self.cell))
    }

    fn stop(&self) -> Option<&Stop> {
        self.reader.stop()
    }

    fn wait(&self) -> Wait {
        self.reader.how_to_wait()
    }
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
