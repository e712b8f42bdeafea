//! The plots, as SVG. A plot without a line of two points or more is left out.

use super::row::Row;
use super::section::Section;
use crate::harness::{Curve, Outcome, Unit};
use plotters::prelude::*;
use std::error::Error;
use std::ops::Range;

/// A drawing with its file name and title.
pub(crate) struct Plot {
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) svg: String,
}

/// A line through points.
struct Line {
    label: String,
    points: Vec<(f64, f64)>,
    is_floor: bool,
}

/// Caption of an axis and format of its numbers.
struct Axis {
    about: &'static str,
    label: fn(f64) -> String,
}

const BYTES: Axis = Axis { about: "bytes of a packet", label: bytes };
const MANY: Axis = Axis { about: "count", label: plain };
const SHARE: Axis = Axis { about: "percentile", label: percentile };
const NANOSECONDS: Axis = Axis { about: "ns", label: plain };
const GIGABYTES: Axis = Axis { about: "GB/s", label: plain };

/// Colours of lines, in turn. Floors have their own.
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 95, 170), RGBColor(196, 78, 38), RGBColor(38, 132, 84), RGBColor(122, 77, 160)];
const FLOOR: RGBColor = RGBColor(130, 130, 130);
const INK: RGBColor = RGBColor(40, 40, 40);
const SIZE: (u32, u32) = (760, 420);

