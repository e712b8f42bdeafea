//! An io_uring by which one thread waits for any number of futex words (`IORING_OP_FUTEX_WAIT`,
//! Linux 6.7).
//!
//! A word stays queued until it is woken or the wait is cancelled. So a thread that was woken
//! queues one word again, and not all: 0.3 µs, whatever the number of words.
//!
//! ```text
//!  any thread                 its thread
//!  ──────────                 ──────────
//!  DisabledUring::new  ──────► enable, then wait_for, wake_at, cancel, sleep, next
//! ```
//!
//! - The kernel runs completions only in calls of the io_uring's thread (`SINGLE_ISSUER`,
//!   `DEFER_TASKRUN`): the thread is never interrupted.
//! - The io_uring has no descriptor: the thread knows it by a number that the kernel keeps for this
//!   thread. So other code of the process cannot close it, and a forked child has no part in it.
//! - A word that changed before it was queued is reported at once.
//! - The kernel reads a word when it is queued. Its memory may be unmapped later. But as long as
//!   the wait is queued, it may take a wake-up that was meant for another sleeper.

mod queues;

use super::check;
use super::fork::UnsharedFd;
use super::futex::timespec;
use crate::sync::AtomicU32;
use queues::{NO_TOKEN, OP_FUTEX_WAIT, Params, Queues, Submission};
use std::ffi::{c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::from_ref;
use std::time::Duration;

/// Entries of the submission queue. A longer list is submitted in parts.
const SUBMISSIONS: u32 = 64;
/// Entries of the completion queue.
const COMPLETIONS: u32 = 4096;
/// Words that may be queued at a time. All of them and as many cancellations find room in the
/// completion queue.
pub(crate) const MOST_QUEUED: usize = COMPLETIONS as usize / 2;

const SETUP_CQSIZE: u32 = 1 << 3;
const SETUP_R_DISABLED: u32 = 1 << 6;
const SETUP_SUBMIT_ALL: u32 = 1 << 7;
const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
const SETUP_DEFER_TASKRUN: u32 = 1 << 13;
const SETUP_NO_SQARRAY: u32 = 1 << 16;
const REGISTER_PROBE: u32 = 8;
const REGISTER_ENABLE_RINGS: u32 = 12;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;
const REGISTERED_RING: u32 = 1 << 31;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
/// In a probe: the kernel has this operation.
const IS_SUPPORTED: u16 = 1;
/// A list of a probe up to the operation that is needed.
const PROBED: usize = OP_FUTEX_WAIT as usize + 1;

/// `struct io_uring_probe` with its list.
#[repr(C)]
struct Probe {
    last: u8,
    len: u8,
    others: [u16; 7],
    operations: [ProbedOperation; PROBED],
}

/// `struct io_uring_probe_op`.
#[repr(C)]
struct ProbedOperation {
    operation: u8,
    unused: u8,
    flags: u16,
    unused_2: u32,
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RingNumber {
    number: u32,
    unused: u32,
    fd: u64,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct WaitArguments {
    signal_mask: u64,
    signal_mask_len: u32,
    unused: u32,
    time: u64,
}

const _: () = {
    assert!(size_of::<Probe>() == 16 + 8 * PROBED && size_of::<RingNumber>() == 16);
    assert!(size_of::<WaitArguments>() == 24);
};

/// An io_uring that no thread uses yet.
#[derive(Debug)]
pub(crate) struct DisabledUring {
    queues: Queues,
    fd: UnsharedFd,
}

impl DisabledUring {
    /// Makes an io_uring.
    ///
    /// # Errors
    ///
    /// The kernel is too old, or it or a filter refuses io_uring; or a limit was reached.
    pub(crate) fn new() -> io::Result<Self> {
        let mut queues = None;
        let fd = UnsharedFd::open(|| {
            let (fd, params) = set_up()?;
            queues = Some(Queues::of(fd.as_fd(), &params)?);
            Ok(fd)
        })?;
        let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
        let uring = Self { queues: queues.ok_or_else(unsupported)?, fd };
        if uring.has_futexes()? { Ok(uring) } else { Err(unsupported()) }
    }

    fn has_futexes(&self) -> io::Result<bool> {
        // SAFETY: a C struct of integers, for which zero is a valid value.
        let mut probe: Probe = unsafe { zeroed() };
        let (list, count) = ((&raw mut probe).cast(), PROBED as u32);
        // SAFETY: the call writes the head of the probe and at most `PROBED` entries.
        unsafe { register(number_of(&self.fd), REGISTER_PROBE, list, count) }?;
        Ok(probe.operations[OP_FUTEX_WAIT as usize].flags & IS_SUPPORTED != 0)
    }

    /// Makes this thread the one that uses the io_uring.
    ///
    /// # Errors
    ///
    /// The kernel or a filter refuses it.
    pub(crate) fn enable(self) -> io::Result<Uring> {
        let Self { queues, fd } = self;
        let number = number_of(&fd);
        // SAFETY: the call takes no memory.
        unsafe { register(number, REGISTER_ENABLE_RINGS, std::ptr::null_mut(), 0) }?;
        let mut uring = RingNumber { number: u32::MAX, unused: 0, fd: number.into() };
        // SAFETY: the call reads and writes one `RingNumber`.
        unsafe { register(number, REGISTER_RING_FDS, (&raw mut uring).cast(), 1) }?;
        // The descriptor is closed: the thread and the mappings keep the io_uring.
        Ok(Uring { queues, number: uring.number, thread: PhantomData })
    }
}

/// An io_uring, in its thread.
#[derive(Debug)]
pub(crate) struct Uring {
    queues: Queues,
    /// The number of the io_uring in this thread.
    number: u32,
    /// The io_uring cannot be used by another thread.
    thread: PhantomData<*const ()>,
}

impl Uring {
    /// Waits for `word`, while it has this value: the next [`sleep`](Self::sleep) queues the wait.
    /// At the wake-up the io_uring reports `token`, once.
    ///
    /// # Errors
    ///
    /// The kernel refuses to take the waits before it. No wait was added.
    pub(crate) fn wait_for(&mut self, word: &AtomicU32, value: u32, token: u64) -> io::Result<()> {
        self.submit(|| Submission::futex_wait(word, value, token))
    }

    /// Cancels the wait with this token. The io_uring reports it, too, unless it did before.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    pub(crate) fn cancel(&mut self, token: u64) -> io::Result<()> {
        self.submit(|| Submission::cancellation(token))
    }

    /// Reports `token` at this time of the monotonic clock. Other reports do not end the timer. A
    /// sleep with a time limit of its own would set and cancel the processor's timer each time,
    /// which takes microseconds in a virtual machine.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    pub(crate) fn wake_at(&mut self, at: Duration, token: u64) -> io::Result<()> {
        while !self.queues.push_timer(at, token) {
            self.flush()?;
        }
        Ok(())
    }

    fn submit(&mut self, submission: impl Fn() -> Submission) -> io::Result<()> {
        while !self.queues.push(submission()) {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.enter(0, ENTER_REGISTERED_RING, None)
    }

    /// Queues and cancels what was added, and sleeps until there is a report.
    ///
    /// # Errors
    ///
    /// The kernel refuses the call. Not a signal.
    pub(crate) fn sleep(&mut self) -> io::Result<()> {
        self.sleep_until_end(ENTER_REGISTERED_RING | ENTER_GETEVENTS, None)
    }

    /// As [`sleep`](Self::sleep), at most for `bound`.
    ///
    /// # Errors
    ///
    /// As [`sleep`](Self::sleep).
    pub(crate) fn sleep_timeout(&mut self, bound: Duration) -> io::Result<()> {
        let time = timespec(bound);
        let time = from_ref(&time).expose_provenance() as u64;
        let arguments = WaitArguments { signal_mask: 0, signal_mask_len: 0, unused: 0, time };
        let flags = ENTER_REGISTERED_RING | ENTER_GETEVENTS | ENTER_EXT_ARG;
        self.sleep_until_end(flags, Some(&arguments))
    }

    fn sleep_until_end(&self, flags: u32, arguments: Option<&WaitArguments>) -> io::Result<()> {
        let slept = self.enter(1, flags, arguments);
        let is_end =
            |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR));
        slept.or_else(|error| if is_end(&error) { Ok(()) } else { Err(error) })
    }

    /// `arguments`: with the address of a `timespec` that is alive.
    fn enter(&self, least: u32, flags: u32, arguments: Option<&WaitArguments>) -> io::Result<()> {
        let count = self.queues.waiting();
        let len = arguments.map_or(0, |_| size_of::<WaitArguments>());
        let arguments = arguments.map_or(std::ptr::null(), from_ref);
        // SAFETY: the call reads `arguments` and its `timespec`, which live until it returns, and
        // the submissions. These name words by address only: the kernel reads a word atomically, or
        // reports that there is none. The times of timers live as long as `self`.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.number,
                count,
                least,
                flags,
                arguments,
                len,
            )
        };
        check(taken as c_int)
    }

    /// The next report: the token, and how its wait ended.
    pub(crate) fn next(&mut self) -> Option<(u64, WaitEnd)> {
        loop {
            let completion = self.queues.pop()?;
            if completion.token != NO_TOKEN {
                return Some((completion.token, WaitEnd::of(completion.result)));
            }
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let mut uring = RingNumber { number: self.number, unused: 0, fd: 0 };
        let operation = UNREGISTER_RING_FDS | REGISTERED_RING;
        // After it and the end of the mappings, the kernel ends the waits that are left.
        // SAFETY: the call reads one `RingNumber`.
        let _ = unsafe { register(self.number, operation, (&raw mut uring).cast(), 1) };
    }
}

