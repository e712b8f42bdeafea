//! How many cores the machine has.

/// Cores that are online. Not those that this process may use: the other side of a ring may run
/// on any. Asked once.
pub(crate) fn online() -> usize {
    static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| {
        // SAFETY: asks for a number.
        let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(count).unwrap_or(1)
    })
}
