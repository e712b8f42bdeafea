//! A subscriber's side of the ring: receive, pin, release.
//!
//! ```text
//!               Block                                DropOldest
//!  receive      load the stamp (acquire)             the same, then CAS cursor c → c|PIN
//!  in hand      the cursor stands still: gated       the cursor is pinned
//!  release      store the cursor (release)           store the cursor, which unpins
//! ```
//!
//! In a `Block` ring neither receiving nor releasing has a locked instruction or a fence.
//!
//! What is in hand is released by [`Reader::release`], which every receive begins with: a guard
//! that was forgotten holds nothing up for longer than until the next call.

use super::gate::{PIN, position};
use super::geometry::Geometry;
use super::membership::Joined;
use super::missed::{LossCounter, Missed};
use super::slot::{self, Descriptor, Kind, SlotState};
use super::spot::StampedPosition;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::{FARTHEST, SubscriberDetails, SubscriberEntry};
use crate::segment::settings::{Overflow, Settings};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;
use std::ops::Range;

/// A packet in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) position: u64,
    pub(crate) descriptor: Descriptor,
}

impl Taken {
    /// Where the packet behind it begins.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.position + self.descriptor.span()
    }
}

/// What a look for the next packet found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A packet, in hand now.
    Taken(Taken),
    /// Nothing yet.
    Nothing,
    /// The cursor was moved over packets that this subscriber will not see.
    Missed(Missed),
    /// Something that cannot be: the ring cannot be read on.
    Corrupt(Fault),
}

/// What no publisher and no subscriber wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The header of a committed packet.
    Header,
    /// This subscriber's own cursor.
    Cursor,
}

/// A subscriber's local state.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) memory: RingMemory,
    pub(crate) geometry: Geometry,
    /// Index of its entry.
    pub(crate) entry: usize,
    pins: bool,
    durable: bool,
    /// Neither: the short way will do.
    has_fast_path: bool,
    /// Where its cursor stands.
    at: StampedPosition,
    /// Slots in hand from there on.
    held: u64,
    /// Of a batch in hand, the packets, ascending. Its memory is kept from batch to batch.
    batch: Vec<Taken>,
    /// Packets before it were handed out to a predecessor.
    redelivered_below: u64,
    /// What was lost, and told.
    account: LossCounter,
}

impl Reader {
    /// The reader of an entry that was just taken.
    pub(crate) fn new(
        memory: RingMemory,
        settings: &Settings,
        entry: usize,
        joined: Joined,
    ) -> Self {
        Self {
            geometry: Geometry::of(settings),
            entry,
            pins: settings.overflow == Overflow::DropOldest,
            durable: false,
            has_fast_path: settings.overflow == Overflow::Block,
            at: StampedPosition::at(&memory, joined.position),
            memory,
            held: 0,
            batch: Vec::new(),
            redelivered_below: 0,
            account: joined.account,
        }
    }

    /// Makes it a durable one, whose predecessor was handed everything below a position.
    pub(crate) fn durable(mut self, redelivered_below: u64) -> Self {
        (self.durable, self.has_fast_path) = (true, false);
        self.redelivered_below = redelivered_below;
        self
    }

    /// The next packet, which is committed, if it needs no pin, and no note either unless `RECORD`:
    /// what [`next`](Self::next) finds most of the time, without what else it could find. What was in
    /// hand before must have been released.
    #[inline(always)]
    pub(crate) fn next_fast<const RECORD: bool>(&mut self) -> Option<Taken> {
        debug_assert_eq!(self.held, 0);
        if if RECORD { self.pins } else { !self.has_fast_path } {
            return None;
        }
        failpoint(Failpoint::ReceiveLook);
        let descriptor = slot::data(&self.memory, &self.geometry, self.at.position)?;
        self.held = descriptor.span();
        failpoint(Failpoint::Receive);
        if RECORD {
            self.record_handed_out();
        }
        Some(Taken { position: self.at.position, descriptor })
    }

    /// Looks for the next packet. What was in hand before must have been released.
    pub(crate) fn next(&mut self) -> Next {
        debug_assert_eq!(self.held, 0);
        if self.pins {
            return self.next_pinned();
        }
        loop {
            failpoint(Failpoint::ReceiveLook);
            if !slot::is_stamped(&self.memory, self.at) {
                return Next::Nothing;
            }
            if let Some(next) = self.take() {
                return next;
            }
        }
    }

