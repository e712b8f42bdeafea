//! Opening a name: the segment is made, attached to, or found to be removed.
//!
//! ```text
//!   there is none ──► an object without a name: mode, group, first bytes, control lock ──► link
//!                                                                                            │
//!             open ──► control lock ──► what is there?                          make it ◄────┘
//!                                        │
//!   unlinked meanwhile ──────────────────┤► open again
//!   empty, or a name without content ────┤► make it ─────────► attached
//!   ready, a process or state keeps it ──┤► check, map ──────► attached
//!   ready, nothing keeps it ─────────────┤► mark removed ─┐
//!   removed, or its maker died ──────────┴────────────────┴► unlink, open again
//!                                                            not permitted: clear, make it
//! ```
//!
//! All of it happens under the control lock, which the kernel releases when its holder dies. So the
//! next process always finds one of these cases.
//!
//! In `/dev/shm` the kernel lets only the owner of a file unlink it. Where another user of the
//! object's group removes it, the file stays: marked as removed, and without memory. Its owner's
//! next open, sweep or purge unlinks it. Another user's next open makes a segment in it. The memory
//! of a nameless one is released by the next sweep after its last process has gone.

#![cfg(not(loom))]

use super::identity::{self, Checked, START, State, Version, whole_len};
use super::layout::Head;
use super::map::{Map, SecondMap};
use super::mapped::{ATTACHED, CONTROL, Mapped, discard, unlink_if_same};
use super::name::Name;
use super::object::{self, Absent};
use super::parts::SegmentParts;
use super::reports;
use super::settings::Settings;
use crate::error::{Detachment, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::sys::fork::UnsharedFd;
use crate::sys::lock::{self, LockLimit};
use crate::sys::{self, shm};
use crate::trace::{Hold, WaitClock};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Attaches to the ring of this name, and makes it if `absent` requests that.
///
/// `limit` ends each wait for the control lock.
pub(super) fn attach(
    name: &Name,
    absent: Absent<'_>,
    limit: &LockLimit,
) -> Result<Mapped, OpenError> {
    let _hold = Hold::new();
    let attached = loop {
        match Locked::open(name, absent, limit).and_then(|locked| locked.enter(absent)) {
            Ok(None) => {}
            Ok(Some(mapped)) => break Ok(mapped),
            Err(error) => break Err(error),
        }
    };
    attached.inspect_err(reports::failed)
}

/// Attaches once more to the object of an attachment.
pub(super) fn attach_again(mapped: &Mapped, limit: &LockLimit) -> Result<Mapped, OpenError> {
    mapped.refuse_inherited()?;
    mapped.refuse_lost()?;
    let other = match attach(mapped.name(), Absent::Refuse, limit) {
        Err(OpenError::Busy { .. }) => Err(mapped.busy()),
        Err(OpenError::NotFound { .. }) => Err(mapped.detached(Detachment::NameRemoved)),
        outcome => outcome,
    }?;
    if mapped.object()? != other.object()? {
        return Err(mapped.detached(Detachment::NameRemoved));
    }
    mapped.compare(&other).inspect_err(reports::failed)?;
    Ok(other)
}

/// Returns true if a process is attached to the object of this name. Takes no lock.
pub(super) fn is_in_use(name: &Name) -> Result<bool, OpenError> {
    let found = match object::is_socket(name) {
        true => object::is_socket_open(name),
        false => object::open(name).map(|fd| lock::is_held_elsewhere(fd.as_fd(), ATTACHED)),
    };
    match found {
        Err(OpenError::NotFound { .. }) => Ok(false),
        found => found,
    }
}

/// Returns true if the object of this name has content. Takes no lock.
pub(super) fn has_content(name: &Name) -> Result<bool, OpenError> {
    match object::open(name) {
        Err(OpenError::NotFound { .. }) => Ok(false),
        opened => {
            let (start, len) = object::read_start(name, &opened?)?;
            Ok(len > 0 && identity::state_of(name, &start)? == State::Ready)
        }
    }
}

/// Maps the segment of this name without attaching to it, and closes its descriptor.
/// [`NotFound`](OpenError::NotFound) if it was removed.
pub(super) fn map_only(name: &Name) -> Result<SegmentParts, OpenError> {
    let fd = object::open(name)?;
    let object = object::measure(name, &fd)?;
    object::check_owner(name, &object)?;
    let (start, len) = object::read_start(name, &fd)?;
    if object.unlinked || len == 0 || identity::state_of(name, &start)? != State::Ready {
        return Err(object::not_found(name));
    }
    let system = |error| OpenError::system("map", shm::path(&name.object()), error);
    let len = usize::try_from(object.len).unwrap_or(usize::MAX);
    let map = SecondMap::open(fd.as_fd(), len).map_err(system)?;
    let short = || object::foreign(name, "the length", size_of::<Head>() as u64, object.len);
    let Checked { settings, salt } =
        map.head().ok_or_else(short)?.identity.check(name, object.len)?;
    SegmentParts::new(Arc::new(map), settings, salt).ok_or_else(short)
}

/// An open object whose control lock this value holds. Closing the descriptor releases the lock.
pub(super) struct Locked<'a> {
    pub(super) name: &'a Name,
    pub(super) fd: UnsharedFd,
}

