//! The two works, as each side of a case does them.
//!
//! A round trip: one record under way, there and back; each is timed by itself. A stream: records
//! one way, one at a time or in batches, timed by the reader. Both ends are opened first and pinned
//! then, so that threads of a peer's own may run wherever there is room.

use crate::bounce::Lines;
use crate::cores::Cores;
use crate::peers::floor;
use crate::record::Record;
use crate::shared::{Poll, Shared};
use crate::tally::Tally;
use crate::transport::{BATCH, DEPTH, Failure, Receiver, Sender, Transport};
use crate::way::Way;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Records before the clock runs in a stream: two laps.
const STREAM_WARM_UP: u64 = 2 * DEPTH as u64;

/// Which of the two sides of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    /// It measures: the caller of round trips, the reader of a stream.
    Measuring,
    /// It answers or writes.
    Other,
}

/// What is done, whatever the record's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RoundTrip,
    Stream,
    Batch,
}

/// One side of one case.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) cores: Cores,
    /// Round trips or records that are measured.
    pub(crate) count: u64,
    pub(crate) may_lose: bool,
    pub(crate) there: Way,
    pub(crate) back: Way,
}

/// What one run of a case gave.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Nanoseconds: the median round trip, or what a record took that was read.
    pub(crate) ns: f64,
    /// The 99th percentile of the round trips.
    pub(crate) p99: Option<f64>,
    /// Records of the measured ones that were lost.
    pub(crate) lost: u64,
}

impl Task {
    /// Does this side's part. The side that measures leaves the outcome as a word.
    pub(crate) fn run<T: Transport, R: Record>(&self) -> Result<(), Failure> {
        let pin = if self.side == Side::Measuring { self.cores.0 } else { self.cores.1 };
        let _pinned = self.cores.pin_before_joining(pin)?;
        match (self.kind, self.side) {
            (Kind::RoundTrip, Side::Measuring) => self.call::<T, R>(pin),
            (Kind::RoundTrip, Side::Other) => self.answer::<T, R>(pin),
            (_, Side::Measuring) => self.read::<T, R>(pin),
            (_, Side::Other) => self.write::<T, R>(pin),
        }
    }

    /// Round trips that are not measured.
    fn warm_up(&self) -> u64 {
        self.count / 10
    }

    fn call<T: Transport, R: Record>(&self, pin: usize) -> Result<(), Failure> {
        let mut pings = T::sender::<R>(&self.there)?;
        let mut pongs = T::receiver::<R>(&self.back)?;
        let _pinned = self.cores.pin_after_joining(pin)?;
        let mut tally = Tally::endless();
        self.time_calls(|sequence| {
            pings.send(&R::of(sequence))?;
            receive_until(&mut pongs, &mut tally, sequence + 1)
        })?;
        self.part()
    }

    fn answer<T: Transport, R: Record>(&self, pin: usize) -> Result<(), Failure> {
        let mut pings = T::receiver::<R>(&self.there)?;
        let mut pongs = T::sender::<R>(&self.back)?;
        let _pinned = self.cores.pin_after_joining(pin)?;
        let mut tally = Tally::endless();
        for sequence in 0..self.warm_up() + self.count {
            receive_until(&mut pings, &mut tally, sequence + 1)?;
            pongs.send(&R::of(sequence))?;
        }
        self.part()
    }

    fn read<T: Transport, R: Record>(&self, pin: usize) -> Result<(), Failure> {
        let mut records = T::receiver::<R>(&self.there)?;
        let _pinned = self.cores.pin_after_joining(pin)?;
        let mut tally = Tally::new(STREAM_WARM_UP, self.count, self.may_lose);
        if self.kind == Kind::Batch {
            while !tally.is_over() {
                records.receive_batch(&mut tally)?;
            }
        } else {
            while !tally.is_over() {
                records.receive(&mut tally)?;
            }
        }
        let (ns, lost) = tally.finish()?;
        self.report(Measured { ns, p99: None, lost })?;
        self.part()
    }

    fn write<T: Transport, R: Record>(&self, pin: usize) -> Result<(), Failure> {
        let mut records = T::sender::<R>(&self.there)?;
        let _pinned = self.cores.pin_after_joining(pin)?;
        let end = STREAM_WARM_UP + self.count + 1;
        if self.kind == Kind::Batch {
            let mut batch = Vec::with_capacity(BATCH);
            for start in (0..end).step_by(BATCH) {
                batch.clear();
                batch.extend((start..end.min(start + BATCH as u64)).map(R::of));
                records.send_batch(&batch)?;
            }
        } else {
            for sequence in 0..end {
                records.send(&R::of(sequence))?;
            }
        }
        records.finish()?;
        self.part()
    }

    /// Neither side lets go of what they share before both are done.
    fn part(&self) -> Result<(), Failure> {
        let (mine, other) = match self.side {
            Side::Measuring => ("measuring-done", "other-done"),
            Side::Other => ("other-done", "measuring-done"),
        };
        self.there.tell(mine, "")?;
        self.there.learn(other)?;
        Ok(())
    }

    /// The floor of a round trip, for which there is no record.
    pub(crate) fn bounce(&self) -> Result<(), Failure> {
        let is_caller = self.side == Side::Measuring;
        let pin = if is_caller { self.cores.0 } else { self.cores.1 };
        let lines: Shared<Lines> = floor::lines(&self.there, is_caller)?;
        let _before = self.cores.pin_before_joining(pin)?;
        let _after = self.cores.pin_after_joining(pin)?;
        let poll = Poll { yields: self.cores.are_one(), parent: None };
        // A number for a round trip: 0 is what a fresh line holds.
        if is_caller {
            self.time_calls(|sequence| Ok(lines.call(sequence + 1, &poll)?))?;
        } else {
            (1..=self.warm_up() + self.count).try_for_each(|number| lines.answer(number, &poll))?;
        }
        self.part()
    }

    fn time_calls(&self, mut call: impl FnMut(u64) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut times = Histogram::<u64>::new_with_max(60_000_000_000, 3)?;
        for sequence in 0..self.warm_up() + self.count {
            let started = Instant::now();
            call(sequence)?;
            if sequence >= self.warm_up() {
                times.saturating_record(started.elapsed().as_nanos() as u64);
            }
        }
        let quantile = |quantile| times.value_at_quantile(quantile) as f64;
        self.report(Measured { ns: quantile(0.5), p99: Some(quantile(0.99)), lost: 0 })
    }

    fn report(&self, measured: Measured) -> Result<(), Failure> {
        self.there.tell("outcome", &serde_json::to_string(&measured)?)
    }
}

/// Receives until so many records came, in order.
#[inline]
fn receive_until<R>(
    from: &mut impl Receiver<R>,
    tally: &mut Tally,
    count: u64,
) -> Result<(), Failure> {
    while tally.count() < count {
        from.receive(tally)?;
        tally.check()?;
    }
    Ok(())
}
