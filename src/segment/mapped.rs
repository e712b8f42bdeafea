//! One attachment to a segment in a shared-memory object: its mapping and its locks.
//!
//! Each attachment has an open-file description of its own. It holds a shared lock on byte 8 of
//! the object, so the last process to leave knows that it is the last. The lock on byte 0 is the
//! control lock. The first byte of an entry carries the liveness lock of its owner.
//!
//! `segment::lifecycle` makes attachments, `segment::control` ends them.

#![cfg(not(loom))]

use super::entry::EntryId;
use super::entry::Liveness;
use super::identity;
use super::layout::FARTHEST;
use super::map::{SecondMap, inode};
use super::name::Name;
use super::object;
use super::parts::SegmentParts;
use super::reports;
use super::settings::Settings;
use super::view::RingMemory;
use crate::error::{Detachment, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::sync::Ordering;
use crate::sys::fork::{self, UnsharedFd};
use crate::sys::lock::{self, LockLimit};
use crate::sys::shm;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
#[cfg(feature = "async")]
use std::time::Instant;

/// The byte of the control lock.
pub(super) const CONTROL: u64 = 0;
/// The byte on which each attachment holds a shared lock.
pub(super) const ATTACHED: u64 = 8;

/// Work of the ring's protocol on a segment without users, before it is removed or kept: a function
/// of the memory, the settings, and the liveness of an entry's owner.
pub(crate) type Settle = fn(&RingMemory, &Settings, &dyn Fn(EntryId) -> bool);

/// One attachment to a shared-memory object.
#[derive(Debug)]
pub(super) struct Mapped {
    name: Name,
    /// The path of the object.
    path: String,
    fd: UnsharedFd,
    parts: SegmentParts,
    /// The slots are read-only in this mapping.
    is_protected: bool,
}

impl Mapped {
    /// An attachment to an object that was mapped and checked under the control lock.
    pub(super) fn new(name: Name, fd: UnsharedFd, parts: SegmentParts) -> Self {
        let path = shm::path(&name.object());
        Self { name, path, fd, parts, is_protected: false }
    }

    /// Takes the attachment lock and releases the control lock.
    pub(super) fn attach(self) -> Result<Self, OpenError> {
        self.parts.head().membership.lock_holder.store(std::process::id(), Ordering::Relaxed);
        failpoint(Failpoint::Attach);
        lock::shared(self.fd.as_fd(), ATTACHED).map_err(|error| self.system("lock", error))?;
        self.unlock();
        Ok(self)
    }

    /// Compares the constant words of two attachments. A difference is an error: entries are known
    /// by their index, packets by their stamp.
    pub(super) fn compare(&self, other: &Self) -> Result<(), OpenError> {
        let (own, now) = (self.parts.settings(), other.parts.settings());
        let words = [
            ("the salt", self.parts.salt(), other.parts.salt()),
            ("the capacity", own.capacity as u64, now.capacity as u64),
            ("the number of publishers", own.max_publishers as u64, now.max_publishers as u64),
            ("the number of subscribers", own.max_subscribers as u64, now.max_subscribers as u64),
            ("the history", own.history as u64, now.history as u64),
            ("the flags", identity::flags(own), identity::flags(now)),
            ("the number of worker slots", own.worker_slots as u64, now.worker_slots as u64),
            ("the number of call cells", own.call_cells as u64, now.call_cells as u64),
            ("the number of cells", identity::cells(own), identity::cells(now)),
            ("the size of a cell", own.cell_size as u64, now.cell_size as u64),
        ];
        match words.into_iter().find(|(_, expected, found)| expected != found) {
            None => Ok(()),
            Some((what, expected, found)) => {
                let name = self.name.shown();
                Err(OpenError::Corrupt { name, what, expected, found })
            }
        }
    }

    /// The ring's name.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// The parts of the segment.
    pub(super) fn parts(&self) -> &SegmentParts {
        &self.parts
    }

    /// Makes the slots read-only in this mapping. A store to them is a SIGSEGV from then on.
    pub(super) fn protect_slots(&mut self) -> Result<(), OpenError> {
        let (start, len) = self.parts.slot_pages();
        // SAFETY: whole pages of this mapping. A store to them through a view is a SIGSEGV. The
        // owner is a subscriber, which reads slots, and recovers claims through a second mapping.
        unsafe { shm::protect(start, len) }
            .map_err(|error| self.system("protect slots of", error))?;
        self.is_protected = true;
        Ok(())
    }

    /// Makes all pages of this mapping present.
    pub(super) fn populate(&self) -> Result<(), OpenError> {
        let populated = self.parts.populate(self.is_protected);
        populated.map_err(|error| {
            object::not_populated(&self.name, &self.fd, self.parts.len() as u64, error)
        })
    }

    /// Returns true if the slots are read-only in this mapping.
    pub(super) fn is_protected(&self) -> bool {
        self.is_protected
    }

    /// A view of a second, writable mapping of the object, for a recovery. It is unmapped with the
    /// view. `None` if the system refuses a mapping.
    pub(super) fn writable(&self) -> Option<RingMemory> {
        let map = SecondMap::open(self.fd.as_fd(), self.parts.len()).ok()?;
        let parts = SegmentParts::new(Arc::new(map), *self.parts.settings(), self.parts.salt())?;
        Some(parts.memory().clone())
    }

    /// Takes the control lock; [`Busy`](OpenError::Busy) after the timeout of `limit`.
    pub(super) fn lock(&self, limit: &LockLimit) -> Result<(), OpenError> {
        self.refuse_lost()?;
        let taken = lock::exclusive_within(self.fd.as_fd(), CONTROL, limit)
            .map_err(|error| self.system("lock", error))?;
        if taken { Ok(()) } else { Err(self.not_locked(limit)) }
    }

    /// The error of a wait for the control lock that its limit ended.
    fn not_locked(&self, limit: &LockLimit) -> OpenError {
        if limit.is_stopped() {
            OpenError::Stopped { name: self.name.shown() }
        } else {
            self.busy()
        }
    }

    /// The error of a wait for the control lock that began at `since`; `None` if it goes on.
    #[cfg(feature = "async")]
    pub(super) fn end_of_wait(&self, limit: &LockLimit, since: Instant) -> Option<OpenError> {
        self.refuse_lost().err().or_else(|| limit.has_passed(since).then(|| self.not_locked(limit)))
    }

    /// The error that names the last holder of the control lock.
    pub(super) fn busy(&self) -> OpenError {
        let holder = self.parts.head().membership.lock_holder.load(Ordering::Relaxed);
        OpenError::Busy { name: self.name.shown(), pid: Some(holder) }
    }

    /// Takes the control lock if it is free.
    pub(super) fn try_lock(&self) -> bool {
        !self.fd.is_lost() && lock::try_exclusive(self.fd.as_fd(), CONTROL).unwrap_or(false)
    }

    /// Releases the control lock.
    pub(super) fn unlock(&self) {
        self.release(CONTROL);
    }

    /// Returns true if a parent process attached and this process was forked since. The child must
    /// not use the attachment.
    pub(super) fn is_inherited(&self) -> bool {
        self.fd.is_inherited()
    }

    /// Returns an error in a child that was forked.
    pub(super) fn refuse_inherited(&self) -> Result<(), OpenError> {
        if !self.is_inherited() {
            return Ok(());
        }
        let reason = "it was opened before this process was forked: open it again in the child";
        let reason = std::io::Error::new(std::io::ErrorKind::Unsupported, reason);
        Err(self.system("use", reason))
    }

    /// The properties of the object.
    #[cfg(feature = "handover")]
    pub(super) fn measure(&self) -> Result<shm::Object, OpenError> {
        self.refuse_lost()?;
        shm::measure(self.fd.as_fd()).map_err(|error| self.system("look at", error))
    }

    /// Why no process can join the endpoints of this attachment any more; `None` if one can.
    /// Makes three system calls.
    pub(super) fn detachment(&self) -> Option<Detachment> {
        if self.is_inherited() {
            return None;
        }
        if self.fd.is_lost() {
            return Some(Detachment::DescriptorClosed);
        }
        let own = shm::measure(self.fd.as_fd()).ok()?;
        // A path that leads nowhere proves nothing: after `chroot`, others may still see the name.
        let is_replaced = || {
            shm::measure_path(&self.path)
                .is_ok_and(|named| named.inode.0 == own.inode.0 && named.inode != own.inode)
        };
        (own.unlinked || is_replaced()).then_some(Detachment::NameRemoved)
    }

    /// See [`UnsharedFd::note_check`].
    pub(super) fn note_check(&self, time: u64, not_before: u64) -> bool {
        self.fd.note_check(time, not_before)
    }

    /// Returns an error if other code closed the descriptor.
    pub(super) fn refuse_lost(&self) -> Result<(), OpenError> {
        if self.fd.is_lost() { Err(self.detached(Detachment::DescriptorClosed)) } else { Ok(()) }
    }

    /// The error for an attachment that no process can join any more.
    pub(super) fn detached(&self, cause: Detachment) -> OpenError {
        OpenError::Detached { name: self.name.shown(), cause }
    }

    /// Releases the attachment lock.
    ///
    /// Closing the descriptor would release it too, but only after the control lock.
    pub(super) fn detach(&self) {
        failpoint(Failpoint::Detach);
        self.release(ATTACHED);
    }

    /// Removes the object if no process is attached and nothing keeps it. Returns true if another
    /// process is attached. Under the control lock, so that of two that leave at once one is last.
    pub(super) fn remove_if_left(&self, settle: Option<Settle>) -> bool {
        let is_attached = self.is_attached();
        if !is_attached {
            self.settle(settle);
            if !self.parts.is_kept() {
                // After an error the object stays marked. The next process to open it finishes.
                let _ = self.give_up();
            }
        }
        failpoint(Failpoint::DetachUnlock);
        is_attached
    }

    /// Brings a segment that is kept into the state of a segment without users. Under the control
    /// lock, when no process is attached.
    pub(super) fn settle(&self, settle: Option<Settle>) {
        let Some(settle) = settle.filter(|_| self.parts.is_kept()) else { return };
        let memory = match self.is_protected {
            false => Some(self.parts.memory().clone()),
            true => self.writable(),
        };
        // Without memory for a second mapping, the next process that leaves does this.
        if let Some(memory) = memory {
            settle(&memory, self.parts.settings(), &|entry| self.is_alive(entry));
        }
    }

    /// Returns true if another description holds the attachment lock.
    pub(super) fn is_attached(&self) -> bool {
        self.is_held_elsewhere(ATTACHED)
    }

    /// Returns true if another description holds the lock on a byte, or the descriptor is lost:
    /// then the answer would be about another file.
    fn is_held_elsewhere(&self, byte: u64) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), byte) || self.fd.is_lost()
    }

    /// Returns true if this process has another attachment to the object.
    pub(super) fn is_open_elsewhere_here(&self) -> bool {
        let Ok(own) = self.object() else { return false };
        fork::count(own) > 1
    }

    /// Returns true if no other process is attached and nothing keeps the segment. Under the
    /// control lock.
    pub(super) fn is_deserted(&self) -> bool {
        !self.is_attached() && !self.parts.is_kept()
    }

    /// Marks the segment removed and removes its name. Under the control lock.
    pub(super) fn give_up(&self) -> Result<(), OpenError> {
        failpoint(Failpoint::RemoveMark);
        self.parts.head().identity.mark_removed();
        failpoint(Failpoint::RemoveUnlink);
        discard(&self.name, self.fd.as_fd())?;
        reports::removed(&self.name);
        Ok(())
    }

    /// Removes the name, even if other processes are attached. Under the control lock. A name that
    /// cannot be removed leads to no segment any more.
    pub(super) fn give_name_up(&self) -> Result<(), OpenError> {
        if !unlink_if_same(&self.name, self.fd.as_fd())? {
            self.parts.head().identity.mark_nameless();
        }
        Ok(())
    }

    /// Checks that the positions in the head are in their range.
    pub(super) fn check_positions(&self) -> Result<(), OpenError> {
        let head = self.parts.head();
        for (what, word) in [("the tail", &head.tail), ("the oldest packet kept", &head.oldest)] {
            let found = word.load(Ordering::Relaxed);
            if found > FARTHEST {
                let name = self.name.shown();
                return Err(OpenError::Corrupt { name, what, expected: FARTHEST, found });
            }
        }
        Ok(())
    }

    /// Device and inode of the object.
    pub(super) fn object(&self) -> Result<(u64, u64), OpenError> {
        inode(self.fd.as_fd(), &self.name)
    }

    fn release(&self, byte: u64) {
        // The lock of a lost descriptor ends when the descriptor is dropped. Unlocking a byte of an
        // open description cannot fail.
        if !self.fd.is_lost() {
            let _ = lock::release(self.fd.as_fd(), byte);
        }
    }

    fn system(&self, action: &'static str, error: std::io::Error) -> OpenError {
        OpenError::system(action, self.path.as_str(), error)
    }
}

