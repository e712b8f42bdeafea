//! A topic: one publisher process, and several subscriber processes that each receive every packet.
//!
//! ```text
//! cargo run --release --example topic -- --subscribers 3 --packets 100000 --overflow drop-oldest
//! ```
//!
//! The publisher sends the trades of each minute. The subscribers read the packets in place, with
//! strings, nested lists and methods. At the end they report through a second ring, on which they
//! are the publishers.
//!
//! With `--overflow block` the publisher waits for the slowest subscriber, and no packet is missed.
//! With `drop-oldest` it never waits; a slow subscriber learns how many packets it missed.

#[path = "support/peer.rs"]
mod peer;

use clap::{Parser, ValueEnum};
use packetring::{Overflow, RecvError, Ring, Subscriber, packet};
use peer::Peer;
use std::error::Error;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Timeout of every operation that waits for another process.
const TIMEOUT: Duration = Duration::from_secs(10);

// ── The packets ────────────────────────────────────────────────────────────────────────────────

/// The trades of one symbol in one minute.
#[packet]
struct Minute {
    sequence: u64,
    symbol: String,
    trades: Vec<Trade>,
}

/// A packet type of its own, and part of another.
#[packet]
struct Trade {
    buyer: String,
    cents: u64,
    quantity: u32,
}

/// A subscriber's report at the end.
#[packet]
struct Report {
    subscriber: u32,
    received: u64,
    missed: u64,
    /// From the first packet to the last.
    nanoseconds: u64,
}

impl Minute {
    /// The minute with this sequence number. The number determines all contents, so that
    /// subscribers can verify their contents.
    fn of(sequence: u64) -> Self {
        let trades = (0..sequence % 4).map(|index| Trade::of(sequence, index)).collect();
        Self { sequence, symbol: symbol(sequence).to_owned(), trades }
    }
}

impl Trade {
    fn of(sequence: u64, index: u64) -> Self {
        Self {
            buyer: buyer(sequence + index).to_owned(),
            cents: 100 + sequence % 900,
            quantity: 1 + index as u32,
        }
    }
}

// The archived types are ordinary types: methods are called on the packet in shared memory, without
// deserializing it.

impl ArchivedMinute {
    /// Cents that changed hands.
    fn turnover(&self) -> u64 {
        self.trades.iter().map(ArchivedTrade::value).sum()
    }

    /// Returns true if the contents match the sequence number.
    fn is_intact(&self) -> bool {
        let sequence = self.sequence.to_native();
        let mut trades = self.trades.iter().enumerate();
        self.symbol == symbol(sequence)
            && self.trades.len() as u64 == sequence % 4
            && trades.all(|(index, trade)| trade.is_intact(sequence, index as u64))
    }
}

impl ArchivedTrade {
    fn value(&self) -> u64 {
        self.cents.to_native() * u64::from(self.quantity.to_native())
    }

    fn is_intact(&self, sequence: u64, index: u64) -> bool {
        self.buyer == buyer(sequence + index)
            && self.cents == 100 + sequence % 900
            && u64::from(self.quantity.to_native()) == 1 + index
    }
}

fn symbol(sequence: u64) -> &'static str {
    ["ACME", "GLOBEX", "INITECH", "UMBRELLA CORPORATION"][sequence as usize % 4]
}

fn buyer(number: u64) -> &'static str {
    ["ada", "grace", "the estate of Charles Babbage"][number as usize % 3]
}

// ── The options ────────────────────────────────────────────────────────────────────────────────

