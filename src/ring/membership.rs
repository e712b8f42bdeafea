//! Entries: taking one, joining at it, leaving it, with the control lock held. And the word that
//! says whether packets can still come.
//!
//! ```text
//!  free ──liveness lock──► taken ──► cursor or record in use ──► cursor NOWHERE ──► free
//!                            └──► durable: stays when its process dies, until removed
//! ```
//!
//! An entry is `taken` before its cursor or record gates anything, and `free` after both are clear.
//! So [`reap`](super::reap) finds the entry of a process that dies at any point in between.
//!
//! A subscriber's entry is `joining` until its cursor is placed. A publisher that counts
//! subscribers before it publishes counts only subscribers that will get the packet.
//!
//! In a queue, entry 0 holds the shared cursor and has no owner ([`consumer_group`]).
//!
//! Publishers load the word of [`RingState`] before each claim, subscribers when they find nothing.
//! It changes only under the control lock.
//!
//! [`consumer_group`]: super::consumer_group

use super::counters;
use super::gate::{self, PIN, position};
use super::geometry::{Geometry, clamp};
use super::overflow::LossCounter;
use super::slot;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::layout::{EntryOwner, NOWHERE, SubscriberEntry};
use crate::segment::settings::{Claims, Settings};
use crate::segment::view::RingMemory;
use crate::sync::{AtomicU32, Ordering, fence};

/// Whether packets can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingState {
    /// Packets can come.
    Open,
    /// No packets until a publisher joins: the last one left a ring that does not stay open.
    Left,
    /// No packets ever: the ring was closed.
    Closed,
}

impl RingState {
    /// The state of a ring.
    #[inline]
    pub(crate) fn of(memory: &RingMemory) -> Self {
        // Pairs with the release in `set`: packets committed before the closing are seen.
        match memory.head().readers.state.load(Ordering::Acquire) {
            0 => Self::Open,
            1 => Self::Left,
            _ => Self::Closed,
        }
    }

    /// Stores the state. The caller holds the control lock.
    pub(crate) fn set(self, memory: &RingMemory) {
        failpoint(Failpoint::CloseMark);
        let word = match self {
            Self::Open => 0,
            Self::Left => 1,
            Self::Closed => 2,
        };
        // Pairs with the acquire in `of`.
        memory.head().readers.state.store(word, Ordering::Release);
    }
}

/// The entry of a queue's shared cursor.
pub(crate) const SHARED: usize = 0;

/// Publishers or subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Publishers,
    Subscribers,
}

impl Side {
    /// The other side.
    #[inline]
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Publishers => Self::Subscribers,
            Self::Subscribers => Self::Publishers,
        }
    }
}

/// The fate of a packet that a consumer of a queue had in flight when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnConsumerDeath {
    /// Another consumer adopts it: it is handled at least once.
    Adopted,
    /// It is dropped: it is handled at most once.
    Dropped,
}

impl OnConsumerDeath {
    /// The rule of a ring with these settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        if settings.is_request_ring() { Self::Dropped } else { Self::Adopted }
    }
}

/// Where a subscriber starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the next packet, or as far back as the ring's history reaches.
    Newcomer,
    /// At the cursor of another living subscriber.
    Beside {
        /// Index of that subscriber's entry.
        entry: usize,
    },
}

/// How a subscriber joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    /// The position of its cursor.
    pub(crate) position: u64,
    /// The count of its lost packets.
    pub(crate) loss: LossCounter,
    /// Of a durable subscriber: packets below this position were handed out before.
    pub(crate) redelivered_below: Option<u64>,
}

