//! disruptor (disruptor-rs), as a reference: it works between threads of one process only.
//!
//! - Settings: one producer, one event poller, spinning.
//! - Records: written and read in place. Singly: `publish`, `take(1)`. Batches:
//!   `batch_publish`, `take`.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, MOST, Transport};
use crate::way::Way;
use disruptor::{
    BusySpin, EventPoller, Polling, Producer, SingleConsumerBarrier, SingleProducer,
    SingleProducerBarrier, build_single_producer,
};

pub(crate) struct Disruptor;

type Poller<R> = EventPoller<R, SingleProducerBarrier>;

impl Transport for Disruptor {
    type Sender<R: Record> = SingleProducer<R, SingleConsumerBarrier>;
    type Receiver<R: Record> = Poller<R>;

    fn sender<R: Record>(way: &Way) -> Result<Self::Sender<R>, Failure> {
        let builder = build_single_producer(DEPTH, R::default, BusySpin);
        let (poller, builder) = builder.new_event_poller();
        way.leave::<Poller<R>>(poller);
        Ok(builder.build())
    }

    fn receiver<R: Record>(way: &Way) -> Result<Poller<R>, Failure> {
        way.collect()
    }
}

impl<R: Record> transport::Sender<R> for SingleProducer<R, SingleConsumerBarrier> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        self.publish(|event| *event = *record);
        Ok(())
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        self.batch_publish(records.len(), |events| {
            events.zip(records).for_each(|(event, record)| *event = *record);
        });
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for Poller<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        take(self, 1, tally)
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        take(self, MOST as u64, tally)
    }
}

#[inline]
fn take<R: Record>(poller: &mut Poller<R>, most: u64, tally: &mut Tally) -> Result<(), Failure> {
    loop {
        match poller.take(most) {
            Ok(mut events) => {
                (&mut events).for_each(|event| tally.take(event.sequence()));
                return Ok(());
            }
            Err(Polling::NoEvents) => std::hint::spin_loop(),
            Err(Polling::Shutdown) => return Err("producer is gone".into()),
        }
    }
}
