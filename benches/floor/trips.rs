//! The floors of a round trip: one cache line for each direction if both sides spin, one futex for
//! each direction if both sides sleep.

use super::futex::Words;
use crate::bounce::Lines;
use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, latencies};
use crate::shared::Shared;
use std::time::{Duration, Instant};

/// Trips before recording starts.
const WARM_UP: u64 = 2_000;
/// Trips that are recorded.
const TRIPS: u64 = 100_000;
/// Both numbers for sleepers, which take a thousand times as long.
const WARM_UP_ASLEEP: u64 = 20;
const TRIPS_ASLEEP: u64 = 1_000;
/// Pause between two trips, so that the other side is asleep again.
pub(crate) const PAUSE_ASLEEP: Duration = Duration::from_micros(150);

/// A number there and back, on one cache line for each direction.
pub(crate) struct Bounce;

impl Scenario for Bounce {
    fn name(&self) -> String {
        "floor_bounce".into()
    }

    fn about(&self) -> String {
        "a number there and back, one bare cache line each way".into()
    }

    fn payload(&self) -> usize {
        8
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let lines: Shared<Lines> = Shared::create(&run.object())?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (poll, mut trips) = (run.poll(), latencies()?);
        for number in 1..=WARM_UP + run.count(TRIPS) {
            let started = Instant::now();
            lines.call(number, &poll)?;
            let took = started.elapsed().as_nanos() as u64;
            if number > WARM_UP {
                trips.saturating_record(took);
            }
        }
        partner.finish()?;
        Ok(Sample::of_latencies(trips, self.unit()))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let lines: Shared<Lines> = Shared::open(&side.run.object())?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let poll = side.poll();
        for number in 1..=WARM_UP + side.run.count(TRIPS) {
            lines.answer(number, &poll)?;
        }
        Ok(())
    }
}

/// A number there and back between two sleeping processes.
pub(crate) struct FutexTrip;

impl Scenario for FutexTrip {
    fn name(&self) -> String {
        "floor_futex".into()
    }

    fn about(&self) -> String {
        "a number there and back, a bare futex each way, both sides asleep".into()
    }

    fn payload(&self) -> usize {
        4
    }

    fn unit(&self) -> Unit {
        Unit::Microseconds
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let words: Shared<Words> = Shared::create(&run.object())?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let mut trips = latencies()?;
        for number in 1..=WARM_UP_ASLEEP + run.count(TRIPS_ASLEEP) {
            run.pause(PAUSE_ASLEEP);
            let started = Instant::now();
            words.call(number as u32)?;
            let took = started.elapsed().as_nanos() as u64;
            if number > WARM_UP_ASLEEP {
                trips.saturating_record(took);
            }
        }
        partner.finish()?;
        Ok(Sample::of_latencies(trips, self.unit()))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let words: Shared<Words> = Shared::open(&side.run.object())?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        for number in 1..=WARM_UP_ASLEEP + side.run.count(TRIPS_ASLEEP) {
            words.answer(number as u32)?;
        }
        Ok(())
    }
}
