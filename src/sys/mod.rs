//! System calls, each with the errors it can give and nothing of our formats.
//!
//! Linux only: futexes, membarrier, open-file-description locks, POSIX shared memory.

pub(crate) mod barrier;
pub(crate) mod clock;
pub(crate) mod cores;
pub(crate) mod event;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod owned;
mod random;
pub(crate) mod shm;

pub(crate) use random::random;

use std::ffi::c_int;
use std::io;

/// What a system call answered: an error, if that is -1.
fn check(answer: c_int) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
