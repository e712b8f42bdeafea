//! packetring: an exclusive ring of the default size, spinning; checked and read in place.
//!
//! - Settings: `exclusive()`, `Wait::spin()`, 1 MiB. [`Shared`] allows several publishers.
//! - Records: a record of 48 bytes takes one slot, a record of 64 bytes takes two.
//! - Batches: `send_all`, `drain`.
//! - Cell: a `Latest` with its default settings, checked and read in place.

use crate::cell::{self, Cell};
use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{Failure, Transport};
use crate::way::Way;
use packetring::board::{LatestReader, LatestWriter};
use packetring::{Latest, Publisher, Ring, RingBuilder, Subscriber, Wait};

pub(crate) struct Exclusive;
pub(crate) struct Shared;
pub(crate) struct Newest;

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

impl Cell for Newest {
    type Writer<R: Record> = LatestWriter<R>;
    type Reader<R: Record> = LatestReader<R>;

    fn writer<R: Record>(way: &Way) -> Result<LatestWriter<R>, Failure> {
        Ok(Latest::open(&way.name())?.writer()?)
    }

    fn reader<R: Record>(way: &Way) -> Result<LatestReader<R>, Failure> {
        Ok(Latest::open(&way.name())?.reader()?)
    }
}

impl<R: Record> cell::Writer<R> for LatestWriter<R> {
    #[inline]
    fn write(&mut self, value: &R) -> Result<(), Failure> {
        Ok(LatestWriter::write(self, value)?)
    }
}

impl<R: Record> cell::Reader for LatestReader<R> {
    #[inline]
    fn read(&mut self) -> Result<u64, Failure> {
        Ok(R::archived_sequence(&*LatestReader::read(self)?))
    }
}
