//! Removal of dead workers, of unused objects, and of whole clusters.
//!
//! - [`clear`] frees one worker slot: it discards the inbox first. Each part can be repeated, so a
//!   process that is killed in between leaves a slot that the next process clears.
//! - [`clear_dead`] clears the slot of every dead worker that is not kept.
//! - [`sweep`] removes objects to which only dead processes were attached.
//! - [`remove`] removes a cluster without living workers.
//! - A [`Caretaker`] removes what killed workers left, although no call of this process waits.
//! - [`with_space`] makes an object, and removes what killed processes left if there is no room.
//!
//! Lock order: the directory's control lock first, then the control lock of one other object. Each
//! wait for the second lock has a short limit.

use super::reports;
use super::slots::SlotTable;
use crate::channel::{Ring, RingBuilder, settle};
use crate::cluster::names::{Cluster, ClusterObject, InboxName, WorkerId};
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::{Ended, WorkerSlotState};
use crate::segment::name::Name;
use crate::segment::{Control, ExclusiveSegment, Segment};
use crate::sys::lock::LockLimit;
use crate::trace::Hold;
use crate::wait::{Deadline, wait_until};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest wait for an inbox's control lock while the directory's is held. Also the longest wait
/// for a process that is joining or leaving: it is attached to the directory without a slot.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);
/// Longest wait for each control lock when a whole cluster is removed.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two tries to remove a cluster. Also the first pause between two tries to make an
/// object; each pause is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest pause between two tries to make an object.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Longest time from a death until a sweep has freed the memory of the dead process: servers unmap
/// the call areas of dead callers twice a second, and the kernel closes the descriptors of a killed
/// process one after the other.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Clears the slot of every dead worker that is not kept. Returns true if there was one.
///
/// A slot that cannot be cleared now is left to the next process.
pub(super) fn clear_dead(control: &Control<'_>, slots: &SlotTable, cluster: &Cluster) -> bool {
    let is_dead =
        |index: &usize| slots.state(*index) == WorkerSlotState::Taken && !slots.is_alive(*index);
    let dead: Vec<usize> = (0..slots.count()).filter(is_dead).collect();
    let mut cleared = false;
    for index in dead {
        if clear(control, slots, cluster, index, Ended::Died).is_ok() {
            reports::died(cluster, slots, index);
            cleared = true;
        }
    }
    if cleared {
        slots.note_death();
        sweep(cluster);
    }
    cleared
}

/// Discards the inbox of a worker, then frees its slot.
pub(super) fn clear(
    control: &Control<'_>,
    slots: &SlotTable,
    cluster: &Cluster,
    index: usize,
    how: Ended,
) -> Result<(), OpenError> {
    // From here on the slot is not kept. If this process is killed now, other processes see a taken
    // slot with a dead worker and clear it.
    slots.change(control, index, |phase| phase.with_state(WorkerSlotState::Taken));
    let name = slots.read(index).map(|entry| entry.name);
    failpoint(Failpoint::LeaveInbox);
    discard_inboxes(cluster, &name.unwrap_or_default())?;
    failpoint(Failpoint::LeaveFree);
    slots.change(control, index, |phase| phase.with_end(how).with_state(WorkerSlotState::Free));
    Ok(())
}

/// Closes and removes the inboxes of this worker: the current one and the spare one, as far as they
/// exist. Under the directory's control lock.
pub(super) fn discard_inboxes(cluster: &Cluster, worker: &str) -> Result<(), OpenError> {
    InboxName::ALL
        .into_iter()
        .try_for_each(|inbox| remove_inbox(cluster, worker, inbox, Ring::discard))
}

/// Closes and removes a spare inbox, if there is one.
pub(super) fn remove_spare(
    cluster: &Cluster,
    worker: &str,
    inbox: InboxName,
) -> Result<(), OpenError> {
    remove_inbox(cluster, worker, inbox, Ring::supersede)
}

fn remove_inbox(
    cluster: &Cluster,
    worker: &str,
    inbox: InboxName,
    remove: fn(&Ring) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    // An invalid name is damage: no worker can have joined under it.
    let Ok(name) = ClusterObject::Inbox(worker, inbox).name(cluster) else { return Ok(()) };
    match RingBuilder::default().tagged_slots().open_timeout(SHORT_TIMEOUT).attach_named(&name) {
        // Its maker may have been killed before the inbox was complete: unlink what is there.
        Err(OpenError::NotFound { .. }) => {
            Segment::remove(&name, &LockLimit::timeout(SHORT_TIMEOUT)).map(drop)
        }
        // A file of another program: no inbox was ever opened there.
        Err(error) if is_foreign(&error) => Ok(()),
        inbox => remove(&inbox?),
    }
}

/// Removes every object of the cluster to which no living process is attached, unless it is kept.
/// Rings of replies need this, because no process opens their unique names again.
///
/// Any number of processes may sweep at a time. An object that cannot be checked now is left to the
/// next sweep. Costs one listing of `/dev/shm`, and one open and one lock check for each object.
pub(super) fn sweep(cluster: &Cluster) {
    for name in objects(cluster).unwrap_or_default() {
        let _ = Segment::clear_away(&name, settle);
    }
}

