//! How an endpoint comes to its entry: an attachment of its own, the control lock, the dead
//! cleared away, the type registered, the entry taken.
//!
//! It guarantees that one that fails to join leaves nothing behind: whatever can fail comes before
//! the entry is taken, and the type is registered by who is about to take one.

use super::endpoint::{self, Endpoint, reap};
use super::error::TypeMismatch;
use super::untyped::GroupReceiver;
use super::untyped::Sender;
use super::untyped::{AckMode, Receiver};
use crate::error::OpenError;
use crate::packet::TypeInfo;
use crate::ring::claim::Writer;
use crate::ring::consumer_group::{self, ConsumerGroup};
use crate::ring::membership::{self, Side, Start};
use crate::ring::reader::Reader;
use crate::ring::state::RingState;
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::roles::DurableWords;
use crate::segment::view::RingMemory;
use crate::segment::{Control, Liveness, Segment};
use crate::sync::Ordering;
use crate::wait::{Wait, Waiter};

/// The types an endpoint means to use.
pub(crate) enum Types<'a> {
    /// One, which the ring carries already, or will from now on if it carries none.
    One(&'a TypeInfo),
    /// Any, registered as they come.
    Any,
}

/// Joins as a publisher. The index is the type's, or 0.
pub(crate) fn publisher(
    ring: &Segment,
    types: &Types<'_>,
    wait: Wait,
) -> Result<(Sender, u16), OpenError> {
    publisher_beside(ring, types, wait, 0)
}

/// The same, if so many entries are left to others.
pub(crate) fn publisher_beside(
    ring: &Segment,
    types: &Types<'_>,
    wait: Wait,
    others: usize,
) -> Result<(Sender, u16), OpenError> {
    let segment = ring.another()?;
    let (member, waiter, index, position) = {
        let control = segment.lock()?;
        let memory = segment.memory();
        if RingState::of(memory) == RingState::Closed {
            return Err(OpenError::Closed { name: segment.name().to_owned() });
        }
        if segment.settings().queue {
            // What is published waits for members.
            consumer_group::found(memory, segment.settings());
        }
        let liveness: &dyn Liveness = &segment;
        let member = vacancy(&control, &segment, liveness, Side::Publishers)?;
        if membership::free(memory, Side::Publishers) <= others {
            let limit = segment.settings().max_publishers;
            return Err(OpenError::Full { what: "publishers", limit });
        }
        let waiter = Endpoint::waiter(&segment, member, wait)?;
        let index = type_index(&control, &segment, types)?;
        acquire(liveness, &segment, member)?;
        let entry = index_of(member);
        (member, waiter, index, membership::join_publisher(memory, segment.settings(), entry))
    };
    let writer =
        Writer::new(segment.memory().clone(), segment.settings(), index_of(member), position);
    let mut endpoint = Endpoint::new(segment, member, waiter);
    // Subscribers that were told that the last publisher left, and whoever was held up by the dead
    // that were cleared away.
    endpoint.wake_all();
    Ok((Sender::new(writer, endpoint), index))
}

/// Joins as a subscriber; at the position of another one, if there is one `beside`.
pub(crate) fn subscriber(
    ring: &Segment,
    types: &Types<'_>,
    beside: Option<&Reader>,
    wait: Wait,
) -> Result<(Receiver, u16), OpenError> {
    let segment = ring.another()?;
    let (member, waiter, index, joined) = {
        let control = segment.lock()?;
        let liveness: &dyn Liveness = &segment;
        let member = vacancy(&control, &segment, liveness, Side::Subscribers)?;
        let waiter = Endpoint::waiter(&segment, member, wait)?;
        let index = type_index(&control, &segment, types)?;
        acquire(liveness, &segment, member)?;
        let (memory, settings) = (segment.memory(), segment.settings());
        let start = beside.map_or(Start::Newcomer, |reader| Start::Beside { entry: reader.entry });
        let join = || membership::join_subscriber(memory, settings, index_of(member), start);
        let joined = beside.map_or_else(join, |reader| reader.stand_still(join));
        (member, waiter, index, joined)
    };
    let reader =
        Reader::new(segment.memory().clone(), segment.settings(), index_of(member), joined);
    Ok((receiver(segment, member, reader, AckMode::Drop, waiter), index))
}

