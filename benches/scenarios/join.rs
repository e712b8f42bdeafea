//! Joining an existing ring, until the first packet is received.
//!
//! Each join happens in a new process that has not used the library before. The time starts before
//! the process attaches to the ring, and ends when it has received and checked a packet. It does
//! not include starting the process. A publisher on the other core sends all the time.
//!
//! The floor: a new process opens and maps the same amount of shared memory and polls one line
//! until it changes. A process on the other core changes that line at the pace of the publisher.
//! There are no types, entries, locks or fork handlers.
//!
//! A join that populates makes all pages of the joiner's mapping present first. [`Young`] shows
//! what that is for: the slowest trips of the first lap.

use super::packets::{Numbered, Tick};
use crate::floor::Bounce;
use crate::harness::{
    BACK, Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, latencies, median,
};
use crate::shared::{Plain, Shared};
use packetring::{OpenError, Publisher, Ring, RingBuilder, Subscriber, Wait};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Roles of the partners.
const PUBLISHER: u32 = 0;
const JOINER: u32 = 1;
/// Joins of a full run.
const JOINS: u64 = 40;
/// Pause between two packets.
const PACE: Duration = Duration::from_micros(2);

/// A new process joins a ring.
pub(crate) struct Join {
    pub(crate) populates: bool,
}

impl Scenario for Join {
    fn name(&self) -> String {
        if self.populates { "join_populated".into() } else { "join_to_first_packet".into() }
    }

    fn about(&self) -> String {
        let how = if self.populates { ", with all pages" } else { "" };
        format!("a new process attaches to a ring{how} and receives its first packet; p50")
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Microseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(Bare))
    }

    fn targets(&self) -> Vec<Target> {
        if self.populates { Vec::new() } else { vec![Target::AtMost(300.0)] }
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        join_often(run)
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let name = side.run.ring(THERE);
        if side.role == PUBLISHER {
            return publish(side, &name);
        }
        join(side, || Ring::builder().populate(self.populates).attach(&name)?.subscriber())
    }
}

/// The median of joins by new processes.
fn join_often(run: &Run) -> Outcome<Sample> {
    let publisher = run.start(PUBLISHER)?;
    let mut times = Vec::new();
    for _ in 0..run.count(JOINS) {
        let mut joiner = run.start(JOINER)?;
        times.push(joiner.read_line()?.parse::<f64>()?);
        joiner.finish()?;
    }
    publisher.finish()?;
    Ok(Sample::of(median(&times)))
}

/// Publishes until the last order arrives.
fn publish(side: &Side, name: &str) -> Outcome<()> {
    let mut ticks: Publisher<Tick> = Ring::open(name)?.publisher()?;
    let mut tick = Tick::blank();
    repeat_until_end(side, |number| {
        tick.set(number);
        Ok(ticks.send(&tick).map(drop)?)
    })
}

/// Calls `act` at a steady pace, with numbers from 0 on, until the last order arrives.
fn repeat_until_end(side: &Side, mut act: impl FnMut(u64) -> Outcome<()>) -> Outcome<()> {
    let is_over = Arc::new(AtomicBool::new(false));
    let _pinned = side.run.pin_after_joining()?;
    side.ready()?;
    let ended = Arc::clone(&is_over);
    let listener = thread::spawn(move || {
        // The last order comes after the last join. An error ends the loop, too.
        let was_ordered = loop {
            match Side::wait_for_order() {
                Ok(true) => {}
                end => break end.is_ok(),
            }
        };
        ended.store(true, Ordering::Relaxed);
        was_ordered
    });
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        act(number)?;
        side.run.pause(PACE);
    }
    match listener.join() {
        Ok(true) => Ok(()),
        _ => Err("measuring process is gone".into()),
    }
}

