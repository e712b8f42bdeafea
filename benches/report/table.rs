//! The results as tables for a terminal.

use super::machine::Machine;
use super::row::Row;
use super::section::{Section, sections};
use super::{Report, mixed};
use std::fmt::Write;

/// The machine, the method, and a table for each phase.
pub(crate) fn text(report: &Report, rows: &[Row<'_>], machine: &Machine) -> String {
    let mut out = format!("{}\n{}\n", machine.line(), report.method());
    if let Some(warning) = report.warning() {
        out += &format!("{warning}\n");
    }
    for section in sections(&rows.iter().collect::<Vec<_>>(), &report.probe) {
        out += &table(&section, rows);
    }
    for line in mixed(&report.all) {
        out += &format!("\n{line}\n");
    }
    out
}

fn table(section: &Section<'_>, all: &[Row<'_>]) -> String {
    let mut out = format!("\n{}\n", section.title());
    if !section.has_runs() {
        return out;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{:<32}{:>8} {:<5}{:>6}{:>9}{:>9}{:>9}{:>10}{:>8}  target",
        "", "bytes", "unit", "runs", "median", "min", "max", "floor", "ratio"
    );
    for row in &section.rows {
        let _ = writeln!(out, "{}", line(row, all));
    }
    out
}

fn line(row: &Row<'_>, all: &[Row<'_>]) -> String {
    let verdicts = row.verdicts(all).into_iter().map(|(target, met)| match met {
        Some(true) => format!("{target}: met"),
        Some(false) => format!("{target}: MISSED"),
        None => format!("{target}: not measured"),
    });
    let text = format!(
        "{:<32}{:>8} {:<5}{:>6}{:>9}{:>9}{:>9}{:>10}{:>8}  {}",
        row.results.name,
        row.results.payload,
        row.results.unit.label(),
        row.runs(),
        figure(row.work.median()),
        figure(row.work.min()),
        figure(row.work.max()),
        figure(row.floor.median()),
        row.ratio().map_or("-".into(), |ratio| format!("{ratio:.2}×")),
        verdicts.chain(row.notes()).collect::<Vec<_>>().join("; ")
    );
    text.trim_end().to_owned()
}

/// Formats a value with about three digits; a dash for `None`.
pub(crate) fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
