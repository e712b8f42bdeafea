//! Slots: the header of a packet, and the stamp that says that the packet is committed.
//!
//! ```text
//!  0        8           12     13           16                                64
//!  ┌────────┬───────────┬──────┬────────────┬────────────────────────────────┐
//!  │ stamp  │ len       │ type │ kind, tag  │ the archive's first 48 bytes   │ → next slots
//!  │ u64    │ u32       │ u8   │ u1, u23    │                                │
//!  └────────┴───────────┴──────┴────────────┴────────────────────────────────┘
//!             └────── descriptor, u64 ──────┘
//!
//!  stamp(position) = position + salt(lap)        lap = position / capacity
//!  salt(lap)       = SipHash-2-4(the ring's salt, lap)
//! ```
//!
//! States of a slot, seen by a reader at its position:
//!
//! ```text
//!  any other word ──claim, fill──► unstamped ──stamp (release)──► committed ──gate──► next lap
//! ```
//!
//! - **The stamp is stored last**, so a reader sees a packet as a whole or not at all. A position
//!   is never used twice, so nothing has to be cleared for the next lap. Only in a batch that its
//!   publisher did not finish are there stamps that nobody may see: they are erased
//!   ([`erase_stamps`]).
//! - **The descriptor is one atomic word.** An evictor or a recoverer may read a slot that is being
//!   rewritten. It checks the word that it reads, and a later compare-and-swap finds out that the
//!   word meant nothing.
//! - **The salt** protects a reader that comes, a lap later, to an inner slot of a longer packet,
//!   where payload lies. Payload matches a stamp with probability 2⁻⁶⁴ as long as no user can make
//!   it match, and no API shows the salt.
//! - **Each lap has its own salt.** The content of a reservation is left over from earlier packets
//!   and contains stamps of earlier laps. The stamps of this lap and later ones do not follow from
//!   them.
//! - **In a shared ring a reservation shows no stamps at all** ([`clear_stamp`]). Another claim
//!   under way can lie less than a lap behind this one, so left-over content shows stamps of *its*
//!   lap. If its owner dies, `recover` looks for stamps within that claim, where its payload is.
//!
//! An evicted subscriber of a `DropOldest` ring may poll the stamp of a slot while a publisher
//! copies payload into it. It reads one aligned word of whatever was there. A match has probability
//! 2⁻⁶⁴ and alone gives nothing out: the pin, a compare-and-swap on the cursor, fails. Within one
//! process this is a data race in the memory model, as in every sequence lock. It is one of those
//! that `.ci/tsan.suppressions` names (`docs/internals/verification.md`).

use super::geometry::{Geometry, span};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::{HEADER, MAX_TYPES, SLOT, Slot};
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};

/// A position, and the salt of its lap. The hash is computed once per lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StampedPosition {
    pub(crate) position: u64,
    salt: u64,
}

impl StampedPosition {
    /// A position anywhere. Computes a hash.
    #[cold]
    #[inline(never)]
    pub(crate) fn at(memory: &RingMemory, position: u64) -> Self {
        Self { position, salt: memory.salt(position) }
    }

    /// Another position. Computes a hash if it is in another lap.
    #[inline]
    pub(crate) fn to(mut self, memory: &RingMemory, position: u64) -> Self {
        self.go(memory, position);
        self
    }

    /// Moves to another position, as [`to`](Self::to).
    #[inline(always)]
    pub(crate) fn go(&mut self, memory: &RingMemory, position: u64) {
        if memory.is_one_lap(self.position, position) {
            self.position = position;
        } else {
            *self = Self::at(memory, position);
        }
    }

    /// Moves to another position of the same lap.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(super) fn go_in_lap(&mut self, memory: &RingMemory, position: u64) {
        debug_assert!(memory.is_one_lap(self.position, position));
        self.position = position;
    }

    /// The stamp of a packet that begins there.
    #[inline]
    pub(crate) fn stamp(self) -> u64 {
        self.position.wrapping_add(self.salt)
    }
}

/// Kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An archive.
    Data,
    /// No content: padding, an aborted claim, or the claim of a publisher that died.
    Void,
}

/// Bits of a tag.
pub(crate) const TAG_BITS: u32 = 23;
/// The bit of a void packet in a descriptor.
const VOID: u64 = 1 << 40;
/// The bit of a void packet that is a probe: the lowest one of the tag, which other void packets do
/// not have.
const PROBE: u64 = 1 << 41;

/// The header of a packet without its stamp, as one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor(u64);

