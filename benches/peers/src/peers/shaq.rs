//! shaq: its queue of one producer and one consumer over a file in `/dev/shm`, spinning.
//!
//! - Settings: only the capacity.
//! - One at a time: `try_write` and `try_read`, which copy in and out.
//! - Batches: `write_batch`, and `try_reserve_read_batch`, which is read in place.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, DEPTH, Failure, MOST, Transport, spin};
use crate::way::Way;
use shaq::spsc::{Consumer, Producer, minimum_file_size};
use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;

pub(crate) struct Shaq;

impl Transport for Shaq {
    type Sender<R: Record> = Producer<R>;
    type Receiver<R: Record> = Consumer<R>;

    fn sender<R: Record>(way: &Way) -> Result<Producer<R>, Failure> {
        way.wait_for("made")?;
        let file = file(way)?;
        // SAFETY: the consumer created and initialized the queue, and this is its only producer. A
        // record consists of plain words: it is valid in both processes and has the same type in
        // both.
        let producer = unsafe { Producer::join(&file) };
        producer.map_err(|error| format!("could not join the queue: {error:?}").into())
    }

    fn receiver<R: Record>(way: &Way) -> Result<Consumer<R>, Failure> {
        // SAFETY: the file is new, its name belongs to this direction only, and the producer waits.
        // So this call initializes the queue, once. A record consists of plain words, valid in both
        // processes.
        let consumer = unsafe { Consumer::create(&file(way)?, minimum_file_size::<R>(DEPTH)) };
        let consumer =
            consumer.map_err(|error| format!("could not create the queue: {error:?}"))?;
        way.post("made", "")?;
        Ok(consumer)
    }
}

fn file(way: &Way) -> std::io::Result<File> {
    let path = format!("/dev/shm/{}", way.name());
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

impl<R: Record> transport::Sender<R> for Producer<R> {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        spin(|| self.try_write(*record).ok());
        Ok(())
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        let mut left = records;
        while !left.is_empty() {
            let mut batch = self.write_batch();
            let full = left.iter().position(|record| batch.try_write(*record).is_err());
            left = &left[full.unwrap_or(left.len())..];
        }
        Ok(())
    }
}

impl<R: Record> transport::Receiver<R> for Consumer<R> {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        tally.take(spin(|| self.try_read()).sequence());
        Ok(())
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        const { assert!(MOST > 0) };
        let most = NonZeroUsize::new(MOST).unwrap_or(NonZeroUsize::MIN);
        loop {
            let Some(batch) = self.try_reserve_read_batch(most) else {
                std::hint::spin_loop();
                continue;
            };
            batch.iter().for_each(|record| tally.take(record.sequence()));
            return Ok(());
        }
    }
}
