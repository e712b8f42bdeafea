//! A block of bytes, cast to the parts of a segment.

#![cfg(not(loom))]

use super::board_cells::CellMemory;
use super::entry::{EntryId, Kept, OwnerState, SlotPhase, WorkerSlotState};
use super::layout::{
    BLOCKS, CallCell, CellHead, Head, MAX_TYPES, NOWHERE, PublisherEntry, SCHEMA_WORDS, SLOT, Slot,
    SubscriberEntry, TypeEntry, WorkerSlot,
};
use super::places::Places;
use super::settings::{Parking, Settings};
use super::types::TypeTable;
use super::view::{CallMemory, Owner, RingMemory};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::event::{self, Event};
use crate::sys::{self, PageFault};
use std::any::Any;
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

/// Memory that a segment can lie in.
///
/// # Safety
///
/// As long as the value lives, moved or not, `bytes` returns the same pointer. The bytes are
/// initialized, aligned to a page, and valid for shared access through atomics and `UnsafeCell`.
pub(crate) unsafe trait Block: Any + Send + Sync {
    /// The bytes.
    fn bytes(&self) -> NonNull<[u8]>;
}

/// A block of bytes laid out as a segment.
///
/// # Invariants
///
/// 1. `base` points to at least `places.end` bytes, as [`Block`] promises them, as long as the
///    owner of `memory` lives.
/// 2. `places` are those of `settings`, and `settings` were checked.
#[derive(Debug)]
pub(crate) struct SegmentParts {
    base: NonNull<u8>,
    places: Places,
    settings: Settings,
    salt: u64,
    memory: RingMemory,
}

// SAFETY: the block is atomics, and payload bytes that the protocol hands to one writer or to
// readers at a time. The owner is `Send` and `Sync`.
unsafe impl Send for SegmentParts {}
// SAFETY: as for `Send`.
unsafe impl Sync for SegmentParts {}

/// The worker slots of one directory.
///
/// # Invariants
///
/// 1. `slots` are valid for shared access as long as `_owner` lives.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSlots {
    slots: NonNull<[WorkerSlot]>,
    _owner: Owner,
}

// SAFETY: worker slots are atomics. The owner is `Send` and `Sync`.
unsafe impl Send for WorkerSlots {}
// SAFETY: as for `Send`.
unsafe impl Sync for WorkerSlots {}

impl WorkerSlots {
    /// All worker slots, taken or not.
    #[inline]
    pub(crate) fn all(&self) -> &[WorkerSlot] {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.slots.as_ref() }
    }
}

impl SegmentParts {
    /// The parts of a segment with these settings in a block. `None` if no segment can have these
    /// settings, or the block is too short.
    pub(super) fn new<B: Block>(block: Arc<B>, settings: Settings, salt: u64) -> Option<Self> {
        settings.check().ok()?;
        let places = Places::of_settings(&settings)?;
        let bytes = block.bytes();
        // Invariants 1 and 2.
        if places.end > bytes.len() {
            return None;
        }
        let base: NonNull<u8> = bytes.cast();
        // SAFETY: `places` puts each part within the block, and the block is valid as long as the
        // owner lives. A checked capacity is a power of two of at least 16 slots.
        let memory = unsafe {
            RingMemory::of_parts(
                block,
                base.cast::<Head>().as_ref(),
                part::<PublisherEntry>(base, places.publishers, settings.max_publishers),
                part::<SubscriberEntry>(base, places.subscribers, settings.max_subscribers),
                part::<Slot>(base, places.slots, settings.capacity / SLOT),
                part::<AtomicU64>(base, places.latency, settings.latency_words()),
                salt,
            )
        };
        Some(Self { base, places, settings, salt, memory })
    }

    /// The settings that the segment was made with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Length of the segment in bytes.
    pub(super) fn len(&self) -> usize {
        self.places.end
    }

    /// The random number of this ring.
    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    /// The byte whose lock shows that the owner of an entry lives.
    pub(super) fn lock_of(&self, entry: EntryId) -> u64 {
        self.places.lock_of(entry)
    }

    /// The head.
    pub(super) fn head(&self) -> &Head {
        self.memory.head()
    }

    /// The view for the ring's protocol.
    pub(super) fn memory(&self) -> &RingMemory {
        &self.memory
    }

