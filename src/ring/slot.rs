//! The two header words of a packet's first slot.
//!
//! ```text
//!  0        8           12     13     14      16                               64
//!  ┌────────┬───────────┬──────┬──────┬───────┬────────────────────────────────┐
//!  │ stamp  │ len       │ type │ kind │ tag  │ the archive's first 48 bytes   │ → next slots
//!  │ u64    │ u32       │ u8   │ u8   │ u16   │                                │
//!  └────────┴───────────┴──────┴──────┴───────┴────────────────────────────────┘
//!             └─────── descriptor, u64 ────┘
//! ```
//!
//! A slot goes through these states, seen from a reader at its position:
//!
//! ```text
//!  anything but the stamp ──claim, fill──► the same ──stamp (release)──► committed ──gate──► next lap
//! ```
//!
//! The descriptor is one atomic word, so that an evictor or a recoverer that looks at a slot
//! which is being rewritten reads something, checks it, and finds out by a later compare-and-swap
//! that it was nothing.
//!
//! The inner slots of a packet hold payload where these words lie in others. So a reader whose
//! position comes there a lap later looks at payload: the salt keeps it from taking that for a
//! stamp, by 2⁻⁶⁴, as long as no payload can be made to match. Nobody is shown a salt. The content
//! of a reservation is left over from earlier packets, stamps among it; but each lap has a salt of
//! its own ([`spot`](super::spot)), and those of this lap and later ones do not follow.
//!
//! In a shared ring there are laps that are not over: another claim under way can lie behind this
//! one by less than a lap, and what is left over here shows the stamps of *its* lap. If its owner
//! dies, `recover` looks for stamps within that claim, where its payload is. So there a
//! reservation shows no stamps at all ([`clear_stamp`]): a store to each of its slots.
//!
//! A subscriber of a `DropOldest` ring that was evicted may poll the stamp of a slot into whose
//! bytes a publisher is just copying a payload. What it reads then is one aligned word of
//! whatever was there; the salt makes a match a matter of 2⁻⁶⁴, and a match alone gives nothing
//! out: the pin, a compare-and-swap on the cursor, fails.

use super::geometry::{Geometry, span};
use super::spot::StampedPosition;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::{HEADER, MAX_TYPES, SLOT};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An archive of some type.
    Data,
    /// Nothing: padding, an aborted claim, or the claim of a publisher that died.
    Void,
}

/// The header of a packet but for its stamp, as the word that it is: it is copied as one, and not in
/// pieces that would have to be put together again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor(u64);

impl Descriptor {
    /// An archive of `len` bytes.
    #[inline]
    pub(crate) fn data(len: usize, type_index: u16) -> Self {
        debug_assert!(usize::from(type_index) < MAX_TYPES);
        Self(u64::from(len as u32) | u64::from(type_index) << 32)
    }

    /// The same with a mark, which means nothing to a ring: whoever marks packets knows what.
    #[inline]
    pub(crate) fn with_tag(self, tag: u16) -> Self {
        Self(self.0 | u64::from(tag) << 48)
    }

    /// Nothing, over `slots` slots.
    pub(crate) fn void(slots: u64) -> Self {
        let len = slots * SLOT as u64 - HEADER as u64;
        Self(u64::from(len as u32) | 1 << 40)
    }

    /// `None`: a kind that this version does not know.
    #[inline]
    fn from_word(word: u64) -> Option<Self> {
        (kind_of(word) <= 1).then_some(Self(word))
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

    /// What it was marked with; 0: nothing.
    #[inline]
    pub(crate) fn tag(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// What it is.
    #[inline]
    pub(crate) fn kind(self) -> Kind {
        if kind_of(self.0) == 0 { Kind::Data } else { Kind::Void }
    }

    /// Slots that the packet takes.
    #[inline]
    pub(crate) fn span(self) -> u64 {
        span(self.len() as usize)
    }
}

#[inline]
fn kind_of(word: u64) -> u8 {
    (word >> 40) as u8
}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Descriptor");
        out.field("kind", &self.kind()).field("len", &self.len());
        out.field("type_index", &self.type_index()).field("tag", &self.tag()).finish()
    }
}

/// What lies at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// No packet has been committed here yet.
    Unstamped,
    /// This packet.
    Packet(Descriptor),
    /// A stamp, and a header that cannot be.
    Corrupt,
}

/// Whether a packet is committed there.
#[inline]
pub(crate) fn is_stamped(memory: &RingMemory, spot: StampedPosition) -> bool {
    // Pairs with the release in `commit`: who sees the stamp sees header and payload.
    memory.slot(spot.position).stamp.load(Ordering::Acquire) == spot.stamp()
}

