//! The report of a recording as data: the page is drawn from it, and it is the JSON.

use super::bins::Bins;
use super::figures::{Figures, LatencyFigures, Part, ReaderFigures, RingFigures};
use crate::text;
use serde::Serialize;
use std::path::PathBuf;

/// Everything that the page shows.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) files: Vec<PathBuf>,
    /// Times of the first entry and of the last one, in UTC.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) seconds: f64,
    /// Seconds of each element of a series.
    pub(super) bin_seconds: f64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) gaps: u64,
    pub(super) gap_slots: u64,
    /// Files whose last block is not whole, with its position.
    pub(super) cut: Vec<(PathBuf, u64)>,
    /// Files with a damaged block: its position, and the bytes from there on.
    pub(super) damaged: Vec<(PathBuf, u64, u64)>,
    /// The ring with the most packets first.
    pub(super) rings: Vec<RingReport>,
}

#[derive(Serialize)]
pub(super) struct RingReport {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Means over the whole recording, and the most in one bin.
    pub(super) packets_per_second: f64,
    pub(super) bytes_per_second: f64,
    pub(super) peak_packets_per_second: f64,
    pub(super) gaps: u64,
    pub(super) gap_slots: u64,
    pub(super) removed_after_seconds: Option<f64>,
    pub(super) between_packets: Option<Between>,
    pub(super) types: Vec<PartReport>,
    pub(super) senders: Vec<PartReport>,
    pub(super) readers: Vec<ReaderReport>,
    /// `null` if none were sampled.
    pub(super) latencies: Option<LatencyReport>,
    /// By bin.
    pub(super) packet_rates: Vec<f64>,
    pub(super) byte_rates: Vec<f64>,
    pub(super) skipped_slots: Vec<u64>,
}

/// Seconds between two packets, as the recorder read them.
#[derive(Serialize)]
pub(super) struct Between {
    pub(super) median: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) longest: f64,
}

/// A packet type, or a sender.
#[derive(Serialize)]
pub(super) struct PartReport {
    pub(super) name: String,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) first_seconds: f64,
    pub(super) last_seconds: f64,
    /// By bin.
    pub(super) packet_rates: Vec<f64>,
}

#[derive(Serialize)]
pub(super) struct ReaderReport {
    pub(super) name: String,
    /// `packets` or `slots`, of the backlogs of all readers of the ring.
    pub(super) unit: &'static str,
    pub(super) samples: u64,
    pub(super) largest: u64,
    pub(super) mean: f64,
    /// Packets that the ring took from it since it joined.
    pub(super) lost: u64,
    /// The mean backlog divided by the mean rate: how long a packet waits for it, by Little's law.
    pub(super) mean_wait_seconds: Option<f64>,
    /// The largest backlog by bin, `null` in bins without a sample.
    pub(super) backlog: Vec<Option<u64>>,
}

/// Latencies in seconds, as sampled while the recorder ran.
#[derive(Serialize)]
pub(super) struct LatencyReport {
    pub(super) samples: u64,
    pub(super) max: f64,
    /// By bin, `null` in bins without a sample: the largest of about a second each.
    pub(super) p50_over_time: Vec<Option<f64>>,
    pub(super) p99_over_time: Vec<Option<f64>>,
    pub(super) max_over_time: Vec<Option<f64>>,
}

/// The bins of all series.
struct Scale {
    /// Seconds of a bin, and of the last one.
    bin: f64,
    last: f64,
    count: usize,
    length: f64,
}

impl Scale {
    fn rates(&self, bins: &Bins) -> Vec<f64> {
        let rate = |(index, value): (usize, Option<u64>)| {
            let seconds = if index + 1 == self.count { self.last } else { self.bin };
            value.unwrap_or(0) as f64 / seconds
        };
        bins.folded(self.count).into_iter().enumerate().map(rate).collect()
    }

    fn per_second(&self, number: u64) -> f64 {
        if self.length > 0.0 { number as f64 / self.length } else { 0.0 }
    }
}

impl Report {
    pub(super) fn of(mut figures: Figures, files: Vec<PathBuf>) -> Self {
        let (length, width) = (figures.length(), figures.finish());
        let (whole, rest, bin) = ((length / width) as usize, length % width, seconds(width));
        // A bin that has hardly begun would show a rate that was never there: it is a part of the
        // last whole one.
        let (count, last) = match rest < width / 2 && whole > 0 {
            true => (whole, bin + seconds(rest)),
            false => (whole + 1, seconds(rest).max(bin / 2.0)),
        };
        let scale = Scale { bin, last, count, length: seconds(length) };
        let rings = figures.rings.iter().map(|(name, ring)| RingReport::of(name, ring, &scale));
        let mut rings: Vec<_> = rings.collect();
        rings.sort_by_key(|ring| std::cmp::Reverse(ring.packets));
        let sum = |of: fn(&RingReport) -> u64| rings.iter().map(of).fold(0, u64::saturating_add);
        let time = |time: Option<u64>| time.map_or_else(|| "no packet".to_owned(), utc);
        Self {
            files,
            from: time(figures.span.map(|span| span.0)),
            to: time(figures.span.map(|span| span.1)),
            seconds: scale.length,
            bin_seconds: bin,
            packets: sum(|ring| ring.packets),
            bytes: sum(|ring| ring.bytes),
            gaps: sum(|ring| ring.gaps),
            gap_slots: sum(|ring| ring.gap_slots),
            cut: Vec::new(),
            damaged: Vec::new(),
            rings,
        }
    }
}

