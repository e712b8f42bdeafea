//! The options of the command line, and the plan of a run, on which both processes agree.

use crate::cores::Cores;
use clap::{Parser, ValueEnum};
use packetring::{Ring, RingBuilder, Wait};
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Timeout of every wait for the peer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// Number of alternating turns of floor and ring.
const TURNS: u64 = 10;
/// Rounds that do not count: more than one lap of the ring, so that its pages are mapped.
const WARM_UP: u64 = 2_000;
/// Capacity of a ring. Only one packet is in flight, and a small ring stays in the caches.
const CAPACITY: usize = 1 << 16;
/// Longest `--payload`.
const MAX_PAYLOAD: i64 = 1 << 24;
/// Bytes of text without `--payload`.
pub(crate) const ARRAY_LEN: usize = 16;

/// Measures round trips between two processes through packetring, beside their floor
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// Round trips to record [default: 200000; 20000 if the processes sleep or share a core]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Bytes of text in each packet, as a `String`; up to 16, packet and header fit one cache line
    /// [default: 16, as an array]
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=MAX_PAYLOAD))]
    payload: Option<u32>,
    /// How both processes wait for a packet
    #[arg(long, value_enum, default_value_t = Waiting::Spin)]
    wait: Waiting,
    /// How long park and event spin before they sleep, in µs; 0 shows the cost of sleeping
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 20)]
    spin_for: u64,
    /// Cores of the two processes, such as 0,1 [default: the first two allowed]
    #[arg(long, value_name = "A,B")]
    pin: Option<Cores>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Run as the peer of this process
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) peer: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Waiting {
    /// Poll; occupies one core per process
    Spin,
    /// Spin for a while, then sleep on a futex
    Park,
    /// Spin for a while, then sleep on an eventfd
    Event,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spin => "spin",
            Self::Park => "park",
            Self::Event => "event",
        })
    }
}

/// Settings that both processes must agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u64,
    /// Bytes of a `String`; `None` for an array.
    pub(crate) payload: Option<usize>,
    pub(crate) wait: Waiting,
    /// Microseconds to spin before sleeping.
    spin_for: u64,
    pub(crate) cores: Cores,
}

impl Plan {
    pub(crate) fn of(options: &Options) -> Result<Self, Box<dyn Error>> {
        let cores = match options.pin {
            Some(cores) => cores.checked()?,
            None => Cores::first_allowed()?,
        };
        let is_fast = options.wait == Waiting::Spin && !cores.are_one();
        let rounds = options.rounds.unwrap_or(if is_fast { 200_000 } else { 20_000 });
        let payload = options.payload.map(|bytes| bytes as usize);
        Ok(Self { rounds, payload, wait: options.wait, spin_for: options.spin_for, cores })
    }

    /// Command line arguments of the peer.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let Self { rounds, payload, wait, spin_for, cores } = self;
        let parent = std::process::id();
        let mut arguments = format!(
            "--rounds {rounds} --wait {wait} --spin-for {spin_for} --pin {cores} --peer {parent}"
        );
        if let Some(bytes) = payload {
            arguments += &format!(" --payload {bytes}");
        }
        arguments.split(' ').map(str::to_owned).collect()
    }

    /// Rounds of each turn: the uncounted ones, and the counted ones.
    pub(crate) fn turns(&self) -> impl Iterator<Item = (u64, u64)> {
        let rounds = self.rounds;
        (0..TURNS).map(move |turn| {
            let counted = rounds * (turn + 1) / TURNS - rounds * turn / TURNS;
            (if turn == 0 { WARM_UP } else { counted / 10 }, counted)
        })
    }

    /// Bytes of text.
    pub(crate) fn text(&self) -> usize {
        self.payload.unwrap_or(ARRAY_LEN)
    }

    pub(crate) fn ring(&self) -> RingBuilder {
        let wait = match self.wait {
            Waiting::Spin => Wait::spin(),
            Waiting::Park => Wait::park(),
            Waiting::Event => Wait::event(),
        };
        let capacity = CAPACITY.max((8 * self.text()).next_power_of_two());
        Ring::builder()
            .capacity(capacity)
            .exclusive()
            .wait(wait.spin_for(Duration::from_micros(self.spin_for)))
    }
}

/// Names of this run. They contain the process id of the first process.
pub(crate) struct Names {
    pub(crate) ping: String,
    pub(crate) pong: String,
    pub(crate) floor: String,
}

impl Names {
    pub(crate) fn of(parent: u32) -> Self {
        Self {
            ping: format!("ping-{parent}"),
            pong: format!("pong-{parent}"),
            floor: format!("/packetring-floor-{parent}"),
        }
    }
}
