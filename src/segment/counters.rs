//! Counters of one endpoint, in its entry: packets and slots, and rare events.
//!
//! The owner of the entry writes them, by a plain load and a plain store: there is one writer, so
//! no locked instruction is needed. Its successor begins them anew, under the control lock. They
//! order nothing: no decision depends on them. The process that clears a dead subscriber stores
//! what its cursor counted ([`TrafficWords::settle`]).
//!
//! # Packets without a store for each
//!
//! A subscriber of a ring that blocks stores its cursor for each packet, and an exclusive publisher
//! the tail. So their own **position** counts slots already, and with packets of one slot it counts
//! packets. Only what differs from that is counted here:
//!
//! ```text
//!  slots   = position - passed          passed: where the endpoint joined, and the slots below its
//!  packets = slots - inner                      position that hold no packet that it counts
//!                                       inner:  slots behind the first one of each packet
//! ```
//!
//! `passed` is 2⁶⁴ − 1 for an endpoint whose position tells nothing: a shared publisher, a
//! consumer of a queue, a subscriber that evictors move, and each that has left. These count
//! packets one by one: `slots = packets + inner`.
//!
//! # Limits
//!
//! A packet of several slots changes two words, and so does a run of slots that is passed over. The
//! position is stored last. A snapshot between the two stores is too low by the inner slots of the
//! packets that are released, or by the slots that are passed over. If the process is killed there,
//! the counters stay too low. A packet of one slot changes one word.

use crate::sync::{AtomicU64, Ordering};

/// `passed` of an endpoint whose position tells nothing.
const UNTOLD: u64 = u64::MAX;

/// Attempts to read words that belong together.
const TRIES: u32 = 64;

/// Adds to a word of which the caller is the only writer.
#[inline(always)]
fn add(word: &AtomicU64, count: u64) {
    // A model check does not explore these accesses: they order nothing.
    #[cfg(not(loom))]
    word.store(word.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    #[cfg(loom)]
    let _ = (word, count);
}

/// Packets and slots that an endpoint sent or received.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct TrafficWords {
    /// Packets that the position does not tell.
    packets: AtomicU64,
    /// Slots of packets behind the first slot of each.
    inner: AtomicU64,
    /// Positions below the endpoint's own that count no packet. [`UNTOLD`]: the position tells
    /// nothing.
    passed: AtomicU64,
}

/// What an endpoint sent or received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    /// Slots of these packets.
    pub(crate) slots: u64,
}

impl TrafficWords {
    /// Begins anew, with nothing that the position tells.
    pub(crate) fn begin(&self) {
        self.passed.store(UNTOLD, Ordering::Relaxed);
        self.packets.store(0, Ordering::Relaxed);
        self.inner.store(0, Ordering::Relaxed);
    }

    /// From now on the position counts, which is at `start`.
    pub(crate) fn count_from(&self, start: u64) {
        self.passed.store(start, Ordering::Relaxed);
    }

    /// Counts packets that the position does not tell, with their inner slots.
    #[inline(always)]
    pub(crate) fn add(&self, packets: u64, inner: u64) {
        if inner > 0 {
            self.add_inner(inner);
        }
        add(&self.packets, packets);
    }

    /// Counts inner slots, before the position moves over them.
    #[inline(always)]
    pub(crate) fn add_inner(&self, slots: u64) {
        add(&self.inner, slots);
    }

    /// Leaves out slots without a packet that counts, before the position moves over them.
    pub(crate) fn pass(&self, slots: u64) {
        add(&self.passed, slots);
    }

    /// Keeps the counts of an endpoint that leaves its position.
    pub(crate) fn settle(&self, position: u64) {
        let passed = self.passed.load(Ordering::Relaxed);
        if passed != UNTOLD {
            let inner = self.inner.load(Ordering::Relaxed);
            let packets = position.saturating_sub(passed).saturating_sub(inner);
            self.packets.store(packets, Ordering::Relaxed);
            self.passed.store(UNTOLD, Ordering::Release);
        }
    }

    /// Moves the counts to another entry, whose counters have just begun.
    #[cfg(not(loom))]
    pub(crate) fn move_to(&self, other: &Self) {
        move_words([(&self.packets, &other.packets), (&self.inner, &other.inner)]);
    }

    /// The counts. `position` loads the endpoint's own position; `None`: it has none.
    pub(crate) fn read(&self, position: impl Fn() -> Option<u64>) -> Traffic {
        let load = || {
            let passed = self.passed.load(Ordering::Acquire);
            (passed, self.inner.load(Ordering::Acquire), self.packets.load(Ordering::Acquire))
        };
        let mut words = load();
        let mut at = position();
        for _ in 0..TRIES {
            let now = load();
            if now == words {
                break;
            }
            words = now;
            at = position();
        }
        let (passed, inner, packets) = words;
        match at {
            _ if passed == UNTOLD => Traffic { packets, slots: packets.saturating_add(inner) },
            Some(at) => {
                let slots = at.saturating_sub(passed);
                Traffic { packets: slots.saturating_sub(inner), slots }
            }
            None => Traffic::default(),
        }
    }
}

