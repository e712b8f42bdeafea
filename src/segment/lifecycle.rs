//! Opening a name: the segment is made, attached to, or found to be removed. And its removal.
//!
//! ```text
//!             open ──► control lock ──► what is there?
//!                                        │
//!   unlinked meanwhile ──────────────────┤► open again
//!   empty, or its maker died half-way ───┤► make it ─────────► attached
//!   ready, a process or state keeps it ──┤► check, map ──────► attached
//!   ready, nothing keeps it ─────────────┤► mark removed ─┐
//!   removed ─────────────────────────────┴────────────────┴► unlink, open again
//! ```
//!
//! All of it happens under the control lock, which the kernel releases when its holder dies. So the
//! next process always finds one of these cases.

#![cfg(not(loom))]

use super::identity::{self, Checked, State, Version, whole_len};
use super::layout::Head;
use super::map::Map;
use super::mapped::{ATTACHED, CONTROL, Mapped, Settle, unlink_if_same};
use super::name::Name;
use super::object::{self, Absent};
use super::parts::SegmentParts;
use super::settings::Settings;
use crate::error::{Detachment, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::sys::fork::UnsharedFd;
use crate::sys::{self, lock, shm};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Attaches to the ring of this name, and makes it if `absent` requests that.
///
/// Each wait for the control lock, now and later, ends after `lock_timeout`, if there is one.
pub(super) fn attach(
    name: &Name,
    absent: Absent<'_>,
    lock_timeout: Option<Duration>,
) -> Result<Mapped, OpenError> {
    loop {
        let locked = Locked::take(object::open(name, absent)?, name, lock_timeout)?;
        if let Some(mapped) = locked.enter(absent)? {
            return Ok(mapped.with_lock_timeout(lock_timeout));
        }
    }
}

/// Attaches once more to the object of an attachment.
pub(super) fn attach_again(mapped: &Mapped) -> Result<Mapped, OpenError> {
    mapped.refuse_inherited()?;
    mapped.refuse_lost()?;
    let other = match attach(mapped.name(), Absent::Refuse, mapped.lock_timeout()) {
        Err(OpenError::Busy { .. }) => Err(mapped.busy()),
        Err(OpenError::NotFound { .. }) => Err(mapped.detached(Detachment::NameRemoved)),
        outcome => outcome,
    }?;
    if mapped.object()? != other.object()? {
        return Err(mapped.detached(Detachment::NameRemoved));
    }
    mapped.compare(&other)?;
    Ok(other)
}

/// Removes the object of this name, with its durable subscribers and packets. Returns false if
/// there was none, and [`InUse`](OpenError::InUse) if a process is attached.
pub(super) fn remove(name: &Name, lock_timeout: Option<Duration>) -> Result<bool, OpenError> {
    match ExclusiveSegment::take(name, Absent::Refuse, lock_timeout) {
        Err(OpenError::NotFound { .. }) => Ok(false),
        exclusive => exclusive?.remove().map(|_| true),
    }
}

/// Returns true if a process is attached to the object of this name. Takes no lock.
pub(super) fn is_in_use(name: &Name) -> Result<bool, OpenError> {
    match object::open(name, Absent::Refuse) {
        Err(OpenError::NotFound { .. }) => Ok(false),
        opened => Ok(lock::is_held_elsewhere(opened?.as_fd(), ATTACHED)),
    }
}

/// Outcome of an attempt to remove a deserted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clearance {
    /// There is no object of this name.
    Gone,
    /// A process is attached, or holds the control lock.
    InUse,
    /// Something durable keeps the object.
    Kept,
    /// The object was removed.
    Removed,
}

/// Removes the object of this name if no process is attached and nothing keeps it. This is the work
/// of the last process to leave, which may have been killed. If the control lock is held, this does
/// nothing: the holder removes the object.
pub(super) fn clear_away(name: &Name, settle: Settle) -> Result<Clearance, OpenError> {
    loop {
        let fd = match object::open(name, Absent::Refuse) {
            Err(OpenError::NotFound { .. }) => return Ok(Clearance::Gone),
            opened => opened?,
        };
        // Without the control lock, so that this call does not disturb other processes.
        if lock::is_held_elsewhere(fd.as_fd(), ATTACHED) {
            return Ok(Clearance::InUse);
        }
        let Some(locked) = Locked::try_take(fd, name)? else { return Ok(Clearance::InUse) };
        match locked.clear_away(settle)? {
            // The attached process may have left in vain meanwhile, as in `leave::remove_if_left`.
            Clearance::InUse => {}
            outcome => return Ok(outcome),
        }
    }
}

