//! The columns of both tables of `top`: rings, and the endpoints of the selected one.

use super::endpoints::Endpoint;
use super::model::{HISTORY, Row};
use crate::latency::figures::{Figures, shown};
use crate::rings;
use crate::text::{self, plain};
use ratatui::layout::Constraint;

/// A column of the endpoints: heading, width, columns of the narrowest list that has it, text.
pub(super) type EndpointColumn = (&'static str, Constraint, u16, fn(&Endpoint) -> String);

/// A narrow list leaves out columns, so that no number is cut. The process id comes first to stay.
pub(super) const ENDPOINT_COLUMNS: [EndpointColumn; 10] = [
    ("ENDPOINT", Constraint::Min(14), 23, |one| one.role.clone()),
    ("PID", Constraint::Length(8), 8, |one| one.pid.to_string()),
    ("WORKER", Constraint::Min(10), 54, |one| {
        one.worker.as_deref().map_or("-".into(), |name| plain(name).into_owned())
    }),
    ("STATE", Constraint::Length(8), 32, |one| one.state.to_owned()),
    ("PACKETS/S", Constraint::Length(9), 66, |one| rate(one.packets_per_second)),
    ("BYTES/S", Constraint::Length(9), 86, |one| text::bytes(one.bytes_per_second as u64)),
    ("TOTAL", Constraint::Length(10), 97, |one| number(one.counters.packets)),
    ("BLOCKED", Constraint::Length(7), 108, |one| percent(one.blocked)),
    ("BEHIND", Constraint::Length(10), 43, |one| rings::backlog_text(one.lag)),
    ("MISSED", Constraint::Length(8), 75, |one| one.missed.to_string()),
];

/// The columns that are there only while latencies are sampled.
pub(super) const LATENCY: [&str; 2] = ["P50", "P99"];

fn latency(row: &Row, figure: fn(&Figures) -> Option<f64>) -> String {
    row.latency.as_ref().map_or_else(String::new, |figures| shown(figure(figures)))
}

/// A column of the table of rings.
pub(super) struct RingColumn {
    pub(super) name: &'static str,
    pub(super) width: Constraint,
    /// Columns of the narrowest screen that has it.
    pub(super) least_screen: u16,
    /// The text of a cell, for a width in characters.
    pub(super) text: fn(&Row, usize) -> String,
}

const fn column(
    name: &'static str,
    width: Constraint,
    least_screen: u16,
    text: fn(&Row, usize) -> String,
) -> RingColumn {
    RingColumn { name, width, least_screen, text }
}

/// A narrow screen leaves out columns.
pub(super) const RING_COLUMNS: [RingColumn; 16] = [
    column("", Constraint::Length(1), 0, |row, _| {
        if row.attention() > 0 { "!" } else { "" }.into()
    }),
    column("RING", Constraint::Fill(3), 0, |row, _| plain(&row.name).into_owned()),
    column("KIND", Constraint::Length(7), 90, |row, _| row.kind.to_owned()),
    column("PACKETS/S", Constraint::Length(9), 0, |row, _| rate(row.packets_per_second)),
    column("BYTES/S", Constraint::Length(9), 80, |row, _| text::bytes(row.bytes_per_second as u64)),
    column("LAST", Constraint::Length(HISTORY as u16), 100, |row, _| sparkline(&row.history)),
    column("FULL", Constraint::Length(4), 0, |row, _| {
        row.fill.map_or_else(|| "-".to_owned(), percent)
    }),
    column("BLOCKED", Constraint::Length(7), 110, |row, _| percent(row.blocked)),
    column("BEHIND", Constraint::Length(8), 0, |row, _| rings::backlog_text(row.backlog)),
    column(LATENCY[0], Constraint::Length(8), 90, |row, _| {
        latency(row, |figures| figures.p50_seconds)
    }),
    column(LATENCY[1], Constraint::Length(8), 80, |row, _| {
        latency(row, |figures| figures.p99_seconds)
    }),
    column("WRITERS", Constraint::Length(7), 120, |row, _| row.writers.to_string()),
    column("READERS", Constraint::Length(7), 120, |row, _| row.readers.to_string()),
    column("MISSED", Constraint::Length(6), 70, |row, _| row.missed.to_string()),
    column("WAKES/S", Constraint::Length(7), 150, |row, _| rate(row.wakes_per_second)),
    column("STATE", Constraint::Fill(5), 0, |row, width| row.state_within(width)),
];

/// A rate with as many digits as matter.
pub(crate) fn rate(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        number if number < 9.95 => format!("{number:.1}"),
        number if number < 99_999.5 => format!("{number:.0}"),
        number if number < 9_999_500.0 => format!("{:.0}k", number / 1e3),
        number => format!("{:.1}M", number / 1e6),
    }
}

/// A part of 1.
pub(super) fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

/// A total that fits into ten characters.
fn number(number: u64) -> String {
    if number < 10_000_000_000 { number.to_string() } else { rate(number as f64) }
}

/// Rates as bars, relative to the highest.
fn sparkline(rates: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = rates.iter().copied().fold(0.0, f64::max);
    let bar = |rate: &f64| match most > 0.0 {
        true => BARS[((rate / most * 7.0).round() as usize).min(7)],
        false => BARS[0],
    };
    rates.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_bars() {
        for (number, text) in
            [(0.0, "0"), (1.25, "1.2"), (100.0, "100"), (123_456.0, "123k"), (2.5e7, "25.0M")]
        {
            assert_eq!(rate(number), text);
        }
        assert_eq!(sparkline(&[0.0, 1.0, 2.0]), "▁▅█");
        assert_eq!(sparkline(&[0.0]), "▁");
    }
}
