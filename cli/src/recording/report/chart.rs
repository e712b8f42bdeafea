//! Charts of a page: SVG for lines and strips, HTML for all text, which stays readable on a narrow
//! screen. Colors and sizes are in `page.css`.

use crate::text::span;
use maud::{Markup, html};
use std::fmt::Write;

/// Colors of series in `page.css`.
pub(super) const COLORS: usize = 8;
/// Height of a chart in units of the SVG.
const HEIGHT: f64 = 100.0;
/// Shades of a strip.
const SHADES: u8 = 5;

/// A series of a chart. A bin without a value is left out of the line.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) values: Vec<Option<f64>>,
}

impl<'a> Series<'a> {
    /// A series with a value in each bin.
    pub(super) fn of(name: &'a str, values: &[f64]) -> Self {
        Self { name, values: values.iter().copied().map(Some).collect() }
    }
}

/// A chart of lines.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// Shows a value with its unit.
    pub(super) unit: fn(f64) -> String,
    pub(super) lines: Vec<Series<'a>>,
    /// The length of the time axis.
    pub(super) seconds: f64,
}

impl Chart<'_> {
    /// Draws the chart. A single line is filled and has no legend.
    pub(super) fn draw(&self) -> Markup {
        let values = || self.lines.iter().flat_map(|line| line.values.iter().flatten());
        let most = values().copied().fold(0.0, f64::max);
        let label = format!("{}: at most {}", self.title, (self.unit)(most));
        let is_single = self.lines.len() == 1;
        let bins = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
        html! {
            figure.chart {
                figcaption { (self.title) }
                div.plot {
                    svg viewBox=(format!("0 0 {} {HEIGHT}", bins.max(2) - 1)) preserveAspectRatio="none"
                        role="img" aria-label=(label) {
                        @for quarter in 0..=4 {
                            @let y = HEIGHT * f64::from(quarter) / 4.0;
                            line.grid x1="0" x2=(bins.max(2) - 1) y1=(y) y2=(y) {}
                        }
                        @for (index, line) in self.lines.iter().enumerate() {
                            @let path = path(&line.values, most);
                            @if is_single { path.area.c0 d=(area(&path, &line.values)) {} }
                            path.line.{ "c" (index % COLORS) } d=(path) { title { (line.name) } }
                        }
                    }
                    div.scale {
                        span { ((self.unit)(most)) }
                        span { ((self.unit)(most / 2.0)) }
                        span { "0" }
                    }
                }
                (axis(self.seconds))
                @if !is_single {
                    ul.legend {
                        @for (index, line) in self.lines.iter().enumerate() {
                            li { i.{ "c" (index % COLORS) } {} (line.name) }
                        }
                    }
                }
            }
        }
    }
}

/// The path through all values. A value alone is a dot, or a line over the whole width if there is
/// one bin.
fn path(values: &[Option<f64>], most: f64) -> String {
    let y = |value: f64| {
        let part = if most > 0.0 { value / most } else { 0.0 };
        HEIGHT - part * HEIGHT
    };
    let points = values.iter().enumerate().filter_map(|(x, value)| Some((x, y((*value)?))));
    let mut path = String::new();
    for (x, y) in points {
        let verb = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{verb}{x} {y:.1}");
    }
    if values.iter().flatten().count() == 1 {
        path += if values.len() == 1 { "h1" } else { "h0" };
    }
    path
}

/// The area below a path.
fn area(path: &str, values: &[Option<f64>]) -> String {
    let first = values.iter().position(Option::is_some).unwrap_or(0);
    format!("{path}V{HEIGHT}H{first}Z")
}

/// Beginning, middle and end of the time axis.
pub(super) fn axis(seconds: f64) -> Markup {
    html! {
        div.axis { span { "0 s" } span { (span(seconds / 2.0)) } span { (span(seconds)) } }
    }
}

/// A strip that is darker where a rate is higher.
pub(super) fn strip(rates: &[f64], most: f64, label: &str) -> Markup {
    let shade = |rate: f64| match rate {
        rate if rate <= 0.0 || most <= 0.0 => 0,
        rate => ((rate / most).sqrt() * f64::from(SHADES)).ceil().clamp(1.0, SHADES.into()) as u8,
    };
    let mut runs: Vec<(usize, usize, u8)> = Vec::new();
    for (index, rate) in rates.iter().enumerate() {
        match (shade(*rate), runs.last_mut()) {
            (0, _) => {}
            (found, Some((_, end, last))) if *last == found && *end == index => *end = index + 1,
            (found, _) => runs.push((index, index + 1, found)),
        }
    }
    html! {
        svg.strip viewBox=(format!("0 0 {} 1", rates.len().max(1))) preserveAspectRatio="none"
            role="img" aria-label=(label) {
            @for (start, end, shade) in runs {
                rect.{ "d" (shade) } x=(start) width=(end - start) y="0" height="1" {}
            }
        }
    }
}

/// A number, as in `812`, `45.2 k` or `1.20 M`.
pub(super) fn number(value: f64) -> String {
    match value {
        small if small < 10.0 && small.fract() != 0.0 => format!("{small:.1}"),
        small if small < 10_000.0 => format!("{small:.0}"),
        thousands if thousands < 1e6 => format!("{:.1} k", thousands / 1e3),
        millions if millions < 1e9 => format!("{:.2} M", millions / 1e6),
        large => format!("{:.2} G", large / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(0.0, "0"), (0.25, "0.2"), (812.4, "812"), (45_210.0, "45.2 k")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_path_leaves_out_bins_without_a_value() {
        assert_eq!(path(&[Some(0.0), None, Some(2.0)], 2.0), "M0 100.0L2 0.0");
        assert_eq!(path(&[None, Some(1.0)], 1.0), "M1 0.0h0");
        assert_eq!(path(&[Some(1.0)], 1.0), "M0 0.0h1");
        assert_eq!(path(&[], 0.0), "");
    }

    #[test]
    fn a_strip_joins_equal_shades() {
        let drawn = strip(&[0.0, 4.0, 4.0, 0.0, 1.0], 4.0, "x").into_string();
        assert_eq!(drawn.matches("<rect").count(), 2);
        assert!(drawn.contains(r#"class="d5" x="1" width="2""#), "{drawn}");
    }
}
