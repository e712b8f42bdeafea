//! One run of a scenario: what its processes agree on, and a partner's side of it.

use super::{Outcome, Partner, Scenario, leftovers};
use crate::cores::{Cores, Pinned};
use crate::shared::Poll;
use clap::ValueEnum;
use std::io::{BufRead, Write, stdin, stdout};
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

/// The rings of a run: one, or one each way.
pub(crate) const THERE: &str = "there";
pub(crate) const BACK: &str = "back";

/// How much is done in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// Enough to be quoted.
    Full,
    /// Enough to see where one is.
    Quick,
    /// Enough to see that it works.
    Trial,
}

/// What all processes of a run know.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Its scenario.
    pub(crate) name: String,
    /// Whether the scenario's floor is run in its place.
    pub(crate) is_floor: bool,
    /// The process that measures.
    pub(crate) parent: u32,
    pub(crate) scale: Scale,
    /// The first is the parent's.
    pub(crate) cores: Cores,
}

impl Run {
    /// As many as a full run has, or a part of them.
    pub(crate) fn count(&self, full: u64) -> u64 {
        match self.scale {
            Scale::Full => full,
            Scale::Quick => (full / 8).max(8),
            Scale::Trial => (full / 500).max(4),
        }
    }

    /// The name of a ring that only this run has.
    pub(crate) fn ring(&self, which: &str) -> String {
        format!("speed-{}-{which}", self.parent)
    }

    /// The name of a floor's memory.
    pub(crate) fn object(&self) -> String {
        format!("/packetring-floor-{}", self.parent)
    }

    /// Removes what a run that failed has left behind: the last to use it may have been killed.
    pub(crate) fn clear_away(&self) {
        for ring in [THERE, BACK] {
            leftovers::remove(&self.ring(ring));
        }
        if parent_id() != self.parent {
            let _ = rustix::shm::unlink(self.object());
        }
    }

    /// How the parent polls a floor's memory.
    pub(crate) fn poll(&self) -> Poll {
        Poll { yields: self.cores.are_one(), parent: None }
    }

    /// Starts a partner, which has joined when this returns.
    pub(crate) fn start(&self, role: u32) -> Outcome<Partner> {
        let mut partner = Partner::start(self, role)?;
        match partner.hear()?.as_str() {
            READY => Ok(partner),
            other => Err(format!("partner {role} of {} says {other:?}", self.name).into()),
        }
    }

    /// A partner's arguments.
    pub(crate) fn arguments(&self, role: u32) -> Vec<String> {
        let Self { name, parent, cores, .. } = self;
        let scale = self.scale.to_possible_value();
        let scale = scale.as_ref().map_or("trial", |scale| scale.get_name());
        let all = format!(
            "--serve {name} --of {parent} --role {role} --scale {scale} --pin {cores} --bench"
        );
        let floor = self.is_floor.then_some("--floor");
        all.split(' ').chain(floor).map(str::to_owned).collect()
    }
}

/// What a partner says when it has joined.
const READY: &str = "ready";
/// What the parent says when there is nothing more to come.
pub(super) const END: &str = "end";
/// Longer than a killed process takes to let go of its files.
const DYING: Duration = Duration::from_millis(200);

/// A partner's side of a run.
pub(crate) struct Side {
    pub(crate) run: Run,
    /// Which of several partners.
    pub(crate) role: u32,
}

impl Side {
    /// Serves the run's scenario, or the floor of it.
    pub(crate) fn serve(mut self, scenario: &dyn Scenario) -> Outcome<()> {
        let floor = if self.run.is_floor { scenario.floor() } else { None };
        let outcome = floor.as_deref().unwrap_or(scenario).serve(&mut self);
        if outcome.is_err() {
            // Who left while the kernel was still about to end a killed parent was not the last.
            std::thread::sleep(DYING);
            self.run.clear_away();
        }
        outcome
    }

    /// Says that this side has joined.
    pub(crate) fn ready(&self) -> Outcome<()> {
        self.say(READY)
    }

    /// Says something to the parent.
    pub(crate) fn say(&self, text: &str) -> Outcome<()> {
        let mut out = stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Waits for the parent's next word. `false`: that was the last one.
    pub(crate) fn is_told() -> Outcome<bool> {
        let mut line = String::new();
        if stdin().lock().read_line(&mut line)? == 0 {
            return Err("the process that measures is gone".into());
        }
        Ok(line.trim_end() != END)
    }

    /// How this side polls a floor's memory.
    pub(crate) fn poll(&self) -> Poll {
        Poll { parent: Some(self.run.parent), ..self.run.poll() }
    }

    /// Pins this side to its core, if now is the time: see [`Cores::pin_before_joining`].
    pub(crate) fn pin_before_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.run.cores.pin_before_joining(self.run.cores.1)?)
    }

    /// Pins this side to its core, if now is the time.
    pub(crate) fn pin_after_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.run.cores.pin_after_joining(self.run.cores.1)?)
    }
}

impl Run {
    /// Pins this process to the first core, if now is the time: see
    /// [`Cores::pin_before_joining`].
    pub(crate) fn pin_before_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.cores.pin_before_joining(self.cores.0)?)
    }

    /// Pins this process to the first core, if now is the time.
    pub(crate) fn pin_after_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.cores.pin_after_joining(self.cores.0)?)
    }

    /// Lets some time pass, on this core unless the other side needs it.
    pub(crate) fn pause(&self, time: Duration) {
        if self.cores.are_one() {
            return std::thread::sleep(time);
        }
        let started = Instant::now();
        while started.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    /// The same with everybody on the first core.
    pub(crate) fn on_one_core(&self) -> Self {
        Self { cores: Cores(self.cores.0, self.cores.0), ..self.clone() }
    }
}
