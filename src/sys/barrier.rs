//! The heavy half of an asymmetric barrier.
//!
//! A publisher stores a stamp and then loads the word on which sleepers announce themselves. No
//! fence stands between the two: the sleeper pays instead, with a `membarrier` that runs a full
//! barrier on every processor that is executing a registered process.
//!
//! Cost, measured by the probe in the design's notes: 0.2 to 0.5 µs while no registered process
//! runs elsewhere, 13 to 16 µs while one does. Only a sleeper that is about to park pays it.

use crate::sync::{Ordering, fence};
use std::ffi::c_int;
use std::sync::OnceLock;

/// Registers this process, once, as one whose processors sleepers may interrupt.
///
/// `false`: the kernel refuses (seccomp, or older than 4.16). Such a process must put a fence of
/// its own between its stores and its look at the announce word.
pub(crate) fn register() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
}

/// Orders this thread's earlier stores before its later loads, and the same on every other
/// processor of a registered process.
///
/// `false`: the kernel refused, so nothing is ordered elsewhere and the caller must not rely on
/// being woken: it looks again after a millisecond.
pub(crate) fn heavy() -> bool {
    // Pairs with `sync::light_barrier`, and with the local fence of a process that could not
    // register.
    fence(Ordering::SeqCst);
    register() && membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

/// Whether the kernel did it.
fn membarrier(command: c_int) -> bool {
    // SAFETY: reads and writes no memory of this process.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
