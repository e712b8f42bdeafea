//! Skipping to the newest packet.
//!
//! The walk reads the header of each committed packet from the cursor on. It ends at the first
//! position without a packet: an open claim is never skipped, because its packet is received in
//! its order, before the packets that are committed behind it. A walk takes one lap at most: the
//! cursor gates while it runs.
//!
//! One store moves the cursor over all skipped packets. It equals a release at the newest packet
//! that is followed by a pin, so no other process sees a state that a receive does not have.

use super::Reader;
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::cursor::Cursor;
use crate::ring::gate::PIN;
use crate::ring::slot::{self, Kind, SlotState};
use crate::sync::Ordering;

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
