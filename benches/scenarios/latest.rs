//! The latest value: writes and reads of a cell of 48 bytes, and a change that another process
//! reads.
//!
//! - Write: one process replaces the value, without readers. The floor: bare slots.
//! - Read: one process reads and checks the value that it read before.
//! - Read after a change: one process replaces the value and reads the new one; the pair is timed.
//! - Round trip: two processes answer each other through two cells, spinning. The floor: a bare
//!   cache line that is bounced.

use super::packets::{Numbered, Tick};
use crate::floor::{Bounce, SlotWrite};
use crate::harness::{
    BACK, Outcome, Phase, Run, Sample, Scenario, Side, THERE, Target, Unit, check, latencies,
    median,
};
use packetring::board::{BoardBuilder, LatestReader, LatestWriter};
use packetring::{Latest, Wait};
use std::hint::black_box;
use std::time::Instant;

/// Operations that are timed together.
const BURST: u64 = 1 << 12;
/// Bursts of the warm-up.
const WARM_UP: u64 = 8;

/// Operations of one process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnCell {
    /// Writes.
    Write,
    /// Reads of a value that was read before.
    Read,
    /// A write, and a read of the new value.
    WriteAndRead,
}

/// Round trips through two cells.
pub(crate) struct CellTrip;

fn builder() -> BoardBuilder {
    Latest::<Tick>::builder()
}

impl Scenario for OnCell {
    fn name(&self) -> String {
        match self {
            Self::Write => "latest_write_48".into(),
            Self::Read => "latest_read_48".into(),
            Self::WriteAndRead => "latest_write_and_read_48".into(),
        }
    }

    fn about(&self) -> String {
        match self {
            Self::Write => "one write of a latest value without readers".into(),
            Self::Read => "one checked read of a latest value that was read before".into(),
            Self::WriteAndRead => "one write of a latest value and one checked read of it".into(),
        }
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        (*self == Self::Write).then(|| Box::new(SlotWrite) as Box<dyn Scenario>)
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::OneCore)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let run = run.on_one_core();
        let _pinned = run.pin_before_joining()?;
        let latest: Latest<Tick> = builder().open_latest(&run.ring(THERE))?;
        let mut writer = latest.writer()?;
        let mut reader = latest.reader()?;
        let mut tick = Tick::blank();
        writer.write(&tick)?;
        let mut costs = Vec::new();
        for burst in 0..WARM_UP + run.count(100) {
            let started = Instant::now();
            for number in burst * BURST..(burst + 1) * BURST {
                if *self != Self::Read {
                    tick.set(number);
                    writer.write(black_box(&tick))?;
                }
                if *self != Self::Write {
                    check(Tick::is(&*black_box(&mut reader).read()?, tick.number), number)?;
                }
            }
            let cost = started.elapsed().as_nanos() as f64 / BURST as f64;
            if burst >= WARM_UP {
                costs.push(cost);
            }
        }
        Ok(Sample::of(median(&costs)))
    }

    fn serve(&self, _: &mut Side) -> Outcome<()> {
        Err("this scenario has no partner".into())
    }
}

impl CellTrip {
    fn open(run: &Run, way: &str) -> Outcome<Latest<Tick>> {
        Ok(builder().wait(Wait::spin()).open_latest(&run.ring(way))?)
    }

    /// Trips before recording starts, and trips that are recorded.
    fn trips(run: &Run) -> (u64, u64) {
        (2_000, run.count(100_000))
    }
}

impl Scenario for CellTrip {
    fn name(&self) -> String {
        "latest_round_trip_48".into()
    }

    fn about(&self) -> String {
        "a changed latest value there and one back, checked, both sides spinning; p50".into()
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(Bounce))
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut there: LatestWriter<Tick> = Self::open(run, THERE)?.writer()?;
        let mut back: LatestReader<Tick> = Self::open(run, BACK)?.reader()?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (mut tick, mut trips) = (Tick::blank(), latencies()?);
        let (warm_up, counted) = Self::trips(run);
        for number in 0..warm_up + counted {
            tick.set(number);
            let started = Instant::now();
            there.write(&tick)?;
            let answer = back.wait_changed()?;
            let took = started.elapsed().as_nanos() as u64;
            check(Tick::is(&answer, number), number)?;
            if number >= warm_up {
                trips.saturating_record(took);
            }
        }
        partner.finish()?;
        Ok(Sample::of_latencies(trips, self.unit()))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let mut there: LatestReader<Tick> = Self::open(&side.run, THERE)?.reader()?;
        let mut back: LatestWriter<Tick> = Self::open(&side.run, BACK)?.writer()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let mut tick = Tick::blank();
        let (warm_up, counted) = Self::trips(&side.run);
        for number in 0..warm_up + counted {
            check(Tick::is(&*there.wait_changed()?, number), number)?;
            tick.set(number);
            back.write(&tick)?;
        }
        Ok(())
    }
}
