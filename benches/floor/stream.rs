//! The floor of a stream of small packets: slots of one cache line, copied in and copied out.
//!
//! With claims, the writer takes each slot by a compare-and-swap, as several writers would have to.
//! There is only one writer, so no claim fails.

use super::slots::Slots;
use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, millions};
use crate::shared::Shared;
use std::time::Instant;

/// Packets before the clock runs: two laps.
const WARM_UP: u64 = 1 << 15;
/// Packets that are measured.
const PACKETS: u64 = 4_000_000;

/// A process writes slots, another reads them.
pub(crate) struct SlotStream {
    pub(crate) claims: bool,
}

impl Scenario for SlotStream {
    fn name(&self) -> String {
        if self.claims { "floor_cas_stream" } else { "floor_slot_stream" }.into()
    }

    fn about(&self) -> String {
        let claimed = if self.claims { ", each claimed by a compare-and-swap" } else { "" };
        format!("bare slots of 48 bytes{claimed}, copied in and out")
    }

    fn payload(&self) -> usize {
        48
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let slots: Shared<Slots> = Shared::create(&run.object())?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let packets = run.count(PACKETS);
        slots.read(0..WARM_UP, &run.poll())?;
        let started = Instant::now();
        slots.read(WARM_UP..WARM_UP + packets, &run.poll())?;
        let took = started.elapsed();
        partner.finish()?;
        Ok(Sample::of(millions(packets, took)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let slots: Shared<Slots> = Shared::open(&side.run.object())?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let end = WARM_UP + side.run.count(PACKETS);
        if self.claims {
            slots.claim_and_write(end, &side.poll())?;
        } else {
            slots.write(0..end, &side.poll())?;
        }
        Ok(())
    }
}
