//! The reader of cells: pins a value, and releases it.

use super::{CellFault, CellWord, EVERY, TRIES, pin_of};
use crate::failpoint::{Failpoint, failpoint};
#[cfg(not(loom))]
use crate::ring::buffer::StableBytes;
use crate::ring::membership;
use crate::segment::board_cells::CellMemory;
use crate::segment::layout::{CellHead, NOWHERE};
use crate::segment::view::{LockedEntry, RingMemory};
#[cfg(loom)]
use crate::sync::fence;
use crate::sync::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::ptr::NonNull;

/// A reader's local state. It has at most one value pinned.
///
/// # Invariants
///
/// 1. While `held` names a cell, the cursor of `entry` pins its buffer, and the buffer was current
///    after that pin was stored. So no writer that keeps the protocol writes to it.
/// 2. The bytes in `held` lie in that buffer, or there are none. They live as long as `cells`.
#[derive(Debug)]
pub(crate) struct CellReader {
    memory: RingMemory,
    cells: CellMemory,
    /// Index of its entry.
    entry: usize,
    /// A pin may stay between two reads: there are buffers for the pins of all readers.
    retains: bool,
    held: Held,
}

/// The value that is pinned.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// [`NO_CELL`]: there is none.
    cell: usize,
    word: CellWord,
    #[cfg(not(loom))]
    bytes: NonNull<[u8]>,
}

/// The cell of no value.
const NO_CELL: usize = usize::MAX;

impl Held {
    const NOTHING: Self = Self {
        cell: NO_CELL,
        word: CellWord::NONE,
        #[cfg(not(loom))]
        bytes: NonNull::slice_from_raw_parts(NonNull::dangling(), 0),
    };
}

// SAFETY: the pointer in `held` leads into the memory of `cells`, which is `Send` and `Sync`, and
// bytes that are read only.
#[cfg(not(loom))]
unsafe impl Send for CellReader {}
// SAFETY: as above; a shared reader gives no access to the bytes.
#[cfg(not(loom))]
unsafe impl Sync for CellReader {}

/// Result of [`CellReader::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// The cell has no value yet.
    Nothing,
    /// The value that was pinned already.
    Same,
    /// A value that was pinned now.
    New,
}

impl CellReader {
    /// Joins at an entry that was just locked, under the control lock.
    ///
    /// # Panics
    ///
    /// If the cells are those of another board.
    pub(crate) fn join(entry: LockedEntry, cells: CellMemory) -> Self {
        let (memory, _, entry) = entry.into_subscriber();
        assert!(cells.is_in(&memory), "the cells of another board");
        membership::join_cell_reader(&memory, entry);
        let retains = cells.buffers() >= memory.subscribers().len() + 2;
        Self { memory, cells, entry, retains, held: Held::NOTHING }
    }

    /// The cells.
    pub(crate) fn cells(&self) -> &CellMemory {
        &self.cells
    }

    /// The word of a cell now.
    #[inline]
    pub(crate) fn word(&self, cell: usize) -> CellWord {
        load(&self.cells.heads()[cell])
    }

    /// The word of the value that is pinned.
    #[inline]
    pub(crate) fn held_word(&self) -> CellWord {
        self.held.word
    }

    /// Pins the current value of a cell.
    #[inline]
    pub(crate) fn take(&mut self, cell: usize) -> Result<Pinned, CellFault> {
        if self.held.cell == cell && self.held.word == self.word(cell) {
            return Ok(Pinned::Same);
        }
        self.take_slow(cell)
    }

    #[inline(never)]
    fn take_slow(&mut self, cell: usize) -> Result<Pinned, CellFault> {
        // The pin of an earlier value stays until it is overwritten, and protects nothing.
        self.held = Held::NOTHING;
        let taken = self.pin(cell).and_then(|word| match word {
            Some(word) => self.hold(cell, word).map(|()| Pinned::New),
            None => Ok(Pinned::Nothing),
        });
        if taken != Ok(Pinned::New) {
            self.release();
        }
        taken
    }

