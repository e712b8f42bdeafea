//! A publisher's side of the ring: claim, fill, commit, abort. Both kinds of claims have the same
//! API.
//!
//! An abort costs nothing in an exclusive ring: the next claim takes the same position. In a shared
//! ring the rest of the range becomes a void packet. `shared` has the claims of many publishers.
//! Those of one publisher are here:
//!
//! ```text
//!  fill ──► stamp (release) ──► tail (release) ──► check for sleepers
//! ```
//!
//! An exclusive claim needs no record in shared memory, except for a [`batch`]. It may only commit
//! padding. Every commit stores the tail before the next claim. So a successor that scans committed
//! packets from that tail (`membership::join_publisher`) finds at most those of the last claim.

mod batch;
mod limit;
mod probe;
mod shared;

pub(in crate::ring) use probe::pass as pass_probe;
#[cfg(not(loom))]
pub(in crate::ring) use probe::{record as record_probe, time_of as time_of_probe};
#[cfg(not(loom))]
pub(crate) use probe::{switch, switched};
pub(crate) use shared::BurstSize;

use super::gate::Gate;
use super::geometry::Geometry;
use super::membership;
use super::slot::{self, Descriptor, StampedPosition};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::PublisherEntry;
use crate::segment::settings::{Claims, Overflow};
use crate::segment::view::{LockedEntry, RingMemory};
use crate::sync::Ordering;
use probe::Sampling;
#[cfg(not(loom))]
use std::ptr::NonNull;

/// There is no room below the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// The position and endpoint that block the publisher.
    pub(crate) gate: Gate,
}

/// A publisher's local state. All operations take `&mut self`: one claim at a time.
///
/// # Invariants
///
/// 1. Only this publisher writes to the slots in `[at, end)`, and none of them is committed. In an
///    exclusive ring they are below the limit and at or above the tail, and there is one publisher.
///    In a shared ring this publisher claimed them by compare-and-swap on the tail.
/// 2. The slots in `[at, end)` lie in one piece of the ring, or `at >= end`.
/// 3. `memory` is a ring of this `geometry`, and `entry` is this publisher's own, by
///    [`LockedEntry`].
/// 4. `free` is at most one capacity above every position that must not be overwritten
///    ([`gate`](super::gate) has the reason why it stays valid). `raised` is at most `free`.
///    `limit` is at most `raised`, and at most the next sampling point, which no claim of this
///    publisher has passed.
/// 5. The limit in the publisher's entry is at least `raised`, and was stored before any slot below
///    `raised` was written.
#[derive(Debug)]
pub(crate) struct Writer {
    memory: RingMemory,
    geometry: Geometry,
    claims: Claims,
    overflow: Overflow,
    /// Index of its entry.
    entry: usize,
    /// Exclusive: where the next claim begins. Shared: where the open claim goes on.
    at: StampedPosition,
    /// Shared: the end of the open claim, or `at` if there is none.
    end: u64,
    /// Positions below it may be claimed.
    limit: u64,
    /// The limit as it was published: without the end at a sampling point.
    raised: u64,
    /// Positions below it were free at the last scan. The limit goes up to it in steps.
    free: u64,
    sampling: Sampling,
}

impl Writer {
    /// Joins at an entry that was just locked, under the control lock.
    pub(crate) fn join(entry: LockedEntry) -> Self {
        let (memory, settings, entry) = entry.into_publisher();
        let position = membership::join_publisher(&memory, &settings, entry);
        Self {
            geometry: Geometry::of(&settings),
            claims: settings.claims,
            overflow: settings.overflow,
            entry,
            at: StampedPosition::at(&memory, position),
            memory,
            end: position,
            limit: 0,
            raised: 0,
            free: 0,
            sampling: Sampling::UNKNOWN,
        }
    }

    /// The ring.
    #[inline]
    pub(crate) fn memory(&self) -> &RingMemory {
        &self.memory
    }

    /// The ring's geometry.
    #[inline]
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Index of the publisher's entry.
    pub(crate) fn entry(&self) -> usize {
        self.entry
    }

    /// The publisher's entry.
    pub(crate) fn own(&self) -> &PublisherEntry {
        &self.memory.publishers()[self.entry]
    }

    /// The end of what all publishers claimed so far.
    pub(crate) fn tail(&self) -> u64 {
        // Pairs with the releases of the tail, by this publisher and by others.
        self.memory.head().tail.load(Ordering::Acquire)
    }

