//! Receiving with a cursor of one's own: batches, copies, the type table, the backlog.

use super::receiver::{Found, Receiver};
use crate::channel::error::{RecvError, RecvFailure};
use crate::channel::reports;
use crate::error::Form;
use crate::packet::Fingerprint;
use crate::ring::cursor::{Cursor, Next, Taken};
use crate::ring::guard::{HoldsBatch, HoldsPacket as _};
use crate::ring::overflow::Missed;
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
        self.found = loss.or_else(|| self.cursor.has_redelivery().then_some(Found::Unreceived));
        self
    }

    /// Fast path of [`take_fast`](Self::take_fast), for packets of one length and type. Returns
    /// false if nothing was taken: another call must decide.
    #[inline(always)]
    pub(crate) fn take_expected(&mut self, expected: Descriptor) -> bool {
        self.found.is_none() && self.cursor.take_expected(expected)
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

    /// Takes the newest packet, and waits for the first. Returns also the number of packets before
    /// it that this subscriber does not get, evicted ones included.
    pub(crate) fn take_newest(&mut self, timeout: Timeout) -> Result<(Taken, u64), RecvFailure> {
        let deadline = timeout.deadline();
        let mut lost = Missed { packets: 0, exact: true };
        loop {
            match self.take::<RecvFailure>(timeout.left(deadline)) {
                Ok(taken) => {
                    let skipped = self.skip_in_flight();
                    if skipped > 0 {
                        self.cursor.record_handed_out();
                    }
                    return Ok((self.cursor.in_flight().unwrap_or(taken), skipped + lost.packets));
                }
                Err(RecvFailure::Error(RecvError::Missed(missed))) => {
                    lost = Missed { packets: lost.packets + missed.packets, ..missed };
                }
                // The number is not reported again. The next call reports the failure.
                Err(_) if lost.packets > 0 => return Err(RecvError::Missed(lost).into()),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Releases all packets but the newest. Returns their number, evicted ones included.
    pub(crate) fn skip_to_newest(&mut self) -> Result<u64, RecvError> {
        let mut lost = 0;
        loop {
            let found = match self.found.take() {
                Some(Found::Next(found)) => found,
                Some(Found::Unreceived) | None => {
                    self.release();
                    self.cursor.next()
                }
            };
            match found {
                Next::Taken(_) => {
                    let skipped = self.skip_in_flight();
                    self.cursor.put_down();
                    self.found = self.cursor.has_redelivery().then_some(Found::Unreceived);
                    return Ok(skipped + lost);
                }
                Next::Missed(missed) => {
                    self.cursor.record_reported();
                    reports::missed(&self.entry.segment, self.cursor.entry(), missed);
                    lost += missed.packets;
                }
                // The next call reports the fault.
                Next::Corrupt(fault) if lost == 0 => return Err(self.corrupt(fault)),
                Next::Nothing | Next::Corrupt(_) => {
                    self.entry.notify_publishers();
                    return Ok(lost);
                }
            }
        }
    }

    /// Releases the packet in flight and those behind it up to the newest, which is in flight then.
    fn skip_in_flight(&mut self) -> u64 {
        let skipped = self.cursor.skip_to_newest();
        if skipped > 0 {
            self.notify_publishers_of_room();
        }
        skipped
    }

    /// Copies the packet in flight out of the ring and releases it.
    pub(crate) fn copy_out(&mut self) {
        self.copy.clear();
        self.copy.extend_from_slice(self.cursor.payload());
        self.release();
    }

    /// Returns true if the next receive has something to report though there may be no packet.
    pub(crate) fn has_notice(&self) -> bool {
        self.has_found() || self.is_over() || self.entry.cut_off().is_some()
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
    fn reader_mut(&mut self) -> &mut Reader {
        &mut self.cursor
    }
}
