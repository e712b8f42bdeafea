//! A client beside others that are waited for: what `select` needs of it.
//!
//! It guarantees that a client is found as soon as something came of one of its calls, be it that the
//! server died or that there is none, and that nothing else is taken for that: a reply that is deferred,
//! or one to a call that was given up. A reply that is found stays in place for whoever asks for it.

use super::client::Client;
use super::tags::Kind;
use crate::channel::{Selectable, Selectee, Waitable};
use crate::packet::Packet;
use crate::segment::layout::EventCount;
use crate::wait::{Deadline, IDLE, Wait};

impl<Q: Packet, R: Packet> Client<Q, R> {
    /// Whether a reply lies there that somebody may ask for, or the end of all replies. Other letters
    /// are read.
    fn has_reply(&mut self) -> bool {
        while self.replies.has_next() {
            let Some(taken) = self.replies.found_packet() else { return true };
            let is_wanted = self.addressed(&taken).is_some_and(|letter| {
                let one = self.calls.at(letter.call_slot, letter.position);
                let is_open = one.is_some_and(|one| !one.is_given_up && one.outcome.is_none());
                is_open && letter.kind != Kind::Deferred
            });
            // In place, for whoever asks for it.
            if is_wanted || self.note_next().is_err() {
                return true;
            }
        }
        false
    }
}

/// It has something when a call in flight has an outcome, be it that its server died.
impl<Q: Packet, R: Packet> Waitable for Client<Q, R> {
    fn has_next(&mut self) -> bool {
        if self.calls.has_outcome() || self.has_reply() {
            return true;
        }
        if self.is_pending() && self.ask_at.has_passed() {
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
        self.ask_at = Deadline::after(IDLE);
        self.replies.reap_dead();
        // Replies that cannot be read are what the next look finds.
        let _ = self.ask_after_all();
    }

    fn wait(&self) -> Wait {
        self.replies.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.replies.sleeps_on_futex()
    }
}

/// It is ready as soon as something came of a call in flight: its reply, or why there is none.
impl<Q: Packet, R: Packet> Selectable for Client<Q, R> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(self)
    }
}
