//! The directory of a cluster: its worker slots, and the worker that owns each slot.
//!
//! A worker holds the liveness lock of its slot. The index of the slot is the worker's id. Only the
//! holder of the directory's control lock writes slots.
//!
//! ```text
//!  state   liveness lock   the worker is              next
//!  free    –               absent; its name remains   any worker takes the slot
//!  taken   held            alive, without inbox
//!  taken   free            dead, no inbox is kept     the next lock holder clears the slot
//!  kept    held            alive, with inbox
//!  kept    free            away: dead or dropped      it joins again by its name, or is retired
//! ```
//!
//! A process may be killed after each step of an operation. If a slot is taken and its lock is
//! free, another process clears the slot: it discards the inbox first. Each step can be repeated.
//! `docs/internals/directory.md` lists the steps, and the reason for their order.
//!
//! This folder is the only part of `cluster` that knows segments. `slots` reads and writes worker
//! slots, `sweep` clears dead workers and removes unused objects, `watch` reports changes.

mod info;
mod reports;
mod slots;
mod sweep;
mod watch;

#[cfg(feature = "handover")]
pub(crate) use info::SocketPlace;
pub(crate) use info::{InboxAddress, Lookup, Presence, Visit, describe_all, worker_of_process};
pub use info::{WorkerChange, WorkerInfo, WorkerState};
pub(crate) use slots::JoinRequest;
pub(crate) use sweep::{Caretaker, remove, with_space};
pub use watch::Watch;

