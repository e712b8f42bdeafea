//! System calls. This module knows nothing of rings and packets.
//!
//! Linux only: futexes, `membarrier`, open-file-description locks, POSIX shared memory.

pub(crate) mod barrier;
pub(crate) mod clock;
pub(crate) mod cores;
pub(crate) mod event;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod owned;
pub(crate) mod processes;
mod random;
pub(crate) mod shm;

pub(crate) use random::random;

use std::ffi::c_int;
use std::io;

/// Converts the result of a system call: -1 means that `errno` holds the error.
fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
