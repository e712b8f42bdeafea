//! The end of an attachment. The last process to leave removes the object.
//!
//! Dropping a [`Segment`] releases its attachment lock, removes the object if it was the last
//! attachment, and closes the descriptor. The memory goes later if a view still has it.

#![cfg(not(loom))]

use super::attachment::Segment;
use super::control::{Control, PATIENCE, POLL};
use super::entry::EntryId;
use super::entry::Liveness;
use super::mapped::Mapped;
use crate::sync::Ordering;
use crate::sys::machine::monotonic;
use std::time::{Duration, Instant};

/// A dead process can still hold its attachment lock for up to this long after it was found dead:
/// the kernel closes its descriptors one after the other.
const DYING: Duration = Duration::from_secs(1);

impl Drop for Segment {
    fn drop(&mut self) {
        let Some(mapped) = self.mapped() else { return };
        if mapped.is_inherited() {
            return;
        }
        let control = self.lock_bounded();
        mapped.detach();
        self.remove_if_left(mapped, control.or_else(|| self.try_lock()));
        if self.outlast_the_dying(mapped) {
            self.remove_if_left(mapped, self.try_lock());
        }
    }
}

impl Segment {
    /// Removes the object if no process is attached to it. Without the control lock this does
    /// nothing: its holder checks again. A holder that found a process attached tries again after
    /// it released the lock, because that process may have left in vain meanwhile.
    fn remove_if_left<'a>(&'a self, mapped: &'a Mapped, mut control: Option<Control<'a>>) {
        while let Some(held) = control.take() {
            let was_attached = mapped.remove_if_left(self.settle());
            drop(held);
            if was_attached && !mapped.is_attached() {
                control = self.try_lock();
            }
        }
    }

    /// Waits until a process that was found dead is no longer attached. Returns true if it waited
    /// and no process is attached now: then no other process would remove the object.
    ///
    /// It does not wait if a living process will leave later: another owner of an entry, or another
    /// attachment of this process.
    fn outlast_the_dying(&self, mapped: &Mapped) -> bool {
        let died = self.parts().head().membership.died.load(Ordering::Relaxed);
        if Duration::from_nanos(monotonic().saturating_sub(died)) > DYING {
            return false;
        }
        if !mapped.is_attached() || mapped.is_open_elsewhere_here() {
            return false;
        }
        let started = Instant::now();
        let mut has_waited = false;
        while mapped.is_attached() && !self.has_living_owner() {
            if started.elapsed() > PATIENCE {
                return false;
            }
            has_waited = true;
            std::thread::sleep(POLL);
        }
        has_waited && !mapped.is_attached()
    }

    /// Returns true if another owner of an entry lives.
    pub(crate) fn has_living_owner(&self) -> bool {
        let settings = self.settings();
        let publishers = (0..settings.max_publishers).map(EntryId::Publisher);
        let subscribers = (0..settings.max_subscribers).map(EntryId::Subscriber);
        let worker_slots = (0..settings.worker_slots).map(EntryId::WorkerSlot);
        publishers.chain(subscribers).chain(worker_slots).any(|entry| self.is_alive(entry))
    }
}
