//! The counters of an endpoint: when they begin, and a snapshot of them. `segment::counters` has
//! the words and the reason why most packets cost no store.
//!
//! - Counters begin anew when an entry gets an owner, also with the successor of a durable
//!   subscriber, before the state is stored.
//! - They stay when the owner leaves or dies, until the entry gets another one.
//! - A consumer that moves to another entry takes its counters along.

use super::gate::position;
use crate::segment::counters::Traffic;
use crate::segment::entry::EntryId;
use crate::segment::layout::{EntryOwner, NOWHERE, PublisherEntry, SLOT, SubscriberEntry};
use crate::segment::settings::{Overflow, Settings};
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};
use std::time::Duration;

/// Attempts to read the counters of one owner.
const TRIES: u32 = 16;

/// The counters of a publisher, a subscriber or a consumer, since it joined.
///
/// They are exact, except that a snapshot of an endpoint at work may be too low by what is being
/// sent, released or skipped. A counter of the other side is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(loom, expect(unreachable_pub, reason = "the module that exports it is left out"))]
pub struct Counters {
    /// When the endpoint joined: the time of `CLOCK_MONOTONIC`. Another value means that another
    /// endpoint has the entry, whose counters began at 0. The successor of a durable subscriber is
    /// another endpoint.
    pub since: Duration,
    /// Packets that were sent, or that were received and released. A packet that is put back does
    /// not count.
    pub packets: u64,
    /// Bytes of these packets as they lie in the ring: whole slots of 64 bytes.
    pub bytes: u64,
    /// Publisher: claims that found no room, whether the call then waited or failed. A send in a
    /// task counts at each of its attempts.
    pub full: u64,
    /// Publisher: packets that it evicted, once for each subscriber that lost one. Subscriber:
    /// packets that publishers evicted, reported or not.
    pub evicted: u64,
    /// Subscriber: evicted packets that its receives reported as missed. The successor of a durable
    /// subscriber also counts those that its predecessor did not report.
    pub missed: u64,
    /// Subscriber: packets that it passed over on its way to the newest one. Evicted ones do not
    /// count here.
    pub skipped: u64,
    /// Subscriber or consumer: deliveries of packets that were handed out before.
    pub redelivered: u64,
    /// Sleeps in the kernel. Those of `select` and of event loops belong to no endpoint.
    pub parks: u64,
    /// The time in these sleeps.
    pub blocked: Duration,
    /// Calls of the kernel that woke a sleeper.
    pub wakes: u64,
    /// Entries of dead endpoints that it cleared, and of those that could not free them when they
    /// left.
    pub recoveries: u64,
    /// Subscriber or consumer: latencies that it measured, while they were sampled
    /// ([`ObjectInfo::sample_latency`](crate::inventory::ObjectInfo::sample_latency)).
    pub latencies: u64,
    /// The sum of these latencies. It wraps around after 584 years.
    pub latency_sum: Duration,
    /// The largest of these latencies.
    pub latency_max: Duration,
}

/// Takes an entry of a publisher for this process.
pub(super) fn begin_publisher(entry: &PublisherEntry) {
    entry.details.owner.change(|| {
        entry.record.sent.begin();
        entry.details.counts.begin();
    });
}

/// Takes an entry of a subscriber for this process.
pub(super) fn begin_subscriber(memory: &RingMemory, index: usize) {
    memory.subscribers()[index].details.owner.change(|| begin(memory, index));
}

/// Takes the entry of a subscriber that left a cursor at `position`.
pub(super) fn begin_at(memory: &RingMemory, settings: &Settings, index: usize, position: u64) {
    let entry = &memory.subscribers()[index];
    entry.details.owner.change(|| {
        begin(memory, index);
        count_from(entry, settings, position);
    });
}

fn begin(memory: &RingMemory, index: usize) {
    let entry = &memory.subscribers()[index];
    memory.latency().begin(index);
    entry.received.begin();
    entry.counts.begin(entry.details.evictions_counted.load(Ordering::Relaxed));
}

/// Counts what a subscriber receives by its cursor, which is placed at `position`: unless evictors
/// move it, or it is that of a queue.
pub(super) fn count_from(entry: &SubscriberEntry, settings: &Settings, position: u64) {
    if settings.overflow == Overflow::Block && !settings.queue {
        entry.received.count_from(position);
    }
}

