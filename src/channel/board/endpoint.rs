//! The parts of a board's reader or writer: its entry, and the keys that it knows.
//!
//! A [`BoardEntry`] joins, clears the dead and leaves. The dead are cleared as in a ring: the pin
//! of a reader is the cursor of its entry.
//!
//! No endpoint joins a board whose name was removed. So a wait for a change cannot end any more
//! once no writer lives ([`BoardEntry::check_cut_off`]).
//!
//! Cells get their keys in ascending order and keep them. So an endpoint remembers the keys that it
//! has found, and reads only the cells that got a key since.

use crate::channel::join;
use crate::channel::owned_entry::{CUT_OFF, reap};
use crate::channel::reports;
use crate::error::{Detachment, OpenError};
use crate::ring::board_cell::{CellReader, CellWriter};
use crate::ring::membership::{self, Side};
use crate::segment::Segment;
use crate::segment::board_cells::CellMemory;
use crate::segment::entry::EntryId;
use crate::segment::view::LockedEntry;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::machine::monotonic;
use crate::trace::Hold;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// An entry of a board, whose liveness lock this value holds. It leaves when it is dropped.
#[derive(Debug)]
pub(super) struct BoardEntry {
    attachment: Arc<Segment>,
    entry_id: EntryId,
    /// Why a wait of this endpoint cannot end any more. Once it cannot, no later wait can.
    cut_off: OnceLock<Detachment>,
    /// When to look for it again, in nanoseconds of the monotonic clock. Atomic, because the
    /// changes of several keys share a reader.
    cut_off_at: AtomicU64,
}

impl BoardEntry {
    /// Joins as a reader.
    pub(super) fn reader(attachment: &Arc<Segment>) -> Result<(Self, CellReader), OpenError> {
        let join = |entry| CellReader::join(entry, attachment.cells());
        Self::join(attachment, Side::Subscribers, join)
    }

    /// Joins as a writer.
    pub(super) fn writer(attachment: &Arc<Segment>) -> Result<(Self, CellWriter), OpenError> {
        let join = |entry| CellWriter::join(entry, attachment.cells());
        Self::join(attachment, Side::Publishers, join)
    }

    /// Takes an entry, after the dead were cleared. `begin` runs under the control lock and cannot
    /// fail.
    fn join<R>(
        attachment: &Arc<Segment>,
        side: Side,
        begin: impl FnOnce(LockedEntry) -> R,
    ) -> Result<(Self, R), OpenError> {
        let control = attachment.lock()?;
        let what = match side {
            Side::Publishers => "writers",
            Side::Subscribers => "readers",
        };
        let entry_id = join::vacancy(&control, attachment, (side, what))?;
        let begun = begin(join::acquire_lock(attachment, entry_id)?);
        drop(control);
        let attachment = Arc::clone(attachment);
        let (cut_off, cut_off_at) = (OnceLock::new(), AtomicU64::new(0));
        let entry = Self { attachment, entry_id, cut_off, cut_off_at };
        reports::joined(&entry.attachment, entry_id);
        // Behind the liveness lock: a reader that saw the name removed before this look finds this
        // writer alive.
        match entry.attachment.detachment() {
            None => Ok((entry, begun)),
            Some(cause) => {
                let name = entry.attachment.shown_name();
                Err(OpenError::Detached { name, cause })
            }
        }
    }

    /// Why a wait of this endpoint cannot end any more, as found by the last check.
    pub(super) fn cut_off(&self) -> Option<Detachment> {
        self.cut_off.get().copied()
    }

    /// Looks whether a wait of this endpoint can still end. Does nothing within a second after
    /// the last look.
    ///
    /// It cannot if the descriptor is lost: then nothing tells which processes live. Nor can it if
    /// the name was removed, so that no process can join, and no writer lives.
    #[cold]
    pub(super) fn check_cut_off(&self) {
        let now = monotonic();
        if now < self.cut_off_at.load(Ordering::Relaxed) {
            return;
        }
        self.cut_off_at.store(now + CUT_OFF.as_nanos() as u64, Ordering::Relaxed);
        let cause = self.attachment.detachment().filter(|cause| match cause {
            Detachment::DescriptorClosed => true,
            Detachment::NameRemoved => !self.has_living_writer(),
        });
        if let Some(cause) = cause {
            // Another thread can only have found a cause, too.
            let _ = self.cut_off.set(cause);
        }
    }

