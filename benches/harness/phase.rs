//! Phases of the machine, and statistics that never mix them.
//!
//! A hypervisor may place two virtual cores close together at one moment and far apart at the next,
//! or both on one core of the machine. Nothing inside the machine reports the placement, and it can
//! change within seconds. The time of one cache line there and back gives it away:
//!
//! | 2 virtual cores of | siblings | coupled | apart |
//! |---|---|---|---|
//! | AMD EPYC (Zen 3) | 33 to 45 ns | 75 to 121 ns | 271 to 400 ns |
//! | AMD EPYC (Zen 4) | not seen | 96 to 104 ns | 470 to 540 ns |
//! | AMD EPYC (Zen 5) | not seen | 80 to 160 ns | 490 to 590 ns |
//! | Intel Xeon at 2.6 GHz | not seen | not seen | 220 to 330 ns, at times 410 to 500 ns |
//!
//! These are figures of optimized builds. A debug build adds about 100 ns to each, so its phases
//! are not reliable.
//!
//! The phase changes a result more than the code does. So each run is tagged with its phase, and a
//! median, a spread or a ratio covers runs of one phase only.
//!
//! Limit: the phase is measured before and after a run. Two changes during one run go unnoticed.
//!
//! `benches/peers` and `tests/bench_phases.rs` include this file, so it depends on no other.

use std::collections::BTreeMap;

/// From this round trip of a cache line on, the cores count as coupled. Nanoseconds.
///
/// It lies between the slowest bounce between siblings (45 ns) and the fastest coupled bounce
/// (75 ns) that were measured.
pub(crate) const COUPLED_FROM: f64 = 55.0;

/// From this round trip of a cache line on, the cores count as apart. Nanoseconds.
///
/// It lies between the slowest coupled bounce (160 ns) and the fastest apart bounce (220 ns) that
/// were measured.
pub(crate) const APART_FROM: f64 = 200.0;

/// How often a run is tried until the phase before it equals the phase after it.
pub(crate) const ATTEMPTS: usize = 3;

/// The placement of the cores during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The two cores are threads of one core, so a cache line does not move at all.
    Siblings,
    /// A cache line moves between the two cores fast.
    Coupled,
    /// A cache line moves between the two cores slowly.
    Apart,
    /// All processes share one core, so no line moves.
    OneCore,
    /// The result does not depend on the placement: memory, or the processor time of a sleeper.
    Any,
}

impl Phase {
    /// Classifies the round trip of a cache line between the two cores, in nanoseconds.
    pub(crate) fn of_bounce(nanoseconds: f64) -> Self {
        match nanoseconds {
            ..COUPLED_FROM => Self::Siblings,
            ..APART_FROM => Self::Coupled,
            _ => Self::Apart,
        }
    }

    /// The value of `phase` in JSON, and the end of file names of plots.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Siblings => "siblings",
            Self::Coupled => "coupled",
            Self::Apart => "apart",
            Self::OneCore => "one-core",
            Self::Any => "any",
        }
    }

    /// The phase in a heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Siblings => "cores that are threads of one core",
            Self::Coupled => "cores coupled",
            Self::Apart => "cores apart",
            Self::OneCore => "one core",
            Self::Any => "any placement",
        }
    }

    /// The phases that runs on these cores can have. `fixed`: the phase does not depend on them.
    pub(crate) fn possible(fixed: Option<Self>, is_one_core: bool) -> &'static [Self] {
        match fixed {
            Some(Self::Any) => &[Self::Any],
            Some(Self::OneCore) => &[Self::OneCore],
            _ if is_one_core => &[Self::OneCore],
            _ => &[Self::Siblings, Self::Coupled, Self::Apart],
        }
    }
}