/// Keeps the counts of a subscriber whose cursor is about to be removed.
pub(super) fn settle(entry: &SubscriberEntry) {
    if let Some(position) = cursor(entry) {
        entry.received.settle(position);
    }
}

/// Moves the counters of a consumer to its new entry.
#[cfg(not(loom))]
pub(super) fn move_to(memory: &RingMemory, from: usize, to: usize) {
    memory.latency().move_to(from, to);
    let [from, to] = [from, to].map(|index| &memory.subscribers()[index]);
    from.received.move_to(&to.received);
    from.counts.move_to(&to.counts);
    let since = from.details.owner.since.load(Ordering::Relaxed);
    to.details.owner.since.store(since, Ordering::Relaxed);
}

fn cursor(entry: &SubscriberEntry) -> Option<u64> {
    // Pairs with the release of the cursor: what was counted before is seen.
    let cursor = entry.cursor.load(Ordering::Acquire);
    (cursor != NOWHERE).then(|| position(cursor))
}

/// A snapshot of the counters of an entry's owner, also if it has left or is dead. `None` without
/// such an entry.
pub(crate) fn snapshot(memory: &RingMemory, entry_id: EntryId) -> Option<Counters> {
    let owner = match entry_id {
        EntryId::Publisher(index) => &memory.publishers().get(index)?.details.owner,
        EntryId::Subscriber(index) => &memory.subscribers().get(index)?.details.owner,
        EntryId::WorkerSlot(_) => return None,
    };
    Some(of_one_owner(owner, || match entry_id {
        EntryId::Publisher(index) => of_publisher(memory, &memory.publishers()[index]),
        EntryId::Subscriber(index) | EntryId::WorkerSlot(index) => of_subscriber(memory, index),
    }))
}

/// Reads the counters again if the entry got another owner meanwhile.
fn of_one_owner(owner: &EntryOwner, read: impl Fn() -> Counters) -> Counters {
    let mut tries = 0;
    loop {
        // Pairs with the release in `EntryOwner::change`.
        let before = owner.since.load(Ordering::Acquire);
        let counters = read();
        // Pairs with the fence in `EntryOwner::change`.
        fence(Ordering::Acquire);
        let after = owner.since.load(Ordering::Relaxed);
        tries += 1;
        // A process that died while it took the entry leaves 0.
        if before == after && after != 0 || tries == TRIES {
            return Counters { since: Duration::from_nanos(after), ..counters };
        }
    }
}

fn of_publisher(memory: &RingMemory, entry: &PublisherEntry) -> Counters {
    // Pairs with the release of the tail: what was counted before is seen.
    let traffic = entry.record.sent.read(|| Some(memory.head().tail.load(Ordering::Acquire)));
    let [full, evicted] = entry.details.counts.read();
    Counters { full, evicted, ..of_both(traffic, entry.details.counts.events.read()) }
}

fn of_subscriber(memory: &RingMemory, index: usize) -> Counters {
    let entry = &memory.subscribers()[index];
    let traffic = entry.received.read(|| cursor(entry));
    let [missed, skipped, redelivered, evicted_before] = entry.counts.read();
    let evicted = entry.details.evictions_counted.load(Ordering::Acquire);
    let evicted = evicted.wrapping_sub(evicted_before);
    let both = of_both(traffic, entry.counts.events.read());
    #[cfg(not(loom))]
    let both = {
        let latency = memory.latency().of_reader(index);
        Counters {
            latencies: latency.count,
            latency_sum: Duration::from_nanos(latency.sum),
            latency_max: Duration::from_nanos(latency.largest),
            ..both
        }
    };
    Counters { missed, skipped, redelivered, evicted, ..both }
}

fn of_both(traffic: Traffic, [parks, wakes, recoveries, blocked]: [u64; 4]) -> Counters {
    Counters {
        packets: traffic.packets,
        bytes: traffic.slots.saturating_mul(SLOT as u64),
        parks,
        wakes,
        recoveries,
        blocked: Duration::from_nanos(blocked),
        ..Counters::default()
    }
}
