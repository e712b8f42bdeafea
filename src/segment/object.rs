//! The shared-memory object of a name: it is opened and judged before any lock is taken, and each
//! refusal of the system becomes an error that names the cause and the numbers.
//!
//! Another user can put a file in the place of a name, and lock it. So no call waits for a lock of
//! an object before it has checked the file's type, owner and first bytes. The checks are repeated
//! under the lock.

#![cfg(not(loom))]

use super::identity::MAGIC;
use super::name::Name;
use super::settings::Settings;
use crate::error::OpenError;
use crate::sys::fork::UnsharedFd;
use crate::sys::shm;
use std::io;
use std::os::fd::AsFd;

/// Behaviour if there is no such ring.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absent<'a> {
    /// Make one.
    Make(&'a Settings),
    /// Return [`NotFound`](OpenError::NotFound).
    Refuse,
}

/// Opens the object of this name, and checks its type, owner and first bytes. Creates an empty one
/// if `absent` requests that, and if the kernel grants locks.
pub(super) fn open(name: &Name, absent: Absent<'_>) -> Result<UnsharedFd, OpenError> {
    let object = name.object();
    if let Absent::Make(_) = absent {
        // Before the object is created: without a lock this process could not remove it again.
        shm::try_lock_of_unnamed()
            .map_err(|error| OpenError::system("lock", shm::path(&object), error))?;
    }
    let opened = UnsharedFd::open(|| match absent {
        Absent::Refuse => shm::open(&object),
        Absent::Make(_) => shm::create_or_open(&object),
    });
    let mut fd = opened.map_err(|error| refused(name, error))?;
    check_owner(name, &measure(name, &fd)?)?;
    check_magic(name, &fd)?;
    // From here on the locks that are taken through the descriptor stay until it is dropped.
    fd.pin().map_err(|error| OpenError::system("map", shm::path(&object), error))?;
    Ok(fd)
}

/// The properties of an open object.
pub(super) fn measure(name: &Name, fd: &UnsharedFd) -> Result<shm::Object, OpenError> {
    shm::measure(fd.as_fd())
        .map_err(|error| OpenError::system("look at", shm::path(&name.object()), error))
}

/// Checks that an object is a regular file of this user.
pub(super) fn check_owner(name: &Name, object: &shm::Object) -> Result<(), OpenError> {
    if !object.is_regular() {
        return Err(foreign(
            name,
            "the file type (0x8000: regular)",
            shm::REGULAR.into(),
            object.file_type.into(),
        ));
    }
    let user = shm::user();
    if object.owner == user {
        return Ok(());
    }
    Err(OpenError::OtherUser { name: name.as_str().to_owned(), owner: object.owner, user })
}

/// Checks that an object begins as a segment does, made or not. If so it may be removed, whatever
/// else is wrong with it.
pub(super) fn check_magic(name: &Name, fd: &UnsharedFd) -> Result<(), OpenError> {
    let mut words = [0; 16];
    let mut found = 0;
    // Twice: a maker may store the words between the reads of the first and the second word.
    for _ in 0..2 {
        let len = shm::read_start(fd.as_fd(), &mut words)
            .map_err(|error| OpenError::system("read", shm::path(&name.object()), error))?;
        found = u64::from_le_bytes(words[..8].try_into().unwrap_or_default());
        if found == MAGIC || words[..len].iter().all(|&byte| byte == 0) {
            return Ok(());
        }
    }
    Err(foreign(name, "the magic word", MAGIC, found))
}

/// The error for an object that does not belong to this library.
pub(super) fn foreign(name: &Name, what: &'static str, expected: u64, found: u64) -> OpenError {
    OpenError::Foreign { name: name.as_str().to_owned(), what, expected, found }
}

/// The error if there is no object of this name.
pub(super) fn not_found(name: &Name) -> OpenError {
    OpenError::NotFound { name: name.as_str().to_owned() }
}

/// The error for memory that the system does not reserve.
pub(super) fn not_reserved(name: &Name, needed: u64, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => no_space(name, needed),
        _ => OpenError::system("reserve memory for", shm::path(&name.object()), error),
    }
}

fn no_space(name: &Name, needed: u64) -> OpenError {
    let free = shm::free_bytes().unwrap_or(0);
    OpenError::NoSpace { name: name.as_str().to_owned(), needed, free }
}

/// The error for an object that the system does not open.
fn refused(name: &Name, error: io::Error) -> OpenError {
    if !shm::is_there() {
        return OpenError::NoSharedMemory { folder: shm::FOLDER, source: error };
    }
    match error.raw_os_error() {
        Some(libc::ENOENT) => return not_found(name),
        Some(libc::ENOSPC) => {
            return match shm::inodes() {
                Some((0, limit)) => OpenError::NoInodes { name: name.as_str().to_owned(), limit },
                _ => no_space(name, 0),
            };
        }
        _ => {}
    }
    // The kernel refuses some files before this library can look at them: links, directories, and
    // files of another user in a directory that all users write to (`fs.protected_regular`).
    let judged = shm::measure_named(&name.object()).ok().map(|found| check_owner(name, &found));
    match judged {
        Some(Err(refusal)) => refusal,
        _ => OpenError::system("open", shm::path(&name.object()), error),
    }
}
