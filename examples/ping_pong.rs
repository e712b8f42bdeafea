//! Measures round trips between two processes: one packet type there, another type back.
//!
//! ```text
//! cargo run --release --example ping_pong -- --wait park --payload 200
//! ```
//!
//! The program starts itself once more as its peer. Each direction has its own ring with one
//! publisher, so no locked instruction is on the path. Every field is checked at every hop.
//!
//! The floor of a round trip is a bare cache line that moves between the same two processes. The
//! two measurements alternate, so that disturbances of the machine affect both.
//!
//! This example measures latency with one packet in flight. `cargo bench --bench speed` measures
//! throughput, and much else.

#[path = "support/bounce.rs"]
mod bounce;
#[path = "support/cores.rs"]
mod cores;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/shared.rs"]
mod shared;

use bounce::Lines;
use clap::{Parser, ValueEnum};
use cores::Cores;
use hdrhistogram::Histogram;
use packetring::rkyv::string::ArchivedString;
use packetring::rkyv::{rancor, to_bytes};
use packetring::{
    OpenError, Packet, Publisher, RecvError, Ring, RingBuilder, SendTimeoutError, Subscriber, Wait,
    packet,
};
use peer::Peer;
use shared::{Poll, Shared};
use std::error::Error;
use std::fmt;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Timeout of every wait for the peer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Number of alternating turns of floor and ring.
const TURNS: u64 = 10;
/// Rounds that do not count: more than one lap of the ring, so that its pages are mapped.
const WARM_UP: u64 = 2_000;
/// Capacity of a ring. Only one packet is in flight, and a small ring stays in the caches.
const CAPACITY: usize = 1 << 16;
/// Longest `--payload`.
const MAX_PAYLOAD: i64 = 1 << 24;
/// Bytes of text without `--payload`.
const ARRAY_LEN: usize = 16;

/// The request.
#[packet]
struct Ping<T> {
    sequence: u64,
    /// Nanoseconds on the sender's monotonic clock.
    sent_at: u64,
    text: T,
}

/// The reply.
#[packet]
struct Pong<T> {
    /// Sequence number of the ping.
    answers: u64,
    /// Send time of the ping, on its sender's clock.
    ping_sent_at: u64,
    /// Number of pings answered, this one included.
    answered: u64,
    text: T,
}

/// Methods of the archived packet, called in its slot without deserializing it.
impl<T: Text> ArchivedPing<T> {
    fn is_next(&self, sequence: u64, last_sent_at: u64, text: &T) -> bool {
        self.sequence == sequence && self.sent_at >= last_sent_at && text.is(&self.text)
    }
}

impl<T: Text> ArchivedPong<T> {
    fn answers(&self, ping: &Ping<T>) -> bool {
        self.answers == ping.sequence
            && self.ping_sent_at == ping.sent_at
            && self.answered == ping.sequence + 1
            && ping.text.is(&self.text)
    }
}

/// The text of a packet: an array of fixed size, or a string of any length.
trait Text: Packet + 'static {
    fn of(plan: &Plan) -> Self;
    fn is(&self, archived: &Self::Archived) -> bool;
    fn assign(&mut self, archived: &Self::Archived);
}

impl Text for [u8; ARRAY_LEN] {
    fn of(_: &Plan) -> Self {
        *b"hello packetring"
    }

    fn is(&self, archived: &Self) -> bool {
        self == archived
    }

    fn assign(&mut self, archived: &Self) {
        *self = *archived;
    }
}

impl Text for String {
    fn of(plan: &Plan) -> Self {
        ('a'..='z').cycle().take(plan.payload.unwrap_or_default()).collect()
    }

    fn is(&self, archived: &ArchivedString) -> bool {
        *archived == self.as_str()
    }

    /// Allocates nothing once the text is long enough.
    fn assign(&mut self, archived: &ArchivedString) {
        self.clear();
        self.push_str(archived);
    }
}

