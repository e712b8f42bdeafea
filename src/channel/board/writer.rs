//! The writer of a board.

use super::endpoint::{BoardEntry, BoardKey, CellId, KeyRef, KnownKeys};
use super::{CellHolder, TryWriteError, WriteError, WriteTimeoutError};
use crate::channel::verb;
use crate::error::{Failure, Form, OpenError};
use crate::packet::{self, Packet, Scratch, SendAs};
use crate::ring::board_cell::{CellWriter, Hindrance};
use crate::segment::Segment;
use crate::segment::entry::EntryId;
use crate::segment::layout::CellHead;
use crate::sys::{futex, stop::Stop};
use crate::wait::{Notifier, PENDING, Timeout, wait_until};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// First pause of a write that waits. Each pause is twice as long as the one before, up to 2 ms.
const FIRST_PAUSE: Duration = Duration::from_micros(20);

/// Why a write cannot go on yet, or not at all.
type WriteFailure = Failure<WriteError, CellHolder>;

/// Writes the values of a board.
///
/// Dropping it leaves the board; the values stay as long as a process is attached.
pub struct BoardWriter<T: Packet> {
    /// First: a pending write ends before the entry is left.
    cells: CellWriter,
    keys: KnownKeys,
    /// For each cell, once it was written. The first write wakes every waiting reader.
    notifiers: Vec<Option<Notifier>>,
    /// A waiter's heavy barrier does not reach this process.
    fences: bool,
    scratch: Scratch,
    limit: usize,
    stop: Option<Stop>,
    entry: BoardEntry,
    packet: PhantomData<fn() -> T>,
}

// Not derived: that would require `T: Debug`.
impl<T: Packet> fmt::Debug for BoardWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoardWriter").field("type", &T::TYPE.name).finish_non_exhaustive()
    }
}

impl<T: Packet> BoardWriter<T> {
    pub(super) fn join(attachment: &Arc<Segment>) -> Result<Self, OpenError> {
        let (entry, cells) = BoardEntry::writer(attachment)?;
        let keys = KnownKeys::new(attachment.memory().address());
        let notifiers = (0..cells.cells().heads().len()).map(|_| None).collect();
        Ok(Self {
            cells,
            keys,
            notifiers,
            fences: !futex::register_barrier(),
            scratch: Scratch::new(),
            limit: attachment.settings().cell_size,
            stop: attachment.stop().cloned(),
            entry,
            packet: PhantomData,
        })
    }

    verb! {
        /// Replaces the value of a key, and wakes the readers that wait for a change. Adds the key
        /// if it is new. Takes `&value`, or a [borrowed form](crate::packet::SendAs) of it.
        ///
        /// A key is a text of 1 to 64 bytes, or a [`CellId`]. The value is written into a buffer
        /// that no reader holds; readers of the old value keep it.
        ///
        /// Cost: one serialization, and one scan of the readers' pins with a fence in 4 to 32
        /// writes; with several writers also one compare-and-swap. A new key takes the control
        /// lock.
        ///
        /// Waits only if every other buffer of the cell is held by a reader, or while another
        /// writer writes this cell. With the default number of buffers no reader makes it wait for
        /// more than an instant, unless that reader is stopped within three instructions.
        ///
        /// # Errors
        ///
        /// [`TooLarge`](WriteError::TooLarge), [`Unserializable`](WriteError::Unserializable),
        /// [`BadKey`](WriteError::BadKey), [`BoardFull`](WriteError::BoardFull),
        /// [`UnknownCell`](WriteError::UnknownCell), [`Stopped`](WriteError::Stopped),
        /// [`Detached`](WriteError::Detached), [`System`](WriteError::System).
        write, try_write, write_timeout
            = write_with[K: BoardKey + ?Sized, P: SendAs<T>](key: &K, packet: P) -> ();
        WriteError, TryWriteError::Busy, WriteTimeoutError::Timeout
    }

