//! [`Segment`]: one attachment, to a shared object or to a segment on the heap.
//!
//! The layers above get from it: views of the memory, the type table, events, liveness locks. The
//! control lock and the end of an attachment are in `segment::control`.

#![cfg(not(loom))]

use super::board_cells::CellMemory;
use super::entry::{EntryId, Liveness};
use super::layout::MAX_TYPES;
use super::lifecycle;
use super::map::{Heap, Population};
use super::mapped::{Mapped, Settle};
use super::name::Name;
use super::object::Absent;
use super::parts::{SegmentParts, WorkerSlots};
use super::removal::{self, Clearance, ExclusiveSegment};
use super::settings::{Parking, Settings};
use super::types::TypeTable;
use super::view::{CallMemory, LockedEntry, RingMemory};
use crate::error::{NameKind, ObjectName, OpenError};
use crate::sys::event::Event;
use crate::sys::lock::LockLimit;
#[cfg(feature = "handover")]
use crate::sys::shm;
use crate::sys::stop::Stop;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One attachment to a segment. The last attachment removes the segment when it is dropped, unless
/// something keeps it ([`SegmentParts::is_kept`]).
#[derive(Debug)]
pub(crate) struct Segment {
    backing: Backing,
    /// Serializes the threads that use this attachment. A file lock belongs to the descriptor, so
    /// two threads would both get it. All attachments to a heap segment share the mutex, which is
    /// the control lock there.
    local: Arc<Mutex<()>>,
    /// Work on the segment when its last user leaves.
    settle: Option<Settle>,
    /// The entries whose liveness lock this attachment holds. The kernel reports the locks of the
    /// own descriptor as free.
    held: Mutex<HashSet<EntryId>>,
    /// Limits waits: for the control lock, and of the endpoints that use the attachment.
    limit: LockLimit,
    population: Population,
}

#[derive(Debug)]
enum Backing {
    Mapped(Box<Mapped>),
    Heap(Arc<Heap>),
}

impl Segment {
    /// Most types that a ring can carry.
    pub(crate) const MAX_TYPES: usize = MAX_TYPES;

    /// Attaches to a ring, and makes it if there is none. `limit` ends each wait for the control
    /// lock, now and later, and the waits of its endpoints.
    pub(crate) fn open(
        name: &Name,
        settings: &Settings,
        limit: &LockLimit,
    ) -> Result<Self, OpenError> {
        check(settings)?;
        let mapped = lifecycle::attach(name, Absent::Make(settings), limit)?;
        Ok(Self::of_mapped(mapped, limit))
    }

    /// Attaches to a ring; [`NotFound`](OpenError::NotFound) if there is none.
    pub(crate) fn attach(name: &Name, limit: &LockLimit) -> Result<Self, OpenError> {
        let mapped = lifecycle::attach(name, Absent::Refuse, limit)?;
        Ok(Self::of_mapped(mapped, limit))
    }

    /// Makes a ring on the heap.
    pub(crate) fn heap(settings: &Settings) -> Result<Self, OpenError> {
        check(settings)?;
        // Random as in a shared object: a payload must not look like a header on the next lap.
        let salt = crate::sys::random()
            .map_err(|error| OpenError::system("draw a salt for", "a ring", error))?;
        let heap = Heap::new(*settings, salt)
            .ok_or_else(|| OpenError::system("allocate", "a ring", ErrorKind::OutOfMemory))?;
        // SAFETY: the heap is this function's own.
        unsafe { heap.parts().initialize() }.map_err(|reason| {
            OpenError::system("make events in", "a ring", std::io::Error::other(reason))
        })?;
        let backing = Backing::Heap(Arc::new(heap));
        Ok(Self {
            backing,
            local: Arc::default(),
            held: Mutex::default(),
            settle: None,
            limit: LockLimit::default(),
            population: Population::default(),
        })
    }

    /// Removes a ring that no living process is attached to. Returns false if there was none.
    /// `limit` ends the wait for the control lock.
    pub(crate) fn remove(name: &Name, limit: &LockLimit) -> Result<bool, OpenError> {
        removal::remove(name, limit)
    }

    /// As [`remove`](Self::remove), with a limit of time, for an object of a list.
    pub(crate) fn remove_listed(name: &Name, lock_timeout: Duration) -> Result<bool, OpenError> {
        removal::remove_listed(name, &LockLimit::timeout(lock_timeout))
    }

    /// Returns true if a process is attached to the segment of this name.
    pub(crate) fn is_in_use(name: &Name) -> Result<bool, OpenError> {
        lifecycle::is_in_use(name)
    }

    /// Returns true if there is a segment of this name. False for an object without content, which
    /// stays where this user may not unlink it.
    pub(crate) fn exists(name: &Name) -> Result<bool, OpenError> {
        lifecycle::has_content(name)
    }

