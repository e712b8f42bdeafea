//! The cursor that a receiver reads through: a subscriber's own one ([`reader`](super::reader)), or
//! the shared one of a queue's consumers ([`consumer_group`](super::consumer_group)).
//!
//! Guarantee of both: a packet in flight is committed and gated. No publisher that keeps the
//! protocol writes to its slots until it is released.

use super::overflow::Missed;
use super::slot::Descriptor;
use crate::segment::entry::EntryId;
use crate::segment::settings::Settings;
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// A packet that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) position: u64,
    pub(crate) descriptor: Descriptor,
}

impl Taken {
    /// The position behind the packet.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.position + self.descriptor.span()
    }
}

/// Result of a search for the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This packet, in flight now.
    Taken(Taken),
    /// No packet yet.
    Nothing,
    /// The cursor was moved over packets that this subscriber will not get.
    Missed(Missed),
    /// Invalid words in shared memory: the ring cannot be read any further.
    Corrupt(Fault),
}

/// Words that no publisher and no subscriber of this version stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The header of a committed packet.
    Header,
    /// The cursor itself.
    Cursor,
}

/// Result of a search for packets that dead consumers had in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// There is none to adopt.
    None,
    /// A packet was adopted, or an invalid word of a dead consumer was cleared.
    Changed,
    /// As `Changed`, and another one is left.
    MoreLeft,
}

/// A cursor, and at most one packet or batch in flight.
///
/// # Safety
///
/// While the cursor is borrowed, no process that follows the protocol changes the bytes that
/// [`payload`](Self::payload) returned. They lie in slots, aligned to 16.
pub(crate) unsafe trait Cursor {
    /// True if consumers of a queue share the cursor.
    const IS_SHARED: bool;

    /// The ring.
    fn memory(&self) -> &RingMemory;

    /// Index of the endpoint's entry.
    fn entry(&self) -> usize;

    /// The cursor's position, as last seen.
    fn position(&self) -> u64;

    /// Returns true if a packet is committed at the cursor. Cheap, for spinning.
    fn is_stamped(&self) -> bool;

    /// Records that no packet is at the cursor yet. Returns true if the caller should back off
    /// before it looks again.
    fn miss(&mut self) -> bool {
        false
    }

    /// Returns true if [`next`](Self::next) would return anything but `Nothing`. Cheap, for
    /// waiting.
    fn is_ready(&self) -> bool;

    /// Returns true if slots at the cursor are claimed, committed or not.
    fn is_claimed(&self) -> bool;

    /// Returns true if another consumer may find a packet at a shared cursor now.
    fn has_more(&self) -> bool {
        false
    }

    /// Returns true if a packet or batch is in flight.
    fn holds(&self) -> bool;

    /// The packet in flight; of a batch, its first slots.
    fn in_flight(&self) -> Option<Taken>;

    /// The bytes of the packet in flight.
    ///
    /// # Panics
    ///
    /// If no packet is in flight.
    #[cfg(not(loom))]
    fn payload(&self) -> &[u8];

    /// Fast path of [`next`](Self::next): takes a data packet if nothing else has to be done.
    /// `None`: `next` must decide. Before the call nothing is in flight, and
    /// [`is_stamped`](Self::is_stamped) returned true since the cursor moved last.
    fn next_fast(&mut self) -> Option<Taken>;

    /// Takes the next packet, or the packet that [`unreceive`](Self::unreceive) put back.
    fn next(&mut self) -> Next;

    /// Records that the user is about to get the packet or batch that [`next`](Self::next) took.
    fn record_handed_out(&self) {}

    /// Records that missed packets were reported to the user.
    fn record_reported(&self) {}

    /// Returns true if the packet was handed out before.
    fn is_redelivered(&self, taken: &Taken) -> bool;

    /// How often the packet was handed out so far. At least 1 if it
    /// [was handed out before](Self::is_redelivered).
    fn deliveries(&self, taken: &Taken) -> u64;

    /// Fast path of [`release`](Self::release). Returns false if that must decide.
    #[inline]
    fn release_fast(&mut self) -> bool {
        self.release()
    }

    /// Releases the packet or batch in flight. Returns false if nothing was in flight.
    fn release(&mut self) -> bool;

    /// Puts the packet or batch in flight back: `next` returns it again, as a redelivery.
    fn unreceive(&mut self);

    /// Returns true if packets of dead endpoints may have to be adopted.
    fn adopts(&self) -> bool {
        false
    }

    /// Adopts a packet that a dead endpoint had in flight. The caller holds the control lock.
    fn adopt(&mut self, _is_alive: &dyn Fn(EntryId) -> bool) -> Adoption {
        Adoption::None
    }

    /// Frees the entry, unless the endpoint is durable. Without the control lock this only removes
    /// the cursor from the gate: the next process that reaps the dead frees the entry.
    fn leave(&self, settings: &Settings, has_control: bool);

    /// The end of the claimed slots.
    fn tail(&self) -> u64 {
        // Pairs with the releases of the tail: everything below it was claimed before.
        self.memory().head().tail.load(Ordering::Acquire)
    }
}

/// The bytes of a packet.
///
/// # Safety
///
/// `taken` was read from a committed packet, its span was checked to lie in one piece of the ring,
/// and the packet is in flight for all of `'a`.
#[cfg(not(loom))]
#[inline]
pub(super) unsafe fn payload_of<'a>(memory: &'a RingMemory, taken: &Taken) -> &'a [u8] {
    let start = memory.payload(taken.position);
    // SAFETY: the caller's promise. A committed packet is written completely, and the gate keeps
    // publishers from its slots while it is in flight. The span was computed from this length.
    unsafe { std::slice::from_raw_parts(start.as_ptr(), taken.descriptor.len() as usize) }
}
