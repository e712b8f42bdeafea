//! Packets per second from one process to another, beside the floor.
//!
//! ```text
//! cargo bench --bench throughput
//! cargo bench --bench throughput -- exclusive --runs 9 --pin 0,1
//! ```
//!
//! Each run is a process that publishes, started anew, on one core, and this one, which reads, on
//! another: flat packets of 48 bytes, one slot each, through a fresh ring of the default size. The
//! runs of the scenarios take turns, so that whatever disturbs the machine disturbs all of them.
//! The clock runs in the reader, and only when every page has been touched.
//!
//! Without `--bench`, which `cargo bench` gives, it only shows that it works. It does not measure
//! latency: the example `ping_pong` does.

#[path = "../examples/support/cores.rs"]
mod cores;
#[path = "../examples/support/peer.rs"]
mod peer;
#[path = "../examples/support/shared.rs"]
mod shared;
#[path = "floor/stream.rs"]
mod stream;

use clap::{Parser, ValueEnum};
use cores::Cores;
use packetring::{Publisher, Ring, RingBuilder, Subscriber, Wait, packet};
use peer::Peer;
use shared::{Poll, Shared};
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;
use stream::Stream;

/// Packets before the clock runs: two laps.
const WARM_UP: u64 = 1 << 15;
/// Packets of one `send_all`.
const BATCH: u64 = 32;

/// Fills a slot: 48 bytes and the header of 16.
#[packet]
struct Tick {
    sequence: u64,
    values: [u64; 5],
}

impl Tick {
    fn of(sequence: u64) -> Self {
        Self { sequence, values: [sequence; 5] }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    Floor,
    Exclusive,
    ExclusiveBatch,
    Shared,
    SharedBatch,
}

impl Scenario {
    fn title(self) -> &'static str {
        match self {
            Self::Floor => "floor: copy in, copy out",
            Self::Exclusive => "exclusive: send, recv",
            Self::ExclusiveBatch => "exclusive: send_all of 32, drain",
            Self::Shared => "shared: send, recv",
            Self::SharedBatch => "shared: send_all of 32, drain",
        }
    }

    fn ring(self) -> RingBuilder {
        let ring = Ring::builder().wait(Wait::spin());
        match self {
            Self::Exclusive | Self::ExclusiveBatch => ring.exclusive(),
            Self::Floor | Self::Shared | Self::SharedBatch => ring.shared(),
        }
    }

    fn is_batched(self) -> bool {
        matches!(self, Self::ExclusiveBatch | Self::SharedBatch)
    }
}

