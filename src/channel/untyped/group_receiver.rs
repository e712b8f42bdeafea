//! A member of a group without its packet type: takes packets, waits for them, acknowledges them.
//!
//! It asks the kernel who lives after each bounded sleep, and at a take when it has not asked for as
//! long, so that in a busy group too the packet of a dead member does not lie.

use crate::channel::endpoint::{self, Endpoint, Patience};
use crate::channel::error::RecvError;
use crate::channel::select::Waitable;
use crate::ring::consumer_group::{self, Group, Orphans};
use crate::ring::membership::{self, Side};
use crate::ring::queue_guard::Worker;
use crate::ring::reader::{Fault, Next, Taken};
use crate::ring::state::Closing;
use crate::segment::entry::Member;
use crate::segment::layout::Bell;
use crate::wait::{Deadline, IDLE, PENDING, Wait};
use std::time::Duration;

/// The untyped part of a member.
#[derive(Debug)]
pub(crate) struct Taker {
    pub(crate) group: Group,
    pub(crate) endpoint: Endpoint,
    orphans: Orphans,
    /// When to ask who lives, if there is no other reason to.
    ask_at: Deadline,
}

impl Taker {
    pub(crate) fn new(group: Group, endpoint: Endpoint) -> Self {
        let orphans = Orphans::of(endpoint.segment.settings());
        Self { group, endpoint, orphans, ask_at: Deadline::after(IDLE) }
    }

    /// Takes the next packet if it is there, or comes at once, and nothing else is to be done first: the
    /// way of most packets, short and straight. `None` says nothing: [`take`](Self::take) is to be asked.
    #[inline(always)]
    pub(crate) fn take_ready(&mut self, patience: Patience) -> Option<Taken> {
        let mut may_glance = true;
        loop {
            let taken = self.group.take_ready();
            if taken.is_some() || !std::mem::take(&mut may_glance) || !self.glance(patience) {
                return taken;
            }
        }
    }

    #[inline(never)]
    fn glance(&self, patience: Patience) -> bool {
        let group = &self.group;
        !matches!(patience, Patience::None) && self.endpoint.waiter.glance(|| group.is_ready())
    }

