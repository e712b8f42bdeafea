//! Coming into a segment: it is made, attached to, or found to be removed.
//!
//! ```text
//!             open ──► control lock ──► what is there?
//!                                        │
//!   unlinked meanwhile ──────────────────┤► open again
//!   empty, or its maker died half-way ───┤► make it ─────────► attached
//!   ready, somebody or something uses it ┤► check, map ──────► attached
//!   ready, nobody alive, nothing durable ┤► mark removed ─┐
//!   removed ─────────────────────────────┴────────────────┴► unlink, open again
//! ```
//!
//! One lock decides all of it, and the kernel drops it when its holder dies, so whoever comes
//! next finds one of these cases.

use super::identity::{self, Checked, MAGIC, State, whole_len};
use super::layout::Head;
use super::map::Map;
use super::mapped::{ATTACHED, CONTROL, Mapped, unlink_if_same};
use super::name::Name;
use super::settings::Settings;
use super::view::SegmentParts;
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::sys::fork::Descriptor;
use crate::sys::{self, lock, shm};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done when there is no such ring.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Absent<'a> {
    /// Make one.
    Make(&'a Settings),
    /// Say so.
    Refuse,
}

/// An open object whose control lock is held.
pub(super) struct Locked<'a> {
    name: &'a Name,
    fd: Descriptor,
}

impl<'a> Locked<'a> {
    /// Takes the control lock of an open object.
    pub(super) fn take(
        fd: Descriptor,
        name: &'a Name,
        lock_timeout: Option<Duration>,
    ) -> Result<Self, OpenError> {
        failpoint(Failpoint::OpenLock);
        let taken = lock::exclusive_within(fd.as_fd(), CONTROL, lock_timeout)
            .map_err(|error| OpenError::system("lock", shm::path(&name.object()), error))?;
        if taken {
            return Ok(Self { name, fd });
        }
        Err(OpenError::Busy { name: name.as_str().to_owned(), pid: None })
    }

    /// The same, if nobody has it.
    pub(super) fn try_take(fd: Descriptor, name: &'a Name) -> Result<Option<Self>, OpenError> {
        let taken = lock::try_exclusive(fd.as_fd(), CONTROL)
            .map_err(|error| OpenError::system("lock", shm::path(&name.object()), error))?;
        Ok(taken.then_some(Self { name, fd }))
    }