    /// Returns true if a writer lives, in any process.
    fn has_living_writer(&self) -> bool {
        let writers = 0..self.attachment.settings().max_publishers;
        writers.map(EntryId::Publisher).any(|writer| self.attachment.is_alive(writer))
    }

    /// The index of the entry.
    pub(super) fn index(&self) -> usize {
        self.entry_id.index()
    }

    /// The attachment.
    pub(super) fn attachment(&self) -> &Arc<Segment> {
        &self.attachment
    }

    /// Clears the dead, unless another process holds the control lock, then calls `work` under it
    /// with a function that checks whether an entry's owner lives.
    #[cold]
    pub(super) fn reap_dead_and(&self, work: impl FnOnce(&dyn Fn(EntryId) -> bool)) {
        let segment = &self.attachment;
        let Some(_control) = segment.try_lock() else { return };
        let is_alive = |id| self.attachment.is_alive(id);
        reap(segment, segment.memory(), &is_alive);
        work(&is_alive);
    }
}

impl Drop for BoardEntry {
    fn drop(&mut self) {
        let segment = &self.attachment;
        if segment.is_inherited() {
            // In a forked child the memory is not mapped, and the entry is the parent's.
            return;
        }
        let _hold = Hold::new();
        let control = segment.lock_bounded();
        reports::leaving(segment, self.entry_id);
        let (memory, settings) = (segment.memory(), segment.settings());
        match (self.entry_id, &control) {
            (EntryId::Subscriber(index), Some(_)) => membership::leave_subscriber(memory, index),
            (EntryId::Subscriber(index), None) => membership::release(memory, index),
            (EntryId::Publisher(index), Some(_)) => {
                membership::leave_publisher(memory, settings, index);
            }
            // The next process that clears the dead frees the entry.
            _ => {}
        }
        self.attachment.release_liveness(self.entry_id);
    }
}

/// The cell of one key, for reads and writes without a search. Valid for the endpoints of the
/// [`Board`](super::Board) that it came from, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellId {
    pub(super) index: usize,
    /// Address of the board's mapping.
    pub(super) board: usize,
}

/// A key as an argument. Implemented for `str`, `String` and [`CellId`].
pub trait BoardKey: sealed::Sealed {
    #[doc(hidden)]
    fn key(&self) -> KeyRef<'_>;
}

/// A key, or the cell of one.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum KeyRef<'a> {
    /// A key.
    Name(&'a str),
    /// Its cell.
    Cell(CellId),
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::CellId {}
}

impl BoardKey for str {
    fn key(&self) -> KeyRef<'_> {
        KeyRef::Name(self)
    }
}

impl BoardKey for String {
    fn key(&self) -> KeyRef<'_> {
        KeyRef::Name(self)
    }
}

impl BoardKey for CellId {
    fn key(&self) -> KeyRef<'_> {
        KeyRef::Cell(*self)
    }
}

impl std::fmt::Display for KeyRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Cell(id) => write!(f, "of cell {} of another board", id.index),
        }
    }
}

/// The keys that an endpoint knows.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    cells: HashMap<String, usize>,
    /// Address of the board's mapping.
    board: usize,
}

impl KnownKeys {
    /// No key, of the board whose mapping has this address.
    pub(super) fn new(board: usize) -> Self {
        Self { cells: HashMap::new(), board }
    }

    /// The index of a cell, if it is one of this board.
    pub(super) fn index_of(&self, cells: &CellMemory, id: CellId) -> Option<usize> {
        // An address may be that of an earlier board.
        (id.board == self.board && id.index < cells.heads().len()).then_some(id.index)
    }

    /// The cell of a key, if it has one.
    pub(super) fn find<K: BoardKey + ?Sized>(
        &mut self,
        cells: &CellMemory,
        key: &K,
    ) -> Option<usize> {
        match key.key() {
            KeyRef::Cell(id) => self.index_of(cells, id),
            KeyRef::Name(name) => self.cells.get(name).copied().or_else(|| {
                self.look(cells);
                self.cells.get(name).copied()
            }),
        }
    }

    /// The identity of a cell.
    pub(super) fn id(&self, index: usize) -> CellId {
        CellId { index, board: self.board }
    }

    /// Reads the cells that got a key since the last look.
    #[cold]
    fn look(&mut self, cells: &CellMemory) {
        for (index, head) in cells.heads().iter().enumerate().skip(self.cells.len()) {
            let Some(key) = head.key() else { break };
            self.cells.entry(key).or_insert(index);
        }
    }
}