    /// The type table: empty in a call area.
    pub(super) fn types(&self) -> TypeTable<'_> {
        let part = |count: usize| if self.settings.call_cells == 0 { count } else { 0 };
        // SAFETY: `Places` has room for each part, or for none of them in a call area.
        unsafe {
            TypeTable {
                membership: &self.head().membership,
                entries: self.slice::<TypeEntry>(self.places.types, part(MAX_TYPES)),
                links: self.slice::<AtomicU32>(self.places.links, part(BLOCKS)),
                text: self.slice::<AtomicU64>(self.places.schema, part(SCHEMA_WORDS)),
            }
        }
    }

    /// A view of the worker slots: none, except in a directory.
    pub(super) fn worker_slots(&self) -> WorkerSlots {
        let slots = self.slots_of_workers();
        WorkerSlots { slots: NonNull::from(slots), _owner: self.memory.owner() }
    }

    /// A view of the call cells and of the memory for replies: none, except in a call area.
    pub(super) fn call_memory(&self) -> CallMemory {
        let (places, settings) = (&self.places, &self.settings);
        let blocks = if settings.call_cells == 0 { 0 } else { settings.capacity / SLOT };
        // SAFETY: `places` has the parts with these counts. They are valid by the invariants as
        // long as the owner of `memory` lives, and slots start on a page.
        unsafe {
            let cells = self.slice::<CallCell>(places.call_cells, settings.call_cells);
            let blocks = self.slice::<Slot>(places.slots, blocks);
            CallMemory::of_parts(self.memory.owner(), self.head(), cells, blocks)
        }
    }

    /// A view of the cells: none, except in a board.
    pub(super) fn cells(&self) -> CellMemory {
        let settings = &self.settings;
        // `Places` did not overflow.
        let count = settings.buffer_slots().unwrap_or(0);
        let (buffers, span) = (settings.cell_buffers, settings.buffer_span());
        // SAFETY: both parts lie within the block by the invariants, and the block is valid as long
        // as the owner lives. `buffer_slots` is the product of the other numbers.
        unsafe {
            let heads = self.slice::<CellHead>(self.places.cells, settings.cells);
            let slots = self.slice::<Slot>(self.places.buffers, count);
            CellMemory::of_parts(self.memory.owner(), heads, slots, buffers, span)
        }
    }

    /// The room of an entry's event. Publishers' events come first.
    ///
    /// # Panics
    ///
    /// If the segment has no such event.
    pub(super) fn event(&self, index: usize) -> NonNull<u8> {
        let offset = self.places.events + index * event::ROOM;
        assert!(offset + event::ROOM <= self.places.slots, "no event {index}");
        // SAFETY: within the block, by invariant 1.
        unsafe { self.base.add(offset) }
    }

    /// The pages that hold slots: their start and their length in bytes.
    pub(super) fn slot_pages(&self) -> (NonNull<u8>, usize) {
        // SAFETY: within the block, by invariant 1.
        let start = unsafe { self.base.add(self.places.slots) };
        (start, self.places.end - self.places.slots)
    }

    /// Makes all pages of the block present, so that no access to them is a page fault. Slots that
    /// are read-only in this mapping are made present for reading.
    pub(super) fn populate(&self, has_protected_slots: bool) -> io::Result<()> {
        let (slots, len) = self.slot_pages();
        sys::populate(self.base, self.places.slots, PageFault::Write)?;
        let fault = if has_protected_slots { PageFault::Read } else { PageFault::Write };
        sys::populate(slots, len, fault)
    }

    /// Brings a block of zeros into its first state, except for its identity: every entry is
    /// vacant, and every event is made.
    ///
    /// # Safety
    ///
    /// Nothing else uses the events of the block during the call.
    pub(super) unsafe fn initialize(&self) -> Result<(), String> {
        for entry in self.memory.publishers() {
            entry.record.position.store(NOWHERE, Ordering::Relaxed);
        }
        for entry in self.memory.subscribers() {
            entry.cursor.store(NOWHERE, Ordering::Relaxed);
        }
        if self.settings.parking == Parking::Event {
            for index in 0..self.settings.max_publishers + self.settings.max_subscribers {
                // SAFETY: room for an event of this segment. By the caller's promise nothing else
                // uses it.
                unsafe { Event::make(self.event(index)) }?;
            }
        }
        Ok(())
    }

    /// Returns true if the segment must stay although no process is attached. A durable subscriber
    /// keeps it, and a worker slot that is kept, and packets of a work queue without an
    /// acknowledgement.
    pub(super) fn is_kept(&self) -> bool {
        let durable =
            |entry: &SubscriberEntry| OwnerState::of(&entry.details.owner) == OwnerState::Durable;
        let is_queue_done = self.settings.queue && self.is_done();
        self.memory.subscribers().iter().any(durable) && !is_queue_done
            || self
                .slots_of_workers()
                .iter()
                .any(|slot| SlotPhase::of(slot).state() == WorkerSlotState::Kept)
    }

    /// The part of the segment's content that stays without a process.
    pub(super) fn kept(&self) -> Kept {
        if !self.is_kept() {
            return Kept::Nothing;
        }
        if self.settings.queue {
            let words = || self.memory.subscribers().iter().map(|entry| &entry.cursor);
            let first = words().next().map_or(0, |word| word.load(Ordering::Acquire));
            let tail = self.head().tail.load(Ordering::Acquire);
            let is_in_flight = |word: &&AtomicU64| word.load(Ordering::Acquire) >> 63 == 0;
            return Kept::Jobs {
                waiting_slots: tail.saturating_sub(first & !(1 << 63)),
                in_flight: words().skip(1).filter(is_in_flight).count(),
            };
        }
        let slots = self.slots_of_workers();
        let is_kept = |slot: &&WorkerSlot| SlotPhase::of(slot).state() == WorkerSlotState::Kept;
        let workers = slots.iter().filter(is_kept).filter_map(WorkerSlot::read_bounded);
        let workers: Vec<_> = workers.map(|worker| worker.name).collect();
        if !workers.is_empty() {
            return Kept::Workers(workers);
        }
        let details = self.memory.subscribers().iter().map(|entry| &entry.details);
        let durable = details.filter(|it| OwnerState::of(&it.owner) == OwnerState::Durable);
        Kept::Durable(durable.map(|it| it.durable.name()).collect())
    }

    /// Returns true if nothing is left in a work queue: the shared cursor (entry 0) is at the tail,
    /// and no consumer has a packet in flight (`ring::consumer_group`).
    fn is_done(&self) -> bool {
        let tail = self.head().tail.load(Ordering::Acquire);
        let mut cursors =
            self.memory.subscribers().iter().map(|entry| entry.cursor.load(Ordering::Acquire));
        // Bit 63 is set in `NOWHERE`, and in the cursor of a consumer that only tries to take.
        cursors.next() == Some(tail) && cursors.all(|in_hand| in_hand >> 63 == 1)
    }

    /// The worker slots of a directory.
    fn slots_of_workers(&self) -> &[WorkerSlot] {
        // SAFETY: `places` has room for this number of slots.
        unsafe { self.slice(self.places.worker_slots, self.settings.worker_slots) }
    }

    /// `count` elements at `offset`.
    ///
    /// # Safety
    ///
    /// `offset` is that of one part in `places`, which has `count` elements of this type or more.
    unsafe fn slice<T>(&self, offset: usize, count: usize) -> &[T] {
        // SAFETY: the caller's promise, and invariant 1. `self` keeps the owner.
        unsafe { part(self.base, offset, count) }
    }
}