    /// Takes the next packet, or gives again what is in hand.
    pub(crate) fn take(&mut self, patience: Patience) -> Result<Taken, RecvError> {
        // Where others get what the dead had in hand, also if there is always a next packet.
        if self.orphans == Orphans::Adopted && self.ask_at.has_passed() {
            self.ask();
        }
        if !self.group.is_ready() {
            self.glance(patience);
        }
        match self.group.take() {
            Next::Taken(taken) => Ok(taken),
            other => self.take_slowly(other, patience),
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
            let lives = |member| endpoint.lives(member);
            let reaped = endpoint::reap(&endpoint.segment, &group.memory, &lives);
            let has_adopted = group.adopt(self.orphans, &lives);
            is_more = has_adopted && group.has_orphan(self.orphans, &lives);
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
    fn take_slowly(&mut self, mut found: Next, patience: Patience) -> Result<Taken, RecvError> {
        if self.ask_at.has_passed() && self.ask() {
            found = self.group.take();
        }
        if let Some(outcome) = self.conclude(found) {
            return outcome;
        }
        if matches!(patience, Patience::None) {
            return Err(RecvError::Empty);
        }
        let deadline = patience.deadline();
        let waiter = &self.endpoint.waiter;
        let mut ready =
            !waiter.only_spins() && waiter.spin(deadline.cut(PENDING), || self.is_ready());
        loop {
            let found = self.group.take();
            if let Some(outcome) = self.conclude(found) {
                return outcome;
            }
            if deadline.has_passed() {
                return Err(RecvError::Timeout);
            }
            ready = !ready && self.pause(deadline);
        }
    }

    /// One pause; `true`: there is something to look at. `false`: the kernel was asked who lives.
    fn pause(&mut self, deadline: Deadline) -> bool {
        let bound = deadline.cut(if self.is_pending() { PENDING } else { IDLE });
        if self.endpoint.waiter.pause(self.bell(), bound, || self.is_ready()) {
            return true;
        }
        // One that only spins pauses shortly, and asks as seldom as a sleeper for no reason.
        if !self.endpoint.waiter.only_spins() || self.is_pending() || self.ask_at.has_passed() {
            self.ask();
        }
        false
    }

    /// What was found, unless it is nothing.
    fn conclude(&mut self, found: Next) -> Option<Result<Taken, RecvError>> {
        match found {
            Next::Taken(taken) => Some(Ok(taken)),
            Next::Corrupt(fault) => Some(Err(self.corrupt(fault))),
            Next::Nothing | Next::Missed(_) => {
                // Void packets may have been skipped: room that a publisher waits for.
                self.endpoint.ring_publishers();
                self.end()
            }
        }
    }

    /// The end of the ring, unless there is a dead member's packet.
    fn end(&mut self) -> Option<Result<Taken, RecvError>> {
        if !self.is_over() {
            return None;
        }
        self.ask();
        match self.group.take() {
            Next::Taken(taken) => Some(Ok(taken)),
            _ => Some(Err(RecvError::Closed)),
        }
    }

    fn corrupt(&self, fault: Fault) -> RecvError {
        let position = self.group.position();
        let what = match fault {
            Fault::Header => format!("the header at position {position} cannot be"),
            Fault::Cursor => "the cursor of the group cannot be where it is".to_owned(),
        };
        RecvError::Corrupt(what.into())
    }

    /// Whether the ring is closed and every packet taken.
    fn is_over(&self) -> bool {
        let group = &self.group;
        // The stamp is looked at after the closing: what was committed before is seen.
        Closing::of(&group.memory) != Closing::Open && !group.is_claimed() && !group.is_ready()
    }

    /// Sits down at another entry and leaves the packet in hand at the old one; `None`: there is no
    /// other.
    fn change_seats(&mut self) -> Option<()> {
        let (group, endpoint) = (&mut self.group, &mut self.endpoint);
        let control = endpoint.segment.lock_patiently()?;
        let settings = endpoint.segment.settings();
        endpoint::reap(&endpoint.segment, &group.memory, &|member| endpoint.lives(member));
        // Half of the places are kept for members.
        if membership::free(&group.memory, Side::Subscribers) <= settings.max_subscribers / 2 {
            return None;
        }
        let new = membership::vacancy(&group.memory, settings, Side::Subscribers)?;
        let wait = endpoint.waiter.wait();
        let waiter = Endpoint::waiter(&endpoint.segment, new, wait).ok()?;
        let Member::Subscriber(index) = new else { return None };
        if !endpoint.segment.sit(new).ok()? {
            return None;
        }
        group.move_to(index);
        endpoint.segment.rise(endpoint.member);
        drop(control);
        (endpoint.member, endpoint.waiter) = (new, waiter);
        Some(())
    }
}

impl Waitable for Taker {
    fn has_next(&mut self) -> bool {
        if self.ask_at.has_passed() {
            self.ask();
        }
        if self.group.find() == Next::Nothing {
            // Void packets may have been skipped: room that a publisher waits for.
            self.endpoint.ring_publishers();
            return self.is_over();
        }
        true
    }

    fn is_ready(&self) -> bool {
        self.group.is_ready() || self.is_over()
    }

    fn bell(&self) -> &Bell {
        self.endpoint.bell()
    }

    fn is_pending(&self) -> bool {
        self.group.is_claimed()
    }

    fn ask_locks(&mut self) {
        self.ask();
    }

    fn wait(&self) -> Wait {
        self.endpoint.waiter.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.endpoint.waiter.sleeps_on_futex()
    }
}

impl Worker for Taker {
    #[inline]
    fn group(&self) -> &Group {
        &self.group
    }

    #[inline]
    fn done(&mut self) {
        if self.group.done() {
            self.endpoint.ring_publishers();
        }
    }

    fn retry(&mut self) {
        if self.change_seats().is_some() {
            self.endpoint.wake_all();
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if self.endpoint.segment.is_inherited() {
            // The parent's, in a forked child: its memory is not there, its entry is not ours.
            return;
        }
        let control = self.endpoint.segment.lock_patiently();
        if control.is_some() {
            // Otherwise the entry is found by whoever asks next.
            let settings = self.endpoint.segment.settings();
            consumer_group::leave(&self.group.memory, settings, self.group.entry);
        }
        self.endpoint.segment.rise(self.endpoint.member);
        drop(control);
        self.endpoint.wake_all();
    }
}
