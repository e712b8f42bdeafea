//! What is known about a phase, in memory that survives every worker.
//!
//! A publisher writes down what it begins to send before it does, and what was sent afterwards: so
//! after its death the number of committed packets is known but for those in doubt. A subscriber
//! writes down between which packets it joined, and what it got. A durable one also writes down
//! what it has in its hand, so that it is known what may come again.
//!
//! Words of zeros are the beginning of everything. A row is one incarnation of a worker on one
//! ring; as a publisher it is a *stream* of packets, numbered from 0. Durable names have the first
//! rows of their ring.
//!
//! Here is no judgement: that is `audit`'s.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Rings in a phase.
pub(crate) const RINGS: usize = 6;
/// Durable names on a ring.
pub(crate) const DURABLES: usize = 2;
/// Incarnations on one ring in one phase.
pub(crate) const ROWS: usize = 192;
const KILLS: usize = 1024;
const STALLS: usize = 1 << 14;
const FAULTS: usize = 64;
/// Packets that a durable subscriber can have in its hand, and some more.
const HAND: usize = 1024;

/// No row: a durable name has it.
pub(crate) const NOBODY: usize = 0;

/// A word of the ledger. The strongest ordering throughout: a ledger should not need a proof.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Word(AtomicU64);

impl Word {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, SeqCst);
    }

    pub(crate) fn add(&self, value: u64) -> u64 {
        self.0.fetch_add(value, SeqCst)
    }

    pub(crate) fn raise(&self, value: u64) {
        self.0.fetch_max(value, SeqCst);
    }
}

/// Nanoseconds on the machine's monotonic clock, the same in all processes.
#[expect(clippy::disallowed_methods, reason = "the monotonic clock, as a number that is shared")]
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How far a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Publish, receive, die.
    Run,
    /// Publishers leave.
    Stop,
    /// No publisher is left: read to the end, then leave.
    Drain,
}

#[repr(C)]
pub(crate) struct Ledger {
    stage: Word,
    pub(crate) books: [Book; RINGS],
}

impl Ledger {
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.get() {
            0 => Stage::Run,
            1 => Stage::Stop,
            _ => Stage::Drain,
        }
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.set(stage as u64);
    }
}

/// What is known about one ring.
#[repr(C)]
pub(crate) struct Book {
    /// Kills so far, and instants to compare with: when, and whom.
    pub(crate) kills: Word,
    kill_at: [Word; KILLS],
    kill_row: [Word; KILLS],
    /// Rows in use.
    pub(crate) used: Word,
    pub(crate) workers: [Worker; ROWS],
    pub(crate) readers: [Reader; ROWS],
    /// By reader, then by stream.
    pub(crate) cells: [[Cell; ROWS]; ROWS],
    pub(crate) durables: [Durable; DURABLES],
    pub(crate) stall_count: Word,
    pub(crate) stalls: [Word; STALLS],
    pub(crate) late_count: Word,
    pub(crate) lates: [Word; STALLS],
    pub(crate) control_count: Word,
    pub(crate) controls: [Word; STALLS],
    pub(crate) fault_count: Word,
    faults: [[Word; 5]; FAULTS],
}

/// One incarnation of a worker.
#[repr(C)]
pub(crate) struct Worker {
    pub(crate) pid: Word,
    /// Killed then.
    pub(crate) killed_at: Word,
    /// Certainly dead then: it was reaped.
    pub(crate) reaped_at: Word,
    /// Its join has returned.
    pub(crate) joined: Word,
    /// It is asked to leave.
    pub(crate) leave: Word,
    /// It is about to be killed, and asked to be busy when it is.
    pub(crate) hurry: Word,
    /// What it does, since when; 0: nothing that could be held up.
    pub(crate) operation: Word,
    pub(crate) since: Word,
    /// Operations that have ended.
    pub(crate) progress: Word,
    /// Who the last timeout of a send said it waited for.
    pub(crate) waiting_for: Word,
    /// Stopped by the director.
    pub(crate) frozen: Hold,
    /// Pausing of its own accord, perhaps with something in its hand.
    pub(crate) pausing: Hold,
    /// Packets whose sending has begun, and packets whose sending has returned.
    pub(crate) begun: Word,
    pub(crate) returned: Word,
}

/// A time in which a living process holds others up, as it may.
#[repr(C)]
pub(crate) struct Hold {
    since: Word,
    until: Word,
}

impl Hold {
    pub(crate) fn begin(&self) {
        self.since.set(now());
    }

    pub(crate) fn end(&self) {
        self.until.set(now());
        self.since.set(0);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.since.get() != 0
    }

    /// Whether it went on at or after `from`; `over_at`: whatever went on ended then, or 0.
    fn lasted_beyond(&self, from: u64, over_at: u64) -> bool {
        let goes_on = self.is_on() && (over_at == 0 || over_at > from);
        goes_on || self.until.get() > from
    }
}

/// One incarnation of a subscriber, or all of a durable one's.
#[repr(C)]
pub(crate) struct Reader {
    /// When its first join was begun, and whether one has returned.
    pub(crate) begun: Word,
    pub(crate) joined: Word,
    pub(crate) received: Word,
    pub(crate) redelivered: Word,
    /// Packets missed, reports of it, and those of the reports that said "at least".
    pub(crate) missed: Word,
    pub(crate) reports: Word,
    pub(crate) inexact: Word,
    /// Packets from before it joined: history.
    pub(crate) early: Word,
    /// A packet came that was begun after it had joined: no history comes any more.
    pub(crate) is_past_join: Word,
    /// Reports since then.
    pub(crate) late_reports: Word,
    /// It read to the end.
    pub(crate) ended: Word,
    /// The number of kills on the ring when it joined.
    pub(crate) kills_before: Word,
}

