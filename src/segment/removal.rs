//! The removal of objects that no process is attached to: by name, or because processes were
//! killed.
//!
//! A worker's socket lies among the objects. Its name is used once, and it is open from the moment
//! on when it has the name. So a socket that is not open never opens again, and its removal needs
//! no lock.
//!
//! `segment::lifecycle` says what a removal leaves where only another user may unlink the name.

#![cfg(not(loom))]

use super::identity::{self, START, State, Version};
use super::lifecycle::Locked;
use super::mapped::{ATTACHED, Settle};
use super::name::Name;
use super::object::{self, Absent};
use super::reports;
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::sys::lock::{self, LockLimit};
use crate::sys::shm;
use crate::trace::Hold;
use std::io;
use std::os::fd::AsFd;

/// As [`remove`], for an object of a list: an empty file is that of another program.
pub(super) fn remove_listed(name: &Name, limit: &LockLimit) -> Result<bool, OpenError> {
    let found = shm::measure_named(&name.object());
    if found.is_ok_and(|found| found.is_regular() && object::is_own(&found) && found.len == 0) {
        return Err(object::foreign(name, "the length", START, 0));
    }
    remove(name, limit)
}

/// Removes the object of this name, with its durable subscribers and packets. Returns false if
/// there was none, and [`InUse`](OpenError::InUse) if a process is attached.
pub(super) fn remove(name: &Name, limit: &LockLimit) -> Result<bool, OpenError> {
    if object::is_socket(name) {
        return match clear_socket(name)? {
            Clearance::InUse => Err(OpenError::InUse { name: name.shown() }),
            outcome => Ok(outcome == Clearance::Removed),
        };
    }
    match ExclusiveSegment::take(name, Absent::Refuse, limit) {
        Err(OpenError::NotFound { .. }) => Ok(false),
        exclusive => exclusive?.remove(),
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
    if object::is_socket(name) {
        return clear_socket(name);
    }
    let _hold = Hold::new();
    loop {
        let fd = match object::open(name) {
            Err(OpenError::NotFound { .. }) => return Ok(Clearance::Gone),
            opened => opened?,
        };
        // Without the control lock, so that this call does not disturb other processes.
        if lock::is_held_elsewhere(fd.as_fd(), ATTACHED) {
            return Ok(Clearance::InUse);
        }
        let Some(locked) = Locked::try_take(fd, name)? else { return Ok(Clearance::InUse) };
        match locked.clear_away(settle).inspect_err(reports::failed)? {
            // The attached process may have left in vain meanwhile, as in `remove_if_left`.
            Clearance::InUse => {}
            outcome => return Ok(outcome),
        }
    }
}

/// Removes the socket of this name if no process has it open.
fn clear_socket(name: &Name) -> Result<Clearance, OpenError> {
    // Not there any more: the next step finds out.
    if let Ok(socket) = shm::measure_named(&name.object()) {
        object::check_socket_owner(name, &socket)?;
    }
    match object::is_socket_open(name) {
        Ok(true) => return Ok(Clearance::InUse),
        Ok(false) => {}
        Err(OpenError::NotFound { .. }) => return Ok(Clearance::Gone),
        Err(error) => return Err(error),
    }
    match shm::unlink(&name.object()) {
        Ok(()) => Ok(Clearance::Removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Clearance::Gone),
        Err(error) => Err(OpenError::system("remove", shm::path(&name.object()), error)),
    }
}

/// An object that no living process is attached to. No process attaches as long as this value
/// lives. A process that opens the name waits for the control lock. Then it finds the name gone, or
/// the object as it was before.
pub(crate) struct ExclusiveSegment<'a> {
    locked: Locked<'a>,
    /// The object has no content: it is empty, or was removed.
    is_void: bool,
    /// Last, so that trace events are emitted after the control lock is released.
    _hold: Hold,
}

impl<'a> ExclusiveSegment<'a> {
    /// Locks the object of this name; [`InUse`](OpenError::InUse) if a process is attached.
    pub(super) fn take(
        name: &'a Name,
        absent: Absent<'_>,
        limit: &LockLimit,
    ) -> Result<Self, OpenError> {
        let hold = Hold::new();
        loop {
            let locked = Locked::open(name, absent, limit)?;
            let object = locked.measure()?;
            if object.unlinked {
                continue;
            }
            object::check_owner(name, &object)?;
            let state = object::check_magic(name, &locked.fd)?;
            if locked.is_attached() {
                return Err(match state {
                    // Removed before: processes that were attached then still are.
                    Some(State::Nameless) => object::not_found(name),
                    _ => OpenError::InUse { name: name.shown() },
                });
            }
            let is_void = object.len == 0 || state.is_some_and(|state| state != State::Ready);
            return Ok(Self { locked, is_void, _hold: hold });
        }
    }

    /// Removes the object, with its durable subscribers and packets. Returns false if it had none.
    pub(crate) fn remove(self) -> Result<bool, OpenError> {
        failpoint(Failpoint::RemoveUnlink);
        self.locked.discard()?;
        if !self.is_void {
            reports::removed(self.locked.name);
        }
        Ok(!self.is_void)
    }
}

impl Drop for ExclusiveSegment<'_> {
    fn drop(&mut self) {
        if self.is_void {
            // `take` may have made it. After an error the next process to open the name makes it.
            let _ = self.locked.unlink();
        }
    }
}

impl Locked<'_> {
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
        if object.len == 0 {
            // This library did not give it its name, or was killed where that takes two steps.
            return Err(object::foreign(self.name, "the length", START, 0));
        }
        let (start, _) = object::read_start(self.name, &self.fd)?;
        if identity::state_of(self.name, &start)? != State::Ready {
            // Of an object that only its owner may unlink, this releases the memory: the last
            // process that was attached to a nameless one may have been killed.
            return self
                .discard()
                .map(|gone| if gone { Clearance::Removed } else { Clearance::Gone });
        }
        let Some(map) = self.map(object.len)? else { return Ok(Clearance::Gone) };
        if let Version::Other { found, may_keep } = map.head().identity.version(self.name)? {
            return self.replace_other(found, may_keep).map(|_| Clearance::Removed);
        }
        let checked = map.head().identity.check(self.name, object.len)?;
        let mapped = self.mapped(map, checked)?;
        mapped.settle(Some(settle));
        if mapped.is_deserted() {
            return mapped.give_up().map(|()| Clearance::Removed);
        }
        Ok(Clearance::Kept)
    }
}
