//! Checks of a subscriber on each packet, against the packets before it.
//!
//! Facts that can be judged only at the end of a phase go into the ledger for `audit`.

use crate::assignment::Role;
use crate::context::{Context, Operation, Timer};
use crate::ledger::{Book, Durable, Fault, NO_ROW, Reader, now};
use crate::payload::{Observed, stream};
use packetring::Missed;
use std::collections::HashMap;

/// Check state of a subscriber.
pub(crate) struct Checker<'a, 'd> {
    pub(crate) context: &'d mut Context<'a>,
    /// Row in the ledger: the row of the durable name, or the worker's own.
    row: usize,
    durable: Option<&'a Durable>,
    /// Durable names only: the ordinal of the next packet.
    ordinal: u64,
    /// A receive in progress.
    timer: Option<Timer>,
    /// Stream and sequence number of the packet that this subscriber returned last.
    returned: Option<(u64, u64)>,
    /// Kills up to this number lie before the last packet.
    kills: u64,
}

impl<'a, 'd> Checker<'a, 'd> {
    pub(crate) fn new(context: &'d mut Context<'a>) -> Self {
        let (row, durable) = match context.assignment.role {
            Role::Durable(name) => (name, Some(&context.book.durables[name])),
            _ => (context.assignment.row, None),
        };
        Self { context, row, durable, ordinal: 0, timer: None, returned: None, kills: 0 }
    }

