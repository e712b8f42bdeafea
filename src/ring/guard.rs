//! Guards over slots: a packet in a subscriber's hand, room in a publisher's claim.
//!
//! Each borrows its endpoint mutably, so an endpoint has one guard at a time, and an endpoint
//! that can be called again has none: whatever a forgotten guard held is released then.

use super::buffer::{StableBatch, StableBytes, WriteBuf, WriteTarget};
use super::claim::Writer;
use super::geometry::span;
use super::reader::{Reader, Taken};
use super::slot;
use crate::segment::settings::Claims;
use std::slice;

/// An endpoint that reads.
pub(crate) trait ReadEndpoint {
    /// Its side of the ring.
    fn reader(&self) -> &Reader;
    /// Releases what is in hand, and wakes whoever waited for it, unless only `ack` does.
    fn release(&mut self);
    /// Releases what is in hand because it was handled, and wakes whoever waited for it.
    fn ack(&mut self);
    /// Puts what is in hand back, to come again.
    fn unreceive(&mut self);
    /// Its side of the ring, to change.
    fn reader_mut(&mut self) -> &mut Reader;
}

/// One packet in hand.
#[derive(Debug)]
pub(crate) struct ReadGuard<'a, H: ReadEndpoint> {
    endpoint: &'a mut H,
    taken: Taken,
}

impl<'a, H: ReadEndpoint> ReadGuard<'a, H> {
    /// A guard over what `endpoint` just took.
    #[inline]
    pub(crate) fn new(endpoint: &'a mut H, taken: Taken) -> Self {
        debug_assert!(is_held(endpoint.reader(), &taken));
        Self { endpoint, taken }
    }

    /// What is in hand.
    #[inline]
    pub(crate) fn taken(&self) -> &Taken {
        &self.taken
    }

    /// The endpoint.
    #[inline]
    pub(crate) fn endpoint(&self) -> &H {
        self.endpoint
    }

    /// Puts the packet back, to come again.
    pub(crate) fn unreceive(self) {
        self.endpoint.unreceive();
    }

    /// Releases the packet, which was handled: it does not come again.
    #[inline]
    pub(crate) fn ack(self) {
        // Nothing is left in hand to be let go of.
        std::mem::ManuallyDrop::new(self).endpoint.ack();
    }
}

// SAFETY: the packet is in the reader's hand, so its cursor keeps publishers from these slots
// until `let_go`, which only `drop` calls: the endpoint is borrowed mutably for that long. Slots
// do not move. A payload starts 16 bytes into a 64-aligned slot.
unsafe impl<H: ReadEndpoint> StableBytes for ReadGuard<'_, H> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        payload(self.endpoint.reader(), &self.taken)
    }
}

impl<H: ReadEndpoint> Drop for ReadGuard<'_, H> {
    #[inline(always)]
    fn drop(&mut self) {
        self.endpoint.release();
    }
}

/// A batch in hand: released together.
#[derive(Debug)]
pub(crate) struct BatchGuard<'a, H: ReadEndpoint> {
    endpoint: &'a mut H,
}

impl<'a, H: ReadEndpoint> BatchGuard<'a, H> {
    /// A guard over the batch that `endpoint` just took.
    pub(crate) fn new(endpoint: &'a mut H) -> Self {
        assert!(endpoint.reader().holds_batch(), "a batch that is not in hand");
        Self { endpoint }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &H {
        self.endpoint
    }
}

// SAFETY: as for `ReadGuard`. The batch is the reader's list, which was found to be in hand; it changes
// only when another is taken, for which the reader would have to be borrowed mutably, or by `keep`.
unsafe impl<H: ReadEndpoint> StableBatch for BatchGuard<'_, H> {
    #[inline]
    fn count(&self) -> usize {
        self.endpoint.reader().batch().len()
    }

    #[inline]
    fn bytes(&self, index: usize) -> &[u8] {
        let reader = self.endpoint.reader();
        let taken = &reader.batch()[index];
        // SAFETY: a packet of a batch in hand.
        unsafe { payload_of(reader, taken) }
    }

