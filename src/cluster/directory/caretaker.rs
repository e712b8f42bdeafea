//! A caretaker: removes what killed workers left, although no call of this process waits.

use super::slots::SlotTable;
use super::sweep::{FinalSweep, clear_dead, sweep};
use crate::cluster::names::{Cluster, WorkerId};
use crate::segment::entry::WorkerSlotState;
use std::sync::{Mutex, PoisonError};

/// The cluster at a check.
#[derive(Debug, Default)]
struct Seen {
    slots: Vec<SeenSlot>,
    /// The last check found an end. The kernel closes the descriptors of a dead process one after
    /// the other, so some of its objects may have counted as in use.
    sweeps_again: bool,
}

/// A worker slot at a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SeenSlot {
    generation: u64,
    lives: bool,
}

/// Watches the liveness locks of all workers of a cluster.
#[derive(Debug)]
pub(crate) struct Caretaker {
    cluster: Cluster,
    /// Each slot at the last check.
    seen: Mutex<Seen>,
    slots: SlotTable,
    /// Behind `slots`, so that it runs when the directory is detached.
    _final_sweep: FinalSweep,
}

impl Caretaker {
    pub(super) fn new(slots: SlotTable, cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
            seen: Mutex::default(),
            slots,
            _final_sweep: FinalSweep::of(cluster),
        }
    }

    /// Returns true if the worker of this id and generation lives. Costs a system call.
    pub(crate) fn is_alive(&self, id: WorkerId, generation: u64) -> bool {
        let index = usize::from(id.0);
        self.slots.phase(index).generation() == generation && self.lives(index)
    }

    /// Returns true in a forked child.
    pub(crate) fn is_inherited(&self) -> bool {
        self.slots.is_inherited()
    }

    fn lives(&self, index: usize) -> bool {
        self.slots.state(index) != WorkerSlotState::Free && self.slots.is_alive(index)
    }

    /// Clears the slots of dead workers, and removes the objects to which only dead processes were
    /// attached, if a worker has died or left since the last call. Costs a system call for each
    /// worker. While another process holds the directory's control lock, the next call does it.
    pub(crate) fn tidy(&self) {
        if self.slots.is_inherited() {
            return;
        }
        let see = |index| {
            // A worker that ends between both reads is found by the next call.
            let generation = self.slots.phase(index).generation();
            SeenSlot { generation, lives: self.lives(index) }
        };
        let now: Vec<SeenSlot> = (0..self.slots.count()).map(see).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.slots.resize(now.len(), SeenSlot::default());
        let has_ended = seen.slots.iter().zip(&now).any(|(was, is)| was != is && !is.lives);
        if has_ended || seen.sweeps_again {
            let Some(control) = self.slots.try_lock() else { return };
            clear_dead(&control, &self.slots, &self.cluster);
            sweep(&self.cluster);
        }
        *seen = Seen { slots: now, sweeps_again: has_ended };
    }
}
