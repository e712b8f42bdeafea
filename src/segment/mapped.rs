//! One attachment to a segment in a shared-memory object, and giving it back.
//!
//! Attached is who holds a read lock on the second of two bytes of the object, which is how the
//! last to leave knows that it is the last. The lock on the first is the control lock.
//!
//! How an attachment comes about: [`enter`](super::enter).

use super::exclusive::ExclusiveSegment;
use super::identity;
use super::layout::FARTHEST;
use super::lifecycle::{Absent, Locked, not_found, open_object};
use super::map::{Second, inode};
use super::name::Name;
use super::view::{RingMemory, SegmentParts};
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::sync::Ordering;
use crate::sys::fork::{self, Descriptor};
use crate::sys::{lock, shm};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// The byte whose lock is the control lock.
pub(super) const CONTROL: u64 = 0;
/// The byte on which everyone attached holds a read lock.
pub(super) const ATTACHED: u64 = 8;

/// One attachment to a shared-memory object: a mapping and an open-file description of its own.
#[derive(Debug)]
pub(crate) struct Mapped {
    name: Name,
    fd: Descriptor,
    parts: SegmentParts,
    /// How long to wait for the control lock; none: for ever.
    pub(super) lock_timeout: Option<Duration>,
    /// Whether the slots are read-only here.
    is_protected: bool,
}

impl Mapped {
    /// Attaches to the ring of this name, making it if that was asked for and it is not there.
    /// Waits for the control lock, now and later, for `lock_timeout` at most, if there is one.
    pub(crate) fn open(
        name: &Name,
        absent: Absent<'_>,
        lock_timeout: Option<Duration>,
    ) -> Result<Self, OpenError> {
        loop {
            let fd = open_object(name, absent)?;
            let locked = Locked::take(fd, name, lock_timeout)?;
            if let Some(mapped) = locked.enter(absent)? {
                return Ok(Self { lock_timeout, ..mapped });
            }
        }
    }

    /// What was mapped and checked under the control lock.
    pub(super) fn new(name: Name, fd: Descriptor, parts: SegmentParts) -> Self {
        Self { name, fd, parts, lock_timeout: None, is_protected: false }
    }

    /// Says that this attachment is there and ends the control lock.
    pub(super) fn attach(self) -> Result<Self, OpenError> {
        self.parts.head().membership.lock_holder.store(std::process::id(), Ordering::Relaxed);
        failpoint(Failpoint::Attach);
        lock::shared(self.fd.as_fd(), ATTACHED)
            .map_err(|error| OpenError::system("lock", shm::path(&self.name.object()), error))?;
        self.unlock();
        Ok(self)
    }

    /// Another attachment to the same object.
    pub(crate) fn another(&self) -> Result<Self, OpenError> {
        self.refuse_inherited()?;
        let other = match Self::open(&self.name, Absent::Refuse, self.lock_timeout) {
            Err(OpenError::Busy { .. }) => Err(self.busy()),
            outcome => outcome,
        }?;
        let (own, others) = (self.object()?, inode(other.fd.as_fd(), &self.name)?);
        if own != others {
            return Err(not_found(&self.name));
        }
        self.compare(&other)?;
        Ok(other)
    }

    /// What was written once must be what it was: entries are known by their index, packets by
    /// their stamp.
    fn compare(&self, other: &Self) -> Result<(), OpenError> {
        let (own, now) = (self.parts.settings(), other.parts.settings());
        let words = [
            ("the salt", self.parts.salt(), other.parts.salt()),
            ("the capacity", own.capacity as u64, now.capacity as u64),
            ("the number of publishers", own.max_publishers as u64, now.max_publishers as u64),
            ("the number of subscribers", own.max_subscribers as u64, now.max_subscribers as u64),
            ("the history", own.history as u64, now.history as u64),
            ("the flags", identity::flags(own), identity::flags(now)),
            ("the number of worker slots", own.worker_slots as u64, now.worker_slots as u64),
        ];
        match words.into_iter().find(|(_, expected, found)| expected != found) {
            None => Ok(()),
            Some((what, expected, found)) => {
                let name = self.name.as_str().to_owned();
                Err(OpenError::Corrupt { name, what, expected, found })
            }
        }
    }

