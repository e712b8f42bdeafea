//! The public description of a worker, and of changes of workers.

use crate::cluster::names::WorkerId;
use crate::segment::entry::{SlotSnapshot, WorkerSlotState};
use crate::sys::clock;
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
        uptime: Duration::from_nanos(clock::monotonic().saturating_sub(entry.since)),
        generation: entry.phase.generation(),
        state,
        has_inbox: match state {
            WorkerState::Alive => entry.phase.state() == WorkerSlotState::Kept,
            WorkerState::Away => true,
            WorkerState::Gone => false,
        },
    }
}

/// The id of the worker in this slot. A directory has at most `MAX_ENTRIES` slots, so it fits.
pub(super) fn id_of(index: usize) -> WorkerId {
    WorkerId(index as u16)
}
