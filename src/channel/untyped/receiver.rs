//! The untyped part of every endpoint that reads: takes packets, waits for them, releases them.
//!
//! A [`Receiver`] is generic over its [`Cursor`]: a subscriber's own, or the shared one of a queue.
//!
//! ```text
//!  take ─► fast path: stamped? take it
//!           │ no: spin briefly, retry once
//!           ▼
//!          slow path: release, if in flight ─► search ─► spin ─► park, bounded ─► search …
//!                                                                    └ timed out: check liveness
//! ```
//!
//! Guarantees:
//!
//! - Every wait ends at its deadline.
//! - A dead process is noticed within one bounded sleep, also by an endpoint that only polls.
//! - A packet that `select` found is kept for the next receive.

use super::AckMode;
use super::options::WorkerOptions;
use crate::channel::error::{RecvError, RecvFailure};
use crate::channel::owned_entry::OwnedEntry;
use crate::channel::reports;
use crate::error::Form;
use crate::packet::Fingerprint;
use crate::ring::cursor::{Adoption, Cursor, Fault, Next, Taken};
use crate::ring::guard::HoldsPacket;
use crate::ring::membership::RingState;
use crate::ring::reader::Reader;
use crate::segment::view::RingMemory;
use crate::trace::Hold;
use crate::wait::{Deadline, IDLE, Pace, Timeout};
use std::time::Duration;

/// A subscriber wakes publishers once per this fraction of the ring.
const PARTS: u64 = 8;
/// `try_recv` checks liveness once in this many calls in a row that find nothing. So a subscriber
/// that only polls notices the death of the last publisher.
const IDLE_POLLS: u32 = 1024;
/// As `IDLE_POLLS`, at a position that is claimed. Its owner may be dead, and most claims are
/// committed before so many calls.
const CLAIMED_POLLS: u32 = 8;

/// The result that the next receive need not search for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// The result of a search.
    Next(Next),
    /// The next packet was handed out before. The slow path counts its deliveries.
    Unreceived,
}

/// An endpoint that reads, without its packet type.
#[derive(Debug)]
pub(crate) struct Receiver<C: Cursor = Reader> {
    pub(crate) cursor: C,
    pub(crate) entry: OwnedEntry,
    ack_mode: AckMode,
    /// Result of a search that no receive has returned yet. A packet in it is in flight.
    pub(super) found: Option<Found>,
    /// Choices of a worker. `None` outside a cluster.
    pub(super) options: Option<Box<WorkerOptions>>,
    /// When to check liveness, if nothing else requires it: of a consumer that need not wait.
    pub(super) check_at: Deadline,
    /// When to check liveness during a wait.
    pub(super) pace: Pace,
    /// Polls in a row that found nothing, and the position of the first one.
    polls: u32,
    polled_at: u64,
    /// The cursor's position when publishers were woken last.
    notified_at: u64,
    /// Buffer of `recv_copied`.
    pub(crate) copy: rkyv::util::AlignedVec<16>,
    /// The types of the ring by index, 0 where there is none. For packets of any type.
    pub(crate) types: Vec<Fingerprint>,
    /// The count of registrations that was loaded before `types`.
    pub(super) known_registrations: u64,
}

impl<C: Cursor> Receiver<C> {
    pub(crate) fn new(cursor: C, entry: OwnedEntry, ack_mode: AckMode) -> Self {
        Self {
            cursor,
            entry,
            ack_mode,
            found: None,
            options: None,
            check_at: Deadline::after(IDLE),
            pace: Pace::new(),
            polls: 0,
            polled_at: 0,
            notified_at: 0,
            copy: rkyv::util::AlignedVec::new(),
            types: Vec::new(),
            known_registrations: 0,
        }
    }

    /// Fast path: takes a packet that is there or arrives at once. `None`:
    /// [`take_slow`](Self::take_slow) must decide.
    #[inline(always)]
    pub(crate) fn take_fast(&mut self, timeout: Timeout) -> Option<Taken> {
        self.take_fast_after(timeout, |_| ())
    }

    /// As [`take_fast`](Self::take_fast). Calls `found` if a packet is there, before it is taken.
    #[inline(always)]
    pub(crate) fn take_fast_after(
        &mut self,
        timeout: Timeout,
        found: impl FnOnce(&RingMemory),
    ) -> Option<Taken> {
        if self.found.is_some() || self.cursor.holds() {
            return None;
        }
        let may_spin = !matches!(timeout, Timeout::Zero);
        if self.cursor.is_stamped() || may_spin && self.spin_briefly() {
            found(self.cursor.memory());
            self.cursor.next_fast()
        } else {
            None
        }
    }

