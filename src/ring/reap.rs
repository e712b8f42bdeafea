//! Clearing the entries of dead processes: their claims become void packets, their pins and cursors
//! are removed, and their entries are freed. The caller holds the control lock.
//!
//! Every function takes `is_alive`, which checks an entry's liveness lock. It returns true for the
//! caller's own entry. Claims, pins and cursors are resolved first and the entry is freed last. If
//! this process dies before that, the next process finds the entry and clears it.
//!
//! [`settle`] clears a work queue without users, and skips its void packets. Consumers skip void
//! packets while they receive; aborted reservations and the claims of dead publishers leave some
//! that no consumer sees if none joins any more.

use super::consumer_group;
use super::gate::{PIN, position};
use super::geometry::Geometry;
use super::membership::{OnConsumerDeath, SHARED, is_free, leave_publisher, leave_subscriber};
use super::recover::{Recovered, Voided, recover};
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::layout::{EntryOwner, NOWHERE, PublisherEntry};
use crate::segment::settings::Settings;
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// Result of [`reap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reaped {
    /// Entries were freed, records resolved or pins cleared: sleepers may be able to go on.
    pub(crate) changed: bool,
    /// Dead endpoints that were cleared.
    pub(crate) endpoints: u64,
}

/// A dead owner whose entry is about to be cleared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    pub(crate) entry_id: EntryId,
    /// Its process, for display only. 0 if it left, with a packet in flight.
    pub(crate) pid: u32,
    /// The void packets that were written over its claim.
    pub(crate) voided: Voided,
}

/// Access to the slots of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    /// A store to them is a SIGSEGV.
    ReadOnly,
    /// Claims can be voided.
    Writable,
}