/// Joins as a member of the ring's group.
pub(crate) fn member(
    ring: &Segment,
    types: &Types<'_>,
    wait: Wait,
) -> Result<(GroupReceiver, u16), OpenError> {
    let mut segment = ring.another()?;
    segment.protect_slots()?;
    let (memory, settings) = (segment.memory().clone(), *segment.settings());
    let (member, waiter, index, group) = {
        let control = segment.lock()?;
        let liveness: &dyn Liveness = &segment;
        // First: nobody sits at its entry.
        consumer_group::found(&memory, &settings);
        let member = vacancy(&control, &segment, liveness, Side::Subscribers)?;
        let waiter = Endpoint::waiter(&segment, member, wait)?;
        let index = type_index(&control, &segment, types)?;
        acquire(liveness, &segment, member)?;
        (member, waiter, index, ConsumerGroup::join(memory, &settings, index_of(member)))
    };
    let mut endpoint = Endpoint::new(segment, member, waiter);
    // Publishers that wait for members.
    endpoint.wake_all();
    Ok((GroupReceiver::new(group, endpoint), index))
}

/// Joins as the durable subscriber of this name: as the successor of the one that died or left,
/// or as a new one. `ack_mode` says what acknowledges a packet.
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
    let (member, waiter, index, joined, redelivered_below) = {
        let control = segment.lock()?;
        let liveness: &dyn Liveness = &segment;
        let predecessor = membership::find_durable(&memory, name);
        let member = match predecessor.map(EntryId::Subscriber) {
            Some(member) if liveness.is_alive(member) => {
                return Err(name_taken(&memory, index_of(member), name));
            }
            Some(member) => member,
            None => vacancy(&control, &segment, liveness, Side::Subscribers)?,
        };
        let waiter = Endpoint::waiter(&segment, member, wait)?;
        let index = type_index(&control, &segment, types)?;
        acquire(liveness, &segment, member)?;
        let entry = index_of(member);
        let (joined, redelivered_below) = if predecessor.is_some() {
            membership::succeed(&memory, entry)
        } else {
            let joined = membership::join_subscriber(&memory, &settings, entry, Start::Newcomer);
            membership::make_durable(&memory, entry, &joined.account, name);
            (joined, 0)
        };
        (member, waiter, index, joined, redelivered_below)
    };
    let reader = Reader::new(memory, &settings, index_of(member), joined);
    let reader = reader.durable(redelivered_below);
    Ok((receiver(segment, member, reader, ack_mode, waiter), index))
}

/// Removes the durable subscriber of this name; `false`: there is none.
pub(crate) fn remove_durable(
    ring: &Segment,
    liveness: &dyn Liveness,
    name: &str,
) -> Result<bool, OpenError> {
    let _control = ring.lock()?;
    let memory = ring.memory();
    let Some(entry) = membership::find_durable(memory, name) else { return Ok(false) };
    if liveness.is_alive(EntryId::Subscriber(entry)) {
        return Err(name_taken(memory, entry, name));
    }
    membership::leave_subscriber(memory, entry);
    // Publishers that it held up.
    endpoint::wake_both_sides(ring);
    Ok(true)
}

/// Expects no durable subscriber back: the dead leave, the living are to leave like any other.
pub(crate) fn forget_durable(_control: &Control<'_>, ring: &Segment, liveness: &dyn Liveness) {
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
}

/// How many subscribers live, and get what is published from here on.
pub(crate) fn living_subscribers(
    segment: &Segment,
    liveness: &dyn Liveness,
    own: Option<EntryId>,
) -> usize {
    let memory = segment.memory();
    let entries = memory.subscribers().iter().enumerate();
    let taken = entries.filter(|(_, entry)| match OwnerState::of(&entry.details.owner) {
        OwnerState::Taken | OwnerState::Durable | OwnerState::Consumer => true,
        OwnerState::Free | OwnerState::Joining => false,
    });
    taken
        .map(|(index, _)| EntryId::Subscriber(index))
        .filter(|&member| Some(member) == own || liveness.is_alive(member))
        .count()
}

fn receiver(
    segment: Segment,
    member: EntryId,
    reader: Reader,
    ack_mode: AckMode,
    waiter: Waiter,
) -> Receiver {
    let mut endpoint = Endpoint::new(segment, member, waiter);
    // Publishers that wait for subscribers, and whoever was held up by the dead that were cleared
    // away.
    endpoint.wake_all();
    Receiver::new(reader, endpoint, ack_mode)
}

fn name_taken(memory: &RingMemory, entry: usize, name: &str) -> OpenError {
    let pid = memory.subscribers()[entry].details.owner.pid.load(Ordering::Relaxed);
    OpenError::NameTaken { name: name.to_owned(), pid }
}

