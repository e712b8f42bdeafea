//! Sleeping on a word and waking its sleepers, across processes.

use crate::sync::AtomicU32;
use std::io;
use std::mem::zeroed;
use std::ptr::from_ref;
use std::time::Duration;

/// Sleeps while `word` holds `seen`, for `bound` at most.
///
/// Returns on a wake-up, when the word differs, on a signal, or when the bound has passed: the
/// caller looks again in every case, so they are not told apart.
pub(crate) fn wait(word: &AtomicU32, seen: u32, bound: Duration) {
    let bound = timespec(bound);
    // Whatever the error (EAGAIN, EINTR, ETIMEDOUT), the answer is to look again.
    // SAFETY: reads `word`, atomically, and `bound`, both of which live until it returns.
    unsafe {
        libc::syscall(libc::SYS_futex, from_ref(word), libc::FUTEX_WAIT, seen, &raw const bound)
    };
}

/// Wakes everyone who sleeps on `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    // EFAULT alone can come back, and only for memory that is not mapped: a reference is.
    // SAFETY: touches no memory: the address is a name.
    unsafe { libc::syscall(libc::SYS_futex, from_ref(word), libc::FUTEX_WAKE, i32::MAX) };
}

/// Sleeps while each word still holds the value beside it, for `bound` at most.
///
/// `false`: the kernel has no `futex_waitv` (before 5.16) or the list is longer than 128, and
/// nothing was waited for.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], bound: Duration) -> bool {
    if words.len() > MOST_WORDS {
        return false;
    }
    // SAFETY: a plain C struct of integers, for which zero is a value, as the kernel wants it.
    let mut waiters: [libc::futex_waitv; MOST_WORDS] = unsafe { zeroed() };
    for (waiter, (word, seen)) in waiters.iter_mut().zip(words) {
        waiter.val = u64::from(*seen);
        waiter.uaddr = from_ref(*word).expose_provenance() as u64;
        waiter.flags = libc::FUTEX2_SIZE_U32 as u32;
    }
    let until = timespec(now() + bound);
    let (list, count) = (waiters.as_ptr(), words.len());
    // SAFETY: reads as many of `waiters`, the words that they name, and `until`; all live until
    // it returns.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            list,
            count,
            0,
            &raw const until,
            libc::CLOCK_MONOTONIC,
        )
    };
    let is_unknown = || {
        let error = io::Error::last_os_error().raw_os_error();
        matches!(error, Some(libc::ENOSYS | libc::EINVAL))
    };
    answer != -1 || !is_unknown()
}

/// `FUTEX_WAITV_MAX`, the kernel's limit.
const MOST_WORDS: usize = libc::FUTEX_WAITV_MAX as usize;

/// The time that `futex_waitv` counts by.
#[expect(clippy::disallowed_methods, reason = "the monotonic clock, as the kernel wants it")]
fn now() -> Duration {
    let mut now = timespec(Duration::ZERO);
    // SAFETY: writes one `timespec`, which `now` is. It fails for clocks that there are not.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