/// Packets per second from one process to another, beside the floor
#[derive(Debug, Parser)]
struct Options {
    /// Measure only what has this in its name; the floor is always measured
    filter: Option<String>,
    /// Runs of each scenario
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Millions of packets that are measured in a run
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    millions: u64,
    /// Cores of the two processes, such as 0,1 [default: the first two allowed]
    #[arg(long, value_name = "A,B")]
    pin: Option<Cores>,
    /// Measure; given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Only show that it works
    #[arg(long, hide = true)]
    test: bool,
    /// Publish for the process `of`
    #[arg(long, hide = true, requires_all = ["of", "packets"])]
    publish: Option<Scenario>,
    /// Process id of the reader
    #[arg(long, hide = true)]
    of: Option<u32>,
    /// Packets to publish
    #[arg(long, hide = true)]
    packets: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.publish, options.of, options.packets) {
        (Some(scenario), Some(reader), Some(packets)) => {
            publish(scenario, reader, packets, options.pin.unwrap_or(Cores(0, 0)))
        }
        _ => compare(&options),
    };
    if let Err(error) = outcome {
        eprintln!("throughput: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

// ── This process: it reads, and it measures ────────────────────────────────────────────────────

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let cores = match options.pin {
        Some(cores) => cores.checked()?,
        None => Cores::first_allowed()?,
    };
    let is_real = options.bench && !options.test;
    let (runs, packets) =
        if is_real { (options.runs, options.millions * 1_000_000) } else { (1, 10_000) };
    let scenarios = chosen(options.filter.as_deref());
    let mut times = vec![Vec::new(); scenarios.len()];
    for _ in 0..runs {
        for (scenario, times) in scenarios.iter().zip(&mut times) {
            times.push(run(*scenario, WARM_UP + packets, cores)?);
        }
    }
    println!("{runs} runs of {packets} packets of 48 bytes; cores {} and {}", cores.0, cores.1);
    if !is_real {
        println!("a test: the figures mean nothing");
    }
    if cores.are_one() {
        println!("both processes share one core: this measures switching between them");
    }
    print_table(&scenarios, &mut times);
    Ok(())
}

fn chosen(filter: Option<&str>) -> Vec<Scenario> {
    let fits = |scenario: &Scenario| filter.is_none_or(|text| scenario.title().contains(text));
    let all = Scenario::value_variants().iter().copied();
    all.filter(|scenario| *scenario == Scenario::Floor || fits(scenario)).collect()
}

/// One run. Nanoseconds a packet.
fn run(scenario: Scenario, packets: u64, cores: Cores) -> Result<f64, Box<dyn Error>> {
    let _pinned = cores.pin_before_joining(cores.0)?;
    if scenario == Scenario::Floor {
        let stream: Shared<Stream> = Shared::create(&floor(std::process::id()))?;
        let peer = start(scenario, packets, cores)?;
        let _pinned = cores.pin_after_joining(cores.0)?;
        let time = read_floor(&stream, packets, cores)?;
        peer.finish()?;
        return Ok(time);
    }
    let mut ticks = scenario.ring().open(&ring(std::process::id()))?.subscriber()?;
    let peer = start(scenario, packets, cores)?;
    let _pinned = cores.pin_after_joining(cores.0)?;
    let take = if scenario.is_batched() { take_batches } else { take_each };
    let first = take(&mut ticks, 0, WARM_UP)?;
    let started = Instant::now();
    let end = take(&mut ticks, first, packets)?;
    let took = started.elapsed();
    peer.finish()?;
    Ok(took.as_nanos() as f64 / (end - first) as f64)
}

fn start(scenario: Scenario, packets: u64, cores: Cores) -> std::io::Result<Peer> {
    let scenario = scenario.to_possible_value().map(|value| value.get_name().to_owned());
    let scenario = scenario.unwrap_or_default();
    let reader = std::process::id();
    let arguments = format!("--publish {scenario} --of {reader} --packets {packets} --pin {cores}");
    Peer::start(arguments.split(' '))
}

fn read_floor(stream: &Stream, packets: u64, cores: Cores) -> Result<f64, String> {
    let poll = Poll { yields: cores.are_one(), parent: None };
    stream.read(0..WARM_UP, &poll)?;
    let started = Instant::now();
    stream.read(WARM_UP..packets, &poll)?;
    Ok(started.elapsed().as_nanos() as f64 / (packets - WARM_UP) as f64)
}

/// Takes packets one by one until those before `end` are read. Returns how many are.
fn take_each(ticks: &mut Subscriber<Tick>, from: u64, end: u64) -> Result<u64, Box<dyn Error>> {
    for expected in from..end {
        let tick = ticks.recv()?;
        black_box(&tick.values);
        check(expected, tick.sequence.to_native())?;
    }
    Ok(end)
}

/// Takes whole batches until those before `end` are read, and perhaps some more. Returns how many
/// are.
fn take_batches(ticks: &mut Subscriber<Tick>, from: u64, end: u64) -> Result<u64, Box<dyn Error>> {
    let mut expected = from;
    while expected < end {
        for tick in &ticks.drain()? {
            black_box(&tick.values);
            check(expected, tick.sequence.to_native())?;
            expected += 1;
        }
    }
    Ok(expected)
}

#[inline]
fn check(expected: u64, found: u64) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("expected tick {expected}, got {found}")) }
}

fn ring(reader: u32) -> String {
    format!("throughput-{reader}")
}

fn floor(reader: u32) -> String {
    format!("/packetring-floor-{reader}")
}

// ── The other process: it publishes ────────────────────────────────────────────────────────────

fn publish(
    scenario: Scenario,
    reader: u32,
    packets: u64,
    cores: Cores,
) -> Result<(), Box<dyn Error>> {
    let _pinned = cores.pin_before_joining(cores.1)?;
    if scenario == Scenario::Floor {
        let stream: Shared<Stream> = Shared::open(&floor(reader))?;
        let _pinned = cores.pin_after_joining(cores.1)?;
        stream.write(0..packets, &Poll { yields: cores.are_one(), parent: Some(reader) })?;
        return Ok(());
    }
    let mut ticks = scenario.ring().attach(&ring(reader))?.publisher()?;
    let _pinned = cores.pin_after_joining(cores.1)?;
    if scenario.is_batched() {
        send_batches(&mut ticks, packets)
    } else {
        send_each(&mut ticks, packets)
    }
}

fn send_each(ticks: &mut Publisher<Tick>, packets: u64) -> Result<(), Box<dyn Error>> {
    for sequence in 0..packets {
        ticks.send(&Tick::of(sequence))?;
    }
    Ok(())
}

fn send_batches(ticks: &mut Publisher<Tick>, packets: u64) -> Result<(), Box<dyn Error>> {
    let mut batch = Vec::with_capacity(BATCH as usize);
    for start in (0..packets).step_by(BATCH as usize) {
        batch.clear();
        batch.extend((start..packets.min(start + BATCH)).map(Tick::of));
        ticks.send_all(&batch)?;
    }
    Ok(())
}

// ── The report ─────────────────────────────────────────────────────────────────────────────────

fn print_table(scenarios: &[Scenario], times: &mut [Vec<f64>]) {
    println!(
        "\n{:<34}{:>8}{:>8}{:>8}{:>10}{:>9}",
        "ns a packet", "median", "min", "max", "M/s", "x floor"
    );
    let mut floor = None;
    for (scenario, times) in scenarios.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (times.first(), times.last()) else { continue };
        let median = times[times.len() / 2];
        let floor = *floor.get_or_insert(median);
        println!(
            "{:<34}{median:>8.2}{min:>8.2}{max:>8.2}{:>10.1}{:>9.2}",
            scenario.title(),
            1000.0 / median,
            median / floor
        );
    }
}