/// A free entry, after the dead were cleared away.
fn vacancy(
    control: &Control<'_>,
    segment: &Segment,
    liveness: &dyn Liveness,
    side: Side,
) -> Result<EntryId, OpenError> {
    let _: &Control<'_> = control;
    let (memory, settings) = (segment.memory(), segment.settings());
    reap(segment, memory, &|member| liveness.is_alive(member));
    membership::vacancy(memory, settings, side).ok_or_else(|| match side {
        Side::Publishers if settings.claims == crate::Claims::Exclusive => {
            OpenError::PublisherTaken {
                name: segment.name().to_owned(),
                pid: memory.publishers()[0].details.owner.pid.load(Ordering::Relaxed),
            }
        }
        Side::Publishers => OpenError::Full { what: "publishers", limit: settings.max_publishers },
        Side::Subscribers => {
            OpenError::Full { what: "subscribers", limit: settings.max_subscribers }
        }
    })
}

fn acquire(liveness: &dyn Liveness, segment: &Segment, member: EntryId) -> Result<(), OpenError> {
    if liveness.acquire_liveness(member)? {
        return Ok(());
    }
    // The entry is free and its lock is held: by one that left without the control lock just now.
    Err(OpenError::system("lock an entry of", segment.name(), std::io::ErrorKind::WouldBlock))
}

/// The index of the type, registering it. Under the control lock.
fn type_index(
    control: &Control<'_>,
    segment: &Segment,
    types: &Types<'_>,
) -> Result<u16, OpenError> {
    let Types::One(info) = types else { return Ok(0) };
    segment.with_types(|table| {
        if table.len() == 0 || table.find(info.fingerprint.0).is_some() {
            return Ok(());
        }
        let found: Vec<String> = (0..table.len())
            .filter_map(|i| Some(label(&table.name(i)?, table.fingerprint(i)?)))
            .collect();
        let expected = label(info.name, info.fingerprint.0);
        Err(OpenError::TypeMismatch { expected, found: found.join(", ") })
    })?;
    register(control, segment, info)
}

/// Registers a type, if the ring takes others than it has. Under the control lock.
pub(crate) fn register(
    control: &Control<'_>,
    segment: &Segment,
    info: &TypeInfo,
) -> Result<u16, OpenError> {
    let is_refused = segment.with_types(|table| {
        !table.membership.accepts_all() && table.find(info.fingerprint.0).is_none()
    });
    if is_refused {
        let TypeMismatch { expected, found } = refusal(segment, info);
        return Err(OpenError::TypeMismatch { expected: found, found: expected });
    }
    enter_type(control, segment, info)
}

fn enter_type(
    _control: &Control<'_>,
    segment: &Segment,
    info: &TypeInfo,
) -> Result<u16, OpenError> {
    let schema = info.schema();
    segment
        .with_types(|table| table.register(info.fingerprint.0, info.name, &schema))
        .map_err(|_| OpenError::TooManyTypes { limit: Segment::MAX_TYPES })
}

/// Has the ring take letters of these types alone from here on; of any, if there are none.
pub(crate) fn accept(ring: &Segment, types: &[TypeInfo]) -> Result<(), OpenError> {
    let control = ring.lock()?;
    let indices: Result<Vec<u16>, OpenError> =
        types.iter().map(|info| enter_type(&control, ring, info)).collect();
    let indices = indices?;
    ring.with_types(|table| table.membership.accept(indices));
    Ok(())
}

/// What a ring takes instead of letters of a type.
#[cold]
pub(crate) fn refusal(segment: &Segment, refused: &TypeInfo) -> TypeMismatch {
    let expected: Vec<String> = segment.with_types(|table| {
        let accepted = (0..table.len()).filter(|&i| table.membership.accepts(i as u16));
        accepted.filter_map(|i| Some(label(&table.name(i)?, table.fingerprint(i)?))).collect()
    });
    TypeMismatch {
        expected: expected.join(", "),
        found: label(refused.name, refused.fingerprint.0),
    }
}

/// A type as people see it in an error.
pub(crate) fn label(name: &str, fingerprint: u128) -> String {
    format!("{name} (fingerprint {fingerprint:032x})")
}

/// What was found instead of a type.
pub(crate) fn mismatch(segment: &Segment, expected: &TypeInfo, found: u16) -> TypeMismatch {
    let expected = label(expected.name, expected.fingerprint.0);
    let found = segment.with_types(|table| {
        let index = usize::from(found);
        table.name(index).zip(table.fingerprint(index)).map(|(name, print)| label(&name, print))
    });
    TypeMismatch {
        expected,
        found: found.unwrap_or_else(|| "type that was never registered".into()),
    }
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

fn index_of(member: EntryId) -> usize {
    match member {
        EntryId::Publisher(index) | EntryId::Subscriber(index) | EntryId::WorkerSlot(index) => {
            index
        }
    }
}