    pub(crate) fn reader(&self) -> &'a Reader {
        &self.context.book.readers[self.row]
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable.is_some()
    }

    fn book(&self) -> &'a Book {
        self.context.book
    }

    fn fault(&self, fault: Fault, observed: &Observed, details: u64) {
        self.book().record_fault(fault, self.row, observed.stream, [observed.sequence, details]);
    }

    // ── Joining ────────────────────────────────────────────────────────────────────────────────

    /// Records the packets sent so far: only history may deliver them. A durable name joins once.
    pub(crate) fn before_joining(&self) {
        let (reader, book) = (self.reader(), self.book());
        if reader.begun.get() != 0 {
            return;
        }
        reader.kills_before.set(book.kills.get());
        for (cell, stream) in book.cells[self.row].iter().zip(&book.workers[..book.in_use()]) {
            cell.low.set(stream.returned.get());
        }
        reader.begun.set(now());
    }

    /// Records the packets begun so far: all packets begun later must arrive.
    pub(crate) fn after_joining(&mut self) {
        let (reader, book) = (self.reader(), self.book());
        if reader.joined.get() == 0 {
            for (cell, stream) in book.cells[self.row].iter().zip(&book.workers[..book.in_use()]) {
                cell.high.set(stream.begun.get());
            }
            reader.joined.set(1);
        }
        self.context.own().joined.set(1);
        if let Some(durable) = self.durable {
            durable.vacant.end();
            self.resume_durable(durable);
        }
    }

    /// Starts where the predecessor released its packets. If the predecessor was killed during a
    /// release, the first packet tells whether the release took effect.
    fn resume_durable(&mut self, durable: &Durable) {
        let seen = durable.seen.get();
        self.ordinal = durable.released.get();
        if seen > 0 {
            // The predecessor may have died between the log entry and the cell update.
            let (stream, sequence) = durable.packet(seen - 1);
            self.record_position(stream as usize & 0xff, sequence);
        }
    }

    // ── Receiving ──────────────────────────────────────────────────────────────────────────────

    /// Begins a receive, or continues one.
    pub(crate) fn begin(&mut self, packets: u64) {
        if self.timer.is_none() {
            self.timer = Some(self.context.begin(Operation::Receive));
        }
        if let Some(durable) = self.durable {
            let from = self.ordinal.max(durable.releasing.get());
            durable.handed.raise(from + packets);
        }
    }

    /// Ends a receive that returned a packet or a report.
    pub(crate) fn end(&mut self, observed: Option<&Observed>) {
        if let Some(timer) = self.timer.take() {
            self.context.end(timer, observed);
        }
    }

    /// Ends a receive while no publisher was joined.
    pub(crate) fn end_idle(&mut self) {
        self.timer = None;
        self.context.end_idle();
    }

    /// Returns true if the next packet may be a redelivery, which a batch does not flag.
    ///
    /// A release that a kill interrupted counts as not done until the first packet resolves it.
    pub(crate) fn expects_redelivery(&self) -> bool {
        self.returned.is_some()
            || self.durable.is_some_and(|durable| self.ordinal < durable.handed.get())
    }

    /// Checks a received packet. `flag` is its redelivery flag, if it has one.
    pub(crate) fn check(&mut self, observed: &Observed, flag: Option<bool>) {
        if !observed.is_intact || observed.stream != self.stream_of(observed) {
            return self.fault(Fault::Torn, observed, 0);
        }
        if let Some(durable) = self.durable {
            return self.check_durable(durable, observed, flag);
        }
        match self.returned.take() {
            Some(expected) if expected == (observed.stream, observed.sequence) => {
                self.reader().redelivered.add(1);
                if flag == Some(false) {
                    self.fault(Fault::Duplicate, observed, 1);
                }
            }
            _ => {
                if flag == Some(true) {
                    self.fault(Fault::WrongFlag, observed, 0);
                }
                self.check_new(observed);
            }
        }
    }

    fn stream_of(&self, observed: &Observed) -> u64 {
        stream(self.context.assignment.phase, self.context.assignment.ring, observed.row())
    }

    fn check_new(&mut self, observed: &Observed) {
        self.reader().received.add(1);
        if self.kills < self.book().kills.get() {
            self.pass_dead_streams(observed.sent_at);
        }
        let cell = &self.book().cells[self.row][observed.row()];
        let (first, next) = (cell.first.get(), cell.next.get());
        if first != 0 && observed.sequence < next {
            return self.fault(Fault::Duplicate, observed, next);
        }
        if first != 0 && observed.sequence > next && !self.context.assignment.kind().drops() {
            self.fault(Fault::Gap, observed, next);
        }
        if observed.sequence < cell.low.get() {
            self.reader().early.add(1);
        }
        if observed.sequence >= cell.high.get() {
            self.reader().is_past_join.set(1);
        }
        self.record_position(observed.row(), observed.sequence);
    }

    /// Marks dead publishers' streams as complete: this packet's send began after they were reaped,
    /// so it follows all of their packets.
    fn pass_dead_streams(&mut self, sent_at: u64) {
        while self.kills < self.book().kills.get() {
            let (_, row) = self.book().kill(self.kills);
            let reaped_at = self.book().workers[row].reaped_at.get();
            if row != NO_ROW && (reaped_at == 0 || reaped_at >= sent_at) {
                return;
            }
            let cell = &self.book().cells[self.row][row];
            let missed_none = cell.reports_at_last.get() == self.reader().reports.get();
            cell.is_final.set(u64::from(cell.first.get() != 0 && missed_none));
            self.kills += 1;
        }
    }

    fn record_position(&self, stream: usize, sequence: u64) {
        let cell = &self.book().cells[self.row][stream];
        let reports = self.reader().reports.get();
        if cell.first.get() == 0 {
            cell.reports_at_first.set(reports);
            cell.first.set(sequence + 1);
        }
        cell.reports_at_last.set(reports);
        cell.next.raise(sequence + 1);
    }

    fn check_durable(&mut self, durable: &Durable, observed: &Observed, flag: Option<bool>) {
        let packet = (observed.stream, observed.sequence);
        self.resolve_release(durable, packet);
        let may_be_handed = self.ordinal < durable.handed.get();
        if self.ordinal < durable.seen.get() {
            if packet != durable.packet(self.ordinal) {
                self.fault(Fault::WrongStart, observed, durable.packet(self.ordinal).1);
            }
            self.reader().redelivered.add(1);
            if flag != Some(true) {
                self.fault(Fault::Duplicate, observed, self.ordinal);
            }
        } else {
            self.returned = None;
            match flag {
                Some(true) if !may_be_handed => {
                    self.fault(Fault::WrongFlag, observed, self.ordinal)
                }
                // Handed out to a predecessor that was killed before it recorded the packet.
                Some(true) => drop(self.reader().redelivered.add(1)),
                _ => {}
            }
            durable.enter(packet.0, packet.1);
            self.check_new(observed);
        }
        self.ordinal += 1;
        if flag == Some(false) {
            // No later packet has been handed out.
            durable.handed.set(self.ordinal);
        }
    }

    /// Resolves a release that a kill interrupted: the first packet shows whether it took effect.
    fn resolve_release(&mut self, durable: &Durable, packet: (u64, u64)) {
        let (released, releasing) = (durable.released.get(), durable.releasing.get());
        if self.ordinal == released && releasing > released {
            if packet != durable.packet(released) {
                self.ordinal = releasing;
            }
            durable.releasing.set(self.ordinal);
            durable.released.set(self.ordinal);
        }
    }

    /// Records that a release of all packets taken so far begins.
    pub(crate) fn before_release(&self) {
        if let Some(durable) = self.durable {
            durable.releasing.set(self.ordinal);
        }
    }

    pub(crate) fn after_release(&self) {
        if let Some(durable) = self.durable {
            durable.released.set(self.ordinal);
        }
    }

    /// Records that the packet just taken was returned and will be delivered again.
    pub(crate) fn record_return(&mut self, observed: &Observed) {
        self.returned = Some((observed.stream, observed.sequence));
        if self.durable.is_some() {
            self.ordinal -= 1;
        }
    }

    /// Records a report of missed packets.
    pub(crate) fn miss(&mut self, missed: Missed) {
        let reader = self.reader();
        self.returned = None;
        reader.missed.add(missed.packets);
        reader.inexact.add(u64::from(!missed.exact));
        reader.reports.add(1);
        reader.late_reports.add(reader.is_past_join.get());
    }
}

/// Packets received by a cloned endpoint: by stream, the last sequence number plus one.
#[derive(Debug, Default)]
pub(crate) struct CloneChecker(HashMap<u64, u64>);

impl CloneChecker {
    /// Checks a packet. On a ring that blocks, no packet of its stream may be missing before it.
    pub(crate) fn check(&mut self, checker: &Checker<'_, '_>, observed: &Observed) {
        if !observed.is_intact || observed.stream != checker.stream_of(observed) {
            return checker.fault(Fault::Torn, observed, 1);
        }
        let known = checker.book().cells[checker.row][observed.row()].next.get();
        let next = self.0.entry(observed.stream).or_insert(known);
        if observed.sequence < *next {
            checker.fault(Fault::Duplicate, observed, *next);
        } else if observed.sequence > *next
            && *next > 0
            && !checker.context.assignment.kind().drops()
        {
            checker.fault(Fault::Gap, observed, *next);
        }
        *next = observed.sequence + 1;
    }
}
