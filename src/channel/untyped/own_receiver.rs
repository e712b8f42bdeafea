//! Receiving with a cursor of one's own: batches, copies, the type table, the backlog.

use super::receiver::{Found, Receiver};
use crate::channel::error::RecvError;
use crate::error::Form;
use crate::packet::Fingerprint;
use crate::ring::cursor::{Cursor, Next, Taken};
use crate::ring::guard::{HoldsBatch, HoldsPacket as _};
use crate::ring::reader::Reader;
use crate::ring::slot::Descriptor;
use crate::wait::Timeout;

/// Most packets of one batch.
const BATCH: usize = 256;

impl Receiver {
    /// The receiver of a durable subscriber, which first reports packets that it missed while it
    /// was away.
    pub(crate) fn with_losses(mut self) -> Self {
        let loss = self.cursor.unreported_loss().map(|missed| Found::Next(Next::Missed(missed)));
        self.found = loss.or_else(|| self.cursor.has_redelivery().then_some(Found::PutBack));
        self
    }

    /// Reads the ring's type table again, if a type was registered since. After a packet was taken:
    /// its publisher registered the type before, so the count covers it. The type keeps its index
    /// as long as the packet is in flight.
    #[inline]
    pub(crate) fn know_types(&mut self) {
        let registrations = self.cursor.memory().head().membership.registrations();
        if registrations != self.known_registrations {
            self.read_types(registrations);
        }
    }

    #[cold]
    #[inline(never)]
    fn read_types(&mut self, registrations: u64) {
        let types = self
            .entry
            .segment
            .with_types(|table| table.fingerprints().map(Fingerprint).collect::<Vec<_>>());
        // The count was loaded before: a type that is being registered is read with the next count.
        (self.types, self.known_registrations) = (types, registrations);
    }

    /// Takes all packets that are there, at most 256, and waits for the first. Of the others only
    /// those up to the first that is not `wanted`. Returns the first.
    #[inline]
    pub(crate) fn take_batch<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
        wanted: impl Fn(&Descriptor) -> bool,
    ) -> Result<Taken, F> {
        let first = self.take::<F>(timeout)?;
        self.cursor.take_more(first, BATCH, wanted);
        Ok(first)
    }

    /// Puts the packet in flight back: it is delivered again, flagged.
    pub(crate) fn unreceive(&mut self) {
        self.put_back();
    }

    /// Copies the packet in flight out of the ring and releases it.
    pub(crate) fn copy_out(&mut self) {
        self.copy.clear();
        self.copy.extend_from_slice(self.cursor.payload());
        self.release();
    }

    /// Returns true if the next receive has something to report though there may be no packet.
    pub(crate) fn has_notice(&self) -> bool {
        self.has_found() || self.is_over()
    }

    /// Slots between the next packet and the tail.
    pub(crate) fn backlog(&self) -> u64 {
        let range = self.cursor.range();
        // A packet that was found and not received is still to come.
        let next = if self.has_found() { range.start } else { range.end };
        self.cursor.tail().saturating_sub(next)
    }
}

impl HoldsBatch for Receiver {
    #[inline]
    fn reader(&self) -> &Reader {
        &self.cursor
    }

    fn reader_mut(&mut self) -> &mut Reader {
        &mut self.cursor
    }
}
