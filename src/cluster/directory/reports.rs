//! The trace events of workers. `docs/guide/tracing.md` lists all events.

use super::slots::SlotTable;
use crate::cluster::names::Cluster;
use crate::trace::trace_event;

/// A worker joined.
pub(super) fn joined(cluster: &Cluster, slots: &SlotTable, index: usize) {
    trace_event!(
        DEBUG,
        "packetring::cluster",
        "worker joined",
        cluster = cluster.name.clone(),
        worker = name(slots, index),
        id = index as u64,
    );
}

/// A worker leaves. `kept`: its name, id and inbox stay.
pub(super) fn left(cluster: &Cluster, slots: &SlotTable, index: usize, kept: bool) {
    trace_event!(
        DEBUG,
        "packetring::cluster",
        "worker left",
        cluster = cluster.name.clone(),
        worker = name(slots, index),
        id = index as u64,
        kept = kept,
    );
}

/// The slot of a dead worker was cleared.
pub(super) fn died(cluster: &Cluster, slots: &SlotTable, index: usize) {
    trace_event!(
        INFO,
        "packetring::cluster",
        "worker died",
        cluster = cluster.name.clone(),
        worker = name(slots, index),
        id = index as u64,
        pid = slots.read(index).map_or(0, |entry| entry.pid),
    );
}

/// The name in a slot, which stays there when the slot is free again.
fn name(slots: &SlotTable, index: usize) -> String {
    slots.read(index).map(|entry| entry.name).unwrap_or_default()
}
