//! tachyon-ipc: a queue of bytes over shared memory, connected by a unix socket.
//!
//! - Settings: polling without sleep on both sides, room for [`DEPTH`] records.
//! - One at a time: `acquire_tx`, written and flushed; `acquire_rx`, read in place.
//! - Batches: `commit_unflushed` for each record and one `flush`; `drain_batch`, read in place.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, MOST, Transport, spin};
use crate::way::Way;
use std::slice;
use tachyon_ipc::{Bus, TachyonError, TxGuard};

/// Bytes that precede each record. A record with them takes whole cache lines.
const HEADER: usize = 16;
/// The only type of messages.
const TYPE: u32 = 1;

pub(crate) struct Tachyon;

impl Transport for Tachyon {
    type Sender<R: Record> = Bus;
    type Receiver<R: Record> = Bus;

    fn sender<R: Record>(way: &Way) -> Result<Bus, Failure> {
        let path = way.path("socket").display().to_string();
        let bus = way.wait_until("socket", || Bus::connect(&path).ok())?;
        bus.set_polling_mode(1);
        Ok(bus)
    }

    fn receiver<R: Record>(way: &Way) -> Result<Bus, Failure> {
        let path = way.path("socket").display().to_string();
        let capacity = DEPTH * (HEADER + size_of::<R>()).next_multiple_of(64);
        let bus = Bus::listen(&path, capacity).map_err(failure)?;
        bus.set_polling_mode(1);
        Ok(bus)
    }
}

fn failure(error: TachyonError) -> Failure {
    format!("{error:?}").into()
}

/// Writes a record into the queue, as soon as there is room.
#[inline]
fn write<'a, R: Record>(bus: &'a Bus, record: &R) -> Result<TxGuard<'a>, Failure> {
    // SAFETY: a record consists of words, without padding.
    let bytes = unsafe { slice::from_raw_parts((&raw const *record).cast(), size_of::<R>()) };
    let guard = spin(|| match bus.acquire_tx(size_of::<R>()) {
        Err(TachyonError::BufferFull) => None,
        other => Some(other.map_err(failure)),
    })?;
    guard.write(bytes);
    Ok(guard)
}

/// Reads a record in place.
#[inline]
fn take<R: Record>(bytes: &[u8], tally: &mut Tally) -> Result<(), Failure> {
    if bytes.len() != size_of::<R>() {
        return Err("received a record of wrong length".into());
    }
    // SAFETY: there are as many bytes as in a record, and every bit pattern is a valid record,
    // because a record consists of words.
    tally.take(unsafe { bytes.as_ptr().cast::<R>().read_unaligned() }.sequence());
    Ok(())
}

impl<R: Record> transport::Sender<R> for Bus {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        write(self, record)?.commit(size_of::<R>(), TYPE).map_err(failure)
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        for record in records {
            write(self, record)?.commit_unflushed(size_of::<R>(), TYPE).map_err(failure)?;
        }
        self.flush();
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for Bus {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let guard = self.acquire_rx(u32::MAX).map_err(failure)?;
        take::<R>(guard.data(), tally)?;
        guard.commit().map_err(failure)
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let batch = self.drain_batch(MOST, u32::MAX).map_err(failure)?;
        batch.iter().try_for_each(|message| take::<R>(message.data(), tally))?;
        batch.commit().map_err(failure)
    }
}
