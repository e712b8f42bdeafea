//! The report: a table of each work, or all of it as JSON.
//!
//! A ratio is of two medians of the same run: above 1, a peer takes longer than what it is compared
//! with.

use crate::peers::{Peer, Work};
use crate::work::{Kind, Measured};
use clap::ValueEnum;
use serde_json::{Value, json};

/// All runs of one peer and one work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) peer: Peer,
    pub(crate) work: Work,
    /// Records that were measured in each run.
    pub(crate) count: u64,
    pub(crate) runs: Vec<Measured>,
    pub(crate) failures: Vec<String>,
}

/// The middle of some runs, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: low.midpoint(high), min, max })
    }
}

impl Row {
    pub(crate) fn ns(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().map(|run| run.ns))
    }

    pub(crate) fn p99(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.p99))
    }

    /// The part of the measured records that was lost, over all runs.
    pub(crate) fn lost(&self) -> f64 {
        let lost: u64 = self.runs.iter().map(|run| run.lost).sum();
        lost as f64 / (self.count * self.runs.len().max(1) as u64) as f64
    }
}

/// What one peer's time is as a multiple of another's.
pub(crate) fn ratio(rows: &[Row], row: &Row, to: Peer) -> Option<f64> {
    let other = rows.iter().find(|other| other.work == row.work && other.peer == to)?;
    Some(row.ns()?.median / other.ns()?.median)
}

/// Prints a table of each work.
pub(crate) fn print(rows: &[Row]) {
    for work in Work::value_variants() {
        let of_work: Vec<&Row> = rows.iter().filter(|row| row.work == *work).collect();
        if of_work.is_empty() {
            continue;
        }
        print_heads(*work);
        of_work.iter().for_each(|row| print_row(rows, row));
    }
}

fn print_heads(work: Work) {
    let (ns, last) = match work.kind() {
        Kind::RoundTrip => ("ns, p50", "p99"),
        Kind::Stream | Kind::Batch => ("ns each", "M/s"),
    };
    println!("\n{}", work.title());
    println!(
        "{:<24}{ns:>10}{:>10}{:>10}{last:>10}{:>9}{:>14}",
        "", "min", "max", "x floor", "x packetring"
    );
}

fn print_row(rows: &[Row], row: &Row) {
    let name = row.peer.name();
    if let Some(Spread { median, min, max }) = row.ns() {
        let last = row.p99().map_or(1000.0 / median, |p99| p99.median);
        let ratio = |to| ratio(rows, row, to).map_or("-".into(), |ratio| format!("{ratio:.2}"));
        print!("{name:<24}{median:>10.1}{min:>10.1}{max:>10.1}{last:>10.1}");
        print!("{:>9}{:>14}", ratio(Peer::Floor), ratio(Peer::Packetring));
        if row.peer.may_lose() && row.work.kind() != Kind::RoundTrip {
            print!("  lost {:.1}%", row.lost() * 100.0);
        }
        println!();
    }
    for failure in &row.failures {
        println!("{name:<24}  FAILED: {failure}");
    }
}

/// All of it as JSON: a list with an entry for each peer and work.
pub(crate) fn json(rows: &[Row]) -> Value {
    rows.iter().map(|row| entry(rows, row)).collect()
}

fn entry(rows: &[Row], row: &Row) -> Value {
    let ns = row.ns();
    let of = |to| {
        let other = rows.iter().find(|other| other.work == row.work && other.peer == to);
        other.and_then(Row::ns).map(|ns| ns.median)
    };
    json!({
        "name": row.work.to_possible_value().map(|value| value.get_name().to_owned()),
        "peer": row.peer.name(),
        "payload": row.work.payload(),
        "unit": "ns",
        "value": ns.map(|ns| ns.median),
        "min": ns.map(|ns| ns.min),
        "max": ns.map(|ns| ns.max),
        "p99": row.p99().map(|p99| p99.median),
        "lost": row.lost(),
        "runs": row.runs.len(),
        "floor": of(Peer::Floor),
        "ratio": ratio(rows, row, Peer::Floor),
        "ratio_to_packetring": ratio(rows, row, Peer::Packetring),
        "failures": row.failures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_median_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn losses_are_a_part_of_what_was_sent() {
        let run = |lost| Measured { ns: 1.0, p99: None, lost };
        let (peer, work, runs) = (Peer::RingfireLossy, Work::Stream48, vec![run(10), run(30)]);
        let row = Row { peer, work, count: 100, runs, failures: vec![] };
        assert_eq!(row.lost(), 0.2);
    }
}
