//! Consumer groups: the consumers of a queue take packets in place from one shared cursor, each
//! packet by one consumer.
//!
//! ```text
//!  take    own := p|PIN ─► CAS shared p → p|PIN ─► own := p ─► shared := p + span ─► in flight
//!                            └ failed: own := NOWHERE, back off, retry
//!  ack     own := NOWHERE
//!  unpin   control lock: shared is p|PIN ─► no living consumer's word is at p ─► shared still is
//!          p|PIN ─► words of the dead at p := NOWHERE ─► shared := p
//!  adopt   control lock: a dead consumer's word p below shared ─► own := p ─► restart scans ─►
//!          words of the dead at p := NOWHERE
//!  join    no entry is free: the entry of a dead consumer, with its word ─► adopt at that word
//! ```
//!
//! The shared cursor is that of entry 0, which has no owner. Every other entry belongs to a
//! consumer. Its cursor (`own` above) is the **in-flight word**: the position of the packet that
//! the consumer has not acknowledged, or `NOWHERE`. Both gate publishers, like any cursor.
//!
//! Guarantees, and the reason for each rule:
//!
//! - **One owner.** A consumer stores an unpinned in-flight word only while it holds the pin, so an
//!   unpinned word below the shared cursor belongs to the owner. Without a pin, two dead consumers
//!   with equal words look alike: one won the race and the other lost it.
//! - **Never overrun.** The shared cursor has the lowest index and `gate::scan` goes upwards: a
//!   scan that sees the shared cursor moved also sees the in-flight word. An adoption moves a
//!   packet to another entry, and a consumer may join at an entry that a scan has passed. Both
//!   restart scans.
//! - **Nothing lost, no second delivery without a flag.** One other consumer adopts the packet of a
//!   dead one, flagged as redelivered. It stores its own word first and clears *all* dead words at
//!   that position afterwards, because an earlier adopter may have died.
//!
//! A process may be killed before each step. `tests/crash_models/queues.rs` models them. Limits:
//! this module neither waits nor checks liveness (`channel::untyped::{receiver, waiting}` do both).

mod orphans;
mod voids;

pub(crate) use orphans::{has_in_flight, unpin};
#[cfg(not(loom))]
pub(crate) use orphans::{is_pinned, orphaned_entry};
#[cfg(not(loom))]
pub(crate) use voids::skip_voids;

use super::cursor::{Adoption, Cursor, Fault, Next, Taken};
use super::gate::{PIN, position};
use super::geometry::{Geometry, clamp};
use super::membership::{self, OnConsumerDeath, SHARED};
use super::slot::{self, Descriptor, Kind, SlotState, StampedPosition};
#[cfg(not(loom))]
use super::{counters, cursor::payload_of};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::EntryId;
use crate::segment::layout::{FARTHEST, NOWHERE, SubscriberEntry};
use crate::segment::settings::Settings;
use crate::segment::view::{LockedEntry, RingMemory};
use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::Backoff;

/// A consumer's local state.
///
/// # Invariants
///
/// 1. `entry` is this consumer's own by [`LockedEntry`]. While `held` is a packet, the entry's
///    in-flight word is its position, so no publisher that keeps the protocol writes to its slots.
/// 2. `held` was read from a committed packet of `memory` in one piece of the ring, while the
///    shared cursor or another in-flight word gated it.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    memory: RingMemory,
    geometry: Geometry,
    /// Index of its entry.
    entry: usize,
    on_consumer_death: OnConsumerDeath,
    /// The shared cursor, as last seen.
    at: StampedPosition,
    held: Option<Taken>,
    /// The packet in flight was handed out before: by this consumer, or by a dead one.
    is_redelivered: bool,
    /// This consumer took a packet, and has not yet let another one go first.
    may_yield: bool,
}

/// The word of the shared cursor.
#[inline]
pub(crate) fn shared(memory: &RingMemory) -> &AtomicU64 {
    &memory.subscribers()[SHARED].cursor
}