/// `count` elements at `offset` of a block.
///
/// # Safety
///
/// `offset` and `count` are those of one part in the [`Places`] of a segment that lies at `base`.
/// The block is valid for `'a`.
unsafe fn part<'a, T>(base: NonNull<u8>, offset: usize, count: usize) -> &'a [T] {
    // SAFETY: the caller's promise; `Places` aligns each part. Parts are atomics and payload bytes,
    // for which any bytes are values.
    unsafe { slice::from_raw_parts(base.add(offset).cast::<T>().as_ptr(), count) }
}

#[cfg(test)]
mod tests {
    use crate::segment::Segment;
    use crate::segment::name::Name;
    use crate::segment::settings::{Parking, Settings};
    use crate::sync::Ordering;
    use crate::sys::lock::LockLimit;

    /// Drops a segment and uses each kind of view of it afterwards.
    fn outlives(segment: Segment) {
        let (memory, slots) = (segment.memory().clone(), segment.worker_slots());
        let event = segment.event(crate::segment::entry::EntryId::Publisher(0)).unwrap().unwrap();
        memory.head().tail.store(7, Ordering::Relaxed);
        drop(segment);
        assert_eq!(memory.head().tail.load(Ordering::Relaxed), 7);
        assert_eq!(memory.slot(u64::MAX).stamp.load(Ordering::Relaxed), 0);
        assert_eq!(slots.all()[1].phase.load(Ordering::Relaxed), 0);
        event.set();
        drop(memory);
        assert_eq!(slots.all().len(), 2);
        event.wait(std::time::Duration::from_secs(1));
    }

    #[test]
    fn views_keep_their_memory_after_the_segment() {
        let settings = Settings { worker_slots: 2, parking: Parking::Event, ..Settings::default() };
        let name = Name::new(&format!("view-owner-{}", std::process::id())).unwrap();
        outlives(Segment::open(&name, &settings, &LockLimit::default()).unwrap());
        assert!(
            !Segment::remove(&name, &LockLimit::default()).unwrap(),
            "the last segment removed its object"
        );
        outlives(Segment::heap(&settings).unwrap());
    }

    #[test]
    fn a_second_mapping_lives_as_long_as_its_view() {
        let name = Name::new(&format!("view-second-{}", std::process::id())).unwrap();
        let segment = Segment::open(&name, &Settings::default(), &LockLimit::default()).unwrap();
        let second = segment.writable().unwrap();
        second.head().tail.store(9, Ordering::Relaxed);
        assert_eq!(segment.memory().head().tail.load(Ordering::Relaxed), 9);
    }
}
