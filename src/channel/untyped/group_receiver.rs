//! The untyped part of a consumer of a queue: a [`Receiver`] over the cursor of its group.

use super::receiver::Receiver;
use crate::channel::owned_entry::{self, OwnedEntry};
use crate::ring::consumer_group::ConsumerGroup;
use crate::ring::cursor::Cursor;
use crate::ring::membership::{self, Side};
use crate::segment::entry::EntryId;

/// The untyped part of a consumer.
pub(crate) type GroupReceiver = Receiver<ConsumerGroup>;

impl GroupReceiver {
    /// Leaves the packet in flight to the consumer that checks first. It stays in flight here if no
    /// entry is free.
    pub(crate) fn nack(&mut self) {
        if self.change_entry().is_some() {
            self.entry.wake_all();
        }
    }

    /// Moves to another entry and leaves the packet in flight at the old one, where it looks like
    /// that of a dead consumer. `None`: there is no other entry.
    fn change_entry(&mut self) -> Option<()> {
        let (group, entry) = (&mut self.cursor, &mut self.entry);
        let control = entry.segment.lock_bounded()?;
        let settings = entry.segment.settings();
        owned_entry::reap(&entry.segment, group.memory(), &|entry_id| entry.is_alive(entry_id));
        // Half of the entries are kept for consumers.
        if membership::free(group.memory(), Side::Subscribers) <= settings.max_subscribers / 2 {
            return None;
        }
        let new = membership::vacancy(group.memory(), settings, Side::Subscribers)?;
        let wait = entry.waiter.wait();
        let waiter = OwnedEntry::waiter(&entry.segment, new, wait).ok()?;
        let EntryId::Subscriber(index) = new else { return None };
        if !entry.liveness().acquire_liveness(new).ok()? {
            return None;
        }
        group.move_to(index);
        entry.release_liveness();
        drop(control);
        (entry.entry_id, entry.waiter) = (new, waiter);
        Some(())
    }
}
