//! A row of the report: a scenario and its floor in one phase of the machine.

use super::results::{Results, Series};
use super::table::figure;
use crate::harness::{Phase, Target};

/// The runs of one scenario in one phase, beside the runs of its floor in the same phase.
pub(crate) struct Row<'a> {
    pub(crate) results: &'a Results,
    pub(crate) phase: Phase,
    pub(crate) work: Series,
    pub(crate) floor: Series,
}

impl Row<'_> {
    /// The median divided by the floor's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.work.median()? / self.floor.median()?)
    }

    /// The ratio at another quantile of the latencies.
    fn ratio_at(&self, quantile: f64) -> Option<f64> {
        Some(self.work.latency_at(quantile)? / self.floor.latency_at(quantile)?)
    }

    /// Number of runs of the scenario and of its floor, such as `5/6`.
    pub(crate) fn runs(&self) -> String {
        match self.results.floor_about.as_str() {
            "" => self.work.runs.to_string(),
            _ => format!("{}/{}", self.work.runs, self.floor.runs),
        }
    }

    /// Each target in words, and whether the value reached it. `None` if a value is missing.
    pub(crate) fn verdicts(&self, all: &[Row<'_>]) -> Vec<(String, Option<bool>)> {
        self.results.targets.iter().map(|target| self.verdict(*target, all)).collect()
    }

    fn verdict(&self, target: Target, all: &[Row<'_>]) -> (String, Option<bool>) {
        let unit = self.results.unit.label();
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
                let is_other = |row: &&Row| row.results.name == name && row.phase == self.phase;
                let other = all.iter().find(is_other).and_then(|row| row.work.median());
                let share = value.zip(other).map(|(a, b)| a / b);
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