/// Repeats `run` until `probe` gives the same phase before and after it. Returns the phase and the
/// result of that run, or `None` if the phase changed during each of [`ATTEMPTS`] runs.
pub(crate) fn in_one_phase<T, E>(
    mut probe: impl FnMut() -> Result<Phase, E>,
    mut run: impl FnMut() -> Result<T, E>,
) -> Result<Option<(Phase, T)>, E> {
    for _ in 0..ATTEMPTS {
        let before = probe()?;
        let result = run()?;
        if probe()? == before {
            return Ok(Some((before, result)));
        }
    }
    Ok(None)
}

/// Describes how phases are determined, for reports.
pub(crate) fn method() -> String {
    format!(
        "Before and after each run, a cache line was bounced between the two cores. From \
         {APART_FROM} ns there and back on the cores count as apart, below as coupled, and below \
         {COUPLED_FROM} ns as threads of one core. A run was repeated if this phase changed during it, with at most {ATTEMPTS} attempts. Each median, \
         spread and ratio covers runs of one phase."
    )
}

/// Results of runs, grouped by phase.
#[derive(Debug)]
pub(crate) struct Runs<T> {
    by_phase: BTreeMap<Phase, Vec<T>>,
    mixed: usize,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self { by_phase: BTreeMap::new(), mixed: 0 }
    }
}

impl<T> Runs<T> {
    /// Adds what [`in_one_phase`] returned.
    pub(crate) fn add(&mut self, outcome: Option<(Phase, T)>) {
        match outcome {
            Some((phase, result)) => self.by_phase.entry(phase).or_default().push(result),
            None => self.mixed += 1,
        }
    }

    /// The runs of one phase, in order.
    pub(crate) fn of(&self, phase: Phase) -> &[T] {
        self.by_phase.get(&phase).map_or(&[], Vec::as_slice)
    }

    /// Runs that were left out because the phase changed during all attempts.
    pub(crate) fn mixed(&self) -> usize {
        self.mixed
    }
}

/// Median and extremes of some runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` if there are no values. The median of an even number is the mean of the middle two.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: low.midpoint(high), min, max })
    }
}

/// Runs of one phase that lie close together, and apart from the phase's other runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) spread: Spread,
    pub(crate) runs: usize,
}

/// The lower and the higher state of runs that have two. `None` if the runs have one state, or are
/// too few to tell.
///
/// Some work is stable at either of two speeds, as a reader that polls the line that is being
/// written. The median of such runs is the speed of whichever state occurred more often. Two states
/// are two groups of at least two runs each. The gap between them is at least [`GAP`], and wider
/// than either group.
pub(crate) fn two_states(values: impl Iterator<Item = f64>) -> Option<[State; 2]> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let gap = |split: usize| values[split] / values[split - 1];
    let splits = 2..values.len().saturating_sub(1);
    let split = splits.max_by(|a, b| gap(*a).total_cmp(&gap(*b)))?;
    let state = |group: &[f64]| {
        let spread = Spread::of(group.iter().copied())?;
        Some(State { spread, runs: group.len() })
    };
    let states = [state(&values[..split])?, state(&values[split..])?];
    let is_wider = |state: &State| gap(split) > state.spread.max / state.spread.min;
    (gap(split) >= GAP && states.iter().all(is_wider)).then_some(states)
}

/// The least ratio between the values of two states.
const GAP: f64 = 1.25;

#[cfg(test)]
#[allow(dead_code, reason = "a bench with a `main` of its own compiles tests, but runs none")]
mod tests {
    use super::*;

    #[test]
    fn bounces_that_were_measured_are_classified() {
        for siblings in [20.0, 33.0, 45.0] {
            assert_eq!(Phase::of_bounce(siblings), Phase::Siblings, "{siblings}");
        }
        for coupled in [60.0, 75.0, 80.0, 104.0, 121.0, 160.0] {
            assert_eq!(Phase::of_bounce(coupled), Phase::Coupled, "{coupled}");
        }
        for apart in [220.0, 290.0, 410.0, 470.0, 540.0, 590.0, 2000.0] {
            assert_eq!(Phase::of_bounce(apart), Phase::Apart, "{apart}");
        }
        assert_eq!(Phase::of_bounce(COUPLED_FROM), Phase::Coupled);
        assert_eq!(Phase::of_bounce(APART_FROM), Phase::Apart);
    }

