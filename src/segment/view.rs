//! Typed views of a segment's bytes: of a ring, and of a call area with the cells of the calls of
//! one worker and the memory for their replies. No other module turns bytes into the words of
//! `segment::layout`.
//!
//! A view owns the memory that it points to: a clone of an `Arc` keeps the mapping, the heap block
//! or the boxes of a test. The last view frees the memory, in any order in which the views and
//! their segment are dropped. Hot paths borrow a view and do not clone it.

#[cfg(not(loom))]
use super::counters::EventWords;
use super::entry::EntryId;
pub(crate) use super::kept::Owner;
#[cfg(not(loom))]
use super::kept::{KeptEventCount, KeptWords};
use super::latency::LatencyWords;
#[cfg(not(loom))]
use super::layout::{CallCell, SHORT_REPLY, SLOT};
use super::layout::{Head, PublisherEntry, Slot, SubscriberEntry};
use super::settings::Settings;
use crate::sync::AtomicU64;
#[cfg(not(loom))]
use crate::sync::Ordering;
use std::hash::Hasher;
use std::ptr::NonNull;

/// Second half of the key of the salt's hash.
const KEY: u64 = u64::from_le_bytes(*b"pktring\0");

/// The parts of one ring, for the protocol to work on.
///
/// # Invariants
///
/// 1. `head`, `publishers`, `subscribers`, `slots` and `latency` are valid for shared access as
///    long as `owner` lives.
/// 2. `slots` points to `mask + 1` slots, and `mask + 1` is a power of two.
#[derive(Clone, Debug)]
pub(crate) struct RingMemory {
    head: NonNull<Head>,
    publishers: NonNull<[PublisherEntry]>,
    subscribers: NonNull<[SubscriberEntry]>,
    slots: NonNull<Slot>,
    latency: NonNull<[AtomicU64]>,
    mask: u64,
    salt: u64,
    owner: Owner,
}

// SAFETY: the parts are atomics, and payload bytes that the protocol hands to one writer or to
// readers at a time. The owner is `Send` and `Sync`. Nothing is tied to a thread.
unsafe impl Send for RingMemory {}
// SAFETY: as for `Send`.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// # Safety
    ///
    /// All parts are valid for shared access as long as `owner` lives. `slots.len()` is a power of
    /// two.
    pub(crate) unsafe fn of_parts(
        owner: Owner,
        head: &Head,
        publishers: &[PublisherEntry],
        subscribers: &[SubscriberEntry],
        slots: &[Slot],
        latency: &[AtomicU64],
        salt: u64,
    ) -> Self {
        debug_assert!(slots.len().is_power_of_two());
        Self {
            head: NonNull::from(head),
            publishers: NonNull::from(publishers),
            subscribers: NonNull::from(subscribers),
            slots: NonNull::from(slots).cast(),
            latency: NonNull::from(latency),
            mask: slots.len() as u64 - 1,
            salt,
            owner,
        }
    }

    /// The owner of the memory.
    pub(crate) fn owner(&self) -> Owner {
        Owner::clone(&self.owner)
    }

    /// The words that belong to no one endpoint.
    #[inline]
    pub(crate) fn head(&self) -> &Head {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.head.as_ref() }
    }

    /// All publisher entries, used or not.
    #[inline]
    pub(crate) fn publishers(&self) -> &[PublisherEntry] {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.publishers.as_ref() }
    }

    /// All subscriber entries, used or not.
    #[inline]
    pub(crate) fn subscribers(&self) -> &[SubscriberEntry] {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.subscribers.as_ref() }
    }

    /// The words of latencies: none, except in a ring.
    #[inline]
    pub(crate) fn latency(&self) -> LatencyWords<'_> {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        LatencyWords::new(unsafe { self.latency.as_ref() })
    }

    /// The slot at a position.
    #[inline]
    pub(crate) fn slot(&self, position: u64) -> &Slot {
        // SAFETY: `index` is at most `mask`, so within the slots by invariant 2; valid by
        // invariant 1, and `self` keeps the owner.
        unsafe { self.slots.add(self.index(position)).as_ref() }
    }

    /// Has the processor fetch the line of a slot. A hint: it reads nothing, and other processors
    /// than x86-64 ignore it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: u64) {
        #[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: the instruction is a part of x86-64, and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(self.slot(position)).cast()) };
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(loom, miri)))))]
        let _ = position;
    }

    /// The address of the ring's head, which identifies the mapping.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.head.as_ptr().addr()
    }

    /// The index of the slot at a position.
    #[inline]
    pub(crate) fn index(&self, position: u64) -> usize {
        (position & self.mask) as usize
    }

    /// Slots in the ring.
    #[inline]
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// Returns true if two positions are in one lap.
    #[inline(always)]
    pub(crate) fn is_one_lap(&self, a: u64, b: u64) -> bool {
        (a ^ b) <= self.mask
    }

    /// The salt of the lap that a position is in. `ring::slot` explains its use.
    pub(crate) fn salt(&self, position: u64) -> u64 {
        #[expect(deprecated, reason = "its successor in std does not name its hash function")]
        let mut hash = std::hash::SipHasher::new_with_keys(self.salt, KEY);
        hash.write_u64(position / self.capacity());
        hash.finish()
    }

    /// The first payload byte of the packet at a position. It is aligned to 16. The rest of the
    /// slots follows up to the end of the ring without a gap.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn payload(&self, position: u64) -> NonNull<u8> {
        // SAFETY: `index` is within the slots by invariant 2, and `HEADER` within a slot.
        unsafe { self.slots.add(self.index(position)).cast::<u8>().add(super::layout::HEADER) }
    }

    /// The first 8-byte words of payload at a position: the time of a probe.
    #[cfg(not(loom))]
    pub(crate) fn probe_words(&self, position: u64) -> [&AtomicU64; 2] {
        // SAFETY: both are in the slot; valid by invariant 1, and `self` keeps the owner.
        [0, 1].map(|at| unsafe { self.payload(position).cast::<AtomicU64>().add(at).as_ref() })
    }

    /// Copies of the 16-byte words that hold the first `len` payload bytes of the packet at a
    /// position, also while another process writes them: each half of a word is one atomic load.
    ///
    /// # Panics
    ///
    /// If the packet does not lie in one piece of the ring.
    #[cfg(not(loom))]
    pub(crate) fn payload_words(
        &self,
        position: u64,
        len: usize,
    ) -> impl ExactSizeIterator<Item = u128> + use<'_> {
        let room = (self.capacity() as usize - self.index(position)) * SLOT;
        assert!(super::layout::HEADER + len <= room, "a packet beyond the end of the ring");
        let start = self.payload(position).cast::<AtomicU64>();
        // Header and room are multiples of 16, so the last word lies within the room, too.
        (0..len.div_ceil(size_of::<u128>())).map(move |index| {
            // SAFETY: within the slots, as checked above; valid by invariant 1, and `self` keeps
            // the owner. Slots are aligned to 64.
            let half = |half| unsafe { start.add(2 * index + half).as_ref() };
            let [first, second] = [0, 1].map(|at| half(at).load(Ordering::Relaxed).to_ne_bytes());
            let mut word = [0; size_of::<u128>()];
            word[..8].copy_from_slice(&first);
            word[8..].copy_from_slice(&second);
            u128::from_ne_bytes(word)
        })
    }
}

