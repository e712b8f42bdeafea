//! A segment that is read without attaching to it.
//!
//! Guarantees:
//!
//! - No lock is taken and nothing is stored: the mapping is read-only. No process finds out.
//!   [`PassiveSegment::change`] is the exception.
//! - Each word of the geometry is checked as when a process attaches, and the checked copy is used.
//!
//! Only a segment that is ready is mapped. No object is made shorter, so the mapping keeps its
//! pages. The segment may be removed meanwhile. Its words then stay as they were, or become zeros:
//! if its name cannot be removed, its memory is given back to the system.

#![cfg(not(loom))]

use super::board_cells::CellMemory;
use super::entry::{EntryId, OwnerState};
use super::identity::{self, State, Version};
use super::layout::{EntryOwner, Head};
use super::map::SecondMap;
use super::mapped::{ATTACHED, CONTROL};
use super::name::Name;
use super::object;
use super::parts::{SegmentParts, WorkerSlots};
use super::settings::Settings;
use super::types::TypeTable;
use super::view::{CallMemory, RingMemory};
use crate::error::OpenError;
use crate::sync::Ordering;
use crate::sys::fork::UnsharedFd;
use crate::sys::lock::LockLimit;
use crate::sys::{lock, shm};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the control lock of a segment that is changed.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(1);

/// A segment of this layout, mapped for reading.
#[derive(Debug)]
pub(crate) struct PassiveSegment {
    fd: UnsharedFd,
    parts: SegmentParts,
}

/// The content of an object.
pub(super) enum ObjectContent {
    /// It is not made yet, or was removed.
    Nothing,
    /// A segment of another layout.
    OtherLayout {
        /// The number of the layout.
        found: u32,
        /// Something may keep the segment.
        may_keep: bool,
    },
    /// A segment.
    Segment(Box<PassiveSegment>),
}

impl PassiveSegment {
    /// Maps the segment of this name. [`NotFound`](OpenError::NotFound) if it is not made yet, or
    /// was removed.
    pub(crate) fn open(name: &Name) -> Result<Self, OpenError> {
        let fd = object::open(name)?;
        let is_in_use = lock::is_held_elsewhere(fd.as_fd(), ATTACHED);
        let len = object::measure(name, &fd)?.len;
        match Self::map(name, fd, len)? {
            ObjectContent::Nothing => Err(object::not_found(name)),
            ObjectContent::OtherLayout { found, .. } => {
                Err(identity::other_version(name, found, is_in_use))
            }
            ObjectContent::Segment(segment) => Ok(*segment),
        }
    }

    /// Maps the object that `fd` is open on, and that is `len` bytes long.
    pub(super) fn map(name: &Name, fd: UnsharedFd, len: u64) -> Result<ObjectContent, OpenError> {
        let system = |action, error| OpenError::system(action, shm::path(&name.object()), error);
        let (start, read) = object::read_start(name, &fd)?;
        if read == 0 && !lock::is_held_elsewhere(fd.as_fd(), ATTACHED) {
            return Err(object::foreign(name, "the length", identity::START, 0));
        }
        if identity::state_of(name, &start)? != State::Ready {
            return Ok(ObjectContent::Nothing);
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let map = SecondMap::open_to_read(fd.as_fd(), len).map_err(|error| system("map", error))?;
        let Some(head) = map.head() else {
            let least = size_of::<Head>() as u64;
            return Err(object::foreign(name, "the length", least, len as u64));
        };
        // Again, with acquire, as no lock orders the loads below.
        if head.identity.state(name)? != State::Ready {
            return Ok(ObjectContent::Nothing);
        }
        if let Version::Other { found, may_keep } = head.identity.version(name)? {
            return Ok(ObjectContent::OtherLayout { found, may_keep });
        }
        let checked = head.identity.check(name, len as u64)?;
        let parts = SegmentParts::new(Arc::new(map), checked.settings, checked.salt)
            .ok_or_else(|| object::foreign(name, "the geometry", 0, len as u64))?;
        Ok(ObjectContent::Segment(Box::new(Self { fd, parts })))
    }

    /// The typed parts.
    pub(super) fn parts(&self) -> &SegmentParts {
        &self.parts
    }

    /// The settings that the segment was made with.
    pub(crate) fn settings(&self) -> &Settings {
        self.parts.settings()
    }

    /// The view for the ring's protocol. A store through it is a SIGSEGV.
    pub(crate) fn memory(&self) -> &RingMemory {
        self.parts.memory()
    }

    /// The type table: empty in a call area.
    pub(crate) fn types(&self) -> TypeTable<'_> {
        self.parts.types()
    }

