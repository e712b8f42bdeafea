//! A passive reader. It has no entry, takes no lock and stores nothing, so it holds no publisher
//! back, keeps no packet, and wakes nobody.
//!
//! Nothing keeps publishers from the slots that an observer reads. So it copies packets, and then
//! asks whether one of them may have been overwritten meanwhile:
//!
//! ```text
//!  publisher                                   observer
//!  ─────────                                   ────────
//!  limit in its entry := L    (release)        loads the stamp of position x   (acquire)
//!  fence                      (release)        copies the packet, word by word
//!  writes to slots below L                     fence                           (acquire)
//!                                              loads the limit of every publisher
//!                                              the copy counts if L ≤ x + capacity for all
//! ```
//!
//! - Slot x is used again at x + capacity. Only a publisher with a limit above that may do so.
//! - The two fences pair. An observer that copied one word of the next lap sees the limit that
//!   allowed it. Without the first fence it may not
//!   (`loom_observe_without_fence_takes_an_overwritten_packet`).
//! - A dead publisher's limit stays in its entry, and its successor does not lower it. So a claim
//!   that it had begun counts, too.
//!
//! Publishers raise their limits in steps, so the newer part of a ring can be copied at any time,
//! whatever the subscribers do.
//!
//! An observer that is overrun goes on at a packet boundary: a cursor or the tail. It knows how
//! many slots it skipped, and not how many packets they held.
//!
//! Within one process, the copy of a packet that is overwritten meanwhile is a data race in the
//! memory model, as in every sequence lock. The copy is made of atomic loads, and is thrown away.

use super::gate::position;
use super::geometry::{Geometry, clamp};
use super::slot::{self, Descriptor, Kind, SlotState, StampedPosition};
use crate::segment::layout::FARTHEST;
use crate::segment::settings::Settings;
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};

/// Most packets of a batch.
const MOST_PACKETS: usize = 256;
/// A batch with more bytes than that gets no further packet.
const ENOUGH_BYTES: usize = 256 << 10;

/// A packet that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketCopy {
    pub(crate) position: u64,
    pub(crate) descriptor: Descriptor,
    /// The first word of its bytes in the batch, in 16-byte words.
    start: usize,
}

/// Copies of packets. The allocations are used again.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    words: Vec<u128>,
    list: Vec<PacketCopy>,
}

/// Result of a look at a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Packets were copied, at least one.
    Packets,
    /// The observer was overrun and moved on over so many slots.
    Skipped(u64),
    /// No packet is there yet.
    Nothing,
    /// Invalid words in shared memory: the ring cannot be read any further.
    Corrupt,
}

/// Where an observer starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(loom, expect(unreachable_pub, reason = "`observe`, which exports it, is left out"))]
pub enum ObserveFrom {
    /// At the next packet.
    Now,
    /// At the oldest packet that a subscriber or consumer still has ahead, or that a newcomer would
    /// receive. Without such a packet as [`Now`](Self::Now).
    Backlog,
}

/// The place of an observer.
#[derive(Debug)]
pub(crate) struct PassiveReader {
    memory: RingMemory,
    geometry: Geometry,
    at: StampedPosition,
}

impl PassiveReader {
    pub(crate) fn new(memory: RingMemory, settings: &Settings, from: ObserveFrom) -> Self {
        let geometry = Geometry::of(settings);
        let at = StampedPosition::at(&memory, 0);
        let mut observer = Self { memory, geometry, at };
        let start = match from {
            ObserveFrom::Now => observer.tail(),
            ObserveFrom::Backlog => observer.boundary(observer.readable_from()),
        };
        observer.at.go(&observer.memory, start);
        observer
    }

    /// The position of the next packet.
    pub(crate) fn position(&self) -> u64 {
        self.at.position
    }

    /// The end of what publishers have claimed.
    pub(crate) fn tail(&self) -> u64 {
        // Pairs with the releases of the tail.
        clamp(self.memory.head().tail.load(Ordering::Acquire))
    }

    /// Copies the next packets. Void packets are passed over.
    pub(crate) fn copy(&mut self, copies: &mut Copies) -> Look {
        copies.clear();
        let first = self.at.position;
        let mut at = self.at;
        // One lap at most: more is not committed at one time.
        let end = first.saturating_add(self.geometry.capacity).min(FARTHEST);
        let (mut stop, mut void) = (SlotState::Unstamped, None);
        while at.position < end && copies.has_room() {
            stop = slot::inspect(&self.memory, &self.geometry, at);
            let SlotState::Packet(descriptor) = stop else { break };
            match descriptor.kind() {
                Kind::Data => copies.push(&self.memory, at.position, descriptor),
                Kind::Void => void = Some(at.position),
            }
            at.go(&self.memory, at.position + descriptor.span());
        }
        // Pairs with the fence in `Writer::raise`.
        fence(Ordering::Acquire);
        let readable_from = self.readable_from();
        if readable_from > first {
            let found = copies.list.iter().map(|copied| copied.position);
            let next = found.chain(void).filter(|&position| position >= readable_from).min();
            copies.clear();
            return self.skip(readable_from, next.filter(|&position| self.is_boundary(position)));
        }
        if stop == SlotState::Corrupt && copies.list.is_empty() {
            return Look::Corrupt;
        }
        self.at = at;
        if copies.list.is_empty() { Look::Nothing } else { Look::Packets }
    }