/// An entry whose liveness lock was just taken, with the memory that it lies in: the right to make
/// one endpoint. Each lock that an attachment takes makes one, and the endpoint consumes it. So two
/// endpoints of a process do not fill or release the same slots, and an endpoint does not use one
/// ring by the settings of another.
///
/// # Invariants
///
/// 1. `memory` is a segment with these `settings`, and has the entry `id`.
/// 2. No other value has this entry, and no endpoint was made of it since its lock was taken.
#[derive(Debug)]
pub(crate) struct LockedEntry {
    memory: RingMemory,
    settings: Settings,
    id: EntryId,
}

impl LockedEntry {
    /// The entry of a lock that was just taken. The caller establishes the invariants.
    #[cfg(not(loom))]
    pub(super) fn new(memory: RingMemory, settings: Settings, id: EntryId) -> Self {
        Self { memory, settings, id }
    }

    /// An entry of a ring whose test decides which endpoints live.
    #[cfg(test)]
    pub(crate) fn of_test(memory: RingMemory, settings: Settings, id: EntryId) -> Self {
        Self { memory, settings, id }
    }

    /// The memory, the settings and the index of a publisher's entry.
    ///
    /// # Panics
    ///
    /// If it is not one.
    pub(crate) fn into_publisher(self) -> (RingMemory, Settings, usize) {
        assert!(matches!(self.id, EntryId::Publisher(_)), "{:?} makes no publisher", self.id);
        (self.memory, self.settings, self.id.index())
    }

    /// The memory, the settings and the index of a subscriber's entry.
    ///
    /// # Panics
    ///
    /// If it is not one.
    pub(crate) fn into_subscriber(self) -> (RingMemory, Settings, usize) {
        assert!(matches!(self.id, EntryId::Subscriber(_)), "{:?} makes no subscriber", self.id);
        (self.memory, self.settings, self.id.index())
    }
}

