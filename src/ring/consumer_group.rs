//! Work queues: members that take packets in place, each exactly one, from a cursor they share.
//!
//! ```text
//!  take      hand := p|PIN ("tries") ─► CAS shared p → p|PIN ─► hand := p ─► shared := p + span ─► in hand
//!                                          └ lost: hand := nowhere, back off
//!  done      hand := nowhere
//!  unpin     control lock: shared is pinned at p ─► no living hand is at p ─► shared still is pinned
//!            at p ─► dead hands at p := nowhere ─► shared := p
//!  adopt     control lock: a dead hand below shared ─► own hand := it ─► count ─► every dead hand
//!            there := nowhere
//! ```
//!
//! The shared cursor is that of entry 0, durable, at which nobody sits. Every other entry is a
//! member's, and its cursor is the member's **hand**: the packet it has, or nowhere. Both gate as
//! any cursor does.
//!
//! What it guarantees:
//!
//! - **One owner**: a hand is written under the pin alone, so a hand below the shared cursor is an
//!   owner's. Without a pin, of two dead members with the same hand, winner and loser look alike.
//! - **Never overrun**: the shared cursor has the lowest index, and `gate::scan` goes upwards: who
//!   reads it moved sees the hand. What a scan may have passed is counted, and that scan begins
//!   again: an adoption, which moves a job to another entry, and a newcomer's entry.
//! - **Nothing lost, nothing twice unseen**: what a dead member had in hand is adopted by one other,
//!   and flagged. Own hand first, then *all* dead hands there: an adopter may have died.
//!
//! Each may be killed before each step; `tests/crash_models/groups.rs` mirrors them. Not here: when
//! the kernel is asked who lives, and how to wait for a job (`channel::member`).

use super::gate::{PIN, position};
use super::geometry::{Geometry, clamp};
use super::membership::{self, Start};
use super::reader::{Fault, Next, Taken};
use super::slot::{self, Descriptor, Kind, SlotState};
use super::spot::StampedPosition;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::{EntryId, OwnerState};
use crate::segment::layout::{FARTHEST, NOWHERE, SubscriberEntry};
use crate::segment::settings::Settings;
use crate::segment::view::RingMemory;
use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::Backoff;
use rkyv::util::AlignedVec;

/// The entry of the shared cursor.
const SHARED: usize = 0;

/// What is done with the packets that the dead had in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnConsumerDeath {
    /// Another member gets each: it is handled at least once.
    Adopted,
    /// Nobody gets it: it is handled at most once.
    Dropped,
}

impl OnConsumerDeath {
    /// What is done with them in a ring with these settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        if settings.tagged_slots { Self::Dropped } else { Self::Adopted }
    }
}

/// A member's local state.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) memory: RingMemory,
    pub(crate) geometry: Geometry,
    /// Index of its entry.
    pub(crate) entry: usize,
    /// Where the shared cursor was seen last.
    at: StampedPosition,
    held: Option<Held>,
    /// What is at hand if nothing is held: the copy of a packet that was let go of.
    copy: Option<AlignedVec<16>>,
    /// It took a packet and has not looked whether another tries in vain.
    may_give_way: bool,
}

/// A packet in hand.
#[derive(Clone, Copy, Debug)]
struct Held {
    taken: Taken,
    /// It was handed out before, by this member or by one that died.
    is_flagged: bool,
    is_given: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestStatus {
    /// Nobody has taken it.
    Waiting,
    /// This living member has it in hand.
    InHand(EntryId),
    /// Somebody had it in hand, and has no more.
    Over,
}

/// Makes the shared cursor, if it is not there: at the next packet. Under the control lock, and
/// before the first packet is published.
pub(crate) fn found(memory: &RingMemory, settings: &Settings) {
    if memory.subscribers()[SHARED].cursor.load(Ordering::Acquire) == NOWHERE {
        let _ = membership::join_subscriber(memory, settings, SHARED, Start::Newcomer);
        // Nobody sits there.
        memory.subscribers()[SHARED].details.owner.pid.store(0, Ordering::Relaxed);
    }
}

/// From here on the ring is kept for what is not done. Under the control lock.
pub(crate) fn keep(memory: &RingMemory, settings: &Settings) {
    if OnConsumerDeath::of(settings) == OnConsumerDeath::Adopted {
        OwnerState::Durable.set(&memory.subscribers()[SHARED].details.owner);
    }
}

/// Gives an entry up. Under the control lock: a packet in hand stays there, for whoever adopts it
/// once the entry's lock is free.
pub(crate) fn leave(memory: &RingMemory, settings: &Settings, index: usize) {
    let is_left = OnConsumerDeath::of(settings) == OnConsumerDeath::Adopted
        && has_hand(&memory.subscribers()[index]);
    if !is_left {
        membership::leave_subscriber(memory, index);
    }
}

impl ConsumerGroup {
    /// The member of an entry whose lock was just taken. Under the control lock.
    pub(crate) fn join(memory: RingMemory, settings: &Settings, entry: usize) -> Self {
        failpoint(Failpoint::JoinOwner);
        membership::join_consumer(&memory, entry);
        keep(&memory, settings);
        let mut group = Self {
            geometry: Geometry::of(settings),
            entry,
            at: StampedPosition::at(&memory, 0),
            memory,
            held: None,
            copy: None,
            may_give_way: false,
        };
        let shared = clamp(position(group.shared().load(Ordering::Acquire)));
        group.at = StampedPosition::at(&group.memory, shared);
        group
    }

