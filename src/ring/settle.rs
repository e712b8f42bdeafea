//! The end of a work queue without users: its void packets are skipped, so that a queue in which
//! only void packets are left counts as empty.
//!
//! Consumers skip void packets while they receive. Aborted reservations, and the claims of dead
//! publishers, leave void packets that no consumer sees if none joins any more.

use super::consumer_group::skip_voids;
use super::geometry::Geometry;
use super::reap::{Slots, reap};
use crate::segment::entry::EntryId;
use crate::segment::settings::Settings;
use crate::segment::view::RingMemory;

/// Clears the dead of a queue, then skips the void packets at its shared cursor. Does nothing to
/// another ring. The caller holds the control lock, no process is attached, and slots of `memory`
/// can be written.
pub(crate) fn settle(memory: &RingMemory, settings: &Settings, is_alive: &dyn Fn(EntryId) -> bool) {
    if settings.queue {
        reap(memory, settings, Slots::Writable, is_alive);
        skip_voids(memory, &Geometry::of(settings));
    }
}
