//! What publishers and subscribers have in common: an attachment of their own, an entry, a bell
//! to sleep on and one to ring, and the question who lives.

use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::membership::{self, Reaped, Side, Slots};
use crate::segment::entry::EntryId;
use crate::segment::layout::EventCount;
use crate::segment::settings::Parking;
use crate::segment::view::RingMemory;
use crate::segment::{Liveness, Segment};
use crate::sync::Ordering;
use crate::sys::{barrier, event::Event, futex};
use crate::wait::{Notifier, Sleep, Wait, Waiter};

/// One entry of a ring, and everything it takes to use it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) member: EntryId,
    memory: RingMemory,
    pub(crate) waiter: Waiter,
    notifier: Notifier,
    /// The events of the other side, opened when they are first set.
    events: Vec<Option<Event>>,
    pub(crate) segment: Segment,
}

impl Endpoint {
    /// The endpoint of an entry that was just taken through `segment`. It cannot fail: an entry
    /// that is taken has an owner who gives it back.
    pub(crate) fn new(segment: Segment, member: EntryId, waiter: Waiter) -> Self {
        let memory = segment.memory().clone();
        let fences = !barrier::register();
        let notifier = Notifier::new(event_count_of_others(&memory, member), fences);
        Self { member, memory, waiter, notifier, events: Vec::new(), segment }
    }

    /// How the endpoint of an entry is going to wait.
    pub(crate) fn waiter(
        segment: &Segment,
        member: EntryId,
        wait: Wait,
    ) -> Result<Waiter, OpenError> {
        let sleep = segment.event(member)?.map_or(Sleep::Futex, Sleep::Event);
        Ok(Waiter::new(wait, sleep))
    }

    /// The bell that this endpoint sleeps on.
    pub(crate) fn event_count(&self) -> &EventCount {
        event_count_of(&self.memory, side_of(self.member))
    }

    /// A publisher's, after a store that subscribers may sleep for: wakes them if they do.
    #[inline]
    pub(crate) fn notify_subscribers(&mut self) {
        if self.notifier.may_have_waiters(event_count_of(&self.memory, Side::Subscribers)) {
            self.wake_sleepers();
        }
    }

    /// A subscriber's, after a store that publishers may sleep for: wakes them if they do.
    #[inline]
    pub(crate) fn notify_publishers(&mut self) {
        if self.must_notify_publishers() {
            self.wake_sleepers();
        }
    }

    /// Whether [`notify_publishers`](Self::notify_publishers) has anything to do.
    #[inline(always)]
    pub(crate) fn must_notify_publishers(&self) -> bool {
        self.notifier.may_have_waiters(event_count_of(&self.memory, Side::Publishers))
    }

    #[cold]
    #[inline(never)]
    fn wake_sleepers(&mut self) {
        if self.notifier.has_new_waiters(event_count_of_others(&self.memory, self.member)) {
            self.wake_others();
        }
    }

    /// Wakes the other side, if it announced itself or not.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake_others(&mut self) {
        let event_count = event_count_of_others(&self.memory, self.member);
        let (segment, events, side) = (&self.segment, &mut self.events, side_of(self.member));
        self.notifier.wake(event_count, || match segment.settings().parking {
            Parking::Futex => {
                failpoint(Failpoint::Wake);
                futex::wake_all(&event_count.futex);
            }
            Parking::Event => set_events(segment, events, side.other()),
        });
    }

    /// Wakes both sides: what they wait for may have come about.
    pub(crate) fn wake_all(&mut self) {
        self.wake_others();
        wake_side(&self.segment, side_of(self.member));
    }

    /// The locks that this endpoint and the others of its ring live by: those of the ring's file.
    pub(crate) fn liveness(&self) -> &dyn Liveness {
        &self.segment
    }

    /// Whether a member lives; this one does.
    pub(crate) fn is_alive(&self, member: EntryId) -> bool {
        member == self.member || self.liveness().is_alive(member)
    }

    /// Counts as dead from here on: the last step of leaving.
    pub(crate) fn release_liveness(&self) {
        self.liveness().release_liveness(self.member);
    }

    /// Asks the kernel who lives and clears the dead away, unless another process is just doing
    /// so. `true`: something changed.
    #[cold]
    #[inline(never)]
    pub(crate) fn reap_dead(&mut self) -> bool {
        let reaped = {
            let Some(_control) = self.segment.try_lock() else { return false };
            reap(&self.segment, &self.memory, &|member| self.is_alive(member))
        };
        if reaped.changed {
            self.wake_all();
        }
        reaped.changed
    }
}

