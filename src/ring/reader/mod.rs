//! A subscriber's own cursor: take, pin, release.
//!
//! ```text
//!              Block                             DropOldest
//!  take        load the stamp (acquire)          the same, then CAS cursor c → c|PIN
//!  in flight   the cursor stands still: gated    the cursor is pinned
//!  release     store the cursor (release)        store the cursor, which unpins it
//! ```
//!
//! In a `Block` ring neither take nor release has a locked instruction or a fence.
//!
//! Every receive first releases the packet in flight. So a forgotten guard holds slots until the
//! next call of its subscriber, and no longer.

mod counting;
mod pins;
mod read_ahead;
mod takes;

use self::{counting::plain_held, read_ahead::ReadAhead};
#[cfg(not(loom))]
use super::cursor::payload_of;
use super::cursor::{Cursor, Fault, Next, Taken};
use super::gate::position;
use super::geometry::Geometry;
use super::membership::{self, Joined, Start};
use super::overflow::LossCounter;
use super::slot::{self, Descriptor, Kind, SlotState, StampedPosition};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::{NOWHERE, SubscriberEntry};
use crate::segment::settings::{Overflow, Settings};
use crate::segment::view::{LockedEntry, RingMemory};
use crate::sync::Ordering;
use std::ops::Range;

/// A subscriber's local state.
///
/// # Invariants
///
/// 1. `entry` is this subscriber's own by [`LockedEntry`]. While `held > 0`, its cursor stands at
///    `at`, pinned there if `pins`. So no publisher that keeps the protocol writes to slots from
///    `at` on.
/// 2. While `held > 0`, committed packets fill `[at, at + held)`, each in one piece of the ring.
///    The first of them has the descriptor `first`.
/// 3. `is_plain` is `!pins && !durable`.
/// 4. `list` holds packets of `memory` in ascending order, read while they were in flight.
/// 5. If the slots in flight are as many as `run` packets of `first` take, then they hold that many
///    packets with this descriptor, in one piece of the ring.
#[derive(Debug)]
pub(crate) struct Reader {
    memory: RingMemory,
    geometry: Geometry,
    /// Index of its entry.
    entry: usize,
    /// The cursor is pinned while a packet is in flight: the ring drops the oldest.
    pins: bool,
    durable: bool,
    /// A take has nothing more to do: neither `pins` nor `durable`. One test for both costs 3
    /// instructions less per packet.
    is_plain: bool,
    at: StampedPosition,
    /// Slots in flight from `at` on.
    held: u64,
    /// Slots whose release counts nothing: 1, or [`NOWHERE`] if each release counts.
    plain_held: u64,
    /// Packets of the batch in flight behind its first one.
    more: u64,
    /// Slots of void packets in the batch in flight.
    void: u64,
    first: Descriptor,
    read_ahead: ReadAhead,
    /// Packets of the last batch, if it was a run (`takes`): then `list` has none of it.
    run: u64,
    /// The packets of the last batch that was no run. The allocation is reused.
    list: Vec<Taken>,
    /// Packets below this position were handed out before.
    redelivered_below: u64,
    /// Probes below this position were recorded.
    sampled_below: u64,
    loss: LossCounter,
}

impl Reader {
    /// Joins at an entry that was just locked, under the control lock.
    pub(crate) fn join(entry: LockedEntry, start: Start) -> Self {
        let (memory, settings, entry) = entry.into_subscriber();
        let joined = membership::join_subscriber(&memory, &settings, entry, start);
        let mut reader = Self::new(memory, &settings, entry, joined);
        if start == Start::Newcomer {
            // The age of history is no latency.
            reader.sampled_below = reader.tail();
        }
        reader
    }

    /// Joins as the durable subscriber of a name that has none, under the control lock.
    pub(crate) fn join_durable(entry: LockedEntry, name: &str) -> Self {
        let (memory, settings, entry) = entry.into_subscriber();
        let joined = membership::join_subscriber(&memory, &settings, entry, Start::Newcomer);
        membership::make_durable(&memory, entry, &joined.loss, name);
        Self::new(memory, &settings, entry, Joined { redelivered_below: Some(0), ..joined })
    }