/// An object that no living process is attached to. No process attaches as long as this value
/// lives: one that opens the name waits for the control lock, and then finds the name gone, or
/// the object as it was before.
pub(crate) struct ExclusiveSegment<'a> {
    locked: Locked<'a>,
    /// The object has no content.
    is_empty: bool,
}

impl<'a> ExclusiveSegment<'a> {
    /// Locks the object of this name; [`InUse`](OpenError::InUse) if a process is attached.
    pub(super) fn take(
        name: &'a Name,
        absent: Absent<'_>,
        lock_timeout: Option<Duration>,
    ) -> Result<Self, OpenError> {
        loop {
            let locked = Locked::take(object::open(name, absent)?, name, lock_timeout)?;
            let object = locked.measure()?;
            if object.unlinked {
                continue;
            }
            object::check_owner(name, &object)?;
            object::check_magic(name, &locked.fd)?;
            if locked.is_attached() {
                return Err(OpenError::InUse { name: name.as_str().to_owned() });
            }
            return Ok(Self { locked, is_empty: object.len == 0 });
        }
    }

    /// Removes the object, with its durable subscribers and packets. Returns false if it was empty.
    pub(crate) fn remove(self) -> Result<bool, OpenError> {
        failpoint(Failpoint::RemoveUnlink);
        self.locked.unlink()?;
        Ok(!self.is_empty)
    }
}

impl Drop for ExclusiveSegment<'_> {
    fn drop(&mut self) {
        if self.is_empty {
            // `take` may have made it. After an error the next process to open the name makes it.
            let _ = self.locked.unlink();
        }
    }
}

/// An open object whose control lock this value holds. Closing the descriptor releases the lock.
struct Locked<'a> {
    name: &'a Name,
    fd: UnsharedFd,
}

impl<'a> Locked<'a> {
    /// Takes the control lock of an open object; [`Busy`](OpenError::Busy) after `lock_timeout`.
    fn take(
        fd: UnsharedFd,
        name: &'a Name,
        lock_timeout: Option<Duration>,
    ) -> Result<Self, OpenError> {
        failpoint(Failpoint::OpenLock);
        match lock::exclusive_within(fd.as_fd(), CONTROL, lock_timeout) {
            Ok(true) => Ok(Self { name, fd }),
            Ok(false) => Err(OpenError::Busy { name: name.as_str().to_owned(), pid: None }),
            // An object that this call created stays, empty: another process may have its lock.
            Err(error) => Err(OpenError::system("lock", shm::path(&name.object()), error)),
        }
    }

    /// Takes the control lock if it is free.
    fn try_take(fd: UnsharedFd, name: &'a Name) -> Result<Option<Self>, OpenError> {
        let taken = lock::try_exclusive(fd.as_fd(), CONTROL)
            .map_err(|error| OpenError::system("lock", shm::path(&name.object()), error))?;
        Ok(taken.then_some(Self { name, fd }))
    }

    /// One turn of the state machine; `None`: open the name again.
    fn enter(self, absent: Absent<'_>) -> Result<Option<Mapped>, OpenError> {
        let object = self.measure()?;
        if object.unlinked {
            return Ok(None);
        }
        object::check_owner(self.name, &object)?;
        if object.len == 0 {
            if self.is_attached() {
                // Other code cut the object. Its users still have it mapped.
                return Err(self.cut());
            }
            return self.make(absent).map(Some);
        }
        let Some(map) = self.map(object.len)? else { return Ok(None) };
        let state = map.head().identity.state(self.name)?;
        if state != State::Ready && self.is_attached() {
            // A process attaches only to a ready segment, and a segment is removed only when no
            // process is attached. Made or removed now, it would vanish under the attached process.
            return Err(identity::not_ready(self.name, state));
        }
        match state {
            State::Unmade => self.make(absent).map(Some),
            State::Removed => self.unlink().map(|()| None),
            State::Ready => match map.head().identity.version(self.name)? {
                Version::Own => self.use_ready(map, object.len),
                Version::Other { found, may_keep } => self.replace_other(found, may_keep),
            },
        }
    }

    /// Removes a segment of another layout version that no process is attached to and nothing
    /// keeps.
    fn replace_other(&self, found: u32, may_keep: bool) -> Result<Option<Mapped>, OpenError> {
        let is_in_use = self.is_attached();
        if is_in_use || may_keep {
            return Err(identity::other_version(self.name, found, is_in_use));
        }
        self.unlink().map(|()| None)
    }

    fn use_ready(self, map: Map, len: u64) -> Result<Option<Mapped>, OpenError> {
        let checked = map.head().identity.check(self.name, len)?;
        let mapped = self.mapped(map, checked)?;
        mapped.check_positions()?;
        if mapped.is_deserted() {
            mapped.give_up()?;
            return Ok(None);
        }
        mapped.attach().map(Some)
    }

