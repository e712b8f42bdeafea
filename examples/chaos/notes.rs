//! What a subscriber checks at once: each packet against those before it.
//!
//! What can only be known at the end of a phase, it leaves in the ledger for `audit`.

use crate::desk::{Desk, Operation, Turn};
use crate::ledger::{Book, Durable, Fault, NOBODY, Reader, now};
use crate::parcel::{Said, stream};
use crate::post::Role;
use packetring::Missed;
use std::collections::HashMap;

/// The notes of a subscriber.
pub(crate) struct Notes<'a, 'd> {
    pub(crate) desk: &'d mut Desk<'a>,
    /// Its row in the ledger: a durable name's, or its own.
    row: usize,
    durable: Option<&'a Durable>,
    /// Of a durable one: the ordinal of the next packet.
    ordinal: u64,
    /// A receive that has not brought anything yet.
    turn: Option<Turn>,
    /// The next packet was put back by this very subscriber.
    unreceive: Option<(u64, u64)>,
    /// Kills that it came past.
    kills: u64,
}

impl<'a, 'd> Notes<'a, 'd> {
    pub(crate) fn new(desk: &'d mut Desk<'a>) -> Self {
        let (row, durable) = match desk.post.role {
            Role::Durable(name) => (name, Some(&desk.book.durables[name])),
            _ => (desk.post.row, None),
        };
        Self { desk, row, durable, ordinal: 0, turn: None, unreceive: None, kills: 0 }
    }