impl<'a> Locked<'a> {
    /// Opens the object of this name and takes its control lock. Creates the object if `absent`
    /// requests that.
    pub(super) fn open(
        name: &'a Name,
        absent: Absent<'_>,
        limit: &LockLimit,
    ) -> Result<Self, OpenError> {
        loop {
            match (object::open(name), absent) {
                (Err(OpenError::NotFound { .. }), Absent::Make(settings)) => {
                    if let Some(locked) = Self::create(name, settings, limit)? {
                        return Ok(locked);
                    }
                }
                (opened, _) => return Self::take(opened?, name, limit),
            }
        }
    }

    /// Creates the object of this name and takes its control lock. `None` if another process
    /// created it first.
    fn create(
        name: &'a Name,
        settings: &Settings,
        limit: &LockLimit,
    ) -> Result<Option<Self>, OpenError> {
        let needed = whole_len(settings).unwrap_or(u64::MAX);
        if let Some(fd) = object::create_unnamed(name, needed)? {
            // Before it has a name: an object that cannot be locked could not be removed again.
            let locked = Self::take(fd, name, limit)?;
            failpoint(Failpoint::MakeName);
            if let Some(is_first) = object::give_name(name, &locked.fd)? {
                return Ok(is_first.then_some(locked));
            }
        }
        let created = object::create_named(name)?;
        created.map(|fd| Self::take(fd, name, limit)).transpose()
    }

    /// Takes the control lock of an open object; [`Busy`](OpenError::Busy) after the timeout
    /// of `limit`.
    fn take(fd: UnsharedFd, name: &'a Name, limit: &LockLimit) -> Result<Self, OpenError> {
        failpoint(Failpoint::OpenLock);
        let clock = WaitClock::start();
        let taken = lock::exclusive_within(fd.as_fd(), CONTROL, limit);
        reports::waited(&clock, || name.shown(), None, matches!(taken, Ok(true)));
        match taken {
            Ok(true) => Ok(Self { name, fd }),
            Ok(false) if limit.is_stopped() => Err(OpenError::Stopped { name: name.shown() }),
            Ok(false) => Err(OpenError::Busy { name: name.shown(), pid: None }),
            // An object that this call created stays, empty: another process may have its lock.
            Err(error) => Err(OpenError::system("lock", shm::path(&name.object()), error)),
        }
    }

