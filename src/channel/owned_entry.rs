//! The common part of publishers and subscribers: an attachment, an entry, the event counts to
//! sleep on and to notify, and clearing the dead.

use super::reports;
use crate::error::{Detachment, OpenError};
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::membership::Side;
use crate::ring::reap::{self, Death, Reaped, Slots};
use crate::segment::Segment;
use crate::segment::entry::EntryId;
use crate::segment::kept::KeptEventCount;
use crate::segment::layout::EventCount;
use crate::segment::settings::Parking;
use crate::segment::view::RingMemory;
use crate::sync::Ordering;
use crate::sys::{event::Event, futex, machine, stop::Stop};
use crate::trace::Hold;
use crate::wait::{Deadline, JOINT, Listener, Notifier, Sleep, Wait, Waiter};
use std::time::Duration;

/// Time between two checks whether a ring was removed while an endpoint waits. Such a check makes
/// more system calls than all others together.
pub(crate) const CUT_OFF: Duration = Duration::from_secs(1);

/// An entry of a ring, with everything that its owner needs.
#[derive(Debug)]
pub(crate) struct OwnedEntry {
    pub(crate) entry_id: EntryId,
    pub(super) memory: RingMemory,
    pub(crate) waiter: Waiter,
    notifier: Notifier,
    /// The events of the other side. Each is opened when it is first set.
    events: Vec<Option<Event>>,
    /// Why a wait of this endpoint cannot end any more, as found by the last liveness check.
    cut_off: Option<Detachment>,
    /// When to look for it again.
    cut_off_at: Deadline,
    /// The endpoint has left: its entry may be another one's.
    pub(super) has_left: bool,
    /// For event loops.
    pub(crate) listener: Option<Box<Listener>>,
    pub(crate) segment: Segment,
}

impl OwnedEntry {
    /// The endpoint of an entry that was just taken through `segment`. Infallible, because a taken
    /// entry must have an owner that releases it.
    pub(crate) fn new(segment: Segment, entry_id: EntryId, waiter: Waiter) -> Self {
        let memory = segment.memory().clone();
        let fences = !futex::register_barrier();
        // Now, as for the barrier: probes of latencies make no system call.
        machine::time_namespace();
        let notifier = Notifier::new(event_count_of_others(&memory, entry_id), fences);
        let (events, cut_off, cut_off_at) = (Vec::new(), None, Deadline::after(Duration::ZERO));
        Self {
            entry_id,
            memory,
            waiter,
            notifier,
            events,
            cut_off,
            cut_off_at,
            has_left: false,
            listener: None,
            segment,
        }
    }

    /// The waiter for an entry.
    pub(crate) fn waiter(
        segment: &Segment,
        entry_id: EntryId,
        wait: Wait,
    ) -> Result<Waiter, OpenError> {
        let sleep = segment.event(entry_id)?.map_or(Sleep::Futex, Sleep::Event);
        let counts = segment.memory().kept_events(entry_id);
        Ok(Waiter::new(wait, sleep).with_stop(segment.stop()).with_counts(counts))
    }

    /// Sets how this endpoint waits from now on. If it only spins, its pages are made present.
    pub(crate) fn set_wait(&mut self, wait: Wait) {
        self.waiter.set(wait);
        // A page that the system does not make present costs a page fault later, as without this.
        let _ = self.segment.populate(wait.only_spins());
    }

    /// Sets what ends the waits of this endpoint.
    pub(crate) fn set_stop(&mut self, stop: &Stop) {
        self.waiter.set_stop(Some(stop));
        if let Some(listener) = &self.listener {
            listener.set_stop(stop);
        }
        self.segment.set_stop(Some(stop.clone()));
    }

    /// The event count that this endpoint sleeps on.
    pub(crate) fn event_count(&self) -> &EventCount {
        event_count_of(&self.memory, side_of(self.entry_id))
    }

    /// As [`event_count`](Self::event_count), with its memory.
    pub(crate) fn kept_event_count(&self) -> KeptEventCount {
        match side_of(self.entry_id) {
            Side::Publishers => self.memory.writers_event_count(),
            Side::Subscribers => self.memory.readers_event_count(),
        }
    }

    /// Returns true if a publisher has to call [`wake_sleepers_for`](Self::wake_sleepers_for),
    /// after a store that sleeping subscribers may wait for.
    #[inline(always)]
    pub(crate) fn must_notify_subscribers(&self) -> bool {
        self.notifier.may_have_waiters(event_count_of(&self.memory, Side::Subscribers))
    }

    /// Wakes sleeping publishers. A subscriber calls it after a store that they may wait for.
    #[inline]
    pub(crate) fn notify_publishers(&mut self) {
        if self.must_notify_publishers() {
            self.wake_sleepers_for(1);
        }
    }

