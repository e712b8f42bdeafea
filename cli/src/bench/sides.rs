//! The first process of `bench`: it starts the second one, and measures.

use super::Waiting;
use crate::doctor::cores;
use crate::output::Failure;
use packetring::inventory::purge_prefix;
use packetring::{Ring, RingBuilder, Wait};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A packet: 48 bytes, the number of the packet in each word.
pub(super) type Packet = [u64; 6];

/// Bytes of the rings of a round trip, in which one packet is on its way.
const SMALL: usize = 64 * 1024;
/// Bytes of the ring of a stream.
const LARGE: usize = 1024 * 1024;
/// Most times that are kept of a part.
const MOST_TIMES: usize = 8_000_000;
/// Packets of a stream between two looks at the clock.
const BATCH: u64 = 256;
/// How long a process waits for the other one before it looks whether it should end.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What both processes agree on.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) wait: Waiting,
    pub(super) cores: [usize; 2],
    pub(super) part: Part,
    /// The process id of the first process.
    parent: u32,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    RoundTrips,
    Stream,
}

impl Plan {
    pub(super) fn new(wait: Waiting, cores: [usize; 2]) -> Self {
        Self { wait, cores, part: Part::RoundTrips, parent: std::process::id() }
    }

    /// The plan that a process of [`fmt::Display`] was given.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split(',').collect();
        let plan = match words[..] {
            [part, wait, first, second, parent] => Some((part, wait, [first, second], parent)),
            _ => None,
        };
        let plan = plan.and_then(|(part, wait, cores, parent)| {
            let [first, second] = cores.map(|core| core.parse().ok());
            Some(Self {
                part: if part == "stream" { Part::Stream } else { Part::RoundTrips },
                wait: if wait == "spin" { Waiting::Spin } else { Waiting::Park },
                cores: [first?, second?],
                parent: parent.parse().ok()?,
            })
        });
        plan.ok_or_else(|| "`bench` alone gives this argument".to_owned())
    }

    /// The ring of this name.
    pub(super) fn ring(&self, name: &str) -> Result<Ring, packetring::OpenError> {
        let wait = match self.wait {
            Waiting::Spin => Wait::spin(),
            Waiting::Park => Wait::park().spin_for(Duration::ZERO),
        };
        let capacity = if self.part == Part::Stream { LARGE } else { SMALL };
        self.builder().capacity(capacity).exclusive().wait(wait).open(name)
    }

    fn builder(&self) -> RingBuilder {
        Ring::builder().prefix(&self.prefix())
    }

    fn prefix(&self) -> String {
        format!("packetring-bench-{}", self.parent)
    }

    /// The times of round trips in nanoseconds, of the last nine tenths of this time.
    pub(super) fn round_trips(
        &self,
        span: Duration,
        stop: &AtomicBool,
    ) -> Result<Vec<u64>, Failure> {
        let plan = Self { part: Part::RoundTrips, ..self.clone() };
        let _rest = Rest(&plan);
        let (to, from) = (plan.ring("to")?, plan.ring("from")?);
        let mut out = to.publisher::<Packet>().map_err(Failure::failed)?;
        let mut answers = from.subscriber::<Packet>().map_err(Failure::failed)?;
        let peer = Peer::start(&plan)?;
        let first = plan.cores[0];
        let times = on_core(first, || {
            let (start, mut times, mut number) = (Instant::now(), Vec::new(), 0_u64);
            loop {
                let sent = Instant::now();
                number += 1;
                out.send(&[number; 6]).map_err(Failure::failed)?;
                let answer = loop {
                    match answers.recv_timeout(PATIENCE) {
                        Ok(answer) => break answer[5].to_native(),
                        Err(packetring::RecvTimeoutError::Timeout) => is_stopped(stop)?,
                        Err(error) => return Err(Failure::failed(error)),
                    }
                };
                let now = Instant::now();
                if answer != number {
                    return Err(wrong(number, answer));
                }
                if now - start >= span / 10 && times.len() < MOST_TIMES {
                    times.push((now - sent).as_nanos() as u64);
                }
                if now - start >= span {
                    return Ok(times);
                }
                is_stopped(stop)?;
            }
        })?;
        drop((out, answers));
        peer.finish()?;
        Ok(times)
    }

    /// Packets that reached the other process, and the time.
    pub(super) fn stream(
        &self,
        span: Duration,
        stop: &AtomicBool,
    ) -> Result<(u64, Duration), Failure> {
        let plan = Self { part: Part::Stream, ..self.clone() };
        let _rest = Rest(&plan);
        let ring = plan.ring("stream")?;
        let mut out = ring.publisher::<Packet>().map_err(Failure::failed)?;
        let peer = Peer::start(&plan)?;
        let (sent, time) = on_core(plan.cores[0], || {
            let (start, mut number) = (Instant::now(), 0_u64);
            loop {
                for _ in 0..BATCH {
                    number += 1;
                    loop {
                        match out.send_timeout(&[number; 6], PATIENCE) {
                            Ok(_) => break,
                            Err(packetring::SendTimeoutError::Timeout { .. }) => is_stopped(stop)?,
                            Err(error) => return Err(Failure::failed(error)),
                        }
                    }
                }
                is_stopped(stop)?;
                if start.elapsed() >= span {
                    return Ok((number, start.elapsed()));
                }
            }
        })?;
        drop(out);
        let received = peer.finish()?;
        if received != sent {
            return Err(wrong(sent, received));
        }
        Ok((sent, time))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = if self.part == Part::Stream { "stream" } else { "round-trips" };
        let [first, second] = self.cores;
        write!(f, "{part},{},{first},{second},{}", self.wait.word(), self.parent)
    }
}

