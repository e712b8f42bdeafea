//! A member of a group without its packet type: takes packets, waits for them, acknowledges them.
//!
//! It asks the kernel who lives after each bounded sleep, and at a take when it has not asked for as
//! long, so that in a busy group too the packet of a dead member does not lie.

use crate::channel::endpoint::{self, Endpoint};
use crate::channel::error::{RecvError, RecvFailure};
use crate::channel::select::Waitable;
use crate::ring::consumer_group::{self, ConsumerGroup, OnConsumerDeath};
use crate::ring::membership::{self, Side};
use crate::ring::queue_guard::ConsumerEndpoint;
use crate::ring::reader::{Fault, Next, Taken};
use crate::ring::state::RingState;
use crate::segment::entry::EntryId;
use crate::segment::layout::EventCount;
use crate::wait::{Deadline, IDLE, PENDING, Timeout, Wait};
use std::time::Duration;

/// The untyped part of a member.
#[derive(Debug)]
pub(crate) struct GroupReceiver {
    pub(crate) group: ConsumerGroup,
    pub(crate) endpoint: Endpoint,
    on_consumer_death: OnConsumerDeath,
    /// When to ask who lives, if there is no other reason to.
    ask_at: Deadline,
}

impl GroupReceiver {
    pub(crate) fn new(group: ConsumerGroup, endpoint: Endpoint) -> Self {
        let on_consumer_death = OnConsumerDeath::of(endpoint.segment.settings());
        Self { group, endpoint, on_consumer_death, ask_at: Deadline::after(IDLE) }
    }

    /// Takes the next packet if it is there, or comes at once, and nothing else is to be done first: the
    /// way of most packets, short and straight. `None` says nothing: [`take`](Self::take) is to be asked.
    #[inline(always)]
    pub(crate) fn take_fast(&mut self, timeout: Timeout) -> Option<Taken> {
        let mut may_glance = true;
        loop {
            let taken = self.group.take_fast();
            if taken.is_some() || !std::mem::take(&mut may_glance) || !self.spin_briefly(timeout) {
                return taken;
            }
        }
    }

    #[inline(never)]
    fn spin_briefly(&self, timeout: Timeout) -> bool {
        let group = &self.group;
        !matches!(timeout, Timeout::Zero) && self.endpoint.waiter.spin_briefly(|| group.is_ready())
    }

    /// Takes the next packet, or gives again what is in hand.
    pub(crate) fn take(&mut self, timeout: Timeout) -> Result<Taken, RecvFailure> {
        // Where others get what the dead had in hand, also if there is always a next packet.
        if self.on_consumer_death == OnConsumerDeath::Adopted && self.ask_at.has_passed() {
            self.ask();
        }
        if !self.group.is_ready() {
            self.spin_briefly(timeout);
        }
        match self.group.take() {
            Next::Taken(taken) => Ok(taken),
            other => self.take_slow(other, timeout),
        }
    }

    /// Asks the kernel who lives, clears the dead away, and takes over what one of them had in hand,
    /// unless another process is just doing so. `true`: something changed.
    #[cold]
    #[inline(never)]
    pub(crate) fn ask(&mut self) -> bool {
        self.ask_at = Deadline::after(IDLE);
        let (group, endpoint) = (&mut self.group, &self.endpoint);
        let is_more;
        let changed = {
            let Some(_control) = endpoint.segment.try_lock() else { return false };
            let is_alive = |member| endpoint.is_alive(member);
            let reaped = endpoint::reap(&endpoint.segment, &group.memory, &is_alive);
            let has_adopted = group.adopt(self.on_consumer_death, &is_alive);
            is_more = has_adopted && group.has_orphan(self.on_consumer_death, &is_alive);
            reaped.changed || has_adopted
        };
        if is_more {
            // One at a time: the next take asks for the next.
            self.ask_at = Deadline::after(Duration::ZERO);
        }
        if changed {
            self.endpoint.wake_all();
        }
        changed
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&mut self, mut found: Next, timeout: Timeout) -> Result<Taken, RecvFailure> {
        if self.ask_at.has_passed() && self.ask() {
            found = self.group.take();
        }
        if let Some(outcome) = self.conclude(found) {
            return outcome;
        }
        if matches!(timeout, Timeout::Zero) {
            return Err(RecvFailure::NotReady(()));
        }
        let deadline = timeout.deadline();
        let waiter = &self.endpoint.waiter;
        let mut ready =
            !waiter.only_spins() && waiter.spin(deadline.cut(PENDING), || self.is_ready());
        loop {
            let found = self.group.take();
            if let Some(outcome) = self.conclude(found) {
                return outcome;
            }
            if deadline.has_passed() {
                return Err(RecvFailure::NotReady(()));
            }
            ready = !ready && self.park(deadline);
        }
    }

