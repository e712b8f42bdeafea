//! Wake-up of an event loop: from immediately before a send until the other process, which slept in
//! its loop, has the packet.
//!
//! The reader has one or many endpoints, each of a ring of its own. One of them gets the packets.
//! The loop waits for all of them, either in epoll through their descriptors or in tasks. The
//! reader's core runs its loop, and the thread of the library that wakes the loop.

use super::executor::{self, Task};
use super::packets::{Numbered, Tick};
use crate::floor::{EventFdWake, ReadySet, Turns};
use crate::harness::{Outcome, Run, Sample, Scale, Scenario, Side, THERE, Target, Unit, check};
use crate::seccomp::{self, Refused};
use crate::shared::Shared;
use packetring::{Publisher, Ring, RingBuilder, Selectable, Subscriber, TryRecvError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::cell::Cell;
use std::thread;
use std::time::Duration;

/// What the loop waits in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// epoll, for the descriptors of the endpoints.
    Epoll,
    /// As `Epoll`, in a process to which the kernel refuses io_uring.
    EpollRefused,
    /// Tasks that await the endpoints.
    Await,
}

/// An event loop with many endpoints.
pub(crate) struct EventLoop {
    pub(crate) way: Way,
    pub(crate) endpoints: u64,
}

impl EventLoop {
    fn ring() -> RingBuilder {
        Ring::builder().capacity(1 << 14)
    }

    fn join(&self, run: &Run) -> Outcome<Vec<Subscriber<Tick>>> {
        let busy = Self::ring().attach(&run.ring(THERE))?.subscriber()?;
        let mut all = vec![busy];
        for index in 1..self.endpoints {
            all.push(Self::ring().open(&run.ring(&format!("idle-{index}")))?.subscriber()?);
        }
        Ok(all)
    }

    /// Time until idle endpoints rarely check which processes live.
    fn settle(run: &Run) {
        thread::sleep(match run.scale {
            Scale::Full => Duration::from_secs(1),
            Scale::Quick => Duration::from_millis(200),
            Scale::Trial => Duration::ZERO,
        });
    }
}

impl Scenario for EventLoop {
    fn name(&self) -> String {
        let way = match self.way {
            Way::Epoll => "epoll",
            Way::EpollRefused => "epoll_refused",
            Way::Await => "await",
        };
        format!("loop_{way}_{}", self.endpoints)
    }

    fn about(&self) -> String {
        let of = if self.endpoints == 1 {
            "one endpoint".into()
        } else {
            format!("one of {} endpoints", self.endpoints)
        };
        let how = match self.way {
            Way::Epoll => "its descriptor in epoll",
            Way::EpollRefused => "its descriptor in epoll, io_uring refused",
            Way::Await => "awaited in a task",
        };
        format!("one way, to {of}, {how}, 50 µs asleep; p50")
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Microseconds
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(EventFdWake))
    }

    fn targets(&self) -> Vec<Target> {
        let most = match (self.way, self.endpoints) {
            (Way::EpollRefused, _) => return Vec::new(),
            (_, ..=16) => 1.7,
            _ => 2.0,
        };
        vec![Target::RatioAtMost(most), Target::TailRatioAtMost(most)]
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let turns: Shared<Turns> = Shared::create(&run.object())?;
        let mut ticks: Publisher<Tick> = Self::ring().open(&run.ring(THERE))?.publisher()?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        Self::settle(run);
        let mut packet = Tick::blank();
        let sample = turns.measure(run, &run.poll(), |number| {
            packet.set(number);
            ticks.send(&packet)?;
            Ok(())
        })?;
        partner.finish()?;
        Ok(sample)
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let turns: Shared<Turns> = Shared::open(&side.run.object())?;
        // An endpoint has some descriptors.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        if self.way == Way::EpollRefused {
            let call = libc::SYS_io_uring_setup;
            seccomp::refuse(&[Refused { call, commands: Vec::new() }], libc::EPERM);
        }
        let endpoints = self.join(&side.run)?;
        side.ready()?;
        // Before the library starts its thread, which inherits the core.
        let _pinned = side.pin_after_joining()?;
        let progress = Progress { turns: &turns, next: Cell::new(1), last: Turns::last(&side.run) };
        match self.way {
            Way::Epoll | Way::EpollRefused => progress.poll(endpoints)?,
            Way::Await => progress.run_tasks(endpoints)?,
        }
        Ok(())
    }
}

/// What the reader has received.
struct Progress<'a> {
    turns: &'a Turns,
    /// The number of the next packet.
    next: Cell<u64>,
    last: u64,
}

impl Progress<'_> {
    fn is_done(&self) -> bool {
        self.next.get() > self.last
    }

    fn before_sleep(&self) {
        self.turns.sleep_for(self.next.get());
    }

    /// Receives until nothing is left.
    fn receive(&self, from: &mut Subscriber<Tick>) -> Outcome<()> {
        loop {
            match from.try_recv() {
                Ok(packet) => {
                    let number = self.next.get();
                    check(Tick::is(&packet, number), number)?;
                    self.turns.have();
                    self.next.set(number + 1);
                }
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Closed) if self.is_done() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn poll(&self, mut endpoints: Vec<Subscriber<Tick>>) -> Outcome<()> {
        let mut set = ReadySet::new()?;
        let mut descriptors = Vec::new();
        for (endpoint, number) in endpoints.iter_mut().zip(0..) {
            let readiness = endpoint.readiness()?;
            set.add(&readiness, number)?;
            descriptors.push(readiness);
            self.receive(endpoint)?;
        }
        while !self.is_done() {
            self.before_sleep();
            set.wait(|number| self.receive(&mut endpoints[number as usize]))?;
        }
        self.before_sleep();
        Ok(())
    }

    fn run_tasks(&self, endpoints: Vec<Subscriber<Tick>>) -> Outcome<()> {
        let task = |mut endpoint: Subscriber<Tick>| -> Task<'_> {
            Box::pin(async move {
                while !self.is_done() {
                    endpoint.ready().await?;
                    self.receive(&mut endpoint)?;
                }
                Ok(())
            })
        };
        executor::run(endpoints.into_iter().map(task).collect(), || self.before_sleep())?;
        self.before_sleep();
        Ok(())
    }
}