    /// Pins the buffer of the current value.
    fn pin(&self, cell: usize) -> Result<Option<CellWord>, CellFault> {
        let (head, pin) = (&self.cells.heads()[cell], self.own());
        let mut word = load(head);
        for _ in 0..TRIES {
            if word == CellWord::NONE {
                return Ok(None);
            }
            failpoint(Failpoint::CellPin);
            swap(pin, pin_of(cell, self.buffer_of(word)?));
            failpoint(Failpoint::CellLook);
            let again = look(head);
            if again == word {
                return Ok(Some(word));
            }
            word = again;
        }
        failpoint(Failpoint::CellPin);
        swap(pin, pin_of(cell, EVERY));
        failpoint(Failpoint::CellLook);
        // A scan that missed the pin came before this load, so it did not free this buffer.
        let word = look(head);
        // Pairs with the acquire in `CellWriter::scan`, which sees this pin or the wider one.
        pin.store(pin_of(cell, self.buffer_of(word)?), Ordering::Release);
        Ok(Some(word))
    }

    fn buffer_of(&self, word: CellWord) -> Result<u64, CellFault> {
        let buffer = word.buffer();
        if buffer < self.cells.buffers() { Ok(buffer as u64) } else { Err(CellFault::Word) }
    }

    /// Establishes the invariants for a value whose buffer was pinned.
    fn hold(&mut self, cell: usize, word: CellWord) -> Result<(), CellFault> {
        let held = Held { cell, word, ..Held::NOTHING };
        #[cfg(loom)]
        let _ = self.cells.slot(cell, word.buffer());
        #[cfg(not(loom))]
        let held = {
            let (slot, start) = self.cells.buffer(cell, word.buffer());
            // The acquire on the word orders this load.
            let len = slot.descriptor.load(Ordering::Relaxed);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > self.cells.room() {
                return Err(CellFault::Len);
            }
            // Invariant 2: a buffer has `room` bytes behind `start`.
            Held { bytes: NonNull::slice_from_raw_parts(start, len), ..held }
        };
        self.held = held;
        Ok(())
    }

    /// Ends the use of the value: its pin stays only if it can stop no writer.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if !self.retains {
            self.release();
        }
    }

    /// Releases the value.
    pub(crate) fn release(&mut self) {
        self.held = Held::NOTHING;
        // Pairs with the acquire in `CellWriter::scan`: this reader has read the buffer before a
        // writer fills it.
        self.own().store(NOWHERE, Ordering::Release);
    }

    /// The buffer and the cell that are pinned.
    #[cfg(loom)]
    pub(crate) fn held(&self) -> (usize, usize) {
        assert!(self.held.cell != NO_CELL, "nothing is pinned");
        (self.held.cell, self.held.word.buffer())
    }

    fn own(&self) -> &AtomicU64 {
        &self.memory.subscribers()[self.entry].cursor
    }
}

/// Loads the word of a cell.
#[inline]
fn load(head: &CellHead) -> CellWord {
    // Pairs with the release in `CellWriter::publish`: length and bytes are seen.
    CellWord(head.word.load(Ordering::Acquire))
}

/// Loads the word behind a pin. Sequentially consistent, as the pin: pairs with the fence in
/// `CellWriter::scan`. Either this load sees each word that was stored before the fence, or the
/// scan behind the fence sees the pin.
fn look(head: &CellHead) -> CellWord {
    CellWord(head.word.load(Ordering::SeqCst))
}

/// Stores a pin before every later load: see [`look`].
fn swap(pin: &AtomicU64, word: u64) {
    pin.swap(word, Ordering::SeqCst);
    // Loom takes sequentially consistent accesses for acquire and release ones.
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// The value that a reader has pinned.
///
/// It borrows the reader, so the reader holds the value as long as the guard lives.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct PinnedValue<'a> {
    reader: &'a mut CellReader,
}

#[cfg(not(loom))]
impl<'a> PinnedValue<'a> {
    /// A guard over the value that `reader` has pinned; without one, over no bytes.
    #[inline]
    pub(crate) fn new(reader: &'a mut CellReader) -> Self {
        Self { reader }
    }

    /// The word of the value.
    pub(crate) fn word(&self) -> CellWord {
        self.reader.held.word
    }
}

// SAFETY: the buffer is pinned by invariant 1 of the reader. The guard borrows the reader, which
// releases nothing meanwhile. Buffers do not move and are aligned to 16.
#[cfg(not(loom))]
unsafe impl StableBytes for PinnedValue<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: invariants 1 and 2 of `CellReader`. A current value is written completely.
        unsafe { self.reader.held.bytes.as_ref() }
    }
}

#[cfg(not(loom))]
impl Drop for PinnedValue<'_> {
    #[inline]
    fn drop(&mut self) {
        self.reader.finish();
    }
}