/// The entries of consumers that were ever used.
pub(crate) fn consumers(memory: &RingMemory) -> impl Iterator<Item = (EntryId, &SubscriberEntry)> {
    let used = memory.head().membership.subscribers.load(Ordering::Relaxed) as usize;
    let entries = memory.subscribers().iter().enumerate().take(used).skip(SHARED + 1);
    entries.map(|(index, entry)| (EntryId::Subscriber(index), entry))
}

impl ConsumerGroup {
    /// Joins at an entry that was just locked, under the control lock.
    pub(crate) fn join(entry: LockedEntry) -> Self {
        let (memory, settings, entry) = entry.into_subscriber();
        failpoint(Failpoint::JoinOwner);
        membership::join_consumer(&memory, entry);
        Self::of_entry(memory, &settings, entry)
    }

    /// Takes over the locked entry of a dead consumer, whose packet it adopts. `is_alive` returns
    /// true for the entry. Under the control lock.
    #[cfg(not(loom))]
    pub(crate) fn take_over(entry: LockedEntry, is_alive: &dyn Fn(EntryId) -> bool) -> Self {
        let (memory, settings, entry) = entry.into_subscriber();
        failpoint(Failpoint::JoinOwner);
        membership::succeed_consumer(&memory, entry);
        let mut group = Self::of_entry(memory, &settings, entry);
        group.adopt_own(is_alive);
        group
    }

    fn of_entry(memory: RingMemory, settings: &Settings, entry: usize) -> Self {
        membership::keep_queue(&memory, settings);
        // Pairs with the releases that move it.
        let at = clamp(position(shared(&memory).load(Ordering::Acquire)));
        Self {
            at: StampedPosition::at(&memory, at),
            memory,
            geometry: Geometry::of(settings),
            entry,
            on_consumer_death: OnConsumerDeath::of(settings),
            held: None,
            is_redelivered: false,
            may_yield: false,
        }
    }

    /// Moves to another entry, which was just locked. The packet in flight stays at the old entry,
    /// and is adopted once that entry's lock is free. Under the control lock.
    ///
    /// # Panics
    ///
    /// If the entry is one of another mapping.
    #[cfg(not(loom))]
    pub(crate) fn move_to(&mut self, entry: LockedEntry) {
        let (memory, _, entry) = entry.into_subscriber();
        assert!(memory.address() == self.memory.address(), "an entry of another ring");
        let entries = self.memory.subscribers();
        let types = entries[self.entry].details.types.load(Ordering::Relaxed);
        // As in a join: before the entry is taken.
        entries[entry].details.types.store(types, Ordering::Relaxed);
        membership::join_consumer(&self.memory, entry);
        orphans::disown(&self.memory, self.entry);
        counters::move_to(&self.memory, self.entry, entry);
        self.entry = entry;
        self.held = None;
    }

    /// Inspects the slot at the shared cursor. `None`: the cursor has moved, so the slot may be
    /// another lap's. Its content counts only if the cursor stood still meanwhile and gated it.
    fn inspect(&mut self, at: u64) -> Option<SlotState> {
        self.at = self.at.to(&self.memory, at);
        let found = slot::inspect(&self.memory, &self.geometry, self.at);
        let is_packet = matches!(found, SlotState::Packet(_));
        // Of a packet, the compare-and-swap that follows finds out.
        (is_packet || shared(&self.memory).load(Ordering::Acquire) == at).then_some(found)
    }

