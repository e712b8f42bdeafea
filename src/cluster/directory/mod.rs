//! A cluster's directory: who is in it, and where they sit.
//!
//! A worker sits at a desk, whose first byte it holds locked; its id is the desk's index. Who holds
//! the directory's control lock, and nobody else, writes desks:
//!
//! ```text
//!  state   lock   the worker is                  what happens to it
//!  free    –      absent; its name stays          reused
//!  taken   held   living, without inbox
//!  taken   free   dead, not expected back         cleared away by whoever holds the control lock
//!  kept    held   living, with inbox
//!  kept    free   away: dead or dropped           joined again by its name, or retired
//! ```
//!
//! Each of its steps may be the last of its process: a desk that is taken and whose lock is free is
//! cleared away, inbox first, and each part of that can be done again.

mod watch;

pub use watch::Watch;

use super::error::JoinError;
use super::names::{self, Address, Object, WorkerId};
use crate::channel::{RingBuilder, wake_both_sides};
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::{Ended, Entry, EntryId, SlotPhase, WorkerSlotState};
use crate::segment::layout::{EventCount, SlotInfo, WorkerSlot};
use crate::segment::name::Name;
use crate::segment::settings::Settings;
use crate::segment::view::RingMemory;
use crate::segment::{Control, ExclusiveSegment, Liveness, Segment, WorkerSlots};
use crate::sys::clock;
use crate::wait::Deadline;
use std::io::ErrorKind::WouldBlock;
use std::time::Duration;

/// Desks of a cluster whose maker does not choose: each costs every inbox three entries.
pub(super) const WORKER_SLOTS: usize = 128;
/// How long clearing an inbox away waits for its control lock, while the directory's is held.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long removing a whole cluster waits for each control lock.
const LONG_PATIENCE: Duration = Duration::from_secs(1);

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
    /// How long ago it joined. Of one that is dead, too: when it died is not known.
    pub uptime: Duration,
    /// Counts those who sat at this desk: another one after a restart.
    pub generation: u64,
    /// Whether it lives.
    pub state: WorkerState,
    /// Whether it has an inbox, in which its letters wait, alive or [away](WorkerState::Away).
    pub has_inbox: bool,
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

/// As what a worker wants to join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    /// One of the cluster's ids: if it was not there before, and this one is free.
    pub(crate) id: Option<WorkerId>,
    /// The same, where the cluster has so many.
    pub(crate) hint: Option<WorkerId>,
    pub(crate) max_workers: Option<usize>,
    pub(crate) join_timeout: Option<Duration>,
}

/// A worker's place in its cluster's directory. Dropping it gives the place up, or keeps it for the
/// successor, if there is an inbox.
#[derive(Debug)]
pub(crate) struct Directory {
    cluster: String,
    slot: usize,
    /// Until it left.
    is_seated: bool,
    memory: RingMemory,
    worker_slots: WorkerSlots,
    segment: Segment,
    /// Behind the segment: when it has been let go of.
    last_look: Option<LastLook>,
}

/// Once its worker has let go of the directory, and that went with it: somebody who was still attached
/// to an object at the worker's last sweep may have been killed since.
#[derive(Debug)]
struct LastLook {
    cluster: String,
}

impl Directory {
    /// Joins a cluster, making it if it is not there.
    pub(crate) fn join(cluster: &str, wanted: &Wanted<'_>) -> Result<Self, JoinError> {
        check_name(cluster, wanted.name)?;
        let segment = open(cluster, wanted)?;
        check_id(&segment, wanted)?;
        let slot = {
            let control = segment.lock().map_err(JoinError::Open)?;
            reap(&control, &segment, cluster, None);
            // What a whole cluster left behind that was killed. Those that are there sweep when they find
            // others dead, and when they leave; a sweep takes longer the more they are.
            if !is_anyone_there(&segment) {
                sweep(cluster);
            }
            let slot = choose(&segment, cluster, wanted)?;
            sit_down(&control, &segment, slot, wanted.name).map_err(JoinError::Open)?;
            slot
        };
        wake_both_sides(&segment);
        let (memory, worker_slots) = (segment.memory().clone(), segment.worker_slots());
        let cluster = cluster.to_owned();
        Ok(Self { cluster, slot, is_seated: true, memory, worker_slots, segment, last_look: None })
    }

    /// This worker's number.
    pub(crate) fn id(&self) -> WorkerId {
        id_of(self.slot)
    }

    /// Which of those who had this number one after the other this worker is.
    pub(crate) fn generation(&self) -> u64 {
        self.phase(self.id()).generation()
    }

