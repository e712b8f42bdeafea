//! Watches: reports of joins, leaves and deaths.
//!
//! A watch keeps its copy of every slot's phase and reports the difference. Every change of a slot
//! notifies the directory's event count. A death notifies nothing. So after each bounded sleep a
//! watch checks the liveness locks of the workers that it counts as alive, and clears the dead.
//!
//! Guarantee: each reported join is followed by exactly one report that the worker left or died.
//! Limit: a worker that joins and ends between two checks of the watch is not reported.

use super::info::{WorkerChange, WorkerInfo, WorkerState, describe};
use super::reports;
use super::slots::SlotTable;
use super::sweep::clear_dead;
use crate::channel::{
    EventCount, KeptEventCount, RecvError, RecvFailure, RecvTimeoutError, Selectable, Selectee,
    TryRecvError, Waitable, async_verb, rearm, verb,
};
use crate::cluster::names::Cluster;
use crate::error::{Detachment, Form};
use crate::segment::entry::{Ended, SlotPhase, SlotSnapshot, WorkerSlotState};
use crate::sys::stop::Stop;
use crate::wait::{
    Deadline, IDLE, Listener, Pace, Sleep, Subject, Timeout, Wait, Waiter, wait_until,
};
use std::collections::VecDeque;
use std::fmt;

/// Reports workers that join, leave and die, from its creation on. [`Worker::watch`] returns it.
///
/// [`Worker::workers`] lists the workers that are there already. The watch also reports the worker
/// that it was made from.
///
/// # When a worker dies
///
/// A death is reported within a quarter of the time waited, at least 2 and at most 250 ms. It is
/// reported only while a call of this watch waits or polls. A worker whose name joined again
/// meanwhile is reported as died, then as joined.
///
/// ```
/// # let cluster = format!("watch-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::WorkerChange;
///
/// let first = Worker::join(&cluster, "first")?;
/// let mut watch = first.watch()?;
/// let second = Worker::join(&cluster, "second")?;
/// assert!(matches!(watch.recv()?, WorkerChange::Joined(info) if info.name == "second"));
/// drop(second);
/// assert!(matches!(watch.recv()?, WorkerChange::Left(info) if info.name == "second"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Worker::watch`]: crate::Worker::watch
/// [`Worker::workers`]: crate::Worker::workers
pub struct Watch {
    cluster: Cluster,
    known: Vec<KnownSlot>,
    /// Changes that were noticed and are not reported yet.
    changes: VecDeque<WorkerChange>,
    waiter: Waiter,
    /// When to check the liveness locks during a wait.
    pace: Pace,
    /// When a caller that never sleeps must check the liveness locks again.
    check_locks_at: Deadline,
    /// Why no worker can join any more, as found when the locks were asked last.
    detachment: Option<Detachment>,
    /// For event loops.
    listener: Option<Box<Listener>>,
    /// Changes that were reported.
    reported: u64,
    slots: SlotTable,
}

/// The state of one slot at the last check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownSlot {
    phase: SlotPhase,
    /// The worker, if its join was reported and its end was not.
    alive: Option<SlotSnapshot>,
}

/// How much of each slot to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Compare the phases: a load for each slot.
    Phases,
    /// Check the liveness locks of known workers, too: a system call for each.
    Locks,
}

impl Watch {
    /// Starts from the present state of a directory.
    pub(super) fn new(slots: SlotTable, cluster: &Cluster) -> Self {
        let mut watch = Self {
            cluster: cluster.clone(),
            known: vec![KnownSlot { phase: SlotPhase(0), alive: None }; slots.count()],
            changes: VecDeque::new(),
            waiter: Waiter::new(Wait::park(), Sleep::Futex).with_stop(slots.stop()),
            pace: Pace::new(),
            check_locks_at: Deadline::after(IDLE),
            detachment: None,
            listener: None,
            reported: 0,
            slots,
        };
        watch.look(Depth::Locks);
        watch.changes.clear();
        watch
    }

    verb! {
        /// Returns the next change. Waits for one.
        ///
        /// # Errors
        ///
        /// [`Detached`](RecvError::Detached) if all changes were reported, and no worker can join
        /// the cluster any more.
        recv, try_recv, recv_timeout = receive() -> WorkerChange;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    async_verb! {
        recv_async = recv() -> WorkerChange; RecvError { wait }
    }

    /// Sets what ends the waits of this watch.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.waiter.set_stop(Some(stop));
        if let Some(listener) = &self.listener {
            listener.set_stop(stop);
        }
    }

    fn receive<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<WorkerChange, F> {
        F::retry(|| self.wait(timeout))
    }

    fn wait(&mut self, timeout: Timeout) -> Result<WorkerChange, RecvFailure> {
        let look = |watch: &mut Self| match watch.next() {
            Some(change) => Some(Ok(change)),
            None if watch.waiter.is_stopped() => Some(Err(RecvError::Stopped.into())),
            None => watch.detachment.map(|cause| Err(RecvError::Detached(cause).into())),
        };
        let found = wait_until(self, timeout.deadline(), look, |watch, deadline| {
            watch.pace.begin(Subject { id: 0, is_pending: false });
            let bound = watch.pace.sleep(deadline);
            watch.waiter.park(watch.slots.event_count(), bound, || watch.is_changed());
            let is_due = watch.pace.is_due();
            watch.look(if is_due { Depth::Locks } else { Depth::Phases });
        });
        if found.is_some() {
            self.pace.end();
        }
        found.unwrap_or_else(|| {
            rearm(self);
            Err(RecvFailure::NotReady(()))
        })
    }

