//! `bench`: round trips and streams between two processes on this machine, each beside the floor
//! that the hardware sets.
//!
//! The command starts itself once more as the second process. Both use rings with a prefix of their
//! own, which are removed at the end, also after a signal. The floor is measured before and after
//! each part, because the host of a virtual machine moves its cores.

mod peer;
mod sides;

use crate::args;
use crate::doctor::cores::{self, Bounce, Phase};
use crate::output::{DIM, Failure, Outcome, Output, YELLOW};
use crate::progress::Progress;
use crate::text::{self, Align, Table};
use crate::top::rate;
use clap::{Args, ValueEnum};
use serde::Serialize;
use sides::Plan;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Bytes of a packet: with its header it takes one cache line.
const PACKET: usize = 48;
/// Bytes that a packet takes in the ring.
const SLOT: f64 = 64.0;
/// Part of the time for each measurement of the floor.
const FLOOR_PART: u32 = 12;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// How long all takes, about
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = args::interval)]
    seconds: Duration,
    /// The cores of the two processes, as in 0,1; by default the first and the last one allowed
    #[arg(long, value_name = "A,B", value_parser = pair)]
    cores: Option<(usize, usize)>,
    /// Runs as the second process
    #[arg(long, hide = true, value_name = "PLAN", value_parser = Plan::parse)]
    peer: Option<Plan>,
}

fn pair(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.ok_or_else(|| "give two cores, as in 0,1".to_owned())
}

/// How both processes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Waiting {
    /// They poll.
    Spin,
    /// They sleep as soon as there is nothing to do.
    Park,
}

/// All figures.
#[derive(Debug, Serialize)]
struct Figures {
    cores: [usize; 2],
    /// `null` with a single core.
    phase: Option<Phase>,
    /// A cache line there and back.
    floor_ns: Option<u64>,
    packet_bytes: usize,
    round_trips: Vec<RoundTrip>,
    streams: Vec<Stream>,
    /// What was not measured, and why; and what makes the figures worse.
    notes: Vec<String>,
}

/// A packet to the other process, and its answer.
#[derive(Debug, Serialize)]
struct RoundTrip {
    wait: Waiting,
    rounds: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    floor_ns: Option<u64>,
    /// The median in floors.
    floors: Option<f64>,
}

/// Packets to the other process, as fast as they go.
#[derive(Debug, Serialize)]
struct Stream {
    wait: Waiting,
    packets: u64,
    packets_per_second: f64,
    bytes_per_second: f64,
    ns_per_packet: f64,
    floor_ns: Option<u64>,
    /// The time of a packet in floors.
    floors: Option<f64>,
}

/// Measures, or is the second process.
pub(crate) fn run(args: &BenchArgs, output: &mut Output) -> Result<Outcome, Failure> {
    if let Some(plan) = &args.peer {
        return peer::run(plan).map(|()| Outcome::Done);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Failure::failed)?;
    }
    let figures = measure(args, &stop, output)?;
    match output.is_json {
        true => output.json(&figures)?,
        false => print(&figures, output)?,
    }
    Ok(Outcome::Done)
}

/// The two cores, or one of them twice if there is only one.
fn choose_cores(args: &BenchArgs) -> Result<[usize; 2], Failure> {
    let allowed = cores::allowed();
    let Some((first, second)) = args.cores else {
        return Ok([allowed.first(), allowed.last()].map(|core| core.copied().unwrap_or(0)));
    };
    match [first, second].iter().find(|core| !allowed.contains(core)) {
        Some(core) => Err(Failure::Usage(format!(
            "--cores: this process may not use core {core}; it may use {allowed:?}"
        ))),
        None => Ok([first, second]),
    }
}

fn measure(args: &BenchArgs, stop: &AtomicBool, output: &Output) -> Result<Figures, Failure> {
    let cores = choose_cores(args)?;
    let is_pair = cores[0] != cores[1];
    let mut notes = Vec::new();
    if cfg!(debug_assertions) {
        notes.push("this is a debug build: its figures say nothing about a release build".into());
    }
    if !is_pair {
        notes.push("one core: spin and the floor are left out, as they need two cores".into());
    }
    let waits = if is_pair { &[Waiting::Spin, Waiting::Park][..] } else { &[Waiting::Park] };
    let floor_span = args.seconds / FLOOR_PART;
    let parts = waits.len() as u32 * 2;
    let span = args.seconds.saturating_sub(floor_span * (parts + 1)) / parts;
    // The floor before a part and the one after it count for it.
    let mut samples = Vec::new();
    let floor = |all: &mut Vec<Vec<Duration>>| {
        if is_pair {
            all.push(cores::measure(cores[0], cores[1], floor_span));
        }
    };
    // A step is a measurement of the floor or a part.
    let (mut progress, mut step) =
        (Progress::new("measuring", Some(2 * u64::from(parts) + 1), output), 0..);
    let mut show = |what: &str| {
        progress.show(step.next().unwrap_or_default(), || what.to_owned());
    };
    show("floor");
    floor(&mut samples);
    let around = |samples: &[Vec<Duration>]| {
        let mut last: Vec<_> = samples.iter().rev().take(2).flatten().copied().collect();
        is_pair.then(|| Bounce::of(&mut last).median.as_nanos() as u64)
    };
    let (mut round_trips, mut streams) = (Vec::new(), Vec::new());
    for &wait in waits {
        let plan = Plan::new(wait, cores);
        show(&format!("round trips, {}", wait.word()));
        let mut times = plan.round_trips(span, stop)?;
        show("floor");
        floor(&mut samples);
        round_trips.push(RoundTrip::of(wait, &mut times, around(&samples)));
        show(&format!("stream, {}", wait.word()));
        let (packets, time) = plan.stream(span, stop)?;
        show("floor");
        floor(&mut samples);
        streams.push(Stream::of(wait, packets, time, around(&samples)));
    }
    let bounce = is_pair.then(|| Bounce::of(&mut samples.concat()));
    let phase = bounce.map(|bounce| bounce.phase());
    if let Some((phase, remedy)) = phase.and_then(|phase| Some((phase, phase.remedy()?))) {
        notes.push(format!("{}: {remedy}", phase.sentence()));
    }
    let floor_ns = bounce.map(|bounce| bounce.median.as_nanos() as u64);
    Ok(Figures { cores, phase, floor_ns, packet_bytes: PACKET, round_trips, streams, notes })
}

