//! What an endpoint counts besides its packets: sleepers that it woke, dead endpoints that it
//! cleared. Its waiter counts its own sleeps.

use super::owned_entry::OwnedEntry;
use crate::ring::counters::{self, Counters};
use crate::ring::reap::Reaped;
use crate::segment::counters::EventWords;

impl OwnedEntry {
    /// The counters of this endpoint's rare events; `None` after it has left.
    fn counts(&self) -> Option<&EventWords> {
        if self.has_left { None } else { self.memory.events(self.entry_id) }
    }

    /// Counts a call of the kernel that woke a sleeper.
    pub(super) fn count_wake(&self, is_one: bool) {
        if is_one && let Some(counts) = self.counts() {
            counts.add_wake();
        }
    }

    /// What this endpoint counted since it joined.
    pub(crate) fn counters(&self) -> Counters {
        counters::snapshot(&self.memory, self.entry_id).unwrap_or_default()
    }

    /// Counts dead endpoints that this one cleared.
    pub(crate) fn count_recoveries(&self, reaped: Reaped) {
        if let Some(counts) = self.counts() {
            counts.add_recoveries(reaped.endpoints);
        }
    }

    /// Counts nothing more: the endpoint is about to free its entry, which may be another one's
    /// then.
    pub(crate) fn end_counts(&mut self) {
        self.has_left = true;
    }
}