/// Returns a free entry of a side. Prefers subscriber entries without an eviction under way,
/// because a newcomer cannot distinguish the end of its predecessor's evictions from its own.
pub(crate) fn vacancy(memory: &RingMemory, settings: &Settings, side: Side) -> Option<EntryId> {
    match side {
        // An exclusive ring uses one publisher entry.
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

/// Counts the free entries of a side.
#[cfg(not(loom))]
pub(crate) fn free(memory: &RingMemory, side: Side) -> usize {
    let (publishers, subscribers) = (memory.publishers().iter(), memory.subscribers().iter());
    match side {
        Side::Publishers => publishers.filter(|entry| is_free(&entry.details.owner)).count(),
        Side::Subscribers => subscribers.filter(|entry| is_free(&entry.details.owner)).count(),
    }
}

/// Returns true if every eviction that was begun was counted or abandoned.
fn is_settled(entry: &SubscriberEntry) -> bool {
    // Pairs with the release in `overflow::evict`: a counted eviction is seen to be begun.
    let counted = entry.details.evictions_counted.load(Ordering::Acquire);
    entry.details.evictions_begun.load(Ordering::Relaxed) == counted
}

/// Takes a publisher entry and opens the ring. Returns the position at which an exclusive publisher
/// goes on.
pub(super) fn join_publisher(memory: &RingMemory, settings: &Settings, index: usize) -> u64 {
    let head = memory.head();
    failpoint(Failpoint::JoinOwner);
    raise(&head.membership.publishers, index);
    let entry = &memory.publishers()[index];
    counters::begin_publisher(entry);
    OwnerState::Taken.set(&entry.details.owner);
    // Pairs with the releases of the tail.
    let mut tail = clamp(head.tail.load(Ordering::Acquire));
    if settings.claims == Claims::Exclusive {
        // The predecessor may have died between the stamp of a packet and the tail.
        let geometry = Geometry::of(settings);
        (tail, _) = slot::scan_committed(memory, &geometry, tail, tail + geometry.capacity);
        // Or before it stamped the first packet of a batch.
        let end = entry.record.batch_end.load(Ordering::Relaxed);
        slot::erase_stamps(memory, tail, end.min(tail + geometry.capacity));
        entry.record.sent.count_from(tail);
        // As in `Writer::publish_tail`.
        head.tail.store(tail, Ordering::Release);
    }
    if settings.queue {
        keep_queue(memory, settings);
    }
    RingState::Open.set(memory);
    tail
}

/// Takes a subscriber entry and places its cursor.
///
/// ```text
///  cursor := c0|PIN (tail or oldest) ──► fence ──► T := tail or oldest ──► cursor := T
/// ```
///
/// A publisher whose scan missed the cursor read a tail (an oldest) of at most T before that scan,
/// so it claims below T plus one capacity. The cursor is pinned meanwhile: an evictor would move it
/// to a position below T, where such a publisher overruns it. A subscriber that is joined `Beside`
/// must keep its cursor still meanwhile
/// ([`Reader::stand_still`](super::reader::Reader::stand_still)).
pub(super) fn join_subscriber(
    memory: &RingMemory,
    settings: &Settings,
    index: usize,
    start: Start,
) -> Joined {
    let geometry = Geometry::of(settings);
    let entry = &memory.subscribers()[index];
    failpoint(Failpoint::JoinOwner);
    raise(&memory.head().membership.subscribers, index);
    counters::begin_subscriber(memory, index);
    OwnerState::Joining.set(&entry.details.owner);
    failpoint(Failpoint::JoinCursor);
    let first = boundary(memory, &geometry, start);
    // Pinned against evictors: neither the packets that one would scan are protected yet, nor
    // the position where it would put the cursor. Pairs with the acquires in `gate::scan`.
    entry.cursor.store(first | PIN, Ordering::Release);
    // Pairs with the fence in `gate::scan`.
    fence(Ordering::SeqCst);
    let mut placed = boundary(memory, &geometry, start);
    failpoint(Failpoint::JoinMove);
    let loss = LossCounter::open(&entry.details);
    if geometry.history > 0 && start == Start::Newcomer {
        // Gates the packets that are scanned.
        entry.cursor.store(placed | PIN, Ordering::Release);
        let tail = memory.head().tail.load(Ordering::Acquire);
        placed = gate::history_start(memory, &geometry, placed, tail);
    }
    counters::count_from(entry, settings, placed);
    entry.cursor.store(placed, Ordering::Release);
    if start != Start::Newcomer {
        // Before the other subscriber's cursor may move.
        gate::restart_scans(memory);
    }
    OwnerState::Taken.set(&entry.details.owner);
    Joined { position: placed, loss, redelivered_below: None }
}

fn boundary(memory: &RingMemory, geometry: &Geometry, start: Start) -> u64 {
    let word = match start {
        Start::Beside { entry } => &memory.subscribers()[entry].cursor,
        Start::Newcomer if geometry.history > 0 => &*memory.head().oldest,
        Start::Newcomer => &*memory.head().tail,
    };
    // Pairs with the releases of each of these words: committed packets below it are seen.
    clamp(position(word.load(Ordering::Acquire)))
}

/// Takes an entry for a consumer of a queue, with nothing in flight.
pub(super) fn join_consumer(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    // As every store to an in-flight word.
    entry.cursor.store(NOWHERE, Ordering::Release);
    entry.consumer.begin();
    raise(&memory.head().membership.subscribers, index);
    counters::begin_subscriber(memory, index);
    OwnerState::Consumer.set(&entry.details.owner);
    failpoint(Failpoint::JoinCursor);
    // A scan that read the number of used entries before may read the shared cursor after this
    // consumer has moved it.
    gate::restart_scans(memory);
}

/// Takes a subscriber entry for a reader of cells, with nothing pinned.
pub(super) fn join_cell_reader(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    failpoint(Failpoint::JoinOwner);
    // A writer's scan that reads the number of used entries before missed no pin.
    raise(&memory.head().membership.subscribers, index);
    counters::begin_subscriber(memory, index);
    OwnerState::Taken.set(&entry.details.owner);
}

/// Takes a publisher entry for a writer of cells.
pub(super) fn join_cell_writer(memory: &RingMemory, index: usize) {
    failpoint(Failpoint::JoinOwner);
    raise(&memory.head().membership.publishers, index);
    let entry = &memory.publishers()[index];
    counters::begin_publisher(entry);
    OwnerState::Taken.set(&entry.details.owner);
}

/// Takes over the entry of a dead consumer. Its in-flight word stays, and so does what it gates.
#[cfg(not(loom))]
pub(super) fn succeed_consumer(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    entry.consumer.begin();
    counters::begin_subscriber(memory, index);
    OwnerState::Consumer.set(&entry.details.owner);
}

/// Creates a queue's shared cursor at the next packet, if there is none. Before the first packet is
/// published.
pub(crate) fn create_shared_cursor(memory: &RingMemory, settings: &Settings) {
    if memory.subscribers()[SHARED].cursor.load(Ordering::Acquire) == NOWHERE {
        let _ = join_subscriber(memory, settings, SHARED, Start::Newcomer);
        // The entry has no owner.
        memory.subscribers()[SHARED].details.owner.pid.store(0, Ordering::Relaxed);
    }
}

/// From here on the object of a queue stays while packets in it are not acknowledged.
pub(crate) fn keep_queue(memory: &RingMemory, settings: &Settings) {
    if OnConsumerDeath::of(settings) == OnConsumerDeath::Adopted {
        OwnerState::Durable.set(&memory.subscribers()[SHARED].details.owner);
    }
}

/// Takes over a durable entry whose owner died or left, with the predecessor's cursor.
pub(super) fn succeed(memory: &RingMemory, settings: &Settings, index: usize) -> Joined {
    let entry = &memory.subscribers()[index];
    // Pairs with the releases of the cursor, by the predecessor and by evictors.
    let stood = clamp(position(entry.cursor.load(Ordering::Acquire)));
    // Clears the predecessor's pin, if there is one. No process moves a pinned cursor, and pins are
    // cleared only under the control lock, which the caller holds. Orderings as in `Reader::pin`.
    let _ = entry.cursor.compare_exchange(stood | PIN, stood, Ordering::AcqRel, Ordering::Relaxed);
    counters::begin_at(memory, settings, index, stood);
    let redelivered_below = Some(entry.details.durable.handed_out());
    Joined { position: stood, loss: LossCounter::succeed(&entry.details), redelivered_below }
}

/// Frees a subscriber's entry, wherever its cursor stands.
pub(crate) fn leave_subscriber(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    // First, for a durable entry: after a kill from here on it is reaped like any other, and no
    // successor finds an entry that does not gate.
    OwnerState::Taken.set(&entry.details.owner);
    failpoint(Failpoint::LeaveCursor);
    release(memory, index);
    failpoint(Failpoint::LeaveOwner);
    OwnerState::Free.set(&entry.details.owner);
}

/// Stops to gate publishers. The owner may call this without the control lock: the entry is reaped
/// afterwards.
pub(crate) fn release(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    counters::settle(entry);
    // Pairs with the acquire in `gate::scan`: the owner has finished reading every slot.
    entry.cursor.store(NOWHERE, Ordering::Release);
}

/// Frees a publisher's entry. Its record is clear.
pub(crate) fn leave_publisher(memory: &RingMemory, settings: &Settings, index: usize) {
    // First: after a kill in between the entry is still taken, and the process that reaps it marks
    // the ring.
    close_if_left(memory, settings, index);
    failpoint(Failpoint::LeaveOwner);
    OwnerState::Free.set(&memory.publishers()[index].details.owner);
}

/// Marks the ring as left if `leaving` is its last publisher.
fn close_if_left(memory: &RingMemory, settings: &Settings, leaving: usize) {
    let mut others = memory.publishers().iter().enumerate().filter(|&(index, _)| index != leaving);
    let is_left = others.all(|(_, entry)| is_free(&entry.details.owner));
    if is_left && !settings.stays_open && RingState::of(memory) == RingState::Open {
        RingState::Left.set(memory);
    }
}

/// Makes a joined subscriber durable. The last step, once its cursor is placed.
pub(super) fn make_durable(memory: &RingMemory, index: usize, loss: &LossCounter, name: &str) {
    let details = &memory.subscribers()[index].details;
    details.durable.set_handed_out(0);
    loss.record_reported(details);
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

/// Returns true if the entry has no owner.
pub(crate) fn is_free(owner: &EntryOwner) -> bool {
    OwnerState::of(owner) == OwnerState::Free
}

/// Raises the number of entries that scans and liveness checks look at. Before the entry is taken,
/// so that a dead owner is found. Before the entry gates anything, so the fence that covers the
/// cursor covers this store too.
fn raise(used: &AtomicU32, index: usize) {
    let bound = index as u32 + 1;
    if used.load(Ordering::Relaxed) < bound {
        used.store(bound, Ordering::Release);
    }
}
