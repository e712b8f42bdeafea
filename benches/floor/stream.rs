//! The floor of a stream of small packets: slots of one or two cache lines, written by one process
//! and checked in place by another, in as much memory as the ring has.

use super::slots::{BATCH, Lines, Order, Slots};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, millions};
use crate::shared::Shared;
use packetring::Settings;
use std::time::Instant;

/// Packets that are measured.
const PACKETS: u64 = 4_000_000;

/// A process writes slots, another reads them.
#[derive(Clone, Copy)]
pub(crate) struct SlotStream {
    pub(crate) order: Order,
    /// Bytes of a packet: 48 or 64.
    pub(crate) payload: usize,
    /// Bytes of memory.
    pub(crate) capacity: usize,
}

impl SlotStream {
    /// Packets of 48 bytes in as much memory as a ring with default settings has.
    pub(crate) fn of_default_ring(order: Order) -> Self {
        Self { order, payload: 48, capacity: Settings::default().capacity }
    }

    fn measure_in<const WORDS: usize>(
        &self,
        slots: Slots<'_, WORDS>,
        run: &Run,
    ) -> Outcome<(u64, Instant)> {
        // Two laps warm up.
        let (warm_up, packets) = (2 * slots.count(), run.count(PACKETS));
        slots.read(0..warm_up, &run.poll())?;
        let started = Instant::now();
        slots.read(warm_up..warm_up + packets, &run.poll())?;
        Ok((packets, started))
    }

    fn write_in<const WORDS: usize>(&self, slots: Slots<'_, WORDS>, side: &Side) -> Outcome<()> {
        let end = 2 * slots.count() + side.run.count(PACKETS);
        Ok(slots.write(self.order, 0..end, &side.poll())?)
    }
}

impl Scenario for SlotStream {
    fn name(&self) -> String {
        let (order, mebibytes) = (self.order.name(), self.capacity >> 20);
        format!("floor_{order}_{}_{mebibytes}m", self.payload)
    }

    fn about(&self) -> String {
        let how = match self.order {
            Order::Single => "with the fewest stores".to_owned(),
            Order::Claimed => "each claimed by a compare-and-swap, with the fewest stores".into(),
            Order::ClaimedByWords => "each claimed by a compare-and-swap, stored by words".into(),
            Order::Batches => format!("in batches of {BATCH} with the first stamp last"),
            Order::BatchesPastCaches => {
                format!("in batches of {BATCH} by non-temporal stores, the first packet last")
            }
        };
        let (payload, capacity) = (self.payload, self.capacity >> 10);
        format!("bare slots of {payload} bytes in {capacity} KiB, written {how}")
    }

    fn payload(&self) -> usize {
        self.payload
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let lines: Shared<Lines> = Shared::create(&run.object())?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (packets, started) = match self.payload {
            64 => self.measure_in(Slots::<8>::new(&lines, self.capacity), run)?,
            _ => self.measure_in(Slots::<6>::new(&lines, self.capacity), run)?,
        };
        let took = started.elapsed();
        partner.finish()?;
        Ok(Sample::of(millions(packets, took)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let lines: Shared<Lines> = Shared::open(&side.run.object())?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        match self.payload {
            64 => self.write_in(Slots::<8>::new(&lines, self.capacity), side),
            _ => self.write_in(Slots::<6>::new(&lines, self.capacity), side),
        }
    }
}