    /// The same in a `DropOldest` ring. Apart, so that the receive path of a `Block` ring can be
    /// seen to have no locked instruction.
    #[inline(never)]
    fn next_pinned(&mut self) -> Next {
        loop {
            failpoint(Failpoint::ReceiveLook);
            let is_pinned = slot::is_stamped(&self.memory, self.at) && self.pin();
            let next = if is_pinned { self.take() } else { self.look_for_eviction() };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// Takes the committed packet at the cursor; `None`: it was void, look again.
    #[inline]
    fn take(&mut self) -> Option<Next> {
        let found = slot::header(&self.memory, &self.geometry, self.at.position);
        let SlotState::Packet(descriptor) = found else {
            self.unpin();
            return Some(Next::Corrupt(Fault::Header));
        };
        self.held = descriptor.span();
        if descriptor.kind() == Kind::Void {
            self.release();
            return None;
        }
        failpoint(Failpoint::Receive);
        Some(Next::Taken(Taken { position: self.at.position, descriptor }))
    }

    /// After a first packet was taken: takes those that follow it, as long as they are `wanted`,
    /// up to `most` in all.
    #[inline]
    pub(crate) fn take_more(
        &mut self,
        first: Taken,
        most: usize,
        wanted: impl Fn(&Descriptor) -> bool,
    ) {
        let batch = &mut self.batch;
        batch.clear();
        batch.push(first);
        let mut at = self.at.to(&self.memory, self.at.position + self.held);
        while batch.len() < most {
            let found = slot::inspect(&self.memory, &self.geometry, at);
            let SlotState::Packet(descriptor) = found else { break };
            if descriptor.kind() == Kind::Data {
                if !wanted(&descriptor) {
                    break;
                }
                batch.push(Taken { position: at.position, descriptor });
            }
            at.go(&self.memory, at.position + descriptor.span());
        }
        self.held = at.position - self.at.position;
        self.record_handed_out();
    }

    /// The packets of the batch that was taken last: of the one in hand, if there is one.
    #[inline]
    pub(crate) fn batch(&self) -> &[Taken] {
        &self.batch
    }

    /// Whether the batch that was taken last is in hand.
    pub(crate) fn holds_batch(&self) -> bool {
        let hand = self.in_hand();
        // They are ascending and do not overlap.
        let starts = self.batch.first().is_some_and(|first| hand.start <= first.position);
        starts && self.batch.last().is_some_and(|last| last.end() <= hand.end)
    }

    /// Lets go of all but the first `count` packets of the batch, one at least: the others are not
    /// taken.
    pub(crate) fn keep_of_batch(&mut self, count: usize) {
        debug_assert!(self.holds_batch());
        if let Some(next) = self.batch.get(count) {
            self.held = next.position - self.at.position;
            self.batch.truncate(count);
            self.record_handed_out();
        }
    }

    /// Keeps the cursor where it is, evictors or not, while another is placed beside it.
    pub(crate) fn stand_still<R>(&self, work: impl FnOnce() -> R) -> R {
        if !self.pins || self.held > 0 {
            return work();
        }
        let cursor = &self.own().cursor;
        let mut at = cursor.load(Ordering::Acquire);
        while let Err(now) =
            cursor.compare_exchange(at, at | PIN, Ordering::AcqRel, Ordering::Acquire)
        {
            at = now;
        }
        let done = work();
        cursor.store(at, Ordering::Release);
        done
    }

    /// Lets go of what is in hand, if there is something, and no more is to be done than to move
    /// the cursor: what [`release`](Self::release) does most of the time. `false`: nothing done.
    #[inline(always)]
    pub(crate) fn release_fast(&mut self) -> bool {
        let position = self.at.position + self.held;
        let Some(own) = self.memory.subscribers().get(self.entry) else { return false };
        if self.held == 0
            || !self.has_fast_path
            || !self.memory.is_one_lap(self.at.position, position)
        {
            return false;
        }
        failpoint(Failpoint::Release);
        (self.at.position, self.held) = (position, 0);
        // As in `release`.
        own.cursor.store(position, Ordering::Release);
        true
    }

    /// Lets go of what is in hand; `false`: nothing was.
    #[inline]
    pub(crate) fn release(&mut self) -> bool {
        if self.held == 0 {
            return false;
        }
        failpoint(Failpoint::Release);
        self.at.go(&self.memory, self.at.position + self.held);
        self.held = 0;
        // Pairs with the acquires in `gate::scan` and `evict`: what was read in the slots comes
        // before what a publisher writes there. In a `DropOldest` ring this unpins; nobody else
        // moves a pinned cursor.
        self.own().cursor.store(self.at.position, Ordering::Release);
        true
    }

    /// Puts what is in hand back: it comes again, as a redelivery.
    pub(crate) fn unreceive(&mut self) {
        if self.held > 0 {
            self.redelivered_below = self.redelivered_below.max(self.in_hand().end);
            self.held = 0;
            self.unpin();
        }
    }

    /// Whether the packet at the cursor is committed.
    #[inline(always)]
    pub(crate) fn is_stamped(&self) -> bool {
        slot::is_stamped(&self.memory, self.at)
    }

    /// Whether [`next`](Self::next) would find something other than nothing. Cheap; for waiting.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.is_stamped()
            || self.pins && position(self.own().cursor.load(Ordering::Relaxed)) != self.at.position
    }

    /// Whether the next packet is claimed and not committed.
    pub(crate) fn is_claimed(&self) -> bool {
        self.memory.head().tail.load(Ordering::Acquire) > self.at.position
    }

    /// Whether a packet was handed out before: by this subscriber, who put it back, or by its
    /// predecessor.
    #[inline]
    pub(crate) fn is_redelivered(&self, taken: &Taken) -> bool {
        taken.position < self.redelivered_below
    }

    /// Whether anything is in hand.
    #[inline]
    pub(crate) fn holds(&self) -> bool {
        self.held > 0
    }

    /// Positions in hand.
    #[inline]
    pub(crate) fn in_hand(&self) -> Range<u64> {
        self.at.position..self.at.position + self.held
    }

    /// The position of its cursor.
    pub(crate) fn position(&self) -> u64 {
        self.at.position
    }

    pub(crate) fn own(&self) -> &SubscriberEntry {
        &self.memory.subscribers()[self.entry]
    }

    /// A dead durable subscriber's successor flags what its predecessor had: so the end of what
    /// is handed out is known before it is. To be called before what [`next`](Self::next) took is
    /// given to anyone.
    #[inline]
    pub(crate) fn record_handed_out(&self) {
        if self.durable {
            // Never lowered: a predecessor, or this one before it put a batch back, had more.
            let end = self.in_hand().end.max(self.redelivered_below);
            self.own().details.durable.set_handed_out(end);
        }
    }

    /// Takes the pin off where it stands. The cursor is pinned, or nobody else moves it.
    fn unpin(&self) {
        if self.pins {
            self.own().cursor.store(self.at.position, Ordering::Release);
        }
    }

    #[inline]
    fn pin(&self) -> bool {
        // Release pairs with an evictor's acquire; acquire with its release: a cursor that still
        // stands here means that the slots from here on were not given away.
        let pinned = self.own().cursor.compare_exchange(
            self.at.position,
            self.at.position | PIN,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        pinned.is_ok()
    }

    /// Follows the cursor if it was moved; `None`: over nothing but void packets.
    #[cold]
    fn look_for_eviction(&mut self) -> Option<Next> {
        // Pairs with the release half of the eviction.
        let cursor = self.own().cursor.load(Ordering::Acquire);
        // Nobody but this subscriber pins it or takes it off, and evictors move it forward.
        if cursor > FARTHEST || cursor < self.at.position {
            return Some(Next::Corrupt(Fault::Cursor));
        }
        if cursor == self.at.position {
            return Some(self.unreported_loss().map_or(Next::Nothing, Next::Missed));
        }
        self.at.go(&self.memory, cursor);
        let missed = self.account.missed(details(&self.memory, self.entry));
        (missed.packets > 0 || !missed.exact).then_some(Next::Missed(missed))
    }

    /// What was evicted and nobody was told of yet, though the cursor stands where it stood.
    pub(crate) fn unreported_loss(&mut self) -> Option<Missed> {
        self.account.late(details(&self.memory, self.entry))
    }

    /// Remembers, for a successor, that the user was told of what was missed.
    pub(crate) fn record_reported(&self) {
        if self.durable {
            self.account.record_reported(&self.own().details);
        }
    }
}

fn details(memory: &RingMemory, entry: usize) -> &SubscriberDetails {
    &memory.subscribers()[entry].details
}
