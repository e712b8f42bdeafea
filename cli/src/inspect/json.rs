//! Inspections as JSON.

use super::schema;
use super::slots::SlotUse;
use crate::counters::{self, Counts};
use crate::latency::figures::Figures;
use crate::ls::Listed;
use crate::rings::{self, Backlog, Blocker};
use crate::workers::Worker;
use packetring::inspect::{
    EndpointInfo, InFlight, Inspection, RingInspection, RingStatus, RingType,
};
use packetring::inventory::ObjectInfo;
use packetring::{Claims, Overflow};
use serde::Serialize;
use std::num::NonZeroU32;

/// An object with its content.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    object: Listed,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring: Option<Ring>,
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<Board>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<Vec<Worker>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_area: Option<CallArea>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<Vec<Type>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<Vec<SlotUse>>,
}

#[derive(Debug, Serialize)]
struct Ring {
    capacity: usize,
    slots: u64,
    claims: &'static str,
    overflow: &'static str,
    history: usize,
    max_publishers: usize,
    max_subscribers: usize,
    status: &'static str,
    tail: u64,
    oldest: Option<u64>,
    free_slots: Option<u64>,
    queue: Option<Backlog>,
    reader_sleeps: u32,
    publisher_sleeps: u32,
    latency: Latency,
    control_holder: Option<u32>,
    seconds_since_death: Option<f64>,
    blocker: Option<Blocker>,
    endpoints: Vec<Endpoint>,
}

/// The latencies since the ring was made.
#[derive(Debug, Serialize)]
struct Latency {
    /// Slots for one sample; `null` if sampling is off.
    every: Option<NonZeroU32>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Serialize)]
struct Board {
    max_keys: usize,
    buffers: usize,
    max_size: usize,
    cells: Vec<BoardCell>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct BoardCell {
    index: usize,
    key: String,
    version: u64,
    writer: Option<usize>,
}

#[derive(Debug, Serialize)]
struct CallArea {
    max_calls: usize,
    reply_bytes: usize,
    answered: usize,
}

/// An endpoint.
#[derive(Debug, Serialize)]
pub(crate) struct Endpoint {
    role: String,
    entry: usize,
    pid: u32,
    worker: Option<String>,
    state: &'static str,
    position: Option<u64>,
    lag: Option<Backlog>,
    in_flight: &'static str,
    deliveries: u64,
    evicted: u64,
    claimed_slots: Option<u64>,
    types: Vec<u16>,
    seconds_since_join: f64,
    counters: Counts,
}

/// A packet type.
#[derive(Debug, Serialize)]
pub(crate) struct Type {
    index: u16,
    name: String,
    fingerprint: String,
    rust: Option<String>,
    /// `null` if it is damaged.
    schema: serde_json::Value,
}

impl Object {
    /// The object and its content.
    pub(crate) fn of(
        object: &ObjectInfo,
        found: &Inspection,
        with_types: bool,
        packets: Option<Vec<SlotUse>>,
    ) -> Self {
        let mut all = Self {
            object: Listed::of(object, None),
            ring: None,
            board: None,
            workers: None,
            call_area: None,
            types: None,
            packets,
        };
        let types = |types: &[RingType]| with_types.then(|| types.iter().map(Type::of).collect());
        match found {
            Inspection::Ring(ring) => {
                all.ring = Some(Ring::of(ring));
                all.types = types(&ring.types);
            }
            Inspection::Board(board) => {
                let cells = board.cells.iter().map(|cell| BoardCell {
                    index: cell.index,
                    key: cell.key.clone(),
                    version: cell.version,
                    writer: cell.writer,
                });
                all.board = Some(Board {
                    max_keys: board.max_keys,
                    buffers: board.buffers,
                    max_size: board.max_size,
                    cells: cells.collect(),
                    endpoints: board.endpoints.iter().map(Endpoint::of).collect(),
                });
                all.types = types(&board.types);
            }
            Inspection::Directory(directory) => {
                all.workers = Some(directory.workers.iter().map(Worker::of).collect());
            }
            Inspection::CallArea(area) => {
                all.call_area = Some(CallArea {
                    max_calls: area.max_calls,
                    reply_bytes: area.reply_bytes,
                    answered: area.answered,
                });
            }
            _ => {}
        }
        all
    }
}

impl Ring {
    fn of(ring: &RingInspection) -> Self {
        let queue = ring.queue.map(|queue| queue.lag);
        Self {
            capacity: ring.settings.capacity,
            slots: ring.slots,
            claims: match ring.settings.claims {
                Claims::Exclusive => "exclusive",
                _ => "shared",
            },
            overflow: match ring.settings.overflow {
                Overflow::DropOldest => "drop_oldest",
                _ => "block",
            },
            history: ring.settings.history,
            max_publishers: ring.settings.max_publishers,
            max_subscribers: ring.settings.max_subscribers,
            status: match ring.status {
                RingStatus::Open => "open",
                RingStatus::Left => "left",
                _ => "closed",
            },
            tail: ring.tail,
            oldest: ring.oldest,
            free_slots: ring.gate.map(|gate| gate.free_slots),
            queue: queue.map(|lag| Backlog { packets: lag.packets, slots: lag.slots }),
            reader_sleeps: ring.readers.sleeps,
            publisher_sleeps: ring.writers.sleeps,
            latency: Latency { every: ring.sampling, figures: Figures::of(&ring.latencies) },
            control_holder: ring.control_holder,
            seconds_since_death: ring.last_death.map(|time| time.as_secs_f64()),
            blocker: Blocker::of(ring),
            endpoints: ring.endpoints.iter().map(Endpoint::of).collect(),
        }
    }
}

impl Endpoint {
    /// An endpoint.
    pub(crate) fn of(one: &EndpointInfo) -> Self {
        Self {
            role: rings::role(one),
            entry: one.entry,
            pid: one.pid,
            worker: one.worker.clone(),
            state: rings::state(one),
            position: one.position,
            lag: one.lag.map(|lag| Backlog { packets: lag.packets, slots: lag.slots }),
            in_flight: match one.in_flight {
                InFlight::Nothing => "nothing",
                InFlight::OnePacket => "packet",
                InFlight::OneCell(_) => "cell",
                InFlight::Taking => "taking",
                _ => "unknown",
            },
            deliveries: one.deliveries,
            evicted: rings::evicted(one),
            claimed_slots: one.claim.map(|claim| claim.slots),
            types: one.types.clone(),
            seconds_since_join: counters::since_join(one).as_secs_f64(),
            counters: Counts::of(one),
        }
    }
}

impl Type {
    fn of(one: &RingType) -> Self {
        Self {
            index: one.index,
            name: one.carried.name.clone(),
            fingerprint: one.carried.fingerprint.to_string(),
            rust: schema::rust(&one.carried.schema),
            schema: serde_json::from_str(&one.carried.schema).unwrap_or_default(),
        }
    }
}
