//! A segment in a shared-memory object: making it, attaching to it, removing it.
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
//! next finds one of these cases. Attached: a read lock on a second byte of the object, which is
//! how the last to leave knows that it is the last.
//!
//! The object's length is compared with what its words ask for at every attach, under the lock. Who
//! makes it shorter afterwards, as every process of the same user can, has the kernel end those who
//! touch what is gone by SIGBUS: sealing, which would prevent it, is for `memfd` objects only.
//!
//! The object is mapped by `shared_memory`, by name, and the name is checked afterwards to be the
//! object that was opened and locked.

use super::identity::{self, MAGIC, State, whole_len};
use super::layout::{FARTHEST, Head, Places};
use super::memory::Parts;
use super::name::Name;
use super::settings::Settings;
use crate::error::OpenError;
use crate::steps::{Step, step};
use crate::sync::Ordering;
use crate::sys::fork::{Descriptor, Range};
use crate::sys::{lock, shm};
use shared_memory::{Shmem, ShmemConf, ShmemError};
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

/// The byte whose lock is the control lock.
const CONTROL: u64 = 0;
/// The byte on which everyone attached holds a read lock.
const ATTACHED: u64 = 8;

/// What of an object that was made shorter is wrong.
const LENGTH: &str = "the length of the object";

/// What is to be done when there is no such ring.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Absent<'a> {
    /// Make one.
    Make(&'a Settings),
    /// Say so.
    Refuse,
}

/// One attachment to a shared-memory object: a mapping and an open-file description of its own.
#[derive(Debug)]
pub(crate) struct Mapped {
    name: Name,
    fd: Descriptor,
    map: Map,
    pub(crate) places: Places,
    pub(crate) settings: Settings,
    pub(crate) salt: u64,
}

/// A mapping of a whole object, which forked children do not get.
struct Map {
    /// First, so that it is dropped before the range is another's.
    _range: Range,
    memory: Shmem,
}

// SAFETY: a `Shmem` is a pointer to a mapping, its length, a descriptor and a name: none is tied
// to a thread. It is not used to change anything after it was made.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Map").field(&self.memory.get_os_id()).finish()
    }
}

impl Mapped {
    /// Attaches to the ring of this name, making it if that was asked for and it is not there.
    pub(crate) fn open(name: &Name, absent: Absent<'_>) -> Result<Self, OpenError> {
        loop {
            let fd = open_object(name, absent)?;
            let locked = Locked::take(fd, name)?;
            if let Some(mapped) = locked.enter(absent)? {
                return Ok(mapped);
            }
        }
    }

