//! Measures packetring beside floors: the same bytes moved by the bare machine, in the same run.
//!
//! ```text
//! cargo bench --bench speed
//! cargo bench --bench speed -- in_place --runs 9 --pin 0,1
//! cargo bench --bench speed -- --quick
//! ```
//!
//! - Each run starts new processes and pins them.
//! - The floors of a scenario run right before the scenario.
//! - The scenarios take turns, so a disturbance of the machine hits all of them.
//! - Each run is tagged with the phase of the machine (`harness/phase.rs`). The report gives
//!   median, minimum, maximum and number of runs per phase, and both states of a row that has two.
//! - Latencies are recorded one by one and not corrected.
//! - Readers check everything they receive.
//!
//! The results are in `target/packetring-bench`:
//!
//! - `latest.json`: the main scenarios;
//! - `more.json`: further points of the plots;
//! - `index.html`: a page with tables and plots.
//!
//! `cargo bench` passes `--bench`. Without it (`cargo test`) the bench runs a trial: it checks that
//! every scenario works and writes to `target/packetring-bench/trial`. Figures of a trial mean
//! nothing.
//!
//! The `faults` bench measures how long a dead process blocks others.

#[path = "../examples/support/bounce.rs"]
mod bounce;
#[path = "../examples/support/cores.rs"]
mod cores;
mod floor;
mod harness;
#[path = "../examples/support/peer.rs"]
mod peer;
mod report;
mod scenarios;
#[path = "../tests/support/seccomp.rs"]
mod seccomp;
#[path = "../examples/support/shared.rs"]
mod shared;

use clap::Parser;
use cores::Cores;
use harness::{Outcome, Probe, Run, Sample, Scale, Scenario, Side};
use report::{Progress, Report, Results};
use std::process::ExitCode;

/// Measures packetring beside what the bare machine can do
#[derive(Debug, Parser)]
struct Options {
    /// Measure only scenarios whose name contains this text
    filter: Option<String>,
    /// Runs of each scenario [default: 7; 3 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Cores of the two sides, such as 0,1 [default: the first two that this process may use]
    #[arg(long, value_name = "A,B")]
    pin: Option<Cores>,
    /// Do an eighth of the work, and only the scenarios of latest.json
    #[arg(long)]
    quick: bool,
    /// Measure; passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Only check that everything works
    #[arg(long, hide = true)]
    test: bool,
    /// Run as a partner of process `of` in this scenario
    #[arg(long, hide = true, requires_all = ["of", "role", "scale", "pin"])]
    serve: Option<String>,
    /// Run this floor of the scenario instead
    #[arg(long, hide = true)]
    floor: Option<usize>,
    #[arg(long, hide = true)]
    of: Option<u32>,
    #[arg(long, hide = true)]
    role: Option<u32>,
    #[arg(long, hide = true)]
    scale: Option<Scale>,
}

impl Options {
    fn scale(&self) -> Scale {
        match self.scale {
            Some(scale) => scale,
            None if !self.bench || self.test => Scale::Trial,
            None if self.quick => Scale::Quick,
            None => Scale::Full,
        }
    }

    fn runs(&self) -> u32 {
        match self.scale() {
            Scale::Full => self.runs.unwrap_or(7),
            Scale::Quick => self.runs.unwrap_or(3),
            Scale::Trial => self.runs.unwrap_or(1),
        }
    }

    fn cores(&self) -> Outcome<Cores> {
        Ok(match self.pin {
            Some(cores) => cores.checked()?,
            None => Cores::first_allowed()?,
        })
    }

    fn is_chosen(&self, scenario: &dyn Scenario) -> bool {
        let is_asked_for = self.filter.as_ref().is_none_or(|text| scenario.name().contains(text));
        is_asked_for && (scenario.is_headline() || !self.quick || self.filter.is_some())
    }

    /// Describes a run of this scenario or of one of its floors.
    fn run(&self, name: String, floor: Option<usize>) -> Outcome<Run> {
        let parent = self.of.unwrap_or_else(std::process::id);
        Ok(Run { name, floor, parent, scale: self.scale(), cores: self.cores()? })
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.serve {
        Some(name) => serve(&options, name),
        None => compare(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let role = options.serve.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            eprintln!("speed{role}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a partner's side.
fn serve(options: &Options, name: &str) -> Outcome<()> {
    let all = scenarios::all();
    let scenario = all.iter().find(|scenario| scenario.name() == name);
    let scenario = scenario.ok_or_else(|| format!("no scenario named {name}"))?;
    let run = options.run(name.to_owned(), options.floor)?;
    Side { run, role: options.role.unwrap_or(0) }.serve(scenario.as_ref())
}

/// Runs all scenarios in turns, and publishes the report.
fn compare(options: &Options) -> Outcome<()> {
    harness::remove_of_the_dead();
    let mut chosen = scenarios::all();
    chosen.retain(|scenario| options.is_chosen(scenario.as_ref()));
    if chosen.is_empty() {
        return Err("no scenario name contains the filter; run without it to see all names".into());
    }
    let mut all: Vec<Results> = chosen.iter().map(|scenario| Results::of(&**scenario)).collect();
    let mut probe = Probe::new(options.cores()?);
    let mut progress = Progress::new(options.runs() as usize * chosen.len());
    for _ in 0..options.runs() {
        for (scenario, results) in chosen.iter().zip(&mut all) {
            progress.step(&scenario.name());
            let failed = |error| format!("{} failed: {error}", scenario.name());
            measure(options, scenario.as_ref(), &mut probe, results).map_err(failed)?;
        }
    }
    progress.finish();
    let (runs, scale, cores) = (options.runs(), options.scale(), options.cores()?);
    Report { all, probe, runs, scale, cores }.publish()?;
    if let Some(missing) = scenarios::MISSING {
        println!("{missing}");
    }
    Ok(())
}

/// Runs the floors of a scenario, then the scenario, once each. Each run is repeated if the phase
/// of the machine changes during it.
fn measure(
    options: &Options,
    scenario: &dyn Scenario,
    probe: &mut Probe,
    results: &mut Results,
) -> Outcome<()> {
    let phase = scenario.fixed_phase();
    for (index, floor) in scenario.floors().iter().enumerate() {
        let run = options.run(scenario.name(), Some(index))?;
        results.floors[index].runs.add(probe.run(phase, || measure_once(floor.as_ref(), &run))?);
    }
    let run = options.run(scenario.name(), None)?;
    results.work.add(probe.run(phase, || measure_once(scenario, &run))?);
    Ok(())
}

fn measure_once(scenario: &dyn Scenario, run: &Run) -> Outcome<Sample> {
    scenario.measure(run).inspect_err(|_| run.clear_away())
}
