//! `latency NAME`: how long packets take from a publisher to the readers of a ring.
//!
//! The command switches the sampling of the ring on, and off again at its end if it was off before,
//! also after SIGINT, SIGTERM and SIGHUP. Nothing switches it off after a SIGKILL.

pub(crate) mod figures;
mod print;

use crate::extent::{Lines, end};
use crate::names;
use crate::output::{DIM, Failure, Outcome, Output};
use crate::text;
use clap::Args;
use packetring::OpenError;
use packetring::inspect::{Inspection, RingInspection};
use packetring::inventory::ObjectInfo;
use print::{Latencies, heading};
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Latencies in a second that a ring should have, if nobody says how often.
const SAMPLES: u64 = 1000;
/// Most slots for one probe, if nobody says how often.
const MOST_SLOTS: u64 = 1024;
/// How long the rate of a ring is measured, to choose how often.
const MEASURED: Duration = Duration::from_millis(200);
/// Longest time until a signal ends the command.
const STEP: Duration = Duration::from_millis(50);

/// Arguments of `latency`.
#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    /// The ring, topic, inbox, queue, service or events
    name: String,
    /// One sample for about so many slots of 64 bytes
    ///
    /// Without it as many as sampling is switched to, or else so that about 1000 latencies are
    /// sampled in a second: of a slow ring each packet, of a fast one a packet in 1024 slots.
    #[arg(long, value_name = "SLOTS")]
    every: Option<NonZeroU32>,
    /// Switches sampling on and ends, for `top`, `export` and `record`; it stays on until --off, or
    /// until the ring is removed
    #[arg(long)]
    on: bool,
    /// Switches sampling off and ends
    #[arg(long, conflicts_with_all = ["on", "every"])]
    off: bool,
    /// Prints what was sampled since the ring was made, switches nothing, and ends
    #[arg(long, conflicts_with_all = ["on", "off", "every"])]
    once: bool,
    #[command(flatten)]
    lines: Lines,
}

/// Prints a line for each interval, and the sum at the end.
pub(crate) fn run(args: &LatencyArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let objects = packetring::inventory()?;
    let object = names::find(&objects, &args.name)?;
    let Some(first) = ring(object)? else {
        return Err(no_ring(object));
    };
    if args.once {
        Latencies::of(&first, &first.latencies, None, true).print_total(output)?;
        return Ok(Outcome::Done);
    }
    if args.on || args.off {
        return switch(object, &first, args, output);
    }
    let is_ended = ended_by_signals()?;
    let every = args.every.or(first.sampling).map_or_else(|| chosen(object, &first), Ok)?;
    let mut switch = Switch::on(object, every)?;
    follow(&mut switch, every, args, &is_ended, output)
}

fn no_ring(object: &ObjectInfo) -> Failure {
    Failure::failed(format_args!(
        "{object} has no latencies; name a ring, topic, inbox, queue, service or events: \
         `packetring ls` lists them"
    ))
}

/// The words of a ring. `None` for another object.
fn ring(object: &ObjectInfo) -> Result<Option<RingInspection>, OpenError> {
    match object.inspect()? {
        Inspection::Ring(ring) => Ok(Some(ring)),
        _ => Ok(None),
    }
}

/// Switches sampling and ends.
fn switch(
    object: &ObjectInfo,
    first: &RingInspection,
    args: &LatencyArgs,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let every = match args.off {
        true => None,
        false => Some(args.every.map_or_else(|| chosen(object, first), Ok)?),
    };
    let before = object.sample_latency(every)?;
    if output.is_json {
        output.json(&serde_json::json!({ "every": every, "before": before }))?;
        return Ok(Outcome::Done);
    }
    let name = names::full(object);
    let name = text::plain(&name);
    match every {
        Some(every) => writeln!(output, "{name}: one sample for about {every} slots")?,
        None if before.is_none() => writeln!(output, "{name}: sampling was off")?,
        None => writeln!(output, "{name}: sampling is off")?,
    }
    Ok(Outcome::Done)
}

