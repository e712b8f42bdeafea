//! disruptor-mp, on which myelon is built: its raw ring of `Copy` events, spinning.
//!
//! Settings: one producer, one consumer that is discovered by its name before the first event.
//! Written in place; one at a time: `publish`, `consume_next_leased` (in place). Batches:
//! `batch_publish`, `process_available_blocking` (in place).

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, Transport, spin};
use crate::way::Way;
use disruptor_mp::{
    CoordinationMode, SharedConsumer, SharedProducer, attach_shared_consumer,
    build_shared_single_producer,
};
use std::time::Duration;

/// The consumer's name.
pub(crate) const READER: &str = "r0";
/// How long the producer looks for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct DisruptorMp;

impl Transport for DisruptorMp {
    type Sender<R: Record> = SharedProducer<R>;
    type Receiver<R: Record> = SharedConsumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<SharedProducer<R>, Failure> {
        let mut producer = build_shared_single_producer::<R>(&way.name(), DEPTH)
            .discover_consumer_with_prefix(1, "r")
            .with_coordination(CoordinationMode::Immediate)
            .build_producer(R::default)?;
        way.tell("made", "")?;
        way.learn("attached")?;
        if !producer.wait_for_consumer_id(READER, PATIENCE) {
            return Err("its consumer was not discovered".into());
        }
        Ok(producer)
    }

    fn receiver<R: Record>(way: &Way) -> Result<SharedConsumer<R>, Failure> {
        way.learn("made")?;
        let consumer = attach_shared_consumer::<R>(&way.name(), DEPTH);
        let consumer = consumer.with_consumer_id(READER).build_consumer()?;
        way.tell("attached", "")?;
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