impl Descriptor {
    /// The descriptor of an archive of `len` bytes.
    #[inline]
    pub(crate) fn data(len: usize, type_index: u16) -> Self {
        debug_assert!(usize::from(type_index) < MAX_TYPES);
        Self(u64::from(len as u32) | u64::from(type_index) << 32)
    }

    /// Adds a tag of 23 bits, which the ring does not interpret.
    #[inline]
    pub(crate) fn with_tag(self, tag: u32) -> Self {
        debug_assert!(tag < 1 << TAG_BITS);
        Self(self.0 | u64::from(tag) << 41)
    }

    /// The descriptor of a void packet of `slots` slots.
    pub(crate) fn void(slots: u64) -> Self {
        let len = slots * SLOT as u64 - HEADER as u64;
        Self(u64::from(len as u32) | VOID)
    }

    /// The descriptor of a probe: a void packet of one slot with a time (`ring::claim::probe`).
    pub(crate) const PROBE: Self = Self((SLOT - HEADER) as u64 | VOID | PROBE);

    /// The descriptor in a slot's word, if it equals this one but for the tag, which is 0 here.
    #[inline(always)]
    fn with_tag_of(self, word: u64) -> Option<Self> {
        let tag = word & !(u64::MAX >> TAG_BITS);
        (word ^ tag == self.0).then_some(Self(self.0 | tag))
    }

    /// The word in a slot.
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    #[inline]
    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// Bytes of the archive.
    #[inline]
    pub(crate) fn len(self) -> u32 {
        self.0 as u32
    }

    /// Index into the segment's type table.
    #[inline]
    pub(crate) fn type_index(self) -> u16 {
        u16::from((self.0 >> 32) as u8)
    }

    /// The tag; 0 without one.
    #[inline]
    pub(crate) fn tag(self) -> u32 {
        (self.0 >> 41) as u32
    }

    /// The kind.
    #[inline]
    pub(crate) fn kind(self) -> Kind {
        if self.0 & VOID == 0 { Kind::Data } else { Kind::Void }
    }

    /// Slots that the packet takes.
    #[inline]
    pub(crate) fn span(self) -> u64 {
        span(self.len() as usize)
    }
}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Descriptor");
        out.field("kind", &self.kind()).field("len", &self.len());
        out.field("type_index", &self.type_index()).field("tag", &self.tag()).finish()
    }
}

/// Result of an inspection of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// No packet has been committed here yet.
    Unstamped,
    /// This packet.
    Packet(Descriptor),
    /// A stamp with an invalid header.
    Corrupt,
}

/// Returns true if a packet is committed at the position.
#[inline]
pub(crate) fn is_stamped(memory: &RingMemory, at: StampedPosition) -> bool {
    has_stamp(memory.slot(at.position), at)
}

/// As [`is_stamped`], for the slot at the position.
#[inline(always)]
pub(crate) fn has_stamp(slot: &Slot, at: StampedPosition) -> bool {
    // Pairs with the release in `commit`: header and payload are seen.
    slot.stamp.load(Ordering::Acquire) == at.stamp()
}

/// Inspects the slot at a position. A packet's span was checked to lie in one piece of the ring.
#[inline]
pub(crate) fn inspect(memory: &RingMemory, geometry: &Geometry, at: StampedPosition) -> SlotState {
    if !is_stamped(memory, at) {
        return SlotState::Unstamped;
    }
    header(memory, geometry, at.position)
}

/// Fast path of [`header`]: the data packet that is stamped at `position`. `None`: `header` must
/// decide.
// Always: its caller is the receive path, and the result stays in registers.
#[inline(always)]
pub(crate) fn data(memory: &RingMemory, geometry: &Geometry, position: u64) -> Option<Descriptor> {
    // The acquire on the stamp orders this load.
    let word = memory.slot(position).descriptor.load(Ordering::Relaxed);
    if word & VOID != 0 {
        return None;
    }
    let descriptor = Descriptor(word);
    if !geometry.holds(position, descriptor.span()) {
        return too_long();
    }
    Some(descriptor)
}

/// The descriptor of a stamped slot, if it is `expected` but for the tag: one comparison tells that
/// the packet has data, and its type and length. The caller checks that it lies in one piece.
#[inline(always)]
pub(crate) fn expected_data(slot: &Slot, expected: Descriptor) -> Option<Descriptor> {
    // The acquire on the stamp orders this load.
    expected.with_tag_of(slot.descriptor.load(Ordering::Relaxed))
}

