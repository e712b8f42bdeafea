//! What is made of the measurements: a table, JSON, plots, a page.
//!
//! All of it says the same numbers, and where they come from. Not here: whether they are good; the
//! targets are the scenarios', and a target that was missed is no error.

mod json;
mod machine;
mod page;
mod plots;
mod progress;
mod results;
mod table;

pub(crate) use progress::Progress;
pub(crate) use results::Results;

use crate::cores::Cores;
use crate::harness::{Outcome, Scale};
use machine::Machine;
use std::fs;
use std::path::PathBuf;

/// All that is known at the end.
pub(crate) struct Report {
    pub(crate) all: Vec<Results>,
    pub(crate) runs: u32,
    pub(crate) scale: Scale,
    pub(crate) cores: Cores,
}

impl Report {
    /// Prints the table, and writes the files.
    pub(crate) fn publish(&self) -> Outcome<()> {
        let machine = Machine::this();
        let directory = self.directory();
        fs::create_dir_all(&directory)?;
        print!("{}", table::text(self, &machine));
        let (headlines, others): (Vec<_>, Vec<_>) =
            self.all.iter().partition(|one| one.is_headline);
        fs::write(directory.join("latest.json"), json::text(&headlines, &self.all)?)?;
        fs::write(directory.join("more.json"), json::text(&others, &self.all)?)?;
        let plots = plots::all(&self.all)?;
        for plot in &plots {
            fs::write(directory.join(plot.file), &plot.svg)?;
        }
        let page = directory.join("index.html");
        fs::write(&page, page::html(self, &machine, &plots))?;
        println!("\nthe page: {}", page.display());
        Ok(())
    }

    /// Where it goes: the figures of a trial not to where those of a measurement are.
    fn directory(&self) -> PathBuf {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/packetring-bench");
        if self.scale == Scale::Trial { directory.join("trial") } else { directory }
    }

    /// How it was measured, in a few sentences.
    fn method(&self) -> String {
        let Self { runs, cores, .. } = self;
        let times = if *runs == 1 { "once".into() } else { format!("{runs} times") };
        let place = if cores.are_one() {
            format!("all processes share core {}", cores.0)
        } else {
            format!("the sides are pinned to cores {cores}")
        };
        format!(
            "Each scenario ran {times}, in turns with the others, as real processes started anew each \
             time; {place}, and everything received was checked. The floor is what the bare machine \
             does with the same bytes, run right before the scenario; the ratio is the median of the \
             runs through the median of their floors. Latencies were recorded one by one, with both \
             looks at the clock in them, and corrected for nothing."
        )
    }

    /// What a reader must know before the figures.
    fn warning(&self) -> Option<&'static str> {
        match self.scale {
            Scale::Full if self.cores.are_one() => {
                Some("One core for both sides: this measures switching between them.")
            }
            Scale::Full => None,
            Scale::Quick => Some("A quick run, with an eighth of the work: a hint, not a result."),
            Scale::Trial => Some("A trial, to show that it works: the figures mean nothing."),
        }
    }
}
