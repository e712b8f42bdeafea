//! Byte offsets of the parts of a segment.

#![cfg(not(loom))]

use super::entry::EntryId;
use super::layout::{
    HEADER, Head, MAX_TYPES, PublisherEntry, SCHEMA_WORDS, SLOT, Slot, SubscriberDetails,
    SubscriberEntry, TypeEntry, WorkerSlot,
};
use super::settings::{Parking, Settings};
use crate::sys::event;
use std::mem::{align_of, offset_of, size_of};

/// Page size of every supported platform. Slots start on a page.
pub(crate) const PAGE: usize = 4096;

const _: () = {
    assert!(offset_of!(Head, tail) == 128);
    assert!(offset_of!(Head, oldest) == 256);
    assert!(offset_of!(Head, readers) == 384);
    assert!(offset_of!(Head, writers) == 512);
    assert!(offset_of!(Head, membership) == 640);
    assert!(size_of::<Head>() == 768 && align_of::<Head>() == 128);
    assert!(size_of::<PublisherEntry>() == 256);
    assert!(size_of::<SubscriberEntry>() == 256);
    assert!(offset_of!(SubscriberEntry, consumer) == 8);
    assert!(offset_of!(SubscriberEntry, details) == 128);
    assert!(offset_of!(SubscriberDetails, evictions_begun) == 8);
    assert!(offset_of!(SubscriberDetails, durable) == 24);
    assert!(offset_of!(SubscriberDetails, reply) == 112);
    assert!(size_of::<TypeEntry>() == 128);
    assert!(size_of::<WorkerSlot>() == 256);
    assert!(size_of::<Slot>() == SLOT && offset_of!(Slot, payload) == HEADER);
};

/// Offset of each part of a segment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    pub(crate) types: usize,
    pub(crate) schema: usize,
    pub(crate) worker_slots: usize,
    pub(crate) events: usize,
    pub(crate) slots: usize,
    pub(crate) end: usize,
}

impl Places {
    /// The offsets in a segment with these settings. `None` if its length overflows.
    pub(crate) fn of_settings(settings: &Settings) -> Option<Self> {
        let capacity = settings.capacity / SLOT;
        let (publishers, subscribers) = (settings.max_publishers, settings.max_subscribers);
        let first = size_of::<Head>();
        let second = first.checked_add(publishers.checked_mul(size_of::<PublisherEntry>())?)?;
        let types = second.checked_add(subscribers.checked_mul(size_of::<SubscriberEntry>())?)?;
        let schema = types.checked_add(MAX_TYPES * size_of::<TypeEntry>())?;
        let worker_slots = schema.checked_add(SCHEMA_WORDS * 8)?;
        let events_at = worker_slots
            .checked_add(settings.worker_slots.checked_mul(size_of::<WorkerSlot>())?)?;
        let each = if settings.parking == Parking::Event { event::ROOM } else { 0 };
        let events_len = publishers.checked_add(subscribers)?.checked_mul(each)?;
        let slots = events_at.checked_add(events_len)?.checked_next_multiple_of(PAGE)?;
        let end = slots.checked_add(capacity.checked_mul(SLOT)?)?;
        let whole = end.checked_next_multiple_of(PAGE)?;
        Some(Self {
            publishers: first,
            subscribers: second,
            types,
            schema,
            worker_slots,
            events: events_at,
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
