//! Records of one phase, in memory that survives every worker.
//!
//! - A publisher records each packet before it begins the send and after the send returned. After
//!   its death the number of committed packets is known, except for the packets in doubt.
//! - A subscriber records between which packets it joined, and the packets it received.
//! - A durable subscriber also records its in-flight packets, so that redeliveries can be checked.
//!
//! A zeroed ledger is a valid empty one. A row is one incarnation of a worker on one ring. The row
//! of a publisher is a *stream* of packets, numbered from 0. Durable names own the first rows of
//! their ring.
//!
//! This module only stores records; `audit` evaluates them.

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
/// Capacity of a durable subscriber's log: more than it can have in flight.
const LOG: usize = 1024;

/// Row number for "no worker". Its row belongs to a durable name.
pub(crate) const NO_ROW: usize = 0;

/// A word of the ledger. All accesses are SeqCst, so that the ledger needs no ordering proof.
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

/// Nanoseconds on the monotonic clock, which all processes share.
#[expect(clippy::disallowed_methods, reason = "the monotonic clock, as a number that is shared")]
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Progress of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Workers publish, receive and are killed.
    Run,
    /// Publishers leave.
    Stop,
    /// No publisher is left: subscribers read to the end, then leave.
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

/// Records of one ring.
#[repr(C)]
pub(crate) struct Book {
    /// Number of kills and control instants so far; then the time and the row of each.
    pub(crate) kills: Word,
    kill_at: [Word; KILLS],
    kill_row: [Word; KILLS],
    /// Rows in use.
    pub(crate) used: Word,
    pub(crate) workers: [Worker; ROWS],
    pub(crate) readers: [Reader; ROWS],
    /// Indexed by reader, then by stream.
    pub(crate) cells: [[Cell; ROWS]; ROWS],
    pub(crate) durables: [Durable; DURABLES],
    pub(crate) stall_count: Word,
    pub(crate) stalls: [Word; STALLS],
    pub(crate) unwoken_count: Word,
    pub(crate) unwoken: [Word; STALLS],
    pub(crate) control_count: Word,
    pub(crate) controls: [Word; STALLS],
    pub(crate) fault_count: Word,
    faults: [[Word; 5]; FAULTS],
}

/// An incarnation of a worker.
#[repr(C)]
pub(crate) struct Worker {
    pub(crate) pid: Word,
    /// Time of the kill.
    pub(crate) killed_at: Word,
    /// Time of the reaping: the process was certainly dead then.
    pub(crate) reaped_at: Word,
    /// 1 after the join returned.
    pub(crate) joined: Word,
    /// 1 if the director asked the worker to leave.
    pub(crate) leave: Word,
    /// 1 if a kill is due soon: the worker skips its pauses, to be killed at work.
    pub(crate) hurry: Word,
    /// Current operation, or 0 if nothing can be held up; then its start.
    pub(crate) operation: Word,
    pub(crate) since: Word,
    /// Completed operations.
    pub(crate) progress: Word,
    /// Process id that the last timeout of a send waited for.
    pub(crate) waiting_for: Word,
    /// Stopped by the director.
    pub(crate) frozen: Hold,
    /// The worker pauses by itself, possibly with packets in flight.
    pub(crate) pausing: Hold,
    /// Packets whose send has begun, and packets whose send has returned.
    pub(crate) begun: Word,
    pub(crate) returned: Word,
}

/// A period in which a living process may hold others up.
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

    /// Returns true if the period lasted beyond `from`. `over_at` is the time at which the worker
    /// was killed, or 0.
    fn lasted_beyond(&self, from: u64, over_at: u64) -> bool {
        let goes_on = self.is_on() && (over_at == 0 || over_at > from);
        goes_on || self.until.get() > from
    }
}

/// An incarnation of a subscriber, or all incarnations of a durable name.
#[repr(C)]
pub(crate) struct Reader {
    /// Start of the first join; then 1 after a join returned.
    pub(crate) begun: Word,
    pub(crate) joined: Word,
    pub(crate) received: Word,
    pub(crate) redelivered: Word,
    /// Packets missed, reports of misses, and the reports that gave a lower bound only.
    pub(crate) missed: Word,
    pub(crate) reports: Word,
    pub(crate) inexact: Word,
    /// Packets from before the join: history.
    pub(crate) early: Word,
    /// 1 after a packet arrived whose send began after the join: no more history can arrive.
    pub(crate) is_past_join: Word,
    /// Reports of misses since then.
    pub(crate) late_reports: Word,
    /// 1 after it read to the end.
    pub(crate) ended: Word,
    /// Kills on the ring at the time of the join.
    pub(crate) kills_before: Word,
}