    /// Returns true if [`notify_publishers`](Self::notify_publishers) has work to do.
    #[inline(always)]
    pub(crate) fn must_notify_publishers(&self) -> bool {
        self.notifier.may_have_waiters(event_count_of(&self.memory, Side::Publishers))
    }

    /// Wakes the other side after a store of so many packets, if a waiter has registered.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake_sleepers_for(&mut self, packets: usize) {
        if !self.notifier.has_new_waiters(event_count_of_others(&self.memory, self.entry_id)) {
            return;
        }
        if self.wakes_some() && matches!(self.entry_id, EntryId::Publisher(_)) {
            self.wake_some(packets);
        } else {
            self.wake_others();
        }
    }

    /// Returns true if a consumer of this ring is woken for a packet, and not all. Events cannot be
    /// counted.
    fn wakes_some(&self) -> bool {
        let settings = self.segment.settings();
        settings.queue && settings.parking == Parking::Futex
    }

    /// Wakes as many consumers as there are new packets. Each consumer that was woken and finds
    /// more [passes the wake-up on](Self::pass_wake_up_on).
    fn wake_some(&mut self, packets: usize) {
        let event_count = event_count_of(&self.memory, Side::Subscribers);
        let packets = packets.max(1);
        let mut woken = 0;
        self.notifier.wake(event_count, || {
            failpoint(Failpoint::Wake);
            woken = futex::wake(&event_count.futex, i32::try_from(packets).unwrap_or(i32::MAX));
            woken < packets
        });
        self.count_wake(woken > 0);
    }

    /// Wakes one more consumer of a queue. A consumer calls it at the end of a wait, if it leaves a
    /// packet behind: the wake-up that it got may be the one for that packet.
    #[cold]
    pub(crate) fn pass_wake_up_on(&self) {
        if self.wakes_some() {
            let event_count = self.event_count();
            event_count.futex.fetch_add(1, Ordering::SeqCst);
            self.count_wake(futex::wake(&event_count.futex, 1) > 0);
        }
    }

    /// Wakes the other side, even if no waiter registered.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake_others(&mut self) {
        let event_count = event_count_of_others(&self.memory, self.entry_id);
        let (segment, events, side) = (&self.segment, &mut self.events, side_of(self.entry_id));
        let mut has_woken = false;
        self.notifier.wake(event_count, || {
            has_woken = match segment.settings().parking {
                Parking::Futex => {
                    failpoint(Failpoint::Wake);
                    futex::wake_all(&event_count.futex) > 0
                }
                Parking::Event => set_events(segment, events, side.other()),
            };
            true
        });
        self.count_wake(has_woken);
    }

    /// Wakes both sides.
    pub(crate) fn wake_all(&mut self) {
        self.wake_others();
        self.count_wake(wake_side(&self.segment, side_of(self.entry_id)));
    }

    /// Returns true if the owner of an entry lives. This endpoint does.
    pub(crate) fn is_alive(&self, entry_id: EntryId) -> bool {
        self.segment.is_alive(entry_id)
    }

    /// Releases this endpoint's liveness lock, as the last step of leaving. From then on it counts
    /// as dead.
    pub(crate) fn release_liveness(&self) {
        self.segment.release_liveness(self.entry_id);
    }

    /// Goes on at another entry, after it left its own.
    pub(crate) fn move_to(&mut self, entry_id: EntryId, waiter: Waiter) {
        (self.entry_id, self.waiter) = (entry_id, waiter);
    }

    /// Why a wait of this endpoint cannot end any more, as found by the last liveness check.
    ///
    /// Either its descriptor is lost, so that it cannot tell which processes live. Or the name of
    /// the ring was removed, so that no process can join, and no other endpoint lives.
    pub(crate) fn cut_off(&self) -> Option<Detachment> {
        self.cut_off
    }

    fn find_cut_off(&self) -> Option<Detachment> {
        self.segment.detachment().filter(|cause| match cause {
            Detachment::DescriptorClosed => true,
            Detachment::NameRemoved => !self.segment.has_living_owner(),
        })
    }

    /// Clears the dead, whose liveness locks are free, unless another process holds the control
    /// lock. Returns true if something changed. If nobody is dead, this takes no lock.
    #[cold]
    #[inline(never)]
    pub(crate) fn reap_dead(&mut self) -> bool {
        self.reap_dead_and(|_| false)
    }

    /// Returns true if another endpoint of this process began to check the ring a moment ago, and
    /// found nobody dead so far. One check serves all endpoints that wake up together. If false,
    /// this endpoint must check.
    pub(crate) fn is_checked(&self) -> bool {
        self.cut_off.is_none() && !self.segment.begin_check(JOINT)
    }

    /// Does [`reap_dead`](Self::reap_dead) and calls `work` under the same lock, if an owner is
    /// dead. `work` gets a function that checks whether an entry's owner lives, and returns true if
    /// it changed something.
    pub(crate) fn reap_dead_and(
        &mut self,
        work: impl FnOnce(&dyn Fn(EntryId) -> bool) -> bool,
    ) -> bool {
        // Trace events come after the wake-up: their subscriber delays no other process.
        let _hold = Hold::new();
        self.segment.begin_check(Duration::ZERO);
        if self.cut_off_at.has_passed() {
            self.cut_off = self.find_cut_off();
            self.cut_off_at = Deadline::after(CUT_OFF);
        }
        let has_dead = reap::has_dead(&self.memory, self.segment.settings(), &|entry_id| {
            self.is_alive(entry_id)
        });
        if has_dead || self.cut_off.is_some() {
            self.segment.withdraw_check();
        }
        if !has_dead {
            return false;
        }
        let changed = {
            let Some(_control) = self.segment.try_lock() else { return false };
            let is_alive = |entry_id| self.is_alive(entry_id);
            let reaped = reap(&self.segment, &self.memory, &is_alive);
            self.count_recoveries(reaped);
            work(&is_alive) || reaped.changed
        };
        if changed {
            self.wake_all();
        }
        changed
    }
}

