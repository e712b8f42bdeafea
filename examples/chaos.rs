//! Processes that publish and subscribe, and a director that kills and freezes them at random
//! instants: does everybody else get every packet, once, in order, whole?
//!
//! ```text
//! cargo run --release --example chaos -- --seconds 60 --seed 7
//! ```
//!
//! The director starts this program again as workers, on six rings at once (`chaos/post.rs`). What
//! each began and finished it writes into a ledger in memory that survives it (`chaos/ledger.rs`).
//! Subscribers check each packet as it comes (`chaos/notes.rs`); every few seconds the rings are
//! read to the end, and the ledger is checked as a whole (`chaos/audit.rs`).
//!
//! The seed decides whom the director strikes, how, and how long after the one before; not what
//! the struck one is just doing. So a seed repeats the strikes, and a rare failure may need several
//! runs to come again.

#[path = "chaos/audit.rs"]
mod audit;
#[path = "chaos/desk.rs"]
mod desk;
#[path = "chaos/dice.rs"]
mod dice;
#[path = "chaos/director.rs"]
mod director;
#[path = "chaos/ledger.rs"]
mod ledger;
#[path = "chaos/map.rs"]
mod map;
#[path = "chaos/notes.rs"]
mod notes;
#[path = "chaos/parcel.rs"]
mod parcel;
#[path = "chaos/post.rs"]
mod post;
#[path = "chaos/process.rs"]
mod process;
#[path = "chaos/publisher.rs"]
mod publisher;
#[path = "chaos/subscriber.rs"]
mod subscriber;
#[path = "chaos/tally.rs"]
mod tally;
#[path = "chaos/visitor.rs"]
mod visitor;

use clap::Parser;
use desk::Desk;
use director::{Director, Orders};
use map::Map;
use packetring::Ring;
use post::{Post, Role};
use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tally::Tally;

/// Every so often the rings are read to the end and checked.
const PHASE: Duration = Duration::from_secs(3);
/// No worker lives longer.
const ALARM_SECONDS: u32 = 120;

/// Kills and freezes processes that publish and subscribe, and checks what the others get
///
/// Six rings are used at once: exclusive and shared ones, ones that block and ones that drop the
/// oldest, with history, with durable subscribers, and one that is made and removed all the time.
/// Workers send, send in batches, reserve, give up, receive, drain, copy, put back and clone;
/// some spin, some park, some are slow. They are killed by SIGKILL at any instant, also while they
/// start, join or leave, and frozen by SIGSTOP; successors follow.
///
/// Each packet says who sent it as the how-manieth and holds a checksum. A ledger in memory
/// that survives the workers says what was begun, sent and received. Lost, torn, doubled and
/// left-behind things must be 0: if not, or if somebody hangs, the exit status is 1.
///
/// Stalls are times from a kill to the end of each operation that it fell into, unless something
/// alive held it up meanwhile: a frozen or pausing process, or a durable name whose successor
/// has not come. "Not woken" are readers whose publisher was killed between stamping a packet and
/// waking them, which look by themselves after 50 ms; they are counted apart. "Without a kill" are
/// the same times from instants at which nobody was killed: what the machine's load does to all.
#[derive(Debug, Parser)]
struct Options {
    /// How long to run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Decides who is struck when and how [default: a random one, which is printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Strikes a second: two in three are kills, the rest double kills, freezes, goodbyes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=2000))]
    strikes: u64,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    /// Be a worker of the director whose ledger is the standard input
    #[arg(long, hide = true, value_name = "POST")]
    worker: Option<Post>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.worker {
        Some(post) => work(post).map(|()| true),
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

/// `false`: something that must be 0 is not.
fn direct(options: &Options) -> Result<bool, Box<dyn Error>> {
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ ledger::now());
    if !options.json {
        println!("seed {seed}");
    }
    let mut tally = Tally::new().ok_or("no histogram")?;
    let started = Instant::now();
    let end = started + Duration::from_secs(options.seconds);
    let orders = Orders { seed, strikes_per_second: options.strikes };
    let mut ended = Ok(());
    while ended.is_ok() && Instant::now() < end {
        let until = end.min(Instant::now() + PHASE);
        ended = Director::run(orders, tally.phases, until, &mut tally);
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

fn work(post: Post) -> Result<(), Box<dyn Error>> {
    map::end_after(ALARM_SECONDS);
    let map = Map::of_worker()?;
    let mut desk = Desk::new(&map, post);
    let outcome = hold(&mut desk);
    if desk.is_orphaned() {
        // Nobody else will. What others still use they remove themselves, the last of them all.
        for ring in 0..ledger::RINGS {
            let _ = Ring::remove(&post::ring_name(post.director, post.phase, ring));
        }
    }
    outcome
}

/// Holds the post until told to leave.
fn hold(desk: &mut Desk<'_>) -> Result<(), Box<dyn Error>> {
    let post = desk.post;
    if post.role == Role::Visitor {
        return visitor::visit(desk);
    }
    let ring = desk.join(|| post.kind().builder().open(&post.ring_name()))?;
    match post.role {
        Role::Publisher => publisher::publish(desk, &ring),
        _ => subscriber::subscribe(desk, &ring),
    }
}