/// Records of one subscriber about one stream.
#[repr(C)]
pub(crate) struct Cell {
    /// Packets whose send had returned before the join began.
    pub(crate) low: Word,
    /// Packets whose send had begun when the join returned.
    pub(crate) high: Word,
    /// Sequence number of the first received packet plus one; 0 if none.
    pub(crate) first: Word,
    /// Sequence number of the last received packet plus one.
    pub(crate) next: Word,
    /// Reports of misses before the first packet and before the last.
    pub(crate) reports_at_first: Word,
    pub(crate) reports_at_last: Word,
    /// 1 if the subscriber read past the publisher's death without a miss: the stream is complete.
    pub(crate) is_final: Word,
}

/// Records about the packets of a durable subscriber. Packets have ordinals, in the order in which
/// its incarnations first received them.
#[repr(C)]
pub(crate) struct Durable {
    /// Packets received, each counted once.
    pub(crate) seen: Word,
    /// Packets certainly released, and packets possibly released.
    pub(crate) released: Word,
    pub(crate) releasing: Word,
    /// Upper bound of the ordinals that may have been handed out.
    pub(crate) handed: Word,
    /// No living process has the name.
    pub(crate) vacant: Hold,
    log: [[Word; 2]; LOG],
}

impl Durable {
    /// Returns the stream and sequence number of the packet with this ordinal.
    pub(crate) fn packet(&self, ordinal: u64) -> (u64, u64) {
        let [stream, sequence] = &self.log[ordinal as usize % LOG];
        (stream.get(), sequence.get())
    }

    /// Appends the next packet. A kill leaves it appended or not.
    pub(crate) fn enter(&self, stream: u64, sequence: u64) {
        let ordinal = self.seen.get();
        let entry = &self.log[ordinal as usize % LOG];
        entry[0].set(stream);
        entry[1].set(sequence);
        self.seen.set(ordinal + 1);
    }
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Fault {
    /// Packets are missing between two received ones.
    Gap = 1,
    /// The content differs from the sent content.
    Torn,
    /// A packet was received again, or out of order.
    Duplicate,
    /// A packet was flagged as redelivered, but cannot have been delivered before.
    WrongFlag,
    /// A successor did not continue where its predecessor stopped.
    WrongStart,
}

impl Fault {
    pub(crate) fn of(word: u64) -> Option<Self> {
        let all = [Self::Gap, Self::Torn, Self::Duplicate, Self::WrongFlag, Self::WrongStart];
        all.into_iter().find(|&fault| fault as u64 == word)
    }
}

impl Book {
    /// Number of rows in use.
    pub(crate) fn in_use(&self) -> usize {
        (self.used.get() as usize).min(ROWS)
    }

    /// Records a kill that is about to happen.
    pub(crate) fn record_kill(&self, row: usize) {
        let at = now();
        self.workers[row].killed_at.set(at);
        self.record_instant(at, row);
    }

    /// Records a control instant, at which no process is killed.
    pub(crate) fn record_control(&self) {
        self.record_instant(now(), NO_ROW);
    }

    fn record_instant(&self, at: u64, row: usize) {
        let count = self.kills.get();
        let index = count as usize % KILLS;
        self.kill_row[index].set(row as u64);
        self.kill_at[index].set(at);
        self.kills.set(count + 1);
    }

    /// Returns the time and the row of the kill with this number.
    pub(crate) fn kill(&self, number: u64) -> (u64, usize) {
        let index = number as usize % KILLS;
        (self.kill_at[index].get(), self.kill_row[index].get() as usize)
    }

    /// Returns true if a process was killed between the two times.
    pub(crate) fn was_kill_between(&self, from: u64, to: u64) -> bool {
        let count = self.kills.get();
        let mut last = (count.saturating_sub(32)..count).map(|number| self.kill(number));
        last.any(|(at, row)| row != NO_ROW && at >= from && at <= to)
    }

    /// Records a fault: subscriber, stream, and two numbers with details.
    pub(crate) fn record_fault(&self, fault: Fault, reader: usize, stream: u64, details: [u64; 2]) {
        let index = self.fault_count.add(1) as usize;
        if let Some(entry) = self.faults.get(index) {
            let words = [fault as u64, reader as u64, stream, details[0], details[1]];
            for (word, value) in entry.iter().zip(words) {
                word.set(value);
            }
        }
    }

    /// The recorded faults.
    pub(crate) fn faults(&self) -> impl Iterator<Item = [u64; 5]> {
        let count = (self.fault_count.get() as usize).min(FAULTS);
        self.faults[..count].iter().map(|entry| entry.each_ref().map(Word::get))
    }

    /// Returns true if a living process held others up at any time since `from`, or a durable name
    /// was vacant.
    pub(crate) fn was_held_up_since(&self, from: u64) -> bool {
        let workers = self.workers[..self.in_use()].iter();
        let mut holds = workers.map(|worker| (worker, worker.killed_at.get()));
        holds.any(|(worker, killed_at)| {
            worker.frozen.lasted_beyond(from, killed_at)
                || worker.pausing.lasted_beyond(from, killed_at)
        }) || self.durables.iter().any(|durable| durable.vacant.lasted_beyond(from, 0))
    }
}