    /// The worker slots: none, except in a directory.
    pub(crate) fn worker_slots(&self) -> WorkerSlots {
        self.parts.worker_slots()
    }

    /// The call cells: none, except in a call area.
    pub(crate) fn call_memory(&self) -> CallMemory {
        self.parts.call_memory()
    }

    /// The cells: none, except in a board.
    pub(crate) fn cells(&self) -> CellMemory {
        self.parts.cells()
    }

    /// Returns true if the segment was removed: its name is free, or that of another one, or its
    /// object holds another segment now.
    pub(crate) fn is_removed(&self, name: &Name) -> bool {
        let identity = &self.parts.head().identity;
        !matches!(identity.state(name), Ok(State::Ready))
            || identity.salt.load(Ordering::Relaxed) != self.parts.salt()
    }

    /// Does `work` with a view that can be written to, under the control lock.
    /// [`NotFound`](OpenError::NotFound) if the segment was removed, and [`Busy`](OpenError::Busy)
    /// if another process held the lock for a second.
    pub(crate) fn change<R>(
        self,
        name: &Name,
        work: impl FnOnce(&RingMemory) -> R,
    ) -> Result<R, OpenError> {
        let system = |action, error| OpenError::system(action, shm::path(&name.object()), error);
        let limit = LockLimit::timeout(CHANGE_TIMEOUT);
        if !lock::exclusive_within(self.fd.as_fd(), CONTROL, &limit)
            .map_err(|error| system("lock", error))?
        {
            let holder = self.parts.head().membership.lock_holder.load(Ordering::Relaxed);
            return Err(OpenError::Busy { name: name.shown(), pid: Some(holder) });
        }
        // A segment is removed under the control lock. It is released with the descriptor.
        if self.is_removed(name) {
            return Err(object::not_found(name));
        }
        let map = SecondMap::open(self.fd.as_fd(), self.parts.len())
            .map_err(|error| system("map", error))?;
        let parts = SegmentParts::new(Arc::new(map), *self.settings(), self.parts.salt())
            .ok_or_else(|| object::not_found(name))?;
        Ok(work(parts.memory()))
    }

    /// Returns true if a process holds the liveness lock of an entry, which may be this process.
    /// Costs a system call.
    pub(crate) fn is_alive(&self, entry: EntryId) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), self.parts.lock_of(entry))
    }

    /// The process that holds the control lock, as it wrote its id. `None`: the lock is free.
    pub(crate) fn control_holder(&self) -> Option<u32> {
        let holder = &self.parts.head().membership.lock_holder;
        let is_held = lock::is_held_elsewhere(self.fd.as_fd(), CONTROL);
        is_held.then(|| holder.load(Ordering::Relaxed))
    }

    /// The process ids of the living owners of entries and worker slots, ascending.
    pub(super) fn owners(&self) -> Vec<u32> {
        let pid_of = |owner: &EntryOwner, entry| {
            let is_owned = OwnerState::of(owner) != OwnerState::Free && self.is_alive(entry);
            is_owned.then(|| owner.pid.load(Ordering::Relaxed))
        };
        let publishers = self.memory().publishers().iter().enumerate();
        let publishers = publishers
            .filter_map(|(index, entry)| pid_of(&entry.details.owner, EntryId::Publisher(index)));
        let subscribers = self.memory().subscribers().iter().enumerate();
        let subscribers = subscribers
            .filter_map(|(index, entry)| pid_of(&entry.details.owner, EntryId::Subscriber(index)));
        let slots = self.worker_slots();
        let workers = slots.all().iter().enumerate();
        let workers = workers
            .filter(|(index, _)| self.is_alive(EntryId::WorkerSlot(*index)))
            .filter_map(|(_, slot)| Some(slot.read_bounded()?.pid));
        let mut pids: Vec<u32> = publishers.chain(subscribers).chain(workers).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}
