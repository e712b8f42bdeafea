//! Joining a ring that exists, until the first packet is received.
//!
//! Each join is that of a fresh process, which has not used the library before: from before the
//! ring is attached to when a packet is in hand, checked. A publisher on the other core sends all
//! the while. Starting the process is not in it. There is no floor to it.

use super::packets::{Numbered, Tick};
use crate::harness::{Outcome, Run, Sample, Scenario, Side, THERE, Target, Unit, check, median};
use packetring::{Publisher, Ring, Subscriber};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

    fn targets(&self) -> Vec<Target> {
        vec![Target::AtMost(300.0)]
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
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

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let name = side.run.ring(THERE);
        if side.role == PUBLISHER { publish(side, &name) } else { join(side, &name) }
    }
}

/// Publishes until there is nothing more to be told.
fn publish(side: &Side, name: &str) -> Outcome<()> {
    let mut ticks: Publisher<Tick> = Ring::open(name)?.publisher()?;
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
    let mut tick = Tick::blank();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        tick.set(number);
        ticks.send(&tick)?;
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