/// Wakes both sides, for callers without an endpoint.
pub(crate) fn wake_both_sides(segment: &Segment) {
    wake_side(segment, Side::Publishers);
    wake_side(segment, Side::Subscribers);
}

/// Wakes a side. Returns true if a thread slept, or if that is not known.
fn wake_side(segment: &Segment, side: Side) -> bool {
    let memory = segment.memory();
    let event_count = event_count_of(memory, side);
    event_count.futex.fetch_add(1, Ordering::SeqCst);
    match segment.settings().parking {
        Parking::Futex => futex::wake_all(&event_count.futex) > 0,
        Parking::Event => set_events(segment, &mut Vec::new(), side),
    }
}

/// Clears the dead, through a second mapping if a claim must be voided and the slots are read-only
/// here. Needs the control lock.
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
    let reap = |memory: &RingMemory, slots| {
        let report = |death: &Death| reports::died(segment, death);
        reap::reap_and_report(memory, settings, slots, is_alive, &report)
    };
    if !segment.has_protected_slots() {
        return reap(memory, Slots::Writable);
    }
    let is_needed = reap::has_abandoned_claim(memory, is_alive);
    // The next call handles a process that died with an open claim since `is_needed`. It also
    // handles all claims if there was no memory for a second mapping.
    match is_needed.then(|| segment.writable()).flatten() {
        Some(writable) => reap(&writable, Slots::Writable),
        None => reap(memory, Slots::ReadOnly),
    }
}

/// The event count that a side sleeps on.
#[inline]
fn event_count_of(memory: &RingMemory, side: Side) -> &EventCount {
    match side {
        Side::Publishers => &memory.head().writers,
        Side::Subscribers => &memory.head().readers.event_count,
    }
}

#[inline]
fn event_count_of_others(memory: &RingMemory, entry_id: EntryId) -> &EventCount {
    event_count_of(memory, side_of(entry_id).other())
}

/// Sets the event of every entry of a side that was ever used. Each event has one waiter; an event
/// that is set without a waiter costs the next waiter one needless check of the ring. Returns true
/// if there is such an entry.
fn set_events(segment: &Segment, events: &mut Vec<Option<Event>>, side: Side) -> bool {
    let memory = segment.memory();
    let membership = &memory.head().membership;
    let (used, most) = match side {
        Side::Publishers => (&membership.publishers, memory.publishers().len()),
        Side::Subscribers => (&membership.subscribers, memory.subscribers().len()),
    };
    let used = (used.load(Ordering::Acquire) as usize).min(most);
    for index in 0..used {
        if events.len() <= index {
            let entry_id = match side {
                Side::Publishers => EntryId::Publisher(index),
                Side::Subscribers => EntryId::Subscriber(index),
            };
            // An event that cannot be opened is damaged. The sleeps of its waiter are bounded.
            events.push(segment.event(entry_id).ok().flatten());
        }
        if let Some(event) = &events[index] {
            event.set();
        }
    }
    used > 0
}

#[inline]
fn side_of(entry_id: EntryId) -> Side {
    match entry_id {
        EntryId::Publisher(_) => Side::Publishers,
        // A watch of a directory sleeps where subscribers do.
        EntryId::Subscriber(_) | EntryId::WorkerSlot(_) => Side::Subscribers,
    }
}
