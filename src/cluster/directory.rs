//! A cluster's directory: who is in it, and where they sit.

use super::names::WorkerId;
use std::time::Duration;

/// What is known of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its number.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Its process, or the one it last lived in, as its own pid namespace has it. For people.
    pub pid: u32,
    /// How long ago it joined.
    pub uptime: Duration,
    /// Counts those who sat at this desk: another one after a restart.
    pub generation: u64,
    /// Whether it lives.
    pub state: WorkerState,
}

/// Whether a worker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It lives.
    Alive,
    /// It died or was dropped, and has an inbox, in which its letters wait for its successor.
    Away,
    /// It died or left, and is not expected back.
    Gone,
}

/// What happened to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerChange {
    /// It joined.
    Joined(WorkerInfo),
    /// It left, or was dropped.
    Left(WorkerInfo),
    /// It was found dead.
    Died(WorkerInfo),
}

/// What [`Directory::find`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nobody ever had this name or id.
    Unknown,
    /// It was there, and nobody is expected back.
    Gone {
        /// Its process, for people.
        pid: u32,
    },
    /// It lives and has no inbox.
    NoInbox(WorkerId),
    /// It has an inbox, dead or alive.
    Kept {
        /// Its number.
        id: WorkerId,
        /// Which of those who sat there.
        generation: u64,
    },
}

/// A worker's place in its cluster's directory.
#[derive(Debug)]
pub(crate) struct Directory {}
