//! disruptor-mp, the base of myelon: its raw ring of `Copy` events, spinning.
//!
//! - Settings: one producer, and one consumer that is discovered by name before the first event.
//! - Records: written and read in place. Singly: `publish`, `consume_next_leased`. Batches:
//!   `batch_publish`, `process_available_blocking`.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use disruptor_mp::{
    CoordinationMode, SharedConsumer, SharedProducer, attach_shared_consumer,
    build_shared_single_producer,
};
use std::time::Duration;

/// Name of the consumer.
pub(crate) const READER: &str = "r0";
/// Longest wait of the producer for the consumer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct DisruptorMp;

impl Transport for DisruptorMp {
    type Sender<R: Record> = SharedProducer<R>;
    type Receiver<R: Record> = SharedConsumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<SharedProducer<R>, Failure> {
        let mut producer = build_shared_single_producer::<R>(&way.name(), DEPTH)
            .discover_consumer_with_prefix(1, "r")
            .with_coordination(CoordinationMode::Immediate)
            .build_producer(R::default)?;
        way.post("made", "")?;
        way.wait_for("attached")?;
        if !producer.wait_for_consumer_id(READER, TIMEOUT) {
            return Err("consumer was not discovered".into());
        }
        Ok(producer)
    }

    fn receiver<R: Record>(way: &Way) -> Result<SharedConsumer<R>, Failure> {
        way.wait_for("made")?;
        let consumer = attach_shared_consumer::<R>(&way.name(), DEPTH);
        let consumer = consumer.with_consumer_id(READER).build_consumer()?;
        way.post("attached", "")?;
        Ok(consumer)
    }
}

impl<R: Record> transport::Sender<R> for SharedProducer<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        self.publish(|event| *event = *record);
        Ok(())
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        spin(|| self.batch_publish(records.len(), |event, index| *event = records[index]).ok());
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for SharedConsumer<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        tally.take(Record::sequence(&*self.consume_next_leased()));
        Ok(())
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        self.process_available_blocking(|event, _, _| tally.take(event.sequence()));
        Ok(())
    }
}