/// Measures round trips between two processes through packetring, beside their floor
#[derive(Clone, Debug, Parser)]
struct Options {
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
    json: bool,
    /// Run as the peer of this process
    #[arg(long, hide = true, value_name = "PID")]
    peer: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Waiting {
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
struct Plan {
    rounds: u64,
    /// Bytes of a `String`; `None` for an array.
    payload: Option<usize>,
    wait: Waiting,
    /// Microseconds to spin before sleeping.
    spin_for: u64,
    cores: Cores,
}

impl Plan {
    fn of(options: &Options) -> Result<Self, Box<dyn Error>> {
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
    fn arguments(&self) -> Vec<String> {
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
    fn turns(&self) -> impl Iterator<Item = (u64, u64)> {
        let rounds = self.rounds;
        (0..TURNS).map(move |turn| {
            let counted = rounds * (turn + 1) / TURNS - rounds * turn / TURNS;
            (if turn == 0 { WARM_UP } else { counted / 10 }, counted)
        })
    }

    /// Bytes of text.
    fn text(&self) -> usize {
        self.payload.unwrap_or(ARRAY_LEN)
    }

    fn ring(&self) -> RingBuilder {
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
struct Names {
    ping: String,
    pong: String,
    floor: String,
}

impl Names {
    fn of(parent: u32) -> Self {
        Self {
            ping: format!("ping-{parent}"),
            pong: format!("pong-{parent}"),
            floor: format!("/packetring-floor-{parent}"),
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.peer {
        Some(parent) => Plan::of(&options).and_then(|plan| answer(&plan, parent)),
        None => Plan::of(&options).and_then(|plan| {
            let measured = measure(&plan)?;
            if options.json {
                measured.print_json(&plan)
            } else {
                measured.print_table(&plan)
            }
            Ok(())
        }),
    };
    if let Err(error) = outcome {
        eprintln!("ping_pong: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

// ── The first process: the caller ──────────────────────────────────────────────────────────────

/// The measurements.
struct Measured {
    ring: Histogram<u64>,
    floor: Histogram<u64>,
    /// Archived bytes of a ping and of a pong.
    archived: (usize, usize),
    clock: Duration,
}

fn measure(plan: &Plan) -> Result<Measured, Box<dyn Error>> {
    let names = Names::of(std::process::id());
    let _pinned = plan.cores.pin_before_joining(plan.cores.0)?;
    let lines = Shared::create(&names.floor)?;
    let mut caller = match plan.payload {
        None => Caller::<[u8; ARRAY_LEN]>::join(plan, &names)?,
        Some(_) => Caller::<String>::join(plan, &names)?,
    };
    let peer = Peer::start(plan.arguments(), Stdio::null)?;
    let _pinned = plan.cores.pin_after_joining(plan.cores.0)?;
    match exchange(plan, &lines, &mut *caller) {
        Ok(measured) => peer.finish().map(|()| measured).map_err(Into::into),
        Err(error) => Err(with_peer_status(peer, error)),
    }
}

/// Adds the peer's exit status to an error of the exchange, if the peer has ended.
fn with_peer_status(mut peer: Peer, error: Box<dyn Error>) -> Box<dyn Error> {
    // A dying process releases its rings before its parent can reap it.
    std::thread::sleep(Duration::from_millis(50));
    match peer.ended() {
        Some(status) => format!("the peer is gone ({status}): {error}").into(),
        None => error,
    }
}

fn exchange(plan: &Plan, lines: &Lines, caller: &mut dyn Call) -> Result<Measured, Box<dyn Error>> {
    let mut measured = Measured::new(plan)?;
    caller.wait_for_peer()?;
    let poll = Poll { yields: plan.cores.are_one(), parent: None };
    let mut number = 0;
    for (warm_up, counted) in plan.turns() {
        for round in 0..warm_up + counted {
            number += 1;
            let started = Instant::now();
            lines.call(number, &poll)?;
            let took = started.elapsed().as_nanos() as u64;
            if round >= warm_up {
                measured.floor.saturating_record(took);
            }
        }
        for round in 0..warm_up + counted {
            let took = caller.call()?;
            if round >= warm_up {
                measured.ring.saturating_record(took);
            }
        }
    }
    Ok(measured)
}

/// A caller for either kind of text.
trait Call {
    fn wait_for_peer(&mut self) -> Result<(), SendTimeoutError>;
    /// Makes one round trip and returns its nanoseconds: from before the ping is archived until the
    /// pong is received and validated.
    fn call(&mut self) -> Result<u64, Box<dyn Error>>;
}

/// Sends pings and receives pongs.
struct Caller<T>
where
    Ping<T>: Packet,
    Pong<T>: Packet,
{
    pings: Publisher<Ping<T>>,
    pongs: Subscriber<Pong<T>>,
    /// The next ping. Kept, so that its text is allocated once.
    ping: Ping<T>,
    clock: Instant,
}

impl<T: Text> Caller<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn join(plan: &Plan, names: &Names) -> Result<Box<dyn Call>, OpenError> {
        Ok(Box::new(Self {
            pings: plan.ring().open(&names.ping)?.publisher()?,
            pongs: plan.ring().open(&names.pong)?.subscriber()?,
            ping: Ping { sequence: 0, sent_at: 0, text: T::of(plan) },
            clock: Instant::now(),
        }))
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

impl<T: Text> Call for Caller<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn wait_for_peer(&mut self) -> Result<(), SendTimeoutError> {
        self.pings.wait_for_subscribers_timeout(1, TIMEOUT)
    }

    fn call(&mut self) -> Result<u64, Box<dyn Error>> {
        self.ping.sent_at = self.now();
        self.pings.send_timeout(&self.ping, TIMEOUT)?;
        let pong = self.pongs.recv_timeout(TIMEOUT)?;
        let took = self.clock.elapsed().as_nanos() as u64 - self.ping.sent_at;
        if !pong.answers(&self.ping) {
            let (asked, answered) = (self.ping.sequence, pong.answers);
            return Err(format!("wrong reply to ping {asked}: it answers ping {answered}").into());
        }
        self.ping.sequence += 1;
        Ok(took)
    }
}

// ── The peer: the answerer ─────────────────────────────────────────────────────────────────────

fn answer(plan: &Plan, parent: u32) -> Result<(), Box<dyn Error>> {
    let names = Names::of(parent);
    let _pinned = plan.cores.pin_before_joining(plan.cores.1)?;
    let lines: Shared<Lines> = Shared::open(&names.floor)?;
    let mut answerer = match plan.payload {
        None => Answerer::<[u8; ARRAY_LEN]>::join(plan, &names)?,
        Some(_) => Answerer::<String>::join(plan, &names)?,
    };
    let _pinned = plan.cores.pin_after_joining(plan.cores.1)?;
    let poll = Poll { yields: plan.cores.are_one(), parent: Some(parent) };
    let mut number = 0;
    for (warm_up, counted) in plan.turns() {
        for _ in 0..warm_up + counted {
            number += 1;
            if lines.answer(number, &poll).is_err() {
                return Ok(()); // The caller is gone.
            }
        }
        for _ in 0..warm_up + counted {
            if !answerer.answer()? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An answerer for either kind of text.
trait Answer {
    /// Answers one ping. Returns false if the caller has left.
    fn answer(&mut self) -> Result<bool, Box<dyn Error>>;
}

/// Receives pings and sends pongs.
struct Answerer<T>
where
    Ping<T>: Packet,
    Pong<T>: Packet,
{
    pings: Subscriber<Ping<T>>,
    pongs: Publisher<Pong<T>>,
    /// Expected text of each ping.
    text: T,
    /// The last pong. Kept, so that its text is allocated once.
    pong: Pong<T>,
}

impl<T: Text> Answerer<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn join(plan: &Plan, names: &Names) -> Result<Box<dyn Answer>, OpenError> {
        // The publisher first: the caller starts when it sees the subscriber.
        let pongs = plan.ring().open(&names.pong)?.publisher()?;
        let pings = plan.ring().open(&names.ping)?.subscriber()?;
        let pong = Pong { answers: 0, ping_sent_at: 0, answered: 0, text: T::of(plan) };
        Ok(Box::new(Self { pings, pongs, text: T::of(plan), pong }))
    }
}

impl<T: Text> Answer for Answerer<T>
where
    Ping<T>: Packet<Archived = ArchivedPing<T>>,
    Pong<T>: Packet<Archived = ArchivedPong<T>>,
{
    fn answer(&mut self) -> Result<bool, Box<dyn Error>> {
        let ping = match self.pings.recv() {
            Ok(ping) => ping,
            Err(RecvError::Closed) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let pong = &mut self.pong;
        if !ping.is_next(pong.answered, pong.ping_sent_at, &self.text) {
            let (expected, found) = (pong.answered, ping.sequence);
            return Err(format!("expected ping {expected}, got {found} or a damaged one").into());
        }
        pong.answers = ping.sequence.to_native();
        pong.ping_sent_at = ping.sent_at.to_native();
        pong.answered += 1;
        pong.text.assign(&ping.text);
        self.pongs.send_timeout(pong, TIMEOUT)?;
        Ok(true)
    }
}

// ── The report ─────────────────────────────────────────────────────────────────────────────────

/// The reported quantiles and their names.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

impl Measured {
    fn new(plan: &Plan) -> Result<Self, Box<dyn Error>> {
        let hour = 3_600_000_000_000;
        let (ring, floor) = (Histogram::new_with_max(hour, 3)?, Histogram::new_with_max(hour, 3)?);
        Ok(Self { ring, floor, archived: archived(plan)?, clock: cost_of_clock() })
    }

    fn print_json(&self, plan: &Plan) {
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

    fn print_table(&self, plan: &Plan) {
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

/// Archived bytes of a ping and of a pong.
fn archived(plan: &Plan) -> Result<(usize, usize), rancor::Error> {
    let (sequence, sent_at, answers, ping_sent_at, answered) = (0, 0, 0, 0, 0);
    let (ping, pong) = if plan.payload.is_some() {
        let text = String::of(plan);
        let pong = Pong { answers, ping_sent_at, answered, text: text.clone() };
        (to_bytes(&Ping { sequence, sent_at, text })?, to_bytes(&pong)?)
    } else {
        let text = <[u8; ARRAY_LEN]>::of(plan);
        (
            to_bytes(&Ping { sequence, sent_at, text })?,
            to_bytes(&Pong { answers, ping_sent_at, answered, text })?,
        )
    };
    Ok((ping.len(), pong.len()))
}

fn cost_of_clock() -> Duration {
    let reads = 10_000;
    let started = Instant::now();
    for _ in 0..reads {
        std::hint::black_box(Instant::now());
    }
    started.elapsed() / reads
}
