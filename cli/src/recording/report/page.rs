//! The page of a report. It needs no network and no script: a policy in the page forbids both. All
//! texts of the recording pass through `maud`, which escapes them.

use super::chart::{self, Chart, Series, number, strip};
use super::summary::{LatencyReport, PartReport, ReaderReport, Report, RingReport};
use crate::recording::files;
use crate::text::{self, span};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
/// No script and no network, whatever the texts of the recording say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// The title, by which a page is known.
const TITLE: &str = "packetring report";
/// The bytes at the start of a page that have its title.
pub(super) const HEAD_BYTES: u64 = 1024;
/// Most rings, and most rows of a table or a timeline, that the page shows.
const MOST_RINGS: usize = 64;
const MOST_ROWS: usize = 40;

/// The page of a report.
pub(super) fn page(report: &Report) -> String {
    let shown = report.rings.iter().take(MOST_RINGS);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (TITLE) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report))
                @for ring in shown { (section(ring, report)) }
                @if report.rings.len() > MOST_RINGS {
                    p { (report.rings.len() - MOST_RINGS) " more rings have fewer packets: "
                        "`packetring report --json` has all" }
                }
                footer.note { "Drawn by `packetring report` " (env!("CARGO_PKG_VERSION")) "." }
            }
        }
    };
    page.into_string()
}

/// Returns true if a file with this start is a page that `report` wrote.
pub(super) fn is_page(start: &[u8]) -> bool {
    let start = String::from_utf8_lossy(start);
    start.starts_with("<!DOCTYPE html>") && start.contains(&format!("<title>{TITLE}</title>"))
}

fn head(report: &Report) -> Markup {
    let files: Vec<_> = report.files.iter().map(|file| file.display().to_string()).collect();
    html! {
        h1 { "Recording of " (text::count(report.rings.len(), "ring")) }
        p.muted { (text::plain(&files.join(", "))) }
        p { (report.from) " to " (report.to) }
        ul.tiles {
            (tile(&span(report.seconds), "recorded"))
            (tile(&number(report.packets as f64), "packets"))
            (tile(&text::bytes(report.bytes), "in packets"))
            (tile(&number(report.gaps as f64), if report.gaps == 1 { "gap" } else { "gaps" }))
        }
        @if report.gaps > 0 {
            p.warning { (gaps(report.gaps, report.gap_slots))
                ": the recorder was too slow, and publishers overwrote them. Rates are too low there. "
                "`record --lossless` has no gaps." }
        }
        @for (path, at) in &report.cut {
            p.warning { (text::plain(&files::cut(path, *at))) }
        }
        @for (path, at, unread) in &report.damaged {
            p.warning { (text::plain(&path.display().to_string())) " is damaged at byte " (at) ": the "
                (unread) " bytes from there on were not read" }
        }
        p.note { "All times are those at which the recorder read a packet. A packet has no time of \
            sending: latencies are here if they were sampled meanwhile, as `packetring latency --on` \
            has it. Each point of a chart stands for " (span(report.bin_seconds)) "." }
    }
}

fn tile(value: &str, what: &str) -> Markup {
    html! { li { b { (value) } span { (what) } } }
}

fn gaps(gaps: u64, slots: u64) -> String {
    format!("{} of {slots} slots", text::count(gaps as usize, "gap"))
}

fn section(ring: &RingReport, report: &Report) -> Markup {
    html! {
        section {
            h2 { (ring.name) small { (ring.kind) } }
            @if let Some(after) = ring.removed_after_seconds {
                p { "Removed or closed after " (span(after)) "." }
            }
            ul.tiles {
                (tile(&number(ring.packets as f64), "packets"))
                (tile(&number(ring.packets_per_second), "packets/s, mean"))
                (tile(&number(ring.peak_packets_per_second), "packets/s, peak"))
                (tile(&format!("{}/s", text::bytes(ring.bytes_per_second as u64)), "mean"))
                (tile(&text::bytes(ring.bytes / ring.packets.max(1)), "mean packet"))
            }
            div.charts { (charts(ring, report.seconds)) }
            (types(ring))
            (between(ring))
            (senders(ring, report.seconds))
            (readers(ring))
            (latencies(ring))
        }
    }
}

fn charts(ring: &RingReport, seconds: f64) -> Markup {
    let rate = |value: f64| format!("{}/s", number(value));
    let bytes = |value: f64| format!("{}/s", text::bytes(value as u64));
    let packets = match &*ring.types {
        [] | [_] => vec![Series::of("packets", &ring.packet_rates)],
        types => by_type(types),
    };
    let title = if packets.len() > 1 { "Packets by type" } else { "Packets" };
    let slots = |value: f64| format!("{} slots", number(value));
    let skipped: Vec<_> = ring.skipped_slots.iter().map(|slots| *slots as f64).collect();
    html! {
        (Chart { title, unit: rate, lines: packets, seconds }.draw())
        (Chart { title: "Bytes", unit: bytes, lines: vec![Series::of("bytes", &ring.byte_rates)], seconds }
            .draw())
        @if ring.gaps > 0 {
            (Chart { title: "Slots in gaps", unit: slots, lines: vec![Series::of("gaps", &skipped)], seconds }
                .draw())
        }
        @if !ring.readers.is_empty() { (backlogs(ring, seconds)) }
        @if let Some(latencies) = &ring.latencies { (latency_charts(latencies, seconds)) }
    }
}

