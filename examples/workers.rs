//! Workers: one sends a packet to another, by its id, and there it still is what it was.
//!
//! ```text
//! cargo run --release --example workers -- --workers 3
//! ```
//!
//! The first process joins a cluster and starts workers that join it, too. It sends a `Chat` to one of
//! them, by id, then one to all of them. What arrives is an `ArchivedChat` in shared memory: its
//! methods are called in place, nothing was taken apart on the way. Each answers to whoever sent it.
//!
//! A letter is acknowledged by `done()`: one that was in the hand of a worker that is killed waits in
//! its inbox until a worker of this name comes back.

#[path = "support/first.rs"]
mod first;
#[path = "support/peer.rs"]
mod peer;

use clap::Parser;
use first::First;
use packetring::cluster::{Inbox, WorkerId};
use packetring::{Worker, one_of, packet};
use peer::Peer;
use std::error::Error;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

/// Somebody who is silent for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first process' name in the cluster.
const HOST: &str = "host";

// ── The packets ────────────────────────────────────────────────────────────────────────────────

/// What is sent to workers.
#[packet]
struct Chat {
    name: String,
    age: u32,
    desc: String,
}

// Methods travel with the type: they are those of the form in which it is read.
impl ArchivedChat {
    fn greeting(&self) -> String {
        format!("hello, i'm {}, {} and {}", self.name, self.age, self.desc)
    }

    fn is_of_age(&self) -> bool {
        self.age >= 18
    }
}

/// A worker has its inbox.
#[packet]
struct Ready;

/// What a worker made of a `Chat`.
#[packet]
struct Heard {
    greeting: String,
    is_of_age: bool,
}

/// A worker may go.
#[packet]
struct Stop;

/// What comes to the first process.
#[one_of]
enum Answer {
    Ready(Ready),
    Heard(Heard),
}

/// What comes to a worker. Others cannot be sent to it: `send_to` refuses them.
#[one_of]
enum Order {
    Chat(Chat),
    Stop(Stop),
}

// ── The options ────────────────────────────────────────────────────────────────────────────────

/// A packet to one worker by its id, and to all of them
#[derive(Debug, Parser)]
struct Options {
    /// Worker processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=32))]
    workers: u16,
    /// Be the worker of this number
    #[arg(long = "as", hide = true, requires = "of", value_name = "NUMBER")]
    number: Option<u16>,
    /// The first process
    #[arg(long, hide = true, value_name = "PID")]
    of: Option<u32>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.number, options.of) {
        (Some(number), Some(host)) => work(number, host),
        _ => host(options.workers),
    };
    if let Err(error) = outcome {
        eprintln!("workers: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The cluster of a run has its first process' id in its name.
fn cluster(host: u32) -> String {
    format!("workers-{host}")
}

// ── The first process ──────────────────────────────────────────────────────────────────────────

fn host(count: u16) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(std::process::id()), HOST)?;
    let mut inbox = worker.inbox_of::<Answer>()?;
    let peers = (1..=count).map(start).collect::<Result<Vec<_>, _>>()?;
    let outcome = talk(&worker, &mut inbox, count);
    drop(inbox);
    // Gives the name up, and the inbox, which would wait for it to come back otherwise.
    worker.leave()?;
    for peer in peers {
        peer.finish()?; // If one failed, that says more than that it did not answer.
    }
    outcome
}

fn start(number: u16) -> std::io::Result<Peer> {
    let host = std::process::id().to_string();
    Peer::start(["--as", &number.to_string(), "--of", &host], Stdio::null)
}

fn talk(worker: &Worker, inbox: &mut Inbox, count: u16) -> Result<(), Box<dyn Error>> {
    let mut ids = (0..count).map(|_| ready(inbox)).collect::<Result<Vec<_>, _>>()?;
    ids.sort();

    let one = ids[ids.len() / 2];
    println!("to worker {one} alone");
    worker.send_to_timeout(&one, &chat("Ada", 36, "i count"), PATIENCE)?;
    hear(worker, inbox)?;

    println!("to all {count} workers");
    for id in &ids {
        worker.send_to_timeout(id, &chat("Charles", 12, "i build"), PATIENCE)?;
    }
    for _ in &ids {
        hear(worker, inbox)?;
    }
    for id in &ids {
        worker.send_to_timeout(id, &Stop, PATIENCE)?;
    }
    Ok(())
}

fn chat(name: &str, age: u32, desc: &str) -> Chat {
    Chat { name: name.to_owned(), age, desc: desc.to_owned() }
}

/// Waits for a worker that is ready, and says which it is.
fn ready(inbox: &mut Inbox) -> Result<WorkerId, Box<dyn Error>> {
    let letter = inbox.recv_timeout(PATIENCE)?;
    let Some(Answer::Ready(_)) = letter.open()? else { return Err("it is not ready".into()) };
    let id = letter.sender();
    letter.ack();
    Ok(id)
}

/// Waits for what a worker heard, and prints it.
fn hear(worker: &Worker, inbox: &mut Inbox) -> Result<(), Box<dyn Error>> {
    let letter = inbox.recv_timeout(PATIENCE)?;
    let Some(Answer::Heard(heard)) = letter.open()? else { return Err("it heard nothing".into()) };
    let from = worker.worker(&letter.sender()).ok_or("who was that?")?;
    let of_age = if heard.is_of_age { "of age" } else { "not of age" };
    println!(
        "  {} (id {}, process {}): {:?}, {of_age}",
        from.name, from.id, from.pid, &*heard.greeting
    );
    letter.ack();
    Ok(())
}

// ── A worker ───────────────────────────────────────────────────────────────────────────────────

fn work(number: u16, host: u32) -> Result<(), Box<dyn Error>> {
    let builder = Worker::builder().id(WorkerId(number));
    let worker = builder.join(&cluster(host), &format!("worker-{number}"))?;
    let mut first = First::watched_by(&worker, HOST)?;
    let outcome = answer(&worker, &mut first);
    first.outlive()?;
    // The first process has left its name and inbox, or was killed and does not come back.
    worker.retire(HOST)?;
    worker.leave()?;
    outcome
}

fn answer(worker: &Worker, first: &mut First) -> Result<(), Box<dyn Error>> {
    let mut inbox = worker.inbox_of::<Order>()?;
    worker.send_to_timeout(HOST, &Ready, PATIENCE)?;
    while first.wants(&mut inbox)? {
        let letter = inbox.recv()?;
        match letter.open()? {
            Some(Order::Chat(chat)) => {
                // A reference to an `ArchivedChat` in the inbox' memory. Whoever sent it hears.
                let heard = Heard { greeting: chat.greeting(), is_of_age: chat.is_of_age() };
                worker.send_to_timeout(&letter.sender(), &heard, PATIENCE)?;
            }
            Some(Order::Stop(_)) => {
                letter.ack();
                return Ok(());
            }
            None => return Err(format!("a {} is not for workers", letter.type_name()).into()),
        }
        letter.ack(); // Until here, it would come again.
    }
    Ok(())
}
