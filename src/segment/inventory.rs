//! A list of all objects of this user, without attaching to any of them; and one of the objects of
//! other users, without opening them.
//!
//! Guarantees:
//!
//! - No lock is taken, and no object is changed.
//! - One object that is broken, foreign or vanishing does not stop the list.
//!
//! [`passive`](super::passive) reads a segment and checks its words.

#![cfg(not(loom))]

use super::entry::Kept;
use super::identity;
pub(crate) use super::identity::VERSION as LAYOUT_VERSION;
use super::mapped::ATTACHED;
use super::name::Name;
use super::object;
use super::passive::{ObjectContent, PassiveSegment};
use crate::error::OpenError;
use crate::sys::fork::UnsharedFd;
use crate::sys::{lock, machine, shm};
use std::os::fd::AsFd;
use std::time::Duration;

/// One object.
#[derive(Debug)]
pub(crate) struct FoundObject {
    pub(crate) name: Name,
    pub(crate) path: String,
    /// Length in bytes.
    pub(crate) len: u64,
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    /// Time since the object was made.
    pub(crate) age: Duration,
    /// Layout version of a segment that is ready.
    pub(crate) layout: Option<u32>,
    pub(crate) is_attached: bool,
    /// Process ids, ascending.
    pub(crate) processes: Vec<u32>,
    /// Ids of processes that only read it, ascending.
    pub(crate) observers: Vec<u32>,
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
    Ok(find_all(Name::all()?))
}

/// Lists the objects of other users, in the order of their names. Opens none of them.
pub(crate) fn list_of_other_users() -> Result<Vec<FoundObject>, OpenError> {
    let user = shm::user();
    let measured = Name::all()?.into_iter().filter_map(|name| {
        let (object, age) = shm::measure_aged(&name.object()).ok()?;
        (object.owner != user).then_some((name, object, age))
    });
    let mut found: Vec<_> = measured.collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    found.sort_by(|(one, ..), (other, ..)| one.as_str().cmp(other.as_str()));
    // Root sees the processes of other users.
    let users = machine::processes_of_shared_mappings();
    let with_fault = |(name, object, age)| {
        let fault = Some(object::other_user(&name, &object));
        FoundObject::of(name, &object, age, &users, fault)
    };
    Ok(found.into_iter().map(with_fault).collect())
}

/// Finds the objects of these names, in the order of their names. Objects that are gone or another
/// user's are left out.
pub(crate) fn find_all(mut names: Vec<Name>) -> Vec<FoundObject> {
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    // Before this process maps an object to read it.
    let users = machine::processes_of_shared_mappings();
    names.into_iter().filter_map(|name| find(name, &users)).collect()
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
            content = Content::read(&name, opened, now.len)?;
            Ok(())
        }),
    };
    let fault = match read {
        Err(OpenError::NotFound { .. } | OpenError::OtherUser { .. }) => return None,
        read => read.err(),
    };
    let mut found = FoundObject::of(name, &object, age, users, fault);
    // `/proc` shows no process of another user, nor of another pid namespace.
    if found.processes.is_empty() || is_shared(&object) {
        found.processes.append(&mut content.owners);
        found.processes.sort_unstable();
        found.processes.dedup();
    }
    let Content { layout, kept, has_cells, .. } = content;
    Some(FoundObject { layout, is_attached, kept, has_cells, ..found })
}

impl FoundObject {
    /// An object of which only the file is known.
    fn of(
        name: Name,
        object: &shm::Object,
        age: Duration,
        users: &machine::Users,
        fault: Option<OpenError>,
    ) -> Self {
        let mapping = users.get(&object.inode).cloned().unwrap_or_default();
        Self {
            path: shm::path(&name.object()),
            name,
            len: object.len,
            mode: object.mode,
            owner: object.owner,
            group: object.group,
            age,
            layout: None,
            is_attached: false,
            processes: mapping.writing,
            observers: mapping.reading,
            kept: Kept::Unknown,
            has_cells: false,
            fault,
        }
    }
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

    fn read(name: &Name, fd: UnsharedFd, len: u64) -> Result<Self, OpenError> {
        Ok(match PassiveSegment::map(name, fd, len)? {
            ObjectContent::Nothing => Self::none(),
            ObjectContent::OtherLayout { found, may_keep } => {
                let kept = if may_keep { Kept::Unknown } else { Kept::Nothing };
                Self { layout: Some(found), kept, ..Self::unknown() }
            }
            ObjectContent::Segment(segment) => Self {
                layout: Some(identity::VERSION),
                kept: segment.parts().kept(),
                has_cells: segment.settings().cells > 0,
                owners: segment.owners(),
            },
        })
    }
}
