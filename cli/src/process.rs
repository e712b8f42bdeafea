//! Processes, as `/proc` shows them. For display only: the library decides by locks of the kernel.

/// Returns true if a process is stopped, by a signal or a debugger.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    is_stopped_by(&stat)
}

/// The state is behind the name, which is in parentheses and may have any characters.
fn is_stopped_by(stat: &str) -> bool {
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_behind_any_name() {
        assert!(is_stopped_by("7 (a) S (b) T 1 7"));
        assert!(!is_stopped_by("7 (T) S 1 7"));
        assert!(!is_stopped_by(""));
    }
}
