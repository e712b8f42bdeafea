//! A work queue: each job is delivered to exactly one of several encoders.
//!
//! ```text
//! cargo run --release --example jobs -- --encoders 3 --jobs 200
//! ```
//!
//! The first process publishes jobs and starts encoders. Each encoder takes the next job when the
//! previous one is complete. An encoder stops in the middle of its first job and is killed there.
//! The others continue, and one of them receives the unfinished job, flagged as redelivered.

#[path = "support/first.rs"]
mod first;
#[path = "support/peer.rs"]
mod peer;

use clap::Parser;
use first::First;
use packetring::cluster::Delivery;
use packetring::{Subscriber, TryRecvError, Worker, packet};
use peer::Peer;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

/// Timeout of every operation that waits for another process.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Long enough for the queue to detect dead consumers.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Name of the first process in the cluster.
const BOSS: &str = "boss";
const QUEUE: &str = "encoders";

// ── The packets ────────────────────────────────────────────────────────────────────────────────

#[packet]
struct Job {
    id: u64,
    samples: Vec<u32>,
}

/// An encoder's report about a job.
#[packet]
struct Report {
    job: u64,
    encoder: u16,
    redelivered: bool,
    /// The result; `None` when the job has only begun.
    code: Option<u64>,
}

impl Job {
    /// The job with this id. The id determines all of its contents.
    fn of(id: u64) -> Self {
        let samples = (0..id as u32 % 50).map(|index| index.wrapping_mul(id as u32 + 1)).collect();
        Self { id, samples }
    }

    fn code(&self) -> u64 {
        self.samples.iter().fold(self.id, |code, &sample| next(code, sample))
    }
}

impl ArchivedJob {
    /// The encoding, computed on the archived job in place.
    fn code(&self) -> u64 {
        let samples = self.samples.iter();
        samples.fold(self.id.to_native(), |code, sample| next(code, sample.to_native()))
    }
}

fn next(code: u64, sample: u32) -> u64 {
    code.rotate_left(5) ^ u64::from(sample)
}

// ── The options ────────────────────────────────────────────────────────────────────────────────

/// A work queue; one of its consumers is killed in the middle of a job
#[derive(Debug, Parser)]
struct Options {
    /// Encoder processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=32))]
    encoders: u16,
    /// Jobs to publish
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    jobs: u64,
    /// Run as the encoder with this number
    #[arg(long = "as", hide = true, requires = "of", value_name = "NUMBER")]
    number: Option<u16>,
    /// Process id of the first process
    #[arg(long, hide = true, value_name = "PID")]
    of: Option<u32>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.number, options.of) {
        (Some(number), Some(boss)) => encode(number, boss),
        _ => publish(&options),
    };
    if let Err(error) = outcome {
        eprintln!("jobs: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Name of the cluster. It contains the process id of the first process.
fn cluster(boss: u32) -> String {
    format!("jobs-{boss}")
}

// ── The first process ──────────────────────────────────────────────────────────────────────────

fn publish(options: &Options) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(std::process::id()), BOSS)?;
    let mut reports = worker.subscriber::<Report>("reports")?;
    let mut jobs = worker.queue_publisher::<Job>(QUEUE)?;

    // The encoder to be killed is alone at first, so it certainly receives a job.
    jobs.send_timeout(&Job::of(0), TIMEOUT)?;
    let mut doomed = start(0)?;
    let begun = reports.recv_timeout(TIMEOUT)?;
    let (lost, redelivered) = (begun.job.to_native(), begun.redelivered);
    if begun.code.is_some() || redelivered {
        return Err("unexpected report: encoder 0 must report only the start of job 0".into());
    }
    drop(begun);

    let peers = (1..options.encoders).map(start).collect::<Result<Vec<_>, _>>()?;
    for id in 1..options.jobs {
        jobs.send_timeout(&Job::of(id), TIMEOUT)?;
    }
    doomed.0.kill()?;
    drop(doomed);
    println!("encoder 0 was killed in the midst of job {lost}");

    let outcome = collect(&mut reports, options, lost);
    drop((jobs, reports, worker)); // The encoders then know that there are no more jobs.
    for peer in peers {
        peer.finish()?;
    }
    outcome
}

fn start(number: u16) -> std::io::Result<Peer> {
    let boss = std::process::id().to_string();
    Peer::start(["--as", &number.to_string(), "--of", &boss], Stdio::null)
}

/// Waits until each job is complete, and checks its encoder and its result.
fn collect(
    reports: &mut Subscriber<Report>,
    options: &Options,
    lost: u64,
) -> Result<(), Box<dyn Error>> {
    let mut done_by = BTreeMap::new();
    while (done_by.len() as u64) < options.jobs {
        let report = reports.recv_timeout(TIMEOUT)?;
        let (job, encoder) = (report.job.to_native(), report.encoder.to_native());
        if report.code.as_ref().map(|code| code.to_native()) != Some(Job::of(job).code()) {
            return Err(format!("job {job}: wrong result from encoder {encoder}").into());
        }
        if report.redelivered != (job == lost) {
            return Err(format!("job {job}: redelivered is {}", report.redelivered).into());
        }
        if report.redelivered {
            println!("job {job} was delivered again, to encoder {encoder}, flagged");
        }
        if let Some(other) = done_by.insert(job, encoder) {
            return Err(format!("job {job} was done by encoders {other} and {encoder}").into());
        }
    }
    println!("{:>10} {:>10}", "encoder", "jobs");
    for number in 1..options.encoders {
        let jobs = done_by.values().filter(|&&encoder| encoder == number).count();
        println!("{number:>10} {jobs:>10}");
    }
    println!("each of {} jobs was done by one encoder", options.jobs);
    Ok(())
}

// ── An encoder ─────────────────────────────────────────────────────────────────────────────────

fn encode(number: u16, boss: u32) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(boss), &format!("encoder-{number}"))?;
    let mut jobs = worker.queue::<Job>(QUEUE)?;
    let mut reports = worker.publisher::<Report>("reports")?;
    let mut first = First::watched_by(&worker, BOSS)?;
    while first.wants(&mut jobs)? {
        let job = match jobs.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Empty) => continue, // Another encoder took the job.
            Err(error) => return Err(error.into()),
        };
        let (id, redelivered) = (job.id.to_native(), Delivery::info(&job).redelivered);
        let report = Report { job: id, encoder: number, redelivered, code: None };
        if number == 0 {
            // The job stays unfinished: the first process kills this encoder here.
            reports.send_timeout(&report, TIMEOUT)?;
            first.outlive()?;
            break;
        }
        reports.send_timeout(&Report { code: Some(job.code()), ..report }, TIMEOUT)?;
        Delivery::ack(job); // Without it, the job would be delivered again.
    }
    // Nobody needs the remaining jobs, but a queue exists as long as it holds packets. This
    // includes packets in flight at dead consumers, which are redelivered once the death is
    // detected.
    while let Ok(job) = jobs.recv_timeout(DRAIN_TIMEOUT) {
        Delivery::ack(job);
    }
    Ok(())
}
