//! Open-file-description locks: held by the kernel, dropped by it when the last descriptor of
//! the description is closed, however its process ends.
//!
//! A lock belongs to a *description* (one `open`), not to a process or a thread. Two rules follow
//! and callers keep them: each holder has a description of its own, and asks about others through
//! it, never about itself (the answer would be "free").

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Between two tries of one who does not wait for ever.
const POLL: Duration = Duration::from_micros(100);

/// Takes the write lock on one byte, or says `false` if another description holds a lock on it.
pub(crate) fn try_exclusive(fd: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    match set(fd, libc::F_OFD_SETLK, libc::F_WRLCK, byte) {
        Ok(()) => Ok(true),
        Err(error) if is_held(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the write lock on one byte, sleeping in the kernel for as long as another holds it.
fn exclusive(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    loop {
        match set(fd, libc::F_OFD_SETLKW, libc::F_WRLCK, byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// The same, for `lock_timeout` at most, if there is one. `false`: another still holds it.
pub(crate) fn exclusive_within(
    fd: BorrowedFd<'_>,
    byte: u64,
    lock_timeout: Option<Duration>,
) -> io::Result<bool> {
    let Some(lock_timeout) = lock_timeout else { return exclusive(fd, byte).map(|()| true) };
    let started = Instant::now();
    loop {
        if try_exclusive(fd, byte)? {
            return Ok(true);
        }
        if started.elapsed() >= lock_timeout {
            return Ok(false);
        }
        std::thread::sleep(POLL);
    }
}

/// Takes a read lock on one byte: any number of descriptions may hold one together.
///
/// Fails if a description holds the write lock.
pub(crate) fn shared(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    set(fd, libc::F_OFD_SETLK, libc::F_RDLCK, byte)
}

/// Gives the lock on one byte back.
pub(crate) fn release(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    set(fd, libc::F_OFD_SETLK, libc::F_UNLCK, byte)
}

/// Whether another description holds a lock on the byte. About 170 ns.
///
/// An error of the kernel counts as held: nobody is declared dead on a guess.
pub(crate) fn is_held_elsewhere(fd: BorrowedFd<'_>, byte: u64) -> bool {
    let mut lock = range(libc::F_WRLCK, byte);
    // SAFETY: `F_OFD_GETLK` reads and writes one `flock`, which `lock` is, and `fd` is open for
    // as long as it is borrowed.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    outcome != 0 || lock.l_type != libc::F_UNLCK as libc::c_short
}

fn set(fd: BorrowedFd<'_>, command: libc::c_int, kind: libc::c_int, byte: u64) -> io::Result<()> {
    let lock = range(kind, byte);
    // SAFETY: the set commands read one `flock`, which `lock` is, and `fd` is open for as long
    // as it is borrowed.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw const lock) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn range(kind: libc::c_int, byte: u64) -> libc::flock {
    // SAFETY: `flock` is a plain C struct of integers, for which zero is a value; `l_pid` must be
    // zero for the open-file-description commands.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte as libc::off_t;
    lock.l_len = 1;
    lock
}

fn is_held(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    /// Two open-file descriptions of one file that has no name any more.
    fn descriptions(name: &str) -> (File, File) {
        let path = std::env::temp_dir().join(format!("packetring-{name}-{}", std::process::id()));
        let open =
            || File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let pair = (open().unwrap(), open().unwrap());
        std::fs::remove_file(&path).unwrap();
        pair
    }

    /// Waits until a lock is free: processes that other tests start have all descriptors until
    /// they come to `exec`, or to the handlers of a fork.
    pub(crate) fn wait_until_free(asker: BorrowedFd<'_>, byte: u64) {
        let started = std::time::Instant::now();
        while is_held_elsewhere(asker, byte) {
            assert!(started.elapsed().as_secs() < 60, "it is held for good");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_lock_is_seen_through_another_description_and_goes_with_its_own() {
        let (endpoint, asker) = descriptions("goes");
        assert!(try_exclusive(endpoint.as_fd(), 7).unwrap());
        assert!(is_held_elsewhere(asker.as_fd(), 7));
        assert!(!is_held_elsewhere(asker.as_fd(), 8));
        assert!(!try_exclusive(asker.as_fd(), 7).unwrap());
        drop(endpoint);
        wait_until_free(asker.as_fd(), 7);
    }

    #[test]
    fn read_locks_are_shared_and_keep_a_writer_out() {
        let (one, two) = descriptions("shared");
        shared(one.as_fd(), 3).unwrap();
        shared(two.as_fd(), 3).unwrap();
        assert!(is_held_elsewhere(one.as_fd(), 3));
        release(two.as_fd(), 3).unwrap();
        assert!(!is_held_elsewhere(one.as_fd(), 3));
        assert!(try_exclusive(one.as_fd(), 3).unwrap(), "a endpoint may take its own lock up");
    }
}
