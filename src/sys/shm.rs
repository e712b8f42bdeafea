//! POSIX shared-memory objects: open, inspect, reserve, map, protect.

use super::check;
use std::ffi::CString;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
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
    /// The group id.
    pub(crate) group: u32,
    /// The permission bits of the mode.
    pub(crate) mode: u32,
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
/// The type bits of a socket.
pub(crate) const SOCKET: u32 = libc::S_IFSOCK;

/// The mode of a new object, before [`set_access`]: only the owner reads and writes.
const OWNER_ONLY: u32 = 0o600;

/// Opens an object. The descriptor is closed on exec. A symbolic link is not followed; `shm_open`
/// of some C libraries would follow it.
pub(crate) fn open(name: &str) -> io::Result<OwnedFd> {
    options().open(path(name)).map(OwnedFd::from)
}

/// Creates an empty object under a name. An existing one is the error `AlreadyExists`.
///
/// Its mode is 0600, minus the bits of the process's umask ([`set_access`] restores them).
pub(crate) fn create(name: &str) -> io::Result<OwnedFd> {
    options().create_new(true).mode(OWNER_ONLY).open(path(name)).map(OwnedFd::from)
}

/// Creates an empty object without a name, with the mode 0600 at most. It vanishes with its last
/// descriptor, unless [`link`] names it. `None` on a file system without such files.
pub(crate) fn create_unnamed() -> io::Result<Option<OwnedFd>> {
    let mut options = options();
    // Without `O_NOFOLLOW`: the directory itself may be a link. With `O_NONBLOCK`, as `options`
    // has it: that flag marks the descriptions of this library.
    options.mode(OWNER_ONLY).custom_flags(libc::O_TMPFILE | libc::O_NONBLOCK);
    match options.open(FOLDER) {
        Ok(file) => Ok(Some(file.into())),
        Err(error) => match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOSYS) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Result of [`link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linked {
    /// The object has the name.
    Done,
    /// Another object has the name.
    Exists,
    /// The kernel names no open file for this process.
    Refused,
}

/// Gives an unnamed object its name. Other processes see the object from then on.
pub(crate) fn link(fd: BorrowedFd<'_>, name: &str) -> io::Result<Linked> {
    let to = CString::new(path(name))?;
    let through_proc = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    // The second way needs no `/proc`, but a privilege or Linux 6.10.
    let ways = [
        (libc::AT_FDCWD, through_proc, libc::AT_SYMLINK_FOLLOW),
        (fd.as_raw_fd(), CString::default(), libc::AT_EMPTY_PATH),
    ];
    for (folder, from, flags) in ways {
        // SAFETY: both texts end with a zero byte. The call changes no memory of this process.
        let outcome = check(unsafe {
            libc::linkat(folder, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags)
        });
        match outcome {
            Ok(()) => return Ok(Linked::Done),
            Err(error) => match error.raw_os_error() {
                Some(libc::EEXIST) => return Ok(Linked::Exists),
                Some(libc::ENOSPC | libc::ENOMEM | libc::EROFS) => return Err(error),
                _ => {}
            },
        }
    }
    Ok(Linked::Refused)
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

/// Sets the group of an object, if there is one, and then its mode, whatever the umask. Only the
/// owner may, and only to a group of this process.
pub(crate) fn set_access(fd: BorrowedFd<'_>, mode: u32, group: Option<u32>) -> io::Result<()> {
    let found = measure(fd)?;
    if let Some(group) = group.filter(|&group| group != found.group) {
        std::os::unix::fs::fchown(fd, None, Some(group))?;
    }
    if found.mode == mode {
        return Ok(());
    }
    file(fd).set_permissions(Permissions::from_mode(mode))
}

/// Returns the effective group id of this process, which the objects that it creates have.
pub(crate) fn group() -> u32 {
    // SAFETY: `getegid` takes no arguments and always succeeds.
    unsafe { libc::getegid() }
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

/// Returns the properties of the object that has this name now, and its age: the time since it was
/// made or, where the file system does not keep that, last written through a descriptor. For
/// display only.
#[expect(clippy::disallowed_methods, reason = "times of files are on the clock that can be set")]
pub(crate) fn measure_aged(name: &str) -> io::Result<(Object, Duration)> {
    let found = std::fs::symlink_metadata(path(name))?;
    let made = found.created().or_else(|_| found.modified());
    let age = made.ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
    Ok((object(&found), age))
}

/// Returns true if a process has the socket of this name. Does not connect to it.
pub(crate) fn is_socket_open(name: &str) -> io::Result<bool> {
    let file = open_path(name)?;
    // A connection of another type than the socket's: the kernel refuses it in either case.
    let probe = UnixDatagram::unbound()?;
    match probe.connect(socket_path(&file, name)) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Ok(false),
            Some(libc::EPROTOTYPE) => Ok(true),
            _ => Err(error),
        },
    }
}

/// Opens the place of a file of any type, without access to its content.
pub(crate) fn open_path(name: &str) -> io::Result<OwnedFd> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW);
    options.open(path(name)).map(OwnedFd::from)
}

/// The path of a socket that [`open_path`] opened: also of one whose name is longer than the
/// address of a socket may be.
pub(crate) fn socket_path(place: &OwnedFd, name: &str) -> String {
    let direct = path(name);
    if direct.len() <= LONGEST_ADDRESS {
        return direct;
    }
    format!("/proc/self/fd/{}", place.as_raw_fd())
}

/// Most bytes of a socket's path.
const LONGEST_ADDRESS: usize = 107;

/// Returns the path of an object in the file system.
pub(crate) fn path(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Makes an object at least `len` bytes long, and reserves memory for all of them. New bytes are
/// zero.
///
/// Without the reservation, a full file system would be a SIGBUS at the first access of a page;
/// here it is an error. A limit on the size of files is an error too, instead of a SIGXFSZ.
pub(crate) fn reserve(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    let too_large = || io::Error::from_raw_os_error(libc::EFBIG);
    if len > largest_file() {
        return Err(too_large());
    }
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

/// Sets all bytes of an object behind the first `start` to zero, and releases their memory. The
/// length stays: a process that maps the object keeps its pages.
pub(crate) fn clear_behind(fd: BorrowedFd<'_>, start: u64) -> io::Result<()> {
    let len = measure(fd)?.len.saturating_sub(start);
    if len == 0 {
        return Ok(());
    }
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let offset = |bytes: u64| libc::off_t::try_from(bytes).unwrap_or(libc::off_t::MAX);
    loop {
        // SAFETY: The call changes an open object, and no memory of this process.
        let outcome =
            check(unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset(start), offset(len)) });
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Overwrites bytes of an object. A limit on the size of files is an error, instead of a SIGXFSZ.
pub(crate) fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<()> {
    if offset.saturating_add(bytes.len() as u64) > largest_file() {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    file(fd).write_all_at(bytes, offset)
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
    map_with(fd, len, libc::PROT_READ | libc::PROT_WRITE)
}

/// Maps the first `len` bytes of an object, shared, for reading. A store to them is a SIGSEGV.
pub(crate) fn map_to_read(fd: BorrowedFd<'_>, len: usize) -> io::Result<NonNull<u8>> {
    map_with(fd, len, libc::PROT_READ)
}

fn map_with(fd: BorrowedFd<'_>, len: usize, protection: libc::c_int) -> io::Result<NonNull<u8>> {
    let (anywhere, fd) = (std::ptr::null_mut(), fd.as_raw_fd());
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
/// [`map`] or [`map_to_read`] returned `start` for this `len`, and nothing uses the mapping any
/// more.
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
        group: found.gid(),
        mode: found.mode() & 0o7777,
        file_type: found.mode() & libc::S_IFMT,
    }
}
