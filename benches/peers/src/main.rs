//! The same work by packetring and by others, side by side.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --markdown
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --only shaq,stream_48 --runs 9
//! cargo run --release --manifest-path benches/peers/Cargo.toml --features aeron
//! ```
//!
//! Round trips, and streams one record at a time or in batches, of flat records of 48 and of 64
//! bytes: the same records, the same two cores, the same checks by the reader, rings of the same
//! number of records, spinning wherever a peer can. Each run of each peer has two processes of its
//! own; the runs of all peers take turns, so that whatever disturbs the machine disturbs all of
//! them. What the machine itself takes (`floor`) is measured among them.
//!
//! Nothing is tuned for one side only: each peer's file in `src/peers` says how it is set up. It
//! compares neither wake-up from sleep, nor large records, nor many readers or writers, nor what
//! the peers promise: some copy unchecked bytes, some check them, some lose records.

mod case;
mod leftovers;
#[path = "../../report/machine.rs"]
mod machine;
mod markdown;
mod peers;
mod record;
mod table;
mod tally;
mod transport;
mod way;
mod work;

#[path = "../../../examples/support/bounce.rs"]
mod bounce;
#[path = "../../../examples/support/cores.rs"]
mod cores;
#[path = "../../../examples/support/shared.rs"]
mod shared;

use case::{Case, Role};
use clap::{Parser, ValueEnum};
use cores::Cores;
use peers::{Peer, Work};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use table::Row;

/// A peer that failed so often at a work is not asked again.
const CHANCES: usize = 2;

/// The same work by packetring and by others, side by side
#[derive(Debug, Parser)]
struct Options {
    /// Only peers and works that have one of these in their names; the floor and packetring always
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Runs of each peer and work
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Thousands of records that are measured in a run of a stream
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    thousands: u64,
    /// Round trips that are measured in a run
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Cores of the two processes, such as 0,1 [default: the first two allowed]
    #[arg(long, value_name = "A,B")]
    pin: Option<Cores>,
    /// Seconds after which a peer that has not done its work is killed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// Print the results as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Print the results as Markdown, with the date, the machine and the command
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    #[command(flatten)]
    process: Process,
}

/// What a process of a case is told.
#[derive(Debug, clap::Args)]
struct Process {
    #[arg(long, hide = true, requires_all = ["peer", "work", "directory", "tag", "count"])]
    role: Option<Role>,
    #[arg(long, hide = true)]
    peer: Option<Peer>,
    #[arg(long, hide = true)]
    work: Option<Work>,
    #[arg(long, hide = true)]
    directory: Option<PathBuf>,
    #[arg(long, hide = true)]
    tag: Option<String>,
    #[arg(long, hide = true)]
    count: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = cores(&options).and_then(|cores| match options.process.role {
        Some(role) => act(&options, role, cores),
        None => compare(&options, cores),
    });
    if let Err(error) = outcome {
        eprintln!("peers: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn cores(options: &Options) -> Result<Cores, String> {
    match options.pin {
        Some(cores) => cores.checked(),
        None => Cores::first_allowed().map_err(|error| error.to_string()),
    }
}

/// Is a process of a case.
fn act(options: &Options, role: Role, cores: Cores) -> Result<(), String> {
    let starter = getppid();
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| errno.to_string())?;
    if getppid() != starter {
        return Err("whoever started this is gone".into());
    }
    let Process { peer, work, directory, tag, count, .. } = &options.process;
    let (Some(peer), Some(work), Some(directory), Some(tag), Some(count)) =
        (*peer, *work, directory, tag, *count)
    else {
        return Err("a process of a case was not told everything".into());
    };
    let patience = Duration::from_secs(options.patience);
    Case { peer, work, cores, count, patience }.act(role, directory, tag)
}

// ── The first process: it starts all others, and reports ───────────────────────────────────────

fn compare(options: &Options, cores: Cores) -> Result<(), String> {
    leftovers::remove_of_the_dead();
    let mut rows = chosen(options)?;
    for run in 1..=options.runs {
        for row in rows.iter_mut().filter(|row| row.failures.len() < CHANCES) {
            eprintln!("run {run} of {}: {}, {}", options.runs, row.peer.name(), row.work.title());
            let (peer, work, count) = (row.peer, row.work, row.count);
            let patience = Duration::from_secs(options.patience);
            match (Case { peer, work, cores, count, patience }).run() {
                Ok(measured) => row.runs.push(measured),
                Err(failure) => row.failures.push(format!("run {run}: {failure}")),
            }
        }
    }
    if options.json {
        println!("{:#}", table::json(&rows));
        return Ok(());
    }
    if options.markdown {
        print!("{}", markdown::text(&rows, options.runs, cores));
        return Ok(());
    }
    let Options { runs, rounds, thousands, .. } = options;
    println!("{runs} runs of {rounds} round trips, {thousands},000 records; cores {cores}");
    if cores.are_one() {
        println!("both processes share one core: this measures switching between them");
    }
    table::print(&rows);
    Ok(())
}

/// The rows that are to be filled, in the order of the runs.
fn chosen(options: &Options) -> Result<Vec<Row>, String> {
    let names = |name: &str| options.only.iter().any(|only| name.contains(only.as_str()));
    let work_name = |work: &Work| work.to_possible_value().map(|value| value.get_name().to_owned());
    let works = Work::value_variants();
    let (named_peers, named_works) = (
        Peer::value_variants().iter().any(|peer| names(&peer.name())),
        works.iter().filter_map(work_name).any(|work| names(&work)),
    );
    let known = |only: &&String| {
        Peer::value_variants().iter().any(|peer| peer.name().contains(only.as_str()))
            || works.iter().filter_map(work_name).any(|work| work.contains(only.as_str()))
    };
    if let Some(unknown) = options.only.iter().find(|only| !known(only)) {
        return Err(format!("no peer and no work has {unknown:?} in its name"));
    }
    let wanted = |work: &&Work| !named_works || work_name(work).is_some_and(|work| names(&work));
    let mut rows = Vec::new();
    for work in works.iter().filter(wanted).copied() {
        let peers = Peer::value_variants().iter().copied().filter(|peer| peer.knows(work));
        let peers = peers.filter(|peer| !named_peers || peer.is_measure() || names(&peer.name()));
        let count = Case::count_for(work, options.rounds, options.thousands * 1000);
        rows.extend(peers.map(|peer| {
            let (runs, failures) = (Vec::new(), Vec::new());
            Row { peer, work, count, runs, failures }
        }));
    }
    Ok(rows)
}
