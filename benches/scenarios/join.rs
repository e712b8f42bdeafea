//! Joining an existing ring, until the first packet is received.
//!
//! Each join happens in a new process that has not used the library before. The time starts before
//! the process attaches to the ring, and ends when it has received and checked a packet. It does
//! not include starting the process. A publisher on the other core sends all the time.
//!
//! The floor: a new process opens and maps the same amount of shared memory and polls one line
//! until it changes. A process on the other core changes that line at the pace of the publisher.
//! There are no types, entries, locks or fork handlers.

use super::packets::{Numbered, Tick};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, median};
use crate::shared::{Plain, Shared};
use packetring::{Publisher, Ring, Subscriber};
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
pub(crate) struct Join;

impl Scenario for Join {
    fn name(&self) -> String {
        "join_to_first_packet".into()
    }

    fn about(&self) -> String {
        "a new process attaches to a ring and receives its first packet; p50".into()
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
    side.report(&(took.as_nanos() as f64 / 1e3).to_string())
}

/// Memory with one line that changes.
#[repr(C, align(128))]
struct Memory {
    line: AtomicU64,
    /// The capacity of a default ring.
    _room: [u8; 1 << 20],
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
        "a new process opens and maps 1 MiB and sees a line of it change; p50".into()
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
