//! Descriptions of workers: the public one, changes of workers, and the result of a lookup.

use super::slots::SlotTable;
use crate::cluster::names::{Address, Cluster, InboxName, WorkerId};
use crate::error::OpenError;
use crate::segment::WorkerSlots;
use crate::segment::entry::{Ended, EntryId, SlotPhase, SlotSnapshot, WorkerSlotState};
#[cfg(feature = "handover")]
use crate::segment::name::Name;
use crate::sys::machine;
#[cfg(feature = "handover")]
use crate::sys::shm;
use std::time::Duration;

/// Describes a worker: see [`Worker::workers`](crate::Worker::workers).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Process id of the worker, or of its last process. It is for display only, and valid in that
    /// process's own pid namespace.
    pub pid: u32,
    /// Time since the worker joined, also if it has died: its time of death is not recorded.
    pub uptime: Duration,
    /// Number of workers that have used this id so far. It grows with each restart.
    pub generation: u64,
    /// Alive, away or gone.
    pub state: WorkerState,
    /// True if it has an inbox. The inbox of a worker that is [away](WorkerState::Away) keeps its
    /// messages.
    pub has_inbox: bool,
    /// True if it is [gone](WorkerState::Gone) because it died: it did not leave. Of a worker that
    /// is away this is not recorded.
    pub has_died: bool,
}

/// State of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// The worker lives.
    Alive,
    /// The worker died or was dropped. Its inbox keeps the messages for the next worker of this
    /// name.
    Away,
    /// The worker died or left, and no inbox is kept for it.
    Gone,
}

/// The place of the socket by which a worker receives descriptors.
#[cfg(feature = "handover")]
#[derive(Clone, Debug)]
pub(crate) struct SocketPlace {
    /// The name of its file.
    pub(crate) name: Name,
    /// The file of the directory. The socket has its mode, and its group if users share it.
    pub(crate) directory: shm::Object,
}

#[cfg(feature = "handover")]
impl SocketPlace {
    /// Returns true if several users share the cluster.
    pub(crate) fn is_shared(&self) -> bool {
        self.directory.mode & 0o077 != 0
    }

    /// Returns true if this file is the socket of a user of the cluster.
    pub(crate) fn admits(&self, file: &shm::Object) -> bool {
        let has_access = file.mode == self.directory.mode && file.group == self.directory.group;
        file.file_type == shm::SOCKET
            && if self.is_shared() { has_access } else { file.owner == shm::user() }
    }

    /// Returns true if this user, whom the mode of the socket let in, may send descriptors.
    pub(crate) fn admits_user(&self, user: u32) -> bool {
        self.is_shared() || user == shm::user()
    }
}

/// A change that a [`Watch`](super::Watch) reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerChange {
    /// The worker joined.
    Joined(WorkerInfo),
    /// The worker left or was dropped.
    Left(WorkerInfo),
    /// The worker died.
    Died(WorkerInfo),
}

/// Describes the worker of a slot. The caller passes the state, because only it knows whether the
/// liveness lock is held.
pub(super) fn describe(index: usize, entry: SlotSnapshot, state: WorkerState) -> WorkerInfo {
    WorkerInfo {
        id: id_of(index),
        name: entry.name,
        pid: entry.pid,
        uptime: Duration::from_nanos(machine::monotonic().saturating_sub(entry.since)),
        generation: entry.phase.generation(),
        state,
        has_inbox: match state {
            WorkerState::Alive => entry.phase.state() == WorkerSlotState::Kept,
            WorkerState::Away => true,
            WorkerState::Gone => false,
        },
        // A taken slot without a living worker is one that no process cleared yet. If it says how
        // its worker ended, that worker left, and its inbox is being removed.
        has_died: state == WorkerState::Gone
            && match entry.phase.ended() {
                Some(ended) => ended == Ended::Died,
                None => entry.phase.state() == WorkerSlotState::Taken,
            },
    }
}

/// Describes the workers of all slots that were ever used, also those that are gone.
pub(crate) fn describe_all(
    slots: &WorkerSlots,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Vec<WorkerInfo> {
    let read = slots.all().iter().enumerate();
    let read = read.filter_map(|(index, slot)| Some((index, slot.read_bounded()?)));
    let used = read.filter(|(_, entry)| entry.phase.generation() > 0);
    used.map(|(index, entry)| {
        let is_alive = || is_alive(EntryId::WorkerSlot(index));
        let (entry, is_alive) = settled(entry, is_alive, || slots.all()[index].read_bounded());
        let state = state_of(entry.phase.state(), is_alive);
        describe(index, entry, state)
    })
    .collect()
}

/// A slot that was read, and whether its worker lives.
///
/// A worker that leaves stores the phase before it releases its lock. So after a lock that is free
/// the slot is read again: its phase then says how the worker ended.
pub(super) fn settled(
    mut entry: SlotSnapshot,
    is_alive: impl Fn() -> bool,
    read: impl Fn() -> Option<SlotSnapshot>,
) -> (SlotSnapshot, bool) {
    loop {
        if entry.phase.state() == WorkerSlotState::Free {
            return (entry, false);
        }
        if is_alive() {
            return (entry, true);
        }
        match read() {
            Some(now) if now.phase != entry.phase => entry = now,
            _ => return (entry, false),
        }
    }
}

/// The state of the worker of a slot.
pub(super) fn state_of(state: WorkerSlotState, is_alive: bool) -> WorkerState {
    match state {
        WorkerSlotState::Free => WorkerState::Gone,
        WorkerSlotState::Taken | WorkerSlotState::Kept if is_alive => WorkerState::Alive,
        WorkerSlotState::Kept => WorkerState::Away,
        WorkerSlotState::Taken => WorkerState::Gone,
    }
}

/// The id of the worker in this slot. A directory has at most `MAX_ENTRIES` slots, so it fits.
pub(super) fn id_of(index: usize) -> WorkerId {
    WorkerId(index as u16)
}

/// Result of [`Directory::find`](super::Directory::find).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// No worker ever had this name or id.
    Unknown,
    /// The worker died or left, and its inbox was discarded.
    Gone {
        /// Its last process, for display only.
        pid: u32,
    },
    /// The worker lives and has no inbox.
    NoInbox,
    /// The worker has an inbox, and is alive or away.
    Inbox(InboxAddress),
}