/// What lies there, checked: its span is within the ring and does not wrap.
#[inline]
pub(crate) fn inspect(
    memory: &RingMemory,
    geometry: &Geometry,
    spot: StampedPosition,
) -> SlotState {
    if !is_stamped(memory, spot) {
        return SlotState::Unstamped;
    }
    header(memory, geometry, spot.position)
}

/// The data packet that is stamped at `position`, checked as by [`header`], which says what else
/// lies there.
#[inline(always)]
pub(crate) fn data(memory: &RingMemory, geometry: &Geometry, position: u64) -> Option<Descriptor> {
    // The acquire on the stamp orders this load.
    let word = memory.slot(position).descriptor.load(Ordering::Relaxed);
    // Neither void, nor of a kind that this version does not know.
    if kind_of(word) != 0 {
        return None;
    }
    let descriptor = Descriptor(word);
    if !geometry.holds(position, descriptor.span()) {
        return unsound();
    }
    Some(descriptor)
}

#[cold]
fn unsound() -> Option<Descriptor> {
    None
}

/// The header of a packet that is stamped, checked.
#[inline]
pub(crate) fn header(memory: &RingMemory, geometry: &Geometry, position: u64) -> SlotState {
    // The acquire on the stamp orders this load.
    let word = memory.slot(position).descriptor.load(Ordering::Relaxed);
    match Descriptor::from_word(word) {
        Some(descriptor) if geometry.holds(position, descriptor.span()) => {
            SlotState::Packet(descriptor)
        }
        _ => SlotState::Corrupt,
    }
}

/// Commits the packet that lies there: its header, and, behind `between`, its stamp.
#[inline(always)]
pub(crate) fn commit(
    memory: &RingMemory,
    spot: StampedPosition,
    descriptor: Descriptor,
    between: Failpoint,
) {
    let (slot, stamp) = (memory.slot(spot.position), spot.stamp());
    slot.descriptor.store(descriptor.0, Ordering::Relaxed);
    failpoint(between);
    // Pairs with the acquire in `is_stamped`: who sees the stamp sees header and payload.
    slot.stamp.store(stamp, Ordering::Release);
}

/// Overwrites whatever lies where the stamp of a packet at `position` would be: a slot of a claim,
/// though not its first.
pub(crate) fn clear_stamp(memory: &RingMemory, position: u64) {
    memory.slot(position).stamp.store(0, Ordering::Relaxed);
}

/// The end of the run of committed packets that starts at `from`, no further than the first
/// boundary at or above `to`, and the data packets in it. More than a lap is never walked over: so
/// far nothing committed lies behind one that is gated.
///
/// What it reads may be overwritten meanwhile: the caller finds out by a compare-and-swap on the
/// word that protected `from`, or holds what protects it.
pub(crate) fn scan_committed(
    memory: &RingMemory,
    geometry: &Geometry,
    from: u64,
    to: u64,
) -> (u64, u64) {
    let to = to.min(from.saturating_add(geometry.capacity));
    let (mut spot, mut packets) = (StampedPosition::at(memory, from), 0);
    while spot.position < to {
        let SlotState::Packet(descriptor) = inspect(memory, geometry, spot) else { break };
        packets += u64::from(descriptor.kind() == Kind::Data);
        spot.go(memory, spot.position + descriptor.span());
    }
    (spot.position, packets)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_one_word_and_back() {
        for descriptor in [
            Descriptor::data(0, 0),
            Descriptor::data(usize::from(u16::MAX) * 1000, 63),
            Descriptor::data(7, 1).with_tag(u16::MAX),
            Descriptor::void(1),
            Descriptor::void(1 << 26),
        ] {
            assert_eq!(Descriptor::from_word(descriptor.0), Some(descriptor));
        }
        assert_eq!(Descriptor::void(1 << 26).span(), 1 << 26);
        assert_eq!(Descriptor::void(1 << 26).kind(), Kind::Void);
        let with_tag = Descriptor::data(u32::MAX as usize, 63).with_tag(0x8001);
        assert_eq!((with_tag.len(), with_tag.type_index(), with_tag.tag()), (u32::MAX, 63, 0x8001));
        assert_eq!(with_tag.kind(), Kind::Data);
        assert_eq!(Descriptor::from_word(2 << 40), None);
        assert_eq!(Descriptor::from_word(1 << 47), None);
    }
}