    /// Positions below it may be claimed without another scan.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Claims `span` slots in one piece (at most `geometry.max_span`). Returns their position.
    // Inlined, as `Sender::claim` is.
    #[inline(always)]
    pub(crate) fn claim(&mut self, span: u64) -> Result<u64, Full> {
        debug_assert!(span >= 1 && span <= self.geometry.max_span);
        match self.claims {
            Claims::Exclusive => self.claim_exclusive(span),
            Claims::Shared => self.claim_shared(span),
        }
    }

    /// Returns true if this is the only publisher of its ring. Then no claim is ever open.
    #[inline]
    pub(crate) fn is_exclusive(&self) -> bool {
        self.claims == Claims::Exclusive
    }

    /// Returns true if a packet of `span` slots can be published without a claim, and the slot
    /// behind it is this publisher's, too: so that slot is in the same lap. Only in an exclusive
    /// ring, where that holds for most packets.
    #[inline(always)]
    pub(super) fn has_room_in_lap(&self, span: u64) -> bool {
        // A smaller packet may have got more room than a packet of this length may take.
        self.is_exclusive() && self.geometry.allows(span) && self.at.position + span < self.end
    }

    /// Returns true if the next `span` slots are this publisher's to write.
    #[inline]
    pub(crate) fn owns(&self, span: u64) -> bool {
        self.at.position + span <= self.end
    }

    /// Claims for as many of the spans, each at most `geometry.max_span`, as fit in one piece, at
    /// least for the first. Returns the position and the number of spans.
    pub(crate) fn claim_many(&mut self, spans: &[u64]) -> Result<(u64, usize), Full> {
        match self.claims {
            Claims::Exclusive => self.claim_exclusive_many(spans),
            Claims::Shared => self.claim_shared_many(spans),
        }
    }

    /// The first payload byte of the open claim.
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn payload(&self) -> NonNull<u8> {
        self.memory.payload(self.at.position)
    }

    /// The position of the next packet of the open claim.
    #[cfg(feature = "handover")]
    pub(crate) fn next_position(&self) -> u64 {
        self.at.position
    }

    /// Clears what could be taken for stamps in the first `span` slots of the open claim. An
    /// exclusive ring needs none of that ([`slot`] has the reason).
    #[cfg(not(loom))]
    pub(super) fn clear_stamps(&mut self, span: u64) {
        if self.claims == Claims::Shared && self.owns(span) {
            let first = self.at.position;
            for position in first + 1..first + span {
                slot::clear_stamp(&self.memory, position);
            }
        }
    }

    /// Commits the next packet of the claim. Returns its position.
    ///
    /// # Panics
    ///
    /// If the claim is shorter than the packet.
    #[inline]
    pub(crate) fn commit(&mut self, descriptor: Descriptor) -> u64 {
        assert!(self.owns(descriptor.span()), "a packet that is longer than its claim");
        self.commit_owned(descriptor)
    }

    /// Commits the next packet of the claim, which holds it. Returns its position.
    #[inline(always)]
    pub(super) fn commit_owned(&mut self, descriptor: Descriptor) -> u64 {
        debug_assert!(self.owns(descriptor.span()));
        let position = self.at.position;
        slot::commit(&self.memory, self.at, descriptor, Failpoint::CommitStamp);
        failpoint(Failpoint::CommitAfter);
        self.at.go(&self.memory, position + descriptor.span());
        match self.claims {
            Claims::Exclusive => {
                self.count_inner(descriptor.span());
                self.publish_tail();
            }
            Claims::Shared => {
                self.own().record.sent.add(1, descriptor.span() - 1);
                self.close_if_complete();
            }
        }
        position
    }