/// Wakes all who sleep, for one who has no endpoint.
pub(crate) fn wake_both_sides(segment: &Segment) {
    wake_side(segment, Side::Publishers);
    wake_side(segment, Side::Subscribers);
}

fn wake_side(segment: &Segment, side: Side) {
    let memory = segment.memory();
    let event_count = event_count_of(memory, side);
    event_count.futex.fetch_add(1, Ordering::SeqCst);
    match segment.settings().parking {
        Parking::Futex => futex::wake_all(&event_count.futex),
        Parking::Event => set_events(segment, &mut Vec::new(), side),
    }
}

/// Clears the dead away, through a second mapping if a claim must be voided. Under the control
/// lock.
pub(crate) fn reap(
    segment: &Segment,
    memory: &RingMemory,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Reaped {
    let reaped = reap_by(segment, memory, is_alive);
    if reaped.changed {
        segment.note_death();
    }
    reaped
}

fn reap_by(segment: &Segment, memory: &RingMemory, is_alive: &dyn Fn(EntryId) -> bool) -> Reaped {
    let settings = segment.settings();
    if !segment.has_protected_slots() {
        return membership::reap(memory, settings, Slots::Writable, is_alive);
    }
    let is_needed = membership::has_abandoned_claim(memory, is_alive);
    // Without a claim to void, or without memory for a second mapping, reap what needs no writable
    // slots. A later call voids the claim.
    match is_needed.then(|| segment.writable()).flatten() {
        Some(writable) => membership::reap(&writable, settings, Slots::Writable, is_alive),
        None => membership::reap(memory, settings, Slots::ReadOnly, is_alive),
    }
}

/// Where a side sleeps.
#[inline]
fn event_count_of(memory: &RingMemory, side: Side) -> &EventCount {
    match side {
        Side::Publishers => &memory.head().writers,
        Side::Subscribers => &memory.head().readers.event_count,
    }
}

#[inline]
fn event_count_of_others(memory: &RingMemory, member: EntryId) -> &EventCount {
    event_count_of(memory, side_of(member).other())
}

/// Sets the event of every entry of a side that was ever used: each has one waiter, and one that
/// is set for nobody costs its next waiter one look.
fn set_events(segment: &Segment, events: &mut Vec<Option<Event>>, side: Side) {
    let memory = segment.memory();
    let membership = &memory.head().membership;
    let (used, most) = match side {
        Side::Publishers => (&membership.publishers, memory.publishers().len()),
        Side::Subscribers => (&membership.subscribers, memory.subscribers().len()),
    };
    let used = (used.load(Ordering::Acquire) as usize).min(most);
    for index in 0..used {
        if events.len() <= index {
            let member = match side {
                Side::Publishers => EntryId::Publisher(index),
                Side::Subscribers => EntryId::Subscriber(index),
            };
            // One that cannot be opened is damaged; its waiter's sleeps are bounded.
            events.push(segment.event(member).ok().flatten());
        }
        if let Some(event) = &events[index] {
            event.set();
        }
    }
}

#[inline]
fn side_of(member: EntryId) -> Side {
    match member {
        EntryId::Publisher(_) => Side::Publishers,
        // Who watches a directory sleeps where subscribers do.
        EntryId::Subscriber(_) | EntryId::WorkerSlot(_) => Side::Subscribers,
    }
}
