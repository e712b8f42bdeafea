//! The writer of cells: finds a buffer that no reader has pinned, fills it, and makes it current.

use super::{CellWord, EVERY, pinned};
use crate::failpoint::{Failpoint, failpoint};
#[cfg(not(loom))]
use crate::ring::buffer::WriteBuf;
use crate::ring::membership;
use crate::segment::board_cells::CellMemory;
use crate::segment::entry::EntryId;
use crate::segment::layout::CellHead;
use crate::segment::settings::{Claims, MAX_BUFFERS};
use crate::segment::view::{LockedEntry, RingMemory};
use crate::sync::{AtomicU64, Ordering, fence};

/// Words of a bitmap with one bit for each buffer.
const BITMAP: usize = MAX_BUFFERS.div_ceil(64);

/// Most free buffers that a writer keeps after a scan,
const BATCH: usize = 32;
/// and most bytes of them: a writer that takes one buffer after the other stays in its cache,
#[cfg(not(loom))]
const BATCH_BYTES: usize = 16 << 10;
/// but at least this number.
#[cfg(not(loom))]
const LEAST_BATCH: usize = 4;

/// Why a cell cannot be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hindrance {
    /// The writer of this entry holds the cell's lock.
    Writer(usize),
    /// Every buffer is current or pinned, one of them by the reader of this entry.
    Reader(usize),
}

/// A writer's local state.
///
/// # Invariants
///
/// 1. `entry` is this writer's own. In a board for one writer no other one has an entry.
/// 2. The free buffers of a cell were neither current nor pinned in a scan behind the last write of
///    another writer. None was current since, so no reader has one of them in hand.
#[derive(Debug)]
pub(crate) struct CellWriter {
    memory: RingMemory,
    cells: CellMemory,
    entry: usize,
    /// Other writers may write the same cells.
    is_shared: bool,
    local: Vec<Local>,
}

/// The writer's state of one cell.
#[derive(Clone, Debug, Default)]
struct Local {
    /// The word that this writer stored last.
    last: CellWord,
    free: [u16; BATCH],
    count: usize,
}

impl CellWriter {
    /// Joins at an entry that was just locked, under the control lock: clears the locks of a dead
    /// predecessor.
    ///
    /// # Panics
    ///
    /// If the cells are those of another board.
    pub(crate) fn join(entry: LockedEntry, cells: CellMemory) -> Self {
        let (memory, settings, entry) = entry.into_publisher();
        assert!(cells.is_in(&memory), "the cells of another board");
        membership::join_cell_writer(&memory, entry);
        let is_shared = settings.claims == Claims::Shared;
        for head in cells.heads() {
            clear_lock(head, entry as u64 + 1);
        }
        let local = vec![Local::default(); cells.heads().len()];
        Self { memory, cells, entry, is_shared, local }
    }

    /// The cells.
    pub(crate) fn cells(&self) -> &CellMemory {
        &self.cells
    }

    /// Replaces the value of a cell by one of `len` bytes, which `fill` writes. Nothing changes if
    /// `fill` fails or panics.
    ///
    /// # Panics
    ///
    /// If `len` exceeds the room of a buffer.
    // Always, as `BoardWriter::attempt`: a function call costs 30 instructions.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn write<E>(
        &mut self,
        cell: usize,
        len: usize,
        fill: impl FnOnce(WriteBuf<'_>) -> Result<(), E>,
    ) -> Result<Result<(), E>, Hindrance> {
        let Self { memory, cells, entry, is_shared, local } = self;
        assert!(len <= cells.room(), "a value that does not fit");
        let (head, local) = (&cells.heads()[cell], &mut local[cell]);
        let _unlock = if *is_shared { Some(lock(head, *entry)?) } else { None };
        let buffer = local.next_buffer(memory, cells, cell)?;
        let (slot, start) = cells.buffer(cell, buffer);
        slot.descriptor.store(len as u64, Ordering::Relaxed);
        failpoint(Failpoint::CellFill);
        // SAFETY: `start` is aligned to 16 and has room for `len` bytes. No reader has the buffer
        // in hand by invariant 2. No other writer fills it: there is none by invariant 1, or this
        // one holds the cell's lock.
        let room = unsafe { WriteBuf::new(start, len) };
        if let Err(error) = fill(room) {
            return Ok(Err(error));
        }
        failpoint(Failpoint::CellPublish);
        local.publish(head, buffer);
        Ok(Ok(()))
    }

    /// Clears the lock of a cell if the writer that holds it is dead. The caller holds the control
    /// lock, so the entry of that writer gets no other owner meanwhile.
    #[cfg(not(loom))]
    pub(crate) fn take_over(&self, cell: usize, is_alive: &dyn Fn(EntryId) -> bool) -> bool {
        let head = &self.cells.heads()[cell];
        let word = head.lock.load(Ordering::Relaxed);
        let holder = word.checked_sub(1).map(|entry| entry as usize);
        let is_living = |holder| {
            // An index that no writer has is worth nothing.
            holder < self.memory.publishers().len() && is_alive(EntryId::Publisher(holder))
        };
        match holder {
            Some(holder) if !is_living(holder) => clear_lock(head, word),
            _ => false,
        }
    }
}