    /// As [`commit_owned`](Self::commit_owned), after [`has_room_in_lap`](Self::has_room_in_lap)
    /// returned true for the packet's span: with the same salt, and without a record.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(super) fn commit_in_lap(&mut self, descriptor: Descriptor) -> u64 {
        debug_assert!(self.has_room_in_lap(descriptor.span()));
        let position = self.at.position;
        slot::commit(&self.memory, self.at, descriptor, Failpoint::CommitStamp);
        failpoint(Failpoint::CommitAfter);
        self.at.go_in_lap(&self.memory, position + descriptor.span());
        self.count_inner(descriptor.span());
        self.publish_tail();
        position
    }

    /// Counts the inner slots of a packet of an exclusive ring, whose tail counts the slots.
    #[inline(always)]
    fn count_inner(&self, span: u64) {
        if span > 1 {
            self.own().record.sent.add_inner(span - 1);
        }
    }

    /// Counts a claim that found no room.
    pub(crate) fn count_full(&self) {
        self.own().details.counts.add_full();
    }

    /// Aborts the open claim, if there is one: its rest becomes a void packet. For claims that were
    /// dropped or forgotten, or failed half-way.
    #[inline]
    pub(crate) fn abandon(&mut self) {
        if self.claims == Claims::Shared && self.at.position != self.end {
            self.abandon_shared();
        }
    }

    /// Commits the next `slots` slots of the claim as a void packet.
    fn stamp_void(&mut self, slots: u64) {
        slot::commit(&self.memory, self.at, Descriptor::void(slots), Failpoint::CommitPadding);
        self.at.go(&self.memory, self.at.position + slots);
    }
}

// ── Exclusive claims: one publisher, no locked instruction ──

impl Writer {
    #[inline]
    fn claim_exclusive(&mut self, span: u64) -> Result<u64, Full> {
        if !self.owns(span) {
            self.make_way(span)?;
        }
        Ok(self.at.position)
    }

    fn claim_exclusive_many(&mut self, spans: &[u64]) -> Result<(u64, usize), Full> {
        let [first, ..] = spans else { return Ok((self.at.position, 0)) };
        let position = self.claim_exclusive(*first)?;
        // Up to `end` and not up to the limit: a claim without room may have raised the limit only.
        let (mut count, mut sum) = self.geometry.fit(spans, position, self.end);
        if count < spans.len() {
            self.raise_for(spans, position);
            (count, sum) = self.geometry.fit(spans, position, self.limit);
            let needed = position + sum + spans.get(count).unwrap_or(&0);
            if needed > self.limit {
                // Readers may have moved on since the last scan. An error changes nothing.
                let _ = self.refresh(position, needed);
                self.raise_for(spans, position);
            }
            self.widen();
            (count, sum) = self.geometry.fit(spans, position, self.end);
        }
        debug_assert!(count >= 1 && sum >= *first);
        Ok((position, count))
    }

    /// Commits a probe if one is due. Pads to the end of the memory if the packet would cross it.
    /// Raises the limit.
    #[cold]
    #[inline(never)]
    fn make_way(&mut self, span: u64) -> Result<(), Full> {
        if self.looks_at_sampling() {
            return self.make_way_behind_probe(span);
        }
        self.make_way_now(span)
    }

    #[cold]
    #[inline(never)]
    fn make_way_behind_probe(&mut self, span: u64) -> Result<(), Full> {
        let position = self.at.position;
        let needed = position + self.geometry.padding(position, span) + span;
        self.probe_if_due(position, span, needed);
        self.make_way_now(span)
    }

    // Always: another call costs a small ring two instructions per packet.
    #[inline(always)]
    fn make_way_now(&mut self, span: u64) -> Result<(), Full> {
        let position = self.at.position;
        let padding = self.geometry.padding(position, span);
        let end = position + padding + span;
        if end > self.limit {
            self.refresh(position, end)?;
        }
        if padding > 0 {
            self.stamp_void(padding);
            self.own().record.sent.pass(padding);
            self.publish_tail();
        }
        self.widen();
        Ok(())
    }

    /// Moves `end` up to the limit, or to the end of the memory (invariants 1 and 2).
    fn widen(&mut self) {
        self.end = self.limit.min(self.geometry.piece_end(self.at.position));
    }

    #[inline]
    fn publish_tail(&mut self) {
        // Pairs with the acquire loads of the tail: a newcomer that starts there.
        self.memory.head().tail.store(self.at.position, Ordering::Release);
    }
}

#[cfg(test)]
impl Writer {
    /// Voids the first slots of the open claim, as a recoverer does.
    #[cfg(not(loom))]
    pub(crate) fn void_first(&mut self, slots: u64) {
        assert!(self.owns(slots));
        self.stamp_void(slots);
    }

    /// Raises the limit as a claim of one slot would.
    #[cfg(loom)]
    pub(crate) fn raise_limit(&mut self) {
        let tail = self.tail();
        let _ = self.refresh(tail, tail + 1);
    }

    /// Forgets the open claim, as a process does that dies: its record stays.
    #[cfg(not(loom))]
    pub(crate) fn forget_claim(&mut self) {
        self.end = self.at.position;
    }
}
