//! The floor of threads that wait: a thread sleeps as often as an idle subscriber, and does nothing
//! in between.

use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, processor_time};
use std::time::{Duration, Instant};

/// Sleep of an idle subscriber between two polls.
const NAP: Duration = Duration::from_millis(240);

/// Sleeps in a loop.
pub(crate) struct Doze {
    pub(crate) silence: fn(&Run) -> Duration,
}

impl Scenario for Doze {
    fn name(&self) -> String {
        "floor_doze".into()
    }

    fn about(&self) -> String {
        "processor time of a thread that sleeps 240 ms at a time, in percent of the time".into()
    }

    fn payload(&self) -> usize {
        0
    }

    fn unit(&self) -> Unit {
        Unit::Percent
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let (started, before) = (Instant::now(), processor_time());
        while started.elapsed() < (self.silence)(run) {
            std::thread::park_timeout(NAP);
        }
        let took = processor_time() - before;
        Ok(Sample::of(100.0 * took.as_secs_f64() / started.elapsed().as_secs_f64()))
    }

    fn serve(&self, _: &mut Side) -> Outcome<()> {
        Err("floor_doze has no partner".into())
    }
}
