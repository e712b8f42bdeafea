//! The clock that all processes of a machine share.

use std::mem::MaybeUninit;

/// Nanoseconds since some time before every process. For people, and for how long something is waited
/// for: nothing else is decided by it.
#[expect(clippy::disallowed_methods, reason = "an `Instant` is of one process")]
pub(crate) fn monotonic() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes at most a `timespec` there; it refuses only clocks it does not know.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    // SAFETY: zeros, or what the kernel wrote: numbers.
    let now = unsafe { now.assume_init() };
    now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000) + now.tv_nsec.unsigned_abs()
}
