//! Entries and worker slots: their numbers, states and owners.

use super::layout::{EntryOwner, SlotInfo, WORKER_NAME_WORDS, WorkerSlot};
use crate::sync::{Ordering, fence};

/// The number of an entry or worker slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EntryId {
    /// The publisher entry of this index.
    Publisher(usize),
    /// The subscriber entry of this index.
    Subscriber(usize),
    /// The worker slot of this index.
    WorkerSlot(usize),
}

impl EntryId {
    /// The index within its kind.
    #[inline]
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Publisher(index) | Self::Subscriber(index) | Self::WorkerSlot(index) => index,
        }
    }
}

/// State of an entry. The entry's kernel lock shows whether its owner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerState {
    /// No owner.
    Free,
    /// Owned by an endpoint as long as it lives.
    Taken,
    /// Owned by a durable subscriber, alive or dead.
    Durable,
    /// Taken by a subscriber whose cursor is not placed yet. It may miss packets.
    Joining,
    /// Owned by a queue consumer. Its cursor is the packet that it has in flight.
    Consumer,
}

impl OwnerState {
    /// Loads the state. An unknown word counts as taken: without a liveness lock the entry is then
    /// cleared like that of a dead owner.
    pub(crate) fn of(owner: &EntryOwner) -> Self {
        // Pairs with the release in `set`.
        match owner.state.load(Ordering::Acquire) {
            0 => Self::Free,
            2 => Self::Durable,
            3 => Self::Joining,
            4 => Self::Consumer,
            _ => Self::Taken,
        }
    }

    /// Stores the state. Under the control lock.
    pub(crate) fn set(self, owner: &EntryOwner) {
        let word = match self {
            Self::Free => 0,
            Self::Taken => 1,
            Self::Durable => 2,
            Self::Joining => 3,
            Self::Consumer => 4,
        };
        // Pairs with the acquire in `of`.
        owner.state.store(word, Ordering::Release);
    }
}

impl EntryOwner {
    /// Makes this process the owner, whose counters `begin` anew. Under the control lock, before
    /// the state is stored.
    pub(crate) fn change(&self, begin: impl FnOnce()) {
        // A reader of the counters that sees the same time before and behind them read those of one
        // owner. Pairs with the fence in `ring::counters`.
        self.since.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        begin();
        self.pid.store(std::process::id(), Ordering::Relaxed);
        // Pairs with the acquire in `ring::counters`.
        self.since.store(now(), Ordering::Release);
    }
}

/// The time of the monotonic clock in nanoseconds, never 0.
#[cfg(not(loom))]
fn now() -> u64 {
    crate::sys::machine::monotonic().max(1)
}

#[cfg(loom)]
fn now() -> u64 {
    1
}

/// Phase of a worker slot, in one word:
///
/// ```text
///  63            8 7      6 5     4 3     0
///  │ generation   │ before │ ended │ state │
/// ```
///
/// `ended`: how the worker of this generation ended, once it has. `before`: how the worker of the
/// previous generation ended, for a watcher that has not looked since.
///
/// `state`: 0 free, 1 taken, 2 kept with the inbox of the first name, 3 kept with the inbox of the
/// second name. A single store changes from one inbox to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotPhase(pub(crate) u64);

/// Bits of the state of a slot that is kept with the inbox of the first name.
const KEPT_FIRST: u64 = 2;
/// Bits of the state of a slot that is kept with the inbox of the second name.
const KEPT_SECOND: u64 = 3;

/// State of a worker slot. The slot's kernel lock shows whether its worker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerSlotState {
    /// No worker.
    Free,
    /// A worker as long as it lives.
    Taken,
    /// A worker with an inbox, alive or dead.
    Kept,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The worker left.
    Left,
    /// The worker was found dead.
    Died,
}

impl SlotPhase {
    /// Loads the phase of a worker slot.
    pub(crate) fn of(slot: &WorkerSlot) -> Self {
        // Pairs with the release in `set`: a reader that sees the slot taken sees its info.
        Self(slot.phase.load(Ordering::Acquire))
    }

    /// Stores the phase. Under the control lock.
    pub(crate) fn set(self, slot: &WorkerSlot) {
        // Pairs with the acquire in `of`.
        slot.phase.store(self.0, Ordering::Release);
    }

