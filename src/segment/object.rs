//! The shared-memory object of a name: it is opened and judged before any lock is taken, and each
//! refusal of the system becomes an error that names the cause and the numbers.
//!
//! Another user can put a file in the place of a name, and lock it. So no call waits for a lock of
//! an object before it has checked the file's type, owner and first bytes. The checks are repeated
//! under the lock.
//!
//! A new object has no name at first. It gets its mode, its group, its first bytes and a holder of
//! its control lock before it gets its name. So no process ever sees it with other permissions, and
//! each file that begins with the first bytes of an object is one of this library.
//!
//! Where the system gives no name to an open file, an object begins as an empty file of its name,
//! with no more permissions than it has later. An empty file may be one of another program: the
//! next process to open its name makes a segment in it, and no other call removes it by itself.

#![cfg(not(loom))]

use super::identity::{self, START, State};
use super::name::{Access, Name};
use super::settings::Settings;
use crate::error::{DisplayName, OpenError};
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

/// Opens the object of this name, and checks its type, owner and first bytes.
pub(super) fn open(name: &Name) -> Result<UnsharedFd, OpenError> {
    let opened = UnsharedFd::open(|| shm::open(&name.object()));
    let mut fd = opened.map_err(|error| refused(name, error))?;
    check_owner(name, &measure(name, &fd)?)?;
    check_magic(name, &fd)?;
    // From here on the locks that are taken through the descriptor stay until it is dropped.
    pin(name, &mut fd)?;
    Ok(fd)
}

/// Creates an object without a name, which has its group, its mode and its first bytes. `None` on a
/// file system without such files. The segment needs `needed` bytes.
pub(super) fn create_unnamed(name: &Name, needed: u64) -> Result<Option<UnsharedFd>, OpenError> {
    let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
    let opened = UnsharedFd::open(|| shm::create_unnamed()?.ok_or_else(unsupported));
    let mut fd = match opened {
        Err(error) if error.raw_os_error().is_none() => return Ok(None),
        opened => opened.map_err(|error| refused(name, error))?,
    };
    begin(name, &fd, needed)?;
    pin(name, &mut fd)?;
    Ok(Some(fd))
}

/// Gives an unnamed object its name. Returns false if another object has it, and `None` if the
/// system gives no name to an open file.
pub(super) fn give_name(name: &Name, fd: &UnsharedFd) -> Result<Option<bool>, OpenError> {
    let linked = shm::link(fd.as_fd(), &name.object()).map_err(|error| refused(name, error))?;
    Ok(match linked {
        shm::Linked::Done => Some(true),
        shm::Linked::Exists => Some(false),
        shm::Linked::Refused => None,
    })
}

/// Creates an empty object of this name; `None` if there is one.
pub(super) fn create_named(name: &Name) -> Result<Option<UnsharedFd>, OpenError> {
    let mut fd = match UnsharedFd::open(|| shm::create(&name.object())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        opened => opened.map_err(|error| refused(name, error))?,
    };
    pin(name, &mut fd)?;
    Ok(Some(fd))
}

fn pin(name: &Name, fd: &mut UnsharedFd) -> Result<(), OpenError> {
    fd.pin().map_err(|error| OpenError::system("map", shm::path(&name.object()), error))
}

/// Gives an object without content the access that its opener chose, and its first bytes.
pub(super) fn begin(name: &Name, fd: &UnsharedFd, needed: u64) -> Result<(), OpenError> {
    let (access, object) = (name.access().unwrap_or(Access::Owner), measure(name, fd)?);
    // An object of another user has it: otherwise it would not have been opened.
    if is_own(&object) {
        shm::set_access(fd.as_fd(), access.mode(), access.group())
            .map_err(|error| access_refused(name, access, error))?;
    }
    shm::write_at(fd.as_fd(), &identity::unmade(), 0)
        .map_err(|error| not_reserved(name, needed, error))
}

/// The error for a group or a mode that the system does not set.
fn access_refused(name: &Name, access: Access, error: io::Error) -> OpenError {
    match access.group() {
        Some(group) if error.kind() == io::ErrorKind::PermissionDenied => OpenError::BadSettings {
            reason: format!(
                "group {group} is none of this process (user id {}); add the user to the group and \
                 start the process again, or choose one of its groups",
                shm::user()
            ),
        },
        _ => OpenError::system("set the group and mode of", shm::path(&name.object()), error),
    }
}

/// The properties of an open object.
pub(super) fn measure(name: &Name, fd: &UnsharedFd) -> Result<shm::Object, OpenError> {
    shm::measure(fd.as_fd())
        .map_err(|error| OpenError::system("look at", shm::path(&name.object()), error))
}

/// Checks that an object is a regular file of this user, or of another one that shares it as the
/// opener chose: with this mode and this group.
pub(super) fn check_owner(name: &Name, object: &shm::Object) -> Result<(), OpenError> {
    if !object.is_regular() {
        return Err(foreign(
            name,
            "the file type (0x8000: regular)",
            shm::REGULAR.into(),
            object.file_type.into(),
        ));
    }
    let is_shared =
        |access: Access| access.group() == Some(object.group) && access.mode() == object.mode;
    if is_own(object) || name.access().is_some_and(is_shared) {
        return Ok(());
    }
    Err(other_user(name, object))
}