/// Returns true if a stamped slot has exactly this descriptor.
#[inline(always)]
pub(crate) fn has_descriptor(slot: &Slot, descriptor: Descriptor) -> bool {
    // The acquire on the stamp orders this load.
    slot.descriptor.load(Ordering::Relaxed) == descriptor.0
}

/// The tag in the slot at a position. It means nothing unless a data packet is stamped there.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn tag_at(memory: &RingMemory, position: u64) -> u32 {
    Descriptor(memory.slot(position).descriptor.load(Ordering::Relaxed)).tag()
}

/// Out of line, which tells the compiler that this branch is cold.
#[cold]
fn too_long() -> Option<Descriptor> {
    None
}

/// The header of the packet that is stamped at `position`, checked.
#[inline]
pub(crate) fn header(memory: &RingMemory, geometry: &Geometry, position: u64) -> SlotState {
    // The acquire on the stamp orders this load.
    let descriptor = Descriptor(memory.slot(position).descriptor.load(Ordering::Relaxed));
    if geometry.holds(position, descriptor.span()) {
        SlotState::Packet(descriptor)
    } else {
        SlotState::Corrupt
    }
}

/// Commits the packet at a position: stores its header, then its stamp.
#[inline(always)]
pub(crate) fn commit(
    memory: &RingMemory,
    at: StampedPosition,
    descriptor: Descriptor,
    between: Failpoint,
) {
    let (slot, stamp) = (memory.slot(at.position), at.stamp());
    slot.descriptor.store(descriptor.0, Ordering::Relaxed);
    failpoint(between);
    // Pairs with the acquire in `is_stamped`: header and payload are seen.
    slot.stamp.store(stamp, Ordering::Release);
}

/// Overwrites what could be taken for a stamp, in an inner slot of a claim.
pub(crate) fn clear_stamp(memory: &RingMemory, position: u64) {
    memory.slot(position).stamp.store(0, Ordering::Relaxed);
}

/// Erases the stamps behind `first` and below `end`, which is at most a lap above it: those that a
/// dead publisher left behind the unstamped first packet of a batch.
///
/// Only stamps of these positions are erased. So no reader has such a slot in flight: its packet
/// would be a lap older, with another stamp.
pub(crate) fn erase_stamps(memory: &RingMemory, first: u64, end: u64) {
    let at = StampedPosition::at(memory, first);
    // Pairs with the fence in `PassiveReader::copy`: an observer that copied such a 0 sees the
    // limit of the dead publisher, which this process saw with its entry.
    fence(Ordering::Release);
    for position in first + 1..end {
        if is_stamped(memory, at.to(memory, position)) {
            failpoint(Failpoint::EraseStamp);
            clear_stamp(memory, position);
        }
    }
}

/// Scans the run of committed packets that starts at `from`, up to the first boundary at or above
/// `to`. Returns its end, and the number of data packets in it. Scans one lap at most: nothing
/// committed lies further than that above a gated position.
///
/// The slots may be overwritten meanwhile. The caller finds out by a compare-and-swap on the word
/// that gates `from`, or holds what gates it.
pub(crate) fn scan_committed(
    memory: &RingMemory,
    geometry: &Geometry,
    from: u64,
    to: u64,
) -> (u64, u64) {
    let to = to.min(from.saturating_add(geometry.capacity));
    let (mut at, mut packets) = (StampedPosition::at(memory, from), 0);
    while at.position < to {
        let SlotState::Packet(descriptor) = inspect(memory, geometry, at) else { break };
        packets += u64::from(descriptor.kind() == Kind::Data);
        at.go(memory, at.position + descriptor.span());
    }
    (at.position, packets)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_one_word_and_back() {
        for descriptor in [
            Descriptor::data(0, 0),
            Descriptor::data(usize::from(u16::MAX) * 1000, 63),
            Descriptor::data(7, 1).with_tag((1 << TAG_BITS) - 1),
        ] {
            assert_eq!(descriptor.kind(), Kind::Data);
        }
        assert_eq!(Descriptor::void(1 << 26).span(), 1 << 26);
        assert_eq!(Descriptor::void(1 << 26).kind(), Kind::Void);
        let with_tag = Descriptor::data(u32::MAX as usize, 63).with_tag(0x40_8001);
        assert_eq!((with_tag.len(), with_tag.type_index()), (u32::MAX, 63));
        assert_eq!(with_tag.tag(), 0x40_8001);
        assert_eq!(with_tag.kind(), Kind::Data);
        assert_eq!((Descriptor::PROBE.kind(), Descriptor::PROBE.span()), (Kind::Void, 1));
        assert_ne!(Descriptor::PROBE, Descriptor::void(1));
    }
}
