//! A publisher to several subscribers, each a process that reads every packet.
//!
//! The publisher runs on the first core. The subscribers alternate between the second core and the
//! first. The clock runs from the first measured packet until every subscriber has read the last.
//! The floor is one bare writer and one bare reader.

use super::packets::{Numbered, Tick};
use crate::cores::Cores;
use crate::floor::{Order, SlotStream};
use crate::harness::{
    Curve, Outcome, Partner, Run, Sample, Scenario, Side, THERE, Unit, check, millions,
};
use packetring::{Publisher, Ring, RingBuilder, Subscriber};
use std::time::Instant;

/// Packets before the clock starts: two laps.
const WARM_UP: u64 = 1 << 15;
/// Packets that are measured.
const PACKETS: u64 = 1_000_000;

/// A publisher and several subscribers.
pub(crate) struct FanOut {
    pub(crate) subscribers: u32,
}

impl FanOut {
    fn ring() -> RingBuilder {
        Ring::builder().exclusive()
    }
}

fn send(ticks: &mut Publisher<Tick>, from: u64, end: u64) -> Outcome<()> {
    let mut tick = Tick::blank();
    for number in from..end {
        tick.set(number);
        ticks.send(&tick)?;
    }
    Ok(())
}

impl Scenario for FanOut {
    fn name(&self) -> String {
        format!("fan_out_{}", self.subscribers)
    }

    fn about(&self) -> String {
        format!("exclusive ring, one publisher, {} subscribers on two cores", self.subscribers)
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(SlotStream::of_default_ring(Order::Single)))
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn point(&self) -> Option<(Curve, u64)> {
        Some((Curve::Readers, u64::from(self.subscribers)))
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut ticks = Self::ring().open(&run.ring(THERE))?.publisher()?;
        let start = |role| run.start(role);
        let mut readers = (0..self.subscribers).map(start).collect::<Outcome<Vec<Partner>>>()?;
        let _pinned = run.pin_after_joining()?;
        send(&mut ticks, 0, WARM_UP)?;
        let started = Instant::now();
        let packets = run.count(PACKETS);
        send(&mut ticks, WARM_UP, WARM_UP + packets)?;
        for reader in &mut readers {
            reader.read_line()?;
        }
        let took = started.elapsed();
        readers.into_iter().try_for_each(Partner::finish)?;
        Ok(Sample::of(millions(packets, took)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let Cores(first, second) = side.run.cores;
        let core = if side.role.is_multiple_of(2) { second } else { first };
        let _pinned = side.run.cores.pin_before_joining(core)?;
        let ring = Self::ring().attach(&side.run.ring(THERE))?;
        let mut ticks: Subscriber<Tick> = ring.subscriber()?;
        side.ready()?;
        let _pinned = side.run.cores.pin_after_joining(core)?;
        for number in 0..WARM_UP + side.run.count(PACKETS) {
            check(Tick::is(&*ticks.recv()?, number), number)?;
        }
        side.report("read")
    }
}
