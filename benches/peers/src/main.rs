//! Compares packetring with other transports at the same work.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --markdown
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --only shaq,stream_48 --runs 9
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --only latest
//! cargo run --release --manifest-path benches/peers/Cargo.toml --features aeron
//! CXX=clang++-19 cargo run --release --manifest-path benches/peers/Cargo.toml --features tachyon
//! ```
//!
//! The works are round trips and streams, one record at a time or in batches, with flat records of
//! 48 and of 64 bytes. All peers get the same records, the same two cores, the same checks by the
//! reader, and rings for the same number of records. They spin if they can. Peers that have a cell
//! for the newest value also write and read 48 bytes in it (`latest`).
//!
//! - Each run of a peer has two new processes.
//! - The peers take turns, so a disturbance of the machine hits all of them.
//! - `floor` is the bare machine: it takes part like a peer. The works with a cell have no floor:
//!   ringfire takes its place in the tables.
//! - Each run is tagged with the phase of the machine (`benches/harness/phase.rs`). Each phase has
//!   its own tables.
//!
//! The header of each file in `src/peers` describes the settings of that peer. No peer is tuned
//! more than the others.
//!
//! Limits: the comparison does not cover wake-up from sleep, large records, or several readers or
//! writers. The guarantees of the peers differ: some check the bytes, some do not, one loses
//! records.

mod case;
mod cell;
mod leftovers;
#[path = "../../report/machine.rs"]
mod machine;
mod markdown;
mod peers;
#[path = "../../harness/phase.rs"]
mod phase;
#[path = "../../harness/probe.rs"]
mod probe;
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
use phase::Runs;
use probe::Probe;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use table::{Report, Row};

/// A peer that has failed this often at a work is skipped.
const MAX_FAILURES: usize = 2;

/// Compares packetring with other transports at the same work
#[derive(Debug, Parser)]
struct Options {
    /// Run only peers and works whose names contain one of these, packetring, and the floor (for a
    /// cell: ringfire)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Runs of each peer and work
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Thousands of records of a stream, or tens of thousands of operations with a cell, to measure
    /// in a run
    #[arg(long, default_value_t = 2000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    thousands: u64,
    /// Round trips to measure in a run
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Cores of the two processes, such as 0,1 [default: the first two that this process may use]
    #[arg(long, value_name = "A,B")]
    pin: Option<Cores>,
    /// Seconds after which a run that has not ended is killed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Print the results as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Print the results as Markdown, with the date, the machine and the command
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    #[command(flatten)]
    process: Process,
}

/// Arguments of a process of a case.
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

/// Runs as a process of a case.
fn act(options: &Options, role: Role, cores: Cores) -> Result<(), String> {
    let starter = getppid();
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| errno.to_string())?;
    if getppid() != starter {
        return Err("parent process is gone".into());
    }
    let Process { peer, work, directory, tag, count, .. } = &options.process;
    let (Some(peer), Some(work), Some(directory), Some(tag), Some(count)) =
        (*peer, *work, directory, tag, *count)
    else {
        return Err("incomplete arguments for a process of a case".into());
    };
    let timeout = Duration::from_secs(options.timeout);
    Case { peer, work, cores, count, timeout }.act(role, directory, tag)
}

// ── The first process: starts all others, and reports ──────────────────────────────────────────

fn compare(options: &Options, cores: Cores) -> Result<(), String> {
    leftovers::remove_of_the_dead();
    let (mut rows, mut probe) = (chosen(options)?, Probe::new(cores));
    for run in 1..=options.runs {
        for row in rows.iter_mut().filter(|row| row.failures.len() < MAX_FAILURES) {
            eprintln!("run {run} of {}: {}, {}", options.runs, row.peer.name(), row.work.title());
            let (peer, work, count) = (row.peer, row.work, row.count);
            let timeout = Duration::from_secs(options.timeout);
            let case = Case { peer, work, cores, count, timeout };
            match probe.run(None, || case.run()) {
                Ok(outcome) => row.runs.add(outcome),
                Err(failure) => row.failures.push(format!("run {run}: {failure}")),
            }
        }
    }
    let report = Report { rows, probe, cores };
    if options.json {
        println!("{:#}", report.json());
        return Ok(());
    }
    if options.markdown {
        print!("{}", markdown::text(&report, options.runs));
        return Ok(());
    }
    let Options { runs, rounds, thousands, .. } = options;
    println!("{runs} runs of {rounds} round trips, {thousands},000 records; cores {cores}");
    if cores.are_one() {
        println!("both processes share one core: the figures measure context switches");
    }
    report.print();
    Ok(())
}

/// The rows of the chosen peers and works, without results, in the order of the runs.
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
        return Err(format!("no peer or work has a name that contains {unknown:?}"));
    }
    let wanted = |work: &&Work| !named_works || work_name(work).is_some_and(|work| names(&work));
    let mut rows = Vec::new();
    for work in works.iter().filter(wanted).copied() {
        let peers = Peer::value_variants().iter().copied().filter(|peer| peer.knows(work));
        let peers =
            peers.filter(|peer| !named_peers || peer.is_reference(work) || names(&peer.name()));
        let count = Case::count_for(work, options.rounds, options.thousands * 1000);
        rows.extend(peers.map(|peer| {
            let (runs, failures) = (Runs::default(), Vec::new());
            Row { peer, work, count, runs, failures }
        }));
    }
    Ok(rows)
}