    /// Takes the next packet, or gives again what is in hand, flagged.
    pub(crate) fn take(&mut self) -> Next {
        match self.find() {
            Next::Taken(taken) => {
                self.give();
                Next::Taken(taken)
            }
            other => other,
        }
    }

    /// Takes the next packet, if it is there, and nobody else takes one just now: what [`take`](Self::take)
    /// finds most of the time, without what else it could find.
    #[inline(always)]
    pub(crate) fn take_fast(&mut self) -> Option<Taken> {
        if self.held.is_some() {
            return None;
        }
        self.give_way(&Backoff::new());
        failpoint(Failpoint::ReceiveLook);
        // As in `try_for_next`.
        let word = self.shared().load(Ordering::Acquire);
        if word > FARTHEST {
            return None;
        }
        self.at = self.at.to(&self.memory, word);
        if !slot::is_stamped(&self.memory, self.at) {
            return None;
        }
        let descriptor = slot::data(&self.memory, &self.geometry, word)?;
        let taken = self.try_for(word, descriptor)?;
        self.give();
        Some(taken)
    }

    /// The same, without handing it out: the next [`take`](Self::take) does.
    pub(crate) fn find(&mut self) -> Next {
        match self.held {
            Some(held) => Next::Taken(held.taken),
            None => self.try_for_next(),
        }
    }

    fn give(&mut self) {
        if let Some(held) = &mut self.held {
            held.is_flagged |= held.is_given;
            held.is_given = true;
        }
    }

    fn try_for_next(&mut self) -> Next {
        let backoff = Backoff::new();
        self.give_way(&backoff);
        loop {
            failpoint(Failpoint::ReceiveLook);
            // Pairs with the releases that move it: who takes the next packet has seen every hand
            // below it, and so has who sees *that* one's.
            let word = self.shared().load(Ordering::Acquire);
            if position(word) > FARTHEST {
                return Next::Corrupt(Fault::Cursor);
            }
            if word & PIN != 0 {
                // For two stores, unless its owner was preempted there, stopped, or killed.
                if backoff.is_completed() || cfg!(loom) {
                    return Next::Nothing;
                }
                backoff.snooze();
                continue;
            }
            let Some(found) = self.look_at(word) else { continue };
            let SlotState::Packet(descriptor) = found else {
                return if found == SlotState::Corrupt {
                    Next::Corrupt(Fault::Header)
                } else {
                    Next::Nothing
                };
            };
            if descriptor.kind() == Kind::Void {
                self.pass(word, descriptor.span());
            } else if let Some(taken) = self.try_for(word, descriptor) {
                return Next::Taken(taken);
            } else if !cfg!(loom) {
                backoff.snooze();
            }
        }
    }

    /// What lies at the shared cursor; `None`: it has moved, and what was seen may be another
    /// lap's. What a packet says counts only once the cursor was found where it was: it was there
    /// all the while, and gated the slot.
    fn look_at(&mut self, at: u64) -> Option<SlotState> {
        self.at = self.at.to(&self.memory, at);
        let found = slot::inspect(&self.memory, &self.geometry, self.at);
        let is_packet = matches!(found, SlotState::Packet(_));
        // A packet's is found out by the compare-and-swap.
        (is_packet || self.shared().load(Ordering::Acquire) == at).then_some(found)
    }

