//! The words of a ring as a process reads them that has no entry in it.
//!
//! The same entries serve boards, whose readers have a pin instead of a position.
//!
//! Guarantees:
//!
//! - Nothing is stored, and no lock is needed.
//! - Each word is loaded once, and the copy is used. The entries are read once, and the slots of
//!   one lap at most.
//!
//! Endpoints go on meanwhile, so a position is that of the moment when it was read. The tail is
//! read first: an endpoint that has moved above it since then lags by nothing.
//!
//! A number of packets is exact, or it is missing ([`count_packets`]): publishers may overwrite
//! slots that the walk reads. The cursor of a reader keeps them from the slots above it, so the
//! walk from a cursor counts if the cursor still stands there afterwards. The entry of a reader
//! that joins counts for nothing: what its first cursor protects is not known.

use super::board_cell;
use super::gate::{self, Gate, PIN, position};
use super::geometry::{Geometry, clamp};
use super::membership::{RingState, SHARED};
use super::slot::{self, Kind, SlotState, StampedPosition};
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::layout::{EntryOwner, NOWHERE, PublisherEntry, SLOT, SubscriberEntry};
use crate::segment::settings::{Overflow, Settings};
use crate::segment::view::RingMemory;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Most packets that one walk counts.
const MOST_PACKETS: u64 = 1 << 22;
/// Most passes over the entries, until no entry joined meanwhile that a pass may have missed.
const PASSES: usize = 16;

/// The distance from a reader to the end of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// Slots of 64 bytes from its position to the tail: 0 to the slots of the ring. They hold
    /// packets, padding, and claims that are not committed yet.
    pub slots: u64,
    /// Bytes of these slots.
    pub bytes: u64,
    /// Packets that it can receive now: those from its position to the tail, or to the first claim
    /// that is not committed. `None` if it moved on while they were counted, while it is joining,
    /// and for more than 4,194,304 packets.
    pub packets: Option<u64>,
}

/// The position of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CursorSnapshot {
    pub(crate) position: u64,
    pub(crate) is_pinned: bool,
    pub(crate) lag: Lag,
}

/// The owner of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerSnapshot {
    pub(crate) state: OwnerState,
    pub(crate) pid: u32,
    /// The types that it uses, one bit for each index.
    pub(crate) types: u64,
}

impl OwnerSnapshot {
    fn of(owner: &EntryOwner, types: &AtomicU64) -> Self {
        Self {
            state: OwnerState::of(owner),
            pid: owner.pid.load(Ordering::Relaxed),
            types: types.load(Ordering::Relaxed),
        }
    }

    /// Returns true if the entry still has this owner, alive or dead.
    pub(crate) fn is_current(&self, memory: &RingMemory, id: EntryId) -> bool {
        owner(memory, id).is_some_and(|owner| {
            OwnerState::of(owner) != OwnerState::Free
                && owner.pid.load(Ordering::Relaxed) == self.pid
        })
    }
}

/// The owner of an entry; `None` without such an entry.
fn owner(memory: &RingMemory, id: EntryId) -> Option<&EntryOwner> {
    match id {
        EntryId::Publisher(index) => memory.publishers().get(index).map(|it| &it.details.owner),
        EntryId::Subscriber(index) => memory.subscribers().get(index).map(|it| &it.details.owner),
        EntryId::WorkerSlot(_) => None,
    }
}

impl RingMemory {
    /// Process id in an entry, which its owner wrote; 0 if there is no such entry.
    pub(crate) fn owner_pid(&self, entry_id: EntryId) -> u32 {
        owner(self, entry_id).map_or(0, |owner| owner.pid.load(Ordering::Relaxed))
    }
}

/// A publisher.
#[derive(Clone, Debug)]
pub(crate) struct PublisherSnapshot {
    /// Index of its entry.
    pub(crate) entry: usize,
    pub(crate) owner: OwnerSnapshot,
    /// Start and number of slots of the claim that its record names, if it gates publishers.
    pub(crate) claim: Option<(u64, u64)>,
}

/// A subscriber, or a consumer of a queue.
#[derive(Clone, Debug)]
pub(crate) struct SubscriberSnapshot {
    /// Index of its entry.
    pub(crate) entry: usize,
    pub(crate) owner: OwnerSnapshot,
    /// `None` if it holds nothing back.
    pub(crate) cursor: Option<CursorSnapshot>,
    /// The cell of a board that a reader has pinned.
    pub(crate) pinned_cell: Option<usize>,
    /// The name of a durable subscriber.
    pub(crate) durable: Option<String>,
    /// End of everything that was handed out to a durable subscriber.
    pub(crate) handed_out: u64,
    /// How often the packet at the cursor was handed out, if it was.
    pub(crate) deliveries: u64,
}