/// Events that are rare on each side, as both sides count them.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct EventWords {
    parks: AtomicU64,
    wakes: AtomicU64,
    recoveries: AtomicU64,
    /// Nanoseconds.
    blocked: AtomicU64,
}

/// The rare events of a publisher.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(crate) struct PublisherCounts {
    pub(crate) events: EventWords,
    full: AtomicU64,
    evicted: AtomicU64,
}

/// The rare events of a subscriber.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(crate) struct SubscriberCounts {
    pub(crate) events: EventWords,
    missed: AtomicU64,
    skipped: AtomicU64,
    redelivered: AtomicU64,
    /// `evictions_counted` when the owner took the entry.
    evicted_before: AtomicU64,
}

impl EventWords {
    fn begin(&self) {
        for word in [&self.parks, &self.wakes, &self.recoveries, &self.blocked] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a sleep of this many nanoseconds.
    pub(crate) fn add_park(&self, nanoseconds: u64) {
        add(&self.parks, 1);
        add(&self.blocked, nanoseconds);
    }

    /// Counts a call of the kernel that woke a sleeper.
    pub(crate) fn add_wake(&self) {
        add(&self.wakes, 1);
    }

    /// Counts dead endpoints that were cleared.
    pub(crate) fn add_recoveries(&self, endpoints: u64) {
        if endpoints > 0 {
            add(&self.recoveries, endpoints);
        }
    }

    #[cfg(not(loom))]
    fn move_to(&self, other: &Self) {
        move_words([
            (&self.parks, &other.parks),
            (&self.wakes, &other.wakes),
            (&self.recoveries, &other.recoveries),
            (&self.blocked, &other.blocked),
        ]);
    }

    /// Parks, wakes, recoveries, nanoseconds in parks.
    pub(crate) fn read(&self) -> [u64; 4] {
        [&self.parks, &self.wakes, &self.recoveries, &self.blocked]
            .map(|word| word.load(Ordering::Relaxed))
    }
}

impl PublisherCounts {
    /// Begins anew.
    pub(crate) fn begin(&self) {
        self.events.begin();
        self.full.store(0, Ordering::Relaxed);
        self.evicted.store(0, Ordering::Relaxed);
    }

    /// Counts a claim that found no room.
    pub(crate) fn add_full(&self) {
        add(&self.full, 1);
    }

    /// Counts packets that the publisher evicted.
    pub(crate) fn add_evicted(&self, packets: u64) {
        if packets > 0 {
            add(&self.evicted, packets);
        }
    }

    /// Claims without room, packets evicted.
    pub(crate) fn read(&self) -> [u64; 2] {
        [&self.full, &self.evicted].map(|word| word.load(Ordering::Relaxed))
    }
}

impl SubscriberCounts {
    /// Begins anew. `evicted`: the packets whose eviction from this entry was counted so far.
    pub(crate) fn begin(&self, evicted: u64) {
        self.events.begin();
        for word in [&self.missed, &self.skipped, &self.redelivered] {
            word.store(0, Ordering::Relaxed);
        }
        self.evicted_before.store(evicted, Ordering::Relaxed);
    }

    /// Counts packets whose loss is reported to the user.
    pub(crate) fn add_missed(&self, packets: u64) {
        add(&self.missed, packets);
    }

    /// Counts packets that the subscriber passed over on its way to the newest one.
    pub(crate) fn add_skipped(&self, packets: u64) {
        add(&self.skipped, packets);
    }

    /// Counts deliveries of packets that were handed out before.
    pub(crate) fn add_redelivered(&self, packets: u64) {
        add(&self.redelivered, packets);
    }

    /// Moves the counts to another entry, whose counters have just begun.
    #[cfg(not(loom))]
    pub(crate) fn move_to(&self, other: &Self) {
        self.events.move_to(&other.events);
        move_words([(&self.redelivered, &other.redelivered)]);
    }

    /// Packets missed, skipped, redelivered, and those evicted before the owner came.
    pub(crate) fn read(&self) -> [u64; 4] {
        [&self.missed, &self.skipped, &self.redelivered, &self.evicted_before]
            .map(|word| word.load(Ordering::Relaxed))
    }
}

/// Moves counts to other words, each in a pair with its own. Both entries have the same owner.
#[cfg(not(loom))]
fn move_words<'a>(pairs: impl IntoIterator<Item = (&'a AtomicU64, &'a AtomicU64)>) {
    for (from, to) in pairs {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        from.store(0, Ordering::Relaxed);
    }
}