/// Draws all plots that have enough points. Each phase gets its own plots.
pub(crate) fn all(sections: &[Section<'_>]) -> Outcome<Vec<Plot>> {
    let mut plots = Vec::new();
    for section in sections {
        plots.append(&mut of_phase(section)?);
    }
    Ok(plots)
}

fn of_phase(section: &Section<'_>) -> Outcome<Vec<Plot>> {
    let all = section.rows.as_slice();
    let plots = [
        ("latency", "Round trips: latency by percentile", round_trips(all), SHARE, NANOSECONDS),
        ("payload", "Throughput over payload", payloads(all), BYTES, GIGABYTES),
        (
            "subscribers",
            "Cost of a publish over registered subscribers",
            subscribers(all),
            MANY,
            NANOSECONDS,
        ),
        (
            "processes",
            "Cost of a packet over publishers, and over subscribers that run",
            processes(all),
            MANY,
            NANOSECONDS,
        ),
    ];
    let mut drawn = Vec::new();
    for (file, title, mut lines, x, y) in plots {
        lines.retain(|line| line.points.len() > 1);
        if !lines.is_empty() {
            let svg = draw(&lines, &x, &y).map_err(|error| error.to_string())?;
            let file = format!("{file}-{}.svg", section.phase.name());
            let title = format!("{title}, {}", section.phase.title());
            drawn.push(Plot { file, title, svg });
        }
    }
    Ok(drawn)
}

// ── Lines ──────────────────────────────────────────────────────────────────────────────────────

/// Latencies over `1 / (1 - quantile)`: on a logarithmic axis each further nine takes equal room.
fn round_trips(all: &[&Row<'_>]) -> Vec<Line> {
    let inverses = (0..=16).map(|quarter| 10_f64.powf(f64::from(quarter) / 4.0) * 2.0);
    let inverses: Vec<f64> = inverses.take_while(|inverse| *inverse <= 10_000.0).collect();
    let line = |label: &str, latency: &dyn Fn(f64) -> Option<f64>, is_floor| {
        let point = |inverse: &f64| Some((*inverse, latency(1.0 - 1.0 / inverse)?));
        Line { label: label.into(), points: inverses.iter().filter_map(point).collect(), is_floor }
    };
    let mut lines = Vec::new();
    for row in all.iter().filter(|row| row.results.name.starts_with("round_trip")) {
        lines.push(line(&row.results.name, &|quantile| row.work.latency_at(quantile), false));
        if lines.len() == 1 {
            lines.push(line("floor: a bare line", &|at| row.floor.latency_at(at), true));
        }
    }
    lines
}

fn payloads(all: &[&Row<'_>]) -> Vec<Line> {
    vec![
        curve(all, Curve::Payload, "written and read in place", |row| row.work.median()),
        floor_of(curve(all, Curve::Payload, "floor: best copy", |row| row.floor.median())),
    ]
}

fn subscribers(all: &[&Row<'_>]) -> Vec<Line> {
    vec![curve(all, Curve::Subscribers, "one send", |row| row.work.median())]
}

fn processes(all: &[&Row<'_>]) -> Vec<Line> {
    let cost = |row: &Row<'_>| Some(1e3 / row.work.median()?);
    vec![
        curve(all, Curve::Publishers, "publishers to one subscriber, shared ring", cost),
        curve(all, Curve::Readers, "subscribers of one publisher, exclusive ring", cost),
    ]
}

/// The points of a curve, sorted by x.
fn curve(all: &[&Row<'_>], curve: Curve, label: &str, y: impl Fn(&Row<'_>) -> Option<f64>) -> Line {
    let of = |row: &&Row<'_>| {
        let (of, x) = row.results.point?;
        let in_gigabytes = curve != Curve::Payload || row.results.unit == Unit::GigabytesPerSecond;
        if of == curve && in_gigabytes { Some((x as f64, y(row)?)) } else { None }
    };
    let mut points: Vec<_> = all.iter().filter_map(of).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Line { label: label.into(), points, is_floor: false }
}

fn floor_of(line: Line) -> Line {
    Line { is_floor: true, ..line }
}

// ── Drawing ────────────────────────────────────────────────────────────────────────────────────

/// Draws lines over a logarithmic x axis. The y axis is logarithmic for latencies by percentile,
/// and linear from zero otherwise.
fn draw(lines: &[Line], x: &Axis, y: &Axis) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (across, up) = ranges(lines);
        let mut chart = ChartBuilder::on(&root);
        chart.margin(14).x_label_area_size(46).y_label_area_size(64);
        // `log_scale` cannot show zero. If zero is a value, shift all values by one.
        let shift = if across.start < 1.0 { 1.0 } else { 0.0 };
        let across = (across.start + shift)..(across.end + shift);
        let label_x = |at: &f64| (x.label)(at - shift);
        let style = |line: &Line, index: usize| {
            let colour = if line.is_floor { FLOOR } else { COLOURS[index % COLOURS.len()] };
            colour.stroke_width(2)
        };
        macro_rules! draw_on {
            ($chart:expr) => {{
                let mut chart = $chart;
                chart
                    .configure_mesh()
                    .light_line_style(TRANSPARENT)
                    .bold_line_style(RGBColor(225, 225, 225))
                    .axis_style(INK)
                    .x_desc(x.about)
                    .y_desc(y.about)
                    .x_label_formatter(&label_x)
                    .y_label_formatter(&|at| (y.label)(*at))
                    .label_style(("sans-serif", 14, &INK))
                    .draw()?;
                for (index, line) in lines.iter().enumerate() {
                    let style = style(line, index);
                    let points: Vec<_> =
                        line.points.iter().map(|&(across, up)| (across + shift, up)).collect();
                    let dots = points.iter().map(|&at| Circle::new(at, 3, style.color.filled()));
                    chart.draw_series(dots)?;
                    chart
                        .draw_series(LineSeries::new(points.clone(), style))?
                        .label(line.label.clone())
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
                }
                chart
                    .configure_series_labels()
                    .position(SeriesLabelPosition::UpperLeft)
                    .background_style(WHITE.mix(0.85))
                    .border_style(RGBColor(225, 225, 225))
                    .label_font(("sans-serif", 14, &INK))
                    .draw()?;
            }};
        }
        if x.about == SHARE.about {
            draw_on!(chart.build_cartesian_2d(across.log_scale(), up.log_scale())?);
        } else {
            draw_on!(chart.build_cartesian_2d(across.log_scale().base(2.0), 0.0..up.end)?);
        }
        root.present()?;
    }
    Ok(svg)
}

/// Ranges of both axes, with some room above.
fn ranges(lines: &[Line]) -> (Range<f64>, Range<f64>) {
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let across = least(&mut points().map(|at| at.0))..most(&mut points().map(|at| at.0));
    let up = least(&mut points().map(|at| at.1)) * 0.8..most(&mut points().map(|at| at.1)) * 1.35;
    (across, up)
}

fn plain(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded}")
}

fn bytes(value: f64) -> String {
    match value as u64 {
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes}"),
    }
}

/// Formats `1 / (1 - quantile)` as a percentile.
fn percentile(inverse: f64) -> String {
    let share = 100.0 - 100.0 / inverse;
    format!("{}", (share * 1000.0).round() / 1000.0)
}
