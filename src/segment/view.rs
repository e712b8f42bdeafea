//! Typed views of a segment's bytes. No other module turns bytes into the words of
//! `segment::layout`.
//!
//! A view owns the memory that it points to: a clone of an `Arc` keeps the mapping, the heap block
//! or the boxes of a test. The memory goes with the last view, in whatever order the views and their
//! segment are dropped. Hot paths borrow a view; they do not clone it.

use super::layout::{Head, PublisherEntry, Slot, SubscriberEntry};
use std::any::Any;
use std::hash::Hasher;
use std::ptr::NonNull;
use std::sync::Arc;

/// Keeps the memory behind a view valid and in place: a mapping, a heap block, or a test's boxes.
pub(crate) type Owner = Arc<dyn Any + Send + Sync>;

/// Second half of the key of the salt's hash.
const KEY: u64 = u64::from_le_bytes(*b"pktring\0");

/// The parts of one ring, for the protocol to work on.
///
/// # Invariants
///
/// 1. `head`, `publishers`, `subscribers` and `slots` are valid for shared access as long as
///    `_owner` lives.
/// 2. `slots` points to `mask + 1` slots, and `mask + 1` is a power of two.
#[derive(Clone, Debug)]
pub(crate) struct RingMemory {
    head: NonNull<Head>,
    publishers: NonNull<[PublisherEntry]>,
    subscribers: NonNull<[SubscriberEntry]>,
    slots: NonNull<Slot>,
    mask: u64,
    salt: u64,
    _owner: Owner,
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
        salt: u64,
    ) -> Self {
        debug_assert!(slots.len().is_power_of_two());
        Self {
            head: NonNull::from(head),
            publishers: NonNull::from(publishers),
            subscribers: NonNull::from(subscribers),
            slots: NonNull::from(slots).cast(),
            mask: slots.len() as u64 - 1,
            salt,
            _owner: owner,
        }
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

    /// The slot at a position.
    #[inline]
    pub(crate) fn slot(&self, position: u64) -> &Slot {
        // SAFETY: `index` is at most `mask`, so within the slots by invariant 2; valid by
        // invariant 1, and `self` keeps the owner.
        unsafe { self.slots.add(self.index(position)).as_ref() }
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

    /// The salt of the lap that a position is in. `ring::spot` explains its use.
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
}

#[cfg(not(loom))]
pub(crate) use parts::{Block, SegmentParts, WorkerSlots};

/// Casts of a block of bytes.
#[cfg(not(loom))]
mod parts {
    use super::{Owner, RingMemory};
    use crate::segment::entry::EntryId;
    use crate::segment::layout::{
        Head, MAX_TYPES, NOWHERE, Places, PublisherEntry, SCHEMA_WORDS, SLOT, Slot,
        SubscriberEntry, TypeEntry, WorkerSlot,
    };
    use crate::segment::settings::Settings;
    use crate::sync::{AtomicU64, Ordering};
    use std::any::Any;
    use std::ptr::NonNull;
    use std::slice;
    use std::sync::Arc;

    /// Memory that a segment can lie in.
    ///
    /// # Safety
    ///
    /// As long as the value lives, moved or not, `bytes` returns the same pointer. The bytes are
    /// initialized, aligned to a page, and valid for shared access through atomics and
    /// `UnsafeCell`.
    pub(crate) unsafe trait Block: Any + Send + Sync {
        /// The bytes.
        fn bytes(&self) -> NonNull<[u8]>;
    }

    /// A block of bytes laid out as a segment.
    ///
    /// # Invariants
    ///
    /// 1. `base` points to at least `places.end` bytes, as [`Block`] promises them, for as long as
    ///    `owner` lives.
    /// 2. `places` are those of `settings`, and `settings` were checked.
    #[derive(Clone, Debug)]
    pub(crate) struct SegmentParts {
        base: NonNull<u8>,
        places: Places,
        settings: Settings,
        salt: u64,
        owner: Owner,
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
        /// The parts of a segment with these settings in a block. `None` if no segment can have
        /// these settings, or the block is too short.
        pub(crate) fn new<B: Block>(block: Arc<B>, settings: Settings, salt: u64) -> Option<Self> {
            settings.check().ok()?;
            let places = Places::of_settings(&settings)?;
            let bytes = block.bytes();
            // Invariants 1 and 2.
            (places.end <= bytes.len()).then(|| Self {
                base: bytes.cast(),
                places,
                settings,
                salt,
                owner: block,
            })
        }

        /// The settings that the segment was made with.
        pub(crate) fn settings(&self) -> &Settings {
            &self.settings
        }

        /// Length of the segment in bytes.
        pub(crate) fn len(&self) -> usize {
            self.places.end
        }

        /// The random number of this ring.
        pub(crate) fn salt(&self) -> u64 {
            self.salt
        }

        /// The byte whose lock shows that the owner of an entry lives.
        pub(crate) fn lock_of(&self, member: EntryId) -> u64 {
            self.places.lock_of(member)
        }

        /// The head alone.
        pub(crate) fn head(&self) -> &Head {
            // SAFETY: by the invariants the block begins with a head, aligned to a page. A head
            // consists of atomics, for which any bytes are values. `self` keeps the owner.
            unsafe { self.base.cast::<Head>().as_ref() }
        }

        /// A view for the ring's protocol.
        pub(crate) fn memory(&self) -> RingMemory {
            let slots = self.slice::<Slot>(self.places.slots, self.settings.capacity / SLOT);
            let owner = Owner::clone(&self.owner);
            // SAFETY: the parts are valid as long as the owner lives, by invariant 1. A checked
            // capacity is a power of two of at least 16 slots, by invariant 2.
            unsafe {
                RingMemory::of_parts(
                    owner,
                    self.head(),
                    self.publishers(),
                    self.subscribers(),
                    slots,
                    self.salt,
                )
            }
        }

        /// The entries of the type table.
        pub(crate) fn types(&self) -> &[TypeEntry] {
            self.slice(self.places.types, MAX_TYPES)
        }

        /// A view of the worker slots: none, except in a directory.
        pub(crate) fn worker_slots(&self) -> WorkerSlots {
            let slots = self.slice(self.places.worker_slots, self.settings.worker_slots);
            WorkerSlots { slots: NonNull::from(slots), _owner: Owner::clone(&self.owner) }
        }

        /// The schema text.
        pub(crate) fn schema(&self) -> &[AtomicU64] {
            self.slice(self.places.schema, SCHEMA_WORDS)
        }

        /// The room of an entry's event, and its owner. Publishers' events come first.
        ///
        /// # Panics
        ///
        /// If the segment has no such event.
        pub(crate) fn event(&self, index: usize) -> (NonNull<u8>, Owner) {
            let room = crate::sys::event::ROOM;
            let offset = self.places.events + index * room;
            assert!(offset + room <= self.places.slots, "no event {index}");
            // SAFETY: within the block, by invariant 1.
            (unsafe { self.base.add(offset) }, Owner::clone(&self.owner))
        }

        /// The pages that hold slots: their start and their length in bytes.
        pub(crate) fn slot_pages(&self) -> (NonNull<u8>, usize) {
            // SAFETY: within the block, by invariant 1.
            let start = unsafe { self.base.add(self.places.slots) };
            (start, self.places.end - self.places.slots)
        }

        /// Makes every entry vacant in a block of zeros.
        pub(crate) fn vacate(&self) {
            for entry in self.publishers() {
                entry.record.position.store(NOWHERE, Ordering::Relaxed);
            }
            for entry in self.subscribers() {
                entry.cursor.store(NOWHERE, Ordering::Relaxed);
            }
        }

        fn publishers(&self) -> &[PublisherEntry] {
            self.slice(self.places.publishers, self.settings.max_publishers)
        }

        /// All subscriber entries, used or not.
        pub(crate) fn subscribers(&self) -> &[SubscriberEntry] {
            self.slice(self.places.subscribers, self.settings.max_subscribers)
        }

        /// `count` elements at `offset`; the callers take both from `places` and `settings`.
        fn slice<T>(&self, offset: usize, count: usize) -> &[T] {
            // SAFETY: by the invariants `count` aligned elements lie at `offset`, within the
            // block. Each is atomics and payload bytes, for which any bytes are values. `self`
            // keeps the owner.
            unsafe { slice::from_raw_parts(self.base.add(offset).cast::<T>().as_ptr(), count) }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::segment::Segment;
    use crate::segment::name::Name;
    use crate::segment::settings::{Parking, Settings};
    use crate::sync::Ordering;

    /// Drops a segment and uses each kind of view of it afterwards.
    fn outlives(segment: Segment) {
        let (memory, slots) = (segment.memory(), segment.worker_slots());
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
        outlives(Segment::open(&name, &settings, None).unwrap());
        assert!(!Segment::remove(&name).unwrap(), "the last segment removed its object");
        outlives(Segment::heap(&settings).unwrap());
    }

    #[test]
    fn a_second_mapping_lives_as_long_as_its_view() {
        let name = Name::new(&format!("view-second-{}", std::process::id())).unwrap();
        let segment = Segment::open(&name, &Settings::default(), None).unwrap();
        let second = segment.with_writable(|memory| memory).unwrap();
        second.head().tail.store(9, Ordering::Relaxed);
        assert_eq!(segment.memory().head().tail.load(Ordering::Relaxed), 9);
    }
}