    /// An error in a child that was forked: it has no desk.
    pub(crate) fn refuse_inherited(&self) -> Result<(), OpenError> {
        self.segment.refuse_inherited()
    }

    /// How many desks there are.
    pub(crate) fn worker_slots(&self) -> usize {
        self.segment.settings().worker_slots
    }

    /// Another attachment, for who watches.
    pub(super) fn attach(&self) -> Result<Segment, OpenError> {
        self.segment.another()
    }

    /// Where those sleep who wait for a change.
    pub(super) fn event_count(&self) -> &EventCount {
        &self.memory.head().readers.event_count
    }

    /// How a desk stands; one that there is not is free.
    #[inline]
    pub(crate) fn phase(&self, id: WorkerId) -> SlotPhase {
        self.worker_slots.all().get(usize::from(id.0)).map_or(SlotPhase(0), SlotPhase::of)
    }

    /// Where a worker's letters go.
    pub(crate) fn find(&self, who: &Address<'_>) -> Found {
        let Some((index, entry)) = self.entry(who) else { return Found::Unknown };
        match entry.phase.state() {
            WorkerSlotState::Kept => {
                Found::Kept { id: id_of(index), generation: entry.phase.generation() }
            }
            WorkerSlotState::Taken if self.is_alive(index) => Found::NoInbox(id_of(index)),
            WorkerSlotState::Taken | WorkerSlotState::Free => Found::Gone { pid: entry.pid },
        }
    }

    /// What is known of a worker; `None`: it never was there.
    pub(crate) fn info(&self, who: &Address<'_>) -> Option<WorkerInfo> {
        let (index, entry) = self.entry(who)?;
        Some(self.describe(index, entry))
    }

    /// All that live or are expected back, by their numbers.
    pub(crate) fn list(&self) -> Vec<WorkerInfo> {
        let read = |worker_slots: &[WorkerSlot]| {
            worker_slots.iter().map(WorkerSlot::read).enumerate().collect::<Vec<_>>()
        };
        let all = self.segment.with_worker_slots(read).into_iter();
        let taken = all.filter(|(_, entry)| entry.phase.state() != WorkerSlotState::Free);
        let known = taken.map(|(index, entry)| self.describe(index, entry));
        known.filter(|worker| worker.state != WorkerState::Gone).collect()
    }

    /// From here on this worker is expected back when it dies. Its inbox is there.
    pub(crate) fn keep(&self) -> Result<(), OpenError> {
        {
            let _control = self.segment.lock()?;
            failpoint(Failpoint::KeepInbox);
            self.change(self.slot, |phase| phase.with_state(WorkerSlotState::Kept));
        }
        wake_both_sides(&self.segment);
        Ok(())
    }

    /// Gives name and inbox up.
    pub(crate) fn leave(mut self) -> Result<(), OpenError> {
        {
            let control = self.segment.lock()?;
            failpoint(Failpoint::LeavePhase);
            clear(&control, &self.segment, &self.cluster, self.slot, Ended::Left)?;
            self.tidy(&control);
            self.segment.release_liveness(EntryId::WorkerSlot(self.slot));
        }
        self.is_seated = false;
        self.last_look = Some(LastLook { cluster: self.cluster.clone() });
        wake_both_sides(&self.segment);
        Ok(())
    }

    /// Clears a worker away that is dead; `false`: there is none.
    pub(crate) fn retire(&self, who: &Address<'_>) -> Result<bool, OpenError> {
        {
            let control = self.segment.lock()?;
            let Some((index, entry)) = self.entry(who) else { return Ok(false) };
            if entry.phase.state() == WorkerSlotState::Free {
                return Ok(false);
            }
            if self.is_alive(index) {
                return Err(OpenError::WorkerLives { name: entry.name, pid: entry.pid });
            }
            failpoint(Failpoint::LeavePhase);
            clear(&control, &self.segment, &self.cluster, index, Ended::Died)?;
            sweep(&self.cluster);
        }
        wake_both_sides(&self.segment);
        Ok(true)
    }

    /// Whether a worker lives. Never asked of itself through its own lock.
    fn is_alive(&self, index: usize) -> bool {
        index == self.slot && self.is_seated || self.segment.is_alive(EntryId::WorkerSlot(index))
    }

