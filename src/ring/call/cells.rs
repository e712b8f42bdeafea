//! The caller's side: cells and blocks of one call area, and which of them are in use.

use super::blocks::{FreeBlocks, ReplyBlock};
use super::{NoPlace, Outcome, Over};
use crate::ring::buffer::StableBytes;
use crate::segment::CallMemory;
use crate::segment::kept::KeptEventCount;
use crate::segment::layout::{CallCell, EventCount, SHORT_REPLY, SLOT};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// The free cells and blocks of a call area. Only the process that made the area has one.
///
/// # Invariants
///
/// 1. Each cell is in `next` or `free`, or in one [`FreshCell`], [`SentCell`] or [`EndedCell`], or
///    it is lost for good. So is each slot of the reply memory.
/// 2. No server writes to a free cell or a free block.
#[derive(Debug)]
pub(crate) struct CellPool {
    memory: CallMemory,
    /// The number of a free cell + 1, or 0: a call with a short reply takes it without the lock.
    next: AtomicU32,
    free: Mutex<FreePlaces>,
    /// What the process knows of each cell. Only the owner of the cell uses it.
    notes: Box<[CellNotes]>,
    /// The process that made the area: a forked child has none of its cells.
    process: u32,
}

#[derive(Debug)]
struct FreePlaces {
    /// Numbers of free cells. The last one was used last.
    cells: Vec<u16>,
    blocks: FreeBlocks,
}

/// What the process knows of one cell. Not in the value that owns the cell, so that the value is
/// two words: a larger one is moved through memory.
#[derive(Debug, Default)]
struct CellNotes {
    /// The request ring that the cell was used for last.
    ring: AtomicU64,
    /// The block of the call ([`ReplyBlock::word`]); 0: none. A free cell has none.
    block: AtomicU64,
}

/// Identifies a request ring within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestRingId(u64);

/// A cell and its block. `P` owns or borrows the pool.
// The number of the cell fits in 16 bits. It takes a whole word: a word with padding is written in
// pieces, and a later read of the word waits for them.
#[derive(Debug)]
struct Place<P: Deref<Target = CellPool> = Arc<CellPool>> {
    pool: P,
    cell: usize,
}

/// A cell whose request is not published. Dropping it frees the cell.
// It borrows the pool: a call counts its reference after the request is published, while the server
// works.
#[derive(Debug)]
pub(crate) struct FreshCell<'p> {
    pool: &'p Arc<CellPool>,
    cell: usize,
}

/// A cell whose request is published. Its call is in flight. If it is dropped, the cell is lost:
/// a server may write to it.
#[derive(Debug)]
#[must_use = "the cell is lost"]
pub(crate) struct SentCell {
    place: Place,
    position: u64,
}

/// A cell whose call has ended: it has its outcome, or no server will write one. Dropping it frees
/// the cell.
///
/// # Invariants
///
/// 1. No server writes to the cell or its block any more.
/// 2. `start` points to `len` bytes of the cell or of its block, aligned to 16.
#[derive(Debug)]
pub(crate) struct EndedCell {
    place: Place,
    start: NonNull<u8>,
    len: usize,
}

/// A cell whose call has ended, and its outcome. `None`: no server will write one.
pub(crate) type Ended = (EndedCell, Option<Outcome>);

// SAFETY: the value owns the cell and the block. It is not tied to a thread.
unsafe impl Send for EndedCell {}
// SAFETY: a shared reference only reads bytes that nothing writes, by invariant 1.
unsafe impl Sync for EndedCell {}

