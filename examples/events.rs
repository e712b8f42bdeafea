//! Events across processes, in the style of an `EventEmitter`.
//!
//! ```text
//! cargo run --release --example events -- --threads 3
//! ```
//!
//! The first process listens, and starts others named `threadA`, `threadB`, …. Each of them opens a
//! file, reports its progress, and closes the file. The first process handles these events by
//! patterns such as `*::open`, each with its own packet type. The error handler reports events of
//! an unexpected type and failed handlers.

#[path = "support/peer.rs"]
mod peer;

use clap::Parser;
use packetring::cluster::{Events, RunError, WorkerChange, WorkerState};
use packetring::{Worker, packet};
use peer::Peer;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Timeout of a run.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Name of the first process in the cluster.
const LISTENER: &str = "listener";

// ── The packets ────────────────────────────────────────────────────────────────────────────────

#[packet]
struct Opened {
    path: String,
    bytes: u64,
}

#[packet]
struct Closed {
    path: String,
}

impl ArchivedOpened {
    /// A method of the archived packet.
    fn kilobytes(&self) -> u64 {
        self.bytes.to_native().div_ceil(1024)
    }
}

// ── The options ────────────────────────────────────────────────────────────────────────────────

/// Events of several processes, handled in one process
#[derive(Debug, Parser)]
struct Options {
    /// Processes that emit events
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=26))]
    threads: u8,
    /// Run as the emitter with this name
    #[arg(long = "as", hide = true, requires = "of", value_name = "NAME")]
    name: Option<String>,
    /// Process id of the first process
    #[arg(long, hide = true, value_name = "PID")]
    of: Option<u32>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (&options.name, options.of) {
        (Some(name), Some(listener)) => emit(name, listener),
        _ => listen(options.threads),
    };
    if let Err(error) = outcome {
        eprintln!("events: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Name of the cluster. It contains the process id of the first process.
fn cluster(listener: u32) -> String {
    format!("events-{listener}")
}

// ── The first process ──────────────────────────────────────────────────────────────────────────

/// State that the handlers share.
#[derive(Default)]
struct Tally {
    open: RefCell<Vec<String>>,
    closed: Cell<u32>,
    progress: Cell<u32>,
    errors: Cell<u32>,
}

fn listen(threads: u8) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(std::process::id()), LISTENER)?;
    let tally = Tally::default();
    let mut events = worker.events()?;
    handle(&mut events, &tally, threads);

    let names = (0..threads).map(|number| format!("thread{}", char::from(b'A' + number)));
    let peers = names.map(|name| start(&name)).collect::<Result<Vec<_>, _>>()?;
    let give_up_at = Instant::now() + TIMEOUT;
    while tally.closed.get() < threads.into() && Instant::now() < give_up_at {
        events.run_for(TIMEOUT)?; // Returns early when a handler stops it.
    }
    println!("handlers of {:?}: {:?}", "threadA::open", events.event_names());
    drop(events);
    for peer in peers {
        peer.finish()?;
    }
    let found = (tally.closed.get(), tally.progress.get(), tally.errors.get());
    if found != (threads.into(), 3 * u32::from(threads), u32::from(threads) + 1) {
        return Err(format!("wrong counts of close, progress and errors: {found:?}").into());
    }
    Ok(())
}

fn start(name: &str) -> std::io::Result<Peer> {
    let listener = std::process::id().to_string();
    Peer::start(["--as", name, "--of", &listener], Stdio::null)
}

fn handle<'h>(events: &mut Events<'h>, tally: &'h Tally, threads: u8) {
    let mut ready = 0;
    events.on::<u8>("*::ready", move |_, context| {
        ready += 1;
        if ready == threads {
            // Delivered to all emitters, after this event.
            let _ = context.emit("go", &0_u8);
        }
    });
    events.on::<Opened>("*::open", |opened, context| {
        println!("{}: {} kB of {}", context.event(), opened.kilobytes(), opened.path);
        tally.open.borrow_mut().push(opened.path.as_str().to_owned());
    });
    events.once::<Opened>("threadA::open", |_, _| println!("threadA has begun"));
    // A tuple carries several arguments.
    events.on::<(u32, String)>("*::progress", |progress, context| {
        println!("{}: {} % {}", context.event(), progress.0, progress.1);
        tally.progress.set(tally.progress.get() + 1);
    });
    events.try_on::<Closed>("*::close", move |closed, context| {
        tally.closed.set(tally.closed.get() + 1);
        if tally.closed.get() == u32::from(threads) {
            context.stop();
        }
        let mut open = tally.open.borrow_mut();
        let index = open.iter().position(|path| *closed.path == **path);
        open.remove(index.ok_or("closed without having been opened")?);
        Err(format!("{} was not saved", closed.path).into()) // As `?` could return.
    });
    // A wrong type on purpose: "go" carries a number. The error handler reports it.
    events.on::<Closed>("go", |_, _| {});
    events.on_error(|error, context| {
        match error {
            RunError::Handler { event, source } => println!("{event}: {source}"),
            error => println!("{}: {error}", context.event()),
        }
        tally.errors.set(tally.errors.get() + 1);
    });
    events.on_worker(|change, _| match change {
        WorkerChange::Joined(worker) => println!("{} is process {}", worker.name, worker.pid),
        WorkerChange::Left(worker) => println!("{} has left", worker.name),
        WorkerChange::Died(worker) => println!("{} has died", worker.name),
        _ => {}
    });
}

// ── Another process ────────────────────────────────────────────────────────────────────────────

fn emit(name: &str, listener: u32) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(listener), name)?;
    let mut events = worker.events()?;
    events.try_on::<u8>("go", |_, context| {
        let path = format!("{name}.txt");
        context.emit(&format!("{name}::open"), &Opened { path: path.clone(), bytes: 123_456 })?;
        for percent in [25_u32, 50, 75] {
            context.emit(&format!("{name}::progress"), &(percent, path.clone()))?;
        }
        context.emit(&format!("{name}::close"), &Closed { path })?;
        context.stop();
        Ok(())
    });
    events.on_worker(|change, context| {
        if let WorkerChange::Died(gone) = change
            && gone.name == LISTENER
        {
            context.stop();
        }
    });
    let listener = worker.worker(LISTENER);
    if listener.is_none_or(|listener| listener.state != WorkerState::Alive) {
        return Err("the listener is gone".into());
    }
    events.emit(&format!("{name}::ready"), &0_u8)?;
    Ok(events.run()?)
}
