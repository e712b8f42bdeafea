//! ringfire: fixed `Copy` records, copied in and out, one producer, `BusySpin`.
//!
//! - Settings: [`Lossless`] uses `FlowControl::LosslessBackpressure`. [`Lossy`] uses the default:
//!   the writer overwrites records that a slow reader has not read, and losses are counted.
//! - Batches: `push_batch`, `recv_batch`.
//! - Cell: a [`Blackboard`] with one key, copied in and out. A reader tries again while the writer
//!   replaces the value.

use crate::cell::{self, Cell};
use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, MOST, Transport, spin};
use crate::way::Way;
use ringfire::{
    BlackboardConsumer, BlackboardProducer, BusySpin, FlowControl, RingConsumer, RingProducer,
    RingProducerBuilder,
};

pub(crate) struct Lossless;
pub(crate) struct Lossy;
pub(crate) struct Blackboard;

/// The key of the only value.
const KEY: usize = 0;

/// A consumer, and its buffer for batches.
pub(crate) struct Consumer<R: Record> {
    ring: RingConsumer<R>,
    batch: Vec<R>,
}

impl Transport for Lossless {
    type Sender<R: Record> = RingProducer<R>;
    type Receiver<R: Record> = Consumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<RingProducer<R>, Failure> {
        producer(way, FlowControl::LosslessBackpressure)
    }

    fn receiver<R: Record>(way: &Way) -> Result<Consumer<R>, Failure> {
        consumer(way)
    }
}

impl Transport for Lossy {
    type Sender<R: Record> = RingProducer<R>;
    type Receiver<R: Record> = Consumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<RingProducer<R>, Failure> {
        producer(way, FlowControl::LossyLatestWins)
    }

    fn receiver<R: Record>(way: &Way) -> Result<Consumer<R>, Failure> {
        consumer(way)
    }
}

fn path(way: &Way) -> String {
    format!("/dev/shm/{}", way.name())
}

fn producer<R: Record>(way: &Way, flow: FlowControl) -> Result<RingProducer<R>, Failure> {
    let ring = RingProducerBuilder::new(DEPTH as u64).flow_control(flow).build(path(way))?;
    way.post("made", "")?;
    way.wait_for("attached")?;
    Ok(ring)
}

fn consumer<R: Record>(way: &Way) -> Result<Consumer<R>, Failure> {
    way.wait_for("made")?;
    let ring = RingConsumer::builder().start_from_head().attach(path(way))?;
    way.post("attached", "")?;
    Ok(Consumer { ring, batch: vec![R::default(); MOST] })
}

impl<R: Record> transport::Sender<R> for RingProducer<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        self.push(record);
        Ok(())
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        self.push_batch(records);
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for Consumer<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        tally.take(self.ring.recv_blocking(&mut BusySpin::new()).sequence());
        Ok(())
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let count = spin(|| Some(self.ring.recv_batch(&mut self.batch)).filter(|count| *count > 0));
        self.batch[..count].iter().for_each(|record| tally.take(record.sequence()));
        Ok(())
    }
}

impl Cell for Blackboard {
    type Writer<R: Record> = BlackboardProducer<R>;
    type Reader<R: Record> = BlackboardConsumer<R>;

    fn writer<R: Record>(way: &Way) -> Result<BlackboardProducer<R>, Failure> {
        Ok(BlackboardProducer::create(path(way), KEY + 1)?)
    }

    fn reader<R: Record>(way: &Way) -> Result<BlackboardConsumer<R>, Failure> {
        Ok(BlackboardConsumer::attach(path(way))?)
    }
}

impl<R: Record> cell::Writer<R> for BlackboardProducer<R> {
    #[inline]
    fn write(&mut self, value: &R) -> Result<(), Failure> {
        Ok(BlackboardProducer::write(self, KEY, value)?)
    }
}

impl<R: Record> cell::Reader for BlackboardConsumer<R> {
    #[inline]
    fn read(&mut self) -> Result<u64, Failure> {
        Ok(BlackboardConsumer::read(self, KEY)?.ok_or("no value")?.sequence())
    }
}
