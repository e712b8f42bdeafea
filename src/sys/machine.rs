//! The machine: its cores, its monotonic clock, and random numbers of the kernel.

use std::io;
use std::mem::MaybeUninit;

/// Returns the number of cores that are online. The first call determines it.
///
/// It includes cores that this process may not use: the other side of a ring may run on any core.
pub(crate) fn cores() -> usize {
    static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| {
        // SAFETY: `sysconf` takes and returns a number.
        let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(count).unwrap_or(1)
    })
}

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

/// Returns 64 random bits from the kernel.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: The call writes at most `bytes.len()` bytes to `bytes`.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match got {
        -1 => Err(io::Error::last_os_error()),
        // The kernel never returns fewer than requested for up to 256 bytes.
        8 => Ok(u64::from_le_bytes(bytes)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
