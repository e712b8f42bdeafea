//! What the kernel offers, and what a filter of system calls forbids.

use super::Check;
use io_uring::opcode::FutexWait;
use io_uring::{IoUring, Probe};
use rustix::io::Errno;
use rustix::thread::futex::{WaitvFlags, waitv};
use rustix::thread::{ClockId, MembarrierCommand, membarrier_query};
use std::io;

/// The version of the kernel.
pub(super) fn version() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    judge_version(&release)
}

fn judge_version(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    let version = (next(), next());
    let name = format!("Linux {release}");
    match version {
        (0..3, _) | (3, 0..15) => Check::problem(
            "kernel",
            format!("{name} has no open-file-description locks, which packetring needs"),
            "update to Linux 6.7 or later, or at least to 3.15",
        ),
        (0..6, _) | (6, 0..7) => Check::warning(
            "kernel",
            format!("{name} works, without some calls that make waiting cheap"),
            "update to Linux 6.7 or later",
        ),
        _ => Check::ok("kernel", format!("{name} has all calls that packetring can use")),
    }
}

/// The barrier that publishers leave to sleepers.
pub(super) fn membarrier() -> Check {
    let query = membarrier_query();
    let has = |command| query.contains_command(command);
    if has(MembarrierCommand::GlobalExpedited) && has(MembarrierCommand::RegisterGlobalExpedited) {
        return Check::ok("membarrier", "works: publishers execute no fence of their own");
    }
    Check::warning(
        "membarrier",
        "is refused: each send has a fence, and sleepers check again every millisecond",
        "allow `membarrier` in the filter of system calls (seccomp), or update to Linux 4.16",
    )
}

/// The wait for several futexes at a time.
pub(super) fn futex_waitv() -> Check {
    // An empty list is invalid, so a kernel that has the call refuses it with this error.
    match waitv(&[], WaitvFlags::empty(), None, ClockId::Monotonic) {
        Err(Errno::INVAL) | Ok(_) => {
            Check::ok("futex_waitv", "works: a wait for several endpoints sleeps in one place")
        }
        Err(error) => Check::warning(
            "futex_waitv",
            format!("is refused ({error}): `select` checks again every millisecond"),
            "allow `futex_waitv` in the filter of system calls (seccomp), or update to Linux 5.16",
        ),
    }
}

/// The io_uring by which one thread waits for many endpoints.
pub(super) fn io_uring() -> Check {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    judge_io_uring(sysctl.as_deref().map(str::trim), has_futexes())
}

/// Returns whether the io_uring of this kernel waits for futexes.
fn has_futexes() -> io::Result<bool> {
    let uring = IoUring::new(2)?;
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe)?;
    Ok(probe.is_supported(FutexWait::CODE))
}

fn judge_io_uring(sysctl: Option<&str>, has_futexes: io::Result<bool>) -> Check {
    let message = "event loops sleep in `futex_waitv`, with one thread for each 126 endpoints";
    let remedy = match (sysctl, &has_futexes) {
        (_, Ok(true)) => {
            return Check::ok("io_uring", "works: one thread serves all endpoints of event loops");
        }
        (Some("2"), _) => {
            "the sysctl kernel.io_uring_disabled is 2: set it to 0, or to 1 with the \
                           group of this process in kernel.io_uring_group"
                .to_owned()
        }
        (Some("1"), Err(_)) => "the sysctl kernel.io_uring_disabled is 1: set it to 0, or put the \
                                group of this process into kernel.io_uring_group"
            .to_owned(),
        (_, Ok(false)) => "update to Linux 6.7, whose io_uring waits for futexes".to_owned(),
        (_, Err(_)) => {
            "allow the calls of io_uring in the filter of system calls (seccomp), which \
                        containers forbid by default"
                .to_owned()
        }
    };
    match has_futexes {
        Err(error) => {
            Check::warning("io_uring", format!("is refused ({error}): {message}"), remedy)
        }
        Ok(_) => Check::warning("io_uring", format!("has no wait for futexes: {message}"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn old_kernels_are_told_from_new_ones() {
        for (release, level) in [
            ("3.10.0-1160.el7", Level::Problem),
            ("5.15.0", Level::Warning),
            ("6.6.87-microsoft", Level::Warning),
            ("6.7.0", Level::Ok),
            ("6.18.44-fc", Level::Ok),
            ("7.0.1", Level::Ok),
        ] {
            assert_eq!(judge_version(release).level, level, "{release}");
        }
    }

    #[test]
    fn the_remedy_for_io_uring_names_the_cause() {
        let refused = || Err(io::Error::from_raw_os_error(1));
        let remedy = |sysctl, found| judge_io_uring(sysctl, found).remedy.unwrap_or_default();
        assert!(remedy(Some("2"), refused()).contains("io_uring_disabled is 2"));
        assert!(remedy(Some("1"), refused()).contains("io_uring_disabled is 1"));
        assert!(remedy(Some("0"), refused()).contains("seccomp"));
        assert!(remedy(None, Ok(false)).contains("6.7"));
        assert_eq!(judge_io_uring(Some("1"), Ok(true)).level, Level::Ok);
    }
}
