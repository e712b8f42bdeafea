//! The untyped part of a consumer of a queue: a [`Receiver`] over the cursor of its group.

use super::receiver::Receiver;
use crate::channel::endpoint::{self, Endpoint};
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
            self.endpoint.wake_all();
        }
    }

    /// Moves to another entry and leaves the packet in flight at the old one, where it looks like
    /// that of a dead consumer. `None`: there is no other entry.
    fn change_entry(&mut self) -> Option<()> {
        let (group, endpoint) = (&mut self.cursor, &mut self.endpoint);
        let control = endpoint.segment.lock_bounded()?;
        let settings = endpoint.segment.settings();
        endpoint::reap(&endpoint.segment, group.memory(), &|entry_id| endpoint.is_alive(entry_id));
        // Half of the entries are kept for consumers.
        if membership::free(group.memory(), Side::Subscribers) <= settings.max_subscribers / 2 {
            return None;
        }
        let new = membership::vacancy(group.memory(), settings, Side::Subscribers)?;
        let wait = endpoint.waiter.wait();
        let waiter = Endpoint::waiter(&endpoint.segment, new, wait).ok()?;
        let EntryId::Subscriber(index) = new else { return None };
        if !endpoint.liveness().acquire_liveness(new).ok()? {
            return None;
        }
        group.move_to(index);
        endpoint.release_liveness();
        drop(control);
        (endpoint.entry_id, endpoint.waiter) = (new, waiter);
        Some(())
    }
}
