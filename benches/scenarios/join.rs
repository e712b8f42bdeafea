//! Joining a ring that exists, until the first packet is received.
//!
//! Each join is that of a fresh process, which has not used the library before: from before the
//! ring is attached to when a packet is in hand, checked. A publisher on the other core sends all
//! the while. Starting the process is not in it.
//!
//! The floor is as much shared memory, opened and mapped by a fresh process, and one line of it
//! looked at until it changes, which somebody on the other core does at the same pace. Nobody
//! joins there: no types, no places, no locks, no watch over forks.

use super::packets::{Numbered, Tick};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, median};
use crate::shared::{Plain, Shared};
use packetring::{Publisher, Ring, Subscriber};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The partners.
const PUBLISHER: u32 = 0;
const JOINER: u32 = 1;
/// Joins of a full run.
const JOINS: u64 = 40;
/// Between two packets.
const PACE: Duration = Duration::from_micros(2);

/// A process that joins.
pub(crate) struct Join;

impl Scenario for Join {
    fn name(&self) -> String {
        "join_to_first_packet".into()
    }

    fn about(&self) -> String {
        "a fresh process attaches to a ring and has its first packet; p50".into()
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
        vec![Target::AtMost(300.0)]
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        join_often(run)
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let name = side.run.ring(THERE);
        if side.role == PUBLISHER { publish(side, &name) } else { join(side, &name) }
    }
}

/// The median of joins by fresh processes.
fn join_often(run: &Run) -> Outcome<Sample> {
    let publisher = run.start(PUBLISHER)?;
    let mut times = Vec::new();
    for _ in 0..run.count(JOINS) {
        let mut joiner = run.start(JOINER)?;
        times.push(joiner.hear()?.parse::<f64>()?);
        joiner.finish()?;
    }
    publisher.finish()?;
    Ok(Sample::of(median(&times)))
}

/// Publishes until there is nothing more to be told.
fn publish(side: &Side, name: &str) -> Outcome<()> {
    let mut ticks: Publisher<Tick> = Ring::open(name)?.publisher()?;
    let mut tick = Tick::blank();
    until_told(side, |number| {
        tick.set(number);
        Ok(ticks.send(&tick).map(drop)?)
    })
}

/// Acts at a steady pace, with numbers from 0 on.
fn until_told(side: &Side, mut act: impl FnMut(u64) -> Outcome<()>) -> Outcome<()> {
    let is_over = Arc::new(AtomicBool::new(false));
    let _pinned = side.run.pin_after_joining()?;
    side.ready()?;
    let told = Arc::clone(&is_over);
    let listener = thread::spawn(move || {
        // Until there are no more joiners, whatever the reason.
        let was_told = loop {
            match Side::is_told() {
                Ok(true) => {}
                end => break end.is_ok(),
            }
        };
        told.store(true, Ordering::Relaxed);
        was_told
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
        _ => Err("the process that measures is gone".into()),
    }
}

/// Joins, and says how many microseconds that took.
fn join(side: &Side, name: &str) -> Outcome<()> {
    let _pinned = side.pin_before_joining()?;
    side.ready()?;
    let _also_pinned = side.pin_after_joining()?;
    let started = Instant::now();
    let mut ticks: Subscriber<Tick> = Ring::attach(name)?.subscriber()?;
    let tick = ticks.recv()?;
    let took = started.elapsed();
    check(Tick::is(&tick, tick.number.to_native()), tick.number.to_native())?;
    drop(tick);
    side.say(&(took.as_nanos() as f64 / 1e3).to_string())
}

/// Memory with a line in it that changes.
#[repr(C, align(128))]
struct Memory {
    line: AtomicU64,
    /// As many bytes as a default ring has.
    _room: [u8; 1 << 20],
}

// SAFETY: an atomic, for which zeros are a value, and bytes that nobody looks at.
unsafe impl Plain for Memory {}

/// Opening memory, with no ring in it.
struct Bare;

impl Scenario for Bare {
    fn name(&self) -> String {
        "floor_join".into()
    }

    fn about(&self) -> String {
        "a fresh process opens and maps 1 MiB and sees a line of it change; p50".into()
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
            return until_told(side, |number| {
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
        side.say(&(took.as_nanos() as f64 / 1e3).to_string())
    }
}