impl RequestRingId {
    /// An id that no request ring of this process had before.
    pub(crate) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl CellPool {
    /// The pool of an area that this process just made.
    pub(crate) fn new(memory: CallMemory) -> Self {
        let cells = (0..memory.cells().len() as u16).rev().collect();
        let notes = memory.cells().iter().map(|_| CellNotes::default()).collect();
        let blocks = FreeBlocks::of((memory.capacity() / SLOT) as u32);
        let free = Mutex::new(FreePlaces { cells, blocks });
        Self { memory, next: AtomicU32::new(0), free, notes, process: std::process::id() }
    }

    /// Bytes of the reply memory.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Number of cells.
    pub(crate) fn cells(&self) -> usize {
        self.memory.cells().len()
    }

    /// Takes a cell for a call over this request ring whose reply has at most `bytes` bytes.
    // Always: the result of a function call goes through memory.
    #[inline(always)]
    pub(crate) fn take(
        self: &Arc<Self>,
        ring: RequestRingId,
        bytes: usize,
    ) -> Result<FreshCell<'_>, NoPlace> {
        let next = if bytes <= SHORT_REPLY { self.take_next() } else { None };
        let cell = match next {
            Some(cell) => cell,
            None => self.take_locked(bytes)?,
        };
        let fresh = FreshCell { pool: self, cell: cell.into() };
        let place = fresh.place();
        let (notes, cell) = (place.notes(), place.cell());
        // The state is an outcome of an earlier request to this ring, which is not that of the new
        // one. Positions of different rings are equal.
        if notes.ring.load(Ordering::Relaxed) != ring.0 {
            notes.ring.store(ring.0, Ordering::Relaxed);
            cell.state.store(0, Ordering::Relaxed);
        }
        // Relaxed: the stamp of the request publishes all of them. Only what differs is stored: the
        // line with the last reply stays shared until the server writes the next one.
        let block = notes.block.load(Ordering::Relaxed);
        for (word, value) in [(&cell.block, block), (&cell.deferred, 0), (&cell.given_up, 0)] {
            if word.load(Ordering::Relaxed) != value {
                word.store(value, Ordering::Relaxed);
            }
        }
        let waiters = &cell.event_count.waiters;
        if waiters.load(Ordering::Relaxed) != 0 {
            waiters.store(0, Ordering::Relaxed);
        }
        Ok(fresh)
    }

    /// The cell in `next`.
    #[inline]
    fn take_next(&self) -> Option<u16> {
        if self.next.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // Acquire: pairs with the release in `Place::free`.
        let next = self.next.swap(0, Ordering::Acquire);
        next.checked_sub(1).map(|cell| cell as u16)
    }

