//! Joining, leaving, and clearing the dead away. All of it under the control lock.
//!
//! An entry goes through these states; whoever dies in between is found by [`reap`], because
//! `taken` is written before anything that holds others back and `free` after it was let go:
//!
//! ```text
//!  free ──liveness lock──► taken ──► cursor or record in use ──► cursor nowhere ──► free
//!                            └──► durable: stays when its process dies, until removed
//! ```
//!
//! A subscriber's entry is `joining` before it is `taken`, until its cursor is placed: who counts
//! subscribers before publishing counts those that get what is published.

use super::consumer_group::{self, OnConsumerDeath};
use super::gate::{PIN, position};
use super::geometry::{Geometry, clamp};
use super::history;
use super::missed::LossCounter;
use super::recover::{Recovered, recover};
use super::slot;
use super::state::RingState;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::layout::{EntryOwner, NOWHERE, SubscriberEntry};
use crate::segment::settings::{Claims, Settings};
use crate::segment::view::RingMemory;
use crate::sync::{AtomicU32, Ordering, fence};

/// Where a subscriber starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the next packet, or as far back as the ring's history says.
    Newcomer,
    /// Where this other living subscriber stands.
    Beside {
        /// Index of its entry.
        entry: usize,
    },
}

/// The first free entry of a side. Of subscribers' entries, if possible, one without an eviction
/// under way: the newcomer cannot tell the end of its predecessor's evictions from its own.
pub(crate) fn vacancy(memory: &RingMemory, settings: &Settings, side: Side) -> Option<EntryId> {
    match side {
        // One entry is all an exclusive ring's publishers use.
        Side::Publishers if settings.claims == Claims::Exclusive => {
            is_free(&memory.publishers()[0].details.owner).then_some(EntryId::Publisher(0))
        }
        Side::Publishers => memory
            .publishers()
            .iter()
            .position(|entry| is_free(&entry.details.owner))
            .map(EntryId::Publisher),
        Side::Subscribers => {
            let entries = memory.subscribers();
            let free = |entry: &SubscriberEntry| is_free(&entry.details.owner);
            let settled = entries.iter().position(|entry| free(entry) && is_settled(entry));
            settled.or_else(|| entries.iter().position(free)).map(EntryId::Subscriber)
        }
    }
}

/// How many entries of a side are free.
#[cfg(not(loom))]
pub(crate) fn free(memory: &RingMemory, side: Side) -> usize {
    let (publishers, subscribers) = (memory.publishers().iter(), memory.subscribers().iter());
    match side {
        Side::Publishers => publishers.filter(|entry| is_free(&entry.details.owner)).count(),
        Side::Subscribers => subscribers.filter(|entry| is_free(&entry.details.owner)).count(),
    }
}

/// Whether no eviction is begun that is neither counted nor given up.
fn is_settled(entry: &SubscriberEntry) -> bool {
    // Pairs with the release in `evict`: who sees it counted sees it begun.
    let counted = entry.details.evictions_counted.load(Ordering::Acquire);
    entry.details.evictions_begun.load(Ordering::Relaxed) == counted
}

/// Publishers or subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Publishers,
    Subscribers,
}

impl Side {
    /// The other one.
    #[inline]
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Publishers => Self::Subscribers,
            Self::Subscribers => Self::Publishers,
        }
    }
}

/// Takes a publisher entry and opens the ring. Returns the position at which an exclusive
/// publisher goes on.
pub(crate) fn join_publisher(memory: &RingMemory, settings: &Settings, index: usize) -> u64 {
    let head = memory.head();
    failpoint(Failpoint::JoinOwner);
    take(&memory.publishers()[index].details.owner, OwnerState::Taken);
    raise(&head.membership.publishers, index);
    let mut tail = clamp(head.tail.load(Ordering::Acquire));
    if settings.claims == Claims::Exclusive {
        // What a predecessor committed and did not count: it died between stamp and tail.
        let geometry = Geometry::of(settings);
        (tail, _) = slot::scan_committed(memory, &geometry, tail, tail + geometry.capacity);
        head.tail.store(tail, Ordering::Release);
    }
    if settings.queue {
        consumer_group::keep(memory, settings);
    }
    RingState::Open.set(memory);
    tail
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    /// The position of its cursor.
    pub(crate) position: u64,
    /// What it is told of when it is evicted.
    pub(crate) account: LossCounter,
}

