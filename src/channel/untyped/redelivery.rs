//! Packets that are not handed out as usual: put back, delivered again, given up, or left to others
//! by a worker that drains or by a consumer of a queue.
//!
//! A [`GroupReceiver`] is the untyped part of a consumer of a queue: a [`Receiver`] over the cursor
//! of its group.

use super::options::{DeadLetters, Draining, is_any_draining};
use super::receiver::{Found, Receiver};
#[cfg(feature = "handover")]
use super::{
    PacketId,
    options::{AtCheck, AtCheckFn},
};
use crate::channel::owned_entry::{self, OwnedEntry};
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::consumer_group::ConsumerGroup;
use crate::ring::cursor::{Cursor, Taken};
use crate::ring::membership::{self, Side};

impl<C: Cursor> Receiver<C> {
    /// Sets where packets go that were handed out too often.
    pub(crate) fn set_dead_letters(&mut self, dead_letters: Option<DeadLetters>) {
        self.options.get_or_insert_default().dead_letters = dead_letters;
    }

    /// Records that a packet is about to be given to the user. `None`: it became a dead letter.
    pub(super) fn hand_out(&mut self, taken: Taken) -> Option<Taken> {
        if self.buries(&taken) {
            return None;
        }
        self.cursor.record_handed_out();
        Some(taken)
    }

    /// Moves a packet that was handed out too often to the dead letters, and acknowledges it.
    /// Returns false if it stays.
    pub(super) fn buries(&mut self, taken: &Taken) -> bool {
        let Some(options) = &mut self.options else { return false };
        let Some(dead_letters) = &mut options.dead_letters else { return false };
        let is_over = self.cursor.is_redelivered(taken)
            && self.cursor.deliveries(taken) >= dead_letters.max_deliveries;
        if !is_over || !dead_letters.bury(&self.entry.segment, taken, self.cursor.payload()) {
            return false;
        }
        failpoint(Failpoint::DeadLetter);
        self.ack();
        #[cfg(feature = "handover")]
        self.check_attached();
        true
    }

    /// Puts the packet in flight back: the next receive returns it again, flagged and counted.
    pub(crate) fn unreceive(&mut self) {
        // A consumer of a queue still has the packet, so its next receive is a slow one anyway.
        let counts = !C::IS_SHARED && self.cursor.holds();
        self.cursor.unreceive();
        if counts {
            self.found = Some(Found::Unreceived);
        }
    }

    /// Returns true if a search found something that no receive has returned.
    pub(super) fn has_found(&self) -> bool {
        matches!(self.found, Some(Found::Next(_)))
    }

    /// Makes this a receiver of a worker that may drain.
    pub(crate) fn drain_with(&mut self, draining: Draining) {
        self.options.get_or_insert_default().draining = draining;
    }

    /// Does what the worker chose for each check of liveness.
    #[cfg(feature = "handover")]
    #[cold]
    #[inline(never)]
    pub(super) fn check_attached(&mut self) {
        if let Some(at_check) = self.options.as_mut().and_then(|all| all.at_check.as_mut()) {
            let cursor = &self.cursor;
            at_check.0(PacketId::new(cursor.memory(), cursor.position()), &|| cursor.tail());
        }
    }

    /// The end of the ring.
    #[cfg(feature = "handover")]
    pub(crate) fn end_id(&self) -> PacketId {
        PacketId::new(self.cursor.memory(), self.cursor.tail())
    }

    /// Sets what is done at each check of liveness, and after each eighth of the ring.
    #[cfg(feature = "handover")]
    pub(crate) fn at_each_check(&mut self, action: Box<AtCheckFn>) {
        self.options.get_or_insert_default().at_check = Some(AtCheck(action));
    }

    /// Returns true if the receiver takes nothing new, and has nothing that `select` found.
    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        is_any_draining()
            && !self.has_found()
            && self.options.as_ref().is_some_and(|options| options.draining.is_on())
    }
}

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
        let is_alive = |entry_id| entry.is_alive(entry_id);
        entry.count_recoveries(owned_entry::reap(&entry.segment, group.memory(), &is_alive));
        // More than half of the entries must be free, so that consumers can join.
        if membership::free(group.memory(), Side::Subscribers) <= settings.max_subscribers / 2 {
            return None;
        }
        let new = membership::vacancy(group.memory(), settings, Side::Subscribers)?;
        let wait = entry.waiter.wait();
        let waiter = OwnedEntry::waiter(&entry.segment, new, wait).ok()?;
        group.move_to(entry.segment.lock_entry(new).ok()??);
        // Its old entry gets no more counts from here on, and the new one has them.
        entry.release_liveness();
        drop(control);
        entry.move_to(new, waiter);
        Some(())
    }
}
