//! A distribution of latencies in a few figures, as several commands show it.

use crate::text;
use packetring::inspect::{LatencySnapshot, RingInspection};
use serde::Serialize;
use std::time::Duration;

/// Figures of a distribution. Times are in seconds, and missing without latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) samples: u64,
    /// Probes that no latency followed from.
    pub(crate) ignored: u64,
    pub(crate) mean_seconds: Option<f64>,
    pub(crate) p50_seconds: Option<f64>,
    pub(crate) p90_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
    pub(crate) p999_seconds: Option<f64>,
    pub(crate) max_seconds: Option<f64>,
}

impl Figures {
    /// The figures of a snapshot.
    pub(crate) fn of(found: &LatencySnapshot) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let quantile = |part| seconds(found.quantile(part));
        Self {
            samples: found.count,
            ignored: found.ignored,
            mean_seconds: seconds(found.mean()),
            p50_seconds: quantile(0.5),
            p90_seconds: quantile(0.9),
            p99_seconds: quantile(0.99),
            p999_seconds: quantile(0.999),
            max_seconds: quantile(1.0),
        }
    }

    /// The figures since a snapshot before, or since the ring was made. `None`: sampling is off.
    pub(crate) fn sampled(ring: &RingInspection, before: Option<&RingInspection>) -> Option<Self> {
        let of = |before: &RingInspection| Self::of(&ring.latencies.since(&before.latencies));
        ring.sampling.map(|_| before.map_or_else(|| Self::of(&ring.latencies), of))
    }

    /// The times in their order: p50, p90, p99, p99.9, max, mean.
    pub(crate) fn times(&self) -> [Option<f64>; 6] {
        [
            self.p50_seconds,
            self.p90_seconds,
            self.p99_seconds,
            self.p999_seconds,
            self.max_seconds,
            self.mean_seconds,
        ]
    }

    /// The figures in words, as in `812 samples: p50 1.2 µs, p99 9.8 µs, max 1.2 ms`.
    pub(crate) fn sentence(&self) -> String {
        let samples = text::count(self.samples as usize, "sample");
        let [p50, _, p99, _, max, _] = self.times().map(shown);
        match self.samples {
            0 => samples,
            _ => format!("{samples}: p50 {p50}, p99 {p99}, max {max}"),
        }
    }
}

/// A time, or `-`.
pub(crate) fn shown(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), text::span)
}
