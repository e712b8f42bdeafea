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
use super::type_table::Registrar;
use super::untyped::GroupReceiver;
use super::untyped::Sender;
use super::untyped::{AckMode, Receiver};
use crate::error::OpenError;
use crate::packet::TypeInfo;
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
use crate::segment::view::RingMemory;
use crate::segment::{Control, Liveness, Segment};
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
    let segment = ring.another()?;
    let (entry_id, waiter, index, position) = {
        let control = segment.lock()?;
        let memory = segment.memory();
        if RingState::of(memory) == RingState::Closed {
            return Err(OpenError::Closed { name: segment.name().to_owned() });
        }
        if segment.settings().queue {
            // Packets wait for consumers from here on, even if none has joined yet.
            membership::create_shared_cursor(memory, segment.settings());
        }
        let liveness: &dyn Liveness = &segment;
        let entry_id = vacancy(&control, &segment, liveness, PUBLISHERS)?;
        if membership::free(memory, Side::Publishers) <= others {
            let limit = segment.settings().max_publishers;
            return Err(OpenError::Full { what: "publishers", limit });
        }
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, None)?;
        acquire(liveness, &segment, entry_id, uses)?;
        let entry = entry_id.index();
        (entry_id, waiter, index, membership::join_publisher(memory, segment.settings(), entry))
    };
    let writer =
        Writer::new(segment.memory().clone(), segment.settings(), entry_id.index(), position);
    let mut entry = OwnedEntry::new(segment, entry_id, waiter);
    // Wakes subscribers that saw the last publisher leave, and processes that waited for the dead.
    entry.wake_all();
    Ok((Sender::new(writer, entry), index))
}

/// Joins as a subscriber, at the position of another one if `beside` is given.
pub(crate) fn subscriber(
    ring: &Segment,
    types: &Types<'_>,
    beside: Option<&Reader>,
    wait: Wait,
) -> Result<(Receiver, u16), OpenError> {
    let segment = ring.another()?;
    let (entry_id, waiter, index, joined) = {
        let control = segment.lock()?;
        let liveness: &dyn Liveness = &segment;
        let entry_id = vacancy(&control, &segment, liveness, SUBSCRIBERS)?;
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, None)?;
        acquire(liveness, &segment, entry_id, uses)?;
        let (memory, settings) = (segment.memory(), segment.settings());
        let start =
            beside.map_or(Start::Newcomer, |reader| Start::Beside { entry: reader.entry() });
        let join = || membership::join_subscriber(memory, settings, entry_id.index(), start);
        let joined = beside.map_or_else(join, |reader| reader.stand_still(join));
        (entry_id, waiter, index, joined)
    };
    let reader =
        Reader::new(segment.memory().clone(), segment.settings(), entry_id.index(), joined);
    Ok((receiver(segment, entry_id, reader, AckMode::Drop, waiter), index))
}

/// Joins as a consumer of a queue.
pub(crate) fn consumer(
    ring: &Segment,
    types: &Types<'_>,
    wait: Wait,
) -> Result<(GroupReceiver, u16), OpenError> {
    let mut segment = ring.another()?;
    segment.protect_slots()?;
    let (memory, settings) = (segment.memory().clone(), *segment.settings());
    let (entry_id, waiter, index, group) = {
        let control = segment.lock()?;
        let liveness: &dyn Liveness = &segment;
        // First: entry 0 has the shared cursor and no owner.
        membership::create_shared_cursor(&memory, &settings);
        let (entry_id, is_orphaned) = consumer_entry(&control, &segment, liveness)?;
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, None)?;
        acquire(liveness, &segment, entry_id, uses)?;
        let entry = entry_id.index();
        let group = if is_orphaned {
            let is_alive = |id| id == entry_id || liveness.is_alive(id);
            ConsumerGroup::take_over(memory, &settings, entry, &is_alive)
        } else {
            ConsumerGroup::join(memory, &settings, entry)
        };
        (entry_id, waiter, index, group)
    };
    let mut entry = OwnedEntry::new(segment, entry_id, waiter);
    // Wakes publishers that wait for consumers.
    entry.wake_all();
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
    let segment = ring.another()?;
    let (memory, settings) = (segment.memory().clone(), *segment.settings());
    let (entry_id, waiter, index, joined, redelivered_below) = {
        let control = segment.lock()?;
        let liveness: &dyn Liveness = &segment;
        let predecessor = membership::find_durable(&memory, name);
        let entry_id = match predecessor.map(EntryId::Subscriber) {
            Some(entry_id) if liveness.is_alive(entry_id) => {
                return Err(name_taken(&memory, entry_id.index(), name));
            }
            Some(entry_id) => entry_id,
            None => vacancy(&control, &segment, liveness, SUBSCRIBERS)?,
        };
        let waiter = OwnedEntry::waiter(&segment, entry_id, wait)?;
        let (index, uses) = find_types(&control, &segment, types, Some(entry_id))?;
        acquire(liveness, &segment, entry_id, uses)?;
        let entry = entry_id.index();
        // First: a process that is killed here leaves a segment that may be kept for nothing.
        segment.note_may_keep(&control);
        let (joined, redelivered_below) = if predecessor.is_some() {
            membership::succeed(&memory, entry)
        } else {
            let joined = membership::join_subscriber(&memory, &settings, entry, Start::Newcomer);
            membership::make_durable(&memory, entry, &joined.loss, name);
            (joined, 0)
        };
        (entry_id, waiter, index, joined, redelivered_below)
    };
    let reader = Reader::new(memory, &settings, entry_id.index(), joined);
    let reader = reader.durable(redelivered_below);
    Ok((receiver(segment, entry_id, reader, ack_mode, waiter).with_losses(), index))
}

