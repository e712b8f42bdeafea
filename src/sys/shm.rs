//! POSIX shared-memory objects: open, inspect, reserve, map, protect.

use super::check;
use std::ffi::CString;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::ptr::NonNull;
use std::time::Duration;

/// The directory in which Linux keeps shared-memory objects.
pub(crate) const FOLDER: &str = "/dev/shm";

/// The properties of an object, as the kernel reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// The length in bytes.
    pub(crate) len: u64,
    /// File system and inode. They identify the object as long as it is open.
    pub(crate) inode: (u64, u64),
    /// True if the name of the object was removed.
    pub(crate) unlinked: bool,
    /// The user id of the owner.
    pub(crate) owner: u32,
    /// The type bits of the mode (`S_IFMT`).
    pub(crate) file_type: u32,
}

impl Object {
    /// Returns false for a directory, link or device.
    pub(crate) fn is_regular(&self) -> bool {
        self.file_type == REGULAR
    }
}

/// The type bits of a regular file.
pub(crate) const REGULAR: u32 = libc::S_IFREG;

/// The mode of all objects: only the owner reads and writes.
const OWNER_ONLY: u32 = 0o600;

/// Opens an object. The descriptor is closed on exec. A symbolic link is not followed; `shm_open`
/// of some C libraries would follow it.
pub(crate) fn open(name: &str) -> io::Result<OwnedFd> {
    options().open(path(name)).map(OwnedFd::from)
}

/// As [`open`], and creates an empty object if there is none.
///
/// Its mode is 0600, minus the bits of the process's umask ([`give_to_owner`] restores them). The
/// kernel refuses `O_CREAT` for an existing file of another user in a directory that all users
/// write to, so an existing file is opened without it.
pub(crate) fn create_or_open(name: &str) -> io::Result<OwnedFd> {
    let path = path(name);
    loop {
        match options().create_new(true).mode(OWNER_ONLY).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => return outcome.map(OwnedFd::from),
        }
        match open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
    }
}

/// Returns the error if the kernel refuses file locks to this process. Locks a file without a name
/// for a moment; a file system without such files proves nothing.
pub(crate) fn try_lock_of_unnamed() -> io::Result<()> {
    let mut options = File::options();
    options.read(true).write(true).mode(OWNER_ONLY).custom_flags(libc::O_TMPFILE);
    let Ok(file) = options.open(FOLDER) else { return Ok(()) };
    super::lock::try_exclusive(file.as_fd(), 0).map(drop)
}

fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Returns true if the directory of the objects is there.
pub(crate) fn is_there() -> bool {
    std::fs::metadata(FOLDER).is_ok_and(|found| found.is_dir())
}

/// Returns the bytes that are free for objects.
pub(crate) fn free_bytes() -> Option<u64> {
    let found = file_system()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Returns how many inodes are free for objects, and how many there are; `(0, 0)` on a file system
/// without a limit.
pub(crate) fn inodes() -> Option<(u64, u64)> {
    let found = file_system()?;
    Some((found.f_favail, found.f_files))
}

fn file_system() -> Option<libc::statvfs> {
    let folder = CString::new(FOLDER).ok()?;
    let mut found = MaybeUninit::uninit();
    // SAFETY: `folder` ends with a zero byte. The call writes one `statvfs`, and there is room.
    check(unsafe { libc::statvfs(folder.as_ptr(), found.as_mut_ptr()) }).ok()?;
    // SAFETY: The call succeeded, so all fields are written.
    Some(unsafe { found.assume_init() })
}

/// Sets the mode of the object to 0600, independent of the umask.
pub(crate) fn give_to_owner(fd: BorrowedFd<'_>) -> io::Result<()> {
    file(fd).set_permissions(Permissions::from_mode(OWNER_ONLY))
}

/// Returns the effective user id of this process, which owns the objects that it creates.
pub(crate) fn user() -> u32 {
    // SAFETY: `geteuid` takes no arguments and always succeeds.
    unsafe { libc::geteuid() }
}

/// Removes the name of an object. Processes that have the object open keep it.
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    std::fs::remove_file(path(name))
}