/// A ring.
#[derive(Clone, Debug)]
pub(crate) struct RingSnapshot {
    pub(crate) state: RingState,
    pub(crate) tail: u64,
    /// The oldest packet that is kept for newcomers. `None` in a ring without history.
    pub(crate) oldest: Option<u64>,
    pub(crate) publishers: Vec<PublisherSnapshot>,
    pub(crate) subscribers: Vec<SubscriberSnapshot>,
    /// The shared cursor of a queue.
    pub(crate) shared: Option<CursorSnapshot>,
    /// The gate of publishers that make all the room that they can. `None` if endpoints joined
    /// during each pass.
    pub(crate) gate: Option<Gate>,
}

/// Reads a ring.
pub(crate) fn read(memory: &RingMemory, settings: &Settings) -> RingSnapshot {
    let mut snapshot = pass(memory, settings);
    for _ in 1..PASSES {
        if snapshot.gate.is_some() {
            break;
        }
        snapshot = pass(memory, settings);
    }
    count(memory, &Geometry::of(settings), &mut snapshot);
    snapshot
}

/// One pass over the entries.
fn pass(memory: &RingMemory, settings: &Settings) -> RingSnapshot {
    let head = memory.head();
    // Before the entries, as `gate::scan`. All loads here pair as theirs.
    let restarts = head.membership.clones.load(Ordering::Acquire);
    let tail = clamp(head.tail.load(Ordering::Acquire));
    let oldest = (settings.history > 0).then(|| clamp(head.oldest.load(Ordering::Acquire)));
    let used = |word: &AtomicU32| word.load(Ordering::Relaxed) as usize;
    let subscribers = memory.subscribers().iter().enumerate();
    let mut subscribers: Vec<_> = subscribers
        .take(used(&head.membership.subscribers))
        .filter_map(|(index, entry)| subscriber(memory, settings, tail, index, entry))
        .collect();
    let publishers = memory.publishers().iter().enumerate();
    let publishers: Vec<_> = publishers
        .take(used(&head.membership.publishers))
        .filter_map(|(index, entry)| publisher(memory, tail, index, entry))
        .collect();
    let mut gate = Gate { lowest: tail, holder: None };
    for reader in &subscribers {
        let Some(cursor) = reader.cursor else { continue };
        // Publishers of such a ring move a cursor that is not pinned.
        let is_moved = settings.overflow == Overflow::DropOldest && !cursor.is_pinned;
        if !is_moved && cursor.position < gate.lowest {
            let holder = Some(EntryId::Subscriber(reader.entry));
            gate = Gate { lowest: cursor.position, holder };
        }
    }
    for writer in &publishers {
        // As in `gate::scan`: of a claim and a cursor, the claim.
        let holds = |start: u64| start < tail && start <= gate.lowest;
        if let Some((start, _)) = writer.claim.filter(|&(start, _)| holds(start)) {
            gate = Gate { lowest: start, holder: Some(EntryId::Publisher(writer.entry)) };
        }
    }
    let is_whole = head.membership.clones.load(Ordering::Acquire) == restarts;
    let shared = match subscribers.first() {
        Some(first) if settings.queue && first.entry == SHARED => subscribers.remove(0).cursor,
        _ => None,
    };
    let gate = is_whole.then_some(gate);
    let state = RingState::of(memory);
    RingSnapshot { state, tail, oldest, publishers, subscribers, shared, gate }
}

/// The words of a subscriber's entry. `None` if it has no owner. Entry 0 of a queue, which has no
/// owner, is read always.
fn subscriber(
    memory: &RingMemory,
    settings: &Settings,
    tail: u64,
    index: usize,
    entry: &SubscriberEntry,
) -> Option<SubscriberSnapshot> {
    let details = &entry.details;
    let owner = OwnerSnapshot::of(&details.owner, &details.types);
    let state = owner.state;
    if state == OwnerState::Free && !(settings.queue && index == SHARED) {
        return None;
    }
    let word = entry.cursor.load(Ordering::Acquire);
    let is_board = settings.cells > 0;
    let cursor = (word != NOWHERE && !is_board).then(|| {
        let position = clamp(position(word));
        let slots = tail.saturating_sub(position).min(memory.capacity());
        let lag = Lag { slots, bytes: slots * SLOT as u64, packets: None };
        CursorSnapshot { position, is_pinned: word & PIN != 0, lag }
    });
    let handed_out = details.durable.handed_out();
    let is_handed_out = match state {
        OwnerState::Durable => cursor.is_some_and(|cursor| handed_out > cursor.position),
        OwnerState::Consumer => cursor.is_some_and(|cursor| !cursor.is_pinned),
        OwnerState::Free | OwnerState::Taken | OwnerState::Joining => false,
    };
    let at = cursor.filter(|_| is_handed_out).map(|cursor| cursor.position);
    Some(SubscriberSnapshot {
        entry: index,
        owner,
        cursor,
        pinned_cell: board_cell::pinned_cell(word).filter(|_| is_board),
        durable: (state == OwnerState::Durable).then(|| details.durable.name()),
        handed_out,
        deliveries: at.map_or(0, |position| entry.redelivery.of(position)),
    })
}