    /// One pause; `true`: there is something to look at. `false`: the kernel was asked who lives.
    fn park(&mut self, deadline: Deadline) -> bool {
        let bound = deadline.cut(if self.is_pending() { PENDING } else { IDLE });
        if self.endpoint.waiter.park(self.event_count(), bound, || self.is_ready()) {
            return true;
        }
        // One that only spins pauses shortly, and asks as seldom as a sleeper for no reason.
        if !self.endpoint.waiter.only_spins() || self.is_pending() || self.ask_at.has_passed() {
            self.ask();
        }
        false
    }

    /// What was found, unless it is nothing.
    fn conclude(&mut self, found: Next) -> Option<Result<Taken, RecvFailure>> {
        match found {
            Next::Taken(taken) => Some(Ok(taken)),
            Next::Corrupt(fault) => Some(Err(self.corrupt(fault).into())),
            Next::Nothing | Next::Missed(_) => {
                // Void packets may have been skipped: room that a publisher waits for.
                self.endpoint.notify_publishers();
                self.end()
            }
        }
    }

    /// The end of the ring, unless there is a dead member's packet.
    fn end(&mut self) -> Option<Result<Taken, RecvFailure>> {
        if !self.is_over() {
            return None;
        }
        self.ask();
        match self.group.take() {
            Next::Taken(taken) => Some(Ok(taken)),
            _ => Some(Err(RecvError::Closed.into())),
        }
    }

    fn corrupt(&self, fault: Fault) -> RecvError {
        let position = self.group.position();
        let what = match fault {
            Fault::Header => format!("invalid packet header at position {position}"),
            Fault::Cursor => "invalid cursor of the queue".to_owned(),
        };
        RecvError::Corrupt(what.into())
    }

    /// Whether the ring is closed and every packet taken.
    fn is_over(&self) -> bool {
        let group = &self.group;
        // The stamp is looked at after the closing: what was committed before is seen.
        RingState::of(&group.memory) != RingState::Open && !group.is_claimed() && !group.is_ready()
    }

    /// Sits down at another entry and leaves the packet in hand at the old one; `None`: there is no
    /// other.
    fn change_seats(&mut self) -> Option<()> {
        let (group, endpoint) = (&mut self.group, &mut self.endpoint);
        let control = endpoint.segment.lock_bounded()?;
        let settings = endpoint.segment.settings();
        endpoint::reap(&endpoint.segment, &group.memory, &|member| endpoint.is_alive(member));
        // Half of the places are kept for members.
        if membership::free(&group.memory, Side::Subscribers) <= settings.max_subscribers / 2 {
            return None;
        }
        let new = membership::vacancy(&group.memory, settings, Side::Subscribers)?;
        let wait = endpoint.waiter.wait();
        let waiter = Endpoint::waiter(&endpoint.segment, new, wait).ok()?;
        let EntryId::Subscriber(index) = new else { return None };
        if !endpoint.liveness().acquire_liveness(new).ok()? {
            return None;
        }
        group.move_to(index);
        endpoint.release_liveness();
        drop(control);
        (endpoint.member, endpoint.waiter) = (new, waiter);
        Some(())
    }
}

impl Waitable for GroupReceiver {
    fn has_next(&mut self) -> bool {
        if self.ask_at.has_passed() {
            self.ask();
        }
        if self.group.find() == Next::Nothing {
            // Void packets may have been skipped: room that a publisher waits for.
            self.endpoint.notify_publishers();
            return self.is_over();
        }
        true
    }

    fn is_ready(&self) -> bool {
        self.group.is_ready() || self.is_over()
    }

    fn event_count(&self) -> &EventCount {
        self.endpoint.event_count()
    }

    fn is_pending(&self) -> bool {
        self.group.is_claimed()
    }

    fn reap_dead(&mut self) {
        self.ask();
    }

    fn wait(&self) -> Wait {
        self.endpoint.waiter.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.endpoint.waiter.sleeps_on_futex()
    }
}

impl ConsumerEndpoint for GroupReceiver {
    #[inline]
    fn group(&self) -> &ConsumerGroup {
        &self.group
    }

    #[inline]
    fn ack(&mut self) {
        if self.group.ack() {
            self.endpoint.notify_publishers();
        }
    }

    fn nack(&mut self) {
        if self.change_seats().is_some() {
            self.endpoint.wake_all();
        }
    }
}

impl Drop for GroupReceiver {
    fn drop(&mut self) {
        if self.endpoint.segment.is_inherited() {
            // The parent's, in a forked child: its memory is not there, its entry is not ours.
            return;
        }
        let control = self.endpoint.segment.lock_bounded();
        if control.is_some() {
            // Otherwise the entry is found by whoever asks next.
            let settings = self.endpoint.segment.settings();
            consumer_group::leave(&self.group.memory, settings, self.group.entry);
        }
        self.endpoint.release_liveness();
        drop(control);
        self.endpoint.wake_all();
    }
}