    /// The desk of a worker that is or was there: of several of a name, the one that is in use.
    fn entry(&self, who: &Address<'_>) -> Option<(usize, Entry)> {
        let was_there = |entry: &Entry| entry.phase.generation() > 0;
        self.segment.with_worker_slots(|worker_slots| match *who {
            Address::Id(WorkerId(id)) => {
                let entry = worker_slots.get(usize::from(id))?.read();
                was_there(&entry).then_some((usize::from(id), entry))
            }
            Address::Name(name) => {
                let all = worker_slots.iter().map(WorkerSlot::read).enumerate();
                let named = all.filter(|(_, entry)| entry.name == name && was_there(entry));
                named.max_by_key(|(_, entry)| entry.phase.state() != WorkerSlotState::Free)
            }
        })
    }

    fn describe(&self, index: usize, entry: Entry) -> WorkerInfo {
        let state = match entry.phase.state() {
            WorkerSlotState::Free => WorkerState::Gone,
            WorkerSlotState::Taken | WorkerSlotState::Kept if self.is_alive(index) => {
                WorkerState::Alive
            }
            WorkerSlotState::Kept => WorkerState::Away,
            WorkerSlotState::Taken => WorkerState::Gone,
        };
        describe(index, entry, state)
    }

    /// Clears away what the dead left: after this worker, nobody may come who does.
    fn tidy(&self, control: &Control<'_>) {
        reap(control, &self.segment, &self.cluster, Some(self.slot));
        sweep(&self.cluster);
    }

    /// Changes a desk. Under the control lock.
    fn change(&self, index: usize, change: impl FnOnce(SlotPhase) -> SlotPhase) {
        set(&self.segment, index, change);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.is_seated || self.segment.is_inherited() {
            return;
        }
        self.last_look = Some(LastLook { cluster: self.cluster.clone() });
        let member = EntryId::WorkerSlot(self.slot);
        let Some(control) = self.segment.lock_bounded() else {
            // It counts as died, and whoever comes to the control lock clears it away.
            self.segment.release_liveness(member);
            return sweep(&self.cluster);
        };
        if self.phase(self.id()).state() == WorkerSlotState::Kept {
            self.change(self.slot, |phase| phase.with_end(Ended::Left));
        } else {
            // What cannot be cleared away is left to others.
            let _ = clear(&control, &self.segment, &self.cluster, self.slot, Ended::Left);
        }
        self.tidy(&control);
        self.segment.release_liveness(member);
        drop(control);
        wake_both_sides(&self.segment);
    }
}

impl Drop for LastLook {
    fn drop(&mut self) {
        let Ok(directory) = names::directory(&self.cluster) else { return };
        // Otherwise it is for those who are there.
        if Name::all_of_cluster(&self.cluster).is_ok_and(|all| !all.contains(&directory)) {
            sweep(&self.cluster);
        }
    }
}

