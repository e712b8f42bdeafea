//! Rings: plain rings, topics, inboxes, queues, requests and events.

use super::endpoint::{EndpointInfo, Source, indices};
use super::latency::LatencySnapshot;
use crate::channel::CarriedType;
use crate::ring::claim;
use crate::ring::gate::Gate;
use crate::ring::membership::{RingState, SHARED};
use crate::ring::snapshot::{self, Lag};
use crate::segment::PassiveSegment;
use crate::segment::entry::EntryId;
use crate::segment::layout::EventCount;
use crate::segment::settings::Settings;
use crate::sync::Ordering;
use crate::sys::machine;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// A ring: a plain one, a topic, an inbox, a queue, the requests of a service, or the events of a
/// cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RingInspection {
    /// The settings that it was made with.
    pub settings: Settings,
    /// Slots of 64 bytes.
    pub slots: u64,
    /// Whether packets can still come.
    pub status: RingStatus,
    /// The position of the next packet: all slots that publishers have claimed since the ring was
    /// made. The difference between two snapshots is their rate.
    pub tail: u64,
    /// The oldest packet that is kept for newcomers. `None` in a ring without history.
    pub oldest: Option<u64>,
    /// The packet types that are registered, in the order of their indices.
    pub types: Vec<RingType>,
    /// Indices of the types that an inbox accepts. `None`: every type.
    pub accepted: Option<Vec<u16>>,
    /// All endpoints: the publishers in the order of their entries, then the subscribers in theirs.
    pub endpoints: Vec<EndpointInfo>,
    /// The shared place of the consumers of a queue. `None` in every other ring, and before the
    /// queue's first endpoint joined.
    pub queue: Option<QueueBacklog>,
    /// How far publishers may go. `None` if endpoints joined all the time while the entries were
    /// read.
    pub gate: Option<RingGate>,
    /// One probe for about so many slots: latencies are
    /// [sampled](crate::inventory::ObjectInfo::sample_latency). `None`: they are not.
    pub sampling: Option<NonZeroU32>,
    /// The latencies that were sampled since the ring was made.
    pub latencies: Box<LatencySnapshot>,
    /// Sleeps of subscribers.
    pub readers: SleepCounts,
    /// Sleeps of publishers.
    pub writers: SleepCounts,
    /// Time since a dead process was last found here. `None` if none was.
    pub last_death: Option<Duration>,
    /// The process that holds the control lock now. It joins, leaves, or clears the dead. `None`:
    /// the lock is free.
    pub control_holder: Option<u32>,
}

/// Whether packets can still come to a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RingStatus {
    /// Packets can come.
    Open,
    /// The last publisher left. The next one opens the ring again.
    Left,
    /// The ring was closed for good.
    Closed,
}

/// A packet type of a ring, with its index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingType {
    /// Its index: 0 to 63. Headers of packets and [endpoints](EndpointInfo::types) name the type by
    /// it. An index gets another type if nothing needs its type any more.
    pub index: u16,
    /// Its name, fingerprint and schema.
    pub carried: CarriedType,
}

/// The packets of a queue that no consumer has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueBacklog {
    /// The position of the next packet that a consumer takes.
    pub position: u64,
    /// The distance from there to the tail.
    pub lag: Lag,
}

/// How far the publishers of a ring may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingGate {
    /// The lowest position whose slot may not be used again yet.
    pub position: u64,
    /// Slots of 64 bytes that publishers can claim until they have to wait for the holder. A packet
    /// that would cross the end of the memory needs padding, so a publisher may wait before they
    /// are used up.
    ///
    /// A ring that drops the oldest moves subscribers on: only packets in flight and claims count.
    pub free_slots: u64,
    /// The endpoint that holds the position, and for which publishers wait first. `None` if all
    /// readers are at the tail, or there are none.
    pub holder: Option<GateHolder>,
}

/// The endpoint for which publishers wait first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateHolder {
    /// An endpoint, by its index in [`RingInspection::endpoints`]: a subscriber that lags, a
    /// consumer with a packet in flight, or a publisher with an open claim.
    Endpoint(usize),
    /// The backlog of a queue: its oldest packet, which no consumer has taken.
    Queue,
}

