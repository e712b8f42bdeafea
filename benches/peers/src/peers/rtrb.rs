//! rtrb, as a reference: it works between threads of one process only.
//!
//! - Settings: only the capacity.
//! - One at a time: `push` and `pop`, which copy in and out.
//! - Batches: `push_entire_slice`; `read_chunk` of all that is there, read in place.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, MOST, Transport, spin};
use crate::way::Way;
use rtrb::{Consumer, Producer, RingBuffer};

pub(crate) struct Rtrb;

impl Transport for Rtrb {
    type Sender<R: Record> = Producer<R>;
    type Receiver<R: Record> = Consumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<Producer<R>, Failure> {
        let (producer, consumer) = RingBuffer::new(DEPTH);
        way.leave::<Consumer<R>>(consumer);
        Ok(producer)
    }

    fn receiver<R: Record>(way: &Way) -> Result<Consumer<R>, Failure> {
        way.collect()
    }
}

impl<R: Record> transport::Sender<R> for Producer<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        spin(|| self.push(*record).ok());
        Ok(())
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        spin(|| self.push_entire_slice(records).ok());
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for Consumer<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        tally.take(spin(|| self.pop().ok()).sequence());
        Ok(())
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let count = spin(|| Some(self.slots().min(MOST)).filter(|count| *count > 0));
        let chunk = self.read_chunk(count)?;
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|record| tally.take(record.sequence()));
        chunk.commit_all();
        Ok(())
    }
}