    /// One turn of the state machine; `None`: open again.
    pub(super) fn enter(self, absent: Absent<'_>) -> Result<Option<Mapped>, OpenError> {
        let object = self.measure()?;
        if object.unlinked {
            return Ok(None);
        }
        self.check_kind(&object)?;
        if object.len == 0 {
            return self.make(absent).map(Some);
        }
        if object.len < size_of::<Head>() as u64 {
            return Err(self.foreign("its length", size_of::<Head>() as u64, object.len));
        }
        let map = Map::open(self.name, self.fd.as_fd(), object.len)?;
        let Some(map) = map else { return Ok(None) };
        let state = map.head().identity.state(self.name)?;
        if state != State::Ready && self.is_attached() {
            // Nobody attaches before it is ready, and it is not removed before everyone has left.
            // Made or removed now, it would go from under their feet.
            return Err(identity::not_ready(self.name, state));
        }
        match state {
            State::Unmade => self.make(absent).map(Some),
            State::Removed => self.unlink().map(|()| None),
            State::Ready => self.use_ready(map, object.len),
        }
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

    /// Removes the object if nobody is attached and nobody is expected back. `true`: somebody is
    /// attached.
    pub(super) fn clear_away(self) -> Result<bool, OpenError> {
        let is_attached = self.is_attached();
        if !is_attached {
            self.clear_left()?;
        }
        Ok(is_attached)
    }

    /// The same, where nobody is attached.
    fn clear_left(self) -> Result<(), OpenError> {
        let object = self.measure()?;
        if object.unlinked {
            return Ok(());
        }
        self.check_kind(&object)?;
        if object.len == 0 {
            return self.unlink();
        }
        if object.len < size_of::<Head>() as u64 {
            return Err(self.foreign("its length", size_of::<Head>() as u64, object.len));
        }
        let map = Map::open(self.name, self.fd.as_fd(), object.len)?;
        let Some(map) = map else { return Ok(()) };
        if map.head().identity.state(self.name)? != State::Ready {
            return self.unlink();
        }
        let checked = map.head().identity.check(self.name, object.len)?;
        let mapped = self.mapped(map, checked)?;
        if mapped.is_deserted() { mapped.give_up() } else { Ok(()) }
    }

    fn make(self, absent: Absent<'_>) -> Result<Mapped, OpenError> {
        let Absent::Make(settings) = absent else { return Err(not_found(self.name)) };
        match self.make_here(settings) {
            Ok(parts) => Mapped::new(self.name.clone(), self.fd, parts).attach(),
            Err(error) => {
                // As if it had not been tried. What cannot be taken away is emptied at least.
                let _ = shm::empty(self.fd.as_fd());
                let _ = self.unlink();
                Err(error)
            }
        }
    }

    fn make_here(&self, settings: &Settings) -> Result<SegmentParts, OpenError> {
        let system = |action, error| OpenError::system(action, self.path(), error);
        let len = whole_len(settings).unwrap_or(u64::MAX);
        shm::give_to_owner(self.fd.as_fd()).map_err(|error| system("set the mode of", error))?;
        failpoint(Failpoint::MakeReserve);
        shm::reserve(self.fd.as_fd(), len).map_err(|error| system("reserve memory for", error))?;
        failpoint(Failpoint::MakeMap);
        let map = Map::open(self.name, self.fd.as_fd(), len)?;
        let map = map.ok_or_else(|| not_found(self.name))?;
        let salt = sys::random().map_err(|error| system("draw a salt for", error))?;
        let parts = self.parts(map, Checked { settings: *settings, salt })?;
        super::initialize(&parts, settings).map_err(|reason| {
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

    /// The parts of a mapping. It cannot fail: the settings were checked, and the mapping is as long
    /// as they take.
    fn parts(&self, map: Map, checked: Checked) -> Result<SegmentParts, OpenError> {
        let Checked { settings, salt } = checked;
        SegmentParts::new(Arc::new(map), settings, salt)
            .ok_or_else(|| self.foreign("its geometry", 0, settings.capacity as u64))
    }

    /// Whether it can be a segment of this user at all.
    pub(super) fn check_kind(&self, object: &shm::Object) -> Result<(), OpenError> {
        if !object.ordinary {
            return Err(self.foreign("its kind", 1, 0));
        }
        let user = shm::user();
        if object.owner != user {
            return Err(self.foreign("its owner's user id", user.into(), object.owner.into()));
        }
        Ok(())
    }

    pub(super) fn measure(&self) -> Result<shm::Object, OpenError> {
        shm::measure(self.fd.as_fd())
            .map_err(|error| OpenError::system("look at", self.path(), error))
    }

    /// Whether it begins as a segment does, made or not: whatever else is wrong with it, it may be
    /// removed.
    pub(super) fn check_magic(&self) -> Result<(), OpenError> {
        let mut words = [0; 16];
        let len = shm::read_start(self.fd.as_fd(), &mut words)
            .map_err(|error| OpenError::system("read", self.path(), error))?;
        let found = u64::from_le_bytes(words[..8].try_into().unwrap_or_default());
        if found == MAGIC || words[..len].iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        Err(self.foreign("the magic word", MAGIC, found))
    }

    /// Whether somebody else is attached.
    pub(super) fn is_attached(&self) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), ATTACHED)
    }

    /// Removes the name, if it still is this object's.
    pub(super) fn unlink(&self) -> Result<(), OpenError> {
        unlink_if_same(self.name, self.fd.as_fd())
    }

    fn path(&self) -> String {
        shm::path(&self.name.object())
    }

    fn foreign(&self, what: &'static str, expected: u64, found: u64) -> OpenError {
        OpenError::Foreign { name: self.name.as_str().to_owned(), what, expected, found }
    }
}

/// Opens the object of this name, making an empty one if asked to.
pub(super) fn open_object(name: &Name, absent: Absent<'_>) -> Result<Descriptor, OpenError> {
    let object = name.object();
    let make = matches!(absent, Absent::Make(_));
    Descriptor::open(|| shm::open(&object, make)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => not_found(name),
        _ => OpenError::system("open", shm::path(&object), error),
    })
}

/// There is no such ring.
pub(super) fn not_found(name: &Name) -> OpenError {
    OpenError::NotFound { name: name.as_str().to_owned() }
}