// SAFETY: the lock belongs to the open file of `fd`. Only `release_liveness`, or the end of the
// process, drops it.
unsafe impl Liveness for Mapped {
    fn acquire_liveness(&self, entry: EntryId) -> Result<bool, OpenError> {
        self.refuse_lost()?;
        lock::try_exclusive(self.fd.as_fd(), self.parts.lock_of(entry))
            .map_err(|error| self.system("lock", error))
    }

    fn release_liveness(&self, entry: EntryId) {
        self.release(self.parts.lock_of(entry));
    }

    fn is_alive(&self, entry: EntryId) -> bool {
        self.is_held_elsewhere(self.parts.lock_of(entry))
    }
}

/// Removes the name if it still is this object's. Under the control lock of the object: without it
/// no process gives the name to another object.
///
/// Returns false if the object is another user's and the kernel refuses: `/dev/shm` has the sticky
/// bit.
pub(super) fn unlink_if_same(name: &Name, fd: BorrowedFd<'_>) -> Result<bool, OpenError> {
    let object = name.object();
    let is_same = match shm::measure_named(&object) {
        Err(_) => false,
        Ok(named) => named.inode == inode(fd, name)?,
    };
    if !is_same {
        return Ok(true);
    }
    match shm::unlink(&object) {
        Ok(()) => Ok(true),
        Err(error) => {
            let is_refused = error.kind() == std::io::ErrorKind::PermissionDenied;
            if is_refused && shm::measure(fd).is_ok_and(|found| !object::is_own(&found)) {
                return Ok(false);
            }
            Err(OpenError::system("remove", shm::path(&object), error))
        }
    }
}

/// Removes an object without users, under its control lock: unlinks its name. If only its owner
/// may, the object is marked as removed, its memory is released, and this returns false.
pub(super) fn discard(name: &Name, fd: BorrowedFd<'_>) -> Result<bool, OpenError> {
    if unlink_if_same(name, fd)? {
        return Ok(true);
    }
    let system = |error| OpenError::system("clear", shm::path(&name.object()), error);
    shm::write_at(fd, &identity::unmade(), 0).map_err(system)?;
    shm::clear_behind(fd, identity::START).map_err(system)?;
    Ok(false)
}