    /// Locks the object of a segment that no process is attached to, and makes it if there is none.
    /// No process attaches as long as the result lives.
    pub(crate) fn seize(
        name: &Name,
        lock_timeout: Duration,
    ) -> Result<ExclusiveSegment<'_>, OpenError> {
        let limit = LockLimit::timeout(lock_timeout);
        ExclusiveSegment::take(name, Absent::Make(&Settings::default()), &limit)
    }

    /// Removes a segment that no living process is attached to and nothing keeps. If its control
    /// lock is held, this does nothing.
    pub(crate) fn clear_away(name: &Name, settle: Settle) -> Result<Clearance, OpenError> {
        removal::clear_away(name, settle)
    }

    /// The properties of the shared object.
    #[cfg(feature = "handover")]
    pub(crate) fn measure(&self) -> Result<shm::Object, OpenError> {
        self.mapped().map(Mapped::measure).unwrap_or_else(|| {
            Err(OpenError::system("look at", "a ring on the heap", ErrorKind::Unsupported))
        })
    }

    /// Attaches once more to the same segment.
    pub(crate) fn another(&self) -> Result<Self, OpenError> {
        match &self.backing {
            Backing::Mapped(mapped) => {
                let mapped = lifecycle::attach_again(mapped, &self.limit)?;
                let mut other = Self::of_mapped(mapped, &self.limit);
                other.settle = self.settle;
                other.set_populate(self.population.choice);
                Ok(other)
            }
            Backing::Heap(heap) => Ok(Self {
                backing: Backing::Heap(Arc::clone(heap)),
                local: Arc::clone(&self.local),
                held: Mutex::default(),
                settle: self.settle,
                limit: self.limit.clone(),
                population: Population { is_done: false, ..self.population },
            }),
        }
    }

    fn of_mapped(mapped: Mapped, limit: &LockLimit) -> Self {
        Self {
            backing: Backing::Mapped(Box::new(mapped)),
            local: Arc::default(),
            held: Mutex::default(),
            settle: None,
            limit: limit.clone(),
            population: Population::default(),
        }
    }

    /// Sets the work that is done when the last user of the segment leaves. Attachments that are
    /// made from this one do it, too.
    pub(crate) fn set_settle(&mut self, settle: Settle) {
        self.settle = Some(settle);
    }

    /// The work that is done when the last user of the segment leaves.
    pub(super) fn settle(&self) -> Option<Settle> {
        self.settle
    }

    /// Ends each later wait for the control lock after `lock_timeout`, if there is one. It has no
    /// effect on the heap, where no holder can be stopped for good.
    pub(crate) fn set_lock_timeout(&mut self, lock_timeout: Option<Duration>) {
        self.limit.timeout = lock_timeout;
    }

    /// Sets what stops the waits of this attachment, and of the endpoints that join through it.
    pub(crate) fn set_stop(&mut self, stop: Option<Stop>) {
        self.limit.stop = stop;
    }

    /// The stop that ends the waits of this attachment.
    pub(crate) fn stop(&self) -> Option<&Stop> {
        self.limit.stop.as_ref()
    }

    /// The limits of its waits for the control lock.
    pub(super) fn limit(&self) -> &LockLimit {
        &self.limit
    }

    /// The ring's name; empty on the heap.
    pub(crate) fn name(&self) -> &str {
        self.mapped().map_or("", |mapped| mapped.name().as_str())
    }

    /// The name as errors show it.
    pub(crate) fn shown_name(&self) -> ObjectName {
        let kind = if self.settings().cells > 0 { NameKind::Board } else { NameKind::Ring };
        self.mapped().map_or_else(|| ObjectName::new("", kind), |mapped| mapped.name().shown())
    }

    /// The settings that the ring was made with.
    pub(crate) fn settings(&self) -> &Settings {
        self.parts().settings()
    }

    /// The view for the ring's protocol. A clone of it keeps the memory.
    pub(crate) fn memory(&self) -> &RingMemory {
        self.parts().memory()
    }

    /// Runs `work` on the ring's packet types.
    pub(crate) fn with_types<R>(&self, work: impl FnOnce(TypeTable<'_>) -> R) -> R {
        work(self.parts().types())
    }

    /// A view of the worker slots: none, except in a directory. It keeps the memory.
    pub(crate) fn worker_slots(&self) -> WorkerSlots {
        self.parts().worker_slots()
    }

    /// A view of the call cells and of the memory for replies: none, except in a call area. It
    /// keeps the memory.
    pub(crate) fn call_memory(&self) -> CallMemory {
        self.parts().call_memory()
    }

    /// Maps the call area of this name without attaching to it: this takes no lock, and keeps no
    /// descriptor. The area may be removed meanwhile; its memory stays until the view is dropped.
    pub(crate) fn map_calls(name: &Name) -> Result<CallMemory, OpenError> {
        lifecycle::map_only(name).map(|parts| parts.call_memory())
    }

    /// A view of the cells: none, except in a board. It keeps the memory.
    pub(crate) fn cells(&self) -> CellMemory {
        self.parts().cells()
    }

    /// The event that the owner of an entry parks on, if the ring parks on events.
    pub(crate) fn event(&self, entry: EntryId) -> Result<Option<Event>, OpenError> {
        let settings = self.settings();
        if settings.parking != Parking::Event {
            return Ok(None);
        }
        let index = match entry {
            EntryId::Publisher(index) => index,
            EntryId::Subscriber(index) => settings.max_publishers + index,
            // A directory parks on futexes.
            EntryId::WorkerSlot(_) => return Ok(None),
        };
        let parts = self.parts();
        // SAFETY: `SegmentParts::initialize` made an event for each entry before the segment was
        // ready. The room is valid as long as its owner lives.
        let event = unsafe { Event::open(parts.event(index), parts.memory().owner()) };
        event.map(Some).map_err(|reason| {
            OpenError::system("open an event of", self.name(), std::io::Error::other(reason))
        })
    }

    /// Sets whether the endpoints that join through this attachment populate their mappings.
    /// `None`: if they spin.
    pub(crate) fn set_populate(&mut self, populate: Option<bool>) {
        self.population.choice = populate;
    }

    /// Makes all pages of this attachment's mapping present, for an endpoint, if that was chosen.
    /// Those of a segment on the heap are: its maker wrote zeros to them.
    pub(crate) fn populate(&mut self, spins: bool) -> Result<(), OpenError> {
        if self.population.choice.unwrap_or(spins) && !self.population.is_done {
            self.mapped().map_or(Ok(()), Mapped::populate)?;
            self.population.is_done = true;
        }
        Ok(())
    }

    /// Makes the slots read-only in this attachment's mapping. Slots on the heap stay writable.
    pub(crate) fn protect_slots(&mut self) -> Result<(), OpenError> {
        self.mapped_mut().map_or(Ok(()), Mapped::protect_slots)
    }

    /// Returns true if the slots are read-only in this attachment's mapping.
    pub(crate) fn has_protected_slots(&self) -> bool {
        self.mapped().is_some_and(Mapped::is_protected)
    }

    /// A view with writable slots, through a second mapping if there is a mapping. `None` if the
    /// system refuses one.
    pub(crate) fn writable(&self) -> Option<RingMemory> {
        match self.mapped() {
            Some(mapped) => mapped.writable(),
            None => Some(self.memory().clone()),
        }
    }

    /// The parts of the segment.
    pub(super) fn parts(&self) -> &SegmentParts {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.parts(),
            Backing::Heap(heap) => heap.parts(),
        }
    }

    /// See [`UnsharedFd::note_check`](crate::sys::fork::UnsharedFd::note_check).
    pub(super) fn note_check(&self, time: u64, not_before: u64) -> bool {
        match &self.backing {
            Backing::Mapped(mapped) => mapped.note_check(time, not_before),
            Backing::Heap(heap) => heap.note_check(time, not_before),
        }
    }

    /// The attachment to a shared object; `None` on the heap.
    pub(super) fn mapped(&self) -> Option<&Mapped> {
        match &self.backing {
            Backing::Mapped(mapped) => Some(mapped),
            Backing::Heap(_) => None,
        }
    }

    fn mapped_mut(&mut self) -> Option<&mut Mapped> {
        match &mut self.backing {
            Backing::Mapped(mapped) => Some(mapped),
            Backing::Heap(_) => None,
        }
    }

    /// The mutex that goes with the control lock.
    pub(super) fn local(&self) -> &Mutex<()> {
        &self.local
    }
}