    /// Moves the shared cursor over a void packet: it needs no hand.
    fn pass(&self, at: u64, span: u64) {
        // Acquire and release: who sees it moved sees the hands of those below, as they were seen
        // here. If it has moved already, somebody else passed.
        let _ = self.shared().compare_exchange(at, at + span, Ordering::AcqRel, Ordering::Relaxed);
    }

    #[inline]
    fn try_for(&mut self, at: u64, descriptor: Descriptor) -> Option<Taken> {
        failpoint(Failpoint::TakeMark);
        // Every store to the hand pairs with the acquire in `gate::scan`, also this one, which may
        // be the first that a scan sees after `done`: what was read in the slots of the packet
        // before comes before what a publisher writes there. And with the one in `unpin`.
        self.hand().store(at | PIN, Ordering::Release);
        failpoint(Failpoint::TakePin);
        // Release: who sees the pin sees who tries (`unpin`). Acquire: the hands of those below
        // are seen by who sees this one's move. In one order with the look of `is_untaken`.
        let pinned =
            self.shared().compare_exchange(at, at | PIN, Ordering::SeqCst, Ordering::Relaxed);
        if pinned.is_err() {
            self.hand().store(NOWHERE, Ordering::Release);
            return None;
        }
        failpoint(Failpoint::TakeHand);
        self.hand().store(at, Ordering::Release);
        failpoint(Failpoint::TakeMove);
        // A store: nobody else moves a pinned cursor as long as this member lives. Pairs with the
        // acquires in `gate::scan` and `unpin`: who sees it moved sees the hand.
        self.shared().store(at + descriptor.span(), Ordering::Release);
        let taken = Taken { position: at, descriptor };
        self.hold(taken, false);
        self.may_give_way = true;
        Some(taken)
    }

    fn hold(&mut self, taken: Taken, is_flagged: bool) {
        self.held = Some(Held { taken, is_flagged, is_given: false });
    }

    /// One that has just taken a packet lets another try first, if it sees one that does: of two
    /// cores, the one that has the cursor's line wins over and over.
    #[inline]
    fn give_way(&mut self, backoff: &Backoff) {
        if !std::mem::take(&mut self.may_give_way) || cfg!(loom) {
            return;
        }
        let tries = |entry: &SubscriberEntry| {
            let hand = entry.cursor.load(Ordering::Relaxed);
            hand != NOWHERE && hand & PIN != 0
        };
        if hands(&self.memory).any(|(_, entry)| tries(entry)) {
            backoff.snooze();
        }
    }

    /// Acknowledges what is in hand; `false`: nothing is.
    pub(crate) fn ack(&mut self) -> bool {
        if self.held.take().is_none() {
            return false;
        }
        failpoint(Failpoint::TakeDone);
        // Pairs with the acquires in `gate::scan`: what was read in the slots comes before what a
        // publisher writes there; and in `unpin`: who sees this sees the shared cursor moved.
        self.hand().store(NOWHERE, Ordering::Release);
        true
    }

    /// Has a copy of a packet at hand, or none any more.
    pub(crate) fn hold_copy(&mut self, copy: Option<AlignedVec<16>>) {
        debug_assert!(copy.is_none() || self.held.is_none());
        self.copy = copy;
    }

    /// The copy at hand.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[cold]
    #[inline(never)]
    pub(crate) fn copy(&self) -> &[u8] {
        assert!(self.copy.is_some(), "a packet that is not in hand");
        self.copy.as_deref().unwrap_or_default()
    }

    /// What is in hand.
    #[inline]
    pub(crate) fn held(&self) -> Option<Taken> {
        self.held.map(|held| held.taken)
    }

    /// Whether what is in hand was handed out before.
    pub(crate) fn is_redelivered(&self) -> bool {
        self.held.is_some_and(|held| held.is_flagged)
    }

    /// Goes on at another entry, whose lock was just taken, and leaves what is in hand at the old
    /// one, for whoever adopts it once that one's lock is free. Under the control lock.
    pub(crate) fn move_to(&mut self, entry: usize) {
        membership::join_consumer(&self.memory, entry);
        self.entry = entry;
        self.held = None;
    }