#[cfg(not(loom))]
impl RingMemory {
    /// The event count on which subscribers sleep, and workers in a directory.
    pub(crate) fn readers_event_count(&self) -> KeptEventCount {
        // SAFETY: words of the head.
        unsafe { self.kept(&self.head().readers.event_count) }
    }

    /// The event count on which publishers sleep.
    pub(crate) fn writers_event_count(&self) -> KeptEventCount {
        // SAFETY: words of the head.
        unsafe { self.kept(&self.head().writers) }
    }

    /// The counters of the rare events of an entry's owner.
    pub(crate) fn kept_events(&self, entry_id: EntryId) -> Option<KeptWords<EventWords>> {
        // SAFETY: words of an entry.
        self.events(entry_id).map(|words| unsafe { self.kept(words) })
    }

    /// The counters of the rare events of an entry's owner; `None` without such an entry.
    pub(crate) fn events(&self, entry_id: EntryId) -> Option<&EventWords> {
        match entry_id {
            EntryId::Publisher(at) => Some(&self.publishers().get(at)?.details.counts.events),
            EntryId::Subscriber(at) => Some(&self.subscribers().get(at)?.counts.events),
            EntryId::WorkerSlot(_) => None,
        }
    }

    /// # Safety
    ///
    /// `words` are of this view: of its head or of an entry.
    unsafe fn kept<T>(&self, words: &T) -> KeptWords<T> {
        // SAFETY: the words of a view are valid as long as its owner lives.
        unsafe { KeptWords::of_parts(words, self.owner()) }
    }
}

/// The cells and the reply memory of one call area. A clone keeps the memory.
///
/// # Invariants
///
/// 1. `head`, `cells` and `blocks` are valid for shared access as long as `owner` lives.
/// 2. `blocks` is aligned to 64.
#[cfg(not(loom))]
#[derive(Clone, Debug)]
pub(crate) struct CallMemory {
    head: NonNull<Head>,
    cells: NonNull<[CallCell]>,
    blocks: NonNull<[Slot]>,
    _owner: Owner,
}

#[cfg(not(loom))]
// SAFETY: the cells are atomics, and reply bytes that the protocol of `ring::call` hands to one
// writer or to one reader at a time. The owner is `Send` and `Sync`.
unsafe impl Send for CallMemory {}
#[cfg(not(loom))]
// SAFETY: as for `Send`.
unsafe impl Sync for CallMemory {}

#[cfg(not(loom))]
impl CallMemory {
    /// # Safety
    ///
    /// The parts are valid for shared access as long as `owner` lives. `blocks` is aligned to 64.
    pub(super) unsafe fn of_parts(
        owner: Owner,
        head: &Head,
        cells: &[CallCell],
        blocks: &[Slot],
    ) -> Self {
        Self {
            head: NonNull::from(head),
            cells: NonNull::from(cells),
            blocks: NonNull::from(blocks),
            _owner: owner,
        }
    }

    /// All cells, used or not.
    #[inline]
    pub(crate) fn cells(&self) -> &[CallCell] {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.cells.as_ref() }
    }

    /// The event count of a cell. `None` without such a cell.
    pub(crate) fn event_count(&self, cell: u16) -> Option<KeptEventCount> {
        let event_count = &self.cells().get(usize::from(cell))?.event_count;
        // SAFETY: valid by invariant 1, as long as the owner lives.
        Some(unsafe { KeptWords::of_parts(event_count, Owner::clone(&self._owner)) })
    }

    /// Bytes of memory for replies.
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.len() * SLOT
    }

    /// The generation of the worker that made the area.
    pub(crate) fn generation(&self) -> u64 {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.head.as_ref() }.identity.generation.load(Ordering::Acquire)
    }

    /// Stores the generation of the worker that made the area.
    pub(crate) fn set_generation(&self, generation: u64) {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.head.as_ref() }.identity.generation.store(generation, Ordering::Release);
    }

    /// The first of [`SHORT_REPLY`] bytes in a cell, aligned to 16. `None` without such a cell.
    #[inline]
    pub(crate) fn short(&self, cell: u16) -> Option<NonNull<u8>> {
        let cell = self.cells().get(usize::from(cell))?;
        const { assert!(SHORT_REPLY.is_multiple_of(16)) };
        Some(NonNull::from(&cell.reply).cast())
    }

    /// The first byte of a block of whole slots, aligned to 64. `None` if the area does not hold
    /// it.
    pub(crate) fn block(&self, first: u32, slots: u32) -> Option<NonNull<u8>> {
        let end = first.checked_add(slots)? as usize;
        if end > self.blocks.len() {
            return None;
        }
        // SAFETY: within the blocks, as checked above; valid by invariant 1.
        Some(unsafe { self.blocks.cast::<Slot>().add(first as usize) }.cast())
    }
}