    /// Another attachment to the same object.
    pub(crate) fn another(&self) -> Result<Self, OpenError> {
        self.refuse_inherited()?;
        let other = Self::open(&self.name, Absent::Refuse)?;
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
        let (own, now) = (&self.settings, &other.settings);
        let words = [
            ("the salt", self.salt, other.salt),
            ("the capacity", own.capacity as u64, now.capacity as u64),
            ("the number of publishers", own.max_publishers as u64, now.max_publishers as u64),
            ("the number of subscribers", own.max_subscribers as u64, now.max_subscribers as u64),
            ("the history", own.history as u64, now.history as u64),
            ("the flags", identity::flags(own), identity::flags(now)),
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
    pub(crate) fn remove(name: &Name) -> Result<bool, OpenError> {
        let fd = match open_object(name, Absent::Refuse) {
            Err(OpenError::NotFound { .. }) => return Ok(false),
            outcome => outcome?,
        };
        let locked = Locked::take(fd, name)?;
        let object = locked.measure()?;
        if object.unlinked {
            return Ok(false);
        }
        locked.check_kind(&object)?;
        locked.check_magic()?;
        if locked.is_attached() {
            return Err(OpenError::InUse { name: name.as_str().to_owned() });
        }
        locked.unlink()?;
        Ok(true)
    }

    /// The ring's name.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The typed parts.
    pub(crate) fn parts(&self) -> Parts {
        let base = self.map.base();
        // SAFETY: the mapping is page-aligned and `places.end` long: `enter` compared the
        // object's length with the settings', and `Map::open` the mapping's with that. We never
        // make a segment shorter while somebody is attached. Another process of the same user
        // can: the pages that are gone are then a SIGBUS, which ends this process, and nothing
        // worse. It lives as long as `self`, to which every user of the parts is tied.
        unsafe { Parts::new(base, self.places, self.settings) }
    }

    /// Makes the slots read-only in this mapping: a store to them is a SIGSEGV from here on.
    pub(crate) fn protect_slots(&self) -> Result<(), OpenError> {
        let (start, len) = self.parts().slot_pages();
        // SAFETY: whole pages of this mapping. Its owner is a subscriber, which only reads slots
        // and recovers claims through a mapping of its own.
        unsafe { shm::protect(start, len) }.map_err(|errno| self.system("protect slots of", errno))
    }

    /// A second, writable attachment to what is mapped here, for a recovery.
    pub(crate) fn writable(&self) -> Result<Self, OpenError> {
        let fd = Descriptor::open(|| rustix::io::fcntl_dupfd_cloexec(&self.fd, 0))
            .map_err(|errno| self.system("duplicate the descriptor of", errno))?;
        let len = self.places.end as u64;
        let map = Map::open(&self.name, fd.as_fd(), len)?.ok_or_else(|| not_found(&self.name))?;
        let name = self.name.clone();
        Ok(Self { name, fd, map, places: self.places, settings: self.settings, salt: self.salt })
    }

    /// Takes the control lock, sleeping for as long as another holds it.
    pub(crate) fn lock(&self) -> Result<(), OpenError> {
        lock::exclusive(self.fd.as_fd(), CONTROL)
            .map_err(|error| OpenError::system("lock", shm::path(&self.name.object()), error))
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
    pub(crate) fn sit(&self, byte: u64) -> Result<bool, OpenError> {
        lock::try_exclusive(self.fd.as_fd(), byte)
            .map_err(|error| OpenError::system("lock", shm::path(&self.name.object()), error))
    }

    /// Gives that lock back.
    pub(crate) fn rise(&self, byte: u64) {
        // As in `unlock`.
        let _ = lock::release(self.fd.as_fd(), byte);
    }

    /// Whether somebody else lives at this byte.
    pub(crate) fn lives(&self, byte: u64) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), byte)
    }

    /// Takes this attachment back, and removes the object if it was the last and nothing durable
    /// remains. Under the control lock, so that of two who leave at once one is the last.
    pub(crate) fn leave(&self) {
        step(Step::Detach);
        // Given back here, and not when the descriptor is closed: that is after the control lock.
        // As in `unlock`, it cannot fail.
        let _ = lock::release(self.fd.as_fd(), ATTACHED);
        let last = !lock::is_held_elsewhere(self.fd.as_fd(), ATTACHED);
        if last && !super::has_durable(self.parts().memory(self.salt).subscribers()) {
            step(Step::RemoveMark);
            self.parts().head().identity.mark_removed();
            step(Step::RemoveUnlink);
            // An error leaves the object marked: the next to open it finishes.
            let _ = unlink_if_same(&self.name, self.fd.as_fd());
        }
    }

    /// Whether the ring stands where a ring can stand.
    fn check_positions(&self) -> Result<(), OpenError> {
        let parts = self.parts();
        let head = parts.head();
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

    fn system(&self, action: &'static str, errno: rustix::io::Errno) -> OpenError {
        OpenError::system(action, shm::path(&self.name.object()), errno)
    }
}

/// An open object whose control lock is held.
struct Locked<'a> {
    name: &'a Name,
    fd: Descriptor,
}

impl<'a> Locked<'a> {
    fn take(fd: Descriptor, name: &'a Name) -> Result<Self, OpenError> {
        step(Step::OpenLock);
        lock::exclusive(fd.as_fd(), CONTROL)
            .map_err(|error| OpenError::system("lock", shm::path(&name.object()), error))?;
        Ok(Self { name, fd })
    }

