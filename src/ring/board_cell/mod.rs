//! Cells: one value each, which readers pin and read in place while a writer replaces it.
//!
//! ```text
//!  reader                                    writer
//!  ──────                                    ──────
//!  w := word                                 a free buffer, or: fence, read all pins
//!  pin := buffer of w      (exchange)        fill the buffer
//!  word still w? in hand                     word := (version + 1, buffer)
//!  pin := none             (release)
//! ```
//!
//! Guarantees:
//!
//! - A value is seen whole or not at all: the word is stored last.
//! - A value in a reader's hand is not rewritten. A writer fills only buffers that were neither
//!   current nor pinned in a scan behind its fence. A reader whose pin that scan missed finds
//!   another word at its second look.
//! - A process may die at any instruction. A writer leaves the last committed value; its buffer was
//!   never current. The pin of a reader is cleared with its entry ([`reap`](super::reap)).
//! - A reader makes a bounded number of steps. After [`TRIES`] looks that found another word, it
//!   pins every buffer of the cell for two instructions, and so needs no second look.
//!
//! A buffer that a scan found free stays free until its writer makes it current: nobody can pin it
//! and find its word. So one scan serves up to 32 writes.
//!
//! With several writers, each write holds the lock of its cell. The lock names the writer's entry;
//! the lock of a dead writer is cleared under the control lock, by a writer that waits for it or by
//! the next owner of the entry. Nothing else has to be repaired.
//!
//! The pin of a reader is the cursor word of its subscriber entry; a writer has a publisher entry.

mod reader;
mod writer;

#[cfg(not(loom))]
pub(crate) use reader::PinnedValue;
pub(crate) use reader::{CellReader, Pinned};
pub(crate) use writer::{CellWriter, Hindrance};

#[cfg(not(loom))]
use crate::segment::board_cells::CellMemory;
use crate::segment::layout::NOWHERE;
#[cfg(not(loom))]
use crate::sync::Ordering;

/// Looks of a reader before it pins every buffer.
pub(crate) const TRIES: usize = if cfg!(loom) { 1 } else { 8 };

/// Bits of a buffer's index.
const BUFFER_BITS: u32 = 11;
/// As the buffer of a pin: every buffer of the cell.
const EVERY: u64 = (1 << BUFFER_BITS) - 1;

const _: () = assert!(crate::segment::settings::MAX_BUFFERS < EVERY as usize);

/// The word of a cell: the version of its value, and the buffer that has it. Versions count writes
/// and repeat after 2⁵³ of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CellWord(u64);

impl CellWord {
    /// No value.
    pub(crate) const NONE: Self = Self(0);

    fn buffer(self) -> usize {
        (self.0 & EVERY) as usize
    }

    /// Number of the write.
    pub(crate) fn version(self) -> u64 {
        self.0 >> BUFFER_BITS
    }

    /// The word of the next value.
    fn next(self, buffer: usize) -> Self {
        // Never 0: that is no value.
        let version = self.version().wrapping_add(1) & (u64::MAX >> BUFFER_BITS);
        Self(version.max(1) << BUFFER_BITS | buffer as u64)
    }
}

/// Words in shared memory that no process of this version stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellFault {
    /// The word of a cell names no buffer.
    Word,
    /// The length of a value exceeds its buffer.
    Len,
}

/// The pin of a buffer, or of every buffer.
fn pin_of(cell: usize, buffer: u64) -> u64 {
    (cell as u64) << BUFFER_BITS | buffer
}

/// Buffer of a pin, if it is one in this cell.
fn pinned(pin: u64, cell: usize) -> Option<u64> {
    (pin != NOWHERE && pin >> BUFFER_BITS == cell as u64).then_some(pin & EVERY)
}

/// The cell of a pin.
#[cfg(not(loom))]
pub(crate) fn pinned_cell(pin: u64) -> Option<usize> {
    (pin != NOWHERE).then_some((pin >> BUFFER_BITS) as usize)
}

/// A cell as a process reads it that has no entry in the board.
#[cfg(not(loom))]
#[derive(Clone, Debug)]
pub(crate) struct CellSnapshot {
    pub(crate) index: usize,
    /// `None`: it has none, as the cell of a latest value.
    pub(crate) key: Option<String>,
    /// 0: no value yet.
    pub(crate) version: u64,
    /// Index of the entry of the writer that has the lock of the cell.
    pub(crate) writer: Option<usize>,
}

/// Reads the cells that have a key or a value.
#[cfg(not(loom))]
pub(crate) fn snapshot(cells: &CellMemory) -> Vec<CellSnapshot> {
    let cells = cells.heads().iter().enumerate().map(|(index, head)| CellSnapshot {
        index,
        key: head.key(),
        version: CellWord(head.word.load(Ordering::Acquire)).version(),
        writer: head.lock.load(Ordering::Relaxed).checked_sub(1).map(|entry| entry as usize),
    });
    cells.filter(|cell| cell.key.is_some() || cell.version > 0).collect()
}