    /// Number of workers that have used this slot.
    pub(crate) fn generation(self) -> u64 {
        self.0 >> 8
    }

    /// The state. An unknown value counts as taken, as for an entry.
    pub(crate) fn state(self) -> WorkerSlotState {
        match self.0 & 0xf {
            0 => WorkerSlotState::Free,
            KEPT_FIRST | KEPT_SECOND => WorkerSlotState::Kept,
            _ => WorkerSlotState::Taken,
        }
    }

    /// Returns true if the slot is kept with the inbox of the second name.
    pub(crate) fn has_second_inbox(self) -> bool {
        self.0 & 0xf == KEPT_SECOND
    }

    /// The phase of a kept slot with the inbox of the other name. Any other phase stays.
    pub(crate) fn with_other_inbox(self) -> Self {
        if self.state() == WorkerSlotState::Kept { Self(self.0 ^ 1) } else { self }
    }

    /// How the worker of this generation ended, if it has.
    pub(crate) fn ended(self) -> Option<Ended> {
        ended(self.0 >> 4)
    }

    /// How the worker of the previous generation ended.
    pub(crate) fn ended_before(self) -> Option<Ended> {
        ended(self.0 >> 6)
    }

    /// This phase with another state. A slot that stays kept keeps the name of its inbox.
    pub(crate) fn with_state(self, state: WorkerSlotState) -> Self {
        let word = match state {
            WorkerSlotState::Free => 0,
            WorkerSlotState::Taken => 1,
            WorkerSlotState::Kept if self.has_second_inbox() => KEPT_SECOND,
            WorkerSlotState::Kept => KEPT_FIRST,
        };
        Self(self.0 & !0xf | word)
    }

    /// This phase with the worker ended. An end that is there already stays.
    pub(crate) fn with_end(self, how: Ended) -> Self {
        let word = match self.ended().unwrap_or(how) {
            Ended::Left => 1,
            Ended::Died => 2,
        };
        Self(self.0 & !0x30 | word << 4)
    }

    /// The phase of the next worker in this slot. A worker without a recorded end has died.
    pub(crate) fn next(self, state: WorkerSlotState) -> Self {
        let before = self.with_end(Ended::Died).0 >> 4 & 0b11;
        Self((self.generation() + 1) << 8 | before << 6 | self.0 & 0xf).with_state(state)
    }
}

impl SlotInfo {
    /// Longest name in bytes.
    pub(crate) const LONGEST_NAME: usize = WORKER_NAME_WORDS * 8;

    /// Writes the worker of a slot. Under the control lock, before the phase marks the slot taken.
    pub(crate) fn write(&self, name: &str, pid: u32, since: u64) {
        // Pairs with the fence in `WorkerSlot::read`: a reader that sees any of these stores sees
        // the phase that freed the slot.
        fence(Ordering::Release);
        self.pid.store(pid, Ordering::Relaxed);
        self.since.store(since, Ordering::Relaxed);
        self.name_len.store(name.len() as u64, Ordering::Relaxed);
        super::types::store_text(&self.name, name);
    }

    /// The name. While another process writes it, the text can be a mixture.
    fn name(&self) -> String {
        let len = self.name_len.load(Ordering::Relaxed).min(Self::LONGEST_NAME as u64);
        super::types::load_text(&self.name, len as usize)
    }
}

/// A worker slot at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotSnapshot {
    pub(crate) phase: SlotPhase,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) since: u64,
}

impl WorkerSlot {
    /// Reads the slot at one instant. If the phase changes meanwhile, the read starts over.
    pub(crate) fn read(&self) -> SlotSnapshot {
        loop {
            if let Some(entry) = self.read_once() {
                return entry;
            }
        }
    }

    /// As [`read`](Self::read), with a limited number of tries. `None` if the phase changed during
    /// each of them, which only a process does that does not follow the protocol.
    #[cfg(not(loom))]
    pub(crate) fn read_bounded(&self) -> Option<SlotSnapshot> {
        const TRIES: usize = 64;
        (0..TRIES).find_map(|_| self.read_once())
    }