    /// Takes a dead member's packet into this one's hand, or, where nobody is to get it, clears
    /// that hand. Under the control lock, with nothing in hand. `true`: something changed.
    pub(crate) fn adopt(
        &mut self,
        on_consumer_death: OnConsumerDeath,
        is_alive: &dyn Fn(EntryId) -> bool,
    ) -> bool {
        if self.held.is_some() || on_consumer_death == OnConsumerDeath::Dropped {
            return false;
        }
        // Pairs with the release that moved it: hands at or above it are no owners'.
        let shared = clamp(position(self.shared().load(Ordering::Acquire)));
        let Some(at) = orphan(&self.memory, shared, is_alive) else { return false };
        let found =
            slot::inspect(&self.memory, &self.geometry, StampedPosition::at(&self.memory, at));
        if let SlotState::Packet(descriptor) = found {
            failpoint(Failpoint::AdoptHand);
            // Pairs with the acquire in `gate::scan`, as every store to a hand.
            self.hand().store(at, Ordering::Release);
            failpoint(Failpoint::AdoptCount);
            self.hold(Taken { position: at, descriptor }, true);
            count(&self.memory);
        }
        // A hand where no packet is was nobody's honest one.
        for (_, entry) in dead_hands(&self.memory, at, is_alive) {
            failpoint(Failpoint::AdoptClear);
            // Pairs with the acquire in `gate::scan`: who sees it cleared sees the count, looks
            // again, and sees this member's hand.
            entry.cursor.store(NOWHERE, Ordering::Release);
        }
        true
    }

    /// Whether a dead member's packet is there to be adopted. Under the control lock.
    pub(crate) fn has_orphan(
        &self,
        on_consumer_death: OnConsumerDeath,
        is_alive: &dyn Fn(EntryId) -> bool,
    ) -> bool {
        let shared = clamp(position(self.shared().load(Ordering::Acquire)));
        on_consumer_death == OnConsumerDeath::Adopted
            && orphan(&self.memory, shared, is_alive).is_some()
    }

    /// What became of a packet that was published here.
    pub(crate) fn fate(
        memory: &RingMemory,
        at: u64,
        is_alive: &dyn Fn(EntryId) -> bool,
    ) -> RequestStatus {
        // Pairs with the release that moves it: who sees it moved sees the hand.
        let shared = memory.subscribers()[SHARED].cursor.load(Ordering::Acquire);
        if position(shared) <= at {
            return RequestStatus::Waiting;
        }
        // Pairs with the release in `done`: who sees it over sees what was sent before.
        let has = |entry: &SubscriberEntry| entry.cursor.load(Ordering::Acquire) == at;
        let owner = hands(memory).find(|&(member, entry)| has(entry) && is_alive(member));
        owner.map_or(RequestStatus::Over, |(member, _)| RequestStatus::InHand(member))
    }

    /// Whether nobody has taken the packet that was published here, nor is about to. Who takes it from
    /// here on sees what was stored before this was asked, if both are sequentially consistent.
    pub(crate) fn is_untaken(
        memory: &RingMemory,
        at: u64,
        is_alive: &dyn Fn(EntryId) -> bool,
    ) -> bool {
        let shared = &memory.subscribers()[SHARED].cursor;
        // In one order with the pins: a pin that is not seen here comes behind it.
        let word = shared.load(Ordering::SeqCst);
        if position(word) < at || word == at {
            return true;
        }
        if word != at | PIN {
            return false;
        }
        // Pinned here, by a dead member or a living one. Pairs with the releases of hands, as in
        // `unpin`: a hand that has moved on comes with the shared cursor that was moved before.
        let has = |entry: &SubscriberEntry| {
            let hand = entry.cursor.load(Ordering::Acquire);
            hand != NOWHERE && position(hand) == at
        };
        let is_tried = hands(memory).any(|(member, entry)| has(entry) && is_alive(member));
        !is_tried && shared.load(Ordering::SeqCst) == word
    }

    /// Says which packets this member has let go of and is not done with: some of those from the first
    /// to the last of these positions. To be said before the hand lets go of one, and until what
    /// becomes of it was sent.
    pub(crate) fn set_postponed(&self, range: Option<(u64, u64)>) {
        self.memory.subscribers()[self.entry].consumer.set_postponed(range);
    }

    /// Whether a living member may have set a packet aside that nobody has in hand.
    pub(crate) fn is_postponed(
        memory: &RingMemory,
        at: u64,
        is_alive: &dyn Fn(EntryId) -> bool,
    ) -> bool {
        let has = |entry: &SubscriberEntry| entry.consumer.may_have_postponed(at);
        hands(memory).any(|(member, entry)| has(entry) && is_alive(member))
    }

