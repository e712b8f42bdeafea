//! Memory of the ledger: an anonymous file that the director and its workers map.
//!
//! It has no name, so it leaves nothing behind: the last process that has it mapped frees it. A
//! worker receives it as standard input.

use crate::ledger::Ledger;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A mapped ledger.
pub(crate) struct Map {
    ledger: *const Ledger,
}

impl Map {
    /// Creates a zeroed ledger. Returns the mapping and the file to pass to workers.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let file = memfd_create("packetring-chaos", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, size_of::<Ledger>() as u64)?;
        Ok((Self::of(file.as_fd())?, file))
    }

    /// Maps the ledger that is the standard input of this process.
    pub(crate) fn of_worker() -> io::Result<Self> {
        let stdin = io::stdin();
        if rustix::fs::fstat(&stdin)?.st_size != size_of::<Ledger>() as i64 {
            return Err(io::Error::other("standard input is not the ledger of a director"));
        }
        Self::of(stdin.as_fd())
    }

    fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: creates a new mapping at an address that the kernel chooses.
        let start = unsafe {
            mmap(std::ptr::null_mut(), size_of::<Ledger>(), access, MapFlags::SHARED, file, 0)
        }?;
        Ok(Self { ledger: start.cast() })
    }
}

impl Deref for Map {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        // SAFETY: the mapping is as long as a ledger, page-aligned, and lives as long as `self`. A
        // ledger consists of atomics, for which any bytes are valid.
        unsafe { &*self.ledger }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: unmaps this whole mapping; references to it borrow `self`, so none is left.
        let _ = unsafe { munmap(self.ledger.cast_mut().cast(), size_of::<Ledger>()) };
    }
}

/// Ends this process by a signal after `seconds`: the last resort against a hanging worker whose
/// director is dead.
pub(crate) fn end_after(seconds: u32) {
    // SAFETY: only sets a timer of this process.
    unsafe { libc::alarm(seconds) };
}