    pub(crate) fn reader(&self) -> &'a Reader {
        &self.desk.book.readers[self.row]
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable.is_some()
    }

    fn book(&self) -> &'a Book {
        self.desk.book
    }

    fn fault(&self, fault: Fault, said: &Said, says: u64) {
        self.book().enter_fault(fault, self.row, said.stream, [said.sequence, says]);
    }

    // ── Joining ────────────────────────────────────────────────────────────────────────────────

    /// What was sent until now must not come, but for history. A durable name joins once.
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

    /// What is begun from now on must come.
    pub(crate) fn after_joining(&mut self) {
        let (reader, book) = (self.reader(), self.book());
        if reader.joined.get() == 0 {
            for (cell, stream) in book.cells[self.row].iter().zip(&book.workers[..book.in_use()]) {
                cell.high.set(stream.begun.get());
            }
            reader.joined.set(1);
        }
        self.desk.own().joined.set(1);
        if let Some(durable) = self.durable {
            durable.vacant.end();
            self.take_over(durable);
        }
    }

    /// A successor goes on where its predecessor let go: if it was killed while it did, the first
    /// packet tells whether it had.
    fn take_over(&mut self, durable: &Durable) {
        let seen = durable.seen.get();
        self.ordinal = durable.released.get();
        if seen > 0 {
            // Entered, perhaps, and not noted any more.
            let (stream, sequence) = durable.packet(seen - 1);
            self.note_place(stream as usize & 0xff, sequence);
        }
    }

    // ── Receiving ──────────────────────────────────────────────────────────────────────────────

    /// A receive begins, or goes on.
    pub(crate) fn begin(&mut self, packets: u64) {
        if self.turn.is_none() {
            self.turn = Some(self.desk.begin(Operation::Receive));
        }
        if let Some(durable) = self.durable {
            let from = self.ordinal.max(durable.releasing.get());
            durable.handed.raise(from + packets);
        }
    }

    /// It brought something.
    pub(crate) fn end(&mut self, said: Option<&Said>) {
        if let Some(turn) = self.turn.take() {
            self.desk.end(turn, said);
        }
    }

    /// There was nobody to bring anything.
    pub(crate) fn end_idle(&mut self) {
        self.turn = None;
        self.desk.end_idle();
    }

    /// Whether the next packet may be one that comes again, which a batch does not show.
    pub(crate) fn expects_again(&self) -> bool {
        let handed =
            |durable: &Durable| self.ordinal.max(durable.releasing.get()) < durable.handed.get();
        self.unreceive.is_some() || self.durable.is_some_and(handed)
    }

    /// Checks a packet in hand; `flag`: whether it is said to come again, if that is said.
    pub(crate) fn take(&mut self, said: &Said, flag: Option<bool>) {
        if !said.is_whole || said.stream != self.stream_of(said) {
            return self.fault(Fault::Torn, said, 0);
        }
        if let Some(durable) = self.durable {
            return self.take_durably(durable, said, flag);
        }
        match self.unreceive.take() {
            Some(expected) if expected == (said.stream, said.sequence) => {
                self.reader().redelivered.add(1);
                if flag == Some(false) {
                    self.fault(Fault::Again, said, 1);
                }
            }
            _ => {
                if flag == Some(true) {
                    self.fault(Fault::WrongFlag, said, 0);
                }
                self.take_new(said);
            }
        }
    }

    fn stream_of(&self, said: &Said) -> u64 {
        stream(self.desk.post.phase, self.desk.post.ring, said.row())
    }

    fn take_new(&mut self, said: &Said) {
        self.reader().received.add(1);
        if self.kills < self.book().kills.get() {
            self.come_past_deaths(said.sent_at);
        }
        let cell = &self.book().cells[self.row][said.row()];
        let (first, next) = (cell.first.get(), cell.next.get());
        if first != 0 && said.sequence < next {
            return self.fault(Fault::Again, said, next);
        }
        if first != 0 && said.sequence > next && !self.desk.post.kind().drops() {
            self.fault(Fault::Gap, said, next);
        }
        if said.sequence < cell.low.get() {
            self.reader().early.add(1);
        }
        if said.sequence >= cell.high.get() {
            self.reader().is_past_join.set(1);
        }
        self.note_place(said.row(), said.sequence);
    }

    /// A packet that was begun after a publisher was dead lies behind all of that one's.
    fn come_past_deaths(&mut self, sent_at: u64) {
        while self.kills < self.book().kills.get() {
            let (_, row) = self.book().kill(self.kills);
            let reaped_at = self.book().workers[row].reaped_at.get();
            if row != NOBODY && (reaped_at == 0 || reaped_at >= sent_at) {
                return;
            }
            let cell = &self.book().cells[self.row][row];
            let missed_none = cell.reports_at_last.get() == self.reader().reports.get();
            cell.is_final.set(u64::from(cell.first.get() != 0 && missed_none));
            self.kills += 1;
        }
    }

    fn note_place(&self, stream: usize, sequence: u64) {
        let cell = &self.book().cells[self.row][stream];
        let reports = self.reader().reports.get();
        if cell.first.get() == 0 {
            cell.reports_at_first.set(reports);
            cell.first.set(sequence + 1);
        }
        cell.reports_at_last.set(reports);
        cell.next.raise(sequence + 1);
    }

    fn take_durably(&mut self, durable: &Durable, said: &Said, flag: Option<bool>) {
        let packet = (said.stream, said.sequence);
        self.find_place(durable, packet);
        let may_be_handed = self.ordinal < durable.handed.get();
        if self.ordinal < durable.seen.get() {
            if packet != durable.packet(self.ordinal) {
                self.fault(Fault::WrongStart, said, durable.packet(self.ordinal).1);
            }
            self.reader().redelivered.add(1);
            if flag != Some(true) {
                self.fault(Fault::Again, said, self.ordinal);
            }
        } else {
            self.unreceive = None;
            match flag {
                Some(true) if !may_be_handed => self.fault(Fault::WrongFlag, said, self.ordinal),
                // Handed out to somebody who was killed before he could say so.
                Some(true) => drop(self.reader().redelivered.add(1)),
                _ => {}
            }
            durable.enter(packet.0, packet.1);
            self.take_new(said);
        }
        self.ordinal += 1;
        if flag == Some(false) {
            // Nobody has had anything from here on.
            durable.handed.set(self.ordinal);
        }
    }

    /// A predecessor that was killed while it let go did so, or did not.
    fn find_place(&mut self, durable: &Durable, packet: (u64, u64)) {
        let (released, releasing) = (durable.released.get(), durable.releasing.get());
        if self.ordinal == released && releasing > released {
            if packet != durable.packet(released) {
                self.ordinal = releasing;
            }
            durable.releasing.set(self.ordinal);
            durable.released.set(self.ordinal);
        }
    }

    /// What was taken since is about to be let go of.
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

    /// The packet that was just taken goes back, to come again.
    pub(crate) fn unreceive(&mut self, said: &Said) {
        self.unreceive = Some((said.stream, said.sequence));
        if self.durable.is_some() {
            self.ordinal -= 1;
        }
    }

    /// Packets were missed.
    pub(crate) fn miss(&mut self, missed: Missed) {
        let reader = self.reader();
        self.unreceive = None;
        reader.missed.add(missed.packets);
        reader.inexact.add(u64::from(!missed.exact));
        reader.reports.add(1);
        reader.late_reports.add(reader.is_past_join.get());
    }
}

/// What another endpoint beside a subscriber got, by stream: one more than the last.
#[derive(Debug, Default)]
pub(crate) struct Beside(HashMap<u64, u64>);

impl Beside {
    /// Checks a packet of a ring that blocks: what came before it in its stream came.
    pub(crate) fn take(&mut self, notes: &Notes<'_, '_>, said: &Said) {
        if !said.is_whole || said.stream != notes.stream_of(said) {
            return notes.fault(Fault::Torn, said, 1);
        }
        let known = notes.book().cells[notes.row][said.row()].next.get();
        let next = self.0.entry(said.stream).or_insert(known);
        if said.sequence < *next {
            notes.fault(Fault::Again, said, *next);
        } else if said.sequence > *next && *next > 0 && !notes.desk.post.kind().drops() {
            notes.fault(Fault::Gap, said, *next);
        }
        *next = said.sequence + 1;
    }
}