    /// Releases the packet in flight and takes the next one.
    // Inlined: a call returns its result through memory, which costs 19 instructions per packet.
    #[inline(always)]
    pub(crate) fn take<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Taken, F> {
        // Packets of the dead must not wait behind a queue that never runs empty.
        if self.cursor.adopts() && self.check_at.has_passed() {
            self.reap_dead();
        }
        match self.take_fast(timeout) {
            Some(taken) => Ok(taken),
            None => F::retry(|| self.take_slow(timeout)),
        }
    }

    /// Slow path of [`take`](Self::take), which finds everything.
    #[inline(never)]
    pub(crate) fn take_slow(&mut self, timeout: Timeout) -> Result<Taken, RecvFailure> {
        if self.found.is_some() || self.options.is_some() {
            return self.take_special(timeout);
        }
        self.release();
        match self.cursor.next() {
            Next::Taken(taken) => {
                self.cursor.record_handed_out();
                Ok(taken)
            }
            other => self.wait_for_next(other, timeout),
        }
    }

    /// [`take_slow`](Self::take_slow) of a receiver that need not search, or that has a worker.
    #[inline(never)]
    fn take_special(&mut self, timeout: Timeout) -> Result<Taken, RecvFailure> {
        if self.is_draining() {
            return Err(RecvError::Closed.into());
        }
        let found = match self.found.take() {
            Some(Found::Next(found)) => found,
            Some(Found::Unreceived) | None => {
                self.release();
                self.found = None;
                self.cursor.next()
            }
        };
        let Next::Taken(taken) = found else { return self.wait_for_next(found, timeout) };
        match self.hand_out(taken) {
            Some(taken) => Ok(taken),
            None => {
                let next = self.cursor.next();
                self.wait_for_next(next, timeout)
            }
        }
    }

    /// Out of line: a spin is long, and the code of the fast path stays short.
    #[inline(never)]
    fn spin_briefly(&mut self) -> bool {
        if self.cursor.miss() {
            self.entry.waiter.back_off();
        }
        self.entry.waiter.spin_briefly(|| self.cursor.is_stamped())
    }

    /// The result of a receive whose search returned `found`. `None`: keep waiting.
    pub(super) fn conclude(&mut self, found: Next) -> Option<Result<Taken, RecvFailure>> {
        match found {
            Next::Taken(taken) => match self.hand_out(taken) {
                Some(taken) => Some(Ok(taken)),
                None => {
                    let next = self.cursor.next();
                    self.conclude(next)
                }
            },
            Next::Missed(missed) => {
                self.cursor.record_reported();
                reports::missed(&self.entry.segment, self.cursor.entry(), missed);
                Some(Err(RecvError::Missed(missed).into()))
            }
            Next::Corrupt(fault) => Some(Err(self.corrupt(fault).into())),
            Next::Nothing => {
                // Void packets may have been skipped: room that a publisher waits for.
                self.entry.notify_publishers();
                if self.is_over() {
                    return Some(self.last());
                }
                self.entry.cut_off().map(|cause| Err(RecvError::Detached(cause).into()))
            }
        }
    }

    /// The end of the ring, unless a dead consumer had a packet in flight.
    fn last(&mut self) -> Result<Taken, RecvFailure> {
        if C::IS_SHARED {
            // Each call adopts one packet, which may become a dead letter.
            loop {
                let has_changed = self.reap_dead();
                if let Next::Taken(taken) = self.cursor.next()
                    && let Some(taken) = self.hand_out(taken)
                {
                    return Ok(taken);
                }
                if !has_changed {
                    break;
                }
            }
        }
        Err(RecvError::Closed.into())
    }

    pub(super) fn corrupt(&self, fault: Fault) -> RecvError {
        let position = self.cursor.position();
        let what = match fault {
            Fault::Header => "packet header",
            Fault::Cursor if C::IS_SHARED => "shared cursor, last valid",
            Fault::Cursor => "cursor of this subscriber, last valid",
        };
        let what = format!("invalid {what} at position {position}");
        reports::corrupt(&self.entry.segment, self.cursor.entry(), &what);
        RecvError::Corrupt(what.into())
    }

