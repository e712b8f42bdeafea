//! The control lock, and the end of an attachment.
//!
//! One process at a time makes, joins, leaves, recovers or removes. The control lock is a file lock
//! on byte 0 and a mutex between the threads of one attachment. The kernel releases the file lock
//! when its holder dies.
//!
//! The last process to leave removes the object. Dropping a [`Segment`] releases its attachment
//! lock, removes the object if it was the last attachment, and closes the descriptor. The memory
//! goes later if a view still has it.

#![cfg(not(loom))]

use super::attachment::Segment;
use super::entry::EntryId;
use super::mapped::Mapped;
use super::reports;
use crate::error::{Detachment, OpenError};
use crate::sync::Ordering;
use crate::sys::lock::LockLimit;
use crate::sys::machine::monotonic;
use crate::trace::{Hold, WaitClock};
use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// The control lock of a segment. It is released when the value is dropped.
#[derive(Debug)]
pub(crate) struct Control<'a> {
    mapped: Option<&'a Mapped>,
    _local: MutexGuard<'a, ()>,
    /// Last, so that trace events are emitted after both locks are released.
    _hold: Hold,
}

/// Longest wait of a process that leaves: for the control lock, and for a dead process to be
/// detached. After it, other processes are left to clear up.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_millis(100);
/// Pause between two tries.
pub(super) const POLL: Duration = Duration::from_micros(100);

impl Segment {
    /// Takes the control lock. Waits while another living process holds it;
    /// [`Busy`](OpenError::Busy) after the lock timeout.
    pub(crate) fn lock(&self) -> Result<Control<'_>, OpenError> {
        self.lock_within_limit(self.limit())
    }

    /// As [`lock`](Self::lock), for leaving and clearing up: a stop does not end the wait.
    pub(crate) fn lock_unstopped(&self) -> Result<Control<'_>, OpenError> {
        self.lock_within_limit(&LockLimit { stop: None, ..self.limit().clone() })
    }

    fn lock_within_limit(&self, limit: &LockLimit) -> Result<Control<'_>, OpenError> {
        // Before the mutex, which another thread may have held when this process was forked.
        self.refuse_inherited()?;
        let (hold, clock) = (Hold::new(), WaitClock::start());
        let local = self.local().lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.mapped().map_or(Ok(()), |mapped| mapped.lock(limit));
        reports::waited(&clock, || self.shown_name(), Some(self.lock_holder()), taken.is_ok());
        taken?;
        Ok(self.locked(local, hold))
    }

    /// Takes the control lock if it is free.
    pub(crate) fn try_lock(&self) -> Option<Control<'_>> {
        let local = match self.local().try_lock() {
            Ok(local) => local,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.mapped().is_none_or(Mapped::try_lock).then(|| self.locked(local, Hold::new()))
    }

    /// Records that something may keep the segment from now on, before it does.
    pub(crate) fn note_may_keep(&self, _control: &Control<'_>) {
        self.parts().head().identity.note_keeps(true);
    }

    /// Records whether something keeps the segment when no process is attached, for processes of
    /// other layout versions. Under the control lock.
    pub(crate) fn note_keeps(&self, _control: &Control<'_>) {
        let parts = self.parts();
        parts.head().identity.note_keeps(parts.settings().queue || parts.is_kept());
    }

    /// Takes the control lock if it is free within a tenth of a second. For leaving, which must not
    /// hang on a process that was stopped inside the lock.
    pub(crate) fn lock_bounded(&self) -> Option<Control<'_>> {
        self.lock_within(LEAVE_TIMEOUT)
    }

    /// Takes the control lock if it is free within `lock_timeout`.
    pub(crate) fn lock_within(&self, lock_timeout: Duration) -> Option<Control<'_>> {
        let (started, clock) = (Instant::now(), WaitClock::start());
        loop {
            let holder = self.lock_holder();
            let taken = self.try_lock();
            if taken.is_some() || started.elapsed() >= lock_timeout {
                reports::waited(&clock, || self.shown_name(), Some(holder), taken.is_some());
                return taken;
            }
            std::thread::sleep(POLL);
        }
    }

    /// The error of a wait for the control lock that began at `since`, in a task that tries again
    /// and again; `None` if it goes on.
    #[cfg(feature = "async")]
    pub(crate) fn end_of_wait(&self, since: Instant) -> Option<OpenError> {
        let end = || self.mapped().and_then(|mapped| mapped.end_of_wait(self.limit(), since));
        self.refuse_inherited().err().or_else(end)
    }

    fn locked<'a>(&'a self, local: MutexGuard<'a, ()>, hold: Hold) -> Control<'a> {
        let membership = &self.parts().head().membership;
        membership.lock_holder.store(std::process::id(), Ordering::Relaxed);
        Control { mapped: self.mapped(), _local: local, _hold: hold }
    }

    /// Removes the segment's name under the control lock. Attached processes keep the segment, and
    /// the next process to open the name makes a new one. If only another user may unlink the name,
    /// that user's next process to open it does, or the last one to leave clears the object.
    pub(crate) fn give_name_up(&self, _control: &Control<'_>) -> Result<(), OpenError> {
        self.mapped().map_or(Ok(()), Mapped::give_name_up)
    }

    /// Stores the time at which a dead process was found.
    pub(crate) fn note_death(&self) {
        self.parts().head().membership.died.store(monotonic(), Ordering::Relaxed);
    }

    /// Records that an endpoint of this process begins to check the liveness of all owners. Returns
    /// false if another check began within the last `period`: one serves all endpoints of the
    /// process.
    pub(crate) fn begin_check(&self, period: Duration) -> bool {
        let now = monotonic();
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        self.note_check(now, now.saturating_sub(period).saturating_add(1))
    }

    /// Withdraws the record of the last check: it found something to do for each endpoint.
    pub(crate) fn withdraw_check(&self) {
        self.note_check(0, u64::MAX);
    }

    /// Process id of the last holder of the control lock, for display only.
    pub(crate) fn lock_holder(&self) -> u32 {
        self.parts().head().membership.lock_holder.load(Ordering::Relaxed)
    }
}