/// As [`check_owner`], for a socket, whose mode says nothing.
pub(super) fn check_socket_owner(name: &Name, socket: &shm::Object) -> Result<(), OpenError> {
    let is_shared = |access: Access| access.group() == Some(socket.group);
    if is_own(socket) || name.access().is_some_and(is_shared) {
        return Ok(());
    }
    Err(other_user(name, socket))
}

/// The error for an object of another user.
pub(super) fn other_user(name: &Name, object: &shm::Object) -> OpenError {
    OpenError::OtherUser {
        name: name.shown(),
        owner: object.owner,
        user: shm::user(),
        mode: object.mode,
        group: object.group,
    }
}

/// Returns true if the object of this name is a worker's socket.
pub(super) fn is_socket(name: &Name) -> bool {
    let is_it = |found: shm::Object| found.file_type == shm::SOCKET;
    DisplayName(name.as_str()).is_socket() && shm::measure_named(&name.object()).is_ok_and(is_it)
}

/// Returns true if a process has the socket of this name open.
pub(super) fn is_socket_open(name: &Name) -> Result<bool, OpenError> {
    shm::is_socket_open(&name.object()).map_err(|error| refused(name, error))
}

/// Returns true if this user owns an object. In `/dev/shm` the kernel lets no other user unlink it,
/// except root.
pub(super) fn is_own(object: &shm::Object) -> bool {
    object.owner == shm::user()
}

/// Checks that an existing object has the access that the opener chose, if it chose one.
pub(super) fn check_access(name: &Name, object: &shm::Object) -> Result<(), OpenError> {
    let Some(access) = name.access() else { return Ok(()) };
    let (setting, expected, found) = match access.group() {
        _ if access.mode() != object.mode => {
            let octal = |mode| format!("{mode:04o}");
            ("mode", octal(access.mode()), octal(object.mode))
        }
        Some(group) if group != object.group => {
            ("group", group.to_string(), object.group.to_string())
        }
        _ => return Ok(()),
    };
    Err(mismatch(name, setting, expected, found))
}

/// The error for an object with another setting.
pub(super) fn mismatch(
    name: &Name,
    setting: &'static str,
    expected: String,
    found: String,
) -> OpenError {
    OpenError::SettingsMismatch { name: name.shown(), setting, expected, found }
}

/// Checks that an object is empty, or begins as an object of this library does, made or not.
/// Returns its state; `None` if it is empty, or its state is invalid.
pub(super) fn check_magic(name: &Name, fd: &UnsharedFd) -> Result<Option<State>, OpenError> {
    let (start, len) = read_start(name, fd)?;
    match identity::state_of(name, &start) {
        Err(error @ OpenError::Foreign { .. }) if len > 0 => Err(error),
        state => Ok(state.ok()),
    }
}

/// Reads the first bytes of an object. Returns them, with zeros behind the end of the object, and
/// how many there were.
pub(super) fn read_start(
    name: &Name,
    fd: &UnsharedFd,
) -> Result<([u8; START as usize], usize), OpenError> {
    let mut start = [0; START as usize];
    let len = shm::read_start(fd.as_fd(), &mut start)
        .map_err(|error| OpenError::system("read", shm::path(&name.object()), error))?;
    Ok((start, len))
}

/// The error for an object that does not belong to this library.
pub(super) fn foreign(name: &Name, what: &'static str, expected: u64, found: u64) -> OpenError {
    OpenError::Foreign { name: name.shown(), what, expected, found }
}

/// The error if there is no object of this name.
pub(super) fn not_found(name: &Name) -> OpenError {
    OpenError::NotFound { name: name.shown() }
}

/// The error for memory that the system does not reserve.
pub(super) fn not_reserved(name: &Name, needed: u64, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => no_space(name, needed),
        _ => OpenError::system("reserve memory for", shm::path(&name.object()), error),
    }
}

/// The error for a mapping of `needed` bytes whose pages the system does not make present.
pub(super) fn not_populated(
    name: &Name,
    fd: &UnsharedFd,
    needed: u64,
    error: io::Error,
) -> OpenError {
    // An access to the page would be a SIGBUS: other code cut the object, or gave memory of it
    // back, and the file system has none left.
    match (error.raw_os_error(), measure(name, fd)) {
        (Some(libc::EFAULT), Ok(object)) if object.len < needed => OpenError::Corrupt {
            name: name.shown(),
            what: "the length of the object",
            expected: needed,
            found: object.len,
        },
        (Some(libc::EFAULT), _) => no_space(name, needed),
        _ => OpenError::system("populate", shm::path(&name.object()), error),
    }
}

fn no_space(name: &Name, needed: u64) -> OpenError {
    let free = shm::free_bytes().unwrap_or(0);
    OpenError::NoSpace { name: name.shown(), needed, free }
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
                Some((0, limit)) => OpenError::NoInodes { name: name.shown(), limit },
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