/// The slots for one sample that give enough of them in a second.
fn chosen(object: &ObjectInfo, first: &RingInspection) -> Result<NonZeroU32, Failure> {
    let began = Instant::now();
    std::thread::sleep(MEASURED);
    let Some(second) = ring(object)? else { return Err(no_ring(object)) };
    let slots = second.tail.saturating_sub(first.tail);
    let per_second = slots as f64 / began.elapsed().as_secs_f64();
    Ok(interval_of_rate(per_second as u64))
}

fn interval_of_rate(slots_per_second: u64) -> NonZeroU32 {
    let every = (slots_per_second / SAMPLES).clamp(1, MOST_SLOTS);
    u32::try_from(every).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// A flag that signals set which would end this process.
fn ended_by_signals() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_ended)).map_err(Failure::failed)?;
    }
    Ok(is_ended)
}

/// Sampling that is on. When dropped, it is as it was before.
struct Switch<'a> {
    object: &'a ObjectInfo,
    before: Option<NonZeroU32>,
}

impl<'a> Switch<'a> {
    fn on(object: &'a ObjectInfo, every: NonZeroU32) -> Result<Self, Failure> {
        Ok(Self { object, before: object.sample_latency(Some(every))? })
    }

    /// Switches sampling on again, after another process switched it off.
    fn go_on(&mut self, every: NonZeroU32) -> Result<(), Failure> {
        match self.object.sample_latency(Some(every)) {
            Ok(before) => self.before = before,
            // The next look finds that the ring is gone.
            Err(OpenError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Drop for Switch<'_> {
    fn drop(&mut self) {
        match self.object.sample_latency(self.before) {
            // A ring that is gone has no switch.
            Ok(_) | Err(OpenError::NotFound { .. }) => {}
            Err(error) => eprintln!(
                "warning: sampling of {} stays on, as it could not be switched back: {error}; try \
                 `packetring latency NAME --off`",
                self.object
            ),
        }
    }
}

fn follow(
    switch: &mut Switch<'_>,
    every: NonZeroU32,
    args: &LatencyArgs,
    is_ended: &AtomicBool,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let object = switch.object;
    let Some(mut ring_before) = ring(object)? else { return Err(no_ring(object)) };
    let (start, began) = (ring_before.latencies.clone(), Instant::now());
    let over = end(args.lines.span);
    let is_over =
        || is_ended.load(Ordering::Relaxed) || over.is_some_and(|over| Instant::now() >= over);
    if !output.is_json {
        let name = names::full(object);
        let head = format!("{}: one sample for about {every} slots", text::plain(&name));
        let head = output.paint(DIM, head);
        writeln!(output, "{head}")?;
        writeln!(output, "{}", heading())?;
    }
    output.flush()?;
    let mut lines = 0;
    while args.lines.count.is_none_or(|count| lines < count) && !is_over() {
        let since = Instant::now();
        let until =
            over.map_or(since + args.lines.interval, |over| over.min(since + args.lines.interval));
        while Instant::now() < until && !is_over() {
            std::thread::sleep(STEP.min(until.saturating_duration_since(Instant::now())));
        }
        let now = match ring(object) {
            Ok(Some(now)) => now,
            Ok(None) | Err(OpenError::NotFound { .. }) => {
                if !output.is_json {
                    let removed = output.paint(DIM, "-- the ring was removed");
                    writeln!(output, "{removed}")?;
                }
                break;
            }
            Err(error) => return Err(error.into()),
        };
        if now.sampling.is_none() {
            // Another command that had switched it on has ended. So it was on because of that one.
            switch.go_on(every)?;
        }
        let between = now.latencies.since(&ring_before.latencies);
        let seconds = since.elapsed().as_secs_f64();
        Latencies::of(&now, &between, Some(seconds), false).print(output)?;
        output.flush()?;
        ring_before = now;
        lines += 1;
    }
    let all = ring_before.latencies.since(&start);
    let seconds = began.elapsed().as_secs_f64();
    Latencies::of(&ring_before, &all, Some(seconds), true).print_total(output)?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_ring_is_sampled_at_each_packet_and_a_fast_one_seldom() {
        let every = |rate| interval_of_rate(rate).get();
        assert_eq!([0, 999, 5_000, 2_000_000, u64::MAX].map(every), [1, 1, 5, 1024, 1024]);
    }
}
