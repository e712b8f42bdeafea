//! Definition of a scenario: work between processes, a floor to compare it with, and targets.
//!
//! A floor is a scenario too, so the same code runs both on the same cores. Work and floor move the
//! same bytes the same way; the scenario's `about` states any difference.

use super::{Outcome, Phase, Run, Side};
use hdrhistogram::Histogram;

/// Work that can be measured.
pub(crate) trait Scenario {
    /// Name of the scenario, also in `latest.json`.
    fn name(&self) -> String;

    /// Describes the work of both sides in one phrase.
    fn about(&self) -> String;

    /// Size of a packet's archive in bytes.
    fn payload(&self) -> usize;

    /// Unit of the measured value.
    fn unit(&self) -> Unit;

    /// Scenario to compare with, measured in the same run.
    fn floor(&self) -> Option<Box<dyn Scenario>> {
        None
    }

    /// All floors, if there are several. The best one in each phase counts.
    fn floors(&self) -> Vec<Box<dyn Scenario>> {
        self.floor().into_iter().collect()
    }

    /// Goals for the value.
    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    /// True if the scenario goes into `latest.json`, false if into `more.json`.
    fn is_headline(&self) -> bool {
        true
    }

    /// Curve of a plot that the scenario belongs to, and its position on the x axis.
    fn point(&self) -> Option<(Curve, u64)> {
        None
    }

    /// Phase of all runs if no probe is needed: the runs use one core, or their value does not
    /// depend on the placement of the cores.
    fn fixed_phase(&self) -> Option<Phase> {
        None
    }

    /// Runs the measuring side once.
    fn measure(&self, run: &Run) -> Outcome<Sample>;

    /// Runs a partner's side of the same run.
    fn serve(&self, side: &mut Side) -> Outcome<()>;
}

/// Result of one run.
pub(crate) struct Sample {
    /// Value in the scenario's unit.
    pub(crate) value: f64,
    /// Single latencies in nanoseconds, if the scenario records them.
    pub(crate) latencies: Option<Histogram<u64>>,
}

impl Sample {
    pub(crate) fn of(value: f64) -> Self {
        Self { value, latencies: None }
    }

    /// The value is the median of the latencies, in nanoseconds or microseconds.
    pub(crate) fn of_latencies(latencies: Histogram<u64>, unit: Unit) -> Self {
        Self::of_quantile(0.5, latencies, unit)
    }

    /// The value is a quantile of the latencies, in nanoseconds or microseconds.
    pub(crate) fn of_quantile(quantile: f64, latencies: Histogram<u64>, unit: Unit) -> Self {
        let value = latencies.value_at_quantile(quantile) as f64;
        let value = if unit == Unit::Microseconds { value / 1e3 } else { value };
        Self { value, latencies: Some(latencies) }
    }
}

/// Scenarios that differ in one number, which is the x axis of a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// Size of a packet in bytes.
    Payload,
    /// Number of subscribers, none of which runs while publishing is timed.
    Subscribers,
    /// Number of publishers to one subscriber.
    Publishers,
    /// Number of subscribers that read every packet.
    Readers,
}

/// Unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Microseconds,
    MillionsPerSecond,
    GigabytesPerSecond,
    Kibibytes,
    Percent,
    Times,
    /// Wake-ups per packet.
    Wakes,
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
            Self::Times => "×",
            Self::Wakes => "wakes",
        }
    }

    /// Returns true if the larger of two values is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::MillionsPerSecond | Self::GigabytesPerSecond)
    }
}

/// Goal for a scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// Value divided by floor, at least.
    RatioAtLeast(f64),
    /// Value divided by floor in one phase, at least.
    RatioIn(Phase, f64),
    /// Value divided by floor, at most.
    RatioAtMost(f64),
    /// 99th percentile of the latencies divided by the floor's, at most.
    TailRatioAtMost(f64),
    /// Value in the scenario's unit, at least.
    AtLeast(f64),
    /// Value in the scenario's unit, at most.
    AtMost(f64),
    /// Value divided by the value of another scenario in the same phase, at least.
    OfOther(&'static str, f64),
    /// 99.9th percentile of the latencies in milliseconds, at most.
    TailAtMost(f64),
}
