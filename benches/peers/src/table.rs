//! The report: a table for each work and phase of the machine, or everything as JSON.
//!
//! Each median covers runs of one phase. Each ratio compares two medians of the same phase; above
//! 1, the peer takes longer.

use crate::cores::Cores;
use crate::peers::{Peer, Work};
use crate::phase::{ATTEMPTS, Phase, Runs, Spread, State, method, two_states};
use crate::probe::Probe;
use crate::work::{Kind, Measured};
use clap::ValueEnum;
use serde_json::{Value, json};

/// All runs of one peer and one work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) peer: Peer,
    pub(crate) work: Work,
    /// Measured records of each run.
    pub(crate) count: u64,
    pub(crate) runs: Runs<Measured>,
    pub(crate) failures: Vec<String>,
}

impl Row {
    /// Nanoseconds of the runs of one phase.
    pub(crate) fn ns(&self, phase: Phase) -> Option<Spread> {
        Spread::of(self.runs.of(phase).iter().map(|run| run.ns))
    }

    /// Medians of the 99th and of the 99.9th percentile.
    pub(crate) fn tails(&self, phase: Phase) -> Option<[f64; 2]> {
        let tail = |index: usize| {
            let tails = self.runs.of(phase).iter().filter_map(|run| run.tails);
            Spread::of(tails.map(|tails| tails[index])).map(|tail| tail.median)
        };
        Some([tail(0)?, tail(1)?])
    }

    /// The percentiles of a round trip, or the records per second, in one column.
    pub(crate) fn last(&self, phase: Phase) -> String {
        match (self.tails(phase), self.ns(phase)) {
            (Some([p99, p999]), _) => format!("{p99:.0}, {p999:.0}"),
            (None, Some(ns)) => format!("{:.1}", 1000.0 / ns.median),
            (None, None) => String::new(),
        }
    }

    /// Both states of the runs of one phase, if they have two.
    pub(crate) fn states(&self, phase: Phase) -> Option<String> {
        let states = two_states(self.runs.of(phase).iter().map(|run| run.ns))?;
        let [low, high] =
            states.map(|State { spread, runs }| format!("{:.1} ns ({runs} runs)", spread.median));
        Some(format!("two states, {low} and {high}"))
    }

    /// Fraction of the measured records that were lost, over all runs of one phase.
    pub(crate) fn lost(&self, phase: Phase) -> f64 {
        let runs = self.runs.of(phase);
        let lost: u64 = runs.iter().map(|run| run.lost).sum();
        lost as f64 / (self.count * runs.len().max(1) as u64) as f64
    }
}

/// The time of a peer as a multiple of another peer's time.
pub(crate) struct Ratio {
    pub(crate) value: f64,
    /// Number of runs of the other peer.
    pub(crate) runs: usize,
}

/// All results.
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) probe: Probe,
    pub(crate) cores: Cores,
}

