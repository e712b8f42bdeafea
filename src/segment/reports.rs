//! The trace events of segments. `docs/guide/tracing.md` lists all events.

#![cfg(not(loom))]

use super::name::Name;
use crate::error::{ObjectName, OpenError};
use crate::trace::{WaitClock, trace_event};

/// A segment was made.
pub(super) fn made(name: &Name, bytes: usize) {
    trace_event!(
        DEBUG,
        "packetring::segment",
        "segment made",
        object = name.shown().to_string(),
        bytes = bytes as u64,
    );
}

/// A segment was removed.
pub(super) fn removed(name: &Name) {
    trace_event!(
        DEBUG,
        "packetring::segment",
        "segment removed",
        object = name.shown().to_string(),
    );
}

/// An operation failed. Reports the error of a segment that is damaged, and no other.
pub(super) fn failed(error: &OpenError) {
    if let OpenError::Corrupt { name, what, expected, found } = error {
        trace_event!(
            ERROR,
            "packetring::segment",
            "corrupt segment",
            object = name.to_string(),
            what = *what,
            expected = *expected,
            found = *found,
        );
    }
}

/// A wait for the control lock ended, with the lock (`taken`) or without. Reports a long one.
/// `holder` is the last process that had the lock before, if that is known.
pub(super) fn waited(
    clock: &WaitClock,
    name: impl FnOnce() -> ObjectName,
    holder: Option<u32>,
    taken: bool,
) {
    if let Some(waited_ms) = clock.long() {
        trace_event!(
            WARN,
            "packetring::segment",
            "waited for the control lock",
            object = name().to_string(),
            waited_ms = waited_ms,
            holder = holder,
            taken = taken,
        );
    }
}
