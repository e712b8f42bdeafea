//! Who takes part in a ring: entries, and whether they are taken. Who is in a cluster: desks, and
//! how they stand.

use super::layout::{EntryOwner, SlotInfo, WORKER_NAME_WORDS, WorkerSlot};
use crate::sync::{Ordering, fence};

/// One entry of a segment, and whoever sits at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EntryId {
    /// The publisher entry of this index.
    Publisher(usize),
    /// The subscriber entry of this index.
    Subscriber(usize),
    /// The worker's desk of this index.
    WorkerSlot(usize),
}

/// Whether an entry is taken. Whether its owner lives is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerState {
    /// Nobody's.
    Free,
    /// Somebody's, for as long as they live.
    Taken,
    /// A durable subscriber's, alive or dead.
    Durable,
    /// Taken by a subscriber whose cursor is not placed yet: it may miss what is published.
    Joining,
    /// A member's of a group: its cursor is its hand.
    Consumer,
}

impl OwnerState {
    /// The state of a seat. An unknown word counts as taken: its owner is then asked for and, not
    /// being found alive, the entry is cleared.
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

    /// Writes the state. Under the control lock.
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

/// How a desk stands, in one word:
///
/// ```text
///  63            8 7     6 5     4 3     0
///  │ generation   │ before │ ended │ state │
/// ```
///
/// `ended`: how the worker of this generation went, once it has; `before`: how the one before it
/// did, for who has not looked since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotPhase(pub(crate) u64);

/// Whether somebody is expected at a desk. Whether they live is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerSlotState {
    /// Nobody.
    Free,
    /// A worker, for as long as it lives.
    Taken,
    /// A worker with an inbox, alive or dead.
    Kept,
}

/// How a worker went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It said so.
    Left,
    /// It was found dead.
    Died,
}

impl SlotPhase {
    /// Reads a desk's phase.
    pub(crate) fn of(slot: &WorkerSlot) -> Self {
        // Pairs with the release in `set`: who sees it taken sees the card.
        Self(slot.phase.load(Ordering::Acquire))
    }

    /// Writes it. Under the control lock.
    pub(crate) fn set(self, slot: &WorkerSlot) {
        // Pairs with the acquire in `of`.
        slot.phase.store(self.0, Ordering::Release);
    }

    /// Counts the workers that sat at this desk.
    pub(crate) fn generation(self) -> u64 {
        self.0 >> 8
    }

    /// Whether somebody is expected. An unknown word counts as taken, as a seat's does.
    pub(crate) fn state(self) -> WorkerSlotState {
        match self.0 & 0xf {
            0 => WorkerSlotState::Free,
            2 => WorkerSlotState::Kept,
            _ => WorkerSlotState::Taken,
        }
    }

    /// How the worker of this generation went, if it has said so or was found dead.
    pub(crate) fn ended(self) -> Option<Ended> {
        ended(self.0 >> 4)
    }

    /// How the worker of the generation before went.
    pub(crate) fn ended_before(self) -> Option<Ended> {
        ended(self.0 >> 6)
    }

    /// The same worker, expected otherwise.
    pub(crate) fn with_state(self, state: WorkerSlotState) -> Self {
        let word = match state {
            WorkerSlotState::Free => 0,
            WorkerSlotState::Taken => 1,
            WorkerSlotState::Kept => 2,
        };
        Self(self.0 & !0xf | word)
    }

    /// The same worker, gone. What it said of itself stays.
    pub(crate) fn with_end(self, how: Ended) -> Self {
        let word = match self.ended().unwrap_or(how) {
            Ended::Left => 1,
            Ended::Died => 2,
        };
        Self(self.0 & !0x30 | word << 4)
    }

    /// The next worker at this desk; one that did not say how it went has died.
    pub(crate) fn next(self, state: WorkerSlotState) -> Self {
        let before = self.with_end(Ended::Died).0 >> 4 & 0b11;
        Self((self.generation() + 1) << 8 | before << 6).with_state(state)
    }
}

impl SlotInfo {
    /// Longest name in bytes.
    pub(crate) const LONGEST_NAME: usize = WORKER_NAME_WORDS * 8;

    /// Writes who sits down. Under the control lock, before the phase says so.
    pub(crate) fn write(&self, name: &str, pid: u32, since: u64) {
        // Pairs with the fence in `WorkerSlot::read`: who sees any of this sees that the desk was freed.
        fence(Ordering::Release);
        self.pid.store(pid, Ordering::Relaxed);
        self.since.store(since, Ordering::Relaxed);
        self.name_len.store(name.len() as u64, Ordering::Relaxed);
        super::types::store_text(&self.name, name);
    }

    /// The name, whatever another process may be writing there.
    fn name(&self) -> String {
        let len = self.name_len.load(Ordering::Relaxed).min(Self::LONGEST_NAME as u64);
        super::types::load_text(&self.name, len as usize)
    }
}

/// What a desk said at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) phase: SlotPhase,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) since: u64,
}

impl WorkerSlot {
    /// What it says, as of one instant: of a desk that changes meanwhile, what it says then.
    pub(crate) fn read(&self) -> Entry {
        let mut phase = SlotPhase::of(self);
        loop {
            let entry = Entry {
                phase,
                name: self.info.name(),
                pid: self.info.pid.load(Ordering::Relaxed),
                since: self.info.since.load(Ordering::Relaxed),
            };
            // Pairs with the fence in `SlotInfo::write`.
            fence(Ordering::Acquire);
            let now = SlotPhase::of(self);
            if now == phase {
                return entry;
            }
            phase = now;
        }
    }
}

fn ended(bits: u64) -> Option<Ended> {
    match bits & 0b11 {
        1 => Some(Ended::Left),
        2 => Some(Ended::Died),
        _ => None,
    }
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
}
