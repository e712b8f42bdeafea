//! A stream of small packets to a task, which is always busy, beside the same stream to a thread
//! that blocks.
//!
//! The floor is the reader that blocks: `recv` beside `recv_async`, and the iterator of owned
//! values beside their stream. The publisher sends batches, which is faster than receiving one
//! packet at a time. So the ring is rarely empty, and the task has no reason to sleep.

use super::executor::{self, Task};
use super::packets::{Numbered, Tick};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, millions};
use futures_core::Stream;
use packetring::{Publisher, Ring, RingBuilder, Subscriber, Wait};
use std::future::poll_fn;
use std::hint::black_box;
use std::pin::Pin;
use std::time::Instant;

/// Packets before the clock starts: two laps.
const WARM_UP: u64 = 1 << 15;
/// Packets that are measured.
const PACKETS: u64 = 4_000_000;

/// Packets of one `send_all`.
const BATCH: u64 = 32;

/// What the reader takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Packets in place.
    Packets,
    /// Owned values.
    Values,
}

/// A stream of packets to a reader that takes one at a time.
pub(crate) struct StreamAsync {
    taken: Taken,
    blocks: bool,
}

impl StreamAsync {
    /// To a task.
    pub(crate) fn new(taken: Taken) -> Self {
        Self { taken, blocks: false }
    }

    fn ring() -> RingBuilder {
        Ring::builder().exclusive().wait(Wait::spin())
    }

    /// Takes the packets of these numbers. Returns when it began with the second range.
    fn take(&self, from: &mut Subscriber<Tick>, end: u64) -> Outcome<Instant> {
        let mut started = Instant::now();
        let mut note = |number| {
            if number == WARM_UP {
                started = Instant::now();
            }
        };
        match (self.taken, self.blocks) {
            (Taken::Packets, true) => {
                for number in 0..end {
                    note(number);
                    check(Tick::is(black_box(&*from.recv()?), number), number)?;
                }
            }
            (Taken::Values, true) => {
                for (number, value) in (0..end).zip(from.values()) {
                    note(number);
                    check(black_box(value?).number == number, number)?;
                }
            }
            (Taken::Packets, false) => run(async {
                for number in 0..end {
                    note(number);
                    check(Tick::is(black_box(&*from.recv_async().await?), number), number)?;
                }
                Ok(())
            })?,
            (Taken::Values, false) => run(async {
                let mut values = from.stream();
                for number in 0..end {
                    note(number);
                    let next = poll_fn(|context| Pin::new(&mut values).poll_next(context));
                    let value = next.await.ok_or("the stream ended")??;
                    check(black_box(value).number == number, number)?;
                }
                Ok(())
            })?,
        }
        Ok(started)
    }
}

/// Runs one task to its end.
fn run(task: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    let task: Task<'_> = Box::pin(task);
    executor::run(vec![task], || {})
}

impl Scenario for StreamAsync {
    fn name(&self) -> String {
        match self.taken {
            Taken::Packets => "stream_async_48".into(),
            Taken::Values => "stream_async_values_48".into(),
        }
    }

    fn about(&self) -> String {
        let how = match (self.taken, self.blocks) {
            (Taken::Packets, true) => "recv of each",
            (Taken::Values, true) => "the iterator of owned values",
            (Taken::Packets, false) => "recv_async of each in a busy task",
            (Taken::Values, false) => "the stream of owned values in a busy task",
        };
        format!("typed, checked packets, exclusive ring, send_all of 32, {how}")
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(Self { blocks: true, ..*self }))
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target::RatioAtLeast(0.8)]
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut packets = Self::ring().open(&run.ring(THERE))?.subscriber()?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let counted = run.count(PACKETS);
        let started = self.take(&mut packets, WARM_UP + counted)?;
        let took = started.elapsed();
        partner.finish()?;
        Ok(Sample::of(millions(counted, took)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let ring = Self::ring().attach(&side.run.ring(THERE))?;
        let mut packets: Publisher<Tick> = ring.publisher()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let mut batch: Vec<Tick> = (0..BATCH).map(|_| Tick::blank()).collect();
        let end = WARM_UP + side.run.count(PACKETS);
        for start in (0..end).step_by(BATCH as usize) {
            let some = &mut batch[..BATCH.min(end - start) as usize];
            some.iter_mut().zip(start..).for_each(|(packet, number)| packet.set(number));
            packets.send_all(black_box(some))?;
        }
        Ok(())
    }
}