    /// Takes over the locked entry of a durable subscriber that left, under the control lock.
    pub(crate) fn succeed(entry: LockedEntry) -> Self {
        let (memory, settings, entry) = entry.into_subscriber();
        let joined = membership::succeed(&memory, &settings, entry);
        Self::new(memory, &settings, entry, joined)
    }

    fn new(memory: RingMemory, settings: &Settings, entry: usize, joined: Joined) -> Self {
        let pins = settings.overflow == Overflow::DropOldest;
        let has_redelivery = joined.redelivered_below.is_some_and(|end| joined.position < end);
        Self {
            at: StampedPosition::at(&memory, joined.position),
            memory,
            geometry: Geometry::of(settings),
            entry,
            pins,
            durable: joined.redelivered_below.is_some(),
            is_plain: !pins && joined.redelivered_below.is_none(),
            held: 0,
            plain_held: plain_held(pins, has_redelivery),
            more: 0,
            void: 0,
            first: Descriptor::void(1),
            read_ahead: ReadAhead::new(joined.position),
            run: 0,
            list: Vec::new(),
            redelivered_below: joined.redelivered_below.unwrap_or(0),
            // A durable predecessor passed the probes before what it was handed.
            sampled_below: joined.redelivered_below.unwrap_or(0),
            loss: joined.loss,
        }
    }

    /// Takes the stamped packet at the cursor if it has data and a valid header.
    #[inline(always)]
    fn take_data<const IS_DURABLE: bool>(&mut self) -> Option<Taken> {
        debug_assert!(self.held == 0 && slot::is_stamped(&self.memory, self.at));
        failpoint(Failpoint::ReceiveLook);
        self.read_ahead.fetch(&self.memory, self.at.position);
        let descriptor = slot::data(&self.memory, &self.geometry, self.at.position)?;
        failpoint(Failpoint::Receive);
        let span = descriptor.span();
        if IS_DURABLE {
            // Before `held` and `first` are set: a store to shared memory behind that has the
            // compiler load both again.
            self.record_end(self.at.position + span);
        }
        (self.held, self.first) = (span, descriptor);
        Some(Taken { position: self.at.position, descriptor })
    }

    /// Takes the committed packet at the cursor. `None`: it was void and is released.
    #[inline]
    fn take(&mut self) -> Option<Next> {
        let found = slot::header(&self.memory, &self.geometry, self.at.position);
        let SlotState::Packet(descriptor) = found else {
            self.unpin();
            return Some(Next::Corrupt(Fault::Header));
        };
        (self.held, self.first) = (descriptor.span(), descriptor);
        if descriptor.kind() == Kind::Void {
            self.release_void();
            return None;
        }
        failpoint(Failpoint::Receive);
        Some(Next::Taken(Taken { position: self.at.position, descriptor }))
    }

    /// Positions in flight.
    #[inline]
    pub(crate) fn range(&self) -> Range<u64> {
        self.at.position..self.at.position + self.held
    }

    #[inline(always)]
    fn own(&self) -> &SubscriberEntry {
        &self.memory.subscribers()[self.entry]
    }

    /// Records that everything below `end` is about to be given to the user.
    #[inline]
    fn record_end(&self, end: u64) {
        if self.durable {
            // Never lowered: before a batch was put back, or to a predecessor, more was handed out.
            let end = end.max(self.redelivered_below);
            self.own().details.durable.set_handed_out(end);
        }
    }

    /// Moves the cursor over the slots in flight.
    #[inline(always)]
    fn advance(&mut self) {
        failpoint(Failpoint::Release);
        self.at.go(&self.memory, self.at.position + self.held);
        self.held = 0;
        // Pairs with the acquires in `gate::scan` and `overflow::evict`: this subscriber read the
        // slots before a publisher writes to them. In a `DropOldest` ring this unpins the cursor,
        // which no other process moves while it is pinned.
        self.own().cursor.store(self.at.position, Ordering::Release);
    }
}