/// Liveness locks of entries. Several endpoints of a process may live in one attachment: a board
/// costs two descriptors, however many endpoints it has.
impl Segment {
    /// Locks an entry for an endpoint of this process, under the control lock. `None` if an
    /// endpoint holds its lock, also one of this attachment.
    pub(crate) fn lock_entry(&self, entry: EntryId) -> Result<Option<LockedEntry>, OpenError> {
        let mut held = self.held();
        // The kernel grants a lock to its own descriptor again.
        if held.contains(&entry) || !self.liveness().acquire_liveness(entry)? {
            return Ok(None);
        }
        held.insert(entry);
        Ok(Some(LockedEntry::new(self.memory().clone(), *self.settings(), entry)))
    }

    /// Releases the lock of an entry, as the last step of its endpoint. From then on the endpoint
    /// counts as dead.
    pub(crate) fn release_liveness(&self, entry: EntryId) {
        let mut held = self.held();
        self.liveness().release_liveness(entry);
        held.remove(&entry);
    }

    /// Returns true if an endpoint holds the lock of an entry, in this attachment or elsewhere.
    pub(crate) fn is_alive(&self, entry: EntryId) -> bool {
        self.held().contains(&entry) || self.liveness().is_alive(entry)
    }

    fn held(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        // No line between lock and unlock can leave the set half-changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The locks that other attachments see, and not those of this one.
    pub(super) fn liveness(&self) -> &dyn Liveness {
        match &self.backing {
            Backing::Mapped(mapped) => &**mapped,
            Backing::Heap(heap) => &**heap,
        }
    }
}

fn check(settings: &Settings) -> Result<(), OpenError> {
    settings.check().map_err(|reason| OpenError::BadSettings { reason })
}
