//! The results of a scenario and of its floor over all runs.

use super::table::figure;
use crate::harness::{Curve, Outcome, Sample, Scenario, Target, Unit, median};
use hdrhistogram::Histogram;

/// A scenario, what its runs found out, and what those of its floor did.
pub(crate) struct Results {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) payload: usize,
    pub(crate) unit: Unit,
    pub(crate) targets: Vec<Target>,
    pub(crate) is_headline: bool,
    pub(crate) point: Option<(Curve, u64)>,
    /// What the floor does; empty if there is none.
    pub(crate) floor_about: String,
    pub(crate) work: Series,
    pub(crate) floor: Series,
}

impl Results {
    /// None yet.
    pub(crate) fn of(scenario: &dyn Scenario) -> Self {
        Self {
            name: scenario.name(),
            about: scenario.about(),
            payload: scenario.payload(),
            unit: scenario.unit(),
            targets: scenario.targets(),
            is_headline: scenario.is_headline(),
            point: scenario.point(),
            floor_about: scenario.floor().map_or(String::new(), |floor| floor.about()),
            work: Series::default(),
            floor: Series::default(),
        }
    }

    /// The median through the floor's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.work.median()? / self.floor.median()?)
    }

    /// The same of another percentile of the latencies.
    pub(crate) fn ratio_at(&self, quantile: f64) -> Option<f64> {
        Some(self.work.latency_at(quantile)? / self.floor.latency_at(quantile)?)
    }

    /// Each target in words, and whether it was reached; nothing if that cannot be said.
    pub(crate) fn verdicts(&self, all: &[Self]) -> Vec<(String, Option<bool>)> {
        self.targets.iter().map(|target| self.verdict(*target, all)).collect()
    }

    fn verdict(&self, target: Target, all: &[Self]) -> (String, Option<bool>) {
        let unit = self.unit.label();
        let value = self.work.median();
        match target {
            Target::RatioAtLeast(least) => (format!("≥ {least}×"), at_least(self.ratio(), least)),
            Target::RatioAtMost(most) => {
                let middle = self.work.middle().zip(self.floor.middle()).map(|(a, b)| a / b);
                let finer = middle.map(|middle| format!(" (middle half {middle:.2}×)"));
                let text = format!("≤ {most}×{}", finer.unwrap_or_default());
                (text, at_most(self.ratio(), most))
            }
            Target::TailRatioAtMost(most) => {
                let ratio = self.ratio_at(0.99);
                (format!("p99 ≤ {most}× (is {})", figure(ratio)), at_most(ratio, most))
            }
            Target::AtLeast(least) => (format!("≥ {least} {unit}"), at_least(value, least)),
            Target::AtMost(most) => {
                (format!("≤ {} {unit}", figure(Some(most))), at_most(value, most))
            }
            Target::OfOther(name, least) => {
                let other = all.iter().find(|one| one.name == name);
                let share = value.zip(other.and_then(|one| one.work.median())).map(|(a, b)| a / b);
                (format!("≥ {least} of {name} (is {})", figure(share)), at_least(share, least))
            }
            Target::TailAtMost(most) => {
                let tail = self.work.latency_at(0.999).map(|nanoseconds| nanoseconds / 1e6);
                (format!("p99.9 of a send ≤ {most} ms (is {})", figure(tail)), at_most(tail, most))
            }
        }
    }
}

fn at_least(value: Option<f64>, least: f64) -> Option<bool> {
    value.map(|value| value >= least)
}

fn at_most(value: Option<f64>, most: f64) -> Option<bool> {
    value.map(|value| value <= most)
}

/// What several runs of the same found out.
#[derive(Default)]
pub(crate) struct Series {
    values: Vec<f64>,
    /// Of all runs together.
    pub(crate) latencies: Option<Histogram<u64>>,
}

impl Series {
    pub(crate) fn add(&mut self, sample: Sample) -> Outcome<()> {
        self.values.push(sample.value);
        match (&mut self.latencies, sample.latencies) {
            (Some(all), Some(some)) => all.add(some)?,
            (all @ None, some) => *all = some,
            (Some(_), None) => {}
        }
        Ok(())
    }

    pub(crate) fn median(&self) -> Option<f64> {
        (!self.values.is_empty()).then(|| median(&self.values))
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.values.iter().copied().reduce(f64::min)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.values.iter().copied().reduce(f64::max)
    }

    /// The mean of the middle half of the latencies, in nanoseconds: near the median, and finer
    /// than the steps of a coarse clock.
    pub(crate) fn middle(&self) -> Option<f64> {
        let all = self.latencies.as_ref()?;
        let (from, to) = (all.len() / 4, all.len() - all.len() / 4);
        let (mut before, mut sum) = (0, 0.0);
        for step in all.iter_recorded() {
            let after = before + step.count_at_value();
            let inside = after.min(to).saturating_sub(before.max(from));
            sum += inside as f64 * step.value_iterated_to() as f64;
            before = after;
        }
        (to > from).then(|| sum / (to - from) as f64)
    }

    /// Nanoseconds at this quantile.
    pub(crate) fn latency_at(&self, quantile: f64) -> Option<f64> {
        self.latencies.as_ref().map(|all| all.value_at_quantile(quantile) as f64)
    }
}
