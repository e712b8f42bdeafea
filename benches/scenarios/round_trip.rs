//! Round trips: a typed packet there and a typed packet back, each through its own exclusive ring.
//!
//! The time starts before the packet is archived and ends when the answer was received and checked.
//!
//! - Both sides spin: the floor is a bare cache line that is bounced.
//! - Both sides sleep: the floor is a bare futex. A pause before each trip lets the other side fall
//!   asleep.
//! - Young rings: the first trips through two new rings of the default size, whose pages nobody has
//!   touched. The value is the 99.9th percentile. There is no floor.
//!
//! Each trip is recorded with both reads of the clock, in the scenario and in the floor. There is
//! no correction for trips that a slow trip delays.

use super::packets::Numbered;
use crate::floor::{Bounce, FutexTrip, PAUSE_ASLEEP};
use crate::harness::{
    BACK, Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, latencies,
};
use packetring::{Publisher, Ring, RingBuilder, Subscriber, Wait};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Only one packet is in flight, so a small ring is enough and stays in the caches.
const CAPACITY: usize = 1 << 16;

/// The rings and the waiting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Spinning,
    Parking,
    /// Spinning, in rings that were made for the run.
    Young,
}

/// Round trips of packets of one type.
pub(crate) struct RoundTrip<P> {
    name: &'static str,
    kind: Kind,
    packet: PhantomData<fn(P)>,
}

impl<P: Numbered> RoundTrip<P> {
    /// Both sides spin.
    pub(crate) fn spinning(name: &'static str) -> Self {
        Self { name, kind: Kind::Spinning, packet: PhantomData }
    }

    /// Both sides sleep.
    pub(crate) fn parking(name: &'static str) -> Self {
        Self { name, kind: Kind::Parking, packet: PhantomData }
    }

    /// Both sides spin, and the first trips count.
    pub(crate) fn young(name: &'static str) -> Self {
        Self { name, kind: Kind::Young, packet: PhantomData }
    }

    fn ring(&self) -> RingBuilder {
        let ring = Ring::builder().exclusive().wait(Wait::spin());
        match self.kind {
            Kind::Spinning => ring.capacity(CAPACITY),
            Kind::Parking => ring.capacity(CAPACITY).wait(Wait::park().spin_for(Duration::ZERO)),
            Kind::Young => ring,
        }
    }

    /// Trips before recording starts, and trips that are recorded.
    fn trips(&self, run: &Run) -> (u64, u64) {
        match self.kind {
            Kind::Spinning => (2_000, run.count(100_000)),
            Kind::Parking => (20, run.count(1_000)),
            Kind::Young => (0, run.count(20_000)),
        }
    }
}

impl<P: Numbered> Scenario for RoundTrip<P> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn about(&self) -> String {
        let how = match self.kind {
            Kind::Spinning => "both sides spinning; p50",
            Kind::Parking => "both sides asleep; p50",
            Kind::Young => "the first 20,000 trips through new rings; p99.9",
        };
        format!("a typed, checked packet there and one back, {how}")
    }

    fn payload(&self) -> usize {
        P::ARCHIVED
    }

    fn unit(&self) -> Unit {
        if self.kind == Kind::Spinning { Unit::Nanoseconds } else { Unit::Microseconds }
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        match self.kind {
            Kind::Spinning => Some(Box::new(Bounce)),
            Kind::Parking => Some(Box::new(FutexTrip)),
            Kind::Young => None,
        }
    }

    fn targets(&self) -> Vec<Target> {
        match self.name {
            "round_trip_48" => vec![Target::RatioAtMost(1.12), Target::TailRatioAtMost(1.5)],
            "wake_both_parked" => vec![Target::RatioAtMost(1.1)],
            "round_trip_48_young" => vec![Target::AtMost(1.5)],
            _ => Vec::new(),
        }
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut there: Publisher<P> = self.ring().open(&run.ring(THERE))?.publisher()?;
        let mut back: Subscriber<P> = self.ring().open(&run.ring(BACK))?.subscriber()?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (mut packet, mut trips) = (P::blank(), latencies()?);
        let (warm_up, counted) = self.trips(run);
        for number in 0..warm_up + counted {
            if self.kind == Kind::Parking {
                run.pause(PAUSE_ASLEEP);
            }
            packet.set(number);
            let started = Instant::now();
            there.send(&packet)?;
            let answer = back.recv()?;
            let took = started.elapsed().as_nanos() as u64;
            check(P::is(&answer, number), number)?;
            if number >= warm_up {
                trips.saturating_record(took);
            }
        }
        partner.finish()?;
        let quantile = if self.kind == Kind::Young { 0.999 } else { 0.5 };
        Ok(Sample::of_quantile(quantile, trips, self.unit()))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let mut there: Subscriber<P> = self.ring().attach(&side.run.ring(THERE))?.subscriber()?;
        let mut back: Publisher<P> = self.ring().attach(&side.run.ring(BACK))?.publisher()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let mut packet = P::blank();
        let (warm_up, counted) = self.trips(&side.run);
        for number in 0..warm_up + counted {
            check(P::is(&*there.recv()?, number), number)?;
            packet.set(number);
            back.send(&packet)?;
        }
        Ok(())
    }
}
