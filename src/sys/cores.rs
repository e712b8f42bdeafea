//! The number of cores of the machine.

/// Returns the number of cores that are online. The first call determines it.
///
/// It includes cores that this process may not use: the other side of a ring may run on any core.
pub(crate) fn online() -> usize {
    static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| {
        // SAFETY: `sysconf` takes and returns a number.
        let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(count).unwrap_or(1)
    })
}
