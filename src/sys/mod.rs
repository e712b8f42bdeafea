//! System calls. This module knows nothing of rings and packets.
//!
//! Linux only: futexes, `membarrier`, open-file-description locks, POSIX shared memory.

pub(crate) mod event;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod machine;
pub(crate) mod owned;
pub(crate) mod shm;
pub(crate) mod stop;
pub(crate) mod thread;
#[cfg(not(loom))]
pub(crate) mod uring;

pub(crate) use machine::random;

use std::ffi::c_int;
use std::io;

/// Returns the bytes of a page of memory: 4 KiB on x86-64. All processes of a kernel have the same.
pub(crate) fn page_size() -> usize {
    // SAFETY: The call only reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096).max(4096)
}

/// Converts the result of a system call: -1 means that `errno` holds the error.
fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