    fn keep(&mut self, count: usize) {
        self.endpoint.reader_mut().keep_of_batch(count);
    }
}

impl<H: ReadEndpoint> Drop for BatchGuard<'_, H> {
    fn drop(&mut self) {
        self.endpoint.release();
    }
}

/// An endpoint that writes.
pub(crate) trait WriteEndpoint {
    /// Its side of the ring.
    fn writer(&mut self) -> &mut Writer;
    /// Gives the open claim up.
    fn abandon(&mut self);
    /// Commits the open claim as one archive of `len` bytes, and wakes whoever waited for it.
    fn commit(&mut self, len: usize, type_index: u16) -> u64;
}

/// A claim that is being filled. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct WriteClaim<'a, C: WriteEndpoint> {
    endpoint: &'a mut C,
    len: usize,
    type_index: u16,
}

impl<'a, C: WriteEndpoint> WriteClaim<'a, C> {
    /// A guard over what `endpoint` just claimed for an archive of `len` bytes.
    ///
    /// What is left over in it can be read, and written back elsewhere: so in a shared ring there
    /// must be no stamps among it (`slot` says why, and why not in an exclusive one).
    pub(crate) fn new(endpoint: &'a mut C, len: usize, type_index: u16) -> Self {
        let writer = endpoint.writer();
        let first = writer.at.position;
        if writer.claims == Claims::Shared {
            for position in first + 1..first + span(len) {
                slot::clear_stamp(&writer.memory, position);
            }
        }
        Self { endpoint, len, type_index }
    }

    /// Publishes it. Returns its position.
    pub(crate) fn commit(self) -> u64 {
        let mut draft = std::mem::ManuallyDrop::new(self);
        let (len, type_index) = (draft.len, draft.type_index);
        draft.endpoint.commit(len, type_index)
    }
}

// SAFETY: the claim stays open as long as the guard lives: the endpoint is borrowed mutably.
// Slots do not move, and `len` does not change.
unsafe impl<C: WriteEndpoint> WriteTarget for WriteClaim<'_, C> {
    fn room(&mut self) -> WriteBuf<'_> {
        room(self.endpoint.writer(), self.len)
    }
}

impl<C: WriteEndpoint> Drop for WriteClaim<'_, C> {
    fn drop(&mut self) {
        self.endpoint.abandon();
    }
}

/// The payload of a packet in a reader's hand.
#[inline]
pub(crate) fn payload<'a>(reader: &'a Reader, taken: &Taken) -> &'a [u8] {
    assert!(is_held(reader, taken), "a packet that is not in hand");
    // SAFETY: as was just seen.
    unsafe { payload_of(reader, taken) }
}

/// # Safety
///
/// The packet is in the reader's hand.
#[inline]
unsafe fn payload_of<'a>(reader: &'a Reader, taken: &Taken) -> &'a [u8] {
    debug_assert!(is_held(reader, taken));
    let start = reader.memory.payload(taken.position);
    // SAFETY: the packet is in hand: stamped, so completely written, and gated by the cursor, so
    // not written to as long as the reader is not told to release it, for which it would have to
    // be borrowed mutably. Its span was checked to lie within the ring in one piece, and its
    // length is what the span was computed from.
    unsafe { slice::from_raw_parts(start.as_ptr(), taken.descriptor.len() as usize) }
}

#[inline]
fn is_held(reader: &Reader, taken: &Taken) -> bool {
    let hand = reader.in_hand();
    hand.start <= taken.position && taken.end() <= hand.end
}

/// The first `len` payload bytes of the packet that `writer`'s open claim begins with.
#[inline(always)]
pub(crate) fn room(writer: &mut Writer, len: usize) -> WriteBuf<'_> {
    let span = span(len);
    assert!(writer.owns(span), "room that was not claimed");
    let start = writer.memory.payload(writer.at.position);
    // SAFETY: the slots are claimed (exclusive: below the limit and above every stamp, by the one
    // publisher; shared: by compare-and-swap) and not stamped, so nobody else touches them, and
    // they lie within the ring in one piece. The writer is borrowed for as long.
    unsafe { WriteBuf::new(start, len) }
}
