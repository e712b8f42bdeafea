//! `hz NAME`: how many packets pass through a ring in a second.
//!
//! Packets are counted as an observer reads them. Slots are the progress of the ring's tail, which
//! is exact however fast the publishers are. If the observer was overrun, the number of packets is
//! that of the slots, by the average length of the packets that were read.

use crate::extent::{Lines, end};
use crate::names;
use crate::output::{DIM, Failure, Outcome, Output};
use crate::text;
use clap::Args;
use packetring::inspect::Inspection;
use packetring::inventory::ObjectInfo;
use packetring::observe::{ObserveFrom, Observed, Observer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// Bytes of a slot.
const SLOT: u64 = 64;
/// Pause between two looks at a ring without packets.
const PAUSE: Duration = Duration::from_millis(1);

/// Arguments of `hz`.
#[derive(Debug, Args)]
pub(crate) struct HzArgs {
    /// The ring, topic, inbox, queue, service or events
    name: String,
    #[command(flatten)]
    lines: Lines,
}

/// One line.
#[derive(Debug, Serialize)]
struct Rates {
    seconds: f64,
    /// Packets that were counted.
    packets: u64,
    packets_per_second: f64,
    /// Whether the observer was overrun, so that `packets_per_second` is estimated.
    is_estimated: bool,
    slots_per_second: f64,
    bytes_per_second: f64,
    skipped_slots: u64,
    by_type: BTreeMap<String, u64>,
}

/// Prints a line for each interval.
pub(crate) fn run(args: &HzArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let interval = args.lines.interval;
    let end = end(args.lines.span);
    let objects = packetring::inventory()?;
    let object = names::find(&objects, &args.name)?;
    let mut observer = Observer::open(object, ObserveFrom::Now)?;
    let mut tail = tail_of(object).unwrap_or_default();
    let mut lines = 0;
    while args.lines.count.is_none_or(|count| lines < count)
        && end.is_none_or(|end| Instant::now() < end)
    {
        let start = Instant::now();
        let until = end.map_or(start + interval, |end| end.min(start + interval));
        let (mut counts, is_removed) = Counts::take(&mut observer, until)?;
        let seconds = start.elapsed().as_secs_f64();
        let now = tail_of(object);
        counts.tail_slots = now.map_or(counts.slots, |now| now.saturating_sub(tail));
        tail = now.unwrap_or(tail);
        counts.rates(seconds).print(output)?;
        output.flush()?;
        lines += 1;
        if is_removed {
            if !output.is_json {
                let removed = output.paint(DIM, "-- the ring was removed");
                writeln!(output, "{removed}")?;
            }
            return Ok(if args.lines.count.is_some() { Outcome::Found } else { Outcome::Done });
        }
    }
    Ok(Outcome::Done)
}

/// The slots that publishers have claimed since the ring was made. `None` if it is gone.
fn tail_of(object: &ObjectInfo) -> Option<u64> {
    match object.inspect() {
        Ok(Inspection::Ring(ring)) => Some(ring.tail),
        _ => None,
    }
}

/// What passed in an interval.
#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    /// Slots of these packets.
    slots: u64,
    /// Slots by the tail of the ring.
    tail_slots: u64,
    skipped: u64,
    by_type: BTreeMap<String, u64>,
}

impl Counts {
    /// Counts until a time, and returns whether the ring was removed.
    fn take(observer: &mut Observer, until: Instant) -> Result<(Self, bool), Failure> {
        let mut counts = Self::default();
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok((counts, false));
            }
            // A batch of packets, and only then the clock again.
            for _ in 0..256 {
                match observer.try_next().map_err(Failure::failed)? {
                    Observed::Next(packet) => {
                        counts.packets += 1;
                        counts.slots += packet.slots();
                        match counts.by_type.get_mut(packet.type_name()) {
                            Some(count) => *count += 1,
                            None => {
                                counts.by_type.insert(packet.type_name().to_owned(), 1);
                            }
                        }
                    }
                    Observed::Skipped { slots } => counts.skipped += slots,
                    Observed::Removed => return Ok((counts, true)),
                    _ => {
                        std::thread::sleep(PAUSE.min(until.saturating_duration_since(now)));
                        break;
                    }
                }
            }
        }
    }

    fn rates(self, seconds: f64) -> Rates {
        let is_estimated = self.skipped > 0;
        let packets = match is_estimated && self.slots > 0 {
            true => self.packets as f64 * self.tail_slots as f64 / self.slots as f64,
            false => self.packets as f64,
        };
        let slots = self.tail_slots as f64 / seconds;
        Rates {
            seconds,
            packets: self.packets,
            packets_per_second: packets / seconds,
            is_estimated,
            slots_per_second: slots,
            bytes_per_second: slots * SLOT as f64,
            skipped_slots: self.skipped,
            by_type: self.by_type,
        }
    }
}

impl Rates {
    fn print(&self, output: &mut Output) -> Result<(), Failure> {
        if output.is_json {
            return output.json(self);
        }
        let about = if self.is_estimated { "~" } else { "" };
        let types = self.by_type.iter().map(|(name, count)| {
            format!("{} {:.0}", text::plain(name), *count as f64 / self.seconds)
        });
        let types: Vec<_> = types.collect();
        let types = if types.len() > 1 { format!("  {}", types.join(", ")) } else { String::new() };
        writeln!(
            output,
            "{about}{:.1} packets/s  {:.1} slots/s  {}/s{types}",
            self.packets_per_second,
            self.slots_per_second,
            text::bytes(self.bytes_per_second as u64)
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_were_skipped_are_estimated_by_their_slots() {
        let counts =
            Counts { packets: 10, slots: 20, tail_slots: 200, skipped: 180, ..Counts::default() };
        let rates = counts.rates(2.0);
        assert_eq!((rates.packets_per_second, rates.slots_per_second), (50.0, 100.0));
        assert!(rates.is_estimated);
        let counts = Counts { packets: 10, slots: 20, tail_slots: 22, ..Counts::default() };
        assert_eq!(counts.rates(1.0).packets_per_second, 10.0);
    }
}