impl Report {
    /// The possible phases of the runs.
    pub(crate) fn phases(&self) -> &'static [Phase] {
        Phase::possible(None, self.cores.are_one())
    }

    /// The works that were run, each with its rows.
    pub(crate) fn works(&self) -> impl Iterator<Item = (Work, Vec<&Row>)> {
        let rows = |work| self.rows.iter().filter(move |row| row.work == work).collect();
        let works = Work::value_variants().iter().map(move |work| (*work, rows(*work)));
        works.filter(|(_, rows): &(_, Vec<_>)| !rows.is_empty())
    }

    /// Heading of the table of a work and a phase.
    pub(crate) fn title(&self, work: Work, phase: Phase) -> String {
        let has_runs =
            self.rows.iter().any(|row| row.work == work && !row.runs.of(phase).is_empty());
        let about = match self.probe.bounces(phase) {
            _ if !has_runs => ": no runs".to_owned(),
            None => String::new(),
            Some(Spread { median, min, max }) => {
                format!(" (a cache line there and back in {median:.0} ns, {min:.0} to {max:.0})")
            }
        };
        format!("{}, {}{about}", work.title(), phase.title())
    }

    /// Median of the row divided by another peer's median, both in this phase.
    pub(crate) fn ratio(&self, row: &Row, to: Peer, phase: Phase) -> Option<Ratio> {
        let mut rows = self.rows.iter();
        let other = rows.find(|other| other.work == row.work && other.peer == to)?;
        let value = row.ns(phase)?.median / other.ns(phase)?.median;
        Some(Ratio { value, runs: other.runs.of(phase).len() })
    }

    /// Compares packetring with its aim, if the work has one and both peers have runs.
    pub(crate) fn aim(&self, work: Work, phase: Phase) -> Option<String> {
        let (aim, named) = work.aim()?;
        let rival = named.or_else(|| self.best_rival(work, phase))?;
        let mut rows = self.rows.iter();
        let ours = rows.find(|row| row.work == work && row.peer == Peer::Packetring)?;
        let Ratio { value, runs } = self.ratio(ours, rival, phase)?;
        let (name, verdict) = (rival.name(), if value <= aim { "met" } else { "missed" });
        let best = if named.is_none() { ", the best peer" } else { "" };
        Some(format!(
            "packetring takes {value:.2} times as long as {name}{best} ({runs} runs); aim: {aim}, \
             {verdict}"
        ))
    }

    /// The rival with the lowest median in this phase.
    fn best_rival(&self, work: Work, phase: Phase) -> Option<Peer> {
        let rivals = self.rows.iter().filter(|row| row.work == work && row.peer.is_rival());
        let medians = rivals.filter_map(|row| Some((row.peer, row.ns(phase)?.median)));
        medians.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(peer, _)| peer)
    }

    /// Describes how phases were determined; empty if all processes share a core.
    pub(crate) fn method(&self) -> String {
        if self.cores.are_one() { String::new() } else { method() }
    }

    /// A line for each row with runs that belong to no phase.
    pub(crate) fn mixed(&self) -> impl Iterator<Item = String> {
        self.rows.iter().filter(|row| row.runs.mixed() > 0).map(|row| {
            format!(
                "{}, {}: left out {} mixed runs (the phase changed during each of {ATTEMPTS} \
                 attempts)",
                row.peer.name(),
                row.work.title(),
                row.runs.mixed()
            )
        })
    }

    /// Prints a table for each work and phase.
    pub(crate) fn print(&self) {
        if !self.cores.are_one() {
            println!("{}", self.method());
        }
        for (work, rows) in self.works() {
            for phase in self.phases() {
                println!("\n{}", self.title(work, *phase));
                if rows.iter().any(|row| !row.runs.of(*phase).is_empty()) {
                    print_heads(work);
                    rows.iter().for_each(|row| self.print_row(row, *phase));
                    self.aim(work, *phase).iter().for_each(|line| println!("{line}"));
                }
            }
            for row in rows {
                for failure in &row.failures {
                    println!("{:<24}  FAILED: {failure}", row.peer.name());
                }
            }
        }
        self.mixed().for_each(|line| println!("\n{line}"));
    }

    fn print_row(&self, row: &Row, phase: Phase) {
        let (name, runs) = (row.peer.name(), row.runs.of(phase).len());
        let Some(Spread { median, min, max }) = row.ns(phase) else {
            return println!("{name:<24}{runs:>6}");
        };
        let last = row.last(phase);
        let ratio = |to| {
            let ratio = self.ratio(row, to, phase);
            ratio.map_or("-".into(), |ratio| format!("{:.2} ({})", ratio.value, ratio.runs))
        };
        print!("{name:<24}{runs:>6}{median:>10.1}{min:>10.1}{max:>10.1}{last:>16}");
        print!("{:>18}{:>21}", ratio(row.work.base()), ratio(Peer::Packetring));
        if row.peer.may_lose() && row.work.kind() != Kind::RoundTrip {
            print!("  lost {:.1}%", row.lost(phase) * 100.0);
        }
        row.states(phase).iter().for_each(|states| print!("  {states}"));
        println!();
    }

    /// Everything as JSON: a list with an entry for each peer, work and phase.
    pub(crate) fn json(&self) -> Value {
        let entries = |row| self.phases().iter().map(move |phase| self.entry(row, *phase));
        self.rows.iter().flat_map(entries).collect()
    }

    fn entry(&self, row: &Row, phase: Phase) -> Value {
        let ns = row.ns(phase);
        let floor = self.rows.iter().find(|at| at.work == row.work && at.peer == Peer::Floor);
        let ratio = |to| self.ratio(row, to, phase).map(|ratio| ratio.value);
        json!({
            "name": row.work.to_possible_value().map(|value| value.get_name().to_owned()),
            "peer": row.peer.name(),
            "payload": row.work.payload(),
            "unit": "ns",
            "phase": phase.name(),
            "value": ns.map(|ns| ns.median),
            "min": ns.map(|ns| ns.min),
            "max": ns.map(|ns| ns.max),
            "p99": row.tails(phase).map(|tails| tails[0]),
            "p999": row.tails(phase).map(|tails| tails[1]),
            "lost": row.lost(phase),
            "runs": row.runs.of(phase).len(),
            "mixed": row.runs.mixed(),
            "bounce_ns": self.probe.bounces(phase).map(|at| [at.min, at.median, at.max]),
            "floor": floor.and_then(|row| row.ns(phase)).map(|ns| ns.median),
            "floor_runs": floor.map(|row| row.runs.of(phase).len()),
            "ratio": ratio(Peer::Floor),
            "ratio_to_packetring": ratio(Peer::Packetring),
            "ratio_to_ringfire": ratio(Peer::Ringfire),
            "aim": row.work.aim().map(|(aim, _)| aim),
            "failures": row.failures,
        })
    }
}

