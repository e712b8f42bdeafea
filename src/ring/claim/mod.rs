//! A publisher's side of the ring: claim, fill, commit, abort. One API over both claim kinds.
//!
//! Dropping a claim aborts it: in an exclusive ring nothing was published and the next claim
//! takes the same position; in a shared one the range becomes a void packet.

mod exclusive;
mod shared;

use super::gate::{self, Gate};
use super::geometry::Geometry;
use super::history;
use super::overflow;
use super::slot::{self, Descriptor};
use super::spot::StampedPosition;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::PublisherEntry;
use crate::segment::settings::{Claims, Overflow, Settings};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// There is no room below the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// What holds the publisher back.
    pub(crate) gate: Gate,
}

/// A publisher's local state. All operations take `&mut self`: one claim at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) memory: RingMemory,
    pub(crate) geometry: Geometry,
    pub(crate) claims: Claims,
    pub(crate) overflow: Overflow,
    /// Index of its entry.
    pub(crate) entry: usize,
    /// Exclusive: where the next claim begins. Shared: where the open claim goes on.
    pub(crate) at: StampedPosition,
    /// From `at` up to here the slots are this publisher's to write, and lie in one piece. Shared:
    /// the end of the open claim; where `at` is when there is none.
    pub(crate) end: u64,
    /// Cached: positions below it may be claimed.
    pub(crate) limit: u64,
}

impl Writer {
    /// The writer of an entry that was just taken; exclusive ones go on at `position`.
    pub(crate) fn new(
        memory: RingMemory,
        settings: &Settings,
        entry: usize,
        position: u64,
    ) -> Self {
        Self {
            geometry: Geometry::of(settings),
            claims: settings.claims,
            overflow: settings.overflow,
            entry,
            at: StampedPosition::at(&memory, position),
            memory,
            end: position,
            limit: 0,
        }
    }

    /// Claims `span` slots in one piece (at most `geometry.max_span`) and says where.
    #[inline]
    pub(crate) fn claim(&mut self, span: u64) -> Result<u64, Full> {
        debug_assert!(span >= 1 && span <= self.geometry.max_span);
        match self.claims {
            Claims::Exclusive => self.claim_exclusive(span),
            Claims::Shared => self.claim_one_shared(span),
        }
    }

    /// Whether a packet of `span` slots needs no claim: in an exclusive ring, most of the time.
    #[inline]
    pub(crate) fn has_room_for(&self, span: u64) -> bool {
        self.claims == Claims::Exclusive && span <= self.geometry.max_span && self.owns(span)
    }

    /// Whether the next `span` slots are this publisher's to write.
    #[inline]
    pub(crate) fn owns(&self, span: u64) -> bool {
        self.at.position + span <= self.end
    }

    /// Claims as many of the spans as fit in one piece, one at least, and says where and how
    /// many. Each is at most `geometry.max_span`.
    pub(crate) fn claim_many(&mut self, spans: &[u64]) -> Result<(u64, usize), Full> {
        match self.claims {
            Claims::Exclusive => self.claim_exclusive_many(spans),
            Claims::Shared => self.claim_shared(spans),
        }
    }

    /// Commits the next packet of the claim, which must hold it. Returns its position.
    #[inline(always)]
    pub(crate) fn commit(&mut self, descriptor: Descriptor) -> u64 {
        let position = self.at.position;
        slot::commit(&self.memory, self.at, descriptor, Failpoint::CommitStamp);
        failpoint(Failpoint::CommitAfter);
        self.at.go(&self.memory, position + descriptor.span());
        match self.claims {
            Claims::Exclusive => self.publish_tail(),
            Claims::Shared => self.close_if_complete(),
        }
        position
    }

    /// Gives the open claim up, if there is one: the rest of it becomes a void packet. For claims
    /// that were dropped, forgotten, or failed half-way.
    #[inline]
    pub(crate) fn abandon(&mut self) {
        if self.claims == Claims::Shared && self.at.position != self.end {
            self.abandon_shared();
        }
    }

    /// Makes sure that `needed` (the end of a claim at `tail`) is below the limit.
    #[cold]
    #[inline(never)]
    pub(crate) fn refresh(&mut self, tail: u64, needed: u64) -> Result<(), Full> {
        let oldest = history::make_room(&self.memory, &self.geometry, tail, needed);
        let mut gate = gate::scan(&self.memory, tail, oldest);
        let capacity = self.geometry.capacity;
        if needed > gate.lowest + capacity && self.overflow == Overflow::DropOldest {
            overflow::make_room(&self.memory, &self.geometry, needed - capacity);
            // The scan's fence also orders the evictions before it against a subscriber that
            // clones another at its position (`membership::join_subscriber`).
            gate = gate::scan(&self.memory, tail, oldest);
        }
        // What might be claimed once may be claimed for good; a newcomer's first cursor can be
        // lower.
        self.limit = self.limit.max(gate.lowest + capacity);
        if needed > self.limit { Err(Full { gate }) } else { Ok(()) }
    }

    /// The next position to be claimed by anyone, as far as known here.
    pub(crate) fn tail(&self) -> u64 {
        self.memory.head().tail.load(Ordering::Acquire)
    }

    pub(crate) fn own(&self) -> &PublisherEntry {
        &self.memory.publishers()[self.entry]
    }

    /// Commits the next `slots` slots of the claim as a void packet.
    pub(crate) fn stamp_void(&mut self, slots: u64) {
        slot::commit(&self.memory, self.at, Descriptor::void(slots), Failpoint::CommitPadding);
        self.at.go(&self.memory, self.at.position + slots);
    }
}