/// Clears the dead. Where slots are read-only, an entry with a claim is left to another process.
pub(crate) fn reap(
    memory: &RingMemory,
    settings: &Settings,
    slots: Slots,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Reaped {
    reap_and_report(memory, settings, slots, is_alive, &|_| {})
}

/// Does [`reap`], and calls `report` for each dead owner before its entry changes.
pub(crate) fn reap_and_report(
    memory: &RingMemory,
    settings: &Settings,
    slots: Slots,
    is_alive: &dyn Fn(EntryId) -> bool,
    report: &dyn Fn(&Death),
) -> Reaped {
    let mut reaped = Reaped::default();
    for index in 0..memory.publishers().len() {
        let is_dead = reap_publisher(memory, settings, slots, index, is_alive, report);
        reaped.endpoints += u64::from(is_dead);
    }
    // The entry of a shared cursor has no owner, and a pin on it is a consumer's.
    let first = if settings.queue { SHARED + 1 } else { 0 };
    if settings.queue {
        reaped.changed |= consumer_group::unpin(memory, is_alive);
    }
    for index in first..memory.subscribers().len() {
        let is_dead = reap_subscriber(memory, settings, index, is_alive, report);
        reaped.endpoints += u64::from(is_dead);
    }
    reaped.changed |= reaped.endpoints > 0;
    reaped
}

/// Clears the dead of a queue without users, then skips the void packets at its shared cursor, so
/// that a queue in which only void packets are left counts as empty. Does nothing to another ring.
/// No process is attached, and slots of `memory` can be written.
///
/// Consumers skip void packets while they receive. Aborted reservations, and the claims of dead
/// publishers, leave void packets that no consumer sees if none joins any more.
#[cfg(not(loom))]
pub(crate) fn settle(memory: &RingMemory, settings: &Settings, is_alive: &dyn Fn(EntryId) -> bool) {
    if settings.queue {
        reap(memory, settings, Slots::Writable, is_alive);
        consumer_group::skip_voids(memory, &Geometry::of(settings));
    }
}

/// Returns true if an entry has an owner that is dead, or a pin may be a dead consumer's, so that
/// [`reap`] may have work to do. Needs no control lock.
#[cfg(not(loom))]
pub(crate) fn has_dead(
    memory: &RingMemory,
    settings: &Settings,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> bool {
    // Joins raise these bounds before they take an entry. Relaxed: a join that is missed is found
    // by the next check.
    let membership = &memory.head().membership;
    let used = [&membership.publishers, &membership.subscribers]
        .map(|used| used.load(Ordering::Relaxed) as usize);
    let publishers = memory.publishers().iter().enumerate().take(used[0]);
    let mut publishers =
        publishers.map(|(index, entry)| (EntryId::Publisher(index), &entry.details.owner));
    // As in `reap`.
    let first = if settings.queue { SHARED + 1 } else { 0 };
    let subscribers = memory.subscribers().iter().enumerate().take(used[1]).skip(first);
    let mut subscribers =
        subscribers.map(|(index, entry)| (EntryId::Subscriber(index), &entry.details.owner));
    let is_dead = |(entry, owner): (EntryId, &_)| !is_free(owner) && !is_alive(entry);
    settings.queue && consumer_group::is_pinned(memory)
        || publishers.any(is_dead)
        || subscribers.any(is_dead)
}

/// Returns true if a dead publisher left a claim, so that [`reap`] needs writable slots.
pub(crate) fn has_abandoned_claim(memory: &RingMemory, is_alive: &dyn Fn(EntryId) -> bool) -> bool {
    memory.publishers().iter().enumerate().any(|(index, entry)| {
        !is_free(&entry.details.owner) && has_record(entry) && !is_alive(EntryId::Publisher(index))
    })
}

fn pid_of(owner: &EntryOwner) -> u32 {
    owner.pid.load(Ordering::Relaxed)
}

fn has_record(entry: &PublisherEntry) -> bool {
    // Pairs with the release that clears it.
    entry.record.position.load(Ordering::Acquire) != NOWHERE
}

fn reap_publisher(
    memory: &RingMemory,
    settings: &Settings,
    slots: Slots,
    index: usize,
    is_alive: &dyn Fn(EntryId) -> bool,
    report: &dyn Fn(&Death),
) -> bool {
    let (entry, entry_id) = (&memory.publishers()[index], EntryId::Publisher(index));
    if is_free(&entry.details.owner) || is_alive(entry_id) {
        return false;
    }
    let mut voided = Voided::default();
    let is_clear = match slots {
        Slots::Writable => {
            let geometry = Geometry::of(settings);
            recover(memory, &geometry, index, is_alive, &mut voided) == Recovered::Cleared
        }
        // Read after its owner was found dead, so it does not change any more.
        Slots::ReadOnly => !has_record(entry),
    };
    if is_clear {
        report(&Death { entry_id, pid: pid_of(&entry.details.owner), voided });
        leave_publisher(memory, settings, index);
    }
    is_clear
}

fn reap_subscriber(
    memory: &RingMemory,
    settings: &Settings,
    index: usize,
    is_alive: &dyn Fn(EntryId) -> bool,
    report: &dyn Fn(&Death),
) -> bool {
    let (entry, entry_id) = (&memory.subscribers()[index], EntryId::Subscriber(index));
    let on_consumer_death = OnConsumerDeath::of(settings);
    let found = || {
        let voided = Voided::default();
        report(&Death { entry_id, pid: pid_of(&entry.details.owner), voided });
    };
    match OwnerState::of(&entry.details.owner) {
        OwnerState::Free => false,
        _ if is_alive(entry_id) => false,
        // The consumer that adopts the packet clears the in-flight word.
        OwnerState::Consumer
            if on_consumer_death == OnConsumerDeath::Adopted
                && consumer_group::has_in_flight(entry) =>
        {
            false
        }
        OwnerState::Taken | OwnerState::Joining | OwnerState::Consumer => {
            found();
            leave_subscriber(memory, index);
            true
        }
        // It stays, and gates. Only its pin goes.
        OwnerState::Durable => {
            let cursor = entry.cursor.load(Ordering::Acquire);
            let pinned = cursor != NOWHERE && cursor & PIN != 0;
            if pinned {
                found();
                // Pairs with the acquires in `gate::scan` and `overflow::evict`.
                entry.cursor.store(position(cursor), Ordering::Release);
            }
            pinned
        }
    }
}
