//! The floor of publishing: one process writes slots without a reader.

use super::slots::{SLOTS, Slots};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, median};
use crate::shared::Shared;
use std::time::Instant;

/// Packets in one burst: a quarter of the slots.
const BURST: u64 = SLOTS as u64 / 4;

/// Bursts of writes without a reader.
pub(crate) struct SlotWrite;

impl Scenario for SlotWrite {
    fn name(&self) -> String {
        "floor_slot_write".into()
    }

    fn about(&self) -> String {
        "bare slots of 48 bytes, written and stamped".into()
    }

    fn payload(&self) -> usize {
        48
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let run = run.on_one_core();
        let _pinned = run.pin_before_joining()?;
        let slots: Shared<Slots> = Shared::create(&run.object())?;
        let mut costs = Vec::new();
        // The first two laps warm up.
        for burst in 0..8 + run.count(100) {
            let first = burst * BURST;
            slots.release(first + 2 * SLOTS as u64);
            let started = Instant::now();
            slots.write(first..first + BURST, &run.poll())?;
            let took = started.elapsed();
            if burst >= 8 {
                costs.push(took.as_nanos() as f64 / BURST as f64);
            }
        }
        Ok(Sample::of(median(&costs)))
    }

    fn serve(&self, _: &mut Side) -> Outcome<()> {
        Err("floor_slot_write has no partner".into())
    }
}
