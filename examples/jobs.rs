//! Jobs: a work queue, each of whose packets is taken by exactly one of several encoders.
//!
//! ```text
//! cargo run --release --example jobs -- --encoders 3 --jobs 200
//! ```
//!
//! The first process publishes jobs and starts encoders, each of which takes the next job when it has
//! done with the one before. One encoder stops in the midst of its first job, and is killed there. The
//! others go on; its job comes to one of them, flagged as redelivered, and so it is done, too.

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

/// Somebody who is silent for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to find out who is dead.
const SOON: Duration = Duration::from_millis(500);
/// The first process' name in the cluster.
const BOSS: &str = "boss";
const QUEUE: &str = "encoders";

// ── The packets ────────────────────────────────────────────────────────────────────────────────

#[packet]
struct Job {
    id: u64,
    samples: Vec<u32>,
}

/// What an encoder says of a job.
#[packet]
struct Report {
    job: u64,
    encoder: u16,
    redelivered: bool,
    /// What came of it; nothing: it has just begun.
    code: Option<u64>,
}

impl Job {
    /// The job of this number: all of it follows from the number.
    fn of(id: u64) -> Self {
        let samples = (0..id as u32 % 50).map(|index| index.wrapping_mul(id as u32 + 1)).collect();
        Self { id, samples }
    }

    fn code(&self) -> u64 {
        self.samples.iter().fold(self.id, |code, &sample| next(code, sample))
    }
}

impl ArchivedJob {
    /// The work: done on the job where it lies.
    fn code(&self) -> u64 {
        let samples = self.samples.iter();
        samples.fold(self.id.to_native(), |code, sample| next(code, sample.to_native()))
    }
}

fn next(code: u64, sample: u32) -> u64 {
    code.rotate_left(5) ^ u64::from(sample)
}

// ── The options ────────────────────────────────────────────────────────────────────────────────

/// A work queue, one of whose workers is killed in the midst of a job
#[derive(Debug, Parser)]
struct Options {
    /// Encoder processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=32))]
    encoders: u16,
    /// Jobs to be done
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    jobs: u64,
    /// Be the encoder of this number
    #[arg(long = "as", hide = true, requires = "of", value_name = "NUMBER")]
    number: Option<u16>,
    /// The first process
    #[arg(long, hide = true, value_name = "PID")]
    of: Option<u32>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.number, options.of) {
        (Some(number), Some(boss)) => encode(number, boss),
        _ => give_out(&options),
    };
    if let Err(error) = outcome {
        eprintln!("jobs: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The cluster of a run has its first process' id in its name.
fn cluster(boss: u32) -> String {
    format!("jobs-{boss}")
}

// ── The first process ──────────────────────────────────────────────────────────────────────────

fn give_out(options: &Options) -> Result<(), Box<dyn Error>> {
    let worker = Worker::join(&cluster(std::process::id()), BOSS)?;
    let mut reports = worker.subscriber::<Report>("reports")?;
    let mut jobs = worker.queue_publisher::<Job>(QUEUE)?;

    // Alone at first, the one that will be killed has a job for certain.
    jobs.send_timeout(&Job::of(0), PATIENCE)?;
    let mut doomed = start(0)?;
    let begun = reports.recv_timeout(PATIENCE)?;
    let (lost, redelivered) = (begun.job.to_native(), begun.redelivered);
    if begun.code.is_some() || redelivered {
        return Err("encoder 0 should have begun, and no more".into());
    }
    drop(begun);

    let peers = (1..options.encoders).map(start).collect::<Result<Vec<_>, _>>()?;
    for id in 1..options.jobs {
        jobs.send_timeout(&Job::of(id), PATIENCE)?;
    }
    doomed.0.kill()?;
    drop(doomed);
    println!("encoder 0 was killed in the midst of job {lost}");

    let outcome = collect(&mut reports, options, lost);
    drop((jobs, reports, worker)); // Tells the encoders that there is nothing more to do.
    for peer in peers {
        peer.finish()?;
    }
    outcome
}

fn start(number: u16) -> std::io::Result<Peer> {
    let boss = std::process::id().to_string();
    Peer::start(["--as", &number.to_string(), "--of", &boss], Stdio::null)
}

/// Waits until each job is done, and checks by whom, and what came of it.
fn collect(
    reports: &mut Subscriber<Report>,
    options: &Options,
    lost: u64,
) -> Result<(), Box<dyn Error>> {
    let mut done_by = BTreeMap::new();
    while (done_by.len() as u64) < options.jobs {
        let report = reports.recv_timeout(PATIENCE)?;
        let (job, encoder) = (report.job.to_native(), report.encoder.to_native());
        if report.code.as_ref().map(|code| code.to_native()) != Some(Job::of(job).code()) {
            return Err(format!("encoder {encoder} did not do job {job}").into());
        }
        if report.redelivered != (job == lost) {
            return Err(format!("job {job} came with redelivered: {}", report.redelivered).into());
        }
        if report.redelivered {
            println!("job {job} came again, to encoder {encoder}, flagged");
        }
        if let Some(other) = done_by.insert(job, encoder) {
            return Err(format!("job {job} was done by {other} and by {encoder}").into());
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
            Err(TryRecvError::Empty) => continue, // Another one was quicker.
            Err(error) => return Err(error.into()),
        };
        let (id, redelivered) = (job.id.to_native(), Delivery::info(&job).redelivered);
        let report = Report { job: id, encoder: number, redelivered, code: None };
        if number == 0 {
            // It has begun, and does not go on: it is killed here, if the first process is not.
            reports.send_timeout(&report, PATIENCE)?;
            first.outlive()?;
            break;
        }
        reports.send_timeout(&Report { code: Some(job.code()), ..report }, PATIENCE)?;
        Delivery::ack(job); // Until here, it would come again.
    }
    // Nobody waits for what may be left, and a queue is kept for as long as something is in it: what
    // the dead had in hand, too, which comes when somebody has asked who is dead.
    while let Ok(job) = jobs.recv_timeout(SOON) {
        Delivery::ack(job);
    }
    Ok(())
}