/// The words of a publisher's entry. `None` if it has no owner.
fn publisher(
    memory: &RingMemory,
    tail: u64,
    index: usize,
    entry: &PublisherEntry,
) -> Option<PublisherSnapshot> {
    let details = &entry.details;
    let owner = OwnerSnapshot::of(&details.owner, &details.types);
    if owner.state == OwnerState::Free {
        return None;
    }
    let start = entry.record.position.load(Ordering::Acquire);
    let len = entry.record.len.load(Ordering::Acquire);
    // A claim is shorter than the ring: another length is not that of a claim.
    let is_claim = gate::is_live_record(memory, start, tail) && len < memory.capacity();
    Some(PublisherSnapshot { entry: index, owner, claim: is_claim.then(|| (clamp(start), len)) })
}

// ── Packets ──

/// Counts the packets of each lag.
fn count(memory: &RingMemory, geometry: &Geometry, snapshot: &mut RingSnapshot) {
    let tail = snapshot.tail;
    let is_counted = |reader: &&SubscriberSnapshot| {
        matches!(reader.owner.state, OwnerState::Taken | OwnerState::Durable)
    };
    let cursors = snapshot.subscribers.iter().filter(is_counted).filter_map(|it| it.cursor);
    let mut starts: Vec<u64> = cursors.chain(snapshot.shared).map(|it| it.position).collect();
    starts.sort_unstable();
    starts.dedup();
    let counts = count_packets(memory, geometry, &starts, tail);
    // A publisher that overwrote a slot of the walk had seen the cursor moved.
    fence(Ordering::Acquire);
    let packets_at = |entry: usize, cursor: &CursorSnapshot| {
        let words = memory.subscribers().get(entry)?;
        let now = words.cursor.load(Ordering::Relaxed);
        let is_joining = OwnerState::of(&words.details.owner) == OwnerState::Joining;
        if now == NOWHERE || position(now) != cursor.position || is_joining {
            return None;
        }
        starts.binary_search(&cursor.position).ok().and_then(|index| counts[index])
    };
    for reader in &mut snapshot.subscribers {
        let is_counted = is_counted(&&*reader);
        if let Some(cursor) = reader.cursor.as_mut().filter(|_| is_counted) {
            cursor.lag.packets = packets_at(reader.entry, cursor);
        }
    }
    if let Some(cursor) = &mut snapshot.shared {
        cursor.lag.packets = packets_at(SHARED, cursor);
    }
}

/// Counts the packets from each of `starts`, which ascend, up to the tail or the first slot that is
/// not committed. One walk for all of them: a cursor is a packet boundary, so the walk from a lower
/// one reaches it. `None`: too many packets, or the walk did not reach the next start, because
/// publishers overwrote slots meanwhile.
fn count_packets(
    memory: &RingMemory,
    geometry: &Geometry,
    starts: &[u64],
    tail: u64,
) -> Vec<Option<u64>> {
    let mut counts = vec![None; starts.len()];
    let (mut first, mut left) = (0, MOST_PACKETS);
    while let Some(&start) = starts.get(first) {
        if start.saturating_add(geometry.capacity) < tail {
            // Only a damaged ring has a cursor there.
            first += 1;
            continue;
        }
        let (mut at, mut packets) = (StampedPosition::at(memory, start), 0);
        // The starts that the walk reached, with the number of packets before them.
        let mut reached = Vec::new();
        let mut next = first;
        loop {
            while starts.get(next) == Some(&at.position) {
                reached.push(packets);
                next += 1;
            }
            if starts.get(next).is_some_and(|&start| start < at.position) {
                reached.clear();
                break;
            }
            if at.position >= tail {
                break;
            }
            let SlotState::Packet(descriptor) = slot::inspect(memory, geometry, at) else { break };
            if left == 0 {
                return counts;
            }
            left -= 1;
            packets += u64::from(descriptor.kind() == Kind::Data);
            at.go(memory, at.position + descriptor.span());
        }
        for (count, before) in counts[first..].iter_mut().zip(&reached) {
            *count = Some(packets - before);
        }
        first = next;
    }
    counts
}

#[cfg(all(test, not(loom)))]
mod tests;