impl RoundTrip {
    fn of(wait: Waiting, times: &mut [u64], floor_ns: Option<u64>) -> Self {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 1000).copied().unwrap_or_default();
        let (p50_ns, p99_ns, p999_ns) = (at(500), at(990), at(999));
        let floors = floor_ns.map(|floor| p50_ns as f64 / floor.max(1) as f64);
        Self { wait, rounds: times.len() as u64, p50_ns, p99_ns, p999_ns, floor_ns, floors }
    }
}

impl Stream {
    fn of(wait: Waiting, packets: u64, time: Duration, floor_ns: Option<u64>) -> Self {
        let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
        let packets_per_second = packets as f64 / seconds;
        let ns_per_packet = seconds * 1e9 / packets.max(1) as f64;
        Self {
            wait,
            packets,
            packets_per_second,
            bytes_per_second: packets_per_second * SLOT,
            ns_per_packet,
            floor_ns,
            floors: floor_ns.map(|floor| ns_per_packet / floor.max(1) as f64),
        }
    }
}

fn print(figures: &Figures, output: &mut Output) -> Result<(), Failure> {
    let [first, second] = figures.cores;
    match (figures.floor_ns, figures.phase) {
        (Some(floor), Some(phase)) => writeln!(
            output,
            "floor: a cache line between cores {first} and {second} is there and back in {floor} \
             ns; {}",
            phase.sentence()
        )?,
        _ => writeln!(output, "no floor: both processes run on core {first}")?,
    }
    let floors = |floors: Option<f64>| floors.map_or_else(|| "-".into(), |n| format!("{n:.2}"));
    let nanoseconds = |number: u64| match number {
        0..10_000 => format!("{number} ns"),
        _ => format!("{:.1} us", number as f64 / 1e3),
    };
    let mut table = Table::new([
        ("ROUND TRIP", Align::Left),
        ("P50", Align::Right),
        ("P99", Align::Right),
        ("P99.9", Align::Right),
        ("FLOORS", Align::Right),
        ("ROUNDS", Align::Right),
    ]);
    for one in &figures.round_trips {
        table.push([
            one.wait.word().into(),
            nanoseconds(one.p50_ns).into(),
            nanoseconds(one.p99_ns).into(),
            nanoseconds(one.p999_ns).into(),
            floors(one.floors).into(),
            one.rounds.to_string().into(),
        ]);
    }
    writeln!(output)?;
    table.print(output)?;
    let mut table = Table::new([
        ("STREAM", Align::Left),
        ("PACKETS/S", Align::Right),
        ("BYTES/S", Align::Right),
        ("PER PACKET", Align::Right),
        ("FLOORS", Align::Right),
    ]);
    for one in &figures.streams {
        table.push([
            one.wait.word().into(),
            rate(one.packets_per_second).into(),
            text::bytes(one.bytes_per_second as u64).into(),
            format!("{:.1} ns", one.ns_per_packet).into(),
            floors(one.floors).into(),
        ]);
    }
    writeln!(output)?;
    table.print(output)?;
    let meaning = "\
        round trip: a packet of 48 bytes to another process, and its answer\n\
        stream: such packets to another process, one send and one receive each\n\
        spin: both processes poll; park: both sleep as soon as there is nothing to do\n\
        floors: the time by that of a cache line there and back, which no program can beat in a \
        round trip; packets of a stream overtake it, because several are on their way";
    let meaning = output.paint(DIM, meaning);
    writeln!(output, "\n{meaning}")?;
    for note in &figures.notes {
        let note = output.paint(YELLOW, format!("note: {note}"));
        writeln!(output, "{note}")?;
    }
    Ok(())
}

impl Waiting {
    fn word(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Park => "park",
        }
    }
}
