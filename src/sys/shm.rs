//! POSIX shared-memory objects: opening, measuring, reserving, protecting.

use super::check;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
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
const OWNERS_ALONE: u32 = 0o600;

/// Opens the object, creating an empty one if asked to: of mode 0600, less what the process's
/// umask takes away ([`give_to_owner`]). The descriptor is closed on exec. A symbolic link in the
/// object's place is not followed (`shm_open` of some C libraries would).
pub(crate) fn open(name: &str, create: bool) -> io::Result<OwnedFd> {
    let mut options = File::options();
    options.read(true).write(true).create(create).truncate(false).mode(OWNERS_ALONE);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path(name)).map(OwnedFd::from)
}

/// Makes the object's mode 0600, whatever the umask was.
pub(crate) fn give_to_owner(fd: BorrowedFd<'_>) -> io::Result<()> {
    file(fd).set_permissions(Permissions::from_mode(OWNERS_ALONE))
}

/// The user as whom this process opens and makes objects.
pub(crate) fn user() -> u32 {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() }
}

/// Removes the name. Whoever has the object open keeps it.
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    std::fs::remove_file(path(name))
}

/// The names of all objects that begin so.
pub(crate) fn names(prefix: &str) -> io::Result<Vec<String>> {
    let files = std::fs::read_dir(FOLDER)?.filter_map(Result::ok);
    let names = files.filter_map(|file| Some(format!("/{}", file.file_name().to_str()?)));
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

/// What the kernel knows of the open object.
pub(crate) fn measure(fd: BorrowedFd<'_>) -> io::Result<Object> {
    Ok(object(&file(fd).metadata()?))
}

/// What the kernel knows of the object that has this name now.
pub(crate) fn measure_named(name: &str) -> io::Result<Object> {
    Ok(object(&std::fs::symlink_metadata(path(name))?))
}

/// The path under which the object can be seen.
pub(crate) fn path(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Makes the object `len` zero bytes long, with memory reserved for each of them, so that a full
/// file system is an error here and not a SIGBUS at the first touch of a page. So is a limit on the
/// size of files, for which the kernel would send SIGXFSZ.
pub(crate) fn reserve(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    let too_large = || io::Error::from_raw_os_error(libc::EFBIG);
    if len > largest_file() {
        return Err(too_large());
    }
    empty(fd)?;
    let len = libc::off_t::try_from(len).map_err(|_| too_large())?;
    loop {
        // SAFETY: changes an open object, and no memory of this process.
        match check(unsafe { libc::fallocate(fd.as_raw_fd(), 0, 0, len) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// No file may be made longer than this.
fn largest_file() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: writes one `rlimit`, which `limit` is. It fails for limits that there are not.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    limit.rlim_cur
}

/// Gives the object's memory back.
pub(crate) fn empty(fd: BorrowedFd<'_>) -> io::Result<()> {
    file(fd).set_len(0)
}

/// Reads the first bytes of the object, as many as there are. Returns their number.
pub(crate) fn read_start(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    file(fd).read_at(bytes, 0)
}

/// Makes whole pages of a mapping read-only: a store to them is a SIGSEGV from here on.
///
/// # Safety
///
/// `[start, start + len)` is mapped, starts and ends on a page, and nobody in this process writes
/// to it afterwards through this mapping.
pub(crate) unsafe fn protect(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller's promise: mapped, whole pages, not written any more.
    check(unsafe { libc::mprotect(start.as_ptr().cast(), len, libc::PROT_READ) })
}

/// Maps the first `len` bytes of an object, to be read and written, and shared.
pub(crate) fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<NonNull<u8>> {
    let (anywhere, fd) = (std::ptr::null_mut(), fd.as_raw_fd());
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a mapping at an address that the kernel chooses takes nobody's place.
    let start = unsafe { libc::mmap(anywhere, len, protection, libc::MAP_SHARED, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Takes a mapping away.
///
/// # Safety
///
/// [`map`] gave it, and nobody uses it any more.
pub(crate) unsafe fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise. It fails for ranges that are not whole pages alone.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
}

/// Keeps a mapping out of processes that are forked off this one.
///
/// # Safety
///
/// `[start, start + len)` is one whole mapping of this process.
pub(crate) unsafe fn keep_from_children(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller's promise; the advice changes nothing for this process.
    check(unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTFORK) })
}

/// The open object as a file of the standard library, which is not closed in the end.
fn file(fd: BorrowedFd<'_>) -> impl std::ops::Deref<Target = File> {
    // SAFETY: `fd` is open for as long as it is borrowed; what comes of it is dropped by the
    // functions here, which borrow it, and dropping it does not close it.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) })
}

fn object(found: &Metadata) -> Object {
    Object {
        len: found.len(),
        inode: (found.dev(), found.ino()),
        unlinked: found.nlink() == 0,
        owner: found.uid(),
        ordinary: found.is_file(),
    }
}
