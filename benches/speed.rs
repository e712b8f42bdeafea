//! How fast packetring is, beside what the machine can do, measured in the same run.
//!
//! ```text
//! cargo bench --bench speed
//! cargo bench --bench speed -- in_place --runs 9 --pin 0,1
//! cargo bench --bench speed -- --quick
//! ```
//!
//! Each scenario is real processes, started anew for each run and pinned; the floor of a scenario
//! is run right before it, and the runs of the scenarios take turns, so that whatever disturbs the
//! machine disturbs all of them. What is printed is the median of the runs, with the least and the
//! most; each latency is recorded as it was, corrected for nothing. Everything received is checked.
//!
//! The results stand in `target/packetring-bench`: `latest.json`, `more.json` with what the plots
//! show beside it, and `index.html`, a page for others. Without `--bench`, which `cargo bench`
//! gives, it only shows that it works, in `target/packetring-bench/trial`, and its figures mean
//! nothing.
//!
//! How long the dead hold others up is measured by `faults`.

#[path = "../examples/support/cores.rs"]
mod cores;
mod floor;
mod harness;
#[path = "../examples/support/peer.rs"]
mod peer;
mod report;
mod scenarios;
#[path = "../examples/support/shared.rs"]
mod shared;

use clap::Parser;
use cores::Cores;
use harness::{Outcome, Run, Sample, Scale, Scenario, Side};
use report::{Progress, Report, Results};
use std::process::ExitCode;

/// How fast packetring is, beside what the machine can do
#[derive(Debug, Parser)]
struct Options {
    /// Measure only scenarios that have this in their names
    filter: Option<String>,
    /// Runs of each scenario [default: 7; 3 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Cores of the two sides, such as 0,1 [default: the first two allowed]
    #[arg(long, value_name = "A,B")]
    pin: Option<Cores>,
    /// An eighth of the work, and what latest.json holds alone
    #[arg(long)]
    quick: bool,
    /// Measure; given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Only show that it works
    #[arg(long, hide = true)]
    test: bool,
    /// Be a partner in this scenario of the process `of`
    #[arg(long, hide = true, requires_all = ["of", "role", "scale", "pin"])]
    serve: Option<String>,
    /// Be a partner in the scenario's floor
    #[arg(long, hide = true)]
    floor: bool,
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

    /// A run of this scenario, or of its floor.
    fn run(&self, name: String, is_floor: bool) -> Outcome<Run> {
        let parent = self.of.unwrap_or_else(std::process::id);
        Ok(Run { name, is_floor, parent, scale: self.scale(), cores: self.cores()? })
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
            let who = options.serve.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            eprintln!("speed{who}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A partner's side.
fn serve(options: &Options, name: &str) -> Outcome<()> {
    let all = scenarios::all();
    let scenario = all.iter().find(|scenario| scenario.name() == name);
    let scenario = scenario.ok_or_else(|| format!("there is no scenario {name}"))?;
    let run = options.run(name.to_owned(), options.floor)?;
    Side { run, role: options.role.unwrap_or(0) }.serve(scenario.as_ref())
}

/// All runs, by turns, and what came of them.
fn compare(options: &Options) -> Outcome<()> {
    harness::remove_of_the_dead();
    let mut chosen = scenarios::all();
    chosen.retain(|scenario| options.is_chosen(scenario.as_ref()));
    if chosen.is_empty() {
        return Err("no scenario has that in its name".into());
    }
    let mut all: Vec<Results> = chosen.iter().map(|scenario| Results::of(&**scenario)).collect();
    let mut progress = Progress::new(options.runs() as usize * chosen.len());
    for _ in 0..options.runs() {
        for (scenario, results) in chosen.iter().zip(&mut all) {
            progress.step(&scenario.name());
            let failed = |error| format!("{} failed: {error}", scenario.name());
            measure(options, scenario.as_ref(), results).map_err(failed)?;
        }
    }
    progress.finish();
    Report { all, runs: options.runs(), scale: options.scale(), cores: options.cores()? }.publish()
}

/// One run of a scenario, and one of its floor just before.
fn measure(options: &Options, scenario: &dyn Scenario, results: &mut Results) -> Outcome<()> {
    if let Some(floor) = scenario.floor() {
        let run = options.run(scenario.name(), true)?;
        results.floor.add(measure_once(floor.as_ref(), &run)?)?;
    }
    let run = options.run(scenario.name(), false)?;
    results.work.add(measure_once(scenario, &run)?)
}

fn measure_once(scenario: &dyn Scenario, run: &Run) -> Outcome<Sample> {
    scenario.measure(run).inspect_err(|_| run.clear_away())
}