use super::error::JoinError;
use super::names::{Address, Cluster, ClusterObject, InboxName, WorkerId};
use crate::channel::EventCount;
#[cfg(feature = "async")]
use crate::channel::KeptEventCount;
use crate::error::{Detachment, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::Control;
use crate::segment::entry::{Ended, SlotPhase, SlotSnapshot, WorkerSlotState};
use crate::segment::layout::SlotInfo;
use crate::sys::stop::Stop;
use crate::trace::Hold;
use crate::wait::{Deadline, Pace, wait_until};
use info::{describe, id_of, settled, state_of};
use slots::SlotTable;
#[cfg(feature = "async")]
use slots::try_in_task;
use sweep::{FinalSweep, clear, clear_dead, discard_inboxes, remove_spare, sweep};

/// The place of one worker in its cluster.
///
/// Dropping it frees the worker slot. If the worker has an inbox, the slot is kept for the next
/// worker of its name.
#[derive(Debug)]
pub(crate) struct Directory {
    cluster: Cluster,
    /// The index of this worker's slot.
    slot: usize,
    /// [`own`](SlotTable::own) is `slot` until the worker has left.
    slots: SlotTable,
    /// Behind `slots`, so that it runs when the directory is detached.
    final_sweep: Option<FinalSweep>,
}

impl Directory {
    /// Joins a cluster, or creates it.
    pub(crate) fn join(cluster: &Cluster, request: &JoinRequest<'_>) -> Result<Self, JoinError> {
        check_name(cluster, request.name)?;
        let slots = with_space(|| SlotTable::open(cluster, request), || sweep(cluster))?;
        check_id(slots.count(), request)?;
        let deadline = Deadline::after(request.wait_for_name.unwrap_or_default());
        let (mut pace, mut taken) = (Pace::new(), JoinError::Stopped);
        let look = |_: &mut Pace| match Self::occupy(&slots, cluster, request) {
            Err(JoinError::NameTaken { .. }) if request.limit.is_stopped() => {
                Some(Err(JoinError::Stopped))
            }
            Err(error @ JoinError::NameTaken { .. }) => {
                taken = error;
                None
            }
            outcome => Some(outcome),
        };
        let found = wait_until(&mut pace, deadline, look, |pace, deadline| {
            slots.wait_for_name(request.name, deadline, pace);
        });
        let slot = found.unwrap_or(Err(taken))?;
        Ok(Self::new(slots, cluster, slot))
    }

    /// As [`join`](Self::join), but waits in a task: for the name, and for processes that hold the
    /// control lock. A future that is dropped took no slot.
    #[cfg(feature = "async")]
    pub(crate) async fn join_in_task(
        cluster: &Cluster,
        request: &JoinRequest<'_>,
    ) -> Result<Self, JoinError> {
        check_name(cluster, request.name)?;
        let deadline = Deadline::after(request.wait_for_name.unwrap_or_default());
        let (limit, one_try) = (&request.limit, request.with_one_try());
        let open = || with_space(|| SlotTable::open(cluster, &one_try), || sweep(cluster));
        let mut slots = try_in_task(limit, || Ok(open()?)).await?;
        check_id(slots.count(), request)?;
        let slot = loop {
            match try_in_task(limit, || Self::occupy(&slots, cluster, &one_try)).await {
                Err(JoinError::NameTaken { .. }) if limit.is_stopped() => {
                    return Err(JoinError::Stopped);
                }
                Err(JoinError::NameTaken { .. }) if !deadline.has_passed() => {
                    slots.wait_for_name_in_task(request.name, deadline).await?;
                }
                outcome => break outcome?,
            }
        };
        slots.set_lock_timeout(limit.timeout);
        Ok(Self::new(slots, cluster, slot))
    }

    /// The place of a worker that has taken a slot.
    fn new(mut slots: SlotTable, cluster: &Cluster, slot: usize) -> Self {
        slots.own = Some(slot);
        slots.notify();
        reports::joined(cluster, &slots, slot);
        Self { cluster: cluster.clone(), slot, slots, final_sweep: None }
    }

    /// Takes a slot, after the dead were cleared.
    fn occupy(
        slots: &SlotTable,
        cluster: &Cluster,
        request: &JoinRequest<'_>,
    ) -> Result<usize, JoinError> {
        let control = slots.lock()?;
        clear_dead(&control, slots, cluster);
        // A cluster whose processes were all killed left objects behind. If a worker lives, it
        // sweeps when it finds a death and when it leaves. The cost of a sweep grows with the
        // number of objects, so not every join pays for one.
        if !slots.has_living() {
            sweep(cluster);
        }
        let slot = slots.choose(&control, request)?;
        if slots.state(slot) == WorkerSlotState::Taken {
            // The last worker of this name is dead, and `clear_dead` failed to discard its inbox.
            // This try reports the error.
            discard_inboxes(cluster, request.name)?;
        }
        slots.occupy(&control, slot, request.name)?;
        Ok(slot)
    }

    /// This worker's id.
    pub(crate) fn id(&self) -> WorkerId {
        id_of(self.slot)
    }

    /// Number of workers that have used this worker's slot so far.
    pub(crate) fn generation(&self) -> u64 {
        self.presence(self.id()).generation()
    }

    /// Fails if no worker can join this cluster any more: an object of its name would be one of
    /// another cluster.
    pub(crate) fn refuse_detached(&self) -> Result<(), OpenError> {
        self.slots.refuse_detached()
    }

    /// Fails in a forked child, which has no worker slot.
    pub(crate) fn refuse_inherited(&self) -> Result<(), OpenError> {
        self.slots.refuse_inherited()
    }

    /// Why no worker can join this cluster any more; `None` if one can.
    pub(crate) fn detachment(&self) -> Option<Detachment> {
        self.slots.detachment()
    }

    /// The stop that ends the waits of this worker.
    pub(crate) fn stop(&self) -> Option<&Stop> {
        self.slots.stop()
    }

    /// Number of worker slots.
    pub(crate) fn worker_slots(&self) -> usize {
        self.slots.count()
    }

    /// Opens a watch over the workers of this cluster.
    pub(crate) fn watch(&self) -> Result<Watch, OpenError> {
        Ok(Watch::new(self.slots.another()?, &self.cluster))
    }

    /// Opens a caretaker of this cluster.
    pub(crate) fn caretaker(&self) -> Result<Caretaker, OpenError> {
        Ok(Caretaker::new(self.slots.another()?, &self.cluster))
    }

    /// Clears the dead, and removes the objects to which only dead processes were attached.
    pub(crate) fn sweep(&self) {
        if let Some(control) = self.slots.lock_bounded() {
            self.tidy(&control);
        }
    }

    /// The event count that is notified after each change of a worker.
    pub(crate) fn event_count(&self) -> &EventCount {
        self.slots.event_count()
    }

    /// As [`event_count`](Self::event_count), with its memory.
    #[cfg(feature = "async")]
    pub(crate) fn kept_event_count(&self) -> KeptEventCount {
        self.slots.kept_event_count()
    }

    /// The presence of a worker now: one load.
    #[inline]
    pub(crate) fn presence(&self, id: WorkerId) -> Presence {
        Presence(self.slots.phase(usize::from(id.0)))
    }

    /// The place of the socket of this generation of a worker slot.
    #[cfg(feature = "handover")]
    pub(crate) fn socket(
        &self,
        worker: WorkerId,
        generation: u64,
    ) -> Result<SocketPlace, OpenError> {
        let (directory, random) = self.slots.identity()?;
        let socket = ClusterObject::Socket { worker, generation, directory: random };
        Ok(SocketPlace { name: socket.name(&self.cluster)?, directory })
    }

    /// Looks up the inbox of a worker. A lookup by name reads all slots.
    pub(crate) fn find(&self, who: &Address<'_>) -> Lookup {
        let Some((index, entry)) = self.slots.find(who) else { return Lookup::Unknown };
        match entry.phase.state() {
            WorkerSlotState::Kept => Lookup::Inbox(InboxAddress {
                id: id_of(index),
                name: entry.name,
                presence: Presence(entry.phase),
            }),
            WorkerSlotState::Taken if self.slots.is_alive(index) => Lookup::NoInbox,
            WorkerSlotState::Taken | WorkerSlotState::Free => Lookup::Gone { pid: entry.pid },
        }
    }

    /// Describes a worker. `None` if it never joined, or another worker uses its slot.
    pub(crate) fn info(&self, who: &Address<'_>) -> Option<WorkerInfo> {
        let (index, entry) = self.slots.find(who)?;
        Some(self.describe(index, entry))
    }

    /// Describes all workers that are alive or away, in the order of their ids.
    pub(crate) fn list(&self) -> Vec<WorkerInfo> {
        let is_in_use = |entry: &SlotSnapshot| entry.phase.state() != WorkerSlotState::Free;
        let in_use = self.slots.read_all().filter(|(_, entry)| is_in_use(entry));
        let workers = in_use.map(|(index, entry)| self.describe(index, entry));
        workers.filter(|worker| worker.state != WorkerState::Gone).collect()
    }

    /// Marks this worker's slot as kept. Its inbox must be complete.
    pub(crate) fn keep(&self) -> Result<(), OpenError> {
        {
            let control = self.slots.lock()?;
            failpoint(Failpoint::KeepInbox);

            self.slots.change(&control, self.slot, |phase| phase.with_state(WorkerSlotState::Kept));
        }
        self.slots.notify();
        Ok(())
    }

    /// Makes the spare inbox the current one. The spare one must be complete, and the current one
    /// sealed. Senders find the new current inbox from now on.
    pub(crate) fn switch_inbox(&self) -> Result<(), OpenError> {
        let control = self.slots.lock()?;
        failpoint(Failpoint::InboxSwitch);
        self.slots.change(&control, self.slot, SlotPhase::with_other_inbox);
        Ok(())
    }

    /// Removes the spare inbox, if there is one: a predecessor that was killed, or an earlier call
    /// that failed, was about to replace the current one by it, or had replaced it.
    pub(crate) fn remove_spare_inbox(&self, worker: &str) -> Result<(), OpenError> {
        remove_spare(&self.cluster, worker, self.presence(self.id()).inbox_name().other())
    }

    /// Leaves: discards the inbox and frees the slot.
    pub(crate) fn leave(mut self) -> Result<(), OpenError> {
        {
            let control = self.slots.lock_unstopped()?;
            failpoint(Failpoint::LeavePhase);
            clear(&control, &self.slots, &self.cluster, self.slot, Ended::Left)?;
            reports::left(&self.cluster, &self.slots, self.slot, false);
            self.tidy(&control);
            self.slots.release();
        }
        self.slots.own = None;
        self.final_sweep = Some(FinalSweep::of(&self.cluster));
        self.slots.notify();
        Ok(())
    }

    /// Discards the inbox of a dead worker and frees its slot. Returns false if there is none.
    pub(crate) fn retire(&self, who: &Address<'_>) -> Result<bool, OpenError> {
        {
            let control = self.slots.lock_unstopped()?;
            let Some((index, entry)) = self.slots.find(who) else { return Ok(false) };
            if entry.phase.state() == WorkerSlotState::Free {
                return Ok(false);
            }
            if self.slots.is_alive(index) {
                return Err(OpenError::WorkerLives { name: entry.name, pid: entry.pid });
            }
            failpoint(Failpoint::LeavePhase);
            clear(&control, &self.slots, &self.cluster, index, Ended::Died)?;
            sweep(&self.cluster);
        }
        self.slots.notify();
        Ok(true)
    }

    fn describe(&self, index: usize, entry: SlotSnapshot) -> WorkerInfo {
        let is_alive = || self.slots.is_alive(index);
        let (entry, is_alive) = settled(entry, is_alive, || self.slots.read(index));
        let state = state_of(entry.phase.state(), is_alive);
        describe(index, entry, state)
    }

    /// Clears what dead processes left. This may be the last worker, so no other might do it.
    fn tidy(&self, control: &Control<'_>) {
        clear_dead(control, &self.slots, &self.cluster);
        sweep(&self.cluster);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.slots.own.is_none() || self.slots.is_inherited() {
            return;
        }
        let _hold = Hold::new();
        self.final_sweep = Some(FinalSweep::of(&self.cluster));
        let is_kept = self.slots.state(self.slot) == WorkerSlotState::Kept;
        reports::left(&self.cluster, &self.slots, self.slot, is_kept);
        let Some(control) = self.slots.lock_bounded() else {
            // The worker then counts as dead, and the next holder of the control lock clears it.
            self.slots.release();
            return sweep(&self.cluster);
        };
        if self.slots.state(self.slot) == WorkerSlotState::Kept {
            self.slots.change(&control, self.slot, |phase| phase.with_end(Ended::Left));
        } else {
            // On an error the slot stays taken, and other processes clear it.
            let _ = clear(&control, &self.slots, &self.cluster, self.slot, Ended::Left);
        }
        self.tidy(&control);
        self.slots.release();
        drop(control);
        self.slots.notify();
    }
}

/// Checks that the worker's name fits its slot, and the name of its inbox.
pub(crate) fn check_name(cluster: &Cluster, name: &str) -> Result<(), JoinError> {
    if name.len() > SlotInfo::LONGEST_NAME {
        let reason = "a worker's name has 64 bytes at most";
        return Err(JoinError::BadName { name: name.to_owned(), reason });
    }
    ClusterObject::Inbox(name, InboxName::First).name(cluster)?;
    Ok(())
}

/// Checks that the cluster has the requested id.
fn check_id(worker_slots: usize, request: &JoinRequest<'_>) -> Result<(), JoinError> {
    match request.id {
        Some(WorkerId(id)) if usize::from(id) >= worker_slots => {
            let last = worker_slots - 1;
            let reason = format!(
                "worker id out of range: {id}, highest {last}; choose another id or a larger max_workers"
            );
            Err(JoinError::Open(OpenError::BadSettings { reason }))
        }
        _ => Ok(()),
    }
}