    /// Removes the object of this name if nobody alive is attached. Durable subscribers go with
    /// it. `false`: there was none.
    pub(crate) fn remove(name: &Name, lock_timeout: Option<Duration>) -> Result<bool, OpenError> {
        match ExclusiveSegment::take(name, Absent::Refuse, lock_timeout) {
            Err(OpenError::NotFound { .. }) => Ok(false),
            seized => seized?.remove().map(|_| true),
        }
    }

    /// Whether somebody is attached to the object of this name now. Without its control lock.
    pub(crate) fn is_in_use(name: &Name) -> Result<bool, OpenError> {
        match open_object(name, Absent::Refuse) {
            Err(OpenError::NotFound { .. }) => Ok(false),
            fd => Ok(lock::is_held_elsewhere(fd?.as_fd(), ATTACHED)),
        }
    }

    /// Removes the object of this name if nobody is attached and nobody is expected back: what the
    /// last of those attached would have done, had it not been killed. One whose control lock is held
    /// is left to who holds it.
    pub(crate) fn clear_away(name: &Name) -> Result<(), OpenError> {
        loop {
            let fd = open_object(name, Absent::Refuse)?;
            // Without the lock, which others may be about to take.
            if lock::is_held_elsewhere(fd.as_fd(), ATTACHED) {
                return Ok(());
            }
            let Some(locked) = Locked::try_take(fd, name)? else { return Ok(()) };
            if !locked.clear_away()? {
                return Ok(());
            }
            // Again, as in `Segment::drop`.
        }
    }

    /// The ring's name.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The typed parts.
    pub(crate) fn parts(&self) -> &SegmentParts {
        &self.parts
    }

    /// Makes the slots read-only in this mapping: a store to them is a SIGSEGV from here on.
    pub(crate) fn protect_slots(&mut self) -> Result<(), OpenError> {
        let (start, len) = self.parts.slot_pages();
        // SAFETY: whole pages of this mapping. A store to them through a view is a SIGSEGV. The
        // owner is a subscriber, which reads slots, and recovers claims through a second mapping.
        unsafe { shm::protect(start, len) }
            .map_err(|error| self.system("protect slots of", error))?;
        self.is_protected = true;
        Ok(())
    }

    /// Whether the slots are read-only in this mapping.
    pub(crate) fn is_protected(&self) -> bool {
        self.is_protected
    }

    /// Runs `work` on a second, writable mapping of what is mapped here, for a recovery; `None`:
    /// it cannot be had.
    pub(crate) fn with_writable<R>(&self, work: impl FnOnce(RingMemory) -> R) -> Option<R> {
        let second = Second::open(self.fd.as_fd(), self.parts.len()).ok()?;
        let parts = SegmentParts::new(Arc::new(second), *self.parts.settings(), self.parts.salt())?;
        Some(work(parts.memory()))
    }

    /// Takes the control lock.
    pub(crate) fn lock(&self) -> Result<(), OpenError> {
        let taken = lock::exclusive_within(self.fd.as_fd(), CONTROL, self.lock_timeout)
            .map_err(|error| OpenError::system("lock", shm::path(&self.name.object()), error))?;
        if taken {
            return Ok(());
        }
        Err(self.busy())
    }

    fn busy(&self) -> OpenError {
        let endpoint = self.parts.head().membership.lock_holder.load(Ordering::Relaxed);
        OpenError::Busy { name: self.name.as_str().to_owned(), pid: Some(endpoint) }
    }

    /// Takes the control lock if nobody holds it.
    pub(crate) fn try_lock(&self) -> bool {
        lock::try_exclusive(self.fd.as_fd(), CONTROL).unwrap_or(false)
    }

    /// Whether it is the attachment of the process that this one was forked off. Nothing of it is
    /// there to be used.
    pub(crate) fn is_inherited(&self) -> bool {
        self.fd.is_inherited()
    }

    /// An error in a child that was forked.
    pub(crate) fn refuse_inherited(&self) -> Result<(), OpenError> {
        if !self.is_inherited() {
            return Ok(());
        }
        let reason = "it was opened before this process was forked: open it again in the child";
        let reason = std::io::Error::new(std::io::ErrorKind::Unsupported, reason);
        Err(OpenError::system("use", shm::path(&self.name.object()), reason))
    }

