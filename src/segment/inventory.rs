//! A list of all objects of this user, without attaching to any of them.
//!
//! Guarantees:
//!
//! - No lock is taken, and no object is changed.
//! - One object that is broken, foreign or vanishing does not stop the list.
//!
//! Only a segment that is ready is mapped. No object is made shorter, so the mapping keeps its
//! pages. Each word is checked as when a process attaches.

#![cfg(not(loom))]

use super::entry::{EntryId, Kept, OwnerState};
use super::identity::{self, State, Version};
use super::layout::EntryOwner;
use super::map::SecondMap;
use super::mapped::ATTACHED;
use super::name::Name;
use super::object;
use super::parts::SegmentParts;
use crate::error::OpenError;
use crate::sys::fork::UnsharedFd;
use crate::sys::{lock, machine, shm};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// One object of this user.
#[derive(Debug)]
pub(crate) struct FoundObject {
    pub(crate) name: Name,
    pub(crate) path: String,
    /// Length in bytes.
    pub(crate) len: u64,
    pub(crate) mode: u32,
    pub(crate) group: u32,
    /// Time since the object was made.
    pub(crate) age: Duration,
    /// Layout version of a segment that is ready.
    pub(crate) layout: Option<u32>,
    pub(crate) is_attached: bool,
    /// Process ids, ascending.
    pub(crate) processes: Vec<u32>,
    pub(crate) kept: Kept,
    /// It is a board. False if the object could not be read.
    pub(crate) has_cells: bool,
    /// The reason why the object could not be read.
    pub(crate) fault: Option<OpenError>,
}

/// The words that were read from an object.
struct Content {
    layout: Option<u32>,
    kept: Kept,
    has_cells: bool,
    /// Process ids of the living owners of entries, as these processes wrote them.
    owners: Vec<u32>,
}

/// Lists the objects of this user, in the order of their names.
pub(crate) fn list() -> Result<Vec<FoundObject>, OpenError> {
    let mut names = Name::all()?;
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    // Before this process maps an object to read it.
    let users = machine::processes_of_shared_mappings();
    Ok(names.into_iter().filter_map(|name| find(name, &users)).collect())
}

/// The object of this name; `None` if it is gone, or another user's.
fn find(name: Name, users: &machine::Users) -> Option<FoundObject> {
    let (object, age) = shm::measure_aged(&name.object()).ok()?;
    if object.owner != shm::user() {
        return None;
    }
    let (mut is_attached, mut content) = (false, Content::unknown());
    let read = match object::is_socket(&name) {
        true => object::is_socket_open(&name).map(|is_open| {
            (is_attached, content) = (is_open, Content::none());
        }),
        false => object::open(&name).and_then(|opened| {
            is_attached = lock::is_held_elsewhere(opened.as_fd(), ATTACHED);
            let now = object::measure(&name, &opened)?;
            content = Content::read(&name, &opened, now.len)?;
            Ok(())
        }),
    };
    let fault = match read {
        Err(OpenError::NotFound { .. } | OpenError::OtherUser { .. }) => return None,
        read => read.err(),
    };
    let mut processes = users.get(&object.inode).cloned().unwrap_or_default();
    // `/proc` shows no process of another user, nor of another pid namespace.
    if processes.is_empty() || is_shared(&object) {
        processes.append(&mut content.owners);
        processes.sort_unstable();
        processes.dedup();
    }
    let path = shm::path(&name.object());
    let Content { layout, kept, has_cells, .. } = content;
    Some(FoundObject {
        name,
        path,
        len: object.len,
        mode: object.mode,
        group: object.group,
        age,
        layout,
        is_attached,
        processes,
        kept,
        has_cells,
        fault,
    })
}

/// Returns true if other users may use an object.
fn is_shared(object: &shm::Object) -> bool {
    object.mode & 0o077 != 0
}

impl Content {
    fn unknown() -> Self {
        Self { layout: None, kept: Kept::Unknown, has_cells: false, owners: Vec::new() }
    }

    /// That of an object that is not made yet, that was removed, or that is a socket.
    fn none() -> Self {
        Self { kept: Kept::Nothing, ..Self::unknown() }
    }

    fn read(name: &Name, fd: &UnsharedFd, len: u64) -> Result<Self, OpenError> {
        let system = |action, error| OpenError::system(action, shm::path(&name.object()), error);
        let (start, read) = object::read_start(name, fd)?;
        if read == 0 && !lock::is_held_elsewhere(fd.as_fd(), ATTACHED) {
            return Err(object::foreign(name, "the length", identity::START, 0));
        }
        if identity::state_of(name, &start)? != State::Ready {
            return Ok(Self::none());
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let map = SecondMap::open(fd.as_fd(), len).map_err(|error| system("map", error))?;
        let Some(head) = map.head() else {
            let least = size_of::<super::layout::Head>() as u64;
            return Err(object::foreign(name, "the length", least, len as u64));
        };
        // Again, with acquire, as no lock orders the loads below.
        if head.identity.state(name)? != State::Ready {
            return Ok(Self::none());
        }
        if let Version::Other { found, may_keep } = head.identity.version(name)? {
            let kept = if may_keep { Kept::Unknown } else { Kept::Nothing };
            return Ok(Self { layout: Some(found), kept, ..Self::unknown() });
        }
        let checked = head.identity.check(name, len as u64)?;
        let parts = SegmentParts::new(Arc::new(map), checked.settings, checked.salt)
            .ok_or_else(|| object::foreign(name, "the geometry", 0, len as u64))?;
        Ok(Self {
            layout: Some(identity::VERSION),
            kept: parts.kept(),
            has_cells: checked.settings.cells > 0,
            owners: owners(&parts, fd),
        })
    }
}

/// The process ids of the living owners of entries and worker slots, ascending.
fn owners(parts: &SegmentParts, fd: &UnsharedFd) -> Vec<u32> {
    let is_alive = |entry| lock::is_held_elsewhere(fd.as_fd(), parts.lock_of(entry));
    let pid_of = |owner: &EntryOwner, entry| {
        let is_owned = OwnerState::of(owner) != OwnerState::Free && is_alive(entry);
        is_owned.then(|| owner.pid.load(crate::sync::Ordering::Relaxed))
    };
    let memory = parts.memory();
    let publishers = memory.publishers().iter().enumerate();
    let publishers = publishers
        .filter_map(|(index, entry)| pid_of(&entry.details.owner, EntryId::Publisher(index)));
    let subscribers = memory.subscribers().iter().enumerate();
    let subscribers = subscribers
        .filter_map(|(index, entry)| pid_of(&entry.details.owner, EntryId::Subscriber(index)));
    let slots = parts.worker_slots();
    let workers = slots.all().iter().enumerate();
    let workers = workers
        .filter(|(index, _)| is_alive(EntryId::WorkerSlot(*index)))
        .map(|(_, slot)| slot.read().pid);
    let mut pids: Vec<u32> = publishers.chain(subscribers).chain(workers).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}
