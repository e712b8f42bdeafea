//! POSIX shared-memory objects: opening, measuring, reserving, protecting.

use rustix::fs::{
    FallocateFlags, Mode, OFlags, fallocate, fchmod, fstat, ftruncate, lstat, open as open_file,
};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};
use rustix::process::{Resource, geteuid, getrlimit};
use rustix::{io, shm};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// Where Linux keeps shared-memory objects.
pub(super) const FOLDER: &str = "/dev/shm";

/// What the kernel knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Its file system and inode, which name it as long as it is open.
    pub(crate) inode: (u64, u64),
    /// Whether its name has been removed.
    pub(crate) unlinked: bool,
    /// Its owner's user id.
    pub(crate) owner: u32,
    /// Whether it is an ordinary object: not a folder, link or device put in its place.
    pub(crate) ordinary: bool,
}

/// Its owner reads and writes it; nobody else does anything.
const OWNERS_ALONE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Opens the object, creating an empty one if asked to: of mode 0600, less what the process's
/// umask takes away ([`give_to_owner`]). The descriptor is closed on exec. A symbolic link in the
/// object's place is not followed (`rustix::shm::open` would).
pub(crate) fn open(name: &str, create: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let flags = if create { flags | OFlags::CREATE } else { flags };
    open_file(path(name), flags, OWNERS_ALONE)
}

/// Makes the object's mode 0600, whatever the umask was.
pub(crate) fn give_to_owner(fd: BorrowedFd<'_>) -> io::Result<()> {
    fchmod(fd, OWNERS_ALONE)
}

/// The user as whom this process opens and makes objects.
pub(crate) fn user() -> u32 {
    geteuid().as_raw()
}

/// Removes the name. Whoever has the object open keeps it.
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    shm::unlink(name)
}

/// What the kernel knows of the open object.
pub(crate) fn measure(fd: BorrowedFd<'_>) -> io::Result<Object> {
    Ok(object(&fstat(fd)?))
}

/// What the kernel knows of the object that has this name now.
pub(crate) fn measure_named(name: &str) -> io::Result<Object> {
    Ok(object(&lstat(path(name))?))
}

/// The path under which the object can be seen.
pub(crate) fn path(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Makes the object `len` zero bytes long, with memory reserved for each of them, so that a full
/// file system is an error here and not a SIGBUS at the first touch of a page. So is a limit on the
/// size of files, for which the kernel would send SIGXFSZ.
pub(crate) fn reserve(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| len > limit) {
        return Err(io::Errno::FBIG);
    }
    ftruncate(fd, 0)?;
    loop {
        match fallocate(fd, FallocateFlags::empty(), 0, len) {
            Err(io::Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// Gives the object's memory back.
pub(crate) fn empty(fd: BorrowedFd<'_>) -> io::Result<()> {
    ftruncate(fd, 0)
}

/// Makes whole pages of a mapping read-only: a store to them is a SIGSEGV from here on.
///
/// # Safety
///
/// `[start, start + len)` is mapped, starts and ends on a page, and nobody in this process writes
/// to it afterwards through this mapping.
pub(crate) unsafe fn protect(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller's promise: mapped, whole pages, not written any more.
    unsafe { mprotect(start.as_ptr().cast(), len, MprotectFlags::READ) }
}

/// Maps the first `len` bytes of an object, to be read and written, and shared.
pub(crate) fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a mapping at an address that the kernel chooses takes nobody's place.
    let start = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, 0) }?;
    NonNull::new(start.cast()).ok_or(io::Errno::NOMEM)
}

/// Takes a mapping away.
///
/// # Safety
///
/// [`map`] gave it, and nobody uses it any more.
pub(crate) unsafe fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise. It fails for ranges that are not whole pages alone.
    let _ = unsafe { munmap(start.as_ptr().cast(), len) };
}

/// Keeps a mapping out of processes that are forked off this one.
///
/// # Safety
///
/// `[start, start + len)` is one whole mapping of this process.
pub(crate) unsafe fn keep_from_children(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller's promise; the advice changes nothing for this process.
    unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxDontFork) }
}

fn object(stat: &rustix::fs::Stat) -> Object {
    Object {
        len: stat.st_size.unsigned_abs(),
        inode: (stat.st_dev, stat.st_ino),
        unlinked: stat.st_nlink == 0,
        owner: stat.st_uid,
        ordinary: rustix::fs::FileType::from_raw_mode(stat.st_mode)
            == rustix::fs::FileType::RegularFile,
    }
}