    /// One turn of the state machine; `None`: open again.
    fn enter(self, absent: Absent<'_>) -> Result<Option<Mapped>, OpenError> {
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
        let mapped = self.mapped(map, checked.settings, checked.salt)?;
        mapped.check_positions()?;
        let durable = super::has_durable(mapped.parts().memory(checked.salt).subscribers());
        if !durable && !lock::is_held_elsewhere(mapped.fd.as_fd(), ATTACHED) {
            mapped.parts().head().identity.mark_removed();
            unlink_if_same(&mapped.name, mapped.fd.as_fd())?;
            return Ok(None);
        }
        mapped.attach().map(Some)
    }

    fn make(self, absent: Absent<'_>) -> Result<Mapped, OpenError> {
        let Absent::Make(settings) = absent else { return Err(not_found(self.name)) };
        match self.make_here(settings) {
            Ok((map, salt)) => self.mapped(map, *settings, salt)?.attach(),
            Err(error) => {
                // As if it had not been tried. What cannot be taken away is emptied at least.
                let _ = shm::empty(self.fd.as_fd());
                let _ = self.unlink();
                Err(error)
            }
        }
    }

    fn make_here(&self, settings: &Settings) -> Result<(Map, u64), OpenError> {
        let system = |action, errno| OpenError::system(action, self.path(), errno);
        let len = whole_len(settings).unwrap_or(u64::MAX);
        shm::give_to_owner(self.fd.as_fd()).map_err(|errno| system("set the mode of", errno))?;
        step(Step::MakeReserve);
        shm::reserve(self.fd.as_fd(), len).map_err(|errno| system("reserve memory for", errno))?;
        step(Step::MakeMap);
        let map = Map::open(self.name, self.fd.as_fd(), len)?;
        let map = map.ok_or_else(|| not_found(self.name))?;
        let salt = random()?;
        // SAFETY: reserved and mapped with the length that these settings take; used here alone.
        let parts = unsafe { Parts::new(map.base(), self.places(settings)?, *settings) };
        super::initialize(&parts, settings).map_err(|reason| {
            OpenError::system("make events in", self.path(), std::io::Error::other(reason))
        })?;
        step(Step::MakeReady);
        parts.head().identity.write(settings, len, salt);
        Ok((map, salt))
    }

    fn places(&self, settings: &Settings) -> Result<Places, OpenError> {
        Places::of_settings(settings)
            .ok_or_else(|| self.foreign("its geometry", 0, settings.capacity as u64))
    }

    fn mapped(self, map: Map, settings: Settings, salt: u64) -> Result<Mapped, OpenError> {
        let places = self.places(&settings)?;
        let name = self.name.clone();
        Ok(Mapped { name, fd: self.fd, map, places, settings, salt })
    }

    /// Whether it can be a segment of this user at all.
    fn check_kind(&self, object: &shm::Object) -> Result<(), OpenError> {
        if !object.ordinary {
            return Err(self.foreign("its kind", 1, 0));
        }
        let user = shm::user();
        if object.owner != user {
            return Err(self.foreign("its owner's user id", user.into(), object.owner.into()));
        }
        Ok(())
    }

    fn measure(&self) -> Result<shm::Object, OpenError> {
        shm::measure(self.fd.as_fd())
            .map_err(|errno| OpenError::system("look at", self.path(), errno))
    }

    /// Whether it begins as a segment does, made or not: whatever else is wrong with it, it may be
    /// removed.
    fn check_magic(&self) -> Result<(), OpenError> {
        let mut words = [0; 16];
        let len = rustix::io::pread(&self.fd, &mut words, 0)
            .map_err(|errno| OpenError::system("read", self.path(), errno))?;
        let found = u64::from_le_bytes(words[..8].try_into().unwrap_or_default());
        if found == MAGIC || words[..len].iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        Err(self.foreign("the magic word", MAGIC, found))
    }

    fn is_attached(&self) -> bool {
        lock::is_held_elsewhere(self.fd.as_fd(), ATTACHED)
    }

    fn unlink(&self) -> Result<(), OpenError> {
        unlink_if_same(self.name, self.fd.as_fd())
    }

    fn path(&self) -> String {
        shm::path(&self.name.object())
    }

    fn foreign(&self, what: &'static str, expected: u64, found: u64) -> OpenError {
        OpenError::Foreign { name: self.name.as_str().to_owned(), what, expected, found }
    }
}

