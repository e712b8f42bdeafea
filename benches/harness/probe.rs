//! Measures the phase of the machine: a cache line bounced between the two cores.
//!
//! Shared with `benches/peers`. The phases themselves are in `phase`.

use super::phase::{Phase, Runs, Spread, in_one_phase};
use crate::bounce::Lines;
use crate::cores::Cores;
use crate::shared::Poll;
use std::time::Instant;

/// Round trips that are timed together: about 0.1 ms.
const BATCH: u64 = 200;
/// Batches of one probe: about 2 ms.
const BATCHES: u64 = 15;

/// Probes one pair of cores, and collects the bounces.
pub(crate) struct Probe {
    cores: Cores,
    bounces: Runs<f64>,
}

impl Probe {
    pub(crate) fn new(cores: Cores) -> Self {
        Self { cores, bounces: Runs::default() }
    }

    /// Calls `run` as [`in_one_phase`] does. Probes nothing if both sides share a core, or if the
    /// phase is `fixed`.
    pub(crate) fn run<T, E: From<String>>(
        &mut self,
        fixed: Option<Phase>,
        run: impl FnMut() -> Result<T, E>,
    ) -> Result<Option<(Phase, T)>, E> {
        match *Phase::possible(fixed, self.cores.are_one()) {
            [only] => in_one_phase(|| Ok(only), run),
            _ => in_one_phase(|| Ok(self.phase()?), run),
        }
    }

    fn phase(&mut self) -> Result<Phase, String> {
        let nanoseconds = bounce(self.cores)?;
        let phase = Phase::of_bounce(nanoseconds);
        self.bounces.add(Some((phase, nanoseconds)));
        Ok(phase)
    }

    /// The bounces that were classified as this phase, in nanoseconds.
    pub(crate) fn bounces(&self, phase: Phase) -> Option<Spread> {
        Spread::of(self.bounces.of(phase).iter().copied())
    }
}

/// Nanoseconds of a cache line there and back between two cores.
///
/// Two threads are enough: a line moves between cores, not between processes. The fastest batch
/// counts, because other work on the machine can only add time.
fn bounce(cores: Cores) -> Result<f64, String> {
    // SAFETY: `Lines` is `Plain`, so zeros are a value of it.
    let lines: Lines = unsafe { std::mem::zeroed() };
    let poll = Poll { yields: false, parent: None };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _pinned = cores.pin_after_joining(cores.1)?;
            (1..=BATCH * BATCHES).try_for_each(|number| lines.answer(number, &poll))
        });
        let fastest = fastest_batch(cores, &lines, &poll);
        other.join().map_err(|_| "the thread that bounces cache lines panicked".to_owned())??;
        fastest
    })
}

fn fastest_batch(cores: Cores, lines: &Lines, poll: &Poll) -> Result<f64, String> {
    let _pinned = cores.pin_after_joining(cores.0)?;
    let mut fastest = f64::INFINITY;
    for batch in 0..BATCHES {
        let started = Instant::now();
        (batch * BATCH + 1..=(batch + 1) * BATCH)
            .try_for_each(|number| lines.call(number, poll))?;
        fastest = fastest.min(started.elapsed().as_nanos() as f64 / BATCH as f64);
    }
    Ok(fastest)
}
