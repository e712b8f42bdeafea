//! A service: requests, replies, several servers under one name, and the errors of a call.
//!
//! ```text
//! cargo run --release --example service -- --servers 2 --calls 1000
//! ```
//!
//! The first process calls, the others serve. A single server receives each request and reads it in
//! place; the caller reads the reply in place. Several calls are in flight at a time.
//!
//! At the end a server drops a request: the caller gets `NoReply` at once. Then all servers are
//! killed in the middle of a call: the caller gets `ServiceGone` within milliseconds, without a
//! timeout.

#[path = "support/first.rs"]
mod first;
#[path = "support/peer.rs"]
mod peer;

use clap::Parser;
use first::First;
use packetring::cluster::{
    Call, CallError, CallTimeoutError, Client, Request, TryServiceRecvError,
};
use packetring::{Subscriber, Worker, packet};
use peer::Peer;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

/// Timeout of every operation that waits for another process.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Name of the first process in the cluster.
const CALLER: &str = "caller";
const SERVICE: &str = "count";
/// Calls in flight.
const WINDOW: usize = 16;

// ── The packets ────────────────────────────────────────────────────────────────────────────────

#[packet]
struct Text {
    text: String,
}

#[packet]
#[rkyv(derive(Debug))]
struct Count {
    words: u64,
    longest: String,
    server: u16,
}

impl ArchivedText {
    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_whitespace()
    }
}

/// A request that the server drops, and a request that it never answers.
const DROP: &str = "nothing to say";
const STAY: &str = "wait for the end";

fn text(number: u64) -> Text {
    Text {
        text: "some word after word ".split_inclusive(' ').cycle().take(number as usize).collect(),
    }
}

// ── The options ────────────────────────────────────────────────────────────────────────────────

/// Calls of a service; its servers are killed in the middle of a call
#[derive(Debug, Parser)]
struct Options {
    /// Server processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    servers: u16,
    /// Calls to make
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    /// Run as the server with this number
    #[arg(long = "as", hide = true, requires = "of", value_name = "NUMBER")]
    number: Option<u16>,
    /// Process id of the first process
    #[arg(long, hide = true, value_name = "PID")]
    of: Option<u32>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.number, options.of) {
        (Some(number), Some(caller)) => serve(number, caller),
        _ => call(&options),
    };
    if let Err(error) = outcome {
        eprintln!("service: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Name of the cluster. It contains the process id of the first process.
fn cluster(caller: u32) -> String {
    format!("service-{caller}")
}

// ── The first process: the caller ──────────────────────────────────────────────────────────────

fn call(options: &Options) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(std::process::id()), CALLER)?;
    let mut ready = worker.subscriber::<u16>("ready")?;
    let count = worker.client::<Text, Count>(SERVICE)?;
    let mut peers = Vec::new();
    for number in 0..options.servers {
        peers.push(start(number)?);
        ready.recv_timeout(TIMEOUT)?;
    }

    let served = call_all(&count, options.calls)?;
    println!("{:>10} {:>10}", "server", "calls");
    for (server, calls) in &served {
        println!("{server:>10} {calls:>10}");
    }
    match count.call_timeout(&Text { text: DROP.to_owned() }, TIMEOUT) {
        Err(CallTimeoutError::NoReply) => {
            println!("a request that was dropped: {}", CallError::NoReply)
        }
        other => return Err(format!("a request that was dropped: {other:?}").into()),
    }
    kill_servers(&count, &mut ready, &mut peers)?;
    drop((count, ready, worker)); // The servers then know that there are no more calls.
    peers.into_iter().try_for_each(Peer::finish)?;
    Ok(())
}

fn start(number: u16) -> std::io::Result<Peer> {
    let caller = std::process::id().to_string();
    Peer::start(["--as", &number.to_string(), "--of", &caller], Stdio::null)
}

/// Makes the calls, several in flight at a time. Returns the number of calls per server.
fn call_all(count: &Client<Text, Count>, calls: u64) -> Result<BTreeMap<u16, u64>, Box<dyn Error>> {
    let mut served = BTreeMap::new();
    let mut in_flight: Vec<(u64, Call<Count>)> = Vec::new();
    for number in 0..calls + WINDOW as u64 {
        if in_flight.len() == WINDOW || number >= calls {
            if in_flight.is_empty() {
                break;
            }
            let (number, mut call) = in_flight.remove(0);
            let reply = call.wait_timeout(TIMEOUT)?;
            if reply.words != number % 40 {
                return Err(format!("expected {} words, got {}", number % 40, reply.words).into());
            }
            *served.entry(reply.server.to_native()).or_insert(0) += 1;
        }
        if number < calls {
            in_flight.push((number, count.start(&text(number % 40))?));
        }
    }
    Ok(served)
}

/// Blocks every server in the middle of a call, and kills them all.
fn kill_servers(
    count: &Client<Text, Count>,
    ready: &mut Subscriber<u16>,
    peers: &mut Vec<Peer>,
) -> Result<(), Box<dyn Error>> {
    let stay = Text { text: STAY.to_owned() };
    let calls = peers.iter().map(|_| count.start(&stay)).collect::<Result<Vec<_>, _>>()?;
    for _ in &calls {
        ready.recv_timeout(TIMEOUT)?;
    }
    peers.clear(); // Kills them.
    for mut call in calls {
        match call.wait_timeout(TIMEOUT) {
            Err(CallTimeoutError::ServiceGone) => {
                println!("a killed server: {}", CallError::ServiceGone)
            }
            other => return Err(format!("a killed server: {other:?}").into()),
        }
    }
    Ok(())
}

// ── A server ───────────────────────────────────────────────────────────────────────────────────

fn serve(number: u16, caller: u32) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(caller), &format!("server-{number}"))?;
    let mut count = worker.service::<Text, Count>(SERVICE)?;
    let mut first = First::watched_by(&worker, CALLER)?;
    let mut ready = worker.publisher::<u16>("ready")?;
    ready.send_timeout(&number, TIMEOUT)?;
    while first.wants(&mut count)? {
        let request = match count.try_recv() {
            Ok(request) => request,
            Err(TryServiceRecvError::Empty) => continue, // Another server took the request.
            Err(error) => return Err(error.into()),
        };
        match request.text.as_str() {
            DROP => drop(request),
            STAY => {
                ready.send_timeout(&number, TIMEOUT)?; // The request has been received.
                first.outlive()?;
            }
            _ => {
                let longest = request.words().max_by_key(|word| word.len()).unwrap_or_default();
                let words = request.words().count() as u64;
                let reply = Count { words, longest: longest.to_owned(), server: number };
                Request::reply(request, &reply)?;
            }
        }
    }
    Ok(())
}