    /// Whether a look would find a packet. Cheap; for waiting.
    pub(crate) fn is_ready(&self) -> bool {
        if self.held.is_some() {
            return true;
        }
        // The stamp orders what follows.
        let shared = self.shared().load(Ordering::Relaxed);
        let at = || self.at.to(&self.memory, clamp(shared));
        shared & PIN == 0 && slot::is_stamped(&self.memory, at())
    }

    /// Whether packets are claimed that nobody has taken.
    pub(crate) fn is_claimed(&self) -> bool {
        let tail = self.memory.head().tail.load(Ordering::Acquire);
        tail > position(self.shared().load(Ordering::Relaxed))
    }

    /// Where the shared cursor stood when this member last looked.
    pub(crate) fn position(&self) -> u64 {
        self.at.position
    }

    fn shared(&self) -> &AtomicU64 {
        &self.memory.subscribers()[SHARED].cursor
    }

    fn hand(&self) -> &AtomicU64 {
        &self.memory.subscribers()[self.entry].cursor
    }
}

/// How many members have sat at an entry.
pub(crate) fn incarnation(memory: &RingMemory, index: usize) -> u64 {
    let entry = memory.subscribers().get(index);
    entry.map_or(0, |entry| entry.consumer.incarnation())
}

/// Takes the pin off that a dead member left on the shared cursor. Under the control lock.
pub(crate) fn unpin(memory: &RingMemory, is_alive: &dyn Fn(EntryId) -> bool) -> bool {
    let shared = &memory.subscribers()[SHARED].cursor;
    // Pairs with the release of the pin: who tries is seen.
    failpoint(Failpoint::UnpinLook);
    let word = shared.load(Ordering::Acquire);
    if word == NOWHERE || word & PIN == 0 {
        return false;
    }
    let at = position(word);
    failpoint(Failpoint::UnpinAsk);
    // Pairs with the releases of hands: a hand that is seen after its owner moved on comes with the
    // shared cursor that it moved, and that is read below.
    let is_there = |entry: &SubscriberEntry| {
        let hand = entry.cursor.load(Ordering::Acquire);
        hand != NOWHERE && position(hand) == at
    };
    if hands(memory).any(|(member, entry)| is_there(entry) && is_alive(member)) {
        return false;
    }
    // Again: a living owner may have moved on while its hand was asked about. It cannot have been
    // pinned anew: nobody but who holds the control lock lowers it.
    if shared.load(Ordering::Acquire) != word {
        return false;
    }
    for (_, entry) in dead_hands(memory, at, is_alive) {
        failpoint(Failpoint::Unpin);
        // Before the pin goes: it is nobody's job.
        entry.cursor.store(NOWHERE, Ordering::Release);
    }
    failpoint(Failpoint::Unpin);
    // Pairs with the acquires of whoever takes the packet, and of `gate::scan`.
    shared.store(at, Ordering::Release);
    true
}

/// Whether a member has a packet in hand that it took, dead or alive.
pub(crate) fn has_hand(entry: &SubscriberEntry) -> bool {
    let hand = entry.cursor.load(Ordering::Acquire);
    hand & PIN == 0
}

/// Counts what a scan under way may have passed: it begins again.
pub(crate) fn count(memory: &RingMemory) {
    // Pairs with the acquires in `gate::scan`: who sees the count sees the hand, or the entry.
    memory.head().membership.clones.fetch_add(1, Ordering::Release);
}

/// A packet below `shared` that a dead member has in hand.
fn orphan(memory: &RingMemory, shared: u64, is_alive: &dyn Fn(EntryId) -> bool) -> Option<u64> {
    hands(memory).find_map(|(member, entry)| {
        let hand = entry.cursor.load(Ordering::Acquire);
        (hand & PIN == 0 && hand < shared && !is_alive(member)).then_some(hand)
    })
}

/// The dead members that have this packet in hand.
fn dead_hands<'a>(
    memory: &'a RingMemory,
    at: u64,
    is_alive: &'a dyn Fn(EntryId) -> bool,
) -> impl Iterator<Item = (EntryId, &'a SubscriberEntry)> {
    hands(memory).filter(move |&(member, entry)| {
        entry.cursor.load(Ordering::Acquire) == at && !is_alive(member)
    })
}

/// The entries of members.
fn hands(memory: &RingMemory) -> impl Iterator<Item = (EntryId, &SubscriberEntry)> {
    let used = memory.head().membership.subscribers.load(Ordering::Relaxed) as usize;
    let entries = memory.subscribers().iter().enumerate().take(used).skip(SHARED + 1);
    entries.map(|(index, entry)| (EntryId::Subscriber(index), entry))
}
