//! Other takes than that of the next packet, whatever it is: a packet of one length and type,
//! batches, and skipping to the newest packet.
//!
//! The packets of a batch are in flight together, and are released together. A batch whose packets
//! have all one length and type, in one piece of the ring, is a run: its number of packets tells
//! where each of them is. The packets of other batches are listed.
//!
//! The scan to the newest packet reads the header of each committed packet from the cursor on. It
//! ends at the first position without a packet: an open claim is never skipped, because its packet
//! is received in its order, before the packets that are committed behind it. A scan takes one lap
//! at most: the cursor gates while it runs.
//!
//! One store moves the cursor over all skipped packets. It equals a release at the newest packet
//! that is followed by a pin, so no other process sees a state that a receive does not have.

use super::Reader;
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::claim::pass_probe;
use crate::ring::cursor::{Cursor, Taken};
use crate::ring::gate::PIN;
use crate::ring::slot::{self, Descriptor, Kind, SlotState};
use crate::sync::Ordering;

impl Reader {
    /// Fast path of [`next_fast`](Cursor::next_fast), for a reader that expects archives of one
    /// length and type. Returns false if nothing was taken, for any reason.
    #[inline(always)]
    pub(crate) fn take_expected(&mut self, expected: Descriptor) -> bool {
        if self.held > 0 || self.pins {
            return false;
        }
        // Before the stamp is loaded: the compiler loads nothing twice then.
        let (at, span) = (self.at, expected.span());
        let slot = self.memory.slot(at.position);
        if !slot::has_stamp(slot, at) {
            return false;
        }
        failpoint(Failpoint::ReceiveLook);
        let Some(descriptor) = slot::expected_data(slot, expected) else { return false };
        if span > 1 && !self.geometry.holds(at.position, span) {
            return false;
        }
        self.read_ahead.fetch(&self.memory, at.position);
        failpoint(Failpoint::Receive);
        (self.held, self.first) = (span, descriptor);
        if !self.is_plain {
            self.record_taken();
        }
        true
    }

    /// Out of line: few readers are durable, and [`take_expected`](Self::take_expected) is inlined
    /// into its callers.
    #[inline(never)]
    fn record_taken(&self) {
        self.record_end(self.range().end);
    }

    /// After `first` was taken: also takes the packets behind it, as long as they are `wanted`, up
    /// to `most` in all.
    #[inline]
    pub(crate) fn take_more(
        &mut self,
        first: Taken,
        most: usize,
        wanted: impl Fn(&Descriptor) -> bool,
    ) {
        debug_assert_eq!(self.in_flight(), Some(first));
        self.run = 0;
        if self.is_plain && wanted(&first.descriptor) && self.take_run(most as u64) {
            return;
        }
        let list = &mut self.list;
        list.clear();
        list.push(first);
        let mut void = 0;
        let mut at = self.at.to(&self.memory, self.at.position + self.held);
        while list.len() < most {
            let found = slot::inspect(&self.memory, &self.geometry, at);
            let SlotState::Packet(descriptor) = found else { break };
            self.read_ahead.fetch(&self.memory, at.position);
            if descriptor.kind() == Kind::Data {
                if !wanted(&descriptor) {
                    break;
                }
                list.push(Taken { position: at.position, descriptor });
            } else {
                if descriptor == Descriptor::PROBE {
                    pass_probe(&self.memory, self.entry, at.position, &mut self.sampled_below);
                }
                void += descriptor.span();
            }
            at.go(&self.memory, at.position + descriptor.span());
        }
        self.held = at.position - self.at.position;
        (self.more, self.void) = (list.len() as u64 - 1, void);
        // The delivery of `first` was counted when it was taken. Those of the others are not
        // counted: a batch has no verb that reports them.
        self.record_end(self.range().end);
    }

