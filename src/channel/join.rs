//! Joining a ring: how an endpoint gets its entry.
//!
//! ```text
//!  attach ─► control lock ─► clear the dead ─► free entry ─► register the type ─► record its use
//!         ─► take the entry
//! ```
//!
//! A failed join leaves nothing behind, because every step that can fail comes before the entry is
//! taken. Only the type can stay registered, if taking the liveness lock fails: unused, so that its
//! entry can be freed.

use super::owned_entry::{self, OwnedEntry, reap};
use super::reports;
use super::type_table::Registrar;
use super::untyped::GroupReceiver;
use super::untyped::Sender;
use super::untyped::{AckMode, Receiver};
use crate::error::OpenError;
use crate::packet::{Fingerprint, TypeInfo};
use crate::ring::claim::Writer;
use crate::ring::consumer_group::{ConsumerGroup, orphaned_entry};
use crate::ring::cursor::Cursor;
use crate::ring::membership::RingState;
use crate::ring::membership::{self, OnConsumerDeath, Side, Start};
use crate::ring::reader::Reader;
use crate::ring::types;
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::roles::DurableWords;
use crate::segment::settings::Claims;
use crate::segment::view::{LockedEntry, RingMemory};
use crate::segment::{Control, Segment};
use crate::wait::{Wait, Waiter};

const PUBLISHERS: (Side, &str) = (Side::Publishers, "publishers");
const SUBSCRIBERS: (Side, &str) = (Side::Subscribers, "subscribers");

/// The packet types of an endpoint.
pub(crate) enum Types<'a> {
    /// A single type: the ring carries it, or carries none that anything uses.
    One(&'a TypeInfo),
    /// Requests and replies of a service.
    Pair {
        /// The type of requests.
        request: &'a TypeInfo,
        /// The type of replies.
        reply: &'a TypeInfo,
    },
    /// Requests and replies of a service that the ring has already.
    Carried {
        /// The type of requests.
        request: Fingerprint,
        /// The type of replies.
        reply: Fingerprint,
    },
    /// Any type, registered with its first packet.
    Any,
    /// Any type. The types with these bits are registered and used by a living endpoint.
    Known(u64),
}

/// Joins as a publisher. Also returns the type's index, or 0.
pub(crate) fn publisher(
    ring: &Segment,
    types: &Types<'_>,
    wait: Wait,
) -> Result<(Sender, u16), OpenError> {
    publisher_leaving(ring, types, wait, 0)
}

/// Joins as a publisher, if `others` free entries remain after it.
pub(crate) fn publisher_leaving(
    ring: &Segment,
    types: &Types<'_>,
    wait: Wait,
    others: usize,
) -> Result<(Sender, u16), OpenError> {
    let segment = attach(ring, wait)?;
    let (entry_id, waiter, index, writer) = {
        let control = segment.lock()?;
        let memory = segment.memory();
        if RingState::of(memory) == RingState::Closed {
            return Err(OpenError::Closed { name: segment.shown_name() });
        }
        if segment.settings().queue {
            // Packets wait for consumers from here on, even if none has joined yet.
            membership::create_shared_cursor(memory, segment.settings());
        }
        let entry_id = vacancy(&control, &segment, PUBLISHERS)?;
        if membership::free(memory, Side::Publishers) <= others {
            let limit = segment.settings().max_publishers;
            return Err(OpenError::Full { what: "publishers", limit });
        }
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, None)?;
        let entry = acquire(&segment, entry_id, uses)?;
        (entry_id, waiter, index, Writer::join(entry))
    };
    let mut entry = OwnedEntry::new(segment, entry_id, waiter);
    // Wakes subscribers that saw the last publisher leave, and processes that waited for the dead.
    entry.wake_all();
    reports::joined(&entry.segment, entry_id);
    Ok((Sender::new(writer, entry), index))
}

/// Attaches to the segment of a ring, for an endpoint that waits like this.
fn attach(ring: &Segment, wait: Wait) -> Result<Segment, OpenError> {
    let mut segment = ring.another()?;
    segment.populate(wait.only_spins())?;
    Ok(segment)
}