    /// Reads the slot. `None` if the phase changed meanwhile.
    fn read_once(&self) -> Option<SlotSnapshot> {
        let phase = SlotPhase::of(self);
        let entry = SlotSnapshot {
            phase,
            name: self.info.name(),
            pid: self.info.pid.load(Ordering::Relaxed),
            since: self.info.since.load(Ordering::Relaxed),
        };
        // Pairs with the fence in `SlotInfo::write`.
        fence(Ordering::Acquire);
        (SlotPhase::of(self) == phase).then_some(entry)
    }
}

fn ended(bits: u64) -> Option<Ended> {
    match bits & 0b11 {
        1 => Some(Ended::Left),
        2 => Some(Ended::Died),
        _ => None,
    }
}

/// Liveness locks of entries: of an attachment to a shared object, locks on its own file.
///
/// The kernel drops the lock of a process that dies, so a free lock is a proof of death. No clock
/// and no process id decides about it.
///
/// # Safety
///
/// As long as an attachment holds the lock of an entry, `is_alive` returns true for all others, and
/// `acquire_liveness` false.
/// The ring frees the entry of a dead endpoint, and with it the slots that the endpoint reads or
/// writes.
#[cfg(not(loom))]
pub(super) unsafe trait Liveness: std::fmt::Debug {
    /// Locks an entry, under the control lock. Returns false if another attachment holds its lock.
    fn acquire_liveness(&self, entry: EntryId) -> Result<bool, crate::error::OpenError>;

    /// Releases the lock of an entry.
    fn release_liveness(&self, entry: EntryId);

    /// Returns true if another attachment holds the lock of an entry. On the heap also this one.
    fn is_alive(&self, entry: EntryId) -> bool;
}

/// The content of an object that outlives its processes, and keeps the object.
#[cfg(not(loom))]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// Nothing: the object goes with its last process.
    Nothing,
    /// Durable subscribers, by their names, with the packets that wait for them.
    Durable(Vec<String>),
    /// Packets of a work queue without an acknowledgement.
    Jobs {
        /// Slots of 64 bytes from the next packet to the end. A packet takes one or more. Void
        /// packets count, until the last user of the queue leaves or [`purge`](crate::purge) runs.
        waiting_slots: u64,
        /// Packets that a consumer took, which may be dead by now.
        in_flight: usize,
    },
    /// Workers whose name and inbox stay, by their names.
    Workers(Vec<String>),
    /// Unknown: a segment of another layout that may keep something, or an object that cannot be
    /// read.
    Unknown,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_phase_says_what_was_written() {
        let first = SlotPhase(0).next(WorkerSlotState::Taken);
        assert_eq!((first.generation(), first.state()), (1, WorkerSlotState::Taken));
        assert_eq!(first.ended(), None);
        let left = first.with_end(Ended::Left).with_state(WorkerSlotState::Free);
        assert_eq!((left.generation(), left.state()), (1, WorkerSlotState::Free));
        assert_eq!(left.with_end(Ended::Died).ended(), Some(Ended::Left), "it said so itself");
        let second = left.next(WorkerSlotState::Kept);
        assert_eq!((second.generation(), second.state()), (2, WorkerSlotState::Kept));
        assert_eq!((second.ended(), second.ended_before()), (None, Some(Ended::Left)));
        assert_eq!(second.next(WorkerSlotState::Kept).ended_before(), Some(Ended::Died));
        assert_eq!(SlotPhase(u64::MAX).state(), WorkerSlotState::Taken);
    }

    #[test]
    fn a_kept_phase_keeps_the_name_of_its_inbox() {
        let first = SlotPhase(0).next(WorkerSlotState::Kept).with_end(Ended::Left);
        let second = first.with_other_inbox();
        assert_eq!([first, second].map(SlotPhase::has_second_inbox), [false, true]);
        assert_eq!((second.state(), second.generation()), (WorkerSlotState::Kept, 1));
        assert_eq!((second.ended(), second.with_other_inbox()), (Some(Ended::Left), first));
        let successor = second.next(WorkerSlotState::Kept).with_state(WorkerSlotState::Kept);
        assert!(successor.has_second_inbox());
        let anew = successor.with_state(WorkerSlotState::Taken);
        assert_eq!(anew.with_other_inbox(), anew);
        assert!(!anew.with_state(WorkerSlotState::Kept).has_second_inbox());
    }
}