    /// Nothing was found by a receive that does not wait. A subscriber that polls checks liveness,
    /// too. (A consumer does so by the clock, in `wait_for_next`.)
    pub(super) fn empty(&mut self) -> RecvFailure {
        if !C::IS_SHARED {
            if self.polled_at != self.cursor.position() {
                (self.polled_at, self.polls) = (self.cursor.position(), 0);
            }
            self.polls = self.polls.wrapping_add(1);
            let every = if self.cursor.is_claimed() { CLAIMED_POLLS } else { IDLE_POLLS };
            if self.polls.is_multiple_of(every) {
                self.reap_dead();
            }
        }
        RecvFailure::NotReady(())
    }

    /// Checks the liveness locks, clears the dead, and adopts a packet of a dead consumer.
    /// Does nothing while another process does. Returns true if something changed.
    #[cold]
    #[inline(never)]
    pub(crate) fn reap_dead(&mut self) -> bool {
        let mut adoption = Adoption::None;
        // The packet would wait here until a consumer that drains has left.
        let takes_more = !self.is_draining();
        let changed = self.entry.reap_dead_and(|is_alive| {
            if takes_more {
                adoption = self.cursor.adopt(is_alive);
            }
            adoption != Adoption::None
        });
        if adoption != Adoption::None {
            reports::adopted(&self.entry.segment, &self.cursor);
        }
        // A single packet at a time: the next take checks again.
        let next = if adoption == Adoption::MoreLeft { Duration::ZERO } else { IDLE };
        self.check_at = Deadline::after(next);
        #[cfg(feature = "handover")]
        self.check_attached();
        changed
    }

    /// Returns true if the ring is closed and read to its end.
    pub(crate) fn is_over(&self) -> bool {
        // The stamp is loaded after the state: packets committed before the closing are seen.
        RingState::of(self.cursor.memory()) != RingState::Open
            && !self.cursor.is_claimed()
            && !self.cursor.is_ready()
    }

    /// Acknowledges the packet in flight.
    #[inline(always)]
    pub(crate) fn ack(&mut self) {
        if self.cursor.release() {
            self.notify_publishers_of_room();
        }
    }

    #[inline(never)]
    fn release_slow(&mut self) {
        let is_acked = match self.ack_mode {
            AckMode::Drop => {
                self.cursor.release();
                if self.entry.must_notify_publishers() {
                    self.notify_publishers_of_room();
                }
                return;
            }
            AckMode::DropUnlessPanicking => !std::thread::panicking(),
            AckMode::Explicit => false,
        };
        if !is_acked {
            return self.unreceive();
        }
        self.cursor.release();
        self.notify_publishers_of_room();
    }

    /// Wakes publishers that sleep at a full ring. A subscriber does not for each packet, but once
    /// there is room for many: they would fill one slot and sleep again. Until then they look for
    /// themselves after each bounded sleep.
    pub(super) fn notify_publishers_of_room(&mut self) {
        let position = self.cursor.position();
        let part = self.cursor.memory().capacity() / PARTS;
        if C::IS_SHARED || position.wrapping_sub(self.notified_at) >= part {
            self.notified_at = position;
            self.entry.notify_publishers();
            if !C::IS_SHARED && self.found.is_none() && self.is_draining() {
                // The next take is a slow one, which ends.
                self.found = Some(Found::Unreceived);
            }
            // A ring that never runs dry has no other check.
            #[cfg(feature = "handover")]
            if !C::IS_SHARED && self.options.is_some() {
                self.check_attached();
            }
        }
    }
}

impl<C: Cursor> HoldsPacket for Receiver<C> {
    type Cursor = C;

    #[inline(always)]
    fn cursor(&self) -> &C {
        &self.cursor
    }

    #[inline(always)]
    fn release(&mut self) {
        // Short, because it becomes a part of each function that drops a guard.
        if self.ack_mode != AckMode::Drop
            || !self.cursor.release_fast()
            || self.entry.must_notify_publishers()
        {
            self.release_slow();
        }
    }
}

impl<C: Cursor> Drop for Receiver<C> {
    fn drop(&mut self) {
        if self.entry.segment.is_inherited() {
            // In a forked child the memory is not mapped, and the entry is the parent's.
            return;
        }
        let _hold = Hold::new();
        self.entry.end_counts();
        let control = self.entry.segment.lock_bounded();
        reports::leaving(&self.entry.segment, self.entry.entry_id);
        self.cursor.leave(self.entry.segment.settings(), control.is_some());
        self.entry.release_liveness();
        drop(control);
        if C::IS_SHARED {
            // The other consumers too: another one adopts the packet in flight.
            self.entry.wake_all();
        } else {
            self.entry.wake_others();
        }
    }
}