/// What one subscriber knows of one stream.
#[repr(C)]
pub(crate) struct Cell {
    /// Packets sent before its join was begun.
    pub(crate) low: Word,
    /// Packets begun when its join had returned.
    pub(crate) high: Word,
    /// One more than the first packet seen; 0: none.
    pub(crate) first: Word,
    /// One more than the last packet seen.
    pub(crate) next: Word,
    /// Reports of misses before the first packet and before the last.
    pub(crate) reports_at_first: Word,
    pub(crate) reports_at_last: Word,
    /// It came past the publisher's death and missed nothing on the way: there is no more.
    pub(crate) is_final: Word,
}

/// What a durable subscriber has in its hand. Packets have ordinals, in the order in which its
/// incarnations first got them.
#[repr(C)]
pub(crate) struct Durable {
    /// Packets got, each counted once.
    pub(crate) seen: Word,
    /// Packets let go of for certain, and perhaps.
    pub(crate) released: Word,
    pub(crate) releasing: Word,
    /// Below this ordinal a packet may have been handed out.
    pub(crate) handed: Word,
    /// Nobody living has this name.
    pub(crate) vacant: Hold,
    log: [[Word; 2]; HAND],
}

impl Durable {
    /// The packet of an ordinal: stream and sequence.
    pub(crate) fn packet(&self, ordinal: u64) -> (u64, u64) {
        let [stream, sequence] = &self.log[ordinal as usize % HAND];
        (stream.get(), sequence.get())
    }

    /// Enters the next packet. A kill leaves it entered or not.
    pub(crate) fn enter(&self, stream: u64, sequence: u64) {
        let ordinal = self.seen.get();
        let entry = &self.log[ordinal as usize % HAND];
        entry[0].set(stream);
        entry[1].set(sequence);
        self.seen.set(ordinal + 1);
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Fault {
    /// Packets between two that were seen.
    Gap = 1,
    /// The content is not what was sent.
    Torn,
    /// A packet came again, or before one that came before.
    Again,
    /// A packet was flagged as redelivered that nobody can have had.
    WrongFlag,
    /// A successor went on where its predecessor did not stop.
    WrongStart,
}

impl Fault {
    pub(crate) fn of(word: u64) -> Option<Self> {
        let all = [Self::Gap, Self::Torn, Self::Again, Self::WrongFlag, Self::WrongStart];
        all.into_iter().find(|&fault| fault as u64 == word)
    }
}

impl Book {
    /// Rows given out.
    pub(crate) fn in_use(&self) -> usize {
        (self.used.get() as usize).min(ROWS)
    }

    /// Enters a kill that is about to happen.
    pub(crate) fn enter_kill(&self, row: usize) {
        let at = now();
        self.workers[row].killed_at.set(at);
        self.enter_instant(at, row);
    }

    /// Enters an instant at which nobody is killed, to compare with.
    pub(crate) fn enter_control(&self) {
        self.enter_instant(now(), NOBODY);
    }

    fn enter_instant(&self, at: u64, row: usize) {
        let count = self.kills.get();
        let index = count as usize % KILLS;
        self.kill_row[index].set(row as u64);
        self.kill_at[index].set(at);
        self.kills.set(count + 1);
    }

    /// When the kill of this number was, and of which row.
    pub(crate) fn kill(&self, number: u64) -> (u64, usize) {
        let index = number as usize % KILLS;
        (self.kill_at[index].get(), self.kill_row[index].get() as usize)
    }

    /// Whether somebody was killed between two instants.
    pub(crate) fn was_kill_between(&self, from: u64, to: u64) -> bool {
        let count = self.kills.get();
        let mut last = (count.saturating_sub(32)..count).map(|number| self.kill(number));
        last.any(|(at, row)| row != NOBODY && at >= from && at <= to)
    }

    /// Enters a fault: subscriber, stream, and two numbers that say more.
    pub(crate) fn enter_fault(&self, fault: Fault, reader: usize, stream: u64, says: [u64; 2]) {
        let index = self.fault_count.add(1) as usize;
        if let Some(entry) = self.faults.get(index) {
            let words = [fault as u64, reader as u64, stream, says[0], says[1]];
            for (word, value) in entry.iter().zip(words) {
                word.set(value);
            }
        }
    }

    /// The faults that were entered.
    pub(crate) fn faults(&self) -> impl Iterator<Item = [u64; 5]> {
        let count = (self.fault_count.get() as usize).min(FAULTS);
        self.faults[..count].iter().map(|entry| entry.each_ref().map(Word::get))
    }

    /// Whether somebody alive held others up at any time since `from`, or a durable name was
    /// vacant.
    pub(crate) fn was_held_since(&self, from: u64) -> bool {
        let workers = self.workers[..self.in_use()].iter();
        let mut holds = workers.map(|worker| (worker, worker.killed_at.get()));
        holds.any(|(worker, killed_at)| {
            worker.frozen.lasted_beyond(from, killed_at)
                || worker.pausing.lasted_beyond(from, killed_at)
        }) || self.durables.iter().any(|durable| durable.vacant.lasted_beyond(from, 0))
    }
}
