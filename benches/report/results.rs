//! The results of a scenario and of its floors over all runs.

use super::row::Row;
use crate::harness::{
    Curve, Outcome, Phase, Runs, Sample, Scenario, Spread, State, Target, Unit, two_states,
};
use hdrhistogram::Histogram;

/// A scenario with all its runs and all runs of its floors.
pub(crate) struct Results {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) payload: usize,
    pub(crate) unit: Unit,
    pub(crate) targets: Vec<Target>,
    pub(crate) is_headline: bool,
    pub(crate) point: Option<(Curve, u64)>,
    fixed_phase: Option<Phase>,
    pub(crate) work: Runs<Sample>,
    pub(crate) floors: Vec<Floor>,
}

/// A floor of a scenario, with all its runs.
pub(crate) struct Floor {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) runs: Runs<Sample>,
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
            work: Runs::default(),
            floors: scenario.floors().iter().map(|floor| Floor::of(&**floor)).collect(),
        }
    }

    /// Returns a row for each possible phase, including phases without runs.
    pub(crate) fn rows(&self, is_one_core: bool) -> Outcome<Vec<Row<'_>>> {
        let phases = Phase::possible(self.fixed_phase, is_one_core).iter();
        let row = |phase: &Phase| {
            let work = Series::of(self.work.of(*phase))?;
            let (best_floor, floor) = self.best_floor(*phase)?;
            Ok(Row { results: self, phase: *phase, work, best_floor, floor })
        };
        phases.map(row).collect()
    }

    /// The floor with the best median of a phase, and its runs. The first floor if none has runs.
    fn best_floor(&self, phase: Phase) -> Outcome<(Option<&Floor>, Series)> {
        let (mut best, mut best_series) = (self.floors.first(), Series::of(&[])?);
        for floor in &self.floors {
            let series = Series::of(floor.runs.of(phase))?;
            let is_better = match (series.median(), best_series.median()) {
                (Some(median), Some(best)) if self.unit.more_is_better() => median > best,
                (Some(median), Some(best)) => median < best,
                (found, _) => found.is_some(),
            };
            if is_better {
                (best, best_series) = (Some(floor), series);
            }
        }
        Ok((best, best_series))
    }

    /// Runs of all floors that belong to no phase.
    pub(crate) fn mixed_of_floors(&self) -> usize {
        self.floors.iter().map(|floor| floor.runs.mixed()).sum()
    }
}

impl Floor {
    fn of(scenario: &dyn Scenario) -> Self {
        Self { name: scenario.name(), about: scenario.about(), runs: Runs::default() }
    }
}

/// Statistics over some runs of one phase.
pub(crate) struct Series {
    pub(crate) runs: usize,
    spread: Option<Spread>,
    /// The two states of the runs, if they have two.
    pub(crate) states: Option<[State; 2]>,
    /// Latencies of all runs together.
    latencies: Option<Histogram<u64>>,
}

impl Series {
    fn of(samples: &[Sample]) -> Outcome<Self> {
        let values = || samples.iter().map(|sample| sample.value);
        let mut recorded = samples.iter().filter_map(|sample| sample.latencies.as_ref());
        let mut latencies = recorded.next().cloned();
        if let Some(all) = &mut latencies {
            recorded.try_for_each(|some| all.add(some))?;
        }
        let (spread, states) = (Spread::of(values()), two_states(values()));
        Ok(Self { runs: samples.len(), spread, states, latencies })
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.spread.map(|spread| spread.median)
    }

    /// The median of the worse state; of all runs if they have one state.
    pub(crate) fn worse(&self, unit: Unit) -> Option<f64> {
        match self.states {
            Some([low, high]) => Some(if unit.more_is_better() { low } else { high }.spread.median),
            None => self.median(),
        }
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