/// Returns the names of all objects whose name starts with `prefix`.
pub(crate) fn names(prefix: &str) -> io::Result<Vec<String>> {
    let files = std::fs::read_dir(FOLDER)?.filter_map(Result::ok);
    let names = files.filter_map(|file| Some(format!("/{}", file.file_name().to_str()?)));
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

/// Returns the properties of an open object.
pub(crate) fn measure(fd: BorrowedFd<'_>) -> io::Result<Object> {
    Ok(object(&file(fd).metadata()?))
}

/// Returns the properties of the object that has this name now.
pub(crate) fn measure_named(name: &str) -> io::Result<Object> {
    measure_path(&path(name))
}

/// Returns the properties of the object that has this [`path`] now. Does not allocate.
pub(crate) fn measure_path(path: &str) -> io::Result<Object> {
    Ok(object(&std::fs::symlink_metadata(path)?))
}

/// Returns the properties of the object that has this name now, and its age: the time since it
/// was last written through a descriptor, which is when it was made. For display only.
#[expect(clippy::disallowed_methods, reason = "times of files are on the clock that can be set")]
pub(crate) fn measure_aged(name: &str) -> io::Result<(Object, Duration)> {
    let found = std::fs::symlink_metadata(path(name))?;
    let age = found.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
    Ok((object(&found), age))
}

/// Returns the path of an object in the file system.
pub(crate) fn path(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Sets the length of an object to `len` zero bytes, and reserves memory for all of them.
///
/// Without the reservation, a full file system would be a SIGBUS at the first access of a page;
/// here it is an error. A limit on the size of files is an error too, instead of a SIGXFSZ.
pub(crate) fn reserve(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    let too_large = || io::Error::from_raw_os_error(libc::EFBIG);
    if len > largest_file() {
        return Err(too_large());
    }
    empty(fd)?;
    let len = libc::off_t::try_from(len).map_err(|_| too_large())?;
    // A signal undoes a call that is under way. With a timer that fires more often than a large
    // call takes, such as that of a profiler, one call for all would never finish. So the memory
    // is reserved in parts, which become smaller with each interruption.
    let (mut done, mut part) = (0, LARGEST_PART);
    while done < len {
        let next = part.min(len - done);
        // SAFETY: The call changes an open object, and no memory of this process.
        match check(unsafe { libc::fallocate(fd.as_raw_fd(), 0, done, next) }) {
            Ok(()) => done += next,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                part = (part / 2).max(SMALLEST_PART);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes that one call reserves.
const LARGEST_PART: libc::off_t = 64 << 20;
/// As `LARGEST_PART`, after interruptions: one call takes microseconds.
const SMALLEST_PART: libc::off_t = 64 << 10;

/// Returns the maximum length of a file that this process may create, in bytes (`RLIMIT_FSIZE`).
fn largest_file() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: The call writes one `rlimit`, and `limit` is one. It fails only for unknown limits.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    limit.rlim_cur
}

/// Sets the length of an object to 0, which releases its memory.
pub(crate) fn empty(fd: BorrowedFd<'_>) -> io::Result<()> {
    file(fd).set_len(0)
}

/// Reads the first bytes of an object into `bytes`. Returns how many there were.
pub(crate) fn read_start(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    file(fd).read_at(bytes, 0)
}

/// Makes whole pages of a mapping read-only. A later store to them is a SIGSEGV.
///
/// # Safety
///
/// `[start, start + len)` is mapped, and starts and ends at a page boundary. This process does not
/// write to it through this mapping any more.
pub(crate) unsafe fn protect(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: The caller's promise: mapped, whole pages, not written any more.
    check(unsafe { libc::mprotect(start.as_ptr().cast(), len, libc::PROT_READ) })
}

/// Maps the first `len` bytes of an object, shared, for reading and writing.
pub(crate) fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<NonNull<u8>> {
    let (anywhere, fd) = (std::ptr::null_mut(), fd.as_raw_fd());
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: A mapping at an address that the kernel chooses replaces no existing mapping.
    let start = unsafe { libc::mmap(anywhere, len, protection, libc::MAP_SHARED, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Removes a mapping.
///
/// # Safety
///
/// [`map`] returned `start` for this `len`, and nothing uses the mapping any more.
pub(crate) unsafe fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: The caller's promise. The call fails only for an address that is not page-aligned.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
}

/// Excludes a mapping from processes that this one forks (`MADV_DONTFORK`).
///
/// # Safety
///
/// `[start, start + len)` is one whole mapping of this process.
pub(crate) unsafe fn keep_from_children(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: The caller's promise; the advice changes nothing for this process.
    check(unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTFORK) })
}

/// Returns an open object as a `File` that does not close it when dropped.
fn file(fd: BorrowedFd<'_>) -> impl std::ops::Deref<Target = File> {
    // SAFETY: `fd` is open while it is borrowed, and the result captures the lifetime of the
    // borrow. `ManuallyDrop` keeps the result from closing the descriptor.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) })
}

fn object(found: &Metadata) -> Object {
    Object {
        len: found.len(),
        inode: (found.dev(), found.ino()),
        unlinked: found.nlink() == 0,
        owner: found.uid(),
        file_type: found.mode() & libc::S_IFMT,
    }
}
