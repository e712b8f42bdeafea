//! The cost of publishing with a number of subscribers, while none of them runs.
//!
//! The publisher sends a burst of a quarter of the ring, which is timed. Then the subscribers, all
//! in one other process, read and check the burst in turn, while the publisher waits. Both
//! processes share one core: so a burst finds the slots in the same cache whether they were read or
//! not.
//!
//! Without subscribers the floor is writing bare slots. With subscribers it is publishing without.

use super::packets::{Numbered, Tick};
use crate::floor::SlotWrite;
use crate::harness::{
    Curve, Outcome, Partner, Phase, Run, Sample, Scenario, Side, THERE, Target, Unit, check, median,
};
use packetring::{Publisher, Ring, RingBuilder, Subscriber};
use std::hint::black_box;
use std::time::Instant;

/// Packets of one burst: a quarter of the default ring.
const BURST: u64 = 1 << 12;
/// Bursts of the warm-up: two laps.
const WARM_UP: u64 = 8;

/// Publishing with a number of subscribers.
pub(crate) struct Publish {
    pub(crate) subscribers: usize,
}

impl Publish {
    fn ring() -> RingBuilder {
        Ring::builder().exclusive()
    }
}

impl Scenario for Publish {
    fn name(&self) -> String {
        format!("publish_{}_subscribers", self.subscribers)
    }

    fn about(&self) -> String {
        format!("one send, {} subscribers that read in turn, none running", self.subscribers)
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        match self.subscribers {
            0 => Some(Box::new(SlotWrite)),
            _ => Some(Box::new(Self { subscribers: 0 })),
        }
    }

    fn targets(&self) -> Vec<Target> {
        if self.subscribers > 0 { vec![Target::RatioAtMost(1.1)] } else { Vec::new() }
    }

    fn is_headline(&self) -> bool {
        [0, 8, 64].contains(&self.subscribers)
    }

    fn point(&self) -> Option<(Curve, u64)> {
        Some((Curve::Subscribers, self.subscribers as u64))
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::OneCore)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let run = run.on_one_core();
        let _pinned = run.pin_before_joining()?;
        let ring = Self::ring().open(&run.ring(THERE))?;
        let mut ticks = ring.publisher()?;
        let mut readers = run.start(0)?;
        if ticks.subscribers() != self.subscribers {
            let (found, expected) = (ticks.subscribers(), self.subscribers);
            return Err(format!("wrong number of subscribers: {found} of {expected}").into());
        }
        let mut costs = Vec::new();
        for burst in 0..WARM_UP + run.count(100) {
            let cost = send_burst(&mut ticks, burst * BURST)?;
            read_burst(&mut readers)?;
            if burst >= WARM_UP {
                costs.push(cost);
            }
        }
        readers.finish()?;
        Ok(Sample::of(median(&costs)))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let ring = Self::ring().attach(&side.run.ring(THERE))?;
        let join = |_| ring.subscriber().map_err(Into::into);
        let mut readers: Vec<Subscriber<Tick>> =
            (0..self.subscribers).map(join).collect::<Outcome<_>>()?;
        side.ready()?;
        let mut first = 0;
        while Side::wait_for_order()? {
            for reader in &mut readers {
                for number in first..first + BURST {
                    check(Tick::is(&*reader.try_recv()?, number), number)?;
                }
            }
            first += BURST;
            side.report("read")?;
        }
        Ok(())
    }
}

/// Sends a burst. Returns the nanoseconds of one send.
fn send_burst(ticks: &mut Publisher<Tick>, first: u64) -> Outcome<f64> {
    let mut tick = Tick::blank();
    let started = Instant::now();
    for number in first..first + BURST {
        tick.set(number);
        ticks.send(black_box(&tick))?;
    }
    Ok(started.elapsed().as_nanos() as f64 / BURST as f64)
}

fn read_burst(readers: &mut Partner) -> Outcome<()> {
    readers.resume()?;
    readers.read_line().map(drop)
}