/// Makes an object. If `/dev/shm` has no room for it, calls `sweep` and tries again, until the
/// memory of processes that are dead now must be free.
pub(crate) fn with_space<T>(
    make: impl Fn() -> Result<T, OpenError>,
    sweep: impl Fn(),
) -> Result<T, OpenError> {
    let mut made = make();
    let mut pause = Duration::ZERO;
    let deadline = Deadline::after(RELEASE_TIMEOUT);
    wait_until(&mut made, deadline, decide, |made, deadline| {
        std::thread::sleep(deadline.cut(pause));
        pause = (pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        sweep();
        *made = make();
    });
    made
}

/// `None` if the object was not made because there is no room for it.
fn decide<T>(made: &mut Result<T, OpenError>) -> Option<()> {
    let lacks_space = matches!(made, Err(OpenError::NoSpace { .. } | OpenError::NoInodes { .. }));
    (!lacks_space).then_some(())
}

/// Sweeps once more when it is dropped, if the directory is gone: a process that was alive at the
/// last sweep may have been killed since. If the directory is still there, its workers will sweep.
#[derive(Debug)]
pub(super) struct FinalSweep {
    cluster: Cluster,
}

impl FinalSweep {
    pub(super) fn of(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone() }
    }
}

impl Drop for FinalSweep {
    fn drop(&mut self) {
        let Ok(directory) = self.cluster.directory() else { return };
        if Segment::exists(&directory).is_ok_and(|exists| !exists) {
            sweep(&self.cluster);
        }
    }
}

/// The names of all existing objects of a cluster, without its directory.
fn objects(cluster: &Cluster) -> Result<Vec<Name>, OpenError> {
    let directory = cluster.directory()?;
    let mut all = cluster.objects()?;
    all.retain(|name| *name != directory);
    Ok(all)
}

/// Removes a cluster without living workers. Returns false if there is none.
pub(crate) fn remove(cluster: &Cluster) -> Result<bool, OpenError> {
    let name = cluster.directory()?;
    let mut outcome = Ok(false);
    let try_now = |outcome: &mut Result<bool, OpenError>| {
        *outcome = try_remove(&name, cluster);
        let is_in_use = matches!(outcome, Err(OpenError::InUse { .. }));
        (!is_in_use).then_some(())
    };
    let deadline = Deadline::after(SHORT_TIMEOUT);
    wait_until(&mut outcome, deadline, try_now, |_, _| std::thread::sleep(PAUSE));
    outcome
}

/// One try to remove a cluster. [`InUse`](OpenError::InUse) may pass by: a process that joins or
/// leaves is attached for a moment without a worker slot.
fn try_remove(name: &Name, cluster: &Cluster) -> Result<bool, OpenError> {
    if cluster.objects()?.is_empty() {
        return Ok(false);
    }
    let outcome = match Segment::seize(name, REMOVE_TIMEOUT) {
        Ok(directory) => remove_all(Some(directory), cluster),
        // The cluster of another user, perhaps a shared one whose workers live. Without its mode
        // and group this call cannot tell.
        Err(error @ OpenError::OtherUser { .. }) => Err(error),
        // No process can join by it.
        Err(error) if is_foreign(&error) => remove_all(None, cluster)
            .and_then(|removed| if removed { Err(error) } else { Ok(false) }),
        Err(error) => Err(error),
    };
    if matches!(outcome, Err(OpenError::InUse { .. })) {
        refuse_living(name)?;
    }
    outcome
}

/// Removes all objects of a cluster, its directory last: a process that joins meanwhile waits for
/// the directory's control lock.
///
/// An object that is not of this library or of this user stays. The call that removes the others
/// reports it; a later call finds nothing to remove.
fn remove_all(
    directory: Option<ExclusiveSegment<'_>>,
    cluster: &Cluster,
) -> Result<bool, OpenError> {
    let (mut own, mut foreign) = (Vec::new(), None);
    // All or nothing: only workers of the cluster attach to these objects, and none can join now.
    for name in objects(cluster)? {
        match Segment::is_in_use(&name) {
            Ok(true) => return Err(OpenError::InUse { name: name.shown() }),
            Ok(false) => own.push(name),
            Err(error) if is_foreign(&error) => foreign = Some(error),
            Err(error) => return Err(error),
        }
    }
    let mut removed = false;
    for name in &own {
        match Segment::remove(name, &LockLimit::timeout(REMOVE_TIMEOUT)) {
            Ok(was_there) => removed |= was_there,
            Err(error) if is_foreign(&error) => foreign = Some(error),
            Err(error) => return Err(error),
        }
    }
    if let Some(directory) = directory {
        removed |= directory.remove()?;
    }
    match foreign {
        Some(error) if removed => Err(error),
        _ => Ok(removed),
    }
}

/// Returns true for the error of an object that another program or user made, and that this process
/// cannot remove.
fn is_foreign(error: &OpenError) -> bool {
    match error {
        OpenError::Foreign { .. } | OpenError::OtherUser { .. } => true,
        OpenError::System { source, .. } => matches!(
            source.raw_os_error(),
            Some(
                libc::EACCES
                    | libc::EPERM
                    | libc::ELOOP
                    | libc::EISDIR
                    | libc::ENXIO
                    | libc::ENODEV
            )
        ),
        _ => false,
    }
}

/// Fails with [`WorkerLives`](OpenError::WorkerLives) if a worker of the cluster lives.
fn refuse_living(directory: &Name) -> Result<(), OpenError> {
    let slots = match SlotTable::attach(directory, REMOVE_TIMEOUT) {
        Err(OpenError::NotFound { .. }) => return Ok(()),
        slots => slots?,
    };
    let living = (0..slots.count()).find(|&index| slots.is_alive(index));
    match living.and_then(|index| slots.read(index)) {
        Some(entry) => Err(OpenError::WorkerLives { name: entry.name, pid: entry.pid }),
        None => Ok(()),
    }
}

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
        let _hold = Hold::new();
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
