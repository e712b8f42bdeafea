//! The results as a table, for people at a terminal; and how a number is written anywhere.

use super::machine::Machine;
use super::{Report, Results};
use std::fmt::Write;

/// The table, with what is to be known about it.
pub(crate) fn text(report: &Report, machine: &Machine) -> String {
    let mut out = format!("{}\n{}\n", machine.line(), report.method());
    if let Some(warning) = report.warning() {
        out += &format!("{warning}\n");
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "\n{:<24}{:>8} {:<5}{:>9}{:>9}{:>9}{:>10}{:>8}  target",
        "", "bytes", "unit", "median", "min", "max", "floor", "ratio"
    );
    for one in &report.all {
        let _ = writeln!(out, "{}", row(one, &report.all));
    }
    out
}

fn row(one: &Results, all: &[Results]) -> String {
    let verdicts = one.verdicts(all).into_iter().map(|(target, met)| match met {
        Some(true) => format!("{target}: met"),
        Some(false) => format!("{target}: MISSED"),
        None => format!("{target}: not measured"),
    });
    format!(
        "{:<24}{:>8} {:<5}{:>9}{:>9}{:>9}{:>10}{:>8}  {}",
        one.name,
        one.payload,
        one.unit.label(),
        figure(one.work.median()),
        figure(one.work.min()),
        figure(one.work.max()),
        figure(one.floor.median()),
        one.ratio().map_or("-".into(), |ratio| format!("{ratio:.2}×")),
        verdicts.collect::<Vec<_>>().join("; ")
    )
}

/// Three digits or so; a dash for nothing.
pub(crate) fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
