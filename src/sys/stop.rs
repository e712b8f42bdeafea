//! [`Stop`]: ends waits from outside.
//!
//! The word of a stop is private to its process. A sleeper waits on that word beside its event
//! count, with one system call, so no publisher pays for it. The word changes once, from 0 to 1,
//! and the kernel compares it with 0 before the thread sleeps. So a stop that comes just before the
//! sleep ends it, too.

use super::futex;
use crate::sync::{AtomicU32, Ordering};
use std::sync::Arc;
#[cfg(not(loom))]
use std::time::Duration;

/// Ends waits, from any thread or from a signal handler.
///
/// Give it to endpoints with `set_stop`, or to all endpoints of a ring or a worker with the `stop`
/// method of their builders. From [`stop`](Self::stop) on, each call of them that finds nothing and
/// would wait returns `Stopped`, and so do calls that wait already. Calls that do not wait, such as
/// `try_recv`, return `Stopped` where they would return `Empty` or `Full`. What is there is still
/// received, so nothing is lost: a loop that must end although packets come all the time asks
/// [`is_stopped`](Self::is_stopped).
///
/// A stop is never taken back. Its clones are one stop, and any number of endpoints may have it.
///
/// ```
/// use packetring::{RecvError, Ring, Stop};
///
/// let stop = Stop::new();
/// let ring = Ring::builder().stop(&stop).heap()?;
/// let mut readings = ring.subscriber::<u64>()?;
/// let receiver = std::thread::spawn(move || readings.recv().map(|reading| *reading));
/// stop.stop();
/// assert!(matches!(receiver.join().unwrap(), Err(RecvError::Stopped)));
/// # Ok::<(), packetring::OpenError>(())
/// ```
///
/// # Cost
///
/// A call that does not sleep costs nothing more. A sleep waits for two words in one system call
/// (`futex_waitv`, Linux 5.16). Where the kernel refuses that call, a stop ends a sleep within 10
/// ms, and in rings that park on [events](crate::Wait::event) within the bound of their sleeps, at
/// most 240 ms.
///
/// A forked child has a copy of the stop: stopping one does not stop the other.
#[derive(Clone, Debug, Default)]
pub struct Stop(
    /// 0, or 1 once it was stopped.
    Arc<AtomicU32>,
);

impl Stop {
    /// A stop that has not happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all waits that this stop was given to, now and later.
    ///
    /// It is async-signal-safe: it stores a word and makes one system call.
    pub fn stop(&self) {
        // In one order with the loads of sleepers; the kernel's comparison comes after them.
        self.word().store(1, Ordering::SeqCst);
        // A signal handler must not change the error of the code that it interrupted.
        let error = errno();
        futex::wake_all(self.word());
        set_errno(error);
    }

    /// Returns true after the first call of [`stop`](Self::stop).
    #[inline]
    pub fn is_stopped(&self) -> bool {
        // In one order with the store in `stop`, and with what an endpoint stores before it looks.
        self.word().load(Ordering::SeqCst) != 0
    }

    /// Returns true if there is a stop and it was called.
    #[inline]
    pub(crate) fn was_called(stop: Option<&Self>) -> bool {
        stop.is_some_and(Self::is_stopped)
    }

    /// Sleeps for `bound`, or until the stop is called, or shorter.
    #[cfg(not(loom))]
    pub(crate) fn sleep(stop: Option<&Self>, bound: Duration) {
        match stop {
            Some(stop) => futex::wait(stop.word(), 0, bound),
            None => std::thread::sleep(bound),
        }
    }

    /// The word that is not 0 once it was stopped.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Returns true if both are one stop.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn errno() -> i32 {
    // SAFETY: the pointer is valid for this thread as long as it runs.
    unsafe { *libc::__errno_location() }
}

fn set_errno(error: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = error };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stop_keeps_the_error_number_of_its_thread() {
        set_errno(libc::ENOENT);
        Stop::new().stop();
        assert_eq!(errno(), libc::ENOENT);
        set_errno(0);
    }

    #[test]
    fn clones_are_one_stop() {
        let (stop, other) = (Stop::new(), Stop::new());
        let clone = stop.clone();
        clone.stop();
        assert!(stop.is_stopped() && stop.is(&clone));
        assert!(!other.is_stopped() && !other.is(&stop));
    }
}
