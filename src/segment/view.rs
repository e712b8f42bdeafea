//! The only place where bytes become the typed words of `segment::layout`.
//!
//! [`RingMemory`] is a set of pointers to the parts of one ring, wherever they live: in a mapping, on
//! the heap, or in the boxes of a model check. It owns nothing.

use super::layout::{Head, PublisherEntry, Slot, SubscriberEntry};
use std::hash::Hasher;
use std::ptr::NonNull;

/// The other half of the hash's key.
const KEY: u64 = u64::from_le_bytes(*b"pktring\0");

/// The parts of one ring, for the protocol to work on.
///
/// Invariants, promised to [`RingMemory::of_parts`] and relied on by every method: all parts are
/// valid for shared access for as long as any copy is used; `slots` has `mask + 1` elements, a
/// power of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingMemory {
    head: NonNull<Head>,
    publishers: NonNull<[PublisherEntry]>,
    subscribers: NonNull<[SubscriberEntry]>,
    slots: NonNull<Slot>,
    mask: u64,
    salt: u64,
}

// SAFETY: the parts are atomics, and payload bytes that the protocol hands to one writer or to
// readers at a time; nothing is tied to a thread.
unsafe impl Send for RingMemory {}
// SAFETY: as above.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// # Safety
    ///
    /// The parts outlive every use of the value and its copies. `slots.len()` is a power of two.
    pub(crate) unsafe fn of_parts(
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
        }
    }

    /// The words that belong to no one endpoint.
    #[inline]
    pub(crate) fn head(&self) -> &Head {
        // SAFETY: valid for shared access, by the invariant.
        unsafe { self.head.as_ref() }
    }

    /// All publisher entries, used or not.
    #[inline]
    pub(crate) fn publishers(&self) -> &[PublisherEntry] {
        // SAFETY: valid for shared access, by the invariant.
        unsafe { self.publishers.as_ref() }
    }

    /// All subscriber entries, used or not.
    #[inline]
    pub(crate) fn subscribers(&self) -> &[SubscriberEntry] {
        // SAFETY: valid for shared access, by the invariant.
        unsafe { self.subscribers.as_ref() }
    }

    /// The slot at a position.
    #[inline]
    pub(crate) fn slot(&self, position: u64) -> &Slot {
        // SAFETY: `index` is at most `mask`, so within the slots; valid by the invariant.
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

    /// Whether two positions are in one lap.
    #[inline(always)]
    pub(crate) fn is_one_lap(&self, a: u64, b: u64) -> bool {
        (a ^ b) <= self.mask
    }

    /// The salt of the lap that a position is in (`ring::slot` has the reason).
    pub(crate) fn salt(&self, position: u64) -> u64 {
        #[expect(deprecated, reason = "its successor in std does not say which hash it is")]
        let mut hash = std::hash::SipHasher::new_with_keys(self.salt, KEY);
        hash.write_u64(position / self.capacity());
        hash.finish()
    }

    /// The first payload byte of the packet at a position; 16-aligned, and followed by the rest
    /// of the slots up to the ring's end without a gap.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn payload(&self, position: u64) -> NonNull<u8> {
        // SAFETY: `index` is within the slots, and `HEADER` within a slot.
        unsafe { self.slots.add(self.index(position)).cast::<u8>().add(super::layout::HEADER) }
    }
}

#[cfg(not(loom))]
pub(crate) use parts::{SegmentParts, WorkerSlots};

/// Casting a block of bytes.
#[cfg(not(loom))]
mod parts {
    use super::RingMemory;
    use crate::segment::layout::{
        Head, MAX_TYPES, NOWHERE, Places, PublisherEntry, SCHEMA_WORDS, SLOT, Slot,
        SubscriberEntry, TypeEntry, WorkerSlot,
    };
    use crate::segment::settings::Settings;
    use crate::sync::{AtomicU64, Ordering};
    use std::ptr::NonNull;
    use std::slice;

    /// A block of bytes laid out as a segment.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct SegmentParts {
        base: NonNull<u8>,
        places: Places,
        settings: Settings,
    }

    /// The desks of one directory, wherever they live.
    ///
    /// As with [`RingMemory`], whoever has it keeps the block that it was made from.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct WorkerSlots(NonNull<[WorkerSlot]>);

    // SAFETY: desks are atomics; nothing is tied to a thread.
    unsafe impl Send for WorkerSlots {}
    // SAFETY: as above.
    unsafe impl Sync for WorkerSlots {}

    impl WorkerSlots {
        /// All of them, taken or not.
        #[inline]
        pub(crate) fn all(&self) -> &[WorkerSlot] {
            // SAFETY: valid for shared access as long as the block, which is there.
            unsafe { self.0.as_ref() }
        }
    }

    impl SegmentParts {
        /// # Safety
        ///
        /// `base` is aligned to a page and valid for shared access of `places.end` bytes for as
        /// long as the value, its copies and what they give are used; every one of those bytes is
        /// initialized; `places` are those of `settings`, which were checked.
        pub(crate) unsafe fn new(base: NonNull<u8>, places: Places, settings: Settings) -> Self {
            Self { base, places, settings }
        }

        /// What it was made to be.
        pub(crate) fn settings(&self) -> &Settings {
            &self.settings
        }

        /// The head alone.
        pub(crate) fn head(&self) -> &Head {
            // SAFETY: the head is the first part; it consists of atomics, for which any bytes are
            // values; the block is aligned to a page.
            unsafe { self.base.cast::<Head>().as_ref() }
        }

        /// What the protocol works on.
        pub(crate) fn memory(&self, salt: u64) -> RingMemory {
            let slots = self.slice::<Slot>(self.places.slots, self.settings.capacity / SLOT);
            // SAFETY: the parts live as long as this value, which is what `new`'s caller
            // promised; a checked capacity is a power of two of at least 16 slots.
            unsafe {
                RingMemory::of_parts(
                    self.head(),
                    self.publishers(),
                    self.subscribers(),
                    slots,
                    salt,
                )
            }
        }

        /// The type table's entries.
        pub(crate) fn types(&self) -> &[TypeEntry] {
            self.slice(self.places.types, MAX_TYPES)
        }

        /// Workers' desks.
        pub(crate) fn worker_slots(&self) -> WorkerSlots {
            WorkerSlots(NonNull::from(
                self.slice(self.places.worker_slots, self.settings.worker_slots),
            ))
        }

        /// The schema text.
        pub(crate) fn schema(&self) -> &[AtomicU64] {
            self.slice(self.places.schema, SCHEMA_WORDS)
        }

        /// Where the event of an entry lies, in the order publishers, subscribers.
        pub(crate) fn event(&self, index: usize) -> NonNull<u8> {
            let offset = self.places.events + index * crate::sys::event::ROOM;
            debug_assert!(offset < self.places.slots);
            // SAFETY: within the block: `index` is one of the entries that `places` counted.
            unsafe { self.base.add(offset) }
        }

        /// The pages that hold slots.
        pub(crate) fn slot_pages(&self) -> (NonNull<u8>, usize) {
            // SAFETY: within the block.
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

        fn slice<T>(&self, offset: usize, count: usize) -> &[T] {
            // SAFETY: `places` puts `count` aligned elements at `offset`, within the block; each
            // is atomics and payload bytes, for which any bytes are values.
            unsafe { slice::from_raw_parts(self.base.add(offset).cast::<T>().as_ptr(), count) }
        }
    }
}