    /// Removes the object if no process is attached and nothing keeps it.
    fn clear_away(self, settle: Settle) -> Result<Clearance, OpenError> {
        if self.is_attached() {
            return Ok(Clearance::InUse);
        }
        let object = self.measure()?;
        if object.unlinked {
            return Ok(Clearance::Gone);
        }
        object::check_owner(self.name, &object)?;
        object::check_magic(self.name, &self.fd)?;
        let removed = |()| Clearance::Removed;
        if object.len == 0 {
            return self.unlink().map(removed);
        }
        let Some(map) = self.map(object.len)? else { return Ok(Clearance::Gone) };
        if map.head().identity.state(self.name)? != State::Ready {
            return self.unlink().map(removed);
        }
        if let Version::Other { found, may_keep } = map.head().identity.version(self.name)? {
            return self.replace_other(found, may_keep).map(|_| Clearance::Removed);
        }
        let checked = map.head().identity.check(self.name, object.len)?;
        let mapped = self.mapped(map, checked)?;
        mapped.settle(Some(settle));
        if mapped.is_deserted() {
            return mapped.give_up().map(removed);
        }
        Ok(Clearance::Kept)
    }

    /// Maps the object of this length; `None` if the name is another object's now.
    fn map(&self, len: u64) -> Result<Option<Map>, OpenError> {
        if len < size_of::<Head>() as u64 {
            let least = size_of::<Head>() as u64;
            return Err(object::foreign(self.name, "the length", least, len));
        }
        Map::open(self.name, &self.fd, len)
    }

    fn make(self, absent: Absent<'_>) -> Result<Mapped, OpenError> {
        let Absent::Make(settings) = absent else { return Err(object::not_found(self.name)) };
        match self.make_parts(settings) {
            Ok(parts) => Mapped::new(self.name.clone(), self.fd, parts).attach(),
            Err(error) => {
                // Undo. An object that cannot be unlinked is at least emptied.
                let _ = shm::empty(self.fd.as_fd());
                let _ = self.unlink();
                Err(error)
            }
        }
    }

    fn make_parts(&self, settings: &Settings) -> Result<SegmentParts, OpenError> {
        let system = |action, error| OpenError::system(action, self.path(), error);
        let len = whole_len(settings).unwrap_or(u64::MAX);
        shm::give_to_owner(self.fd.as_fd()).map_err(|error| system("set the mode of", error))?;
        failpoint(Failpoint::MakeReserve);
        shm::reserve(self.fd.as_fd(), len)
            .map_err(|error| object::not_reserved(self.name, len, error))?;
        failpoint(Failpoint::MakeMap);
        let map = self.map(len)?.ok_or_else(|| object::not_found(self.name))?;
        let salt = sys::random().map_err(|error| system("draw a salt for", error))?;
        let parts = self.parts(map, Checked { settings: *settings, salt })?;
        parts.initialize().map_err(|reason| {
            OpenError::system("make events in", self.path(), std::io::Error::other(reason))
        })?;
        failpoint(Failpoint::MakeReady);
        parts.head().identity.write(settings, len, salt);
        Ok(parts)
    }

    fn mapped(self, map: Map, checked: Checked) -> Result<Mapped, OpenError> {
        let parts = self.parts(map, checked)?;
        Ok(Mapped::new(self.name.clone(), self.fd, parts))
    }

    /// The parts of a mapping. This cannot fail: the settings were checked, and the mapping has the
    /// length that follows from them.
    fn parts(&self, map: Map, checked: Checked) -> Result<SegmentParts, OpenError> {
        let Checked { settings, salt } = checked;
        SegmentParts::new(Arc::new(map), settings, salt)
            .ok_or_else(|| object::foreign(self.name, "the geometry", 0, settings.capacity as u64))
    }

    fn measure(&self) -> Result<shm::Object, OpenError> {
        object::measure(self.name, &self.fd)
    }

    /// The error for an object without content that a process is attached to.
    fn cut(&self) -> OpenError {
        let (what, expected) = ("the length of the object", size_of::<Head>() as u64);
        OpenError::Corrupt { name: self.name.as_str().to_owned(), what, expected, found: 0 }
    }

    /// Returns true if another description holds the attachment lock.
    fn is_attached(&self) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), ATTACHED)
    }

    /// Removes the name if it still is this object's.
    fn unlink(&self) -> Result<(), OpenError> {
        unlink_if_same(self.name, self.fd.as_fd())
    }

    fn path(&self) -> String {
        shm::path(&self.name.object())
    }
}
