//! Events of `raw_sync`, placed in shared memory: the portable way to park.
//!
//! Not crash-proof: an event is a process-shared mutex and condition variable, and the mutex is
//! not robust. A process killed in the few instructions inside `set` or `wait` that hold it
//! blocks the others for good. Rings park on futexes unless they were made otherwise.
//!
//! Nor proof against damaged bytes: they are the C library's own mutex and condition variable, which
//! believe what they find.
//!
//! `raw_sync` 0.1.5 adds a timeout's nanoseconds to the clock's without carrying into the
//! seconds, and the kernel refuses the result (its issue 39). [`carry_free`] shortens a wait so
//! that no carry is needed; whatever error comes all the same means "look again".
//!
//! It also counts by the wall clock, the only thing here that does. Nothing is decided by it: a
//! wait is a second at most by that clock, and the caller's deadline is by another. But if
//! somebody sets it back while one waits, this one wait is longer by as much, unless it is let go.

use raw_sync::Timeout;
use raw_sync::events::{Event as RawEvent, EventImpl, EventInit, EventState};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes that one event may take. Checked when one is made.
pub(crate) const ROOM: usize = 128;

/// One event, and the memory that it lies in.
///
/// # Invariants
///
/// 1. `event` points to memory that is valid as long as `_owner` lives. `event` is the first field,
///    so it is dropped first.
pub(crate) struct Event {
    event: Box<dyn EventImpl>,
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the event behind the box is a pointer to a process-shared mutex and condition variable,
// both made to be used from any thread of any process.
unsafe impl Send for Event {}
// SAFETY: as above; `set` and `wait` take the mutex before they touch the rest.
unsafe impl Sync for Event {}

impl Event {
    /// Makes an event, or says why the system could not.
    ///
    /// # Safety
    ///
    /// `room` is valid for writes of [`ROOM`] bytes, aligned to 16, and nothing else uses it yet.
    pub(crate) unsafe fn make(room: NonNull<u8>) -> Result<(), String> {
        let needed = RawEvent::size_of(Some(room.as_ptr()));
        if needed > ROOM {
            return Err(format!("an event takes {needed} bytes here, more than {ROOM}"));
        }
        // SAFETY: the caller's promise; `needed` bytes fit.
        unsafe { RawEvent::new(room.as_ptr(), true) }.map(drop).map_err(|error| error.to_string())
    }

    /// Uses an event that was made, by this process or another.
    ///
    /// # Safety
    ///
    /// `room` holds an event that [`make`](Self::make) made. It is writable as long as `owner`
    /// lives.
    pub(crate) unsafe fn open(
        room: NonNull<u8>,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self, String> {
        // SAFETY: the caller's promise.
        let event = unsafe { RawEvent::from_existing(room.as_ptr()) };
        event.map(|(event, _)| Self { event, _owner: owner }).map_err(|error| error.to_string())
    }

    /// Lets the one waiter go on, now or when it comes.
    pub(crate) fn set(&self) {
        // An error means that the mutex or condition variable is damaged: the waiter's bounded
        // wait finds out by itself.
        let _ = self.event.set(EventState::Signaled);
    }

    /// Waits to be let go, for `bound` at most (a second at most in any case, by the wall clock),
    /// or less: the caller looks again whatever happened.
    pub(crate) fn wait(&self, bound: Duration) {
        match carry_free(bound, nanoseconds_into_second()) {
            Some(bound) => drop(self.event.wait(Timeout::Val(bound))),
            // Too close to the end of a second for a wait that needs no carry: sleep past it.
            None => std::thread::sleep(bound.min(SHORTEST)),
        }
    }
}

/// A wait shorter than this is not worth a trip through the condition variable.
const SHORTEST: Duration = Duration::from_micros(200);
/// Time between our look at the clock and raw_sync's, generously.
const SLACK: u32 = 100_000;

/// The longest wait up to `bound` for which `now + wait` stays within the second.
fn carry_free(bound: Duration, now: u32) -> Option<Duration> {
    let room = 999_999_999_u32.saturating_sub(now).saturating_sub(SLACK);
    let wait = bound.min(Duration::from_nanos(u64::from(room)));
    (wait >= SHORTEST.min(bound)).then_some(wait)
}

#[expect(clippy::disallowed_methods, reason = "raw_sync counts by this clock, alas")]
fn nanoseconds_into_second() -> u32 {
    // Before 1970 it is as good as any number: what raw_sync then does is "look again".
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos())
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
