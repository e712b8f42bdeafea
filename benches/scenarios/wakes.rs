//! Wake-ups per packet: how many threads leave their sleep for one packet, in a process whose
//! receivers all sleep.
//!
//! The packets are 4 ms apart, so that all receivers sleep again. The kernel counts the sleeps of
//! each thread. Liveness checks of the receivers count, too: at most twenty a second and receiver.

use super::packets::{Numbered, Tick};
use crate::harness::{Outcome, Phase, Run, Sample, Scale, Scenario, Side, THERE, Unit};
use packetring::cluster::{Delivery, Request};
use packetring::{Ring, Worker};
use std::thread;
use std::time::Duration;

/// The receivers that sleep.
#[derive(Clone, Copy)]
pub(crate) enum Wakes {
    /// Consumers of one queue.
    Queue(usize),
    /// Servers of one service.
    Service(usize),
    /// Subscribers of one topic.
    Topic(usize),
    /// Inboxes, each the addressee in turn.
    Inboxes(usize),
}

impl Wakes {
    fn packets(run: &Run) -> u32 {
        match run.scale {
            Scale::Full => 500,
            Scale::Quick => 100,
            Scale::Trial => 10,
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Queue(count)
            | Self::Service(count)
            | Self::Topic(count)
            | Self::Inboxes(count) => count,
        }
    }

    /// Starts the receivers, and returns the function that sends one packet.
    fn start(self, name: &str) -> Outcome<Box<dyn FnMut() -> Outcome<()>>> {
        let count = self.count();
        Ok(match self {
            Self::Queue(_) => {
                let worker = Worker::join(name, "all")?;
                for _ in 0..count {
                    let mut jobs = worker.queue::<Tick>("jobs")?;
                    thread::spawn(move || {
                        while let Ok(job) = jobs.recv() {
                            Delivery::ack(job);
                        }
                    });
                }
                let mut jobs = worker.queue_publisher::<Tick>("jobs")?;
                Box::new(move || {
                    let _worker = &worker;
                    Ok(jobs.send(&Tick::blank()).map(drop)?)
                })
            }
            Self::Service(_) => {
                let worker = Worker::join(name, "all")?;
                for _ in 0..count {
                    let mut service = worker.service::<Tick, Tick>("calls")?;
                    thread::spawn(move || {
                        while let Ok(request) = service.recv() {
                            if Request::reply(request, &Tick::blank()).is_err() {
                                break;
                            }
                        }
                    });
                }
                let client = worker.client::<Tick, Tick>("calls")?;
                client.wait_for_server()?;
                Box::new(move || {
                    let _worker = &worker;
                    Ok(client.call(&Tick::blank()).map(drop)?)
                })
            }
            Self::Topic(_) => {
                let ring = Ring::builder().max_subscribers(count).open(name)?;
                for _ in 0..count {
                    let mut ticks = ring.subscriber::<Tick>()?;
                    thread::spawn(move || while ticks.recv().is_ok() {});
                }
                let mut ticks = ring.publisher::<Tick>()?;
                Box::new(move || Ok(ticks.send(&Tick::blank()).map(drop)?))
            }
            Self::Inboxes(_) => {
                let name_of = |index| format!("worker-{index}");
                let join = |index| Worker::join(name, &name_of(index));
                let workers = (0..count).map(join).collect::<Result<Vec<_>, _>>()?;
                for worker in &workers {
                    let mut inbox = worker.inbox()?;
                    thread::spawn(move || {
                        while let Ok(message) = inbox.recv() {
                            message.ack();
                        }
                    });
                }
                let mut next = 0;
                Box::new(move || {
                    next = (next + 1) % workers.len();
                    Ok(workers[0].send_to(&*name_of(next), &Tick::blank())?)
                })
            }
        })
    }
}

/// Voluntary context switches of all threads but the main one.
fn sleeps() -> Outcome<u64> {
    let mut sleeps = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        if path.ends_with(std::process::id().to_string()) {
            continue;
        }
        let status = std::fs::read_to_string(path.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps += line.ok_or("no count of context switches")?.trim().parse::<u64>()?;
    }
    Ok(sleeps)
}

impl Scenario for Wakes {
    fn name(&self) -> String {
        let what = match self {
            Self::Queue(_) => "queue",
            Self::Service(_) => "service",
            Self::Topic(_) => "topic",
            Self::Inboxes(_) => "inboxes",
        };
        format!("wakes_{what}_{}", self.count())
    }

    fn about(&self) -> String {
        let what = match self {
            Self::Queue(_) => "consumers of a queue",
            Self::Service(_) => "servers of a service",
            Self::Topic(_) => "subscribers of a topic",
            Self::Inboxes(_) => "workers with an inbox",
        };
        format!("wake-ups per packet: {} {what}, one packet each 4 ms", self.count())
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Wakes
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::Any)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let mut partner = run.start(0)?;
        let wakes = partner.read_line()?.parse()?;
        partner.finish()?;
        Ok(Sample::of(wakes))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let mut send = self.start(&side.run.ring(THERE))?;
        side.ready()?;
        let (packets, pause) = (Self::packets(&side.run), Duration::from_millis(4));
        for _ in 0..10 {
            send()?;
            thread::sleep(pause);
        }
        let before = sleeps()?;
        for _ in 0..packets {
            send()?;
            thread::sleep(pause);
        }
        side.report(&((sleeps()? - before) as f64 / f64::from(packets)).to_string())
    }
}