/// Removes what a process that was killed left of the rings of a part.
struct Rest<'a>(&'a Plan);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        // The endpoints of this process are gone by now, and the other process has ended.
        let _ = purge_prefix(&self.0.prefix());
    }
}

/// Runs a measurement in a thread of its own that is bound to a core.
fn on_core<R: Send>(
    core: usize,
    measure: impl FnOnce() -> Result<R, Failure> + Send,
) -> Result<R, Failure> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            cores::pin(core);
            measure()
        });
        thread.join().unwrap_or_else(|_| Err(Failure::failed("the measurement ended early")))
    })
}

fn is_stopped(stop: &AtomicBool) -> Result<(), Failure> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Failure::failed("ended by a signal, without figures")),
        false => Ok(()),
    }
}

/// The error of a packet that did not arrive as it was sent.
pub(super) fn wrong(expected: u64, found: u64) -> Failure {
    Failure::failed(format_args!("expected packet {expected}, got {found}; report this as a fault"))
}

/// The second process. It ends by itself when the publisher of this process leaves.
struct Peer {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it, and waits until its endpoints are there.
    fn start(plan: &Plan) -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format_args!("the second process: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["bench", "--peer", &plan.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let Some(said) = child.stdout.take() else { unreachable!("it is piped") };
        let mut peer = Self { child, said: BufReader::new(said) };
        let mut line = String::new();
        peer.said.read_line(&mut line).map_err(failed)?;
        match line.trim() {
            "ready" => Ok(peer),
            _ => Err(Failure::failed("the second process ended before it was ready")),
        }
    }

    /// Waits for its end, and returns the number of packets that it received.
    fn finish(mut self) -> Result<u64, Failure> {
        let failed = |error| Failure::failed(format_args!("the second process: {error}"));
        let mut text = String::new();
        self.said.read_to_string(&mut text).map_err(failed)?;
        let status = self.child.wait().map_err(failed)?;
        match text.trim().parse() {
            Ok(received) if status.success() => Ok(received),
            _ => Err(Failure::failed(format_args!("the second process ended with {status}"))),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // After an error it may wait for this process. Nothing else is of its id before the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
