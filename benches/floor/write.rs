//! The floor of publishing: one process writes slots without a reader.

use super::slots::{Lines, Order, Slots};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, median};
use crate::shared::Shared;
use std::time::Instant;

/// Packets in one burst: a quarter of the slots.
const BURST: u64 = 1 << 12;
/// Bytes of the slots: as many as the scenarios have in their rings.
const CAPACITY: usize = 1 << 20;

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
        let lines: Shared<Lines> = Shared::create(&run.object())?;
        let slots = Slots::<6>::new(&lines, CAPACITY);
        let mut costs = Vec::new();
        // The first two laps warm up.
        for burst in 0..8 + run.count(100) {
            let first = burst * BURST;
            slots.release(first + 2 * slots.count());
            let started = Instant::now();
            slots.write(Order::Single, first..first + BURST, &run.poll())?;
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
