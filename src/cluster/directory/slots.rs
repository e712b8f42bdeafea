//! The worker slots of a directory: open, read, choose, occupy, change.
//!
//! Methods that write take the control lock as an argument. Readers need no lock: a slot is read
//! as of one instant.

use crate::channel::wake_both_sides;
#[cfg(feature = "async")]
use crate::channel::{RoomWait, find_in_task, in_task};
use crate::cluster::error::JoinError;
use crate::cluster::names::{Address, Cluster, WorkerId};
#[cfg(feature = "async")]
use crate::error::Failure;
use crate::error::{Detachment, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::{EntryId, SlotPhase, SlotSnapshot, WorkerSlotState};
use crate::segment::kept::KeptEventCount;
use crate::segment::layout::{EventCount, WorkerSlot};
use crate::segment::name::Name;
use crate::segment::settings::Settings;
use crate::segment::{Control, Segment, WorkerSlots};
use crate::sys::lock::LockLimit;
use crate::sys::machine;
#[cfg(feature = "handover")]
use crate::sys::shm;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Pace, Sleep, Subject, Wait, Waiter};
use std::io::ErrorKind::WouldBlock;
use std::time::Duration;
#[cfg(feature = "async")]
use std::time::Instant;

/// Worker slots of a cluster, unless its first worker chooses. Each slot costs every inbox three
/// publisher entries.
const DEFAULT_WORKER_SLOTS: usize = 128;

/// How a worker wants to join.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest<'a> {
    pub(crate) name: &'a str,
    /// Id to use if this name has none yet and the id is free. The cluster must have this id.
    pub(crate) id: Option<WorkerId>,
    /// As `id`, but ignored if the cluster does not have this id.
    pub(crate) hint: Option<WorkerId>,
    pub(crate) max_workers: Option<usize>,
    /// The limits of its waits, now and later.
    pub(crate) limit: LockLimit,
    /// How long to wait for a name that a living worker has.
    pub(crate) wait_for_name: Option<Duration>,
}

#[cfg(feature = "async")]
impl JoinRequest<'_> {
    /// This request with waits for the control lock that are one try.
    pub(super) fn with_one_try(&self) -> Self {
        let limit = LockLimit { timeout: Some(Duration::ZERO), ..self.limit.clone() };
        Self { limit, ..self.clone() }
    }
}

/// Tries in a task until no other process holds the control lock, or until the limit.
#[cfg(feature = "async")]
pub(super) async fn try_in_task<R>(
    limit: &LockLimit,
    mut attempt: impl FnMut() -> Result<R, JoinError>,
) -> Result<R, JoinError> {
    let mut clock = RoomWait::new(limit.stop.as_ref());
    let mut since = None;
    in_task(&mut clock, cannot_wait, |clock| {
        clock.begin(None);
        match attempt() {
            Err(JoinError::Open(OpenError::Busy { .. }))
                if !limit.has_passed(*since.get_or_insert_with(Instant::now)) =>
            {
                Err(Failure::NotReady(()))
            }
            outcome => outcome.map_err(Failure::Error),
        }
    })
    .await
}

#[cfg(feature = "async")]
fn cannot_wait(source: std::io::Error) -> JoinError {
    JoinError::Open(OpenError::system("wait in a task for", "a cluster", source))
}

/// An attachment to the directory of a cluster.
#[derive(Debug)]
pub(super) struct SlotTable {
    segment: Segment,
    worker_slots: WorkerSlots,
    /// The slot whose liveness lock this attachment holds.
    pub(super) own: Option<usize>,
}

impl SlotTable {
    /// Opens the directory of a cluster, or creates it.
    pub(super) fn open(cluster: &Cluster, request: &JoinRequest<'_>) -> Result<Self, OpenError> {
        if request.max_workers == Some(0) {
            let reason = "max_workers 0 is not from 1 to 1024".to_owned();
            return Err(OpenError::BadSettings { reason });
        }
        let settings = Settings {
            capacity: 1024,
            max_publishers: 1,
            max_subscribers: 1,
            stays_open: true,
            worker_slots: request.max_workers.unwrap_or(DEFAULT_WORKER_SLOTS),
            ..Settings::default()
        };
        let name = cluster.directory()?;
        let slots = Self::of(Segment::open(&name, &settings, &request.limit)?);
        let found = slots.count();
        if found == 0 || request.max_workers.is_some_and(|expected| expected != found) {
            return Err(OpenError::SettingsMismatch {
                name: name.shown(),
                setting: "max_workers",
                expected: settings.worker_slots.to_string(),
                found: found.to_string(),
            });
        }
        Ok(slots)
    }

    /// Attaches to an existing directory.
    pub(super) fn attach(name: &Name, timeout: Duration) -> Result<Self, OpenError> {
        Segment::attach(name, &LockLimit::timeout(timeout)).map(Self::of)
    }

    /// Another attachment to the same directory.
    pub(super) fn another(&self) -> Result<Self, OpenError> {
        self.segment.another().map(Self::of)
    }