    /// Takes the control lock if it is free.
    pub(super) fn try_take(fd: UnsharedFd, name: &'a Name) -> Result<Option<Self>, OpenError> {
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
            return self.make(absent, &object).map(Some);
        }
        let (start, _) = object::read_start(self.name, &self.fd)?;
        match identity::state_of(self.name, &start)? {
            State::Ready => {
                let Some(map) = self.map(object.len)? else { return Ok(None) };
                match map.head().identity.version(self.name)? {
                    Version::Own => self.use_ready(map, &object),
                    Version::Other { found, may_keep } => self.replace_other(found, may_keep),
                }
            }
            // A process attaches only to a ready segment, and a segment is removed only when no
            // process is attached. Made or removed now, it would vanish under the attached process.
            State::Removed if self.is_attached() => Err(identity::not_ready(self.name, &start)),
            State::Removed if object.len == START => self.make(absent, &object).map(Some),
            State::Removed | State::Nameless => self.replace(absent, &object),
        }
    }

    /// Unlinks a removed object, so that its name is free. If this user may not, the segment is
    /// made in it.
    fn replace(
        self,
        absent: Absent<'_>,
        object: &shm::Object,
    ) -> Result<Option<Mapped>, OpenError> {
        if self.unlink()? {
            return Ok(None);
        }
        if matches!(absent, Absent::Make(_)) && self.is_attached() {
            return Err(OpenError::InUse { name: self.name.shown() });
        }
        self.make(absent, object).map(Some)
    }

    /// Removes a segment of another layout version that no process is attached to and nothing
    /// keeps.
    pub(super) fn replace_other(
        &self,
        found: u32,
        may_keep: bool,
    ) -> Result<Option<Mapped>, OpenError> {
        let is_in_use = self.is_attached();
        if is_in_use || may_keep {
            return Err(identity::other_version(self.name, found, is_in_use));
        }
        let discarded = self.discard().map(|_| None);
        if discarded.is_ok() {
            reports::removed(self.name);
        }
        discarded
    }

    fn use_ready(self, map: Map, object: &shm::Object) -> Result<Option<Mapped>, OpenError> {
        let checked = map.head().identity.check(self.name, object.len)?;
        let name = self.name;
        let mapped = self.mapped(map, checked)?;
        mapped.check_positions()?;
        if mapped.is_deserted() {
            mapped.give_up()?;
            return Ok(None);
        }
        object::check_access(name, object)?;
        mapped.attach().map(Some)
    }

    /// Maps the object of this length; `None` if the name is another object's now.
    pub(super) fn map(&self, len: u64) -> Result<Option<Map>, OpenError> {
        if len < size_of::<Head>() as u64 {
            let least = size_of::<Head>() as u64;
            return Err(object::foreign(self.name, "the length", least, len));
        }
        Map::open(self.name, &self.fd, len)
    }

    /// Makes the segment in an object without content and without users.
    fn make(self, absent: Absent<'_>, object: &shm::Object) -> Result<Mapped, OpenError> {
        let Absent::Make(settings) = absent else { return Err(object::not_found(self.name)) };
        match self.make_parts(settings, object) {
            Ok(parts) => {
                reports::made(self.name, parts.len());
                Mapped::new(self.name.clone(), self.fd, parts).attach()
            }
            Err(error) => {
                // Undo. Without the name or the memory, the next process continues all the same.
                let _ = self.discard();
                Err(error)
            }
        }
    }

    fn make_parts(
        &self,
        settings: &Settings,
        object: &shm::Object,
    ) -> Result<SegmentParts, OpenError> {
        let system = |action, error| OpenError::system(action, self.path(), error);
        let len = whole_len(settings).unwrap_or(u64::MAX);
        if object.len <= START {
            // Empty, or begun for another access by a process that was killed.
            object::begin(self.name, &self.fd, len)?;
        }
        if object.len > len {
            // It was removed, and cannot be unlinked. To cut it would take pages from a process
            // that reads it for a list.
            let [len, found] = [len, object.len].map(|bytes| bytes.to_string());
            return Err(object::mismatch(self.name, "size in bytes", len, found));
        }
        failpoint(Failpoint::MakeReserve);
        shm::clear_behind(self.fd.as_fd(), START).map_err(|error| system("clear", error))?;
        shm::reserve(self.fd.as_fd(), len)
            .map_err(|error| object::not_reserved(self.name, len, error))?;
        failpoint(Failpoint::MakeMap);
        let map = self.map(len)?.ok_or_else(|| object::not_found(self.name))?;
        let salt = sys::random().map_err(|error| system("draw a salt for", error))?;
        let parts = self.parts(map, Checked { settings: *settings, salt })?;
        // SAFETY: the segment is not ready, so no other process maps it.
        unsafe { parts.initialize() }.map_err(|reason| {
            OpenError::system("make events in", self.path(), std::io::Error::other(reason))
        })?;
        failpoint(Failpoint::MakeReady);
        parts.head().identity.write(settings, len, salt);
        Ok(parts)
    }

    pub(super) fn mapped(self, map: Map, checked: Checked) -> Result<Mapped, OpenError> {
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

    pub(super) fn measure(&self) -> Result<shm::Object, OpenError> {
        object::measure(self.name, &self.fd)
    }

    /// The error for an object without content that a process is attached to.
    fn cut(&self) -> OpenError {
        let (what, expected) = ("the length of the object", size_of::<Head>() as u64);
        OpenError::Corrupt { name: self.name.shown(), what, expected, found: 0 }
    }

    /// Returns true if another description holds the attachment lock.
    pub(super) fn is_attached(&self) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), ATTACHED)
    }

    /// Removes the name if it still is this object's. Returns false if only the owner may.
    pub(super) fn unlink(&self) -> Result<bool, OpenError> {
        unlink_if_same(self.name, self.fd.as_fd())
    }

    /// Removes an object without users: see [`discard`].
    pub(super) fn discard(&self) -> Result<bool, OpenError> {
        discard(self.name, self.fd.as_fd())
    }

    fn path(&self) -> String {
        shm::path(&self.name.object())
    }
}
