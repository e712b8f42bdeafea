//! Which owners of entries live.

#![cfg(not(loom))]

use super::entry::EntryId;
use crate::error::OpenError;
use std::fmt::Debug;

/// Liveness locks of entries. `channel` takes them as an argument: [`Segment`](super::Segment)
/// implements them by locks on its own file.
///
/// The kernel drops the lock of a process that dies, so a free lock is a proof of death. No clock
/// and no process id decides about it.
///
/// # Safety
///
/// As long as an endpoint holds the lock of its entry, `is_alive` returns true for all others.
/// The ring frees the entry of a dead endpoint, and with it the slots that the endpoint reads or
/// writes.
pub(crate) unsafe trait Liveness: Debug {
    /// Locks an entry for this endpoint, under the control lock. Returns false if another endpoint
    /// holds its lock.
    fn acquire_liveness(&self, entry: EntryId) -> Result<bool, OpenError>;

    /// Releases the lock of this endpoint's entry.
    fn release_liveness(&self, entry: EntryId);

    /// Returns true if another endpoint holds the lock of an entry. An endpoint must not check
    /// its own entry: the answer would be false.
    fn is_alive(&self, entry: EntryId) -> bool;
}