/// Removes the durable subscriber of this name. Returns false if there is none.
pub(crate) fn remove_durable(
    ring: &Segment,
    liveness: &dyn Liveness,
    name: &str,
) -> Result<bool, OpenError> {
    let control = ring.lock_unstopped()?;
    let memory = ring.memory();
    let Some(entry) = membership::find_durable(memory, name) else { return Ok(false) };
    if liveness.is_alive(EntryId::Subscriber(entry)) {
        return Err(name_taken(memory, entry, name));
    }
    membership::leave_subscriber(memory, entry);
    ring.note_keeps(&control);
    // Wakes publishers that waited for it.
    owned_entry::wake_both_sides(ring);
    Ok(true)
}

/// Makes durable subscribers plain ones: the dead leave now, the living when they are dropped.
pub(crate) fn make_durable_plain(control: &Control<'_>, ring: &Segment, liveness: &dyn Liveness) {
    let memory = ring.memory();
    for (index, entry) in memory.subscribers().iter().enumerate() {
        let owner = &entry.details.owner;
        if OwnerState::of(owner) != OwnerState::Durable {
            continue;
        }
        if liveness.is_alive(EntryId::Subscriber(index)) {
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
    liveness: &dyn Liveness,
    (side, what): (Side, &'static str),
) -> Result<EntryId, OpenError> {
    let _: &Control<'_> = control;
    let (memory, settings) = (segment.memory(), segment.settings());
    reap(segment, memory, &|id| liveness.is_alive(id));
    membership::vacancy(memory, settings, side).ok_or_else(|| match side {
        Side::Publishers if settings.claims == Claims::Exclusive => OpenError::PublisherTaken {
            name: segment.name().to_owned(),
            pid: memory.owner_pid(EntryId::Publisher(0)),
        },
        Side::Publishers => OpenError::Full { what, limit: settings.max_publishers },
        Side::Subscribers => OpenError::Full { what, limit: settings.max_subscribers },
    })
}

/// Finds an entry for a consumer. If none is free, one of a dead consumer with a packet in flight:
/// otherwise as many dead consumers as there are entries would keep their packets for ever. Returns
/// whether it is such an entry.
fn consumer_entry(
    control: &Control<'_>,
    segment: &Segment,
    liveness: &dyn Liveness,
) -> Result<(EntryId, bool), OpenError> {
    match vacancy(control, segment, liveness, SUBSCRIBERS) {
        Ok(entry_id) => Ok((entry_id, false)),
        // The request of a dead server goes to no other one. A server that died since is found by
        // the next call.
        Err(full) if OnConsumerDeath::of(segment.settings()) == OnConsumerDeath::Dropped => {
            Err(full)
        }
        Err(full) => {
            let orphaned = orphaned_entry(segment.memory(), &|id| liveness.is_alive(id));
            Ok((orphaned.ok_or(full)?, true))
        }
    }
}

/// Takes the liveness lock of an entry, and records the types that its owner uses.
fn acquire(
    liveness: &dyn Liveness,
    segment: &Segment,
    entry_id: EntryId,
    uses: u64,
) -> Result<(), OpenError> {
    acquire_lock(liveness, segment, entry_id)?;
    types::set_uses(segment.memory(), entry_id, uses);
    Ok(())
}

/// Takes the liveness lock of a free entry.
pub(super) fn acquire_lock(
    liveness: &dyn Liveness,
    segment: &Segment,
    entry_id: EntryId,
) -> Result<(), OpenError> {
    if liveness.acquire_liveness(entry_id)? {
        return Ok(());
    }
    // The entry is free, but its lock is held: its owner just left without the control lock.
    Err(OpenError::system("lock an entry of", segment.name(), std::io::ErrorKind::WouldBlock))
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