    #[test]
    fn only_runs_on_two_cores_have_several_phases() {
        let all = [Phase::Siblings, Phase::Coupled, Phase::Apart];
        assert_eq!(Phase::possible(None, false), all);
        assert_eq!(Phase::possible(None, true), [Phase::OneCore]);
        for is_one_core in [false, true] {
            for fixed in [Phase::OneCore, Phase::Any] {
                assert_eq!(Phase::possible(Some(fixed), is_one_core), [fixed]);
            }
        }
    }

    /// Runs with these phases before and after each attempt. Returns the outcome, and the number of
    /// attempts.
    fn attempt(phases: &[Phase]) -> (Option<(Phase, usize)>, usize) {
        let (mut phases, mut attempts) = (phases.iter().copied(), 0);
        let outcome = in_one_phase(
            || phases.next().ok_or("probed too often"),
            || {
                attempts += 1;
                Ok(attempts)
            },
        );
        let outcome = outcome.unwrap();
        assert_eq!(phases.next(), None, "probed too seldom");
        (outcome, attempts)
    }

    #[test]
    fn a_run_is_repeated_while_its_phase_changes() {
        use Phase::{Apart, Coupled};
        assert_eq!(attempt(&[Apart, Apart]), (Some((Apart, 1)), 1));
        assert_eq!(attempt(&[Apart, Coupled, Coupled, Coupled]), (Some((Coupled, 2)), 2));
        let never = [Apart, Coupled, Coupled, Apart, Apart, Coupled];
        assert_eq!(attempt(&never), (None, ATTEMPTS));
    }

    #[test]
    fn a_failed_run_is_not_repeated() {
        let mut runs = 0;
        let outcome: Result<Option<(Phase, ())>, _> = in_one_phase(
            || Ok(Phase::Apart),
            || {
                runs += 1;
                Err("failed")
            },
        );
        assert_eq!((outcome, runs), (Err("failed"), 1));
    }

    #[test]
    fn a_median_covers_one_phase_and_no_mixed_run() {
        let mut runs = Runs::default();
        for (phase, value) in [
            (Phase::Coupled, 30.0),
            (Phase::Apart, 7.0),
            (Phase::Coupled, 28.0),
            (Phase::Apart, 9.0),
            (Phase::Coupled, 47.0),
        ] {
            runs.add(Some((phase, value)));
        }
        runs.add(None);
        let spread = |phase| Spread::of(runs.of(phase).iter().copied());
        let coupled = Spread { median: 30.0, min: 28.0, max: 47.0 };
        assert_eq!(spread(Phase::Coupled), Some(coupled));
        assert_eq!(spread(Phase::Apart), Some(Spread { median: 8.0, min: 7.0, max: 9.0 }));
        assert_eq!(spread(Phase::OneCore), None);
        assert_eq!(runs.mixed(), 1);
    }

    #[test]
    fn two_states_are_two_groups_with_a_gap() {
        let states = |values: &[f64]| {
            let states = two_states(values.iter().copied())?;
            Some(states.map(|state| (state.spread.median, state.runs)))
        };
        let found = states(&[28.0, 47.0, 30.0, 50.0, 29.0]);
        assert_eq!(found, Some([(29.0, 3), (48.5, 2)]));
        for one in [
            &[28.0, 29.0, 30.0, 31.0][..],
            // One run is no state.
            &[28.0, 29.0, 30.0, 60.0],
            &[28.0, 28.0, 47.0],
            // A group is as wide as the gap.
            &[10.0, 15.0, 20.0, 21.0],
            &[7.0],
            &[],
        ] {
            assert_eq!(states(one), None, "{one:?}");
        }
    }

    #[test]
    fn a_spread_needs_no_order() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }
}
