//! Results of looking up a worker, for senders.

use super::slots::SlotTable;
use crate::cluster::names::{self, WorkerId};
use crate::segment::entry::{SlotPhase, WorkerSlotState};
use std::time::Duration;

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
    /// The worker's name, which is also that of the inbox.
    pub(crate) name: String,
    /// The worker's presence at the lookup. If it is different now, look the worker up again.
    pub(crate) presence: Presence,
}

/// The phase of a worker slot at one instant, as an opaque value. It changes whenever a worker
/// joins or leaves there, or opens its inbox for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Presence(pub(super) SlotPhase);

impl Presence {
    /// Returns true if the worker has an inbox, and is alive or away.
    pub(crate) fn has_inbox(self) -> bool {
        self.0.state() == WorkerSlotState::Kept
    }

    /// Number of workers that have used the slot so far.
    pub(crate) fn generation(self) -> u64 {
        self.0.generation()
    }
}

/// The name of the worker in this process, for people. `None` if there are several or none, or if
/// the directory cannot be attached to at once.
pub(crate) fn worker_of_process(cluster: &str, pid: u32) -> Option<String> {
    let directory = names::directory(cluster).ok()?;
    let slots = SlotTable::attach(&directory, Duration::ZERO).ok()?;
    let mut named = slots.read_all().filter_map(|(_, entry)| {
        let is_in_use = entry.phase.state() != WorkerSlotState::Free;
        (is_in_use && entry.pid == pid).then_some(entry.name)
    });
    named.next().filter(|_| named.next().is_none())
}
