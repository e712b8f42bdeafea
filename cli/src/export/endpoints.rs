//! The counters of endpoints as metrics.
//!
//! The labels name the place of an endpoint and no process, so that a process that starts again
//! goes on in the same series: its counters begin at 0, which a monitoring system takes for a reset
//! of the counter.

use super::metrics::Family;
use crate::counters::Counts;
use crate::rings;
use packetring::inspect::{EndpointInfo, EndpointRole, RingInspection};

/// The endpoints that have a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Both,
    Writers,
    Readers,
}

/// Name without its beginning, help, endpoints, figure.
type Metric = (&'static str, &'static str, Side, fn(&Counts) -> f64);

const METRICS: [Metric; 11] = [
    (
        "packetring_endpoint_packets",
        "Packets that the endpoint sent, or received and released.",
        Side::Both,
        |counts| counts.packets as f64,
    ),
    (
        "packetring_endpoint_bytes",
        "Bytes of these packets in the ring: whole slots of 64 bytes.",
        Side::Both,
        |counts| counts.bytes as f64,
    ),
    (
        "packetring_endpoint_full_claims",
        "Claims of the publisher that found no room.",
        Side::Writers,
        |counts| counts.full as f64,
    ),
    (
        "packetring_endpoint_evicted_packets",
        "Packets that the publisher evicted, for each reader; or that a reader lost by this.",
        Side::Both,
        |counts| counts.evicted as f64,
    ),
    (
        "packetring_endpoint_missed_packets",
        "Evicted packets that the reader was told of.",
        Side::Readers,
        |counts| counts.missed as f64,
    ),
    (
        "packetring_endpoint_skipped_packets",
        "Packets that the reader passed over on its way to the newest one.",
        Side::Readers,
        |counts| counts.skipped as f64,
    ),
    (
        "packetring_endpoint_redelivered_packets",
        "Deliveries of packets that were handed out before.",
        Side::Readers,
        |counts| counts.redelivered as f64,
    ),
    ("packetring_endpoint_parks", "Sleeps in the kernel.", Side::Both, |counts| {
        counts.parks as f64
    }),
    (
        "packetring_endpoint_blocked_seconds",
        "Time in these sleeps: a publisher for room, a reader for packets.",
        Side::Both,
        |counts| counts.blocked.as_secs_f64(),
    ),
    (
        "packetring_endpoint_wakes",
        "Calls of the kernel that woke a sleeper.",
        Side::Both,
        |counts| counts.wakes as f64,
    ),
    (
        "packetring_endpoint_recoveries",
        "Entries of dead endpoints that the endpoint cleared.",
        Side::Both,
        |counts| counts.recoveries as f64,
    ),
];

/// The metrics, without figures.
pub(super) fn families() -> Vec<Family> {
    METRICS.iter().map(|(name, help, ..)| Family::new(name, "counter", help)).collect()
}

/// Adds the figures of a ring with these labels.
pub(super) fn add(families: &mut [Family], labels: [(&str, &str); 2], ring: &RingInspection) {
    for one in &ring.endpoints {
        let (endpoint, counts) = (rings::role(one), Counts::of(one));
        let worker = one.worker.as_deref().unwrap_or_default();
        let [object, kind] = labels;
        let labels = [
            object,
            kind,
            ("role", role(one)),
            ("endpoint", endpoint.as_str()),
            ("worker", worker),
        ];
        let other = if rings::is_writer(one) { Side::Readers } else { Side::Writers };
        let metrics = families.iter_mut().zip(METRICS);
        for (family, (.., figure)) in metrics.filter(|(_, (_, _, side, _))| *side != other) {
            family.add(&labels, figure(&counts));
        }
    }
}

/// The role of an endpoint, in one word.
fn role(endpoint: &EndpointInfo) -> &'static str {
    match endpoint.role {
        EndpointRole::Publisher => "publisher",
        EndpointRole::Consumer => "consumer",
        EndpointRole::Durable { .. } => "durable",
        EndpointRole::Joining => "joining",
        _ => "subscriber",
    }
}
