//! Events of `raw_sync` in shared memory: the portable way to park. [`EventFd`] is the descriptor
//! that tells an event loop, and [`AnyReadable`] joins several.
//!
//! Limits of the events:
//!
//! - Not crash-proof. An event is a process-shared mutex and condition variable, and the mutex is
//!   not robust. A process that is killed inside `set` or `wait` while it holds the mutex blocks
//!   all others for good. Rings park on futexes unless configured otherwise.
//! - Not safe against corrupted bytes: the C library trusts the content of its mutex and its
//!   condition variable.
//! - `raw_sync` 0.1.5 adds the nanoseconds of a timeout to those of the clock without a carry into
//!   the seconds, and the C library refuses the result (`raw_sync` issue 39). [`carry_free`]
//!   shortens a wait so that no carry is needed. Any remaining error counts as a wake-up: the
//!   caller checks again.
//! - Waits are measured by the wall clock, the only use of that clock in the crate. No decision
//!   depends on it: a wait lasts at most one second by that clock, and the caller's deadline uses
//!   the monotonic clock. If the wall clock is set back during a wait, that wait is longer by the
//!   same amount.

use super::owned::PerProcess;
use crate::sync::{AtomicU32, Ordering};
use raw_sync::Timeout;
use raw_sync::events::{Event as RawEvent, EventImpl, EventInit, EventState};
use std::any::Any;
use std::ffi::c_int;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number of bytes reserved for one event. `Event::make` checks that it suffices.
pub(crate) const ROOM: usize = 128;

/// A handle to one event. It keeps the memory of the event.
///
/// # Invariants
///
/// 1. `event` contains a pointer to an initialized, process-shared mutex and condition variable.
///    They are valid as long as `_owner` lives. `event` is the first field, so it is dropped first.
pub(crate) struct Event {
    event: Box<dyn EventImpl>,
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: By invariant 1, the box contains no data of this thread; any thread of any process may
// use the mutex and the condition variable.
unsafe impl Send for Event {}
// SAFETY: As above; `set` and `wait` lock the mutex before they access the state of the event.
unsafe impl Sync for Event {}

impl Event {
    /// Creates an event in shared memory. The error is the reason of the operating system, as text.
    ///
    /// # Safety
    ///
    /// `room` is aligned to 16 and valid for writes of [`ROOM`] bytes. Nothing else accesses these
    /// bytes during the call.
    pub(crate) unsafe fn make(room: NonNull<u8>) -> Result<(), String> {
        let needed = RawEvent::size_of(Some(room.as_ptr()));
        if needed > ROOM {
            return Err(format!("event of {needed} bytes exceeds the reserved {ROOM} bytes"));
        }
        // SAFETY: The caller's promise; `needed` is at most `ROOM`.
        unsafe { RawEvent::new(room.as_ptr(), true) }.map(drop).map_err(|error| error.to_string())
    }

    /// Opens an event that this process or another one created.
    ///
    /// # Safety
    ///
    /// `room` contains an event that [`make`](Self::make) created. It is writable as long as
    /// `owner` lives.
    pub(crate) unsafe fn open(
        room: NonNull<u8>,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self, String> {
        // SAFETY: The caller's promise, which also establishes invariant 1.
        let event = unsafe { RawEvent::from_existing(room.as_ptr()) };
        event.map(|(event, _)| Self { event, _owner: owner }).map_err(|error| error.to_string())
    }

    /// Wakes the one waiter. If nothing waits, the next wait returns at once.
    pub(crate) fn set(&self) {
        // An error means that the mutex or the condition variable is corrupted. The waiter notices
        // it by itself, because its wait is bounded.
        let _ = self.event.set(EventState::Signaled);
    }

    /// Waits for [`set`](Self::set), for at most `bound` and for at most one second by the wall
    /// clock.
    ///
    /// May return early for any reason: the caller checks its condition again.
    pub(crate) fn wait(&self, bound: Duration) {
        match carry_free(bound, nanoseconds_into_second()) {
            Some(bound) => drop(self.event.wait(Timeout::Val(bound))),
            // The end of the second is too close for a wait without a carry: sleep past it.
            None => std::thread::sleep(bound.min(SHORTEST)),
        }
    }
}

/// Waits shorter than this do not use the condition variable.
const SHORTEST: Duration = Duration::from_micros(200);
/// Upper estimate, in nanoseconds, of the time between this module's clock reading and that of
/// `raw_sync`.
const SLACK: u32 = 100_000;

/// Returns the longest wait up to `bound` that ends within the current second.
///
/// `now` is the nanosecond of the second. `None` if the wait would be too short to be useful.
fn carry_free(bound: Duration, now: u32) -> Option<Duration> {
    let room = 999_999_999_u32.saturating_sub(now).saturating_sub(SLACK);
    let wait = bound.min(Duration::from_nanos(u64::from(room)));
    (wait >= SHORTEST.min(bound)).then_some(wait)
}

/// Returns the nanoseconds since the start of the current second of the wall clock.
#[expect(clippy::disallowed_methods, reason = "raw_sync measures timeouts by this clock")]
fn nanoseconds_into_second() -> u32 {
    // Before 1970 any number is fine: the wait of `raw_sync` fails, and the caller checks again.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos())
}

/// A descriptor that the library makes for event loops.
///
/// Other code of the process may close it, and open a file in its place. That file is not closed,
/// and [`is_open`](Self::is_open) tells: each descriptor of this type has a mark, and a number
/// belongs to the value that got it last.
#[derive(Debug)]
pub(crate) struct MarkedFd {
    fd: ManuallyDrop<OwnedFd>,
    /// Not 0: other code closed the descriptor, and another value got its number.
    lost: Arc<AtomicU32>,
}

/// The mark: the signal of `F_SETSIG`. An eventfd never sends it, and no program uses it.
const MARK: c_int = libc::SIGSTKFLT;

// Of Linux, on each architecture; the `libc` crate does not declare them for most.
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;

/// The numbers of this process's descriptors, with the word that tells that one is lost.
#[derive(Default)]
struct Numbers(Mutex<Vec<(RawFd, Arc<AtomicU32>)>>);

static NUMBERS: PerProcess<Numbers> = PerProcess::new();

impl Numbers {
    fn lock(&self) -> MutexGuard<'_, Vec<(RawFd, Arc<AtomicU32>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MarkedFd {
    /// Makes a descriptor with a call that returns its number, or -1.
    fn make(call: impl FnOnce() -> RawFd) -> io::Result<Self> {
        let number = call();
        super::check(number)?;
        // SAFETY: the call has just made the descriptor, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        // SAFETY: the call changes a property of the descriptor.
        super::check(unsafe { libc::fcntl(number, F_SETSIG, MARK) })?;
        let lost = Arc::new(AtomicU32::new(0));
        let mut numbers = NUMBERS.get().lock();
        for (_, earlier) in numbers.extract_if(.., |(other, _)| *other == number) {
            earlier.store(1, Ordering::Relaxed);
        }
        numbers.push((number, Arc::clone(&lost)));
        Ok(Self { fd: ManuallyDrop::new(fd), lost })
    }