    /// Returns the next change if there is one now. Does not sleep.
    fn next(&mut self) -> Option<WorkerChange> {
        self.look_if_idle();
        let change = self.changes.pop_front();
        // The process that clears a dead worker reports it. This one stays.
        if let Some(WorkerChange::Died(info)) = &change
            && info.state == WorkerState::Away
        {
            reports::died(&self.cluster, &self.slots, usize::from(info.id.0));
        }
        self.reported += u64::from(change.is_some());
        change
    }

    /// Checks for changes, unless there are some to report. Checks the locks only every 50 ms,
    /// which is how a caller that never sleeps notices deaths.
    fn look_if_idle(&mut self) {
        if self.changes.is_empty() {
            let is_due = self.check_locks_at.has_passed();
            self.look(if is_due { Depth::Locks } else { Depth::Phases });
        }
    }

    /// Returns true if a phase has changed since the last check.
    fn is_changed(&self) -> bool {
        let mut known = self.known.iter().enumerate();
        known.any(|(index, known)| self.slots.phase(index) != known.phase)
    }

    fn look(&mut self, depth: Depth) {
        let mut found_dead = false;
        for (index, known) in self.known.iter_mut().enumerate() {
            let phase = self.slots.phase(index);
            let must_ask = depth == Depth::Locks && known.alive.is_some();
            if phase == known.phase && !must_ask {
                continue;
            }
            let (is_alive, read) = (|| self.slots.is_alive(index), || self.slots.read(index));
            let Some((entry, is_alive)) = read_slot(phase, is_alive, read) else { continue };
            found_dead |= !is_alive && entry.phase.state() == WorkerSlotState::Taken;
            known.update(index, entry, is_alive, &mut self.changes);
        }
        if depth == Depth::Locks {
            self.check_locks_at = Deadline::after(IDLE);
            self.detachment = self.slots.detachment();
        }
        if found_dead {
            self.clear_dead();
        }
    }

    /// Clears dead workers, unless another process holds the control lock.
    fn clear_dead(&self) {
        let cleared = {
            let Some(control) = self.slots.try_lock() else { return };
            clear_dead(&control, &self.slots, &self.cluster)
        };
        if cleared {
            self.slots.notify();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cluster", &self.cluster.name).finish_non_exhaustive()
    }
}

impl Waitable for Watch {
    fn has_next(&mut self) -> bool {
        self.look_if_idle();
        !self.changes.is_empty() || self.detachment.is_some()
    }

    fn is_ready(&self) -> bool {
        !self.changes.is_empty() || self.detachment.is_some() || self.is_changed()
    }

    fn event_count(&self) -> Option<&EventCount> {
        Some(self.slots.event_count())
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        vec![self.slots.kept_event_count()]
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.listener)
    }

    fn place(&self) -> u64 {
        self.reported
    }

    fn stop(&self) -> Option<&Stop> {
        self.waiter.stop()
    }

    fn check_liveness(&mut self, _is_long: bool) {
        self.look(Depth::Locks);
    }
}

impl Selectable for Watch {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}

/// Reads a slot that had this phase, and whether its worker lives. `None` if the slot changed
/// between the two reads: the next check sees the new owner.
fn read_slot(
    phase: SlotPhase,
    is_alive: impl FnOnce() -> bool,
    read: impl FnOnce() -> Option<SlotSnapshot>,
) -> Option<(SlotSnapshot, bool)> {
    let is_alive = phase.state() != WorkerSlotState::Free && is_alive();
    // After the lock: a worker that leaves stores the phase before it releases the lock.
    let entry = read()?;
    (entry.phase == phase).then_some((entry, is_alive))
}

impl KnownSlot {
    /// Reports the difference between the known and the present slot, then remembers the latter.
    fn update(
        &mut self,
        index: usize,
        entry: SlotSnapshot,
        is_alive: bool,
        changes: &mut VecDeque<WorkerChange>,
    ) {
        let (before, now) = (self.phase, entry.phase);
        let is_there = is_alive && now.state() != WorkerSlotState::Free && now.ended().is_none();
        let is_other = now.generation() != before.generation();
        if let Some(gone) = self.alive.take_if(|_| is_other || !is_there) {
            let how = match now.generation() - before.generation().min(now.generation()) {
                0 => now.ended(),
                1 => now.ended_before(),
                // Later workers used the slot since. The phase does not record how this one ended.
                _ => None,
            };
            let state = match now.state() {
                WorkerSlotState::Kept => WorkerState::Away,
                WorkerSlotState::Free | WorkerSlotState::Taken => WorkerState::Gone,
            };
            let has_died = state == WorkerState::Gone && how != Some(Ended::Left);
            // What is remembered of the worker is its phase while it lived.
            let info = WorkerInfo { has_died, ..describe(index, gone, state) };
            changes.push_back(ended(how, info));
        }
        if is_there && is_other {
            let info = describe(index, entry.clone(), WorkerState::Alive);
            changes.push_back(WorkerChange::Joined(info));
            self.alive = Some(entry);
        }
        self.phase = now;
    }
}

/// The report of a worker that ended. A worker without a recorded end died.
fn ended(how: Option<Ended>, info: WorkerInfo) -> WorkerChange {
    match how {
        Some(Ended::Left) => WorkerChange::Left(info),
        Some(Ended::Died) | None => WorkerChange::Died(info),
    }
}

#[cfg(test)]
mod tests;
