//! The monotonic clock, which all processes of a machine share.

use std::mem::MaybeUninit;

/// Returns the nanoseconds since an arbitrary time before the start of every process.
///
/// Used for display and for the length of waits only. No protocol decision depends on it.
#[expect(clippy::disallowed_methods, reason = "an `Instant` is of one process")]
pub(crate) fn monotonic() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: The kernel writes at most one `timespec` there. It fails only for unknown clocks.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    // SAFETY: A `timespec` consists of integers, which are zero or were written by the kernel.
    let now = unsafe { now.assume_init() };
    now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000) + now.tv_nsec.unsigned_abs()
}
