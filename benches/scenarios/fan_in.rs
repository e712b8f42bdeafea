//! Several publishers to one subscriber through a shared ring, with more processes than cores.
//!
//! - The subscriber runs on the first core. The publishers alternate between the second core and
//!   the first, or all run on the second.
//! - All sides wait by the default policy.
//! - Each publisher sends the same number of packets. The subscriber checks that the packets of
//!   each publisher arrive complete and in order.
//! - A publisher times one `send` in sixteen. This shows whether a preempted publisher blocks the
//!   others.
//!
//! The floor of several publishers is this scenario with one publisher, which runs on the second
//! core and waits by the same policy. The floor of one publisher is a bare writer that claims by
//! compare-and-swap and spins.

use super::packets::{Numbered, Tick};
use crate::cores::Cores;
use crate::floor::{Order, SlotStream};
use crate::harness::{
    Curve, Outcome, Partner, Run, Sample, Scenario, Side, THERE, Target, Unit, check, latencies,
    millions,
};
use packetring::{Publisher, Ring, RingBuilder, Subscriber};
use std::time::Instant;

/// Packets that each publisher sends before the clock starts.
const WARM_UP: u64 = 1 << 14;
/// Packets that all publishers together send while the clock runs.
const PACKETS: u64 = 2_000_000;
/// Times one `send` in this many.
const TIMED: u64 = 16;

/// Several publishers and one subscriber.
pub(crate) struct FanIn {
    pub(crate) publishers: u32,
    /// True: all publishers share the second core. False: they run on both cores.
    pub(crate) on_one_core: bool,
}

impl FanIn {
    fn ring() -> RingBuilder {
        Ring::builder().shared()
    }

    fn of_each(&self, run: &Run) -> u64 {
        WARM_UP + run.count(PACKETS) / u64::from(self.publishers)
    }

    /// The number of a packet, which encodes its publisher.
    fn number(&self, role: u32, index: u64) -> u64 {
        index * u64::from(self.publishers) + u64::from(role)
    }

    /// Receives `count` packets and checks the order of each publisher's packets.
    fn take(&self, ticks: &mut Subscriber<Tick>, next: &mut [u64], count: u64) -> Outcome<()> {
        for _ in 0..count {
            let tick = ticks.recv()?;
            let role = (tick.number.to_native() % u64::from(self.publishers)) as u32;
            let index = &mut next[role as usize];
            let number = self.number(role, *index);
            check(Tick::is(&tick, number), number)?;
            *index += 1;
        }
        Ok(())
    }

    fn start_all(&self, run: &Run) -> Outcome<Vec<Partner>> {
        (0..self.publishers).map(|role| run.start(role)).collect()
    }
}

impl Scenario for FanIn {
    fn name(&self) -> String {
        let place = if self.on_one_core { "_one_core" } else { "" };
        format!("fan_in_{}{place}", self.publishers)
    }

    fn about(&self) -> String {
        let place = if self.on_one_core { "one core" } else { "two cores" };
        match self.publishers {
            1 => "shared ring, one publisher, one subscriber, default wait".into(),
            many => format!("shared ring, {many} publishers on {place}, one subscriber"),
        }
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::MillionsPerSecond
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(match self.publishers {
            1 => Box::new(SlotStream::of_default_ring(Order::Claimed)),
            _ => Box::new(Self { publishers: 1, ..*self }),
        })
    }

    fn targets(&self) -> Vec<Target> {
        match self.publishers {
            1 => Vec::new(),
            _ => vec![Target::RatioAtLeast(0.5), Target::TailAtMost(10.0)],
        }
    }

    fn is_headline(&self) -> bool {
        self.publishers == 4 && !self.on_one_core
    }

    fn point(&self) -> Option<(Curve, u64)> {
        (!self.on_one_core).then_some((Curve::Publishers, u64::from(self.publishers)))
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut ticks = Self::ring().open(&run.ring(THERE))?.subscriber()?;
        let mut publishers = self.start_all(run)?;
        let _pinned = run.pin_after_joining()?;
        for publisher in &mut publishers {
            publisher.resume()?;
        }
        let all = u64::from(self.publishers);
        let mut next = vec![0; self.publishers as usize];
        self.take(&mut ticks, &mut next, all * WARM_UP)?;
        let started = Instant::now();
        let counted = all * (self.of_each(run) - WARM_UP);
        self.take(&mut ticks, &mut next, counted)?;
        let took = started.elapsed();
        let mut sends = latencies()?;
        for mut publisher in publishers {
            read_latencies(&mut publisher, &mut sends)?;
            publisher.finish()?;
        }
        Ok(Sample { value: millions(counted, took), latencies: Some(sends) })
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let Cores(first, second) = side.run.cores;
        let core = if self.on_one_core || side.role.is_multiple_of(2) { second } else { first };
        let _pinned = side.run.cores.pin_before_joining(core)?;
        let mut ticks: Publisher<Tick> = Self::ring().attach(&side.run.ring(THERE))?.publisher()?;
        side.ready()?;
        let _pinned = side.run.cores.pin_after_joining(core)?;
        Side::wait_for_order()?;
        let (mut tick, mut sends) = (Tick::blank(), latencies()?);
        for index in 0..self.of_each(&side.run) {
            tick.set(self.number(side.role, index));
            if index >= WARM_UP && index.is_multiple_of(TIMED) {
                let started = Instant::now();
                ticks.send(&tick)?;
                sends.saturating_record(started.elapsed().as_nanos() as u64);
            } else {
                ticks.send(&tick)?;
            }
        }
        let recorded = sends.iter_recorded();
        let recorded =
            recorded.map(|at| format!("{}x{}", at.value_iterated_to(), at.count_at_value()));
        side.report(&recorded.collect::<Vec<_>>().join(" "))
    }
}

/// Adds the latencies that a publisher reports.
fn read_latencies(
    publisher: &mut Partner,
    sends: &mut hdrhistogram::Histogram<u64>,
) -> Outcome<()> {
    for word in publisher.read_line()?.split_whitespace() {
        let (value, count) =
            word.split_once('x').ok_or("latency without a count in a publisher's report")?;
        sends.saturating_record_n(value.parse()?, count.parse()?);
    }
    Ok(())
}