    #[inline(never)]
    fn take_locked(&self, bytes: usize) -> Result<u16, NoPlace> {
        let mut free = self.lock();
        let cell = free.cells.pop().or_else(|| self.take_next()).ok_or(NoPlace::Cells)?;
        if bytes <= SHORT_REPLY {
            return Ok(cell);
        }
        match free.blocks.take(bytes) {
            Ok(block) => {
                self.notes[usize::from(cell)].block.store(block.word(), Ordering::Relaxed);
                Ok(cell)
            }
            Err(error) => {
                free.cells.push(cell);
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, FreePlaces> {
        // A panic leaves the lists consistent: no code of the user runs under the lock.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Deref<Target = CellPool>> Place<P> {
    #[inline]
    fn cell(&self) -> &CallCell {
        &self.pool.memory.cells()[self.cell]
    }

    #[inline]
    fn notes(&self) -> &CellNotes {
        &self.pool.notes[self.cell]
    }

    /// Frees the cell and the block. Called once.
    #[inline]
    fn free(&self) {
        let block = self.notes().block.load(Ordering::Relaxed);
        if block != 0 {
            // Before another call may take the cell.
            self.notes().block.store(0, Ordering::Relaxed);
        }
        // Release: the next user of the cell writes after this one has read its reply. Acquire: the
        // cell that was there goes into the list.
        let other = self.pool.next.swap(self.cell as u32 + 1, Ordering::AcqRel);
        if other != 0 || block != 0 {
            self.free_locked(other, ReplyBlock::of_word(block));
        }
    }

    #[inline(never)]
    fn free_locked(&self, other: u32, block: Option<ReplyBlock>) {
        let mut free = match self.pool.free.try_lock() {
            Ok(free) => free,
            // Another thread may have held the lock when this process was forked.
            Err(TryLockError::WouldBlock) if self.pool.process != std::process::id() => return,
            Err(_) => self.pool.lock(),
        };
        free.cells.extend(other.checked_sub(1).map(|cell| cell as u16));
        if let Some(block) = block {
            free.blocks.give_back(block);
        }
    }

    /// The start and the length of a reply. An outcome that does not fit the block is of no bytes.
    #[inline]
    fn reply(&self, outcome: Option<Outcome>) -> (NonNull<u8>, usize) {
        let memory = &self.pool.memory;
        // Loaded once: the copy is checked and used.
        let long = || {
            let len = usize::try_from(self.cell().len.load(Ordering::Relaxed)).ok()?;
            let block = ReplyBlock::of_word(self.notes().block.load(Ordering::Relaxed));
            let block = block.filter(|block| len <= block.bytes())?;
            Some((memory.block(block.first, block.slots)?, len))
        };
        let found = match outcome {
            Some(Outcome::Short(len)) => memory.short(self.cell as u16).map(|start| (start, len)),
            Some(Outcome::Long) => long(),
            Some(Outcome::Refused) | None => None,
        };
        found.unwrap_or((NonNull::<NoBytes>::dangling().cast(), 0))
    }
}

/// The alignment of a reply without bytes.
#[repr(align(16))]
struct NoBytes;

impl<'p> FreshCell<'p> {
    /// The number of the cell.
    #[inline]
    pub(crate) fn number(&self) -> u16 {
        self.cell as u16
    }

    /// The cell of a request that was published at a position.
    #[inline]
    pub(crate) fn sent(self, position: u64) -> SentCell {
        let fresh = ManuallyDrop::new(self);
        SentCell { place: Place { pool: Arc::clone(fresh.pool), cell: fresh.cell }, position }
    }

    #[inline]
    fn place(&self) -> Place<&'p CellPool> {
        Place { pool: self.pool, cell: self.cell }
    }
}

impl Drop for FreshCell<'_> {
    fn drop(&mut self) {
        // No request names the cell, so no server writes to it: invariant 2 of the pool.
        self.place().free();
    }
}

impl SentCell {
    /// The position of the request.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The event count that is notified once, when the outcome is there.
    pub(crate) fn event_count(&self) -> &EventCount {
        &self.place.cell().event_count
    }

    /// As [`event_count`](Self::event_count), with its memory.
    pub(crate) fn kept_event_count(&self) -> Option<KeptEventCount> {
        self.place.pool.memory.event_count(self.place.cell as u16)
    }

    /// The outcome, if it is there.
    #[inline]
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        // Pairs with the store in `ReplyRight::end`, which says why it is in one order with the
        // fence there.
        Outcome::of(self.place.cell().state.load(Ordering::SeqCst), self.position)
    }

    /// The server that will reply later: its entry and incarnation.
    pub(crate) fn deferred(&self) -> Option<(usize, u64)> {
        // Pairs with the release in `ReplyRight::defer`.
        let word = self.place.cell().deferred.load(Ordering::Acquire);
        let entry = (word as u16).checked_sub(1)?;
        Some((usize::from(entry), word >> 16))
    }

    /// Gives the call up: a server that takes its request from now on skips it.
    pub(crate) fn give_up(&self) {
        // In one order with the count at the publisher's entry, the caller's check whether the
        // request was taken, and the server's pin of the request.
        self.place.cell().given_up.store(self.position + 1, Ordering::SeqCst);
    }

    /// Takes [`give_up`](Self::give_up) back.
    pub(crate) fn want(&self) {
        self.place.cell().given_up.store(0, Ordering::SeqCst);
    }

    /// Ends the call if its outcome is there at one of so many looks.
    #[inline(always)]
    pub(crate) fn end_within(self, looks: u32) -> Result<Ended, Self> {
        match (0..looks).find_map(|_| self.outcome()) {
            Some(outcome) => Ok(self.ended(Some(outcome))),
            None => Err(self),
        }
    }

    /// Ends the call, which no living server has any more. Its outcome may have come.
    pub(crate) fn end_over(self, over: Over) -> Ended {
        debug_assert_eq!(over.0, self.position);
        let outcome = self.outcome();
        self.ended(outcome)
    }

    /// The server has used its right, or `Over` shows that no server will: invariant 1 of
    /// [`EndedCell`].
    #[inline]
    fn ended(self, outcome: Option<Outcome>) -> Ended {
        let (start, len) = self.place.reply(outcome);
        (EndedCell { place: self.place, start, len }, outcome)
    }
}

impl EndedCell {
    /// Of a refused call: the bytes that the reply needed, and the bytes that it might have had.
    /// Both are 0 if the server dropped the request.
    pub(crate) fn refusal(&self) -> (u64, u64) {
        let cell = self.place.cell();
        (cell.len.load(Ordering::Relaxed), cell.limit.load(Ordering::Relaxed))
    }
}

// SAFETY: by invariants 1 and 2 the bytes neither move nor change before the cell is freed, which
// is when the value is dropped. The pool keeps the memory.
unsafe impl StableBytes for EndedCell {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: invariants 1 and 2; `place` keeps the pool, and so the memory.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for EndedCell {
    fn drop(&mut self) {
        // By invariant 1, and nothing reads the bytes any more: invariant 2 of the pool.
        self.place.free();
    }
}
