//! Several packets in one claim.
//!
//! Small packets that are byte copies of their values become visible together
//! (`ring::claim::batch`). Others are committed one by one.

use super::publisher::Sender;
use crate::channel::error::{SendAllError, SendError, WaitingFor};
use crate::error::Form;
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{self, Copying, LARGE, Packet};
use crate::ring::geometry::span;
use crate::ring::slot::Descriptor;
use crate::wait::Timeout;

/// Most packets of one claim.
const BATCH: usize = 64;

impl Sender {
    /// Publishes packets in order, several in one claim. Returns the error of one form of the verb.
    pub(crate) fn send_all<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        values: &[T],
        type_index: u16,
        timeout: Timeout,
    ) -> Result<(), SendAllError<F>> {
        let mut sent = 0;
        while let Some(rest) = values.get(sent..).filter(|rest| !rest.is_empty()) {
            if let Err(source) = self.send_some(rest, type_index, timeout, &mut sent) {
                return Err(SendAllError { sent, source });
            }
        }
        Ok(())
    }

    /// Publishes the first packets, as many as fit in one claim, and counts them.
    #[inline]
    fn send_some<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        values: &[T],
        type_index: u16,
        timeout: Timeout,
        sent: &mut usize,
    ) -> Result<(), F> {
        self.begin()?;
        let mut lens = [0; BATCH];
        // A constant length is not read from `lens`: that would cost 35 instructions per packet.
        let (count, spans) = match T::FLAT_LEN {
            Some(len) => {
                self.check_len(len)?;
                (values.len().min(BATCH), [span(len); BATCH])
            }
            None => (self.measure_some(values, &mut lens)?, lens.map(span)),
        };
        let (position, count) = self.claim_many::<F>(&spans[..count], timeout)?;
        let values = &values[..count];
        if let Some(len @ 1..LARGE) = T::FLAT_LEN
            && let Some(archives) = packet::archives_of(values)
        {
            self.publish_copies(archives, Descriptor::data(len, type_index), position);
            *sent += count;
            self.notify_subscribers(count);
            return Ok(());
        }
        let len = T::FLAT_LEN.unwrap_or_else(|| lens.into_iter().max().unwrap_or(0));
        self.choose_copying(len, position);
        for (index, value) in values.iter().enumerate() {
            let len = T::FLAT_LEN.unwrap_or_else(|| lens[index]);
            if let Err(error) = self.fill(&[], value, Descriptor::data(len, type_index)) {
                *sent += index;
                return Err(error.into());
            }
        }
        *sent += count;
        self.notify_subscribers(count);
        Ok(())
    }

    /// Fills the open claim at `position` with copies of archives, and commits them together.
    #[inline(always)]
    fn publish_copies(&mut self, archives: &[u8], descriptor: Descriptor, position: u64) {
        // All of them are written at once, as one large packet is.
        self.choose_copying(archives.len(), position);
        let way = self.scratch.copies.way();
        let past_caches = archives.len() >= LARGE && way == Copying::PastCaches;
        self.writer.publish_copies(descriptor, archives, past_caches);
        failpoint(Failpoint::CommitWake);
    }

    /// Measures up to 64 packets, and returns how many can be sent: at least one.
    fn measure_some<T: Packet>(
        &mut self,
        values: &[T],
        lens: &mut [usize; BATCH],
    ) -> Result<usize, SendError> {
        for (index, value) in values.iter().take(BATCH).enumerate() {
            let len = packet::measure(value, &mut self.scratch).map_err(SendError::from);
            match len.and_then(|len| self.check_len(len).map(|()| len)) {
                Ok(len) => lens[index] = len,
                Err(error) if index == 0 => return Err(error),
                // The packets before it are sent first; the next round reports the error.
                Err(_) => return Ok(index),
            }
        }
        Ok(values.len().min(BATCH))
    }

    /// Claims room for as many of the packets as fit in one claim, and waits for it. Returns its
    /// position and their number.
    fn claim_many<F: Form<SendError, WaitingFor>>(
        &mut self,
        spans: &[u64],
        timeout: Timeout,
    ) -> Result<(u64, usize), F> {
        let claimed = match self.writer.claim_many(spans) {
            Ok(claimed) => claimed,
            Err(full) => {
                F::retry(|| self.claim_slow(full, timeout, &mut |writer| writer.claim_many(spans)))?
            }
        };
        Ok(claimed)
    }
}