/// Takes a subscriber entry and places its cursor.
///
/// ```text
///  cursor := c0|PIN (tail or oldest) ──► fence ──► T := tail or oldest ──► cursor := T
/// ```
///
/// Every publisher whose scan missed the cursor read a tail (an oldest) no higher than T before
/// it, and claims below that plus one capacity. The cursor is pinned meanwhile: an evictor would
/// put it somewhere below T, where such a publisher overruns it. Beside another subscriber, that
/// one's cursor must stand still for as long (`Reader::stand_still`).
pub(crate) fn join_subscriber(
    memory: &RingMemory,
    settings: &Settings,
    index: usize,
    start: Start,
) -> Joined {
    let geometry = Geometry::of(settings);
    let entry = &memory.subscribers()[index];
    failpoint(Failpoint::JoinOwner);
    take(&entry.details.owner, OwnerState::Joining);
    raise(&memory.head().membership.subscribers, index);
    failpoint(Failpoint::JoinCursor);
    let first = boundary(memory, &geometry, start);
    // Pinned, so that no evictor moves it: what it would walk over is not protected yet, and where
    // it would put the cursor neither.
    entry.cursor.store(first | PIN, Ordering::Release);
    // Pairs with the fence in `gate::scan`.
    fence(Ordering::SeqCst);
    let mut placed = boundary(memory, &geometry, start);
    failpoint(Failpoint::JoinMove);
    let account = LossCounter::open(&entry.details);
    if geometry.history > 0 && start == Start::Newcomer {
        // Protects what is walked over.
        entry.cursor.store(placed | PIN, Ordering::Release);
        let tail = memory.head().tail.load(Ordering::Acquire);
        placed = history::start(memory, &geometry, placed, tail);
    }
    entry.cursor.store(placed, Ordering::Release);
    if start != Start::Newcomer {
        // Before the one beside may move. Pairs with the acquires in `gate::scan`: who sees it
        // moved, or this, sees the cursor.
        memory.head().membership.clones.fetch_add(1, Ordering::Release);
    }
    OwnerState::Taken.set(&entry.details.owner);
    Joined { position: placed, account }
}

fn boundary(memory: &RingMemory, geometry: &Geometry, start: Start) -> u64 {
    let word = match start {
        Start::Beside { entry } => &memory.subscribers()[entry].cursor,
        Start::Newcomer if geometry.history > 0 => &*memory.head().oldest,
        Start::Newcomer => &*memory.head().tail,
    };
    clamp(position(word.load(Ordering::Acquire)))
}

/// Takes an entry for a member of a group, with nothing in hand.
pub(crate) fn join_consumer(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    entry.cursor.store(NOWHERE, Ordering::Release);
    entry.consumer.begin();
    take(&entry.details.owner, OwnerState::Consumer);
    failpoint(Failpoint::JoinCursor);
    raise(&memory.head().membership.subscribers, index);
    // A scan that has read how many entries there are may read the shared cursor after this member
    // has moved it.
    consumer_group::count(memory);
}

/// Takes over a durable entry whose owner died or left: returns where it stood and below which
/// position its packets were handed out before.
pub(crate) fn succeed(memory: &RingMemory, index: usize) -> (Joined, u64) {
    let entry = &memory.subscribers()[index];
    entry.details.owner.pid.store(std::process::id(), Ordering::Relaxed);
    let stood = clamp(position(entry.cursor.load(Ordering::Acquire)));
    // Void the predecessor's pin, if it had one. Others do so under the control lock only, which
    // is held here, and nobody moves a pinned cursor.
    let _ = entry.cursor.compare_exchange(stood | PIN, stood, Ordering::AcqRel, Ordering::Relaxed);
    let joined = Joined { position: stood, account: LossCounter::succeed(&entry.details) };
    (joined, entry.details.durable.handed_out())
}

/// Gives a subscriber's entry up, wherever its cursor stands.
pub(crate) fn leave_subscriber(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    // First, if it is a durable one: killed from here on, it is cleared away like any other, and
    // no successor finds an entry that holds nobody back.
    OwnerState::Taken.set(&entry.details.owner);
    failpoint(Failpoint::LeaveCursor);
    release(memory, index);
    failpoint(Failpoint::LeaveOwner);
    OwnerState::Free.set(&entry.details.owner);
}

/// Holds nobody back any more. The only part of leaving that may be done without the control
/// lock, by the owner: the entry is found by [`reap`] afterwards.
pub(crate) fn release(memory: &RingMemory, index: usize) {
    // Pairs with the acquire in `gate::scan`: the owner is done with every slot.
    memory.subscribers()[index].cursor.store(NOWHERE, Ordering::Release);
}

/// Gives a publisher's entry up. Its record is clear.
pub(crate) fn leave_publisher(memory: &RingMemory, settings: &Settings, index: usize) {
    // First: killed in between, its seat is still taken, and who clears it away marks the ring.
    close_if_left(memory, settings, index);
    failpoint(Failpoint::LeaveOwner);
    OwnerState::Free.set(&memory.publishers()[index].details.owner);
}

/// Whether a publisher's entry names a claim.
fn has_record(memory: &RingMemory, member: EntryId) -> bool {
    let EntryId::Publisher(index) = member else { return false };
    memory.publishers()[index].record.position.load(Ordering::Acquire) != NOWHERE
}

/// What [`reap`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reaped {
    /// Entries freed, records resolved, pins voided: somebody may be able to go on.
    pub(crate) changed: bool,
}

