//! The kernel's part in waiting: futexes, and the heavy half of an asymmetric barrier.
//!
//! A **futex** is a word in shared memory: threads sleep on it, and other threads wake the
//! sleepers, across processes.
//!
//! The **heavy barrier** is the `membarrier` system call. A publisher stores a stamp, then loads
//! the word at which waiters register. Between the two it needs a full barrier, but executes none.
//! The waiter executes it on the publisher's behalf: `membarrier` runs a full barrier on every
//! processor that is executing a registered process.
//!
//! Cost: 0.2 to 0.5 µs while no registered process runs on another processor, 13 to 16 µs while one
//! does. Only a sleeper that is about to park pays it.

use super::machine::monotonic;
use crate::sync::{AtomicU32, Ordering, fence};
use std::ffi::c_int;
use std::io;
use std::mem::zeroed;
use std::ptr::from_ref;
use std::sync::OnceLock;
use std::time::Duration;

/// Sleeps while `word` equals `seen`, for at most `bound`.
///
/// Returns on a wake-up, if the word differs, on a signal, or at the end of `bound`. The caller
/// checks its condition again in all cases, so the result does not distinguish them.
pub(crate) fn wait(word: &AtomicU32, seen: u32, bound: Duration) {
    let time = timespec(bound);
    // SAFETY: The call reads `word` atomically, and `time`. Both live until it returns.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, from_ref(word), libc::FUTEX_WAIT, seen, &raw const time)
    };
    if result == -1 && is_refused() {
        std::thread::sleep(bound.min(REFUSED));
    }
}

/// Returns true if the error of the last futex call is not one of a wait: a seccomp filter may
/// refuse the call with any error.
fn is_refused() -> bool {
    let error = io::Error::last_os_error().raw_os_error();
    !matches!(error, Some(libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT))
}

/// The longest sleep if the kernel refuses futexes: the sleeper is not woken.
const REFUSED: Duration = Duration::from_millis(1);

/// Wakes all threads that sleep on `word`, in every process. Returns how many.
pub(crate) fn wake_all(word: &AtomicU32) -> usize {
    wake(word, i32::MAX)
}

/// Wakes up to `most` threads that sleep on `word`, in every process. Returns how many. If there
/// are fewer than `most`, no thread slept on the word any more.
pub(crate) fn wake(word: &AtomicU32, most: i32) -> usize {
    // The only possible error of the kernel is EFAULT, for unmapped memory; the memory behind a
    // reference is mapped. A filter that refuses the call refuses sleeps, too.
    // SAFETY: The call accesses no memory; the address only identifies the word.
    let woken = unsafe { libc::syscall(libc::SYS_futex, from_ref(word), libc::FUTEX_WAKE, most) };
    usize::try_from(woken).unwrap_or(0)
}

/// Sleeps while each word equals the value beside it, for at most `bound`.
///
/// Returns false, without waiting, if the kernel has no `futex_waitv` (before 5.16) or refuses it
/// (a seccomp filter, with any error), or if the list has more than 128 words.
#[must_use]
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], bound: Duration) -> bool {
    if words.len() > MOST_WORDS {
        return false;
    }
    // SAFETY: `futex_waitv` is a C struct of integers, for which zero is a valid value. The kernel
    // requires zero in its reserved fields.
    let mut waiters: [libc::futex_waitv; MOST_WORDS] = unsafe { zeroed() };
    for (waiter, (word, seen)) in waiters.iter_mut().zip(words) {
        waiter.val = u64::from(*seen);
        waiter.uaddr = from_ref(*word).expose_provenance() as u64;
        waiter.flags = libc::FUTEX2_SIZE_U32 as u32;
    }
    let until = timespec(Duration::from_nanos(monotonic()) + bound);
    let (list, count) = (waiters.as_ptr(), words.len());
    // SAFETY: The call reads the first `count` entries of `waiters`, the words at their addresses,
    // and `until`. All of them live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            list,
            count,
            0,
            &raw const until,
            libc::CLOCK_MONOTONIC,
        )
    };
    result != -1 || !is_refused()
}

/// The maximum number of words that the kernel accepts.
const MOST_WORDS: usize = libc::FUTEX_WAITV_MAX as usize;

pub(in crate::sys) fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Registers this process, once, so that the `membarrier` of a sleeper reaches its processors.
///
/// Returns false if the kernel refuses (seccomp, or a kernel before 4.16). Such a process must
/// execute a fence of its own between its stores and its load of the number of waiters.
#[must_use]
pub(crate) fn register_barrier() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
}

/// Orders earlier stores before later loads, on this thread and on every processor of a registered
/// process.
///
/// Returns false if the kernel refuses. Then nothing is ordered on other processors, and the caller
/// must not rely on being woken: it must check again after a millisecond.
#[must_use]
pub(crate) fn heavy_barrier() -> bool {
    // Pairs with `sync::light_barrier`, and with the local fence of a process that could not
    // register.
    fence(Ordering::SeqCst);
    register_barrier() && membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

/// Returns true if the system call succeeded.
fn membarrier(command: c_int) -> bool {
    // SAFETY: The call reads and writes no memory of this process.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
