//! Sends packets to workers of a cluster by id, and reads them in place.
//!
//! ```text
//! cargo run --release --example workers -- --workers 3
//! ```
//!
//! The first process joins a cluster and starts workers, which join it too. It sends a `Chat` to
//! one worker by id, then one to each worker. A worker receives an `ArchivedChat` in shared memory
//! and calls its methods in place, without deserializing it. It replies to the sender.
//!
//! A worker acknowledges a message by `ack()`. If a worker is killed before that, the message stays
//! in its inbox until a worker with this name joins again.

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

/// Timeout of every operation that waits for another process.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Name of the first process in the cluster.
const HOST: &str = "host";

// ── The packets ────────────────────────────────────────────────────────────────────────────────

/// Sent to workers.
#[packet]
struct Chat {
    name: String,
    age: u32,
    desc: String,
}

// Methods are defined on the archived form, which is the form that is read.
impl ArchivedChat {
    fn greeting(&self) -> String {
        format!("hello, i'm {}, {} and {}", self.name, self.age, self.desc)
    }

    fn is_of_age(&self) -> bool {
        self.age >= 18
    }
}

/// Sent by a worker as soon as its inbox exists.
#[packet]
struct Ready;

/// A worker's reply to a `Chat`.
#[packet]
struct Heard {
    greeting: String,
    is_of_age: bool,
}

/// Asks a worker to leave.
#[packet]
struct Stop;

/// Packet types that the first process accepts.
#[one_of]
enum Reply {
    Ready(Ready),
    Heard(Heard),
}

/// Packet types that a worker accepts. `send_to` refuses all others.
#[one_of]
enum Order {
    Chat(Chat),
    Stop(Stop),
}

// ── The options ────────────────────────────────────────────────────────────────────────────────

/// Sends a packet to one worker by its id, and to all workers
#[derive(Debug, Parser)]
struct Options {
    /// Worker processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=32))]
    workers: u16,
    /// Run as the worker with this number
    #[arg(long = "as", hide = true, requires = "of", value_name = "NUMBER")]
    number: Option<u16>,
    /// Process id of the first process
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

/// Name of the cluster. It contains the process id of the first process.
fn cluster(host: u32) -> String {
    format!("workers-{host}")
}

// ── The first process ──────────────────────────────────────────────────────────────────────────

fn host(count: u16) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(std::process::id()), HOST)?;
    let mut inbox = worker.inbox_of::<Reply>()?;
    let peers = (1..=count).map(start).collect::<Result<Vec<_>, _>>()?;
    let outcome = send_chats(&worker, &mut inbox, count);
    drop(inbox);
    // Releases the name and the inbox. Otherwise the inbox would be kept for a successor.
    worker.leave()?;
    for peer in peers {
        peer.finish()?; // The failure of a peer says more than a missing reply.
    }
    outcome
}

fn start(number: u16) -> std::io::Result<Peer> {
    let host = std::process::id().to_string();
    Peer::start(["--as", &number.to_string(), "--of", &host], Stdio::null)
}

fn send_chats(worker: &Worker, inbox: &mut Inbox, count: u16) -> Result<(), Box<dyn Error>> {
    let mut ids = (0..count).map(|_| ready(inbox)).collect::<Result<Vec<_>, _>>()?;
    ids.sort();

    let one = ids[ids.len() / 2];
    println!("to worker {one} alone");
    worker.send_to_timeout(&one, &chat("Ada", 36, "i count"), TIMEOUT)?;
    print_reply(worker, inbox)?;

    println!("to all {count} workers");
    for id in &ids {
        worker.send_to_timeout(id, &chat("Charles", 12, "i build"), TIMEOUT)?;
    }
    for _ in &ids {
        print_reply(worker, inbox)?;
    }
    for id in &ids {
        worker.send_to_timeout(id, &Stop, TIMEOUT)?;
    }
    Ok(())
}

fn chat(name: &str, age: u32, desc: &str) -> Chat {
    Chat { name: name.to_owned(), age, desc: desc.to_owned() }
}

/// Waits until a worker is ready, and returns its id.
fn ready(inbox: &mut Inbox) -> Result<WorkerId, Box<dyn Error>> {
    let message = inbox.recv_timeout(TIMEOUT)?;
    let Some(Reply::Ready(_)) = message.open()? else { return Err("expected Ready".into()) };
    let id = message.sender();
    message.ack();
    Ok(id)
}

/// Waits for a worker's reply and prints it.
fn print_reply(worker: &Worker, inbox: &mut Inbox) -> Result<(), Box<dyn Error>> {
    let message = inbox.recv_timeout(TIMEOUT)?;
    let Some(Reply::Heard(heard)) = message.open()? else { return Err("expected Heard".into()) };
    let from = worker.worker(&message.sender()).ok_or("unknown sender")?;
    let of_age = if heard.is_of_age { "of age" } else { "not of age" };
    println!(
        "  {} (id {}, process {}): {:?}, {of_age}",
        from.name, from.id, from.pid, &*heard.greeting
    );
    message.ack();
    Ok(())
}

// ── A worker ───────────────────────────────────────────────────────────────────────────────────

fn work(number: u16, host: u32) -> Result<(), Box<dyn Error>> {
    let builder = Worker::builder().id(WorkerId(number));
    let worker = builder.join(&cluster(host), &format!("worker-{number}"))?;
    let mut first = First::watched_by(&worker, HOST)?;
    let outcome = serve(&worker, &mut first);
    first.outlive()?;
    // The first process has left its name and inbox, or was killed and does not return.
    worker.retire(HOST)?;
    worker.leave()?;
    outcome
}

fn serve(worker: &Worker, first: &mut First) -> Result<(), Box<dyn Error>> {
    let mut inbox = worker.inbox_of::<Order>()?;
    worker.send_to_timeout(HOST, &Ready, TIMEOUT)?;
    while first.wants(&mut inbox)? {
        let message = inbox.recv()?;
        match message.open()? {
            Some(Order::Chat(chat)) => {
                // `chat` refers to an `ArchivedChat` in the memory of the inbox.
                let heard = Heard { greeting: chat.greeting(), is_of_age: chat.is_of_age() };
                worker.send_to_timeout(&message.sender(), &heard, TIMEOUT)?;
            }
            Some(Order::Stop(_)) => {
                message.ack();
                return Ok(());
            }
            None => return Err(format!("unexpected packet type {}", message.type_name()).into()),
        }
        message.ack(); // Without it, the message would be delivered again.
    }
    Ok(())
}