/// Joins, and reports the time in microseconds.
fn join(side: &Side, joined: impl FnOnce() -> Result<Subscriber<Tick>, OpenError>) -> Outcome<()> {
    let _pinned = side.pin_before_joining()?;
    side.ready()?;
    let _also_pinned = side.pin_after_joining()?;
    let started = Instant::now();
    let mut ticks = joined()?;
    let tick = ticks.recv()?;
    let took = started.elapsed();
    check(Tick::is(&tick, tick.number.to_native()), tick.number.to_native())?;
    drop(tick);
    side.report(&(took.as_nanos() as f64 / 1e3).to_string())
}

/// Memory with one line that changes.
#[repr(C, align(128))]
struct Memory {
    line: AtomicU64,
    /// The capacity of a default ring.
    _room: [u8; 2 << 20],
}

// SAFETY: an atomic, for which zeros are valid, and bytes that are never read.
unsafe impl Plain for Memory {}

/// Opening shared memory without a ring.
struct Bare;

impl Scenario for Bare {
    fn name(&self) -> String {
        "floor_join".into()
    }

    fn about(&self) -> String {
        "a new process opens and maps 2 MiB and sees a line of it change; p50".into()
    }

    fn payload(&self) -> usize {
        size_of::<u64>()
    }

    fn unit(&self) -> Unit {
        Unit::Microseconds
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _memory: Shared<Memory> = Shared::create(&run.object())?;
        join_often(run)
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let name = side.run.object();
        if side.role == PUBLISHER {
            let memory: Shared<Memory> = Shared::visit(&name)?;
            return repeat_until_end(side, |number| {
                memory.line.store(number, Ordering::Release);
                Ok(())
            });
        }
        let _pinned = side.pin_before_joining()?;
        side.ready()?;
        let _also_pinned = side.pin_after_joining()?;
        let started = Instant::now();
        let memory: Shared<Memory> = Shared::visit(&name)?;
        let found = memory.line.load(Ordering::Acquire);
        side.poll().until(|| memory.line.load(Ordering::Acquire) != found)?;
        let took = started.elapsed();
        side.report(&(took.as_nanos() as f64 / 1e3).to_string())
    }
}

/// Round trips of the first lap of two rings that were just made: the slowest in a thousand.
pub(crate) struct Young {
    pub(crate) populates: bool,
}

/// Trips of a full run: one lap of a default ring.
const YOUNG_TRIPS: u64 = 1 << 15;

impl Young {
    fn ring(&self) -> RingBuilder {
        Ring::builder().exclusive().wait(Wait::spin()).populate(self.populates)
    }
}

impl Scenario for Young {
    fn name(&self) -> String {
        if self.populates { "young_trip_populated".into() } else { "young_trip".into() }
    }

    fn about(&self) -> String {
        let how = if self.populates { "with all pages" } else { "whose pages appear one by one" };
        format!("packets there and back through new rings {how}, both sides spinning; p99.9")
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(Bounce))
    }

    fn targets(&self) -> Vec<Target> {
        if self.populates { vec![Target::AtMost(1_500.0)] } else { Vec::new() }
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let mut there: Publisher<Tick> = self.ring().open(&run.ring(THERE))?.publisher()?;
        let mut back: Subscriber<Tick> = self.ring().open(&run.ring(BACK))?.subscriber()?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (mut tick, mut trips) = (Tick::blank(), latencies()?);
        for number in 0..run.count(YOUNG_TRIPS) {
            tick.set(number);
            let started = Instant::now();
            there.send(&tick)?;
            let answer = back.recv()?;
            let took = started.elapsed().as_nanos() as u64;
            check(Tick::is(&answer, number), number)?;
            trips.saturating_record(took);
        }
        partner.finish()?;
        Ok(Sample::of_quantile(0.999, trips, self.unit()))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let mut there: Subscriber<Tick> =
            self.ring().attach(&side.run.ring(THERE))?.subscriber()?;
        let mut back: Publisher<Tick> = self.ring().attach(&side.run.ring(BACK))?.publisher()?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let mut tick = Tick::blank();
        for number in 0..side.run.count(YOUNG_TRIPS) {
            check(Tick::is(&*there.recv()?, number), number)?;
            tick.set(number);
            back.send(&tick)?;
        }
        Ok(())
    }
}
