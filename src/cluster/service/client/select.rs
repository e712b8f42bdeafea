//! A client in [`select`](crate::select).
//!
//! A client is ready as soon as one of its calls completes: with a reply, or because there is no
//! server. It is not ready for a deferred message, nor for the reply to a cancelled call. A reply
//! that `select` finds stays in the ring until the call is waited for.

use super::completion::CallTracker;
use crate::channel::{EventCount, Waitable};
use crate::cluster::service::tags::ReplyKind;
use crate::wait::{Deadline, IDLE, Wait};

impl CallTracker {
    /// Returns true if the next message is a wanted reply, or the ring has ended. Records the
    /// messages before it.
    fn has_reply(&mut self) -> bool {
        while self.replies.has_next() {
            let Some(taken) = self.replies.found_packet() else { return true };
            let is_wanted = self.header(&taken).is_some_and(|header| {
                let state = self.calls.find(header.call_slot, header.position);
                let is_open =
                    state.is_some_and(|state| !state.is_given_up && state.outcome.is_none());
                is_open && header.kind != ReplyKind::Deferred
            });
            // A wanted reply stays in place, and is not copied.
            if is_wanted || self.record_next().is_err() {
                return true;
            }
        }
        false
    }
}

impl Waitable for CallTracker {
    fn has_next(&mut self) -> bool {
        if self.calls.has_outcome() || self.has_reply() {
            return true;
        }
        if self.is_pending() && self.check_at.has_passed() {
            self.reap_dead();
        }
        self.calls.has_outcome()
    }

    fn is_ready(&self) -> bool {
        self.calls.has_outcome() || self.replies.is_ready()
    }

    fn event_count(&self) -> &EventCount {
        self.replies.event_count()
    }

    fn is_pending(&self) -> bool {
        self.calls.open().next().is_some() || self.replies.is_pending()
    }

    fn reap_dead(&mut self) {
        self.check_at = Deadline::after(IDLE);
        self.replies.reap_dead();
        // The next receive returns the error.
        let _ = self.check_open_calls();
    }

    fn wait(&self) -> Wait {
        self.replies.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.replies.sleeps_on_futex()
    }
}