/// Joins as a subscriber, at the position of another one if `beside` is given.
pub(crate) fn subscriber(
    ring: &Segment,
    types: &Types<'_>,
    beside: Option<&Reader>,
    wait: Wait,
) -> Result<(Receiver, u16), OpenError> {
    let segment = attach(ring, wait)?;
    let (entry_id, waiter, index, reader) = {
        let control = segment.lock()?;
        let entry_id = vacancy(&control, &segment, SUBSCRIBERS)?;
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, None)?;
        let entry = acquire(&segment, entry_id, uses)?;
        let reader = match beside {
            None => Reader::join(entry, Start::Newcomer),
            Some(other) => {
                let start = Start::Beside { entry: other.entry() };
                other.stand_still(|| Reader::join(entry, start))
            }
        };
        (entry_id, waiter, index, reader)
    };
    Ok((receiver(segment, entry_id, reader, AckMode::Drop, waiter), index))
}

/// Joins as a consumer of a queue.
pub(crate) fn consumer(
    ring: &Segment,
    types: &Types<'_>,
    wait: Wait,
) -> Result<(GroupReceiver, u16), OpenError> {
    let mut segment = attach(ring, wait)?;
    segment.protect_slots()?;
    let (entry_id, waiter, index, group) = {
        let control = segment.lock()?;
        // First: entry 0 has the shared cursor and no owner.
        membership::create_shared_cursor(segment.memory(), segment.settings());
        let (entry_id, is_orphaned) = consumer_entry(&control, &segment)?;
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, None)?;
        let entry = acquire(&segment, entry_id, uses)?;
        let group = if is_orphaned {
            ConsumerGroup::take_over(entry, &|id| segment.is_alive(id))
        } else {
            ConsumerGroup::join(entry)
        };
        (entry_id, waiter, index, group)
    };
    let mut entry = OwnedEntry::new(segment, entry_id, waiter);
    // Wakes publishers that wait for consumers.
    entry.wake_all();
    reports::joined(&entry.segment, entry_id);
    // In an entry that was taken over.
    reports::adopted(&entry.segment, &group);
    Ok((GroupReceiver::new(group, entry, AckMode::Explicit), index))
}

/// Joins as the durable subscriber of this name: as the successor of a dead or dropped one,
/// or as a new one.
pub(crate) fn durable(
    ring: &Segment,
    types: &Types<'_>,
    name: &str,
    ack_mode: AckMode,
    wait: Wait,
) -> Result<(Receiver, u16), OpenError> {
    check_durable_name(name)?;
    let segment = attach(ring, wait)?;
    let (entry_id, waiter, index, reader) = {
        let control = segment.lock()?;
        let predecessor = membership::find_durable(segment.memory(), name);
        let entry_id = match predecessor.map(EntryId::Subscriber) {
            Some(entry_id) if segment.is_alive(entry_id) => {
                return Err(name_taken(segment.memory(), entry_id.index(), name));
            }
            Some(entry_id) => entry_id,
            None => vacancy(&control, &segment, SUBSCRIBERS)?,
        };
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, Some(entry_id))?;
        let entry = acquire(&segment, entry_id, uses)?;
        // First: a process that is killed here leaves a segment that may be kept for nothing.
        segment.note_may_keep(&control);
        let reader = match predecessor {
            Some(_) => Reader::succeed(entry),
            None => Reader::join_durable(entry, name),
        };
        (entry_id, waiter, index, reader)
    };
    Ok((receiver(segment, entry_id, reader, ack_mode, waiter).with_losses(), index))
}

/// Removes the durable subscriber of this name. Returns false if there is none.
pub(crate) fn remove_durable(ring: &Segment, name: &str) -> Result<bool, OpenError> {
    let control = ring.lock_unstopped()?;
    let memory = ring.memory();
    let Some(entry) = membership::find_durable(memory, name) else { return Ok(false) };
    if ring.is_alive(EntryId::Subscriber(entry)) {
        return Err(name_taken(memory, entry, name));
    }
    membership::leave_subscriber(memory, entry);
    ring.note_keeps(&control);
    // Wakes publishers that waited for it.
    owned_entry::wake_both_sides(ring);
    Ok(true)
}

/// Makes durable subscribers plain ones: the dead leave now, the living when they are dropped.
pub(crate) fn make_durable_plain(control: &Control<'_>, ring: &Segment) {
    let memory = ring.memory();
    for (index, entry) in memory.subscribers().iter().enumerate() {
        let owner = &entry.details.owner;
        if OwnerState::of(owner) != OwnerState::Durable {
            continue;
        }
        if ring.is_alive(EntryId::Subscriber(index)) {
            OwnerState::Taken.set(owner);
        } else {
            membership::leave_subscriber(memory, index);
        }
    }
    ring.note_keeps(control);
}

