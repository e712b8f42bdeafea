//! The processor time of a parked reader: a subscriber process that waits by the default policy.
//!
//! The subscriber waits for seconds until one packet is sent, and reports its processor time as a
//! percentage of the wait. This includes the initial spinning, each poll after a bounded sleep, and
//! the wake-up. A publisher exists all the time. The floor is a thread that sleeps equally often
//! and does nothing else.

use super::packets::{Numbered, Tick};
use crate::floor::Doze;
use crate::harness::{
    Outcome, Phase, Run, Sample, Scale, Scenario, Side, THERE, Target, Unit, check, processor_time,
};
use packetring::{Publisher, Ring, Subscriber};
use std::time::{Duration, Instant};

/// A subscriber that sleeps.
pub(crate) struct Parked;

impl Parked {
    /// Time without a packet.
    fn silence(run: &Run) -> Duration {
        match run.scale {
            Scale::Full => Duration::from_secs(4),
            Scale::Quick => Duration::from_secs(1),
            Scale::Trial => Duration::from_millis(100),
        }
    }
}

impl Scenario for Parked {
    fn name(&self) -> String {
        "parked_reader".into()
    }

    fn about(&self) -> String {
        "processor time of a subscriber that waits for seconds, in percent of the wait".into()
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Percent
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(Doze { silence: Self::silence }))
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target::AtMost(0.05)]
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::Any)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let mut ticks: Publisher<Tick> = Ring::open(&run.ring(THERE))?.publisher()?;
        let mut reader = run.start(0)?;
        std::thread::sleep(Self::silence(run));
        ticks.send(&Tick::blank())?;
        let percent = reader.read_line()?.parse()?;
        reader.finish()?;
        Ok(Sample::of(percent))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let mut ticks: Subscriber<Tick> = Ring::attach(&side.run.ring(THERE))?.subscriber()?;
        side.ready()?;
        let (started, before) = (Instant::now(), processor_time());
        check(Tick::is(&*ticks.recv()?, 0), 0)?;
        let (waited, took) = (started.elapsed(), processor_time() - before);
        if waited < Self::silence(&side.run) / 2 {
            return Err(format!("packet came too early: after {waited:?}").into());
        }
        side.report(&(100.0 * took.as_secs_f64() / waited.as_secs_f64()).to_string())
    }
}
