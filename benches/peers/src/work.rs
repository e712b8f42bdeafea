//! The works with a channel, and each side's part of them. The works with a cell are in `cell`.
//!
//! - Round trip: one record in flight, there and back. Each trip is timed by itself.
//! - Stream: records in one direction, one at a time or in batches. The reader times them.
//!
//! Each side opens its endpoints before it is pinned, so that threads of the peer may run on any
//! core.

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

/// Records of a stream before the clock starts: two laps.
const STREAM_WARM_UP: u64 = 2 * DEPTH as u64;
/// Operations with a cell that are timed together.
pub(crate) const BURST: u64 = 1 << 12;

/// A side of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    /// The side that measures: the caller of round trips, the reader of a stream, the writer or
    /// the reader of a cell.
    Measuring,
    /// The side that answers or writes, or checks a measured writer.
    Other,
}

/// Kind of work, for any size of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RoundTrip,
    Stream,
    Batch,
    /// Writes of a cell.
    Write,
    /// Writes of a cell while the other process reads it.
    WatchedWrite,
    /// Reads of a cell.
    Read,
}

impl Kind {
    /// Returns true if the work needs a cell instead of a channel.
    pub(crate) fn is_cell(self) -> bool {
        matches!(self, Self::Write | Self::WatchedWrite | Self::Read)
    }
}

/// The part of one side of a case.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) cores: Cores,
    /// Round trips, records or bursts to measure.
    pub(crate) count: u64,
    pub(crate) may_lose: bool,
    pub(crate) there: Way,
    pub(crate) back: Way,
}

/// Result of one run of a case.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Nanoseconds: the median round trip, the time per record that was read, or the time per
    /// operation of the median burst.
    pub(crate) ns: f64,
    /// 99th and 99.9th percentile of the round trips in nanoseconds.
    pub(crate) tails: Option<[f64; 2]>,
    /// Measured records that were lost.
    pub(crate) lost: u64,
}

impl Task {
    /// Runs this side. The measuring side posts the result as a note.
    pub(crate) fn run<T: Transport, R: Record>(&self) -> Result<(), Failure> {
        let pin = self.pin();
        let _pinned = self.cores.pin_before_joining(pin)?;
        match (self.kind, self.side) {
            (Kind::RoundTrip, Side::Measuring) => self.call::<T, R>(pin),
            (Kind::RoundTrip, Side::Other) => self.answer::<T, R>(pin),
            (_, Side::Measuring) => self.read::<T, R>(pin),
            (_, Side::Other) => self.write::<T, R>(pin),
        }
    }

    /// The core of this side.
    pub(crate) fn pin(&self) -> usize {
        if self.side == Side::Measuring { self.cores.0 } else { self.cores.1 }
    }

    /// Round trips or bursts before recording starts.
    pub(crate) fn warm_up(&self) -> u64 {
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
        self.finish_together()
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
        self.finish_together()
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
        self.report(Measured { ns, tails: None, lost })?;
        self.finish_together()
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
        self.finish_together()
    }

    /// Waits until both sides are done, so that neither closes the channel too early.
    pub(crate) fn finish_together(&self) -> Result<(), Failure> {
        let (mine, other) = match self.side {
            Side::Measuring => ("measuring-done", "other-done"),
            Side::Other => ("other-done", "measuring-done"),
        };
        self.there.post(mine, "")?;
        self.there.wait_for(other)?;
        Ok(())
    }

    /// The floor of a round trip, which has no record.
    pub(crate) fn bounce(&self) -> Result<(), Failure> {
        let (is_caller, pin) = (self.side == Side::Measuring, self.pin());
        let lines: Shared<Lines> = floor::lines(&self.there, is_caller)?;
        let _before = self.cores.pin_before_joining(pin)?;
        let _after = self.cores.pin_after_joining(pin)?;
        let poll = Poll { yields: self.cores.are_one(), parent: None };
        // Numbers start at 1, because a fresh line holds 0.
        if is_caller {
            self.time_calls(|sequence| Ok(lines.call(sequence + 1, &poll)?))?;
        } else {
            (1..=self.warm_up() + self.count).try_for_each(|number| lines.answer(number, &poll))?;
        }
        self.finish_together()
    }

    /// Times each call by itself.
    fn time_calls(&self, call: impl FnMut(u64) -> Result<(), Failure>) -> Result<(), Failure> {
        let times = self.times(call, || true)?;
        let quantile = |quantile| times.value_at_quantile(quantile) as f64;
        let tails = Some([quantile(0.99), quantile(0.999)]);
        self.report(Measured { ns: quantile(0.5), tails, lost: 0 })
    }

    /// Times operations in bursts: a single one takes less time than reading the clock. `counts` is
    /// called after each burst, and returns false if its time does not count.
    pub(crate) fn time_bursts(
        &self,
        mut operation: impl FnMut(u64) -> Result<(), Failure>,
        counts: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        let burst = |burst| (burst * BURST..(burst + 1) * BURST).try_for_each(&mut operation);
        let times = self.times(burst, counts)?;
        if times.len() < self.count.div_ceil(100) {
            let (counted, all) = (times.len(), self.count);
            return Err(format!("the other side read in only {counted} of {all} bursts").into());
        }
        let ns = times.value_at_quantile(0.5) as f64 / BURST as f64;
        self.report(Measured { ns, tails: None, lost: 0 })
    }

    /// Nanoseconds of each call that counts, after the warm-up. A call gets its number.
    fn times(
        &self,
        mut call: impl FnMut(u64) -> Result<(), Failure>,
        mut counts: impl FnMut() -> bool,
    ) -> Result<Histogram<u64>, Failure> {
        let mut times = Histogram::<u64>::new_with_max(60_000_000_000, 3)?;
        for sequence in 0..self.warm_up() + self.count {
            let started = Instant::now();
            call(sequence)?;
            let took = started.elapsed().as_nanos() as u64;
            if sequence >= self.warm_up() && counts() {
                times.saturating_record(took);
            }
        }
        Ok(times)
    }

    fn report(&self, measured: Measured) -> Result<(), Failure> {
        self.there.post("outcome", &serde_json::to_string(&measured)?)
    }
}

/// Receives until `count` records have arrived in order.
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