/// What people are told of a worker.
pub(super) fn describe(index: usize, entry: Entry, state: WorkerState) -> WorkerInfo {
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

/// Whether a worker lives.
fn is_anyone_there(segment: &Segment) -> bool {
    let is_taken = |index: &usize| {
        segment.with_worker_slots(|worker_slots| SlotPhase::of(&worker_slots[*index]).state())
            != WorkerSlotState::Free
    };
    let mut taken = (0..segment.settings().worker_slots).filter(is_taken);
    taken.any(|index| segment.is_alive(EntryId::WorkerSlot(index)))
}

/// Clears those away that are dead and not expected back. `own`: the desk of the caller's own lock.
/// Under the control lock. `true`: there were some.
pub(super) fn reap(
    control: &Control<'_>,
    segment: &Segment,
    cluster: &str,
    own: Option<usize>,
) -> bool {
    let count = segment.settings().worker_slots;
    let is_dead = |&index: &usize| {
        let state =
            segment.with_worker_slots(|worker_slots| SlotPhase::of(&worker_slots[index]).state());
        state == WorkerSlotState::Taken
            && own != Some(index)
            && !segment.is_alive(EntryId::WorkerSlot(index))
    };
    let dead: Vec<usize> = (0..count).filter(is_dead).collect();
    // What cannot be cleared away now is left to the next.
    let cleared = dead
        .into_iter()
        .filter(|&index| clear(control, segment, cluster, index, Ended::Died).is_ok())
        .count();
    if cleared > 0 {
        segment.note_death();
        sweep(cluster);
    }
    cleared > 0
}

/// Removes what the dead alone were attached to: rings of replies, whose names nobody will open
/// again, and whatever else nobody opened since. Any number may do so at a time.
fn sweep(cluster: &str) {
    // What cannot be looked at now is left to the next.
    for name in objects(cluster).unwrap_or_default() {
        let _ = Segment::clear_away(&name);
    }
}

/// The names of all objects of a cluster that there are, but for its directory's.
fn objects(cluster: &str) -> Result<Vec<Name>, OpenError> {
    let directory = names::directory(cluster)?;
    let mut all = Name::all_of_cluster(cluster)?;
    all.retain(|name| *name != directory);
    Ok(all)
}

/// Removes a cluster that nobody is in. `false`: there is none.
pub(super) fn remove(cluster: &str) -> Result<bool, OpenError> {
    let name = names::directory(cluster)?;
    // Who just comes or goes is at no desk for a moment, and attached.
    let moment = Deadline::after(PATIENCE);
    loop {
        if Name::all_of_cluster(cluster)?.is_empty() {
            return Ok(false);
        }
        let seized = Segment::seize(&name, LONG_PATIENCE);
        let found = match seized.and_then(|directory| remove_all(directory, cluster)) {
            Err(in_use @ OpenError::InUse { .. }) => in_use,
            outcome => return outcome,
        };
        if let Some(worker) = living(&name)? {
            return Err(OpenError::WorkerLives { name: worker.name, pid: worker.pid });
        }
        if moment.has_passed() {
            return Err(found);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Removes what a cluster has, and its directory last: who joins meanwhile waits for that.
fn remove_all(directory: ExclusiveSegment<'_>, cluster: &str) -> Result<bool, OpenError> {
    let objects = objects(cluster)?;
    // All of it or nothing: nobody attaches to any of them but from within.
    for name in &objects {
        if Segment::is_in_use(name)? {
            return Err(OpenError::InUse { name: name.as_str().to_owned() });
        }
    }
    for name in &objects {
        Segment::remove_within(name, LONG_PATIENCE)?;
    }
    Ok(directory.remove()? || !objects.is_empty())
}

/// One of the living in a cluster, if it has any.
fn living(directory: &Name) -> Result<Option<Entry>, OpenError> {
    let segment = match Segment::attach(directory, Some(LONG_PATIENCE)) {
        Err(OpenError::NotFound { .. }) => return Ok(None),
        segment => segment?,
    };
    let count = segment.settings().worker_slots;
    let index = (0..count).find(|&index| segment.is_alive(EntryId::WorkerSlot(index)));
    Ok(index.map(|index| segment.with_worker_slots(|worker_slots| worker_slots[index].read())))
}

/// Frees a desk, its inbox first. Each part can be done again. Under the control lock.
fn clear(
    _control: &Control<'_>,
    segment: &Segment,
    cluster: &str,
    index: usize,
    how: Ended,
) -> Result<(), OpenError> {
    // From here on nobody expects it back: killed now, it is cleared away by others.
    set(segment, index, |phase| phase.with_state(WorkerSlotState::Taken));
    let entry = segment.with_worker_slots(|worker_slots| worker_slots[index].read());
    failpoint(Failpoint::LeaveInbox);
    discard_inbox(cluster, &entry.name)?;
    failpoint(Failpoint::LeaveFree);
    set(segment, index, |phase| phase.with_end(how).with_state(WorkerSlotState::Free));
    Ok(())
}

/// Ends the inbox of this name, if there is one. The directory's control lock is held, so it does not
/// wait long for the inbox'.
fn discard_inbox(cluster: &str, worker: &str) -> Result<(), OpenError> {
    // By a name that cannot be, which is damage, nobody joined.
    let Ok(name) = Object::Inbox(worker).name(cluster) else { return Ok(()) };
    match RingBuilder::default().tagged_slots().open_timeout(PATIENCE).attach_named(&name) {
        // Not even one that its maker was killed over.
        Err(OpenError::NotFound { .. }) => Segment::remove_within(&name, PATIENCE).map(drop),
        inbox => inbox?.discard(),
    }
}

/// Opens a cluster's directory.
fn open(cluster: &str, wanted: &Wanted<'_>) -> Result<Segment, JoinError> {
    if wanted.max_workers == Some(0) {
        let reason = "max_workers 0 is not from 1 to 1024".to_owned();
        return Err(JoinError::Open(OpenError::BadSettings { reason }));
    }
    let settings = Settings {
        capacity: 1024,
        max_publishers: 1,
        max_subscribers: 1,
        stays_open: true,
        worker_slots: wanted.max_workers.unwrap_or(WORKER_SLOTS),
        ..Settings::default()
    };
    let name = names::directory(cluster)?;
    let segment = Segment::open(&name, &settings, wanted.join_timeout)?;
    let found = segment.settings().worker_slots;
    match wanted.max_workers {
        Some(expected) if expected != found => Err(mismatch(&segment, expected)),
        _ if found == 0 => Err(mismatch(&segment, settings.worker_slots)),
        _ => Ok(segment),
    }
}

/// Whether there is a desk of the wanted id.
fn check_id(segment: &Segment, wanted: &Wanted<'_>) -> Result<(), JoinError> {
    let worker_slots = segment.settings().worker_slots;
    match wanted.id {
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

fn mismatch(segment: &Segment, expected: usize) -> JoinError {
    JoinError::Open(OpenError::SettingsMismatch {
        name: segment.name().to_owned(),
        setting: "max_workers",
        expected: expected.to_string(),
        found: segment.settings().worker_slots.to_string(),
    })
}

/// The desk that a worker is to have: its own of before, the one it wants, one that nobody ever had,
/// any that is free. Under the control lock.
fn choose(segment: &Segment, cluster: &str, wanted: &Wanted<'_>) -> Result<usize, JoinError> {
    let all = segment.with_worker_slots(|worker_slots| {
        worker_slots.iter().map(WorkerSlot::read).collect::<Vec<_>>()
    });
    let state = |index: usize| all[index].phase.state();
    let is_own = |index: &usize| all[*index].name == wanted.name;
    let mut taken = (0..all.len()).filter(|&index| state(index) != WorkerSlotState::Free);
    if let Some(index) = taken.find(is_own) {
        if segment.is_alive(EntryId::WorkerSlot(index)) {
            let (name, pid) = (wanted.name.to_owned(), all[index].pid);
            return Err(JoinError::NameTaken { name, pid });
        }
        if state(index) == WorkerSlotState::Kept {
            return Ok(index);
        }
        // Dead, and what it left could not be cleared away: now the reason is somebody's to know.
        discard_inbox(cluster, wanted.name).map_err(JoinError::Open)?;
        return Ok(index);
    }
    let is_free = |index: &usize| state(*index) == WorkerSlotState::Free;
    let mut free = (0..all.len()).filter(is_free);
    let was_there = |index: &usize| all[*index].phase.generation() > 0;
    let own = free.clone().find(|index| is_own(index) && was_there(index));
    let wanted = wanted.id.or(wanted.hint).map(|id| usize::from(id.0));
    let chosen = wanted.filter(|id| free.clone().any(|at| at == *id));
    let fresh = free.clone().find(|index| !was_there(index));
    let found = own.or(chosen).or(fresh).or_else(|| free.next());
    found.ok_or(JoinError::Full { limit: all.len() })
}

/// Takes a desk that is free or that its worker is away from. Under the control lock.
fn sit_down(
    _control: &Control<'_>,
    segment: &Segment,
    index: usize,
    name: &str,
) -> Result<(), OpenError> {
    if !segment.acquire_liveness(EntryId::WorkerSlot(index))? {
        // Nobody is at it, and yet its lock is held: not by one of ours.
        return Err(OpenError::system("lock a slot of", segment.name(), WouldBlock));
    }
    failpoint(Failpoint::WorkerSlotName);
    segment.with_worker_slots(|worker_slots| {
        let slot = &worker_slots[index];
        slot.info.write(name, std::process::id(), clock::monotonic());
        let phase = SlotPhase::of(slot);
        let state = match phase.state() {
            WorkerSlotState::Kept => WorkerSlotState::Kept,
            WorkerSlotState::Free | WorkerSlotState::Taken => WorkerSlotState::Taken,
        };
        failpoint(Failpoint::WorkerSlotPhase);
        phase.next(state).set(slot);
    });
    Ok(())
}

fn set(segment: &Segment, index: usize, change: impl FnOnce(SlotPhase) -> SlotPhase) {
    segment.with_worker_slots(|worker_slots| {
        change(SlotPhase::of(&worker_slots[index])).set(&worker_slots[index])
    });
}

fn check_name(cluster: &str, name: &str) -> Result<(), JoinError> {
    let too_long = name.len() > SlotInfo::LONGEST_NAME;
    if too_long {
        let reason = "a worker's name has 64 bytes at most";
        return Err(JoinError::BadName { name: name.to_owned(), reason });
    }
    // So that its inbox can be opened, too.
    Object::Inbox(name).name(cluster)?;
    Ok(())
}

fn id_of(index: usize) -> WorkerId {
    // There are no more desks than `MAX_ENTRIES`.
    WorkerId(index as u16)
}
