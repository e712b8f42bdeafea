//! packetring: an exclusive ring of the default size, spinning; checked and read in place.
//!
//! - Settings: `exclusive()`, `Wait::spin()`, 1 MiB. [`Shared`] allows several publishers.
//! - Records: a record of 48 bytes takes one slot, a record of 64 bytes takes two.
//! - Batches: `send_all`, `drain`.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{Failure, Transport};
use crate::way::Way;
use packetring::{Publisher, Ring, RingBuilder, Subscriber, Wait};

pub(crate) struct Exclusive;
pub(crate) struct Shared;

impl Transport for Exclusive {
    type Sender<R: Record> = Publisher<R>;
    type Receiver<R: Record> = Subscriber<R>;

    fn sender<R: Record>(way: &Way) -> Result<Publisher<R>, Failure> {
        publisher(way, Ring::builder().exclusive())
    }

    fn receiver<R: Record>(way: &Way) -> Result<Subscriber<R>, Failure> {
        subscriber(way, Ring::builder().exclusive())
    }
}

impl Transport for Shared {
    type Sender<R: Record> = Publisher<R>;
    type Receiver<R: Record> = Subscriber<R>;

    fn sender<R: Record>(way: &Way) -> Result<Publisher<R>, Failure> {
        publisher(way, Ring::builder().shared())
    }

    fn receiver<R: Record>(way: &Way) -> Result<Subscriber<R>, Failure> {
        subscriber(way, Ring::builder().shared())
    }
}

fn publisher<R: Record>(way: &Way, ring: RingBuilder) -> Result<Publisher<R>, Failure> {
    way.wait_for("subscribed")?;
    Ok(ring.wait(Wait::spin()).attach(&way.name())?.publisher()?)
}

fn subscriber<R: Record>(way: &Way, ring: RingBuilder) -> Result<Subscriber<R>, Failure> {
    let subscriber = ring.wait(Wait::spin()).open(&way.name())?.subscriber()?;
    way.post("subscribed", "")?;
    Ok(subscriber)
}

impl<R: Record> crate::transport::Sender<R> for Publisher<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        Publisher::send(self, record)?;
        Ok(())
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        Ok(self.send_all(records)?)
    }
}

impl<R: Record> crate::transport::Receiver<R> for Subscriber<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        tally.take(R::archived_sequence(&*self.recv()?));
        Ok(())
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        for record in &self.drain()? {
            tally.take(R::archived_sequence(record));
        }
        Ok(())
    }
}
