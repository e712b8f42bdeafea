//! The measurements, printed as a table or as JSON.

use crate::packets::archived;
use crate::plan::Plan;
use hdrhistogram::Histogram;
use std::error::Error;
use std::time::{Duration, Instant};

/// The measurements.
pub(crate) struct Measured {
    pub(crate) ring: Histogram<u64>,
    pub(crate) floor: Histogram<u64>,
    /// Archived bytes of a ping and of a pong.
    archived: (usize, usize),
    clock: Duration,
}

/// The reported quantiles and their names.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

impl Measured {
    pub(crate) fn new(plan: &Plan) -> Result<Self, Box<dyn Error>> {
        let hour = 3_600_000_000_000;
        let (ring, floor) = (Histogram::new_with_max(hour, 3)?, Histogram::new_with_max(hour, 3)?);
        Ok(Self { ring, floor, archived: archived(plan)?, clock: cost_of_clock() })
    }

    pub(crate) fn print_json(&self, plan: &Plan) {
        let summary = |histogram: &Histogram<u64>| {
            let [p50, p99, p999] = QUANTILES.map(|(_, q)| histogram.value_at_quantile(q));
            serde_json::json!({ "p50": p50, "p99": p99, "p999": p999, "max": histogram.max() })
        };
        let report = serde_json::json!({
            "rounds": plan.rounds,
            "payload": plan.text(),
            "wait": plan.wait.to_string(),
            "rtt_ns": summary(&self.ring),
            "floor_ns": summary(&self.floor),
        });
        println!("{report}");
    }

    pub(crate) fn print_table(&self, plan: &Plan) {
        let ((ping, pong), text) = (self.archived, plan.text());
        let Plan { rounds, wait, cores, .. } = plan;
        println!("{rounds} round trips: {ping} archived bytes there, {pong} back, {text} of text");
        if cores.are_one() {
            println!(
                "wait: {wait}; both processes share core {}: each round switches twice",
                cores.0
            );
        } else {
            println!("wait: {wait}; cores {} and {}; the floor always spins", cores.0, cores.1);
        }
        println!("\n{:<18}{:>10}{:>10}{:>10}{:>10}", "ns", "p50", "p99", "p99.9", "max");
        print_row("packetring", &self.ring);
        print_row("floor: a line", &self.floor);
        print!("{:<18}", "ratio");
        for (_, quantile) in QUANTILES {
            let of = |histogram: &Histogram<u64>| histogram.value_at_quantile(quantile) as f64;
            print!("{:>10.2}", of(&self.ring) / of(&self.floor));
        }
        println!(
            "\n\nall round trips are recorded as measured, uncorrected for coordinated omission"
        );
        println!("reading the clock takes {} ns, included in each figure", self.clock.as_nanos());
    }
}

fn print_row(name: &str, histogram: &Histogram<u64>) {
    print!("{name:<18}");
    for (_, quantile) in QUANTILES {
        print!("{:>10}", histogram.value_at_quantile(quantile));
    }
    println!("{:>10}", histogram.max());
}

fn cost_of_clock() -> Duration {
    let reads = 10_000;
    let started = Instant::now();
    for _ in 0..reads {
        std::hint::black_box(Instant::now());
    }
    started.elapsed() / reads
}