/// An inbox, as it was when it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InboxAddress {
    /// The worker's id.
    pub(crate) id: WorkerId,
    /// The worker's name.
    pub(crate) name: String,
    /// The worker's presence at the lookup. If it is different now, look the worker up again.
    pub(crate) presence: Presence,
}

/// The phase of a worker slot at one instant, as an opaque value. It changes whenever a worker
/// joins or leaves there, opens its inbox for the first time, or replaces its inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Presence(pub(super) SlotPhase);

impl Presence {
    /// Returns true if the worker has an inbox, and is alive or away.
    pub(crate) fn has_inbox(self) -> bool {
        self.0.state() == WorkerSlotState::Kept
    }

    /// The name that the worker's inbox has.
    pub(crate) fn inbox_name(self) -> InboxName {
        if self.0.has_second_inbox() { InboxName::Second } else { InboxName::First }
    }

    /// Number of workers that have used the slot so far.
    pub(crate) fn generation(self) -> u64 {
        self.0.generation()
    }
}

/// An attachment to a directory without a worker slot, for a moment.
pub(crate) struct Visit(SlotTable);

impl Visit {
    /// Attaches to the directory of a cluster. Waits no longer for its control lock.
    pub(crate) fn open(cluster: &Cluster, timeout: Duration) -> Result<Self, OpenError> {
        SlotTable::attach(&cluster.directory()?, timeout).map(Self)
    }

    /// The presence of the worker of this name, if it has an inbox.
    pub(crate) fn inbox_of(&self, name: &str) -> Option<Presence> {
        let (_, entry) = self.0.find(&Address::Name(name))?;
        let presence = Presence(entry.phase);
        presence.has_inbox().then_some(presence)
    }

    /// The name of the worker in a process. `None` if there are several or none.
    fn worker_of(&self, pid: u32) -> Option<String> {
        let mut named = self.0.read_all().filter_map(|(_, entry)| {
            let is_in_use = entry.phase.state() != WorkerSlotState::Free;
            (is_in_use && entry.pid == pid).then_some(entry.name)
        });
        named.next().filter(|_| named.next().is_none())
    }
}

/// The name of the worker in this process, for people. `None` if there are several or none, or if
/// the directory cannot be attached to at once.
pub(crate) fn worker_of_process(cluster: &Cluster, pid: u32) -> Option<String> {
    Visit::open(cluster, Duration::ZERO).ok()?.worker_of(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::entry::SlotPhase;
    use std::cell::Cell;

    fn entry(phase: SlotPhase) -> SlotSnapshot {
        SlotSnapshot { phase, name: "web".to_owned(), pid: 7, since: 0 }
    }

    /// The description of a slot that is read and has these phases one after the other, whose lock
    /// is free.
    fn described(phases: &[SlotPhase]) -> WorkerInfo {
        let read = Cell::new(0);
        let again = || {
            read.set((read.get() + 1).min(phases.len() - 1));
            Some(entry(phases[read.get()]))
        };
        let (entry, is_alive) = settled(entry(phases[0]), || false, again);
        let state = state_of(entry.phase.state(), is_alive);
        describe(0, entry, state)
    }

    #[test]
    fn a_worker_that_leaves_while_it_is_looked_at_did_not_die() {
        let taken = SlotPhase(0).next(WorkerSlotState::Taken);
        let left = taken.with_end(Ended::Left).with_state(WorkerSlotState::Free);
        let died = taken.with_end(Ended::Died).with_state(WorkerSlotState::Free);
        for (phases, has_died) in [
            (&[taken, left][..], false),
            (&[taken, died], true),
            (&[taken], true),
            (&[left], false),
        ] {
            let info = described(phases);
            assert_eq!((info.state, info.has_died), (WorkerState::Gone, has_died), "{phases:?}");
        }
    }

    #[test]
    fn a_worker_that_left_did_not_die_while_its_inbox_is_removed() {
        let kept = SlotPhase(0).next(WorkerSlotState::Kept).with_end(Ended::Left);
        assert_eq!(described(&[kept]).state, WorkerState::Away);
        let retiring = described(&[kept.with_state(WorkerSlotState::Taken)]);
        assert_eq!((retiring.state, retiring.has_died), (WorkerState::Gone, false));
    }
}
