//! What a scenario is: some work between processes, the floor that it is compared with, and what is
//! to be reached.
//!
//! A floor is a scenario too, so both are run by the same hands, in the same places. Work and floor
//! move the same bytes the same way; where they differ, the scenario's `about` says how.

use super::{Outcome, Run, Side};
use hdrhistogram::Histogram;

/// Some work, measured.
pub(crate) trait Scenario {
    /// Its name, in `latest.json` too.
    fn name(&self) -> String;

    /// The work of both sides, in a sentence.
    fn about(&self) -> String;

    /// Bytes of a packet's archive.
    fn payload(&self) -> usize;

    /// Of the value.
    fn unit(&self) -> Unit;

    /// What it is compared with, in the same run.
    fn floor(&self) -> Option<Box<dyn Scenario>> {
        None
    }

    /// What is to be reached.
    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    /// Whether it stands in `latest.json`, or only beside it.
    fn is_headline(&self) -> bool {
        true
    }

    /// The curve that it is a point of, and where.
    fn point(&self) -> Option<(Curve, u64)> {
        None
    }

    /// One run, as the first process does it.
    fn measure(&self, run: &Run) -> Outcome<Sample>;

    /// The same run, as a partner does it.
    fn serve(&self, side: &mut Side) -> Outcome<()>;
}

/// What one run found out.
pub(crate) struct Sample {
    /// In the scenario's unit.
    pub(crate) value: f64,
    /// Each single one, in nanoseconds, if that was recorded.
    pub(crate) latencies: Option<Histogram<u64>>,
}

impl Sample {
    pub(crate) fn of(value: f64) -> Self {
        Self { value, latencies: None }
    }

    /// The median of latencies, in nanoseconds or microseconds.
    pub(crate) fn of_latencies(latencies: Histogram<u64>, unit: Unit) -> Self {
        let median = latencies.value_at_quantile(0.5) as f64;
        let value = if unit == Unit::Microseconds { median / 1e3 } else { median };
        Self { value, latencies: Some(latencies) }
    }
}

/// What plots show: scenarios that differ in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// Bytes of a packet.
    Payload,
    /// Subscribers that do not run while publishing is timed.
    Subscribers,
    /// Publishers to one subscriber.
    Publishers,
    /// Subscribers that all read everything.
    Readers,
}

/// What values count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Microseconds,
    MillionsPerSecond,
    GigabytesPerSecond,
    Kibibytes,
    Percent,
}

impl Unit {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::MillionsPerSecond => "M/s",
            Self::GigabytesPerSecond => "GB/s",
            Self::Kibibytes => "KiB",
            Self::Percent => "%",
        }
    }
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// Value through floor, at least.
    RatioAtLeast(f64),
    /// Value through floor, at most.
    RatioAtMost(f64),
    /// The 99th percentile of the latencies through that of the floor's, at most.
    TailRatioAtMost(f64),
    /// In the scenario's unit, at least.
    AtLeast(f64),
    /// In the scenario's unit, at most.
    AtMost(f64),
    /// Of the value of another scenario in the same run, at least.
    OfOther(&'static str, f64),
    /// Milliseconds of the 99.9th percentile of the latencies, at most.
    TailAtMost(f64),
}