    /// Sets what ends the waits of this writer.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.stop = Some(stop.clone());
    }

    /// The cell of a key, which is added if it is new. Readers can wait for its first value from
    /// then on.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), for the key.
    pub fn cell(&mut self, key: &str) -> Result<CellId, WriteError> {
        let index = self.find(key)?;
        Ok(self.keys.id(index))
    }

    fn write_with<K: BoardKey + ?Sized, P: SendAs<T>, F: Form<WriteError, CellHolder>>(
        &mut self,
        key: &K,
        packet: P,
        timeout: Timeout,
    ) -> Result<(), F> {
        let cell = self.find(key)?;
        self.write_cell(cell, packet.value(), timeout)
    }

    /// Replaces the value of a cell.
    #[inline]
    pub(super) fn write_cell<P: Packet, F: Form<WriteError, CellHolder>>(
        &mut self,
        cell: usize,
        value: &P,
        timeout: Timeout,
    ) -> Result<(), F> {
        let needed = packet::measure(value, &mut self.scratch).map_err(WriteError::from)?;
        if needed > self.limit {
            return Err(WriteError::TooLarge { needed, limit: self.limit }.into());
        }
        match self.attempt(cell, value, needed) {
            Ok(written) => written?,
            Err(hindrance) => F::retry(|| self.wait(cell, value, needed, hindrance, timeout))?,
        }
        self.notify(cell);
        Ok(())
    }

    // Always, as `CellWriter::write`.
    #[inline(always)]
    fn attempt<P: Packet>(
        &mut self,
        cell: usize,
        value: &P,
        len: usize,
    ) -> Result<Result<(), WriteError>, Hindrance> {
        let scratch = &mut self.scratch;
        let written = self.cells.write(cell, len, |room| packet::write(value, room, scratch))?;
        Ok(written.map_err(WriteError::from))
    }

    /// Waits until the cell can be written, and writes it. Clears the dead before each attempt.
    #[cold]
    #[inline(never)]
    fn wait<P: Packet>(
        &mut self,
        cell: usize,
        value: &P,
        len: usize,
        mut hindrance: Hindrance,
        timeout: Timeout,
    ) -> Result<(), WriteFailure> {
        let (deadline, mut pause) = (timeout.deadline(), FIRST_PAUSE);
        let look = |writer: &mut Self| {
            writer.clear_dead(cell);
            match writer.attempt(cell, value, len) {
                Ok(written) => Some(written),
                Err(_) if Stop::was_called(writer.stop.as_ref()) => Some(Err(WriteError::Stopped)),
                Err(found) => {
                    hindrance = found;
                    // Without a descriptor, a dead process in the way cannot be told from a living
                    // one. This writer lives, so a removed name alone ends no wait.
                    writer.entry.check_cut_off();
                    writer.entry.cut_off().map(|cause| Err(WriteError::Detached(cause)))
                }
            }
        };
        let written = wait_until(self, deadline, look, |_, deadline| {
            std::thread::sleep(deadline.cut(pause));
            pause = (pause * 2).min(PENDING);
        });
        match written {
            Some(written) => Ok(written?),
            None => Err(WriteFailure::NotReady(self.holder(hindrance))),
        }
    }

    /// Clears the dead, and the lock of the cell if its writer is dead.
    fn clear_dead(&self, cell: usize) {
        self.entry.reap_dead_and(|is_alive| {
            self.cells.take_over(cell, is_alive);
        });
    }

    fn holder(&self, hindrance: Hindrance) -> CellHolder {
        let memory = self.entry.attachment().memory();
        match hindrance {
            Hindrance::Reader(index) => {
                CellHolder::Reader { pid: memory.owner_pid(EntryId::Subscriber(index)) }
            }
            Hindrance::Writer(index) => {
                CellHolder::Writer { pid: memory.owner_pid(EntryId::Publisher(index)) }
            }
        }
    }

    /// Wakes the readers that wait for a change of a cell.
    #[inline]
    fn notify(&mut self, cell: usize) {
        let event_count = &self.cells.cells().heads()[cell].changed;
        match &self.notifiers[cell] {
            Some(notifier) if !notifier.may_have_waiters(event_count) => {}
            _ => self.wake(cell),
        }
    }

    #[cold]
    fn wake(&mut self, cell: usize) {
        let event_count = &self.cells.cells().heads()[cell].changed;
        let notifier = match &mut self.notifiers[cell] {
            Some(notifier) if !notifier.has_new_waiters(event_count) => return,
            Some(notifier) => notifier,
            first => first.insert(Notifier::new(event_count, self.fences)),
        };
        notifier.wake(event_count, || {
            futex::wake_all(&event_count.futex);
            true
        });
    }

    /// The cell of a key, which is added if it is new.
    #[inline]
    fn find<K: BoardKey + ?Sized>(&mut self, key: &K) -> Result<usize, WriteError> {
        match self.keys.find(self.cells.cells(), key) {
            Some(cell) => Ok(cell),
            None => self.add(key.key()),
        }
    }

    /// Adds a key. A process that is killed meanwhile leaves the cell without it.
    #[cold]
    fn add(&mut self, key: KeyRef<'_>) -> Result<usize, WriteError> {
        let key = match key {
            KeyRef::Name(key) => key,
            KeyRef::Cell(id) => return Err(WriteError::UnknownCell(id.index)),
        };
        if key.is_empty() || key.len() > CellHead::LONGEST_KEY {
            return Err(WriteError::BadKey { key: key.to_owned() });
        }
        let segment = self.entry.attachment();
        let control = segment.lock().map_err(|error| match error {
            OpenError::System { source, .. } => WriteError::System(source),
            OpenError::Detached { cause, .. } => WriteError::Detached(cause),
            other => WriteError::System(std::io::Error::other(other)),
        })?;
        let cells = self.cells.cells();
        // Again, under the lock: another writer may have added it.
        if let Some(cell) = self.keys.find(cells, key) {
            return Ok(cell);
        }
        let Some(index) = cells.heads().iter().position(|head| head.key().is_none()) else {
            return Err(WriteError::BoardFull { key: key.to_owned(), keys: cells.heads().len() });
        };
        cells.heads()[index].set_key(key);
        drop(control);
        Ok(index)
    }
}
