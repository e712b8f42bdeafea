//! Stress test: kills and freezes publishers and subscribers at random instants. All others must
//! receive every packet once, in order and undamaged.
//!
//! ```text
//! cargo run --release --example chaos -- --seconds 60 --seed 7
//! ```
//!
//! The director starts this program again as workers, on six rings at once (`assignment.rs`).
//! Each worker records its operations in shared memory that survives it (`ledger.rs`). Subscribers
//! check each received packet (`checker.rs`). Every few seconds the rings are read to the end, and
//! the whole ledger is checked (`audit.rs`).
//!
//! The seed decides the target, the kind and the time of each strike. It does not decide at which
//! instruction the target is struck. A seed therefore repeats the strikes, but a rare failure may
//! need several runs.

mod assignment;
mod audit;
mod checker;
mod context;
mod director;
mod ledger;
mod map;
mod payload;
mod process;
mod publisher;
mod rng;
mod subscriber;
mod tally;
mod visitor;

use assignment::{Assignment, Role};
use clap::Parser;
use context::Context;
use director::{Director, Settings};
use map::Map;
use packetring::Ring;
use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tally::Tally;

/// Length of a phase. At its end the rings are read to the end and checked.
const PHASE: Duration = Duration::from_secs(3);
/// Longest lifetime of a worker.
const ALARM_SECONDS: u32 = 120;

/// Kills and freezes publishers and subscribers, and checks the packets of all others
///
/// Uses six rings at once: exclusive and shared, blocking and dropping the oldest, with history,
/// with durable subscribers, and a ring that is created and removed all the time. Workers send
/// single packets and batches, reserve, cancel, receive, drain, copy, unreceive and clone.
/// Some workers spin, some park, some are slow. SIGKILL hits them at any instant, also while they
/// start, join or leave. SIGSTOP freezes them. Successors replace killed workers.
///
/// Each packet contains its stream, its sequence number and a checksum. A ledger in memory that
/// survives the workers records all packets begun, sent and received. Lost, torn, duplicated and
/// left-behind objects must be 0. Otherwise, or if a worker hangs, the exit status is 1.
///
/// A stall lasts from a kill to the end of an operation during which it happened. It does not count
/// if a living process held the operation up, or a durable name had no successor yet. "not woken"
/// lists readers whose publisher was killed between stamping a packet and waking them. Such readers
/// poll again after 50 ms. "without a kill" lists durations measured from instants without a kill:
/// the effect of the machine's load.
#[derive(Debug, Parser)]
struct Options {
    /// How long to run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Decides the target, kind and time of each strike [default: random, and printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Strikes per second: two in three are kills, the rest double kills, freezes and requests to
    /// leave
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=2000))]
    strikes: u64,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    /// Run as a worker of the director whose ledger is the standard input
    #[arg(long, hide = true, value_name = "ASSIGNMENT")]
    worker: Option<Assignment>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.worker {
        Some(assignment) => work(assignment).map(|()| true),
        None => direct(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

// ── The director ───────────────────────────────────────────────────────────────────────────────

/// Runs all phases. Returns false if a problem was found.
fn direct(options: &Options) -> Result<bool, Box<dyn Error>> {
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ ledger::now());
    if !options.json {
        println!("seed {seed}");
    }
    let mut tally = Tally::new().ok_or("no histogram")?;
    let started = Instant::now();
    let end = started + Duration::from_secs(options.seconds);
    let settings = Settings { seed, strikes_per_second: options.strikes };
    let mut ended = Ok(());
    while ended.is_ok() && Instant::now() < end {
        let until = end.min(Instant::now() + PHASE);
        ended = Director::run(settings, tally.phases, until, &mut tally);
        show_progress(options, started, &tally);
    }
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        println!("{}", tally.json(seconds));
    } else {
        println!("{seconds:.1} s, {} phases\n{tally}", tally.phases);
    }
    if let Err(error) = &ended {
        eprintln!("chaos: {error}");
    }
    tally.problems().for_each(|problem| eprintln!("chaos: {problem}"));
    let is_clean = ended.is_ok() && tally.is_clean();
    if !is_clean {
        let (seconds, strikes) = (options.seconds, options.strikes);
        eprintln!(
            "chaos: to repeat: cargo run --release --example chaos -- --seconds {seconds} --strikes \
             {strikes} --seed {seed}"
        );
    }
    Ok(is_clean)
}

fn show_progress(options: &Options, started: Instant, tally: &Tally) {
    if !options.json && std::io::stderr().is_terminal() {
        let (seconds, kills, problems) =
            (started.elapsed().as_secs(), tally.kills, tally.problems().count());
        eprint!("\r{seconds} s, {kills} kills, {problems} problems \r");
    }
}

// ── A worker ───────────────────────────────────────────────────────────────────────────────────

fn work(assignment: Assignment) -> Result<(), Box<dyn Error>> {
    map::end_after(ALARM_SECONDS);
    let map = Map::of_worker()?;
    let mut context = Context::new(&map, assignment);
    let outcome = hold(&mut context);
    if context.is_orphaned() {
        // No other process removes the names. The last user of a ring frees its memory.
        for ring in 0..ledger::RINGS {
            let _ =
                Ring::remove(&assignment::ring_name(assignment.director, assignment.phase, ring));
        }
    }
    outcome
}

/// Works on the assignment until asked to leave.
fn hold(context: &mut Context<'_>) -> Result<(), Box<dyn Error>> {
    let assignment = context.assignment;
    if assignment.role == Role::Visitor {
        return visitor::visit(context);
    }
    let ring = context.join(|| assignment.kind().builder().open(&assignment.ring_name()))?;
    match assignment.role {
        Role::Publisher => publisher::publish(context, &ring),
        _ => subscriber::subscribe(context, &ring),
    }
}
