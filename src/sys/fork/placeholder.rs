//! The descriptor that replaces the library's descriptors in a forked child, and whether a number
//! is open on a file.

use crate::sys::{check, shm};
use std::fs::File;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// A descriptor that cannot be locked, read or written. It is not closed on drop if other code
/// closed it before.
pub(super) struct Placeholder {
    fd: ManuallyDrop<OwnedFd>,
    /// Device and inode.
    file: (u64, u64),
}

impl Placeholder {
    /// Opens an `O_PATH` descriptor of the directory of the shared-memory objects. Attached objects
    /// keep that file system mounted anyway.
    pub(super) fn open() -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_PATH);
        let fd = OwnedFd::from(options.open(shm::FOLDER)?);
        let file = file_of(fd.as_fd())?;
        Ok(Self { fd: ManuallyDrop::new(fd), file })
    }

    /// Returns false if other code closed it.
    pub(super) fn is_open(&self) -> bool {
        is_open_on(self.fd.as_raw_fd(), self.file)
    }

    /// Returns true if a placeholder has this number. Makes three system calls.
    pub(super) fn is_at(number: RawFd) -> bool {
        let folder = std::fs::metadata(shm::FOLDER);
        let file = folder.map(|found| (found.dev(), found.ino()));
        // SAFETY: The call reads a flag of a descriptor, and reports an error if it is closed.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFL) };
        flags >= 0 && flags & libc::O_PATH != 0 && file.is_ok_and(|file| is_open_on(number, file))
    }

    /// Its number; -1 if other code closed it.
    pub(super) fn number(&self) -> RawFd {
        if self.is_open() { self.fd.as_raw_fd() } else { -1 }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        if self.is_open() {
            // SAFETY: this is the only drop of the value.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

/// Returns true if a descriptor of this number is open on this file.
pub(super) fn is_open_on(number: RawFd, file: (u64, u64)) -> bool {
    // SAFETY: The number is used by one call, which reports an error if it is closed.
    file_of(unsafe { BorrowedFd::borrow_raw(number) }).is_ok_and(|found| found == file)
}

/// Device and inode of an open file.
pub(super) fn file_of(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: The call writes one `stat`, and there is room for one.
    check(unsafe { libc::fstat(fd.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: The call succeeded, so all fields are written.
    let found = unsafe { found.assume_init() };
    Ok((found.st_dev, found.st_ino))
}
