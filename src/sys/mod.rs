//! System calls. This module knows nothing of rings and packets.
//!
//! Linux only: futexes, `membarrier`, open-file-description locks, POSIX shared memory.

pub(crate) mod event;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod machine;
pub(crate) mod owned;
pub(crate) mod shm;
pub(crate) mod stop;
pub(crate) mod thread;
#[cfg(not(loom))]
pub(crate) mod uring;

pub(crate) use machine::random;

use std::ffi::c_int;
use std::io;
#[cfg(feature = "handover")]
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;

/// Returns the bytes of a page of memory: 4 KiB on x86-64. All processes of a kernel have the same.
pub(crate) fn page_size() -> usize {
    // SAFETY: The call only reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096).max(4096)
}

/// The kind of access whose page faults [`populate`] takes in advance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PageFault {
    /// A load. Also for pages that are read-only.
    Read,
    /// A store.
    Write,
}

/// Makes pages present, so that an access of this kind is no page fault. `start` is the first byte
/// of a page. Their content stays. Does nothing before Linux 5.14.
///
/// If an access to one of the pages would be a SIGBUS, this is the error `EFAULT`. Some of the
/// pages are present then.
#[cfg(not(miri))]
pub(crate) fn populate(start: NonNull<u8>, len: usize, fault: PageFault) -> io::Result<()> {
    let advice = match fault {
        PageFault::Read => libc::MADV_POPULATE_READ,
        PageFault::Write => libc::MADV_POPULATE_WRITE,
    };
    // SAFETY: the call changes neither the content nor the protection of any page. It fails for an
    // address that is not mapped.
    match check(unsafe { libc::madvise(start.as_ptr().cast(), len, advice) }) {
        // An older kernel does not know the advice.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        outcome => outcome,
    }
}

/// As above: Miri has no page faults.
#[cfg(miri)]
pub(crate) fn populate(_: NonNull<u8>, _: usize, _: PageFault) -> io::Result<()> {
    Ok(())
}

/// The process at the other end of a unix socket, as it was when it connected or listened.
#[cfg(feature = "handover")]
pub(crate) struct SocketPeer {
    /// Its id; 0 if it is in a pid namespace that this process does not see.
    pub(crate) process: i32,
    /// Its user.
    pub(crate) user: u32,
}

/// The peer of a unix socket that is connected.
#[cfg(feature = "handover")]
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<SocketPeer> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    let place = (&raw mut found).cast();
    // SAFETY: the call writes at most `len` bytes to `found`, which has as many, and `len`.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place, &raw mut len) })?;
    Ok(SocketPeer { process: found.pid, user: found.uid })
}

/// Converts the result of a system call: -1 means that `errno` holds the error.
fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
