//! A row of the report: a scenario and its best floor in one phase of the machine.

use super::results::{Floor, Results, Series};
use super::table::figure;
use crate::harness::{Phase, State, Target};

/// The runs of one scenario in one phase, beside the runs of the floor that is the best one in the
/// same phase.
pub(crate) struct Row<'a> {
    pub(crate) results: &'a Results,
    pub(crate) phase: Phase,
    pub(crate) work: Series,
    pub(crate) best_floor: Option<&'a Floor>,
    pub(crate) floor: Series,
}

impl Row<'_> {
    /// The median divided by the floor's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.work.median()? / self.floor.median()?)
    }

    /// The ratio that targets are about: that of the worse state, if the runs have two.
    fn worse_ratio(&self) -> Option<f64> {
        Some(self.work.worse(self.results.unit)? / self.floor.median()?)
    }

    /// The ratio at another quantile of the latencies.
    fn ratio_at(&self, quantile: f64) -> Option<f64> {
        Some(self.work.latency_at(quantile)? / self.floor.latency_at(quantile)?)
    }

    /// Number of runs of the scenario and of its floor, such as `5/6`.
    pub(crate) fn runs(&self) -> String {
        match self.best_floor {
            None => self.work.runs.to_string(),
            Some(_) => format!("{}/{}", self.work.runs, self.floor.runs),
        }
    }

    /// Facts that the columns do not show: two states, and which of several floors was the best.
    pub(crate) fn notes(&self) -> Vec<String> {
        let states = |of: &str, series: &Series| {
            let [low, high] = series.states?.map(about);
            Some(format!("{of}two states, {low} and {high}"))
        };
        let best = self.best_floor.filter(|_| self.results.floors.len() > 1);
        let best = best.filter(|_| self.floor.runs > 0);
        let notes = [
            states("", &self.work),
            states("floor: ", &self.floor),
            best.map(|floor| format!("best floor: {}", floor.name)),
        ];
        notes.into_iter().flatten().collect()
    }

    /// Each target of this phase in words, and whether the value reached it. `None` if a value is
    /// missing. If the runs have two states, the worse one counts.
    pub(crate) fn verdicts(&self, all: &[Row<'_>]) -> Vec<(String, Option<bool>)> {
        let is_of_phase = |target: &&Target| match target {
            Target::RatioIn(phase, _) => *phase == self.phase,
            _ => true,
        };
        let targets = self.results.targets.iter().filter(is_of_phase);
        targets.map(|target| self.verdict(*target, all)).collect()
    }

    fn verdict(&self, target: Target, all: &[Row<'_>]) -> (String, Option<bool>) {
        let unit = self.results.unit.label();
        let value = self.work.worse(self.results.unit);
        match target {
            Target::RatioAtLeast(least) | Target::RatioIn(_, least) => {
                (format!("≥ {least}×"), at_least(self.worse_ratio(), least))
            }
            Target::RatioAtMost(most) => {
                let middle = self.work.middle().zip(self.floor.middle());
                let middle = middle.map(|(a, b)| a / b);
                let finer = middle.map(|middle| format!(" (middle half {middle:.2}×)"));
                let text = format!("≤ {most}×{}", finer.unwrap_or_default());
                (text, at_most(self.worse_ratio(), most))
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
                let other = all.iter().find(is_other);
                let share = value.zip(other.and_then(|row| row.work.median()));
                let share = share.map(|(a, b)| a / b);
                let runs = other.map_or(0, |row| row.work.runs);
                let text = format!("≥ {least} of {name} (is {}, {runs} runs)", figure(share));
                (text, at_least(share, least))
            }
            Target::TailAtMost(most) => {
                let tail = self.work.latency_at(0.999).map(|nanoseconds| nanoseconds / 1e6);
                (format!("p99.9 of a send ≤ {most} ms (is {})", figure(tail)), at_most(tail, most))
            }
        }
    }
}

/// Describes a state, such as `28.3 (28.0 to 29.9, 4 runs)`.
fn about(State { spread, runs }: State) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|at| figure(Some(at)));
    format!("{median} ({min} to {max}, {runs} runs)")
}

fn at_least(value: Option<f64>, least: f64) -> Option<bool> {
    value.map(|value| value >= least)
}

fn at_most(value: Option<f64>, most: f64) -> Option<bool> {
    value.map(|value| value <= most)
}
