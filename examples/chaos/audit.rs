//! Evaluation at the end of a phase: the packets that each subscriber must have received.
//!
//! The last packets of a killed publisher are in doubt. A packet that any subscriber received is
//! committed. A packet is not committed if a subscriber that read to the end, and cannot have
//! missed it, did not receive it. All subscribers must agree.

use crate::assignment::{Kind, Role};
use crate::ledger::{Book, Cell, DURABLES, Fault, Reader};
use crate::tally::Tally;

/// A ring at the end of a phase.
pub(crate) struct Audit<'a> {
    pub(crate) kind: Kind,
    pub(crate) phase: u64,
    pub(crate) book: &'a Book,
    /// Role of each row.
    pub(crate) roles: &'a [Option<Role>],
}

/// Bounds of the number of committed packets of a stream.
#[derive(Clone, Copy, Debug)]
struct Committed {
    least: u64,
    most: u64,
}

impl Audit<'_> {
    pub(crate) fn run(&self, tally: &mut Tally) {
        self.sum(tally);
        self.report_faults(tally);
        tally.take_stalls(self.book);
        if self.kind == Kind::Transient {
            return;
        }
        let streams: Vec<Committed> = self.streams().map(|row| self.committed(row)).collect();
        for row in 0..self.book.in_use() {
            if self.book.readers[row].joined.get() != 0 {
                self.check_start(row, &streams, tally);
                self.check_seen(row, &streams, tally);
            }
        }
    }

    fn streams(&self) -> std::ops::Range<usize> {
        0..self.book.in_use()
    }

    fn readers(&self) -> impl Iterator<Item = (usize, &Reader)> {
        self.book.readers[..self.book.in_use()].iter().enumerate()
    }

    fn sum(&self, tally: &mut Tally) {
        for (_, reader) in self.readers() {
            tally.received += reader.received.get();
            tally.redelivered += reader.redelivered.get();
            tally.missed += reader.missed.get();
        }
        for row in self.streams() {
            tally.published += self.committed(row).least;
        }
    }

    fn report_faults(&self, tally: &mut Tally) {
        for [fault, reader, stream, sequence, details] in self.book.faults() {
            let Some(fault) = Fault::of(fault) else { continue };
            match fault {
                Fault::Gap => tally.lost += sequence.saturating_sub(details),
                Fault::Torn => tally.torn += 1,
                Fault::Duplicate => tally.unflagged_duplicates += 1,
                Fault::WrongFlag | Fault::WrongStart => {}
            }
            let text = format!("{fault:?}, packet {sequence} of stream {stream:#x} ({details})");
            self.problem(tally, reader as usize, &text);
        }
    }

    fn problem(&self, tally: &mut Tally, row: usize, text: &str) {
        let Self { kind, phase, .. } = self;
        let role = if row < DURABLES { "durable subscriber" } else { "subscriber" };
        tally.problem(format!("phase {phase}, ring {kind:?}, {role} {row}: {text}"));
    }

    /// Computes the bounds for a stream.
    fn committed(&self, stream: usize) -> Committed {
        let worker = &self.book.workers[stream];
        let mut least = worker.returned.get();
        let mut most = worker.begun.get().max(least);
        for (row, reader) in self.readers() {
            let cell = &self.book.cells[row][stream];
            least = least.max(cell.next.get());
            // The reader missed nothing after its last packet of this stream, and read to the end.
            let saw_all = reader.ended.get() != 0
                && cell.first.get() != 0
                && cell.reports_at_last.get() == reader.reports.get();
            if saw_all || cell.is_final.get() != 0 {
                most = most.min(cell.next.get());
            }
        }
        Committed { least, most: most.max(least) }
    }

    /// Checks the first packet of each stream against the packets sent before and after the join.
    fn check_start(&self, row: usize, streams: &[Committed], tally: &mut Tally) {
        for stream in 0..streams.len() {
            let cell = &self.book.cells[row][stream];
            let (first, low, high) = (cell.first.get(), cell.low.get(), cell.high.get());
            if first == 0 {
                continue;
            }
            let first = first - 1;
            if first < low && self.kind.history() == 0 {
                let text = format!("got packet {first} of row {stream}, sent before it joined");
                self.problem(tally, row, &text);
            }
            if first > high && cell.reports_at_first.get() == 0 {
                tally.lost += first - high;
                let text = format!("packets of row {stream} are missing from {high} on");
                self.problem(tally, row, &text);
            }
        }
    }

    fn check_seen(&self, row: usize, streams: &[Committed], tally: &mut Tally) {
        for (stream, committed) in streams.iter().enumerate() {
            let cell = &self.book.cells[row][stream];
            if cell.next.get() > self.book.workers[stream].begun.get() {
                self.problem(tally, row, &format!("got more of row {stream} than was sent"));
            }
            if self.book.readers[row].ended.get() != 0 && !self.kind.drops() {
                self.check_end(row, stream, cell, *committed, tally);
            }
        }
        if self.book.readers[row].ended.get() != 0 && self.kind.drops() {
            self.check_account(row, streams, tally);
        }
    }

    /// Rings that block: every packet committed after the join must have been received.
    fn check_end(
        &self,
        row: usize,
        stream: usize,
        cell: &Cell,
        committed: Committed,
        tally: &mut Tally,
    ) {
        let seen = if cell.first.get() == 0 { cell.high.get() } else { cell.next.get() };
        if seen < committed.least {
            tally.lost += committed.least - seen;
            let least = committed.least;
            let text = format!("row {stream}: received packets below {seen} of {least}");
            self.problem(tally, row, &text);
        }
    }

    /// Rings that drop: received plus missed packets must equal the published packets.
    fn check_account(&self, row: usize, streams: &[Committed], tally: &mut Tally) {
        let reader = &self.book.readers[row];
        let (mut least, mut most) = (0, 0);
        for (stream, committed) in streams.iter().enumerate() {
            let cell = &self.book.cells[row][stream];
            let reaped_at = self.book.workers[stream].reaped_at.get();
            if cell.first.get() == 0 && reaped_at != 0 && reaped_at < reader.begun.get() {
                // Its packets in doubt were committed before the join, or never.
                continue;
            }
            let start = self.start(cell);
            least += committed.least.saturating_sub(start.1);
            most += committed.most.saturating_sub(start.0);
        }
        let early = reader.early.get();
        least += early;
        // Missed history can include packets committed behind an open claim.
        let unread = reader.reports.get() > 0 && reader.late_reports.get() < reader.reports.get();
        most += early + if unread { self.kind.history() * 32 } else { 0 };
        let found = reader.received.get() + reader.missed.get();
        // Too few are allowed if an evictor was killed before it could count, and the report
        // gave a lower bound. An evictor killed just before the join may have died slightly later.
        let since = reader.kills_before.get().saturating_sub(3);
        let kills_evictors = self.was_publisher_killed_since(since);
        let may_be_low = reader.inexact.get() > 0 && kills_evictors;
        tally.accounts += 1;
        tally.exact_accounts += u64::from(least == most && !may_be_low);
        if found > most || found < least && !may_be_low {
            tally.lost += least.saturating_sub(found);
            let (received, missed) = (reader.received.get(), reader.missed.get());
            let (reports, inexact) = (reader.reports.get(), reader.inexact.get());
            let text = format!(
                "received {received} and missed {missed} in {reports} reports ({inexact} of them \
                 \"at least\"), {found} in all; published {least} to {most}"
            );
            self.problem(tally, row, &text);
        }
    }

    /// Earliest and latest sequence number of the first packet after the join.
    fn start(&self, cell: &Cell) -> (u64, u64) {
        let (low, high) = (cell.low.get(), cell.high.get());
        let is_known = cell.first.get() != 0 && cell.reports_at_first.get() == 0;
        if is_known {
            // Nothing was missed before it. Earlier packets are counted separately.
            let first = (cell.first.get() - 1).max(low);
            (first, first)
        } else {
            (low, high.max(low))
        }
    }

    fn was_publisher_killed_since(&self, number: u64) -> bool {
        (number..self.book.kills.get()).any(|number| {
            let (_, row) = self.book.kill(number);
            self.roles[row] == Some(Role::Publisher)
        })
    }
}