impl Mapped {
    /// Says that this attachment is there and ends the control lock.
    fn attach(self) -> Result<Self, OpenError> {
        step(Step::Attach);
        lock::shared(self.fd.as_fd(), ATTACHED)
            .map_err(|error| OpenError::system("lock", shm::path(&self.name.object()), error))?;
        self.unlock();
        Ok(self)
    }
}

impl Map {
    /// Maps the object that `fd` is open on and that is `len` bytes long; `None` if the name is
    /// another object's by now.
    fn open(name: &Name, fd: BorrowedFd<'_>, len: u64) -> Result<Option<Self>, OpenError> {
        let object = name.object();
        let mapped = ShmemConf::new().os_id(&object).open();
        let same = match shm::measure_named(&object) {
            Err(rustix::io::Errno::NOENT) => false,
            outcome => {
                let named = outcome
                    .map_err(|errno| OpenError::system("look at", shm::path(&object), errno))?;
                named.inode == inode(fd, name)?
            }
        };
        if !same {
            return Ok(None);
        }
        let memory =
            mapped.map_err(|error| OpenError::system("map", shm::path(&object), cause(error)))?;
        let (start, found) = (base(&memory), memory.len());
        if (found as u64) < len {
            // Made shorter since it was measured.
            let (name, found) = (name.as_str().to_owned(), found as u64);
            return Err(OpenError::Corrupt { name, what: LENGTH, expected: len, found });
        }
        // SAFETY: one whole mapping.
        unsafe { shm::keep_from_children(start, found) }
            .map_err(|errno| OpenError::system("keep from children", shm::path(&object), errno))?;
        Ok(Some(Self { _range: Range::announce(start, found), memory }))
    }

    fn base(&self) -> NonNull<u8> {
        base(&self.memory)
    }

    fn head(&self) -> &Head {
        debug_assert!(self.memory.len() >= size_of::<Head>());
        // SAFETY: the mapping is at least as long as the object was measured to be, and that as
        // long as a head; it consists of atomics, for which any bytes are values; a mapping is
        // aligned to a page.
        unsafe { self.base().cast::<Head>().as_ref() }
    }
}

fn base(memory: &Shmem) -> NonNull<u8> {
    // SAFETY: the address of a mapping is never null.
    unsafe { NonNull::new_unchecked(memory.as_ptr()) }
}

/// The kernel's error behind one of `shared_memory`, which keeps its number only.
fn cause(error: ShmemError) -> std::io::Error {
    match error {
        ShmemError::MapOpenFailed(errno) | ShmemError::UnknownOsError(errno) => {
            std::io::Error::from_raw_os_error(errno.cast_signed())
        }
        error => std::io::Error::other(error),
    }
}

fn open_object(name: &Name, absent: Absent<'_>) -> Result<Descriptor, OpenError> {
    let object = name.object();
    let make = matches!(absent, Absent::Make(_));
    Descriptor::open(|| shm::open(&object, make)).map_err(|errno| match errno {
        rustix::io::Errno::NOENT => not_found(name),
        errno => OpenError::system("open", shm::path(&object), errno),
    })
}

/// Removes the name if it still is this object's. Under the control lock of the object, without
/// which nobody gives its name to another.
fn unlink_if_same(name: &Name, fd: BorrowedFd<'_>) -> Result<(), OpenError> {
    let object = name.object();
    let is_same = match shm::measure_named(&object) {
        Err(_) => false,
        Ok(named) => named.inode == inode(fd, name)?,
    };
    if !is_same {
        return Ok(());
    }
    shm::unlink(&object).map_err(|errno| OpenError::system("remove", shm::path(&object), errno))
}

fn inode(fd: BorrowedFd<'_>, name: &Name) -> Result<(u64, u64), OpenError> {
    let object = shm::measure(fd)
        .map_err(|errno| OpenError::system("look at", shm::path(&name.object()), errno))?;
    Ok(object.inode)
}

fn random() -> Result<u64, OpenError> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| OpenError::system("ask for", "random bytes", errno))?;
    Ok(u64::from_le_bytes(bytes))
}

fn not_found(name: &Name) -> OpenError {
    OpenError::NotFound { name: name.as_str().to_owned() }
}