/// The types with the most packets, and the others together.
fn by_type(types: &[PartReport]) -> Vec<Series<'_>> {
    let most = if types.len() > chart::COLORS { chart::COLORS - 1 } else { types.len() };
    let (own, others) = types.split_at(most);
    let mut lines: Vec<_> =
        own.iter().map(|one| Series::of(&one.name, &one.packet_rates)).collect();
    if let Some(first) = others.first() {
        let mut sum = vec![0.0; first.packet_rates.len()];
        for other in others {
            sum.iter_mut().zip(&other.packet_rates).for_each(|(sum, rate)| *sum += rate);
        }
        lines.push(Series::of("other types", &sum));
    }
    lines
}

/// The backlogs of the readers that are furthest behind.
fn backlogs(ring: &RingReport, seconds: f64) -> Markup {
    let unit = |value: f64| number(value);
    let in_slots = ring.readers.iter().any(|reader| reader.unit == "slots");
    let title = match in_slots {
        true => "Backlogs of readers, in slots",
        false => "Backlogs of readers, in packets",
    };
    let line = |reader: &ReaderReport| {
        let values = reader.backlog.iter().map(|one| one.map(|one| one as f64)).collect();
        (reader.name.clone(), values)
    };
    let lines: Vec<(String, Vec<_>)> = ring.readers.iter().take(chart::COLORS).map(line).collect();
    let lines = lines.iter();
    let lines = lines.map(|(name, values)| Series { name, values: values.clone() }).collect();
    Chart { title, unit, lines, seconds }.draw()
}

fn types(ring: &RingReport) -> Markup {
    html! {
        h3 { "Packet types" }
        (table(&["type", "packets", "bytes", "mean size", "first", "last"], ring.types.len(),
            ring.types.iter().map(part_row)))
    }
}

fn part_row(part: &PartReport) -> Vec<String> {
    vec![
        part.name.clone(),
        part.packets.to_string(),
        text::bytes(part.bytes),
        text::bytes(part.bytes / part.packets.max(1)),
        span(part.first_seconds),
        span(part.last_seconds),
    ]
}

fn between(ring: &RingReport) -> Markup {
    let Some(between) = &ring.between_packets else { return html! {} };
    html! {
        h3 { "Time between packets" }
        p { "Median " (span(between.median)) ", 90 % within " (span(between.p90)) ", 99 % within "
            (span(between.p99)) ", longest " (span(between.longest)) "." }
        p.note { "As the recorder read them: it takes several packets at once, and pauses for up to \
            0.2 ms when there are none." }
    }
}

/// When each worker sent.
fn senders(ring: &RingReport, seconds: f64) -> Markup {
    if ring.senders.is_empty() {
        return html! {};
    }
    let rates = ring.senders.iter().flat_map(|sender| &sender.packet_rates);
    let most = rates.copied().fold(0.0, f64::max);
    html! {
        h3 { "Workers that sent" }
        div.senders {
            @for sender in ring.senders.iter().take(MOST_ROWS) {
                span { (sender.name) }
                (strip(&sender.packet_rates, most, &format!("{} packets", sender.packets)))
            }
            (chart::axis(seconds))
        }
        (table(&["worker", "packets", "bytes", "mean size", "first", "last"], ring.senders.len(),
            ring.senders.iter().map(part_row)))
    }
}

fn readers(ring: &RingReport) -> Markup {
    let row = |reader: &ReaderReport| {
        let amount = |value: f64| format!("{} {}", number(value), reader.unit);
        vec![
            reader.name.clone(),
            reader.samples.to_string(),
            amount(reader.mean),
            amount(reader.largest as f64),
            reader.lost.to_string(),
            reader.mean_wait_seconds.map_or_else(|| "-".to_owned(), span),
        ]
    };
    html! {
        h3 { "Readers" }
        @if ring.readers.is_empty() {
            p { "The recording has no sample of a reader." }
        } @else {
            (table(&["reader", "samples", "mean backlog", "largest", "lost", "mean wait"],
                ring.readers.len(), ring.readers.iter().map(row)))
            p.note { "The recorder looks at the readers about once a second. The mean wait is the \
                mean backlog divided by the mean rate (Little's law): an estimate of how long a \
                packet is in the ring before the reader releases it." }
        }
    }
}

/// What `packetring latency` would have shown meanwhile.
fn latencies(ring: &RingReport) -> Markup {
    let Some(latencies) = &ring.latencies else { return html! {} };
    html! {
        h3 { "Latencies" }
        p { (text::count(latencies.samples as usize, "sample")) ", the largest " (span(latencies.max)) "." }
        p.note { "The age of a probe, which is published immediately before a packet, when a reader \
            got there. The recorder reads the figures about once a second; a point of a chart is \
            the largest of its time." }
    }
}

fn latency_charts(latencies: &LatencyReport, seconds: f64) -> Markup {
    let (p50, p99) = (latencies.p50_over_time.clone(), latencies.p99_over_time.clone());
    let lines = vec![Series { name: "p50", values: p50 }, Series { name: "p99", values: p99 }];
    let largest = vec![Series { name: "max", values: latencies.max_over_time.clone() }];
    html! {
        (Chart { title: "Latencies: p50 and p99", unit: span, lines, seconds }.draw())
        (Chart { title: "Largest latencies", unit: span, lines: largest, seconds }.draw())
    }
}

fn table(headings: &[&str], count: usize, rows: impl Iterator<Item = Vec<String>>) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { @for heading in headings { th { (heading) } } } }
                tbody {
                    @for row in rows.take(MOST_ROWS) { tr { @for cell in row { td { (cell) } } } }
                }
            }
        }
        @if count > MOST_ROWS { p.note { (count - MOST_ROWS) " more are not shown." } }
    }
}
