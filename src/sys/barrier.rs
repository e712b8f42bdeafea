//! The heavy half of an asymmetric barrier: the `membarrier` system call.
//!
//! A publisher stores a stamp, then loads the word on which sleepers announce themselves. Between
//! the two it needs a full barrier, but executes none. The sleeper executes it on the publisher's
//! behalf: `membarrier` runs a full barrier on every processor that is executing a registered
//! process.
//!
//! Cost: 0.2 to 0.5 µs while no registered process runs on another processor, 13 to 16 µs while one
//! does. Only a sleeper that is about to park pays it.

use crate::sync::{Ordering, fence};
use std::ffi::c_int;
use std::sync::OnceLock;

/// Registers this process, once, so that the `membarrier` of a sleeper reaches its processors.
///
/// Returns false if the kernel refuses (seccomp, or a kernel before 4.16). Such a process must
/// execute a fence of its own between its stores and its load of the announce word.
#[must_use]
pub(crate) fn register() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
}

/// Orders earlier stores before later loads, on this thread and on every processor of a registered
/// process.
///
/// Returns false if the kernel refuses. Then nothing is ordered on other processors, and the caller
/// must not rely on being woken: it must check again after a millisecond.
#[must_use]
pub(crate) fn heavy() -> bool {
    // Pairs with `sync::light_barrier`, and with the local fence of a process that could not
    // register.
    fence(Ordering::SeqCst);
    register() && membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

/// Returns true if the system call succeeded.
fn membarrier(command: c_int) -> bool {
    // SAFETY: The call reads and writes no memory of this process.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
