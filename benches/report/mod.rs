//! The report: tables, JSON, plots and a page, all with the same numbers.
//!
//! Scenarios define their targets. A missed target is shown, but it is not an error.

mod json;
mod machine;
mod page;
mod plots;
mod progress;
mod results;
mod row;
mod section;
mod table;

pub(crate) use progress::Progress;
pub(crate) use results::Results;

use crate::cores::Cores;
use crate::harness::{ATTEMPTS, Outcome, Probe, Scale, phase_method};
use machine::Machine;
use row::Row;
use section::sections;
use std::fs;
use std::path::PathBuf;

/// All results, and the conditions of the measurement.
pub(crate) struct Report {
    pub(crate) all: Vec<Results>,
    /// Bounces of a cache line in each phase of the machine.
    pub(crate) probe: Probe,
    pub(crate) runs: u32,
    pub(crate) scale: Scale,
    pub(crate) cores: Cores,
}

impl Report {
    /// Prints the tables, and writes the files.
    pub(crate) fn publish(&self) -> Outcome<()> {
        let machine = Machine::this();
        let rows = self.rows()?;
        let directory = self.directory();
        fs::create_dir_all(&directory)?;
        print!("{}", table::text(self, &rows, &machine));
        let (headlines, others): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.results.is_headline);
        let json = |some: &[&Row<'_>]| json::text(some, &rows, &self.probe);
        fs::write(directory.join("latest.json"), json(&headlines)?)?;
        fs::write(directory.join("more.json"), json(&others)?)?;
        let plots = plots::all(&sections(&rows.iter().collect::<Vec<_>>(), &self.probe))?;
        for plot in &plots {
            fs::write(directory.join(&plot.file), &plot.svg)?;
        }
        let page = directory.join("index.html");
        fs::write(&page, page::html(self, &rows, &machine, &plots))?;
        println!("\nthe page: {}", page.display());
        Ok(())
    }

    /// A row for each scenario and phase.
    fn rows(&self) -> Outcome<Vec<Row<'_>>> {
        let mut rows = Vec::new();
        for results in &self.all {
            rows.append(&mut results.rows(self.cores.are_one())?);
        }
        Ok(rows)
    }

    /// Directory of the files. A trial does not overwrite the files of a measurement.
    fn directory(&self) -> PathBuf {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/packetring-bench");
        if self.scale == Scale::Trial { directory.join("trial") } else { directory }
    }

    /// Describes the measurement in a few sentences.
    fn method(&self) -> String {
        let Self { runs, cores, .. } = self;
        let times = if *runs == 1 { "once".into() } else { format!("{runs} times") };
        let place = if cores.are_one() {
            format!("all processes share core {}", cores.0)
        } else {
            format!("the sides are pinned to cores {cores}")
        };
        let phases = if cores.are_one() { String::new() } else { format!(" {}", phase_method()) };
        format!(
            "Each scenario ran {times}, in turns with the others. Each run starts new processes; \
             {place}. Readers check everything they receive. The floor moves the same bytes with \
             the bare machine, right before the scenario. If there are several floors, the best one \
             in that phase counts. The ratio is the median of the runs divided by the median of the \
             floor's runs; `runs` gives the number of both. A row whose runs have two states names \
             both, and is judged by the worse one. Latencies \
             were recorded one by one, include both reads of the clock, and are not \
             corrected.{phases}"
        )
    }

    /// Reason not to quote the figures, if there is one.
    fn warning(&self) -> Option<&'static str> {
        match self.scale {
            Scale::Full if self.cores.are_one() => {
                Some("Both sides share one core: the figures measure context switches.")
            }
            Scale::Full => None,
            Scale::Quick => Some("Quick run with an eighth of the work: a hint, not a result."),
            Scale::Trial => {
                Some("Trial, which only checks that everything works: the figures mean nothing.")
            }
        }
    }
}

/// A line for each scenario with runs that belong to no phase.
fn mixed(all: &[Results]) -> Vec<String> {
    let line = |one: &Results| {
        let (work, floor) = (one.work.mixed(), one.mixed_of_floors());
        (work + floor > 0).then(|| {
            format!(
                "{}: left out {work} mixed runs, and {floor} of its floors (the phase changed \
                 during each of {ATTEMPTS} attempts)",
                one.name
            )
        })
    };
    all.iter().filter_map(line).collect()
}
