//! What every worker has: its row of the ledger, its dice, and a stopwatch for what it does.
//!
//! An operation that a kill fell into is timed: from the kill, or from when there was something
//! to be had if that was later, to the end of the operation. It does not count if anybody alive
//! held others up meanwhile, as a frozen process may.

use crate::dice::Dice;
use crate::ledger::{Book, Ledger, NOBODY, Stage, Worker, now};
use crate::parcel::Said;
use crate::post::Post;
use packetring::OpenError;
use std::os::unix::process::parent_id;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A kill that nobody can feel any more, in nanoseconds.
const LONG_AGO: u64 = 30_000_000;

/// What a worker does.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Operation {
    Join = 1,
    Send,
    Receive,
    Leave,
}

impl Operation {
    /// In words, for whoever looks at a hang.
    pub(crate) fn name(word: u64) -> &'static str {
        ["nothing", "join", "send", "receive", "leave"].get(word as usize).unwrap_or(&"?")
    }
}

/// A worker's place.
pub(crate) struct Desk<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) book: &'a Book,
    pub(crate) post: Post,
    pub(crate) dice: Dice,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    kills: u64,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(ledger: &'a Ledger, post: Post) -> Self {
        let desk = Self { ledger, book: &ledger.books[post.ring], post, dice: post.dice() };
        desk.own().pid.set(u64::from(std::process::id()));
        desk
    }

    pub(crate) fn own(&self) -> &'a Worker {
        &self.book.workers[self.post.row]
    }

    /// Whether to leave: told to, or left alone.
    pub(crate) fn is_over(&self) -> bool {
        self.own().leave.get() != 0 || self.is_orphaned()
    }

    /// The director is dead: there is nobody to check anything, all that matters is to be gone.
    pub(crate) fn is_orphaned(&self) -> bool {
        u64::from(parent_id()) != self.post.director
    }

    pub(crate) fn stage(&self) -> Stage {
        self.ledger.stage()
    }

    pub(crate) fn begin(&self, operation: Operation) -> Turn {
        let turn = Turn { kills: self.book.kills.get() };
        self.own().since.set(now());
        self.own().operation.set(operation as u64);
        turn
    }

    /// Ends an operation that brought something about; `packet`: what was received.
    pub(crate) fn end(&self, turn: Turn, packet: Option<&Said>) {
        self.end_idle();
        self.own().progress.add(1);
        let kills = self.book.kills.get();
        if kills > turn.kills {
            self.time(turn.kills..kills, packet);
        }
    }

    /// Ends an operation that nobody could help along.
    pub(crate) fn end_idle(&self) {
        self.own().operation.set(0);
    }

    #[cold]
    fn time(&self, kills: std::ops::Range<u64>, packet: Option<&Said>) {
        let ended = now();
        for (at, row) in kills.map(|number| self.book.kill(number)) {
            if self.book.was_held_since(at) {
                continue;
            }
            let ready = packet.map_or(at, |said| said.sent_at.max(at));
            let took = ended.saturating_sub(ready).max(1);
            // The one exception: its publisher died between stamping it and waking anyone.
            let unwoken = packet.is_some_and(|said| said.row() == row && said.sent_at < at);
            let (count, list) = if row != NOBODY && unwoken {
                (&self.book.late_count, &self.book.lates)
            } else if row != NOBODY {
                (&self.book.stall_count, &self.book.stalls)
            } else if !self.book.was_kill_between(at.saturating_sub(LONG_AGO), ended) {
                (&self.book.control_count, &self.book.controls)
            } else {
                continue;
            };
            if let Some(entry) = list.get(count.add(1) as usize) {
                entry.set(took);
            }
        }
    }

    /// Does nothing for a while, which others may have to wait for if it is long.
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

    /// Joins, as soon as the predecessor, which may be dying just now, is gone.
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
                // An entry whose owner is just leaving it.
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