    /// Makes an epoll instance.
    pub(crate) fn epoll() -> io::Result<Self> {
        // SAFETY: the call takes numbers only.
        Self::make(|| unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
    }

    /// Returns false if other code closed the descriptor.
    pub(crate) fn is_open(&self) -> bool {
        // SAFETY: the call reads a property of the descriptor, or reports that it is closed.
        let mark = || unsafe { libc::fcntl(self.fd.as_raw_fd(), F_GETSIG) };
        self.lost.load(Ordering::Relaxed) == 0 && mark() == MARK
    }
}

impl Drop for MarkedFd {
    fn drop(&mut self) {
        let number = self.fd.as_raw_fd();
        // Locked until it is closed: nobody gets the number before.
        let mut numbers = NUMBERS.get().lock();
        let own = numbers.iter().position(|(_, lost)| Arc::ptr_eq(lost, &self.lost));
        if let Some(own) = own {
            numbers.swap_remove(own);
        }
        // A forked child has a copy of each descriptor, and knows only the numbers that it made.
        if self.is_open() && numbers.iter().all(|&(other, _)| other != number) {
            // SAFETY: this is the only drop of the value.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

impl AsFd for MarkedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A descriptor that is readable while its counter is not 0.
#[derive(Debug)]
pub(crate) struct EventFd(MarkedFd);

impl EventFd {
    /// Makes a descriptor that is readable.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes numbers only.
        MarkedFd::make(|| unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
            .map(Self)
    }

    /// Makes it readable.
    pub(crate) fn set(&self) {
        let one = 1_u64.to_ne_bytes();
        if self.is_open() {
            // It fails only if the counter is full: then the descriptor is readable.
            // SAFETY: the call reads 8 bytes, which live until it returns.
            unsafe { libc::write(self.as_fd().as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Makes it not readable.
    pub(crate) fn clear(&self) {
        let mut counter = [0_u8; 8];
        if self.is_open() {
            let number = self.as_fd().as_raw_fd();
            // It fails only if the counter is 0 already.
            // SAFETY: the call writes at most 8 bytes, for which there is room. It does not block.
            unsafe { libc::read(number, counter.as_mut_ptr().cast(), counter.len()) };
        }
    }

    /// Returns false if other code closed the descriptor.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that is readable while one of others is: an epoll instance. It forgets a descriptor
/// that is closed.
#[derive(Debug)]
pub(crate) struct AnyReadable(MarkedFd);

impl AnyReadable {
    /// Makes a descriptor that is never readable so far.
    pub(crate) fn new() -> io::Result<Self> {
        MarkedFd::epoll().map(Self)
    }

    /// Adds a descriptor.
    pub(crate) fn add(&self, other: BorrowedFd<'_>) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        let (own, other) = (self.as_fd().as_raw_fd(), other.as_raw_fd());
        // SAFETY: the call reads `event`, which lives until it returns.
        super::check(unsafe { libc::epoll_ctl(own, libc::EPOLL_CTL_ADD, other, &raw mut event) })
            .map(drop)
    }
}

impl AsFd for AnyReadable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_never_carries_into_the_next_second() {
        for now in [0, 1, 499_999_999, 950_000_000, 998_000_000, 999_899_999, 999_999_999] {
            for bound in [0, 1, 2_000_000, 50_000_000, 999_999_999, 3_000_000_000] {
                if let Some(wait) = carry_free(Duration::from_nanos(bound), now) {
                    assert!(
                        u64::from(now) + wait.as_nanos() as u64 <= 999_999_999 || wait.is_zero()
                    );
                    assert!(wait.as_nanos() as u64 <= bound);
                }
            }
        }
        assert_eq!(carry_free(Duration::from_millis(2), 0), Some(Duration::from_millis(2)));
        assert_eq!(carry_free(Duration::from_millis(2), 999_999_000), None);
    }
}