    /// Tries to take the packet at the shared cursor. `None`: another consumer was first.
    // Always: a function call costs 21 instructions per packet.
    #[inline(always)]
    fn try_take(&mut self, at: u64, descriptor: Descriptor) -> Option<Taken> {
        failpoint(Failpoint::TakeAttempt);
        // Every store to an in-flight word pairs with the acquire in `gate::scan`: this consumer
        // read the slots of its packet before a publisher writes to them. This store may be the
        // first that a scan sees after `release`. It also pairs with the acquire in `unpin`.
        self.own().store(at | PIN, Ordering::Release);
        failpoint(Failpoint::TakePin);
        // Release: `unpin` sees the pin, and then this consumer's word. Acquire: a process that
        // sees the shared cursor moved by this consumer sees the words of the packets below.
        // SeqCst: in one order with the load in `ring::call::is_untaken`.
        let pinned = shared(&self.memory).compare_exchange(
            at,
            at | PIN,
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        if pinned.is_err() {
            self.own().store(NOWHERE, Ordering::Release);
            return None;
        }
        failpoint(Failpoint::TakeInFlight);
        self.own().store(at, Ordering::Release);
        failpoint(Failpoint::TakeMove);
        // A plain store: no other process moves the pinned cursor while this consumer lives. Pairs
        // with the acquires in `gate::scan` and `unpin`: the in-flight word is seen with it.
        shared(&self.memory).store(at + descriptor.span(), Ordering::Release);
        let taken = Taken { position: at, descriptor };
        (self.held, self.is_redelivered) = (Some(taken), false);
        self.may_yield = true;
        Some(taken)
    }

    /// After this consumer took a packet, lets another one go first that is trying. Of two cores,
    /// the core that has the cursor's cache line would win again and again.
    #[inline]
    fn yield_to_others(&mut self, backoff: &Backoff) {
        if !std::mem::take(&mut self.may_yield) || cfg!(loom) {
            return;
        }
        let is_trying = |entry: &SubscriberEntry| {
            let own = entry.cursor.load(Ordering::Relaxed);
            own != NOWHERE && own & PIN != 0
        };
        if consumers(&self.memory).any(|(_, entry)| is_trying(entry)) {
            backoff.snooze();
        }
    }

    /// The in-flight word of this consumer.
    #[inline]
    fn own(&self) -> &AtomicU64 {
        &self.memory.subscribers()[self.entry].cursor
    }
}

// SAFETY: by invariants 1 and 2 the packet stays in flight until a `&mut` method releases it.
// `RingMemory::payload` is aligned to 16.
unsafe impl Cursor for ConsumerGroup {
    const IS_SHARED: bool = true;

    #[inline]
    fn memory(&self) -> &RingMemory {
        &self.memory
    }

    #[inline]
    fn entry(&self) -> usize {
        self.entry
    }

    fn position(&self) -> u64 {
        self.at.position
    }

    #[inline]
    fn is_stamped(&self) -> bool {
        // The acquire on the stamp orders what follows.
        let word = shared(&self.memory).load(Ordering::Relaxed);
        word & PIN == 0 && slot::is_stamped(&self.memory, self.at.to(&self.memory, clamp(word)))
    }

    fn is_ready(&self) -> bool {
        self.held.is_some() || self.is_stamped()
    }

    fn is_claimed(&self) -> bool {
        self.tail() > position(shared(&self.memory).load(Ordering::Relaxed))
    }

    fn has_more(&self) -> bool {
        // A pin hides the packets behind it.
        let word = shared(&self.memory).load(Ordering::Relaxed);
        word != NOWHERE && word & PIN != 0 || self.is_stamped()
    }

    #[inline]
    fn holds(&self) -> bool {
        self.held.is_some()
    }

    #[inline]
    fn in_flight(&self) -> Option<Taken> {
        self.held
    }

    #[cfg(not(loom))]
    #[inline]
    fn payload(&self) -> &[u8] {
        let Some(taken) = &self.held else { no_packet() };
        // SAFETY: invariants 1 and 2; what releases the packet borrows the consumer mutably.
        unsafe { payload_of(&self.memory, taken) }
    }

    #[inline(always)]
    fn next_fast(&mut self) -> Option<Taken> {
        debug_assert!(self.held.is_none());
        self.yield_to_others(&Backoff::new());
        failpoint(Failpoint::ReceiveLook);
        // As in `next`.
        let word = shared(&self.memory).load(Ordering::Acquire);
        if word > FARTHEST {
            return None;
        }
        self.at = self.at.to(&self.memory, word);
        if !slot::is_stamped(&self.memory, self.at) {
            return None;
        }
        let descriptor = slot::data(&self.memory, &self.geometry, word)?;
        self.try_take(word, descriptor)
    }