impl Local {
    /// A buffer of the cell that no reader has in hand and that is not current. It stays free
    /// until it is published. The caller is the only writer of the cell.
    #[inline]
    fn next_buffer(
        &mut self,
        memory: &RingMemory,
        cells: &CellMemory,
        cell: usize,
    ) -> Result<usize, Hindrance> {
        // The lock orders this load behind the stores of other writers.
        let word = CellWord(cells.heads()[cell].word.load(Ordering::Relaxed));
        if self.count == 0 || self.last != word {
            self.scan(memory, cells, cell, word)?;
        }
        Ok(usize::from(self.free[self.count - 1]))
    }

    /// Finds free buffers: at least one, those of the lowest index.
    #[inline(never)]
    fn scan(
        &mut self,
        memory: &RingMemory,
        cells: &CellMemory,
        cell: usize,
        word: CellWord,
    ) -> Result<(), Hindrance> {
        self.count = 0;
        // Pairs with the exchange and the second look in `CellReader::pin`: a reader whose pin this
        // scan misses sees `word` or a later one.
        fence(Ordering::SeqCst);
        failpoint(Failpoint::CellScan);
        let mut taken = [0_u64; BITMAP];
        let mut reader = 0;
        let used = memory.head().membership.subscribers.load(Ordering::Acquire) as usize;
        for (index, entry) in memory.subscribers().iter().take(used).enumerate() {
            // Pairs with the releases of pins: their readers have read the buffers.
            let Some(buffer) = pinned(entry.cursor.load(Ordering::Acquire), cell) else { continue };
            reader = index;
            if buffer == EVERY {
                return Err(Hindrance::Reader(index));
            }
            if let Some(bits) = taken.get_mut(buffer as usize / 64) {
                *bits |= 1 << (buffer % 64);
            }
        }
        if word != CellWord::NONE
            && let Some(bits) = taken.get_mut(word.buffer() / 64)
        {
            *bits |= 1 << (word.buffer() % 64);
        }
        let (most, buffers) = (batch(cells).min(BATCH), cells.buffers());
        for (index, bits) in taken.iter().enumerate().take(buffers.div_ceil(64)) {
            let mut free = !bits;
            while free != 0 && self.count < most {
                let buffer = index * 64 + free.trailing_zeros() as usize;
                if buffer >= buffers {
                    break;
                }
                self.free[self.count] = buffer as u16;
                self.count += 1;
                free &= free - 1;
            }
        }
        self.last = word;
        // There are two buffers at least, so a pin holds the ones that are not current.
        if self.count == 0 { Err(Hindrance::Reader(reader)) } else { Ok(()) }
    }

    /// Makes the filled buffer current: the last free one.
    #[inline]
    fn publish(&mut self, head: &CellHead, buffer: usize) {
        self.last = self.last.next(buffer);
        self.count -= 1;
        // Pairs with the acquire in `CellReader`: length and bytes are seen.
        head.word.store(self.last.0, Ordering::Release);
    }
}

/// Free buffers to look for in one scan.
fn batch(cells: &CellMemory) -> usize {
    #[cfg(not(loom))]
    return (BATCH_BYTES / (cells.span() * crate::segment::layout::SLOT)).clamp(LEAST_BATCH, BATCH);
    #[cfg(loom)]
    return cells.buffers();
}

/// Takes the lock of a cell for the writer of an entry.
fn lock(head: &CellHead, entry: usize) -> Result<Unlock<'_>, Hindrance> {
    let own = entry as u64 + 1;
    // Acquire pairs with the release in `Unlock`: the word of the last writer is seen.
    match head.lock.compare_exchange(0, own, Ordering::Acquire, Ordering::Relaxed) {
        Ok(_) => Ok(Unlock(&head.lock)),
        Err(holder) => Err(Hindrance::Writer(holder.saturating_sub(1) as usize)),
    }
}

/// Clears the lock of a cell if it has this word. Its holder is dead.
fn clear_lock(head: &CellHead, word: u64) -> bool {
    // Acquire pairs with the stores of the dead: the kernel's lock ended after them. Release pairs
    // with the acquire in `lock`.
    head.lock.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Releases the lock of a cell when it is dropped, also by a panic.
struct Unlock<'a>(&'a AtomicU64);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        // Pairs with the acquire in `lock`.
        self.0.store(0, Ordering::Release);
    }
}

#[cfg(loom)]
impl CellWriter {
    /// Replaces the value of a cell by a number. Returns false if every buffer is pinned.
    pub(crate) fn write_number(&mut self, cell: usize, number: u64) -> bool {
        let Self { memory, cells, entry, is_shared, local } = self;
        let (head, local) = (&cells.heads()[cell], &mut local[cell]);
        let unlock = is_shared.then(|| lock(head, *entry));
        if let Some(Err(_)) = unlock {
            return false;
        }
        let Ok(buffer) = local.next_buffer(memory, cells, cell) else { return false };
        let slot = cells.slot(cell, buffer);
        slot.descriptor.store(8, Ordering::Relaxed);
        // SAFETY: no reader has the buffer in hand, by invariant 2.
        slot.payload.with_mut(|payload| unsafe { *payload = number });
        local.publish(head, buffer);
        true
    }
}