    /// As [`copy`](Self::copy). `None`: nothing is there, and nothing will come, as the ring was
    /// removed.
    #[cfg(not(loom))]
    pub(crate) fn copy_unless_removed(
        &mut self,
        copies: &mut Copies,
        is_removed: impl FnOnce() -> bool,
    ) -> Option<Look> {
        let look = self.copy(copies);
        if look != Look::Nothing || !is_removed() {
            return Some(look);
        }
        // Again: the last packets may have come after the first copy, and before the removal.
        Some(self.copy(copies)).filter(|look| *look != Look::Nothing)
    }

    /// Goes on at a packet boundary from `readable_from` on: at `found`, if there is one.
    fn skip(&mut self, readable_from: u64, found: Option<u64>) -> Look {
        let before = self.at.position;
        let next = found.unwrap_or_else(|| self.boundary(readable_from));
        if next < readable_from {
            // No publisher of this version claims a capacity beyond the tail.
            return Look::Corrupt;
        }
        self.at.go(&self.memory, next);
        Look::Skipped(next - before)
    }

    /// Returns true if a packet begins at a position where a stamp was seen, however it was found.
    /// A step over a slot that is being overwritten leads anywhere.
    ///
    /// A stamp marks a packet, unless it lies in a [batch](super::claim) whose first packet is not
    /// stamped. In an exclusive ring no step leads there. In a shared one the record of the claim
    /// covers it, until the batch is visible, or until the stamps of the dead are erased.
    fn is_boundary(&self, position: u64) -> bool {
        let used = self.memory.head().membership.publishers.load(Ordering::Relaxed) as usize;
        let is_claimed = self.memory.publishers().iter().take(used).any(|entry| {
            // Both pair with the releases of a claim, and the position with that which clears it.
            let start = entry.record.position.load(Ordering::Acquire);
            let len = entry.record.len.load(Ordering::Acquire);
            start <= position && position < start.saturating_add(len)
        });
        // Again: it may have been erased before the record was cleared.
        !is_claimed && slot::is_stamped(&self.memory, self.at.to(&self.memory, position))
    }

    /// The lowest position whose slot no publisher may write to.
    fn readable_from(&self) -> u64 {
        let used = self.memory.head().membership.publishers.load(Ordering::Relaxed) as usize;
        let entries = self.memory.publishers().iter().take(used);
        // Pairs with the release in `Writer::raise`: the tail behind it is seen.
        let limits = entries.map(|entry| entry.details.limit.load(Ordering::Acquire));
        limits.max().unwrap_or(0).saturating_sub(self.geometry.capacity)
    }

    /// The lowest known packet boundary from a position on.
    fn boundary(&self, from: u64) -> u64 {
        let head = self.memory.head();
        let used = head.membership.subscribers.load(Ordering::Relaxed) as usize;
        let entries = self.memory.subscribers().iter().take(used);
        // Pairs with the releases of the cursors: packets in front of them are seen.
        let cursors = entries.map(|entry| position(entry.cursor.load(Ordering::Acquire)));
        let oldest = (self.geometry.history > 0).then(|| head.oldest.load(Ordering::Acquire));
        let tail = self.tail();
        cursors.chain(oldest).filter(|&at| from <= at && at < tail).min().unwrap_or(tail)
    }
}

impl Copies {
    /// The packets, in ring order.
    pub(crate) fn list(&self) -> &[PacketCopy] {
        &self.list
    }

    fn clear(&mut self) {
        self.words.clear();
        self.list.clear();
    }

    fn has_room(&self) -> bool {
        self.list.len() < MOST_PACKETS && self.words.len() * size_of::<u128>() < ENOUGH_BYTES
    }

    fn push(&mut self, memory: &RingMemory, position: u64, descriptor: Descriptor) {
        let start = self.words.len();
        #[cfg(not(loom))]
        self.words.extend(memory.payload_words(position, descriptor.len() as usize));
        #[cfg(loom)]
        let _ = memory;
        self.list.push(PacketCopy { position, descriptor, start });
    }

    /// The bytes of a packet, aligned to 16.
    #[cfg(not(loom))]
    pub(crate) fn bytes(&self, copied: &PacketCopy) -> &[u8] {
        let len = copied.descriptor.len() as usize;
        let words = self.words.get(copied.start..).unwrap_or_default();
        let words = words.get(..len.div_ceil(size_of::<u128>())).unwrap_or_default();
        // SAFETY: initialized integers, as bytes.
        let bytes = unsafe { words.align_to::<u8>().1 };
        bytes.get(..len).unwrap_or_default()
    }
}