/// Whether a dead publisher left a claim, so that [`reap`] needs memory whose slots can be
/// written.
pub(crate) fn has_abandoned_claim(memory: &RingMemory, is_alive: &dyn Fn(EntryId) -> bool) -> bool {
    memory.publishers().iter().enumerate().any(|(index, entry)| {
        OwnerState::of(&entry.details.owner) != OwnerState::Free
            && has_record(memory, EntryId::Publisher(index))
            && !is_alive(EntryId::Publisher(index))
    })
}

/// What may be done to the slots of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    /// A store to them is a SIGSEGV.
    ReadOnly,
    /// Claims can be voided.
    Writable,
}

/// Clears the dead away: resolves their claims, takes their cursors off, voids their pins, frees
/// their entries. Under the control lock. `is_alive` says `true` of the caller itself. Where the slots
/// are read-only, who left a claim is left to the next.
pub(crate) fn reap(
    memory: &RingMemory,
    settings: &Settings,
    slots: Slots,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Reaped {
    let mut reaped = Reaped::default();
    for index in 0..memory.publishers().len() {
        reaped.changed |= reap_publisher(memory, settings, slots, index, is_alive);
    }
    if settings.queue {
        reaped.changed |= consumer_group::unpin(memory, is_alive);
    }
    // Nobody sits at the entry of a group's cursor, and its pin is a member's.
    for index in usize::from(settings.queue)..memory.subscribers().len() {
        reaped.changed |= reap_subscriber(memory, OnConsumerDeath::of(settings), index, is_alive);
    }
    reaped
}

fn reap_publisher(
    memory: &RingMemory,
    settings: &Settings,
    slots: Slots,
    index: usize,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> bool {
    let owner = &memory.publishers()[index].details.owner;
    if is_free(owner) || is_alive(EntryId::Publisher(index)) {
        return false;
    }
    let is_clear = match slots {
        Slots::Writable => {
            recover(memory, &Geometry::of(settings), index, is_alive) == Recovered::Cleared
        }
        // The record is looked at after its owner was found dead, so it stays.
        Slots::ReadOnly => !has_record(memory, EntryId::Publisher(index)),
    };
    if !is_clear {
        return false;
    }
    leave_publisher(memory, settings, index);
    true
}

fn reap_subscriber(
    memory: &RingMemory,
    on_consumer_death: OnConsumerDeath,
    index: usize,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> bool {
    let entry = &memory.subscribers()[index];
    match OwnerState::of(&entry.details.owner) {
        OwnerState::Free => false,
        _ if is_alive(EntryId::Subscriber(index)) => false,
        // Whoever adopts its packet clears the hand.
        OwnerState::Consumer
            if on_consumer_death == OnConsumerDeath::Adopted && consumer_group::has_hand(entry) =>
        {
            false
        }
        OwnerState::Taken | OwnerState::Joining | OwnerState::Consumer => {
            leave_subscriber(memory, index);
            true
        }
        OwnerState::Durable => {
            let cursor = entry.cursor.load(Ordering::Acquire);
            let pinned = cursor != NOWHERE && cursor & PIN != 0;
            if pinned {
                entry.cursor.store(position(cursor), Ordering::Release);
            }
            pinned
        }
    }
}

/// Marks the ring as left if no publisher remains but this one, which is leaving.
fn close_if_left(memory: &RingMemory, settings: &Settings, leaving: usize) {
    let mut others = memory.publishers().iter().enumerate().filter(|&(index, _)| index != leaving);
    let is_left = others.all(|(_, entry)| is_free(&entry.details.owner));
    if is_left && !settings.stays_open && RingState::of(memory) == RingState::Open {
        RingState::Left.set(memory);
    }
}

/// Makes a joined subscriber durable: last of all, when its cursor is where it stays.
pub(crate) fn make_durable(memory: &RingMemory, index: usize, account: &LossCounter, name: &str) {
    let details = &memory.subscribers()[index].details;
    details.durable.set_handed_out(0);
    account.record_reported(details);
    details.durable.set_name(name);
    failpoint(Failpoint::JoinDurable);
    OwnerState::Durable.set(&details.owner);
}

/// The entry of the durable subscriber of this name, alive or dead.
pub(crate) fn find_durable(memory: &RingMemory, name: &str) -> Option<usize> {
    memory.subscribers().iter().position(|entry| {
        OwnerState::of(&entry.details.owner) == OwnerState::Durable
            && entry.details.durable.has_name(name)
    })
}

fn take(owner: &EntryOwner, state: OwnerState) {
    owner.pid.store(std::process::id(), Ordering::Relaxed);
    state.set(owner);
}

fn is_free(owner: &EntryOwner) -> bool {
    OwnerState::of(owner) == OwnerState::Free
}

/// Raises the bound of the entries that scans look at. Before the entry holds anyone back, so
/// the fence that covers the cursor covers this too.
fn raise(used: &AtomicU32, index: usize) {
    let bound = index as u32 + 1;
    if used.load(Ordering::Relaxed) < bound {
        used.store(bound, Ordering::Release);
    }
}
