//! State of a worker process: its row of the ledger, its random numbers, and stall timing.
//!
//! An operation is timed if a kill happened during it. The time runs from the kill to the end of
//! the operation. If the received packet was sent later than the kill, the time runs from the send.
//! The operation does not count if a living process held others up meanwhile, for example a frozen
//! one.

use crate::assignment::Assignment;
use crate::ledger::{Book, Ledger, NO_ROW, Stage, Worker, now};
use crate::payload::Observed;
use crate::rng::Rng;
use packetring::OpenError;
use std::os::unix::process::parent_id;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A kill longer ago than this, in nanoseconds, no longer affects anybody.
const KILL_EFFECT: u64 = 30_000_000;

/// Kinds of operations.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Operation {
    Join = 1,
    Send,
    Receive,
    Leave,
}

impl Operation {
    /// Name of the operation in a hang report.
    pub(crate) fn name(word: u64) -> &'static str {
        ["nothing", "join", "send", "receive", "leave"].get(word as usize).unwrap_or(&"?")
    }
}

/// State of a worker process.
pub(crate) struct Context<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) book: &'a Book,
    pub(crate) assignment: Assignment,
    pub(crate) rng: Rng,
}

/// An operation in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    kills: u64,
}

impl<'a> Context<'a> {
    pub(crate) fn new(ledger: &'a Ledger, assignment: Assignment) -> Self {
        let context = Self {
            ledger,
            book: &ledger.books[assignment.ring],
            assignment,
            rng: assignment.rng(),
        };
        context.own().pid.set(u64::from(std::process::id()));
        context
    }

    pub(crate) fn own(&self) -> &'a Worker {
        &self.book.workers[self.assignment.row]
    }

    /// Returns true if the worker must leave: the director asked for it, or is dead.
    pub(crate) fn should_leave(&self) -> bool {
        self.own().leave.get() != 0 || self.is_orphaned()
    }

    /// Returns true if the director is dead. Nobody checks the ledger then; the worker must only
    /// end.
    pub(crate) fn is_orphaned(&self) -> bool {
        u64::from(parent_id()) != self.assignment.director
    }

    pub(crate) fn stage(&self) -> Stage {
        self.ledger.stage()
    }

    pub(crate) fn begin(&self, operation: Operation) -> Timer {
        let timer = Timer { kills: self.book.kills.get() };
        self.own().since.set(now());
        self.own().operation.set(operation as u64);
        timer
    }

    /// Ends an operation that made progress. `packet` is the received packet, if any.
    pub(crate) fn end(&self, timer: Timer, packet: Option<&Observed>) {
        self.end_idle();
        self.own().progress.add(1);
        let kills = self.book.kills.get();
        if kills > timer.kills {
            self.time(timer.kills..kills, packet);
        }
    }

    /// Ends an operation that could not make progress without other processes.
    pub(crate) fn end_idle(&self) {
        self.own().operation.set(0);
    }

    #[cold]
    fn time(&self, kills: std::ops::Range<u64>, packet: Option<&Observed>) {
        let ended = now();
        for (at, row) in kills.map(|number| self.book.kill(number)) {
            if self.book.was_held_up_since(at) {
                continue;
            }
            let ready = packet.map_or(at, |observed| observed.sent_at.max(at));
            let took = ended.saturating_sub(ready).max(1);
            // The one exception: the publisher died between stamping the packet and waking readers.
            let unwoken =
                packet.is_some_and(|observed| observed.row() == row && observed.sent_at < at);
            let (count, list) = if row != NO_ROW && unwoken {
                (&self.book.unwoken_count, &self.book.unwoken)
            } else if row != NO_ROW {
                (&self.book.stall_count, &self.book.stalls)
            } else if !self.book.was_kill_between(at.saturating_sub(KILL_EFFECT), ended) {
                (&self.book.control_count, &self.book.controls)
            } else {
                continue;
            };
            if let Some(entry) = list.get(count.add(1) as usize) {
                entry.set(took);
            }
        }
    }

    /// Sleeps. A pause of 200 µs or more is recorded, because others may have to wait for it.
    pub(crate) fn pause(&self, microseconds: u64) {
        if self.own().hurry.get() != 0 {
            return;
        }
        let holds = microseconds >= 200;
        if holds {
            self.own().pausing.begin();
        }
        sleep(Duration::from_micros(microseconds));
        if holds {
            self.own().pausing.end();
        }
    }

    /// Joins the ring. Retries while a dying predecessor still holds the name or the publisher
    /// role.
    pub(crate) fn join<R>(
        &self,
        mut join: impl FnMut() -> Result<R, OpenError>,
    ) -> Result<R, OpenError> {
        self.begin(Operation::Join);
        let give_up_at = Instant::now() + Duration::from_secs(20);
        loop {
            match join() {
                Err(OpenError::PublisherTaken { .. } | OpenError::NameTaken { .. })
                    if Instant::now() < give_up_at => {}
                // The owner of an entry is just releasing it.
                Err(OpenError::System { source, .. })
                    if source.kind() == std::io::ErrorKind::WouldBlock
                        && Instant::now() < give_up_at => {}
                outcome => {
                    self.end_idle();
                    return outcome;
                }
            }
            sleep(Duration::from_micros(200));
        }
    }
}
