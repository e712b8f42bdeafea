//! Byte offsets of the parts of a segment.

#![cfg(not(loom))]

use super::entry::EntryId;
use super::layout::{
    BLOCKS, CallCell, CellHead, EntryOwner, HEADER, Head, MAX_TYPES, PublisherDetails,
    PublisherEntry, Record, SCHEMA_WORDS, SLOT, Slot, SubscriberDetails, SubscriberEntry,
    TypeEntry, WorkerSlot,
};
use super::settings::{Parking, Settings};
use crate::sync::AtomicU64;
use crate::sys::{event, page_size};
use std::mem::{align_of, offset_of, size_of};

const _: () = {
    assert!(offset_of!(Head, tail) == 128);
    assert!(offset_of!(Head, oldest) == 256);
    assert!(offset_of!(Head, readers) == 384);
    assert!(offset_of!(Head, writers) == 512);
    assert!(offset_of!(Head, membership) == 640);
    assert!(size_of::<Head>() == 768 && align_of::<Head>() == 128);
    assert!(size_of::<PublisherEntry>() == 256);
    assert!(size_of::<EntryOwner>() == 16 && offset_of!(EntryOwner, since) == 8);
    assert!(offset_of!(Record, sent) == 16);
    assert!(offset_of!(PublisherDetails, caller) == 16);
    assert!(offset_of!(PublisherDetails, types) == 40);
    assert!(offset_of!(PublisherDetails, counts) == 64);
    assert!(size_of::<SubscriberEntry>() == 256);
    assert!(offset_of!(SubscriberEntry, consumer) == 8);
    assert!(offset_of!(SubscriberEntry, redelivery) == 24);
    assert!(offset_of!(SubscriberEntry, received) == 40);
    assert!(offset_of!(SubscriberEntry, counts) == 64);
    assert!(offset_of!(SubscriberEntry, details) == 128);
    assert!(offset_of!(SubscriberDetails, evictions_begun) == 16);
    assert!(offset_of!(SubscriberDetails, durable) == 32);
    assert!(offset_of!(SubscriberDetails, types) == 120);
    assert!(size_of::<TypeEntry>() == 128);
    assert!(size_of::<WorkerSlot>() == 256);
    assert!(size_of::<CallCell>() == 128 && offset_of!(CallCell, reply) == 16);
    assert!(offset_of!(CallCell, block) == 64);
    assert!(size_of::<CellHead>() == 128 && offset_of!(CellHead, key_len) == 24);
    assert!(size_of::<Slot>() == SLOT && offset_of!(Slot, payload) == HEADER);
};

/// Offset of each part of a segment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    pub(crate) types: usize,
    pub(crate) links: usize,
    pub(crate) schema: usize,
    pub(crate) worker_slots: usize,
    pub(crate) call_cells: usize,
    /// The words of latencies, of which there may be none.
    pub(crate) latency: usize,
    pub(crate) events: usize,
    pub(crate) cells: usize,
    pub(crate) buffers: usize,
    pub(crate) slots: usize,
    pub(crate) end: usize,
}

impl Places {
    /// The offsets in a segment with these settings on this system. `None` if its length overflows.
    pub(crate) fn of_settings(settings: &Settings) -> Option<Self> {
        Self::with_page(settings, page_size())
    }

    /// The offsets on a system with pages of `page` bytes. Slots start on a page, because only
    /// whole pages can be made read-only. All processes of one kernel have the same page size.
    fn with_page(settings: &Settings, page: usize) -> Option<Self> {
        let capacity = settings.capacity / SLOT;
        let (publishers, subscribers) = (settings.max_publishers, settings.max_subscribers);
        let first = size_of::<Head>();
        let second = first.checked_add(publishers.checked_mul(size_of::<PublisherEntry>())?)?;
        let types = second.checked_add(subscribers.checked_mul(size_of::<SubscriberEntry>())?)?;
        // The types of calls are those of their service.
        let has_types = settings.call_cells == 0;
        let part = |bytes: usize| if has_types { bytes } else { 0 };
        let links = types.checked_add(part(MAX_TYPES * size_of::<TypeEntry>()))?;
        let schema = links.checked_add(part(BLOCKS * 4))?;
        let worker_slots = schema.checked_add(part(SCHEMA_WORDS * 8))?;
        let call_cells = worker_slots
            .checked_add(settings.worker_slots.checked_mul(size_of::<WorkerSlot>())?)?;
        let latency =
            call_cells.checked_add(settings.call_cells.checked_mul(size_of::<CallCell>())?)?;
        let latency_len = settings.latency_words() * size_of::<AtomicU64>();
        let events_at = latency.checked_add(latency_len)?.checked_next_multiple_of(128)?;
        let each = if settings.parking == Parking::Event { event::ROOM } else { 0 };
        let events_len = publishers.checked_add(subscribers)?.checked_mul(each)?;
        let cells = events_at.checked_add(events_len)?.checked_next_multiple_of(128)?;
        let buffers = cells.checked_add(settings.cells.checked_mul(size_of::<CellHead>())?)?;
        let buffers_len = settings.buffer_slots()?.checked_mul(SLOT)?;
        let slots = buffers.checked_add(buffers_len)?.checked_next_multiple_of(page)?;
        let end = slots.checked_add(capacity.checked_mul(SLOT)?)?;
        let whole = end.checked_next_multiple_of(page)?;
        Some(Self {
            publishers: first,
            subscribers: second,
            types,
            links,
            schema,
            worker_slots,
            call_cells,
            latency,
            events: events_at,
            cells,
            buffers,
            slots,
            end: whole,
        })
    }

    /// The byte whose lock shows that the owner of an entry lives: the first byte of the entry.
    pub(crate) fn lock_of(&self, entry_id: EntryId) -> u64 {
        let byte = match entry_id {
            EntryId::Publisher(index) => self.publishers + index * size_of::<PublisherEntry>(),
            EntryId::Subscriber(index) => self.subscribers + index * size_of::<SubscriberEntry>(),
            EntryId::WorkerSlot(index) => self.worker_slots + index * size_of::<WorkerSlot>(),
        };
        byte as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_whole_pages_of_any_size() {
        let settings = [
            Settings::default(),
            Settings { capacity: 1024, max_publishers: 1, max_subscribers: 1, ..<_>::default() },
            Settings { capacity: 1 << 20, parking: Parking::Event, ..<_>::default() },
            Settings { capacity: 2048, worker_slots: 128, ..<_>::default() },
            Settings { capacity: 1 << 18, call_cells: 256, ..<_>::default() },
            Settings { capacity: 1 << 16, queue: true, tagged_slots: true, ..<_>::default() },
        ];
        for settings in &settings {
            let small = Places::with_page(settings, 4096).unwrap();
            for page in [4096, 16 << 10, 64 << 10] {
                let places = Places::with_page(settings, page).unwrap();
                assert!(places.slots.is_multiple_of(page) && places.end.is_multiple_of(page));
                assert!(places.end - places.slots >= settings.capacity);
                // Only the slots move.
                let moved = Places { slots: small.slots, end: small.end, ..places };
                assert_eq!(moved, small);
            }
        }
        assert!(page_size().is_power_of_two());
        assert_eq!(Places::of_settings(&settings[0]), Places::with_page(&settings[0], page_size()));
    }
}