    /// After the first packet was taken: also takes those behind it with the same descriptor, up to
    /// `most` in all. Returns false, and takes none, if a batch would have other packets, too.
    #[inline]
    fn take_run(&mut self, most: u64) -> bool {
        let (first, span) = (self.at.position, self.held);
        let piece = self.geometry.piece_end(first);
        let mut at = self.at;
        let mut count = 1;
        let is_whole = loop {
            at.position += span;
            if count == most {
                break true;
            }
            if at.position + span > piece {
                // A batch that reaches the end of the memory goes on at its beginning.
                let next = self.at.to(&self.memory, at.position);
                break !slot::is_stamped(&self.memory, next);
            }
            let slot = self.memory.slot(at.position);
            if !slot::has_stamp(slot, at) {
                break true;
            }
            if !slot::has_descriptor(slot, self.first) {
                break false;
            }
            self.read_ahead.fetch(&self.memory, at.position);
            count += 1;
        };
        if is_whole {
            self.run = count;
            self.held = count * span;
            (self.more, self.void) = (count - 1, 0);
        }
        is_whole
    }

    /// The first packet in flight and the number of packets, if they are a run.
    #[inline]
    pub(in crate::ring) fn run(&self) -> Option<(Taken, u64)> {
        // After a run was released and a packet was taken: true if both are of one packet.
        let is_run = self.run > 0 && self.held == self.run * self.first.span();
        is_run.then_some((Taken { position: self.at.position, descriptor: self.first }, self.run))
    }

    /// The packets of the last batch that was no run.
    #[cfg(not(loom))]
    #[inline]
    pub(in crate::ring) fn list(&self) -> &[Taken] {
        &self.list
    }

    /// Keeps the first `count` packets of the batch in flight: the next take finds the others.
    #[cfg(not(loom))]
    pub(in crate::ring) fn keep_first(&mut self, count: usize) {
        if self.run().is_some() {
            return self.keep_until(self.at.position + count as u64 * self.first.span());
        }
        let Some(next) = self.list.get(count) else { return };
        self.keep_until(next.position);
        self.list.truncate(count);
    }

    /// Returns true if the packets of the list, at least one, are in flight.
    #[cfg(not(loom))]
    pub(in crate::ring) fn holds_list(&self) -> bool {
        let (held, list) = (self.range(), &self.list);
        self.run().is_none()
            && list.first().is_some_and(|first| held.start <= first.position)
            && list.last().is_some_and(|last| last.end() <= held.end)
    }

    /// Takes the packets from `end` on no longer: the next take finds them again. `end` is a
    /// boundary between packets in flight.
    pub(crate) fn keep_until(&mut self, end: u64) {
        let held = self.range();
        if held.start + self.first.span() <= end && end < held.end {
            let is_run = self.run().is_some();
            self.held = end - held.start;
            if is_run {
                self.run = self.held / self.first.span();
                self.more = self.run - 1;
            } else {
                self.measure_batch();
            }
            self.record_end(end);
        }
    }
}

impl Reader {
    /// After a packet was taken: takes the newest packet of the committed run instead, and releases
    /// those before it. Returns their number.
    pub(crate) fn skip_to_newest(&mut self) -> u64 {
        debug_assert!(self.holds(), "no packet is in flight");
        let lap_end = self.at.position + self.memory.capacity();
        let (mut newest, mut skipped) = ((self.at, self.first), 0);
        let mut at = self.at.to(&self.memory, self.range().end);
        while at.position < lap_end {
            let found = slot::inspect(&self.memory, &self.geometry, at);
            let SlotState::Packet(descriptor) = found else { break };
            self.read_ahead.fetch(&self.memory, at.position);
            if descriptor.kind() == Kind::Data {
                (newest, skipped) = ((at, descriptor), skipped + 1);
            }
            at.go(&self.memory, at.position + descriptor.span());
        }
        if skipped > 0 {
            self.count_skipped(skipped, newest.0.position - self.at.position);
            failpoint(Failpoint::Release);
            (self.at, self.first) = newest;
            self.held = self.first.span();
            let pin = if self.pins { PIN } else { 0 };
            // As in `release`. The pin stays: no other process moves the cursor meanwhile.
            self.own().cursor.store(self.at.position | pin, Ordering::Release);
        }
        skipped
    }

    /// Ends the flight of the packet that was taken, as if it had not been: it is no redelivery.
    pub(crate) fn put_down(&mut self) {
        if self.held > 0 {
            self.held = 0;
            self.unpin();
        }
    }
}
