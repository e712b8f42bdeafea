//! The results of a scenario and of its floor over all runs.

use super::row::Row;
use crate::harness::{Curve, Outcome, Phase, Runs, Sample, Scenario, Spread, Target, Unit};
use hdrhistogram::Histogram;

/// A scenario with all its runs and all runs of its floor.
pub(crate) struct Results {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) payload: usize,
    pub(crate) unit: Unit,
    pub(crate) targets: Vec<Target>,
    pub(crate) is_headline: bool,
    pub(crate) point: Option<(Curve, u64)>,
    fixed_phase: Option<Phase>,
    /// Describes the floor; empty if there is none.
    pub(crate) floor_about: String,
    pub(crate) work: Runs<Sample>,
    pub(crate) floor: Runs<Sample>,
}

impl Results {
    /// Results without runs.
    pub(crate) fn of(scenario: &dyn Scenario) -> Self {
        Self {
            name: scenario.name(),
            about: scenario.about(),
            payload: scenario.payload(),
            unit: scenario.unit(),
            targets: scenario.targets(),
            is_headline: scenario.is_headline(),
            point: scenario.point(),
            fixed_phase: scenario.fixed_phase(),
            floor_about: scenario.floor().map_or(String::new(), |floor| floor.about()),
            work: Runs::default(),
            floor: Runs::default(),
        }
    }

    /// Returns a row for each possible phase, including phases without runs.
    pub(crate) fn rows(&self, is_one_core: bool) -> Outcome<Vec<Row<'_>>> {
        let phases = Phase::possible(self.fixed_phase, is_one_core).iter();
        let row = |phase: &Phase| {
            let work = Series::of(self.work.of(*phase))?;
            let floor = Series::of(self.floor.of(*phase))?;
            Ok(Row { results: self, phase: *phase, work, floor })
        };
        phases.map(row).collect()
    }
}

/// Statistics over some runs of one phase.
pub(crate) struct Series {
    pub(crate) runs: usize,
    spread: Option<Spread>,
    /// Latencies of all runs together.
    latencies: Option<Histogram<u64>>,
}

impl Series {
    fn of(samples: &[Sample]) -> Outcome<Self> {
        let spread = Spread::of(samples.iter().map(|sample| sample.value));
        let mut recorded = samples.iter().filter_map(|sample| sample.latencies.as_ref());
        let mut latencies = recorded.next().cloned();
        if let Some(all) = &mut latencies {
            recorded.try_for_each(|some| all.add(some))?;
        }
        Ok(Self { runs: samples.len(), spread, latencies })
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.spread.map(|spread| spread.median)
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.spread.map(|spread| spread.min)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.spread.map(|spread| spread.max)
    }

    /// Mean of the middle half of the latencies, in nanoseconds. It is close to the median and
    /// finer than the steps of a coarse clock.
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

    /// Latency at this quantile, in nanoseconds.
    pub(crate) fn latency_at(&self, quantile: f64) -> Option<f64> {
        self.latencies.as_ref().map(|all| all.value_at_quantile(quantile) as f64)
    }
}