fn receiver(
    segment: Segment,
    entry_id: EntryId,
    reader: Reader,
    ack_mode: AckMode,
    waiter: Waiter,
) -> Receiver {
    let mut entry = OwnedEntry::new(segment, entry_id, waiter);
    // Wakes publishers that wait for subscribers, and processes that waited for the dead.
    entry.wake_all();
    reports::joined(&entry.segment, entry_id);
    Receiver::new(reader, entry, ack_mode)
}

fn name_taken(memory: &RingMemory, entry: usize, name: &str) -> OpenError {
    let pid = memory.owner_pid(EntryId::Subscriber(entry));
    OpenError::NameTaken { name: name.to_owned(), pid }
}

/// Finds a free entry of a side, after the dead are cleared. The side comes with the word for its
/// endpoints.
pub(super) fn vacancy(
    control: &Control<'_>,
    segment: &Segment,
    (side, what): (Side, &'static str),
) -> Result<EntryId, OpenError> {
    let _: &Control<'_> = control;
    let (memory, settings) = (segment.memory(), segment.settings());
    reap(segment, memory, &|id| segment.is_alive(id));
    membership::vacancy(memory, settings, side).ok_or_else(|| match side {
        Side::Publishers if settings.claims == Claims::Exclusive => OpenError::PublisherTaken {
            name: segment.shown_name(),
            pid: memory.owner_pid(EntryId::Publisher(0)),
        },
        Side::Publishers => OpenError::Full { what, limit: settings.max_publishers },
        Side::Subscribers => OpenError::Full { what, limit: settings.max_subscribers },
    })
}

/// Finds an entry for a consumer. If none is free, one of a dead consumer with a packet in flight:
/// otherwise as many dead consumers as there are entries would keep their packets for ever. Returns
/// whether it is such an entry.
fn consumer_entry(control: &Control<'_>, segment: &Segment) -> Result<(EntryId, bool), OpenError> {
    match vacancy(control, segment, SUBSCRIBERS) {
        Ok(entry_id) => Ok((entry_id, false)),
        // The request of a dead server goes to no other one. A server that died since is found by
        // the next call.
        Err(full) if OnConsumerDeath::of(segment.settings()) == OnConsumerDeath::Dropped => {
            Err(full)
        }
        Err(full) => {
            let orphaned = orphaned_entry(segment.memory(), &|id| segment.is_alive(id));
            Ok((orphaned.ok_or(full)?, true))
        }
    }
}

/// Takes the liveness lock of an entry, and records the types that its owner uses.
fn acquire(segment: &Segment, entry_id: EntryId, uses: u64) -> Result<LockedEntry, OpenError> {
    let entry = acquire_lock(segment, entry_id)?;
    types::set_uses(segment.memory(), entry_id, uses);
    Ok(entry)
}

/// Takes the liveness lock of a free entry.
pub(super) fn acquire_lock(segment: &Segment, entry_id: EntryId) -> Result<LockedEntry, OpenError> {
    // The entry is free, but its lock is held: its owner just left without the control lock.
    segment.lock_entry(entry_id)?.ok_or_else(|| {
        OpenError::system("lock an entry of", segment.name(), std::io::ErrorKind::WouldBlock)
    })
}

/// Registers the endpoint's types. Returns the index of its type, or of requests, and a bit for
/// each type. The uses of `predecessor`, whose entry the endpoint takes over, do not count.
fn find_types(
    control: &Control<'_>,
    segment: &Segment,
    types: &Types<'_>,
    predecessor: Option<EntryId>,
) -> Result<(u16, u64), OpenError> {
    let is_alive = |entry_id| segment.is_alive(entry_id);
    let mut registrar = Registrar::new(control, segment, &is_alive).succeeding(predecessor);
    let index = match *types {
        Types::One(info) => registrar.register_only(info)?,
        Types::Pair { request, reply } => registrar.register_pair(request, reply)?,
        Types::Carried { request, reply } => registrar.find_pair(request, reply)?,
        Types::Any => 0,
        Types::Known(uses) => return Ok((0, uses)),
    };
    Ok((index, registrar.uses()))
}

fn check_durable_name(name: &str) -> Result<(), OpenError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > DurableWords::LONGEST_NAME {
        "a durable name has 64 bytes at most"
    } else {
        return Ok(());
    };
    Err(OpenError::BadName { name: name.to_owned(), reason })
}