fn print_heads(work: Work) {
    let (ns, last) = match work.kind() {
        Kind::RoundTrip => ("ns, p50", "p99, p99.9"),
        _ => ("ns each", "M/s"),
    };
    let base = format!("x {} (runs)", work.base().name());
    println!(
        "{:<24}{:>6}{ns:>10}{:>10}{:>10}{last:>16}{base:>18}{:>21}",
        "", "runs", "min", "max", "x packetring (runs)"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(peer: Peer, runs: &[(Phase, f64, u64)]) -> Row {
        let mut row =
            Row { peer, work: Work::Stream48, count: 100, runs: Runs::default(), failures: vec![] };
        for &(phase, ns, lost) in runs {
            row.runs.add(Some((phase, Measured { ns, tails: None, lost })));
        }
        row
    }

    #[test]
    fn losses_are_a_part_of_what_was_sent_in_that_phase() {
        use Phase::{Apart, Coupled};
        let row =
            row(Peer::RingfireLossy, &[(Apart, 1.0, 10), (Apart, 1.0, 30), (Coupled, 1.0, 7)]);
        assert_eq!((row.lost(Apart), row.lost(Coupled)), (0.2, 0.07));
    }

    #[test]
    fn an_aim_is_met_or_missed() {
        for (ns, verdict) in [(9.9, "met"), (10.1, "missed")] {
            let mut rows = vec![
                row(Peer::Packetring, &[(Phase::Apart, ns, 0)]),
                row(Peer::Ringfire, &[(Phase::Apart, 2.0, 0)]),
            ];
            rows.iter_mut().for_each(|row| row.work = Work::Read48);
            let cores = Cores(0, 1);
            let report = Report { rows, probe: Probe::new(cores), cores };
            let aim = |work, phase| report.aim(work, phase);
            assert!(aim(Work::Read48, Phase::Apart).unwrap().ends_with(verdict), "{ns}");
            assert_eq!(aim(Work::Read48, Phase::Coupled), None);
            assert_eq!(aim(Work::Stream48, Phase::Apart), None);
        }
    }

    #[test]
    fn a_best_peer_is_lossless_and_between_processes() {
        let rows = [
            (Peer::Floor, 1.0),
            (Peer::PacketringShared, 2.0),
            (Peer::RtrbThreads, 3.0),
            (Peer::RingfireLossy, 4.0),
            (Peer::Packetring, 10.0),
            (Peer::Shaq, 20.0),
            (Peer::Ringfire, 40.0),
        ];
        let rows = rows.map(|(peer, ns)| row(peer, &[(Phase::Apart, ns, 0)])).into();
        let report = Report { rows, probe: Probe::new(Cores(0, 1)), cores: Cores(0, 1) };
        let aim = report.aim(Work::Stream48, Phase::Apart).unwrap();
        assert!(aim.contains("0.50 times as long as shaq, the best peer"), "{aim}");
    }

    #[test]
    fn a_ratio_is_of_medians_of_one_phase() {
        use Phase::{Apart, Coupled};
        let cores = Cores(0, 1);
        let rows = vec![
            row(Peer::Floor, &[(Apart, 10.0, 0), (Apart, 20.0, 0), (Apart, 60.0, 0)]),
            row(Peer::Shaq, &[(Coupled, 1.0, 0), (Apart, 40.0, 0), (Coupled, 2.0, 0)]),
        ];
        let report = Report { rows, probe: Probe::new(cores), cores };
        let ratio = |phase| report.ratio(&report.rows[1], Peer::Floor, phase);
        let apart = ratio(Apart).map(|ratio| (ratio.value, ratio.runs));
        assert_eq!(apart, Some((2.0, 3)));
        assert!(ratio(Coupled).is_none(), "the floor has no runs in this phase");
    }
}