    fn of(segment: Segment) -> Self {
        let worker_slots = segment.worker_slots();
        Self { segment, worker_slots, own: None }
    }

    // ── Control lock ──

    /// Takes the control lock: see [`Segment::lock`].
    pub(super) fn lock(&self) -> Result<Control<'_>, OpenError> {
        self.segment.lock()
    }

    /// Takes the control lock to leave: see [`Segment::lock_unstopped`].
    pub(super) fn lock_unstopped(&self) -> Result<Control<'_>, OpenError> {
        self.segment.lock_unstopped()
    }

    /// Takes the control lock if it is free.
    pub(super) fn try_lock(&self) -> Option<Control<'_>> {
        self.segment.try_lock()
    }

    /// Takes the control lock if it is free within a tenth of a second.
    pub(super) fn lock_bounded(&self) -> Option<Control<'_>> {
        self.segment.lock_bounded()
    }

    // ── Reading ──

    /// The file of the directory, and a random number that no other directory has.
    #[cfg(feature = "handover")]
    pub(super) fn identity(&self) -> Result<(shm::Object, u64), OpenError> {
        Ok((self.segment.measure()?, self.segment.memory().salt(0)))
    }

    /// Number of slots.
    pub(super) fn count(&self) -> usize {
        self.segment.settings().worker_slots
    }

    /// The phase of a slot. A slot that does not exist counts as never used.
    #[inline]
    pub(super) fn phase(&self, index: usize) -> SlotPhase {
        self.worker_slots.all().get(index).map_or(SlotPhase(0), SlotPhase::of)
    }

    /// The state of a slot.
    pub(super) fn state(&self, index: usize) -> WorkerSlotState {
        self.phase(index).state()
    }

    /// Reads a slot as of one instant; `None` if it does not exist.
    pub(super) fn read(&self, index: usize) -> Option<SlotSnapshot> {
        self.worker_slots.all().get(index).map(WorkerSlot::read)
    }

    /// Reads all slots, each as of one instant.
    pub(super) fn read_all(&self) -> impl Iterator<Item = (usize, SlotSnapshot)> {
        self.worker_slots.all().iter().map(WorkerSlot::read).enumerate()
    }

    /// The slot of a worker that is or was there. If several slots have its name, the slot in use.
    pub(super) fn find(&self, who: &Address<'_>) -> Option<(usize, SlotSnapshot)> {
        match *who {
            Address::Id(WorkerId(id)) => {
                let index = usize::from(id);
                self.read(index).filter(was_used).map(|entry| (index, entry))
            }
            Address::Name(name) => {
                let named = |entry: &SlotSnapshot| entry.name == name && was_used(entry);
                let all = self.read_all().filter(|(_, entry)| named(entry));
                all.max_by_key(|(_, entry)| !is_free(entry))
            }
        }
    }

    /// Returns true if the worker of a slot lives. Costs a system call, except for the own slot.
    pub(super) fn is_alive(&self, index: usize) -> bool {
        self.segment.is_alive(EntryId::WorkerSlot(index))
    }

    /// Returns true if any worker lives.
    pub(super) fn has_living(&self) -> bool {
        (0..self.count())
            .any(|index| self.state(index) != WorkerSlotState::Free && self.is_alive(index))
    }

    /// Why no worker can join through this directory any more; `None` if one can.
    pub(super) fn detachment(&self) -> Option<Detachment> {
        self.segment.detachment()
    }

    // ── Changing ──

    /// Returns the slot that a worker gets, in this order:
    ///
    /// 1. the slot in use under its name, unless that worker lives;
    /// 2. a free slot that had its name before;
    /// 3. the slot of the requested id, if it is free;
    /// 4. the first slot that was never used;
    /// 5. the first free slot.
    pub(super) fn choose(
        &self,
        _control: &Control<'_>,
        request: &JoinRequest<'_>,
    ) -> Result<usize, JoinError> {
        let all: Vec<SlotSnapshot> = self.read_all().map(|(_, entry)| entry).collect();
        let is_own = |entry: &SlotSnapshot| entry.name == request.name;
        if let Some(index) = all.iter().position(|entry| is_own(entry) && !is_free(entry)) {
            if self.is_alive(index) {
                let (name, pid) = (request.name.to_owned(), all[index].pid);
                return Err(JoinError::NameTaken { name, pid, variables: None });
            }
            return Ok(index);
        }
        let first = |fits: &dyn Fn(&SlotSnapshot) -> bool| {
            all.iter().position(|entry| is_free(entry) && fits(entry))
        };
        let requested = request.id.or(request.hint).map(|id| usize::from(id.0));
        first(&|entry| is_own(entry) && was_used(entry))
            .or_else(|| requested.filter(|id| all.get(*id).is_some_and(is_free)))
            .or_else(|| first(&|entry| !was_used(entry)))
            .or_else(|| first(&|_| true))
            .ok_or(JoinError::Full { limit: all.len() })
    }

    /// Takes a slot that is free, or whose worker is dead or away. The caller then sets
    /// [`own`](Self::own).
    pub(super) fn occupy(
        &self,
        control: &Control<'_>,
        index: usize,
        name: &str,
    ) -> Result<(), OpenError> {
        if self.segment.lock_entry(EntryId::WorkerSlot(index))?.is_none() {
            // The slot has no living worker, so its lock belongs to a process that does not follow
            // the protocol.
            return Err(OpenError::system("lock a slot of", self.segment.name(), WouldBlock));
        }
        failpoint(Failpoint::WorkerSlotName);
        let slot = &self.worker_slots.all()[index];
        slot.info.write(name, std::process::id(), machine::monotonic());
        let phase = SlotPhase::of(slot);
        let state = match phase.state() {
            WorkerSlotState::Kept => WorkerSlotState::Kept,
            WorkerSlotState::Free | WorkerSlotState::Taken => WorkerSlotState::Taken,
        };
        failpoint(Failpoint::WorkerSlotPhase);
        phase.next(state).set(slot);
        self.segment.note_keeps(control);
        Ok(())
    }

    /// Changes the phase of a slot.
    pub(super) fn change(
        &self,
        control: &Control<'_>,
        index: usize,
        change: impl FnOnce(SlotPhase) -> SlotPhase,
    ) {
        let slot = &self.worker_slots.all()[index];
        // First: a process that is killed here leaves a segment that may be kept for nothing.
        self.segment.note_may_keep(control);
        change(SlotPhase::of(slot)).set(slot);
        self.segment.note_keeps(control);
    }

    /// Releases the liveness lock of the own slot.
    pub(super) fn release(&self) {
        if let Some(index) = self.own {
            self.segment.release_liveness(EntryId::WorkerSlot(index));
        }
    }

    /// Records that a dead worker was found.
    pub(super) fn note_death(&self) {
        self.segment.note_death();
    }

    // ── Event count and fork ──

    /// Waits until no living worker has a name. A bounded wait: the caller looks again.
    pub(super) fn wait_for_name(&self, name: &str, deadline: Deadline, pace: &mut Pace) {
        let is_free = || self.is_name_free(name);
        // A worker that leaves notifies; the death of one is noticed after the sleep.
        let waiter = Waiter::new(Wait::park(), Sleep::Futex).with_stop(self.stop());
        pace.pause(Subject { id: 0, is_pending: false }, deadline, |bound| {
            waiter.park(self.event_count(), bound, is_free)
        });
    }

    /// As [`wait_for_name`](Self::wait_for_name), in a task.
    #[cfg(feature = "async")]
    pub(super) async fn wait_for_name_in_task(
        &self,
        name: &str,
        deadline: Deadline,
    ) -> Result<(), JoinError> {
        let find = || self.is_name_free(name).then_some(());
        let ends = (self.stop(), deadline);
        let found = find_in_task(self.kept_event_count(), ends, find).await;
        found.map(|_| ()).map_err(cannot_wait)
    }

    /// Returns true if no living worker has this name.
    fn is_name_free(&self, name: &str) -> bool {
        self.find(&Address::Name(name))
            .is_none_or(|(index, entry)| is_free(&entry) || !self.is_alive(index))
    }

    /// Ends each later wait for the control lock after this time.
    #[cfg(feature = "async")]
    pub(super) fn set_lock_timeout(&mut self, timeout: Option<Duration>) {
        self.segment.set_lock_timeout(timeout);
    }

    /// The stop that ends the waits of this attachment.
    pub(super) fn stop(&self) -> Option<&Stop> {
        self.segment.stop()
    }

    /// The event count that is notified after each change of a slot.
    pub(super) fn event_count(&self) -> &EventCount {
        &self.segment.memory().head().readers.event_count
    }

    /// As [`event_count`](Self::event_count), with its memory.
    pub(super) fn kept_event_count(&self) -> KeptEventCount {
        self.segment.memory().readers_event_count()
    }

    /// Wakes all threads that wait for a change. Call it after releasing the control lock.
    pub(super) fn notify(&self) {
        wake_both_sides(&self.segment);
    }

    /// Returns true in a forked child, which has no slot.
    pub(super) fn is_inherited(&self) -> bool {
        self.segment.is_inherited()
    }

    /// Fails if no worker can join through this directory any more.
    pub(super) fn refuse_detached(&self) -> Result<(), OpenError> {
        let name = || self.segment.shown_name();
        self.detachment().map_or(Ok(()), |cause| Err(OpenError::Detached { name: name(), cause }))
    }

    /// Fails in a forked child.
    pub(super) fn refuse_inherited(&self) -> Result<(), OpenError> {
        self.segment.refuse_inherited()
    }
}

fn is_free(entry: &SlotSnapshot) -> bool {
    entry.phase.state() == WorkerSlotState::Free
}

fn was_used(entry: &SlotSnapshot) -> bool {
    entry.phase.generation() > 0
}
