//! What an observer costs the publisher of a ring that it observes.
//!
//! A publisher sends a million packets a second to one subscriber in another process: a run of 32
//! packets every 32 µs. The clock is read before and after each run, and the time that reading it
//! takes is subtracted. A third process observes the ring, opens and checks every packet, and
//! counts those that it missed.
//!
//! The publisher has the first core. The subscriber spins on the second core, and the observer
//! takes it from the subscriber for as long as it reads: there are no more than two cores. So the
//! observer takes no processor time from the publisher.
//!
//! The floor is the same without the observer.

use super::packets::{Numbered, Tick};
use crate::harness::{
    Outcome, Partner, Run, Sample, Scenario, Side, THERE, Target, Unit, check, latencies, median,
};
use packetring::observe::{ObserveFrom, Observed, Observer};
use packetring::{Publisher, Ring, RingBuilder, Subscriber, Wait};
use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

/// Packets of a run.
const TOGETHER: u64 = 32;
/// From the start of a run to the start of the next one.
const PACE: Duration = Duration::from_micros(TOGETHER);
/// Runs before the clock counts: at least two laps.
const WARM_UP: u64 = (1 << 17) / TOGETHER;
/// Runs that are measured: two seconds.
const RUNS: u64 = 2_000_000 / TOGETHER;
/// Longer than the publisher is ever silent.
const SILENCE: Duration = Duration::from_secs(10);

const SUBSCRIBER: u32 = 0;
const OBSERVER: u32 = 1;

/// A ring with an observer, and the result that counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The time of a send, without an observer.
    ByNobody,
    /// The time of a send.
    Send,
    /// The share of packets that the observer missed.
    Missed,
}

impl Watched {
    fn ring() -> RingBuilder {
        Ring::builder().exclusive().wait(Wait::spin())
    }

    fn packets(run: &Run) -> u64 {
        (WARM_UP + run.count(RUNS)) * TOGETHER
    }

    fn subscribe(side: &Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let ring = Self::ring().attach(&side.run.ring(THERE))?;
        let mut ticks: Subscriber<Tick> = ring.subscriber()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        for number in 0..Self::packets(&side.run) {
            check(Tick::is(black_box(&*ticks.recv()?), number), number)?;
        }
        Ok(())
    }

    /// Reports how many packets the observer read. A packet's position is its number: each takes
    /// one slot.
    fn observe(side: &Side) -> Outcome<()> {
        let name = side.run.ring(THERE);
        let objects = packetring::inventory()?;
        let object = objects.iter().find(|object| object.name == name);
        let object = object.ok_or("the ring is not in the inventory")?;
        let mut observer = Observer::open(object, ObserveFrom::Now)?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let (mut next, mut read) = (0, 0);
        while next < Self::packets(&side.run) {
            match observer.next_timeout(SILENCE)? {
                Observed::Next(packet) => {
                    check(packet.position() == next, next)?;
                    check(Tick::is(black_box(packet.open_as::<Tick>()?), next), next)?;
                    next += 1;
                    read += 1;
                }
                Observed::Skipped { slots } => next += slots,
                other => return Err(format!("{other:?} before packet {next}").into()),
            }
        }
        side.report(&format!("{read}"))
    }
}

/// Time that two reads of the clock take.
fn clock_cost() -> f64 {
    let costs: Vec<f64> = (0..1001).map(|_| Instant::now().elapsed().as_nanos() as f64).collect();
    median(&costs)
}

/// Sends runs of packets. Returns a sample with the mean time of a send, and the times of the runs,
/// for one packet.
fn send_paced(ticks: &mut Publisher<Tick>, runs: u64) -> Outcome<Sample> {
    let (clock, mut each) = (clock_cost(), latencies()?);
    let (mut tick, mut sum) = (Tick::blank(), 0.0);
    let mut due = Instant::now();
    for run in 0..WARM_UP + runs {
        while Instant::now() < due {
            spin_loop();
        }
        due += PACE;
        let started = Instant::now();
        for number in run * TOGETHER..(run + 1) * TOGETHER {
            tick.set(number);
            ticks.send(black_box(&tick))?;
        }
        let took = (started.elapsed().as_nanos() as f64 - clock).max(0.0);
        if run >= WARM_UP {
            sum += took;
            each.saturating_record((took / TOGETHER as f64) as u64);
        }
    }
    Ok(Sample { value: sum / (runs * TOGETHER) as f64, latencies: Some(each) })
}

impl Scenario for Watched {
    fn name(&self) -> String {
        match self {
            Self::ByNobody => "paced_48",
            Self::Send => "observed_48",
            Self::Missed => "observed_missed_48",
        }
        .into()
    }

    fn about(&self) -> String {
        let what = match self {
            Self::ByNobody => "one send, not observed",
            Self::Send => "one send, observed by a third process",
            Self::Missed => "packets that an observer misses, in percent",
        };
        format!("{what}; exclusive ring, one subscriber, a million packets a second")
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        if *self == Self::Missed { Unit::Percent } else { Unit::Nanoseconds }
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        (*self == Self::Send).then(|| Box::new(Self::ByNobody) as Box<dyn Scenario>)
    }

    fn targets(&self) -> Vec<Target> {
        match self {
            Self::ByNobody => Vec::new(),
            Self::Send => vec![Target::RatioAtMost(1.02)],
            Self::Missed => vec![Target::AtMost(0.0)],
        }
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut ticks = Self::ring().open(&run.ring(THERE))?.publisher()?;
        let subscriber = run.start(SUBSCRIBER)?;
        let mut observer = match self {
            Self::ByNobody => None,
            Self::Send | Self::Missed => Some(run.start(OBSERVER)?),
        };
        let _pinned = run.pin_after_joining()?;
        let sends = send_paced(&mut ticks, run.count(RUNS))?;
        let read = observer.as_mut().map(Partner::read_line).transpose()?;
        for partner in observer.into_iter().chain([subscriber]) {
            partner.finish()?;
        }
        match read {
            Some(read) if *self == Self::Missed => {
                let read: f64 = read.parse()?;
                Ok(Sample::of(100.0 * (1.0 - read / Self::packets(run) as f64)))
            }
            _ => Ok(sends),
        }
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        match side.role {
            SUBSCRIBER => Self::subscribe(side),
            _ => Self::observe(side),
        }
    }
}
