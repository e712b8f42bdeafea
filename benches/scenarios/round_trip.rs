//! Round trips: a typed packet there and a typed packet back, each through its own exclusive ring.
//!
//! The time starts before the packet is archived and ends when the answer was received and checked.
//!
//! - Both sides spin: the floor is a bare cache line that is bounced.
//! - Both sides sleep: the floor is a bare futex. A pause before each trip lets the other side fall
//!   asleep.
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

/// Round trips of packets of one type.
pub(crate) struct RoundTrip<P> {
    name: &'static str,
    sleeps: bool,
    packet: PhantomData<fn(P)>,
}

impl<P: Numbered> RoundTrip<P> {
    /// Both sides spin.
    pub(crate) fn spinning(name: &'static str) -> Self {
        Self { name, sleeps: false, packet: PhantomData }
    }

    /// Both sides sleep.
    pub(crate) fn parking(name: &'static str) -> Self {
        Self { name, sleeps: true, packet: PhantomData }
    }

    fn ring(&self) -> RingBuilder {
        let asleep = Wait::park().spin_for(Duration::ZERO);
        let wait = if self.sleeps { asleep } else { Wait::spin() };
        Ring::builder().capacity(CAPACITY).exclusive().wait(wait)
    }

    /// Trips before recording starts, and trips that are recorded.
    fn trips(&self, run: &Run) -> (u64, u64) {
        if self.sleeps { (20, run.count(1_000)) } else { (2_000, run.count(100_000)) }
    }
}

impl<P: Numbered> Scenario for RoundTrip<P> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn about(&self) -> String {
        let how = if self.sleeps { "both sides asleep" } else { "both sides spinning" };
        format!("a typed, checked packet there and one back, {how}; p50")
    }

    fn payload(&self) -> usize {
        P::ARCHIVED
    }

    fn unit(&self) -> Unit {
        if self.sleeps { Unit::Microseconds } else { Unit::Nanoseconds }
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(if self.sleeps { Box::new(FutexTrip) } else { Box::new(Bounce) })
    }

    fn targets(&self) -> Vec<Target> {
        match self.name {
            "round_trip_48" => vec![Target::RatioAtMost(1.12), Target::TailRatioAtMost(1.5)],
            "wake_both_parked" => vec![Target::RatioAtMost(1.1)],
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
            if self.sleeps {
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
        Ok(Sample::of_latencies(trips, self.unit()))
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
