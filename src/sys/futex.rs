//! Sleeping on a word and waking its sleepers, across processes.

use crate::sync::AtomicU32;
use rustix::thread::futex::{self, Flags, Timespec};
use std::time::Duration;

/// Sleeps while `word` holds `seen`, for `bound` at most.
///
/// Returns on a wake-up, when the word differs, on a signal, or when the bound has passed: the
/// caller looks again in every case, so they are not told apart.
pub(crate) fn wait(word: &AtomicU32, seen: u32, bound: Duration) {
    // Whatever the error (EAGAIN, EINTR, ETIMEDOUT), the answer is to look again.
    let _ = futex::wait(word, Flags::empty(), seen, Some(&timespec(bound)));
}

/// Wakes everyone who sleeps on `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    // EFAULT alone can come back, and only for memory that is not mapped: a reference is.
    let _ = futex::wake(word, Flags::empty(), i32::MAX as u32);
}

/// Sleeps while each word still holds the value beside it, for `bound` at most.
///
/// `false`: the kernel has no `futex_waitv` (before 5.16) or the list is longer than 128, and
/// nothing was waited for.
#[expect(clippy::disallowed_methods, reason = "the monotonic clock, as the kernel wants it")]
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], bound: Duration) -> bool {
    let mut waiters = [futex::Wait::new(); MOST_WORDS];
    if words.len() > MOST_WORDS {
        return false;
    }
    for (waiter, (word, seen)) in waiters.iter_mut().zip(words) {
        waiter.val = u64::from(*seen);
        waiter.uaddr = std::ptr::from_ref(*word).cast_mut().cast::<std::ffi::c_void>().into();
        waiter.flags = futex::WaitFlags::SIZE_U32;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let until = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32) + bound;
    let answer = futex::waitv(
        &waiters[..words.len()],
        futex::WaitvFlags::empty(),
        Some(&timespec(until)),
        futex::ClockId::Monotonic,
    );
    !matches!(answer, Err(rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL))
}

/// `FUTEX_WAITV_MAX`, the kernel's limit.
const MOST_WORDS: usize = 128;

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