// SAFETY: by invariants 1 and 2 the packet stays in flight until a `&mut` method releases it.
// `RingMemory::payload` is aligned to 16.
unsafe impl Cursor for Reader {
    const IS_SHARED: bool = false;

    #[inline]
    fn memory(&self) -> &RingMemory {
        &self.memory
    }

    fn entry(&self) -> usize {
        self.entry
    }

    #[inline]
    fn position(&self) -> u64 {
        self.at.position
    }

    #[inline(always)]
    fn is_stamped(&self) -> bool {
        slot::is_stamped(&self.memory, self.at)
    }

    fn miss(&mut self) -> bool {
        self.read_ahead.miss(self.at.position, self.first.span())
    }

    #[inline]
    fn is_ready(&self) -> bool {
        self.is_stamped()
            || self.pins && position(self.own().cursor.load(Ordering::Relaxed)) != self.at.position
    }

    fn is_claimed(&self) -> bool {
        self.tail() > self.at.position
    }

    #[inline]
    fn holds(&self) -> bool {
        self.held > 0
    }

    #[inline]
    fn in_flight(&self) -> Option<Taken> {
        let first = Taken { position: self.at.position, descriptor: self.first };
        self.holds().then_some(first)
    }

    #[cfg(not(loom))]
    #[inline(always)]
    fn payload(&self) -> &[u8] {
        assert!(self.held > 0, "no packet is in flight");
        let first = Taken { position: self.at.position, descriptor: self.first };
        // SAFETY: invariants 1 and 2; what releases the packet borrows the reader mutably.
        unsafe { payload_of(&self.memory, &first) }
    }

    #[inline(always)]
    fn next_fast(&mut self) -> Option<Taken> {
        if self.is_plain {
            self.take_data::<false>()
        } else if self.pins {
            // An evictor may have given the slot away meanwhile.
            None
        } else {
            self.take_data::<true>()
        }
    }

    fn next(&mut self) -> Next {
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

    /// The end of the handed-out packets is stored before the user gets it: the successor of a dead
    /// durable subscriber flags the packets below it.
    #[inline]
    fn record_handed_out(&self) {
        if self.durable {
            self.record_end(self.range().end);
            if self.has_redelivery() {
                let words = &self.own().redelivery;
                words.set(self.at.position, words.of(self.at.position).saturating_add(1));
            }
        }
    }

    fn record_reported(&self) {
        if self.durable {
            self.loss.record_reported(&self.own().details);
        }
    }

    #[inline]
    fn is_redelivered(&self, taken: &Taken) -> bool {
        taken.position < self.redelivered_below
    }

    fn deliveries(&self, taken: &Taken) -> u64 {
        if self.is_redelivered(taken) { self.own().redelivery.of(taken.position) } else { 1 }
    }

    #[inline(always)]
    fn release_fast(&mut self) -> bool {
        // One comparison tells that a packet is in flight, and that there is nothing to count.
        if self.held != self.plain_held {
            return false;
        }
        self.advance();
        true
    }

    #[inline]
    fn release(&mut self) -> bool {
        self.held > 0 && (self.release_fast() || self.release_counted())
    }

    fn unreceive(&mut self) {
        if self.held > 0 {
            self.count_redelivered();
            self.redelivered_below = self.redelivered_below.max(self.range().end);
            self.plain_held = NOWHERE;
            (self.held, self.more, self.void) = (0, 0, 0);
            self.unpin();
        }
    }

    /// A durable subscriber stays.
    fn leave(&self, _: &Settings, has_control: bool) {
        if self.durable {
            return;
        }
        let leave = if has_control { membership::leave_subscriber } else { membership::release };
        leave(&self.memory, self.entry);
    }
}