    /// Gives the control lock back.
    pub(crate) fn unlock(&self) {
        // Unlocking a lock that is held on an open descriptor cannot fail.
        let _ = lock::release(self.fd.as_fd(), CONTROL);
    }

    /// Takes the lock that tells that the endpoint at this byte lives.
    pub(crate) fn acquire_liveness(&self, byte: u64) -> Result<bool, OpenError> {
        lock::try_exclusive(self.fd.as_fd(), byte)
            .map_err(|error| OpenError::system("lock", shm::path(&self.name.object()), error))
    }

    /// Gives that lock back.
    pub(crate) fn release_liveness(&self, byte: u64) {
        // As in `unlock`.
        let _ = lock::release(self.fd.as_fd(), byte);
    }

    /// Whether somebody else lives at this byte.
    pub(crate) fn is_alive(&self, byte: u64) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), byte)
    }

    /// Takes this attachment back.
    pub(crate) fn detach(&self) {
        failpoint(Failpoint::Detach);
        // Given back here, and not when the descriptor is closed: that is after the control lock.
        // As in `unlock`, it cannot fail.
        let _ = lock::release(self.fd.as_fd(), ATTACHED);
    }

    /// Removes the object if nobody is attached and nobody is expected back. Under the control lock, so
    /// that of two who leave at once one is the last. `true`: somebody else is attached.
    pub(crate) fn remove_if_left(&self) -> bool {
        let is_attached = self.is_attached();
        if !is_attached && !super::is_kept(&self.parts) {
            // An error leaves the object marked: the next to open it finishes.
            let _ = self.give_up();
        }
        failpoint(Failpoint::DetachUnlock);
        is_attached
    }

    /// Whether somebody else is attached.
    pub(crate) fn is_attached(&self) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), ATTACHED)
    }

    /// Whether this process has another attachment to the object.
    pub(crate) fn is_open_elsewhere_here(&self) -> bool {
        let Ok(own) = self.object() else { return false };
        fork::count(|fd| inode(fd, &self.name).is_ok_and(|found| found == own)) > 1
    }

    /// Whether nobody else is attached, and nobody is expected back. Under the control lock.
    pub(super) fn is_deserted(&self) -> bool {
        !self.is_attached() && !super::is_kept(&self.parts)
    }

    /// Marks the segment removed and takes its name away. Under the control lock.
    pub(super) fn give_up(&self) -> Result<(), OpenError> {
        failpoint(Failpoint::RemoveMark);
        self.parts.head().identity.mark_removed();
        failpoint(Failpoint::RemoveUnlink);
        unlink_if_same(&self.name, self.fd.as_fd())
    }

    /// Takes the name away, whoever is attached. Under the control lock.
    pub(crate) fn give_name_up(&self) -> Result<(), OpenError> {
        unlink_if_same(&self.name, self.fd.as_fd())
    }

    /// Whether the ring stands where a ring can stand.
    pub(super) fn check_positions(&self) -> Result<(), OpenError> {
        let head = self.parts.head();
        for (what, word) in [("the tail", &head.tail), ("the oldest packet kept", &head.oldest)] {
            let found = word.load(Ordering::Relaxed);
            if found > FARTHEST {
                let name = self.name.as_str().to_owned();
                return Err(OpenError::Corrupt { name, what, expected: FARTHEST, found });
            }
        }
        Ok(())
    }

    fn object(&self) -> Result<(u64, u64), OpenError> {
        inode(self.fd.as_fd(), &self.name)
    }

    fn system(&self, action: &'static str, error: std::io::Error) -> OpenError {
        OpenError::system(action, shm::path(&self.name.object()), error)
    }
}

/// Removes the name if it still is this object's. Under the control lock of the object, without
/// which nobody gives its name to another.
pub(super) fn unlink_if_same(name: &Name, fd: BorrowedFd<'_>) -> Result<(), OpenError> {
    let object = name.object();
    let is_same = match shm::measure_named(&object) {
        Err(_) => false,
        Ok(named) => named.inode == inode(fd, name)?,
    };
    if !is_same {
        return Ok(());
    }
    shm::unlink(&object).map_err(|error| OpenError::system("remove", shm::path(&object), error))
}
