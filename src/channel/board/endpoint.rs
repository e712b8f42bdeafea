//! The entry of a board's reader or writer: joining, clearing the dead, leaving.
//!
//! The dead are cleared as in a ring: the pin of a reader is the cursor of its entry.

use crate::channel::owned_entry::reap;
use crate::error::OpenError;
use crate::ring::cell::{CellReader, CellWriter};
use crate::ring::membership::{self, Side};
use crate::segment::entry::EntryId;
use crate::segment::settings::Claims;
use crate::segment::{Liveness, SharedSegment};
use crate::sync::Ordering;
use std::sync::Arc;

/// An entry of a board, whose liveness lock this value holds. It leaves when it is dropped.
#[derive(Debug)]
pub(super) struct BoardEntry {
    attachment: Arc<SharedSegment>,
    entry_id: EntryId,
}

impl BoardEntry {
    /// Joins as a reader.
    pub(super) fn reader(attachment: &Arc<SharedSegment>) -> Result<(Self, CellReader), OpenError> {
        let segment = attachment.segment();
        let entry = Self::join(attachment, Side::Subscribers, |index| {
            membership::join_cell_reader(segment.memory(), index);
            CellReader::new(segment.memory().clone(), segment.cells(), index)
        })?;
        Ok(entry)
    }

    /// Joins as a writer.
    pub(super) fn writer(attachment: &Arc<SharedSegment>) -> Result<(Self, CellWriter), OpenError> {
        let segment = attachment.segment();
        let is_shared = segment.settings().claims == Claims::Shared;
        Self::join(attachment, Side::Publishers, |index| {
            membership::join_cell_writer(segment.memory(), index);
            CellWriter::join(segment.memory().clone(), segment.cells(), index, is_shared)
        })
    }

    /// Takes an entry, after the dead were cleared. `begin` runs under the control lock and cannot
    /// fail.
    fn join<R>(
        attachment: &Arc<SharedSegment>,
        side: Side,
        begin: impl FnOnce(usize) -> R,
    ) -> Result<(Self, R), OpenError> {
        let segment = attachment.segment();
        let _control = segment.lock()?;
        let (memory, settings) = (segment.memory(), segment.settings());
        reap(segment, memory, &|id| attachment.is_alive(id));
        let entry_id = membership::vacancy(memory, settings, side).ok_or_else(|| match side {
            Side::Publishers if settings.claims == Claims::Exclusive => OpenError::PublisherTaken {
                name: segment.name().to_owned(),
                pid: memory.publishers()[0].details.owner.pid.load(Ordering::Relaxed),
            },
            Side::Publishers => OpenError::Full { what: "writers", limit: settings.max_publishers },
            Side::Subscribers => {
                OpenError::Full { what: "readers", limit: settings.max_subscribers }
            }
        })?;
        if !attachment.acquire_liveness(entry_id)? {
            // The entry is free, but its lock is held: its owner just left without the control
            // lock.
            let busy = std::io::ErrorKind::WouldBlock;
            return Err(OpenError::system("lock an entry of", segment.name(), busy));
        }
        let begun = begin(index_of(entry_id));
        Ok((Self { attachment: Arc::clone(attachment), entry_id }, begun))
    }

    /// The attachment.
    pub(super) fn attachment(&self) -> &Arc<SharedSegment> {
        &self.attachment
    }

    /// Clears the dead, unless another process holds the control lock, then calls `work` under it
    /// with a function that checks whether an entry's owner lives.
    #[cold]
    pub(super) fn reap_dead_and(&self, work: impl FnOnce(&dyn Fn(EntryId) -> bool)) {
        let segment = self.attachment.segment();
        let Some(_control) = segment.try_lock() else { return };
        let is_alive = |id| self.attachment.is_alive(id);
        reap(segment, segment.memory(), &is_alive);
        work(&is_alive);
    }
}

impl Drop for BoardEntry {
    fn drop(&mut self) {
        let segment = self.attachment.segment();
        if segment.is_inherited() {
            // In a forked child the memory is not mapped, and the entry is the parent's.
            return;
        }
        let control = segment.lock_bounded();
        let (memory, settings) = (segment.memory(), segment.settings());
        match (self.entry_id, &control) {
            (EntryId::Subscriber(index), Some(_)) => membership::leave_subscriber(memory, index),
            (EntryId::Subscriber(index), None) => membership::release(memory, index),
            (EntryId::Publisher(index), Some(_)) => {
                membership::leave_publisher(memory, settings, index);
            }
            // The next process that clears the dead frees the entry.
            _ => {}
        }
        self.attachment.release_liveness(self.entry_id);
    }
}

fn index_of(entry_id: EntryId) -> usize {
    match entry_id {
        EntryId::Publisher(index) | EntryId::Subscriber(index) | EntryId::WorkerSlot(index) => {
            index
        }
    }
}
