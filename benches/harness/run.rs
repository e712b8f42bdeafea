//! A run of a scenario: the settings that its processes share, and the partner's side.

use super::{Outcome, Partner, Scenario, leftovers};
use crate::cores::{Cores, Pinned};
use crate::shared::Poll;
use clap::ValueEnum;
use std::io::{BufRead, Write, stdin, stdout};
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

/// Names of the rings of a run: one ring, or one for each direction.
pub(crate) const THERE: &str = "there";
pub(crate) const BACK: &str = "back";

/// How much work a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// Enough for results that can be quoted.
    Full,
    /// Enough for a rough comparison.
    Quick,
    /// Enough to check that the scenario works.
    Trial,
}

/// Settings that all processes of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Name of the scenario.
    pub(crate) name: String,
    /// Run this floor of the scenario instead of the scenario.
    pub(crate) floor: Option<usize>,
    /// Id of the measuring process.
    pub(crate) parent: u32,
    pub(crate) scale: Scale,
    /// The measuring process runs on the first core.
    pub(crate) cores: Cores,
}

impl Run {
    /// Scales a count: `full` in a full run, a fraction of it in shorter runs.
    pub(crate) fn count(&self, full: u64) -> u64 {
        match self.scale {
            Scale::Full => full,
            Scale::Quick => (full / 8).max(8),
            Scale::Trial => (full / 500).max(4),
        }
    }

    /// Name of a ring of this run.
    pub(crate) fn ring(&self, which: &str) -> String {
        format!("speed-{}-{which}", self.parent)
    }

    /// Name of the floor's shared-memory object.
    pub(crate) fn object(&self) -> String {
        format!("/packetring-floor-{}", self.parent)
    }

    /// Removes the objects of a failed run. Its last user may have been killed and left them.
    pub(crate) fn clear_away(&self) {
        for ring in [THERE, BACK] {
            leftovers::remove(&self.ring(ring));
        }
        if parent_id() != self.parent {
            let _ = rustix::shm::unlink(self.object());
        }
    }

    /// How the measuring process polls the floor's memory.
    pub(crate) fn poll(&self) -> Poll {
        Poll { yields: self.cores.are_one(), parent: None }
    }

    /// Starts a partner and waits until it has joined.
    pub(crate) fn start(&self, role: u32) -> Outcome<Partner> {
        let mut partner = Partner::start(self, role)?;
        match partner.read_line()?.as_str() {
            READY => Ok(partner),
            other => {
                Err(format!("unexpected answer from partner {role} of {}: {other:?}", self.name)
                    .into())
            }
        }
    }

    /// Command line of a partner.
    pub(crate) fn arguments(&self, role: u32) -> Vec<String> {
        let Self { name, parent, cores, .. } = self;
        let scale = self.scale.to_possible_value();
        let scale = scale.as_ref().map_or("trial", |scale| scale.get_name());
        let all = format!(
            "--serve {name} --of {parent} --role {role} --scale {scale} --pin {cores} --bench"
        );
        let floor = self.floor.map(|floor| format!("--floor={floor}"));
        all.split(' ').map(str::to_owned).chain(floor).collect()
    }
}

/// Sent by a partner that has joined.
const READY: &str = "ready";
/// Sent by the measuring process as its last order.
pub(super) const END: &str = "end";
/// Longer than the kernel takes to close the files of a killed process.
const DYING: Duration = Duration::from_millis(200);

/// The partner's side of a run.
pub(crate) struct Side {
    pub(crate) run: Run,
    /// Number of this partner, from 0.
    pub(crate) role: u32,
}

impl Side {
    /// Runs the partner's side of the scenario or of its floor.
    pub(crate) fn serve(mut self, scenario: &dyn Scenario) -> Outcome<()> {
        let floors = scenario.floors();
        let floor = self.run.floor.and_then(|floor| floors.get(floor));
        let outcome = floor.map_or(scenario, |floor| &**floor).serve(&mut self);
        if outcome.is_err() {
            // The parent may have been killed. Until the kernel has closed its files, the objects
            // still count as used and cannot be removed.
            std::thread::sleep(DYING);
            self.run.clear_away();
        }
        outcome
    }

    /// Reports that this side has joined.
    pub(crate) fn ready(&self) -> Outcome<()> {
        self.report(READY)
    }

    /// Sends a line to the measuring process.
    pub(crate) fn report(&self, text: &str) -> Outcome<()> {
        let mut out = stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Waits for the next order of the measuring process. Returns false if that was the last one.
    pub(crate) fn wait_for_order() -> Outcome<bool> {
        let mut line = String::new();
        if stdin().lock().read_line(&mut line)? == 0 {
            return Err("measuring process is gone".into());
        }
        Ok(line.trim_end() != END)
    }

    /// How this side polls the floor's memory.
    pub(crate) fn poll(&self) -> Poll {
        Poll { parent: Some(self.run.parent), ..self.run.poll() }
    }

    /// Pins this side to its core if both sides share one: see [`Cores::pin_before_joining`].
    pub(crate) fn pin_before_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.run.cores.pin_before_joining(self.run.cores.1)?)
    }

    /// Pins this side to its core if each side has its own.
    pub(crate) fn pin_after_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.run.cores.pin_after_joining(self.run.cores.1)?)
    }
}

impl Run {
    /// Pins this process to the first core if both sides share it: see
    /// [`Cores::pin_before_joining`].
    pub(crate) fn pin_before_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.cores.pin_before_joining(self.cores.0)?)
    }

    /// Pins this process to the first core if each side has its own.
    pub(crate) fn pin_after_joining(&self) -> Outcome<Option<Pinned>> {
        Ok(self.cores.pin_after_joining(self.cores.0)?)
    }

    /// Spins for some time, or sleeps if the other side needs the core.
    pub(crate) fn pause(&self, time: Duration) {
        if self.cores.are_one() {
            return std::thread::sleep(time);
        }
        let started = Instant::now();
        while started.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    /// Copy of this run with all processes on the first core.
    pub(crate) fn on_one_core(&self) -> Self {
        Self { cores: Cores(self.cores.0, self.cores.0), ..self.clone() }
    }
}
