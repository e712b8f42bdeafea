//! Open-file-description locks. The kernel holds them, and releases them when the last descriptor
//! of the description is closed, however its process ends.
//!
//! A lock belongs to a *description* (one `open`), not to a process or a thread. Callers keep two
//! rules:
//!
//! - each holder has its own description;
//! - a query through a description is about other holders. It never reports the description's own
//!   lock.

use super::stop::Stop;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The time between the first two attempts of a wait with a limit. It doubles up to
/// [`LONGEST_POLL`].
const POLL: Duration = Duration::from_micros(100);
const LONGEST_POLL: Duration = Duration::from_millis(2);

/// Takes the write lock on one byte. Returns false if another description holds a lock on it.
pub(crate) fn try_exclusive(fd: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    match set(fd, libc::F_OFD_SETLK, libc::F_WRLCK, byte) {
        Ok(()) => Ok(true),
        Err(error) if is_held(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the write lock on one byte. Sleeps in the kernel while another description holds it.
fn exclusive(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    loop {
        match set(fd, libc::F_OFD_SETLKW, libc::F_WRLCK, byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// The limits of a wait for a lock. By default there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockLimit {
    pub(crate) timeout: Option<Duration>,
    pub(crate) stop: Option<Stop>,
}

impl LockLimit {
    /// A limit of time.
    pub(crate) fn timeout(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), stop: None }
    }

    /// Returns true if waits were stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        Stop::was_called(self.stop.as_ref())
    }

    /// Returns true if a wait that began at `since` is over.
    pub(crate) fn has_passed(&self, since: Instant) -> bool {
        self.is_stopped() || self.timeout.is_some_and(|most| since.elapsed() >= most)
    }
}

/// Takes the write lock on one byte. Waits for it within a limit.
///
/// Returns false if another description still holds the lock then.
pub(crate) fn exclusive_within(
    fd: BorrowedFd<'_>,
    byte: u64,
    limit: &LockLimit,
) -> io::Result<bool> {
    if limit.timeout.is_none() && limit.stop.is_none() {
        return exclusive(fd, byte).map(|()| true);
    }
    let (started, mut pause) = (Instant::now(), POLL);
    loop {
        if try_exclusive(fd, byte)? {
            return Ok(true);
        }
        if limit.has_passed(started) {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_POLL);
    }
}

/// Takes a read lock on one byte. Any number of descriptions may hold one at the same time.
///
/// Fails if another description holds the write lock.
pub(crate) fn shared(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    set(fd, libc::F_OFD_SETLK, libc::F_RDLCK, byte)
}

/// Releases the lock on one byte.
pub(crate) fn release(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    set(fd, libc::F_OFD_SETLK, libc::F_UNLCK, byte)
}

/// Returns true if another description holds a lock on the byte. Costs about 170 ns.
///
/// An error of the kernel counts as held, so that no live process is declared dead.
pub(crate) fn is_held_elsewhere(fd: BorrowedFd<'_>, byte: u64) -> bool {
    let mut lock = range(libc::F_WRLCK, byte);
    // SAFETY: `F_OFD_GETLK` reads and writes one `flock`, and `lock` is one. `fd` is open while it
    // is borrowed.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    outcome != 0 || lock.l_type != libc::F_UNLCK as libc::c_short
}

fn set(fd: BorrowedFd<'_>, command: libc::c_int, kind: libc::c_int, byte: u64) -> io::Result<()> {
    let lock = range(kind, byte);
    // SAFETY: The `F_OFD_SETLK` commands read one `flock`, and `lock` is one. `fd` is open while it
    // is borrowed.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw const lock) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn range(kind: libc::c_int, byte: u64) -> libc::flock {
    // SAFETY: `flock` is a C struct of integers, for which zero is a valid value. (`l_pid` must be
    // zero for the open-file-description commands.)
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

    /// Returns two open-file descriptions of one unlinked file.
    fn descriptions(name: &str) -> (File, File) {
        let path = std::env::temp_dir().join(format!("packetring-{name}-{}", std::process::id()));
        let open =
            || File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let pair = (open().unwrap(), open().unwrap());
        std::fs::remove_file(&path).unwrap();
        pair
    }

    /// Waits until a lock is free. Processes that other tests start have copies of all descriptors
    /// until they reach `exec` or the handlers of a fork.
    pub(crate) fn wait_until_free(asker: BorrowedFd<'_>, byte: u64) {
        let started = std::time::Instant::now();
        while is_held_elsewhere(asker, byte) {
            assert!(started.elapsed().as_secs() < 60, "the lock is never released");
            std::thread::yield_now();
        }
    }

    #[test]
    fn another_description_sees_a_lock_until_its_own_description_is_closed() {
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
        assert!(try_exclusive(one.as_fd(), 3).unwrap(), "a endpoint may upgrade its own lock");
    }
}
