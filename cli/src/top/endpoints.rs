//! The endpoints of a ring in `top`: their counters, and what was added to them between two
//! snapshots.

use crate::counters::{self, Counts};
use crate::rings::{self, Backlog};
use packetring::inspect::{EndpointInfo, RingInspection};
use serde::Serialize;

/// An endpoint of a ring.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Endpoint {
    pub(super) role: String,
    pub(super) pid: u32,
    pub(super) worker: Option<String>,
    pub(super) state: &'static str,
    pub(super) seconds_since_join: f64,
    /// Packets that it sent, or received and released.
    pub(super) packets_per_second: f64,
    pub(super) bytes_per_second: f64,
    /// How fast the position of a reader moves on.
    pub(super) slots_per_second: Option<f64>,
    /// The part of the time, of 1, that it slept: a publisher for room, a reader for packets.
    pub(super) blocked: f64,
    pub(super) lag: Option<Backlog>,
    /// Packets that a ring which drops the oldest took from the reader.
    pub(super) missed: u64,
    /// All that it counted since it joined.
    pub(super) counters: Counts,
    #[serde(skip)]
    pub(super) is_writing: bool,
}

impl Endpoint {
    /// An endpoint. `before`: the ring so many seconds ago, if it was there.
    pub(super) fn of(one: &EndpointInfo, before: Option<&RingInspection>, seconds: f64) -> Self {
        let per_second = |number: f64| if seconds > 0.0 { number / seconds } else { 0.0 };
        let then = before.and_then(|before| before.endpoints.iter().find(|old| is_same(old, one)));
        let counters = Counts::of(one);
        // Without a snapshot of the ring nothing tells when the packets passed.
        let begin = if before.is_some() { Counts::default() } else { counters };
        let grown = counters.since(then.map_or(begin, Counts::of));
        let moved = |now: u64| {
            let then = then.and_then(|then| then.position).unwrap_or(now);
            per_second(now.saturating_sub(then) as f64)
        };
        Self {
            role: rings::role(one),
            pid: one.pid,
            worker: one.worker.clone(),
            state: rings::state(one),
            seconds_since_join: counters::since_join(one).as_secs_f64(),
            packets_per_second: per_second(grown.packets as f64),
            bytes_per_second: per_second(grown.bytes as f64),
            slots_per_second: one.position.map(moved),
            // A sleep counts when it ends, so it may have begun before.
            blocked: per_second(grown.blocked.as_secs_f64()).min(1.0),
            lag: one.lag.map(|lag| Backlog { packets: lag.packets, slots: lag.slots }),
            missed: rings::evicted(one),
            counters,
            is_writing: rings::is_writer(one),
        }
    }
}

/// A consumer keeps its counters when it moves to another entry.
fn is_same(one: &EndpointInfo, other: &EndpointInfo) -> bool {
    let id = |one: &EndpointInfo| (one.pid, one.counters.since, rings::is_writer(one));
    id(one) == id(other)
}
