//! Measures how long a killed process blocks others.
//!
//! ```text
//! cargo bench --bench faults
//! cargo bench --bench faults -- subscriber --rounds 1000
//! ```
//!
//! Each round starts a victim process and lets it block this process: it holds a claim or a packet,
//! for example. Then a thread kills the victim. The moment of the kill varies over the rounds.
//!
//! The time runs from just before the kill until this process continues. It includes the work of
//! the kernel: ending the process and dropping its locks.
//!
//! `cargo bench` passes `--bench`. Without it (`cargo test`) two rounds check that the bench works.

use clap::{Parser, ValueEnum};
use packetring::{OpenError, Overflow, Publisher, RecvError, Ring, RingBuilder, Subscriber, Wait};
use std::error::Error;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A fault: the victim, and its state when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    SubscriberFull,
    SubscriberHolding,
    PublisherClaiming,
    PublisherLast,
    PublisherExclusive,
    SubscriberDurable,
}

impl Fault {
    fn title(self) -> &'static str {
        match self {
            Self::SubscriberFull => "subscriber, ring full: until the publisher's send returns",
            Self::SubscriberHolding => {
                "subscriber, packet in hand (drop oldest): until send returns"
            }
            Self::PublisherClaiming => {
                "publisher, claim open: until the reader has the next packet"
            }
            Self::PublisherLast => "last publisher, ring empty: until the reader gets Closed",
            Self::PublisherExclusive => "exclusive publisher: until a successor has joined",
            Self::SubscriberDurable => "durable subscriber: until a successor has its first packet",
        }
    }

    fn ring(self) -> RingBuilder {
        let ring = Ring::builder().capacity(4096);
        match self {
            Self::SubscriberHolding => ring.overflow(Overflow::DropOldest),
            Self::PublisherExclusive => ring.exclusive(),
            _ => ring,
        }
    }
}

/// How the blocked endpoint waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Waiting {
    Park,
    Spin,
}

impl Waiting {
    fn wait(self) -> Wait {
        match self {
            Self::Park => Wait::park(),
            Self::Spin => Wait::spin(),
        }
    }
}