impl RingReport {
    fn of(name: &str, ring: &RingFigures, scale: &Scale) -> Self {
        let packet_rates = scale.rates(&ring.all.over_time);
        let between = Some(&ring.between).filter(|between| between.count > 0);
        let parts = |parts: &std::collections::BTreeMap<String, Part>| {
            let parts = parts.iter().map(|(name, part)| PartReport::of(name, part, scale));
            let mut parts: Vec<_> = parts.collect();
            parts.sort_by_key(|part| std::cmp::Reverse(part.packets));
            parts
        };
        let rate = scale.per_second(ring.all.packets);
        // A rate without the packets of the gaps says nothing about waits.
        let unit = ring.unit();
        let known_rate = (ring.gaps == 0 && rate > 0.0).then_some(rate);
        let readers = ring.readers.iter();
        let readers =
            readers.map(|(name, reader)| ReaderReport::of(name, reader, unit, known_rate, scale));
        let mut readers: Vec<_> = readers.collect();
        readers.sort_by_key(|reader| std::cmp::Reverse(reader.largest));
        let skipped = ring.gaps_over_time.folded(scale.count);
        Self {
            name: text::plain(name).into_owned(),
            kind: text::plain(&ring.kind).into_owned(),
            packets: ring.all.packets,
            bytes: ring.all.bytes,
            packets_per_second: rate,
            bytes_per_second: scale.per_second(ring.all.bytes),
            peak_packets_per_second: packet_rates.iter().copied().fold(0.0, f64::max),
            gaps: ring.gaps,
            gap_slots: ring.gap_slots,
            removed_after_seconds: ring.removed.map(seconds),
            between_packets: between.map(|between| Between {
                median: seconds(between.quantile(0.5)),
                p90: seconds(between.quantile(0.9)),
                p99: seconds(between.quantile(0.99)),
                longest: seconds(between.longest),
            }),
            types: parts(&ring.types),
            senders: parts(&ring.senders),
            readers,
            latencies: LatencyReport::of(&ring.latencies, scale),
            packet_rates,
            byte_rates: scale.rates(&ring.bytes_over_time),
            skipped_slots: skipped.into_iter().map(Option::unwrap_or_default).collect(),
        }
    }
}

impl PartReport {
    fn of(name: &str, part: &Part, scale: &Scale) -> Self {
        Self {
            name: text::plain(name).into_owned(),
            packets: part.packets,
            bytes: part.bytes,
            first_seconds: seconds(part.first),
            last_seconds: seconds(part.last),
            packet_rates: scale.rates(&part.over_time),
        }
    }
}

impl LatencyReport {
    fn of(latencies: &LatencyFigures, scale: &Scale) -> Option<Self> {
        let [p50_over_time, p99_over_time, max_over_time] =
            latencies.over_time.each_ref().map(|bins| {
                let values = bins.folded(scale.count).into_iter();
                values.map(|value| value.map(seconds)).collect()
            });
        let (samples, max) = (latencies.samples, seconds(latencies.largest));
        (samples > 0).then_some(Self { samples, max, p50_over_time, p99_over_time, max_over_time })
    }
}

impl ReaderReport {
    fn of(
        name: &str,
        reader: &ReaderFigures,
        unit: &'static str,
        rate: Option<f64>,
        scale: &Scale,
    ) -> Self {
        let backlog = if unit == "packets" { &reader.packets } else { &reader.slots };
        let (samples, mean) = (reader.slots.samples, reader.packets.mean());
        let is_counted = 2 * reader.packets.samples >= samples;
        Self {
            name: text::plain(name).into_owned(),
            unit,
            samples,
            largest: backlog.largest,
            mean: backlog.mean(),
            lost: reader.lost,
            mean_wait_seconds: rate.filter(|_| is_counted).map(|rate| mean / rate),
            backlog: backlog.over_time.folded(scale.count),
        }
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// A time in nanoseconds since 1970 as text, as in `2026-11-30 15:04:05 UTC`.
fn utc(time: u64) -> String {
    let (day, second) = (time / 1_000_000_000 / 86_400, time / 1_000_000_000 % 86_400);
    // Years from March to February: the day of a leap year is the last one.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_796_051_045, "2026-11-30 15:04:05 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), text);
        }
    }
}
