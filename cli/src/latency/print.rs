//! What `latency` prints: a line for each interval, and the distribution at the end.

use super::figures::{Figures, shown};
use crate::output::{DIM, Failure, Output, YELLOW};
use crate::rings;
use crate::text::{self, Align, Table};
use packetring::inspect::{LatencySnapshot, RingInspection};
use serde::Serialize;
use std::io::Write;
use std::num::NonZeroU32;

/// Length of the longest bar.
const LONGEST: u64 = 40;

/// The latencies of a time.
#[derive(Debug, Serialize)]
pub(super) struct Latencies {
    /// The time. `null`: since the ring was made.
    seconds: Option<f64>,
    /// True for the sum of all lines, which is the last one.
    is_total: bool,
    /// Slots for one sample; `null` if sampling is off.
    every: Option<NonZeroU32>,
    #[serde(flatten)]
    figures: Figures,
    /// Those with a latency.
    buckets: Vec<Bucket>,
    /// Readers that sampled a latency since they joined.
    readers: Vec<Reader>,
}

#[derive(Debug, Serialize)]
struct Bucket {
    /// The end of the bucket; `null` for the last one, which has none.
    below_seconds: Option<f64>,
    samples: u64,
}

#[derive(Debug, Serialize)]
struct Reader {
    endpoint: String,
    pid: u32,
    worker: Option<String>,
    samples: u64,
    mean_seconds: f64,
    max_seconds: f64,
}

/// The names of the columns.
pub(super) fn heading() -> String {
    let names = ["SAMPLES", "P50", "P90", "P99", "P99.9", "MAX", "MEAN"];
    names.map(|name| format!("{name:>9}")).join("  ")
}

impl Latencies {
    /// The latencies of a snapshot or of a difference, in the ring that has it.
    pub(super) fn of(
        ring: &RingInspection,
        found: &LatencySnapshot,
        seconds: Option<f64>,
        is_total: bool,
    ) -> Self {
        let buckets = found.buckets().filter(|bucket| bucket.count > 0);
        let buckets = buckets.map(|bucket| Bucket {
            below_seconds: bucket.end.map(|end| end.as_secs_f64()),
            samples: bucket.count,
        });
        let readers = ring.endpoints.iter().filter(|one| one.counters.latencies > 0);
        let readers = readers.map(|one| Reader {
            endpoint: rings::role(one),
            pid: one.pid,
            worker: one.worker.clone(),
            samples: one.counters.latencies,
            mean_seconds: one.counters.latency_sum.as_secs_f64() / one.counters.latencies as f64,
            max_seconds: one.counters.latency_max.as_secs_f64(),
        });
        Self {
            seconds,
            is_total,
            every: ring.sampling,
            figures: Figures::of(found),
            buckets: buckets.collect(),
            readers: readers.collect(),
        }
    }

    /// One line.
    pub(super) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        if output.is_json {
            return output.json(self);
        }
        let samples = format!("{:>9}", self.figures.samples);
        let times = self.figures.times().map(|time| format!("{:>9}", shown(time)));
        writeln!(output, "{samples}  {}", times.join("  "))?;
        Ok(())
    }

    /// The distribution with bars, and the readers.
    pub(super) fn print_total(&self, output: &mut Output) -> Result<(), Failure> {
        if output.is_json {
            return output.json(self);
        }
        let sentence = match self.seconds {
            Some(seconds) => format!("{} in {}", self.figures.sentence(), text::span(seconds)),
            None => format!("{} since the ring was made", self.figures.sentence()),
        };
        writeln!(output, "\n{sentence}")?;
        if self.figures.ignored > 0 {
            let ignored = format!(
                "{} ignored: their time is that of another time namespace, or of the future",
                text::count(self.figures.ignored as usize, "probe")
            );
            let ignored = output.paint(YELLOW, ignored);
            writeln!(output, "{ignored}")?;
        }
        if self.figures.samples == 0 {
            let nothing = match self.every {
                None => "sampling is off: see `packetring latency --help`",
                Some(_) => {
                    "no probe came to a reader: no packets, or --every is too large for them"
                }
            };
            let nothing = output.paint(DIM, nothing);
            writeln!(output, "{nothing}")?;
            return Ok(());
        }
        for line in bars(&self.buckets) {
            writeln!(output, "{line}")?;
        }
        self.print_readers(output)
    }

    fn print_readers(&self, output: &mut Output) -> Result<(), Failure> {
        let mut table = Table::new([
            ("READER", Align::Left),
            ("PID", Align::Right),
            ("WORKER", Align::Left),
            ("SAMPLES", Align::Right),
            ("MEAN", Align::Right),
            ("MAX", Align::Right),
        ]);
        for one in &self.readers {
            table.push([
                text::plain(&one.endpoint).into_owned().into(),
                one.pid.to_string().into(),
                one.worker
                    .as_deref()
                    .map_or("-".into(), |name| text::plain(name).into_owned().into()),
                one.samples.to_string().into(),
                text::span(one.mean_seconds).into(),
                text::span(one.max_seconds).into(),
            ]);
        }
        if !self.readers.is_empty() {
            writeln!(output)?;
            table.print(output)?;
        }
        Ok(())
    }
}

/// A line for each power of two, from the first one with a latency to the last one.
fn bars(buckets: &[Bucket]) -> Vec<String> {
    const BELOW: f64 = 64e-9;
    let end = |power: usize| BELOW * (1_u64 << power) as f64;
    // The power of two that a bucket ends at, or below.
    let power = |bucket: &Bucket| match bucket.below_seconds {
        Some(below) => (0..30).find(|power| below <= end(*power) * 1.0001).unwrap_or(30),
        None => 30,
    };
    let mut samples = [0_u64; 31];
    for bucket in buckets {
        samples[power(bucket)] += bucket.samples;
    }
    let used = |count: &u64| *count > 0;
    let (Some(first), Some(last)) = (samples.iter().position(used), samples.iter().rposition(used))
    else {
        return Vec::new();
    };
    let most = samples.iter().copied().max().unwrap_or(1).max(1);
    let line = |power: usize| {
        let count = samples[power];
        let bar = "#".repeat((count.saturating_mul(LONGEST)).div_ceil(most) as usize);
        let label = match power {
            30 => "longer".to_owned(),
            power => format!("< {}", text::span(end(power))),
        };
        format!("{label:>11}  {count:>9}  {bar}").trim_end().to_owned()
    };
    (first..=last).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_a_line_for_each_power_of_two() {
        let bucket = |below: Option<f64>, samples| Bucket { below_seconds: below, samples };
        let buckets = [bucket(Some(112e-9), 3), bucket(Some(128e-9), 5), bucket(Some(320e-9), 1)];
        let expected = [
            "   < 128 ns          8  ########################################",
            "   < 256 ns          0",
            "   < 512 ns          1  #####",
        ];
        assert_eq!(bars(&buckets), expected);
        assert!(bars(&[]).is_empty());
        assert!(bars(&[bucket(None, 7)])[0].trim_start().starts_with("longer"));
    }
}
