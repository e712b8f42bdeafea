//! The trace events of endpoints. `docs/guide/tracing.md` lists all events.
//!
//! The ring does not know its name. Its functions return or report what they found, and this file
//! adds the name.

use super::error::TypeMismatch;
use crate::ring::cursor::Cursor;
use crate::ring::overflow::Missed;
use crate::ring::reap::Death;
use crate::segment::Segment;
use crate::segment::entry::{EntryId, OwnerState};
use crate::trace::trace_event;

/// An endpoint joined.
pub(super) fn joined(segment: &Segment, entry_id: EntryId) {
    trace_event!(
        DEBUG,
        "packetring::ring",
        "endpoint joined",
        object = segment.shown_name().to_string(),
        role = role(segment, entry_id),
        entry = entry_id.index() as u64,
    );
}

/// An endpoint is leaving: its entry is still taken.
pub(super) fn leaving(segment: &Segment, entry_id: EntryId) {
    trace_event!(
        DEBUG,
        "packetring::ring",
        "endpoint left",
        object = segment.shown_name().to_string(),
        role = role(segment, entry_id),
        entry = entry_id.index() as u64,
    );
}

/// The entry of a dead endpoint is about to be cleared.
pub(super) fn died(segment: &Segment, death: &Death) {
    if death.pid == 0 {
        return;
    }
    trace_event!(
        INFO,
        "packetring::ring",
        "endpoint died",
        object = segment.shown_name().to_string(),
        role = role(segment, death.entry_id),
        entry = death.entry_id.index() as u64,
        pid = death.pid,
    );
    if death.voided.packets > 0 {
        trace_event!(
            INFO,
            "packetring::ring",
            "claim recovered",
            object = segment.shown_name().to_string(),
            entry = death.entry_id.index() as u64,
            pid = death.pid,
            voids = death.voided.packets,
            slots = death.voided.slots,
        );
    }
}

/// A consumer adopted the packet that a dead one had in flight, if it holds one now.
pub(super) fn adopted<C: Cursor>(segment: &Segment, cursor: &C) {
    if let Some(taken) = cursor.in_flight() {
        trace_event!(
            INFO,
            "packetring::ring",
            "packet adopted",
            object = segment.shown_name().to_string(),
            entry = cursor.entry() as u64,
            position = taken.position,
        );
    }
}

/// A subscriber lost packets.
pub(super) fn missed(segment: &Segment, entry: usize, missed: Missed) {
    trace_event!(
        WARN,
        "packetring::ring",
        "packets lost",
        object = segment.shown_name().to_string(),
        entry = entry as u64,
        packets = missed.packets,
        exact = missed.exact,
    );
}

/// A packet that was received has another type than its receiver.
pub(super) fn other_type(segment: &Segment, types: &TypeMismatch) {
    trace_event!(
        WARN,
        "packetring::ring",
        "packet of another type",
        object = segment.shown_name().to_string(),
        expected = types.expected.clone(),
        found = types.found.clone(),
    );
}

/// A ring does not take a type: that of an endpoint that joins, or of a packet that is sent.
pub(super) fn refused_type(segment: &Segment, accepted: &str, refused: &str) {
    trace_event!(
        WARN,
        "packetring::ring",
        "type refused",
        object = segment.shown_name().to_string(),
        expected = accepted.to_owned(),
        found = refused.to_owned(),
    );
}

/// The bytes of a packet are not valid for its type.
pub(crate) fn invalid(segment: &Segment, position: u64, what: &str) {
    trace_event!(
        WARN,
        "packetring::ring",
        "invalid packet",
        object = segment.shown_name().to_string(),
        position = position,
        what = what.to_owned(),
    );
}

/// The bytes in a cell of a board are not valid for its type.
pub(super) fn invalid_value(segment: &Segment, cell: usize, what: &str) {
    trace_event!(
        WARN,
        "packetring::ring",
        "invalid packet",
        object = segment.shown_name().to_string(),
        cell = cell as u64,
        what = what.to_owned(),
    );
}

/// The header of a packet, a cursor, or the word of a cell is damaged.
pub(super) fn corrupt(segment: &Segment, entry: usize, what: &str) {
    trace_event!(
        ERROR,
        "packetring::ring",
        "corrupt ring",
        object = segment.shown_name().to_string(),
        entry = entry as u64,
        what = what.to_owned(),
    );
}

/// The role of the endpoint that owns an entry.
fn role(segment: &Segment, entry_id: EntryId) -> &'static str {
    let has_cells = segment.settings().cells > 0;
    let index = match entry_id {
        EntryId::Publisher(_) if has_cells => return "writer",
        EntryId::Publisher(_) => return "publisher",
        EntryId::Subscriber(_) if has_cells => return "reader",
        EntryId::Subscriber(index) => index,
        EntryId::WorkerSlot(_) => return "worker",
    };
    let entry = segment.memory().subscribers().get(index);
    match entry.map(|entry| OwnerState::of(&entry.details.owner)) {
        Some(OwnerState::Durable) => "durable subscriber",
        Some(OwnerState::Consumer) => "consumer",
        _ => "subscriber",
    }
}