impl Drop for Control<'_> {
    fn drop(&mut self) {
        // Before the mutex, which is a field: another thread of this attachment must not get the
        // file lock while this one releases it.
        if let Some(mapped) = self.mapped {
            mapped.unlock();
        }
    }
}

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
            if started.elapsed() > LEAVE_TIMEOUT {
                return false;
            }
            has_waited = true;
            std::thread::sleep(POLL);
        }
        has_waited && !mapped.is_attached()
    }

    /// Why no process can join this segment any more; `None` if one can, and on the heap.
    pub(crate) fn detachment(&self) -> Option<Detachment> {
        self.mapped().and_then(Mapped::detachment)
    }

    /// Returns true if a parent process attached and this process was forked since. Always false
    /// on the heap: the child has its own copy.
    pub(crate) fn is_inherited(&self) -> bool {
        self.mapped().is_some_and(Mapped::is_inherited)
    }

    /// Returns an error if [`is_inherited`](Self::is_inherited).
    pub(crate) fn refuse_inherited(&self) -> Result<(), OpenError> {
        self.mapped().map_or(Ok(()), Mapped::refuse_inherited)
    }

    /// Returns true if an owner of an entry lives that is not of this attachment.
    pub(crate) fn has_living_owner(&self) -> bool {
        let (settings, liveness) = (self.settings(), self.liveness());
        let publishers = (0..settings.max_publishers).map(EntryId::Publisher);
        let subscribers = (0..settings.max_subscribers).map(EntryId::Subscriber);
        let worker_slots = (0..settings.worker_slots).map(EntryId::WorkerSlot);
        publishers.chain(subscribers).chain(worker_slots).any(|entry| liveness.is_alive(entry))
    }
}