/// How a wait or a timer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// A wake-up ended it.
    Woken,
    /// The word had another value when it was queued.
    Differed,
    /// It was cancelled.
    Cancelled,
    /// The time of the timer came.
    Time,
    /// The kernel did not queue it.
    Refused,
}

impl WaitEnd {
    fn of(result: i32) -> Self {
        const DIFFERED: i32 = -libc::EAGAIN;
        const CANCELLED: i32 = -libc::ECANCELED;
        const TIME: i32 = -libc::ETIME;
        match result {
            0.. => Self::Woken,
            DIFFERED => Self::Differed,
            CANCELLED => Self::Cancelled,
            TIME => Self::Time,
            _ => Self::Refused,
        }
    }
}

fn set_up() -> io::Result<(OwnedFd, Params)> {
    // SAFETY: a C struct of integers, for which zero is a valid value.
    let mut params: Params = unsafe { zeroed() };
    params.completions = COMPLETIONS;
    params.flags = SETUP_CQSIZE
        | SETUP_R_DISABLED
        | SETUP_SUBMIT_ALL
        | SETUP_SINGLE_ISSUER
        | SETUP_DEFER_TASKRUN
        | SETUP_NO_SQARRAY;
    // SAFETY: the call reads and writes `params`.
    let number =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, SUBMISSIONS, &raw mut params) } as c_int;
    check(number)?;
    // SAFETY: the call has just made the descriptor, and nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // As the registry of descriptors expects it. It has no effect on an io_uring.
    // SAFETY: the call sets a flag of this descriptor.
    check(unsafe { libc::fcntl(number, libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((fd, params))
}

fn number_of(fd: &UnsharedFd) -> u32 {
    fd.as_fd().as_raw_fd().unsigned_abs()
}

/// `number`: a descriptor, or with [`REGISTERED_RING`] the number of an io_uring of this thread.
///
/// # Safety
///
/// `argument` and `count` are as this operation of `io_uring_register` needs them.
unsafe fn register(
    number: u32,
    operation: u32,
    argument: *mut c_void,
    count: u32,
) -> io::Result<()> {
    // SAFETY: the caller's promise.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, number, operation, argument, count) };
    check(result as c_int)
}

#[cfg(test)]
mod tests;