/// Measures how long a killed process blocks others
#[derive(Debug, Parser)]
struct Options {
    /// Measure only faults whose title contains this text
    filter: Option<String>,
    /// Rounds of each fault
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure; passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Run as the victim of this fault
    #[arg(long, hide = true, requires = "ring")]
    victim: Option<Fault>,
    #[arg(long, hide = true)]
    ring: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.victim, &options.ring) {
        (Some(fault), Some(ring)) => run_victim(fault, ring),
        _ => compare(&options),
    };
    if let Err(error) = outcome {
        eprintln!("faults: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn compare(options: &Options) -> Outcome<()> {
    let rounds = if options.bench { options.rounds } else { 2 };
    println!("{rounds} rounds each; milliseconds after the kill\n");
    println!("{:<62}{:<6}{:>7}{:>7}{:>7}", "killed", "wait", "p50", "p99", "max");
    for fault in Fault::value_variants() {
        if options.filter.as_deref().is_some_and(|text| !fault.title().contains(text)) {
            continue;
        }
        for waiting in Waiting::value_variants() {
            let mut stalls = Vec::new();
            for round in 0..rounds {
                stalls.push(measure(*fault, *waiting, round)?);
            }
            stalls.sort();
            let at = |share: usize| stalls[(stalls.len() - 1) * share / 100].as_secs_f64() * 1e3;
            let wait = format!("{waiting:?}").to_lowercase();
            let (p50, p99, max) = (at(50), at(99), at(100));
            println!("{:<62}{wait:<6}{p50:>7.2}{p99:>7.2}{max:>7.2}", fault.title());
        }
    }
    Ok(())
}

/// Runs one round. Returns the time from the kill until this process continued.
fn measure(fault: Fault, waiting: Waiting, round: u32) -> Outcome<Duration> {
    let name = format!("faults-{}", std::process::id());
    let ring = fault.ring().wait(waiting.wait()).stays_open(false).open(&name)?;
    match fault {
        Fault::SubscriberFull | Fault::SubscriberHolding => {
            let mut publisher = ring.publisher::<u64>()?;
            let victim = start(fault, &name)?;
            publisher.wait_for_subscribers(1)?;
            fill(&mut publisher, fault)?;
            time_stall(victim, round, || Ok(publisher.send(&0).map(drop)?))
        }
        Fault::PublisherClaiming => {
            let mut subscriber = ring.subscriber::<u64>()?;
            let mut publisher = ring.publisher::<u64>()?;
            let victim = start(fault, &name)?;
            until(|| subscriber.backlog() > 0);
            publisher.send(&1)?;
            time_stall(victim, round, || Ok(subscriber.recv().map(drop)?))
        }
        Fault::PublisherLast => {
            let mut subscriber = ring.subscriber::<u64>()?;
            let victim = start(fault, &name)?;
            subscriber.recv()?;
            time_stall(victim, round, || match subscriber.recv() {
                Err(RecvError::Closed) => Ok(()),
                other => {
                    let found = other.map(|packet| *packet);
                    Err(format!("recv after the last publisher died: {found:?}; expected Closed")
                        .into())
                }
            })
        }
        Fault::PublisherExclusive => {
            let mut subscriber = ring.subscriber::<u64>()?;
            let victim = start(fault, &name)?;
            subscriber.recv()?;
            time_stall(victim, round, || join(|| ring.publisher::<u64>()).map(drop))
        }
        Fault::SubscriberDurable => {
            let mut publisher = ring.publisher::<u64>()?;
            let victim = start(fault, &name)?;
            publisher.wait_for_subscribers(1)?;
            publisher.send(&0)?;
            let result = time_stall(victim, round, || {
                let mut successor: Subscriber<u64> = join(|| ring.durable("victim"))?;
                Ok(successor.recv().map(drop)?)
            });
            ring.remove_durable("victim")?;
            result
        }
    }
}

/// Kills the victim while `work` runs, a little later each round. Returns the time from the kill
/// until the work was done.
fn time_stall(victim: Victim, round: u32, work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    // The delays cover all phases of the first sleeps, which last 2 to 50 ms.
    let delay = Duration::from_micros(u64::from(round) * 377 % 53_000 + 500);
    let killer = thread::spawn(move || {
        thread::sleep(delay);
        let killed_at = Instant::now();
        drop(victim);
        killed_at
    });
    let worked = work();
    let done_at = Instant::now();
    let killed_at = killer.join().map_err(|_| "the thread that kills the victim panicked")?;
    worked?;
    done_at
        .checked_duration_since(killed_at)
        .ok_or_else(|| "work was done before the kill: the victim blocked nothing".into())
}

/// Joins as soon as the place of the dead victim is free.
fn join<E>(join: impl Fn() -> Result<E, OpenError>) -> Outcome<E> {
    loop {
        match join() {
            Err(OpenError::PublisherTaken { .. } | OpenError::NameTaken { .. }) => {
                thread::sleep(Duration::from_micros(100));
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Publishes until only the victim blocks the ring.
fn fill(publisher: &mut Publisher<u64>, fault: Fault) -> Outcome<()> {
    // A victim that holds a packet blocks the ring only after it has received one. So wait until
    // the ring stays full.
    let mut full = 0;
    let enough = if fault == Fault::SubscriberHolding { 100 } else { 1 };
    while full < enough {
        match publisher.try_send(&0) {
            Ok(_) => full = 0,
            Err(packetring::TrySendError::Full { .. }) => {
                full += 1;
                thread::sleep(Duration::from_micros(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn until(ready: impl Fn() -> bool) {
    while !ready() {
        thread::sleep(Duration::from_micros(50));
    }
}

// ── The victim ─────────────────────────────────────────────────────────────────────────────────

/// A process of this program. Drop kills it.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(fault: Fault, ring: &str) -> Outcome<Victim> {
    let fault = fault.to_possible_value().map(|value| value.get_name().to_owned());
    let fault = fault.ok_or("fault has no name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--victim", &fault, "--ring", ring]).stdin(Stdio::null());
    Ok(Victim(command.spawn()?))
}

/// Brings the victim into the state of the fault, then sleeps until it is killed.
fn run_victim(fault: Fault, ring: &str) -> Outcome<()> {
    let ring = fault.ring().attach(ring)?;
    match fault {
        Fault::SubscriberFull => {
            let _subscriber = ring.subscriber::<u64>()?;
            wait_for_death()
        }
        Fault::SubscriberHolding => {
            let mut subscriber = ring.subscriber::<u64>()?;
            loop {
                match subscriber.recv() {
                    // The subscriber holds the packet until the next receive.
                    Ok(packet) => break std::mem::forget(packet),
                    Err(RecvError::Missed(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            wait_for_death()
        }
        Fault::PublisherClaiming => {
            let mut publisher = ring.publisher::<u64>()?;
            let _claim = publisher.reserve()?;
            wait_for_death()
        }
        Fault::PublisherLast | Fault::PublisherExclusive => {
            let mut publisher = ring.publisher::<u64>()?;
            publisher.send(&0)?;
            wait_for_death()
        }
        Fault::SubscriberDurable => {
            let mut subscriber = ring.durable::<u64>("victim")?;
            let _packet = subscriber.recv()?;
            wait_for_death()
        }
    }
}

fn wait_for_death() -> Outcome<()> {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}
