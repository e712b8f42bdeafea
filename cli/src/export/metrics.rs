//! Figures as the text of OpenMetrics.

use super::endpoints;
use crate::names;
use crate::rings::{self, Summary};
use packetring::cluster::{WorkerInfo, WorkerState};
use packetring::inspect::{InspectedObject, Inspection, LatencySnapshot, RingInspection};
use std::fmt::{Display, Write};

/// A metric with its lines.
pub(super) struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    lines: String,
}

/// The units that the name of a metric may end with.
const UNITS: [&str; 2] = ["bytes", "seconds"];

impl Family {
    pub(super) fn new(name: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self { name, kind, help, lines: String::new() }
    }

    /// Adds a figure with these labels.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let end = if self.kind == "counter" { "_total" } else { "" };
        self.add_part(end, labels, value);
    }

    /// As [`add`](Self::add), with another ending of the name.
    fn add_part(&mut self, end: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text)));
        let labels = labels.collect::<Vec<_>>().join(",");
        let _ = writeln!(self.lines, "{}{end}{{{labels}}} {value}", self.name);
    }
}

impl Family {
    /// Adds the histogram of a ring, with a bucket for each power of two: a series for each bucket
    /// of the ring would be too many.
    fn add_histogram(&mut self, labels: [(&str, &str); 2], found: &LatencySnapshot) {
        let [object, kind] = labels;
        let mut below = 0_u64;
        for (index, bucket) in found.buckets().enumerate() {
            below = below.saturating_add(bucket.count);
            if let (0, Some(end)) = (index % 4, bucket.end) {
                let end = end.as_secs_f64().to_string();
                self.add_part("_bucket", &[object, kind, ("le", &end)], below);
            }
        }
        self.add_part("_bucket", &[object, kind, ("le", "+Inf")], found.count);
        self.add_part("_count", &labels, found.count);
        self.add_part("_sum", &labels, found.sum.as_secs_f64());
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The figures of all objects.
pub(super) fn text(objects: &[InspectedObject]) -> String {
    let mut all = [
        Family::new("packetring_object_bytes", "gauge", "Size of the object in shared memory."),
        Family::new("packetring_object_in_use", "gauge", "1 if a living process is attached."),
        Family::new("packetring_endpoints", "gauge", "Endpoints of the object by their state."),
        Family::new("packetring_ring_slots", "gauge", "Slots of 64 bytes of the ring."),
        Family::new("packetring_ring_free_slots", "gauge", "Slots that publishers can claim now."),
        Family::new("packetring_ring_claimed_slots", "counter", "Slots that publishers claimed."),
        Family::new("packetring_ring_notifications", "counter", "Notifications of sleepers."),
        Family::new("packetring_ring_sleeps", "counter", "Endpoints that were about to sleep."),
        Family::new("packetring_backlog_slots", "gauge", "Slots that a reader has ahead."),
        Family::new("packetring_backlog_packets", "gauge", "Packets that a reader has ahead."),
        Family::new("packetring_missed_packets", "counter", "Packets that a reader lost."),
        Family::new("packetring_worker_alive", "gauge", "1 if the worker lives."),
    ];
    let mut counters = endpoints::families();
    let mut latencies = Family::new(
        "packetring_latency_seconds",
        "histogram",
        "Time from a publisher to a reader, as sampled since the ring was made.",
    );
    for object in objects {
        add_object(&mut all, object);
        if let Ok(Inspection::Ring(ring)) = &object.content {
            let (name, kind) = (names::full(&object.info), names::word(object.info.kind));
            endpoints::add(&mut counters, [("object", &name), ("kind", kind)], ring);
            if ring.sampling.is_some() || ring.latencies.count > 0 {
                latencies.add_histogram([("object", &name), ("kind", kind)], &ring.latencies);
            }
        }
    }
    let mut text = String::new();
    let families = all.iter().chain(&counters).chain([&latencies]);
    for family in families.filter(|family| !family.lines.is_empty()) {
        let Family { name, kind, help, lines } = family;
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if let Some(unit) = UNITS.iter().find(|unit| name.ends_with(*unit)) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = write!(text, "# HELP {name} {help}\n{lines}");
    }
    text + "# EOF\n"
}

fn add_object(all: &mut [Family; 12], found: &InspectedObject) {
    let info = &found.info;
    let (name, kind) = (names::full(info), names::word(info.kind));
    let labels = [("object", name.as_str()), ("kind", kind)];
    let [bytes, in_use, endpoints, .., workers] = all;
    bytes.add(&labels, info.bytes);
    in_use.add(&labels, u64::from(info.is_attached));
    if let Some(summary) = Summary::of(found) {
        let Summary { writers, readers, dead, away, .. } = summary;
        for (state, number) in
            [("writer", writers), ("reader", readers), ("dead", dead), ("away", away)]
        {
            endpoints.add(&[labels[0], labels[1], ("state", state)], number as u64);
        }
    }
    match &found.content {
        Ok(Inspection::Ring(ring)) => add_ring(all, labels, ring),
        Ok(Inspection::Directory(directory)) => {
            let cluster = info.cluster.as_deref().unwrap_or_default();
            // Those that left are no subject of an alarm, and would be more and more.
            let is_shown = |one: &&WorkerInfo| one.state != WorkerState::Gone || one.has_died;
            for worker in directory.workers.iter().filter(is_shown) {
                let id = worker.id.to_string();
                let prefix = info.prefix.as_deref().unwrap_or_default();
                let labels = [
                    ("prefix", prefix),
                    ("cluster", cluster),
                    ("worker", &worker.name),
                    ("id", &id),
                ];
                workers.add(&labels, u64::from(worker.state == WorkerState::Alive));
            }
        }
        _ => {}
    }
}

fn add_ring(all: &mut [Family; 12], labels: [(&str, &str); 2], ring: &RingInspection) {
    let [_, _, _, slots, free, claimed, notifications, sleeps, behind, packets, missed, _] = all;
    slots.add(&labels, ring.slots);
    claimed.add(&labels, ring.tail);
    if let Some(gate) = ring.gate {
        free.add(&labels, gate.free_slots);
    }
    for (side, counts) in [("readers", ring.readers), ("writers", ring.writers)] {
        let labels = [labels[0], labels[1], ("side", side)];
        notifications.add(&labels, counts.notifications);
        sleeps.add(&labels, counts.sleeps);
    }
    let queue = ring.queue.map(|queue| ("queue".to_owned(), None, queue.lag, 0));
    let readers = ring.endpoints.iter().filter_map(|one| {
        Some((rings::role(one), one.worker.as_deref(), one.lag?, rings::evicted(one)))
    });
    for (role, worker, lag, evicted) in readers.chain(queue) {
        let worker = worker.unwrap_or_default();
        let labels = [labels[0], labels[1], ("reader", &role), ("worker", worker)];
        behind.add(&labels, lag.slots);
        if let Some(number) = lag.packets {
            packets.add(&labels, number);
        }
        missed.add(&labels, evicted);
    }
}
