//! The ledger's memory: an anonymous file that the director and its workers have mapped.
//!
//! It has no name, so nothing of it can stay behind; it goes with the last process that has it
//! mapped. A worker finds it as its standard input.

use crate::ledger::Ledger;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The ledger of one phase, mapped.
pub(crate) struct Map {
    ledger: *const Ledger,
}

impl Map {
    /// A new one, of zeros, and the file that its workers get.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let file = memfd_create("packetring-chaos", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, size_of::<Ledger>() as u64)?;
        Ok((Self::of(file.as_fd())?, file))
    }

    /// The one that is this process' standard input.
    pub(crate) fn of_worker() -> io::Result<Self> {
        let stdin = io::stdin();
        if rustix::fs::fstat(&stdin)?.st_size != size_of::<Ledger>() as i64 {
            return Err(io::Error::other("standard input is not the ledger of a director"));
        }
        Self::of(stdin.as_fd())
    }

    fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, where the kernel finds room for it.
        let start = unsafe {
            mmap(std::ptr::null_mut(), size_of::<Ledger>(), access, MapFlags::SHARED, file, 0)
        }?;
        Ok(Self { ledger: start.cast() })
    }
}

impl Deref for Map {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        // SAFETY: a mapping as long as a ledger, aligned to a page, that lives as long as `self`.
        // A ledger consists of atomics, for which any bytes are values.
        unsafe { &*self.ledger }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: this mapping, whole; references to it borrow `self`.
        let _ = unsafe { munmap(self.ledger.cast_mut().cast(), size_of::<Ledger>()) };
    }
}

/// Ends this process by a signal if it still runs then: the last resort against leaving a worker
/// behind that hangs when its director is dead.
pub(crate) fn end_after(seconds: u32) {
    // SAFETY: sets a timer of this process.
    unsafe { libc::alarm(seconds) };
}