    fn next(&mut self) -> Next {
        if let Some(taken) = self.held {
            return Next::Taken(taken);
        }
        let backoff = Backoff::new();
        self.yield_to_others(&backoff);
        loop {
            failpoint(Failpoint::ReceiveLook);
            // Pairs with the releases that move it: the consumer that takes the next packet has
            // seen every in-flight word below, and so has a process that sees that consumer's word.
            let word = shared(&self.memory).load(Ordering::Acquire);
            if position(word) > FARTHEST {
                return Next::Corrupt(Fault::Cursor);
            }
            if word & PIN != 0 {
                // For the time of two stores, unless its owner was preempted, stopped or killed.
                if backoff.is_completed() || cfg!(loom) {
                    return Next::Nothing;
                }
                backoff.snooze();
                continue;
            }
            let Some(found) = self.inspect(word) else { continue };
            let descriptor = match found {
                SlotState::Packet(descriptor) => descriptor,
                SlotState::Corrupt => return Next::Corrupt(Fault::Header),
                SlotState::Unstamped => return Next::Nothing,
            };
            if descriptor.kind() == Kind::Void {
                self.skip(word, descriptor);
            } else if let Some(taken) = self.try_take(word, descriptor) {
                return Next::Taken(taken);
            } else if !cfg!(loom) {
                backoff.snooze();
            }
        }
    }

    fn record_handed_out(&self) {
        if let Some(taken) = self.held
            && self.is_redelivered
        {
            let SubscriberEntry { redelivery, counts, .. } = &self.memory.subscribers()[self.entry];
            redelivery.set(taken.position, redelivery.of(taken.position).saturating_add(1));
            counts.add_redelivered(1);
        }
    }

    fn is_redelivered(&self, taken: &Taken) -> bool {
        self.is_redelivered && self.held == Some(*taken)
    }

    fn deliveries(&self, taken: &Taken) -> u64 {
        let words = &self.memory.subscribers()[self.entry].redelivery;
        if self.is_redelivered(taken) { words.of(taken.position) } else { 1 }
    }

    #[inline]
    fn release(&mut self) -> bool {
        let Some(taken) = self.held.take() else { return false };
        self.memory.subscribers()[self.entry].received.add(1, taken.descriptor.span() - 1);
        failpoint(Failpoint::TakeAck);
        // Pairs with the acquires in `gate::scan`: this consumer read the slots before a publisher
        // writes to them. And in `unpin`: the shared cursor is seen moved with it.
        self.own().store(NOWHERE, Ordering::Release);
        true
    }

    fn unreceive(&mut self) {
        self.is_redelivered = self.held.is_some();
    }

    fn adopts(&self) -> bool {
        self.on_consumer_death == OnConsumerDeath::Adopted
    }

    fn adopt(&mut self, is_alive: &dyn Fn(EntryId) -> bool) -> Adoption {
        self.adopt_orphan(is_alive)
    }

    /// A packet in flight stays at the entry, for the consumer that adopts it.
    fn leave(&self, settings: &Settings, has_control: bool) {
        let is_left = OnConsumerDeath::of(settings) == OnConsumerDeath::Adopted
            && has_in_flight(&self.memory.subscribers()[self.entry]);
        // Without the control lock, the next process that reaps the dead frees the entry.
        if has_control {
            let end = if is_left { orphans::disown } else { membership::leave_subscriber };
            end(&self.memory, self.entry);
        }
    }
}

#[cold]
#[cfg(not(loom))]
#[expect(clippy::panic, reason = "a caller without a packet in flight is a bug of this crate")]
fn no_packet() -> ! {
    panic!("no packet is in flight")
}