/// How often the endpoints of one side were about to sleep, and were notified.
///
/// Both counts wrap around. The words do not tell whether a thread sleeps now: compare two
/// snapshots. If `sleeps` grew, an endpoint found nothing to do and went to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SleepCounts {
    /// Registrations of endpoints that were about to sleep.
    pub sleeps: u32,
    /// Notifications of sleepers.
    pub notifications: u32,
}

impl RingInspection {
    pub(super) fn of(source: &Source<'_>) -> Self {
        let segment = source.segment;
        let (memory, settings) = (segment.memory(), *segment.settings());
        let found = snapshot::read(memory, &settings);
        let endpoints = source.endpoints(&found);
        let gate = found.gate.map(|gate| {
            let holder = gate.holder.and_then(|id| match id {
                EntryId::Subscriber(SHARED) if settings.queue => Some(GateHolder::Queue),
                id => {
                    let is_it = |endpoint: &EndpointInfo| endpoint.id() == id;
                    endpoints.iter().position(is_it).map(GateHolder::Endpoint)
                }
            });
            RingGate::of(&gate, holder, found.tail, memory.capacity())
        });
        let (head, accepted) = (memory.head(), &memory.head().membership.accepted);
        let accepted = accepted.load(Ordering::Relaxed);
        Self {
            slots: memory.capacity(),
            status: match found.state {
                RingState::Open => RingStatus::Open,
                RingState::Left => RingStatus::Left,
                RingState::Closed => RingStatus::Closed,
            },
            tail: found.tail,
            oldest: found.oldest,
            types: types(segment),
            accepted: (accepted != 0).then(|| indices(accepted)),
            endpoints,
            queue: found.shared.map(|at| QueueBacklog { position: at.position, lag: at.lag }),
            gate,
            sampling: claim::switched(memory),
            latencies: Box::new(LatencySnapshot::of(memory)),
            readers: SleepCounts::of(&head.readers.event_count),
            writers: SleepCounts::of(&head.writers),
            last_death: last_death(segment),
            control_holder: segment.control_holder(),
            settings,
        }
    }

    /// The endpoint for which publishers wait first. `None` if there is none, or if it is the
    /// backlog of a queue: see [`RingGate::holder`].
    pub fn holder(&self) -> Option<&EndpointInfo> {
        match self.gate?.holder? {
            GateHolder::Endpoint(index) => self.endpoints.get(index),
            GateHolder::Queue => None,
        }
    }

    /// The packet type of an index.
    pub fn type_at(&self, index: u16) -> Option<&CarriedType> {
        let found = self.types.iter().find(|found| found.index == index);
        found.map(|found| &found.carried)
    }
}

impl RingGate {
    fn of(gate: &Gate, holder: Option<GateHolder>, tail: u64, capacity: u64) -> Self {
        let free_slots = capacity.saturating_sub(tail.saturating_sub(gate.lowest));
        Self { position: gate.lowest, free_slots, holder }
    }
}

impl SleepCounts {
    fn of(event_count: &EventCount) -> Self {
        Self {
            sleeps: event_count.waiters.load(Ordering::Relaxed),
            notifications: event_count.futex.load(Ordering::Relaxed),
        }
    }
}

/// The packet types of a segment.
pub(super) fn types(segment: &PassiveSegment) -> Vec<RingType> {
    let table = segment.types();
    let known = table.indices().filter_map(|index| {
        Some(RingType { index: index as u16, carried: CarriedType::of(&table, index)? })
    });
    known.collect()
}

/// Time since a dead process was last found at a segment.
pub(super) fn last_death(segment: &PassiveSegment) -> Option<Duration> {
    let died = segment.memory().head().membership.died.load(Ordering::Relaxed);
    (died > 0).then(|| Duration::from_nanos(machine::monotonic().saturating_sub(died)))
}

impl fmt::Display for RingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Left => "left by its publishers",
            Self::Closed => "closed",
        })
    }
}