/// A publisher and several subscribers, each in its own process
#[derive(Debug, Parser)]
struct Options {
    /// Subscriber processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=32))]
    subscribers: u32,
    /// Packets to publish
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// What happens when a subscriber is too slow
    #[arg(long, value_enum, default_value_t = WhenFull::Block)]
    overflow: WhenFull,
    /// Run as the subscriber with this number
    #[arg(long, hide = true, requires = "of", value_name = "NUMBER")]
    subscriber: Option<u32>,
    /// Process id of the publisher
    #[arg(long, hide = true, value_name = "PID")]
    of: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenFull {
    /// The publisher waits
    Block,
    /// The subscriber loses the oldest packets it has not read
    DropOldest,
}

impl From<WhenFull> for Overflow {
    fn from(choice: WhenFull) -> Self {
        match choice {
            WhenFull::Block => Self::Block,
            WhenFull::DropOldest => Self::DropOldest,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.subscriber, options.of) {
        (Some(number), Some(publisher)) => subscribe(number, publisher),
        _ => publish(&options),
    };
    if let Err(error) = outcome {
        eprintln!("topic: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Names of the two rings. They contain the process id of the publisher.
fn names(publisher: u32) -> (String, String) {
    (format!("tape-{publisher}"), format!("reports-{publisher}"))
}

// ── The publisher ──────────────────────────────────────────────────────────────────────────────

fn publish(options: &Options) -> Result<(), Box<dyn Error>> {
    let (tape, reports) = names(std::process::id());
    let ring = Ring::builder().exclusive().overflow(options.overflow.into()).open(&tape)?;
    let mut minutes = ring.publisher::<Minute>()?;
    // Several processes publish reports, so this ring is shared, which is the default.
    let mut reports = Ring::open(&reports)?.subscriber::<Report>()?;

    let peers = (0..options.subscribers).map(|number| start(number, std::process::id()));
    let peers = peers.collect::<Result<Vec<_>, _>>()?;
    // A subscriber receives only packets published after its join, so all must join first.
    minutes.wait_for_subscribers_timeout(options.subscribers as usize, TIMEOUT)?;
    for sequence in 0..options.packets {
        minutes.send_timeout(&Minute::of(sequence), TIMEOUT)?;
    }
    drop(minutes); // The subscribers then know that there are no more packets.

    let outcome = collect(&mut reports, options);
    for peer in peers {
        peer.finish()?; // The failure of a peer says more than its missing report.
    }
    outcome
}

/// Prints the subscribers' reports, and checks that each accounts for every packet.
fn collect(reports: &mut Subscriber<Report>, options: &Options) -> Result<(), Box<dyn Error>> {
    println!("{:>10} {:>10} {:>10} {:>12}", "subscriber", "received", "missed", "packets/s");
    for _ in 0..options.subscribers {
        let report = reports
            .recv_timeout(TIMEOUT)
            .map_err(|error| format!("no report from a subscriber: {error}"))?;
        report.print();
        let (published, total) = (options.packets, report.total());
        if total != published {
            return Err(format!("published {published} packets, a report has {total}").into());
        }
    }
    println!("each received or missed {} packets, all that were published", options.packets);
    Ok(())
}

fn start(number: u32, publisher: u32) -> std::io::Result<Peer> {
    Peer::start(["--subscriber", &number.to_string(), "--of", &publisher.to_string()], Stdio::null)
}

impl ArchivedReport {
    fn total(&self) -> u64 {
        self.received.to_native() + self.missed.to_native()
    }

    fn print(&self) {
        let Self { subscriber, received, missed, nanoseconds } = self;
        let seconds = nanoseconds.to_native() as f64 / 1e9;
        let rate = received.to_native() as f64 / seconds;
        println!("{subscriber:>10} {received:>10} {missed:>10} {rate:>12.0}");
    }
}

// ── A subscriber ───────────────────────────────────────────────────────────────────────────────

fn subscribe(number: u32, publisher: u32) -> Result<(), Box<dyn Error>> {
    let (tape, reports) = names(publisher);
    // Attach to both before returning an error: attaching to an abandoned ring removes it.
    let (reports, tape) = (Ring::attach(&reports), Ring::attach(&tape));
    // The reports first: the publisher starts when the tape has its subscribers.
    let mut reports = reports?.publisher::<Report>()?;
    let mut minutes = tape?.subscriber::<Minute>()?;
    let totals = read(&mut minutes)?;
    reports.send_timeout(
        &Report {
            subscriber: number,
            received: totals.received,
            missed: totals.missed,
            nanoseconds: totals.took.as_nanos() as u64,
        },
        TIMEOUT,
    )?;
    Ok(())
}

/// Totals of a subscriber.
struct Totals {
    received: u64,
    missed: u64,
    took: Duration,
}

/// Reads the tape to its end.
fn read(minutes: &mut Subscriber<Minute>) -> Result<Totals, Box<dyn Error>> {
    let (mut received, mut missed, mut turnover) = (0, 0, 0);
    let (mut started, mut is_exact) = (None, true);
    loop {
        match minutes.recv() {
            // A reference to an `ArchivedMinute` in its slot. The slot is not reused until `minute`
            // is dropped.
            Ok(minute) => {
                started.get_or_insert_with(Instant::now);
                let sequence = minute.sequence.to_native();
                let expected = received + missed;
                is_exact |= sequence == expected;
                if sequence < expected || sequence > expected && is_exact || !minute.is_intact() {
                    return Err(format!("expected minute {expected}, got {sequence}").into());
                }
                received += 1;
                turnover += minute.turnover();
            }
            // Only with `drop-oldest`. The next call continues behind the gap. The number may be
            // inexact, because the publisher was interrupted while it evicted: then a later report
            // has the rest.
            Err(RecvError::Missed(gap)) => {
                missed += gap.packets;
                is_exact &= gap.exact;
            }
            // The publisher has left, and all of its packets were read.
            Err(RecvError::Closed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    std::hint::black_box(turnover);
    let took = started.map_or(Duration::ZERO, |started| started.elapsed());
    Ok(Totals { received, missed, took })
}
