//! Guards over slots: a packet or a batch in flight, and a claim that is being filled.
//!
//! Each guard borrows its endpoint mutably: the receiver or the server that took the packet. So an
//! endpoint has one guard at a time. An endpoint that can be called again has none: that call
//! releases the packets that a forgotten guard held.
//!
//! The traits of endpoints are safe, and no `unsafe` code here depends on how they are implemented:
//!
//! - The bytes of a packet come from a [`Cursor`], an unsafe trait. A slice that it lends stays
//!   valid while the endpoint is borrowed, and a guard calls a `&mut` method only at its end.
//! - A batch is known by the address of its list, and `keep` compares what it left.
//! - Room for a claim is computed once, from a [`Writer`], and kept.

use super::buffer::{StableBatch, StableBytes, WriteBuf, WriteTarget};
use super::claim::Writer;
use super::cursor::{Cursor, Taken, payload_of};
use super::reader::Reader;
use super::slot::Descriptor;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A reader with a packet in flight.
pub(crate) trait HoldsPacket {
    /// Its side of the ring.
    type Cursor: Cursor;

    /// Its side of the ring, which has the packet in flight.
    fn cursor(&self) -> &Self::Cursor;

    /// Ends the guard that is dropped.
    fn release(&mut self);
}

/// A packet in flight. A single pointer, so that the typed guards around it are moved in
/// registers.
#[derive(Debug)]
pub(crate) struct ReadGuard<'a, H: HoldsPacket> {
    endpoint: &'a mut H,
}

impl<'a, H: HoldsPacket> ReadGuard<'a, H> {
    /// A guard over the packet that `endpoint` just took.
    #[inline]
    pub(crate) fn new(endpoint: &'a mut H) -> Self {
        Self { endpoint }
    }

    /// The endpoint.
    #[inline]
    pub(crate) fn endpoint(&self) -> &H {
        self.endpoint
    }

    /// Ends the guard with `work` instead of [`HoldsPacket::release`].
    #[inline]
    pub(crate) fn end<R>(self, work: impl FnOnce(&mut H) -> R) -> R {
        work(ManuallyDrop::new(self).endpoint)
    }
}

// SAFETY: `Cursor::payload` promises the alignment, and that no process that follows the protocol
// changes the bytes while the cursor is borrowed. The guard borrows its endpoint, and calls `&mut`
// methods only in `drop` and `end`, which end the guard. So a slice that was lent once could have
// been lent for all of the guard's life. It lies in slots, so moving the guard does not move it.
unsafe impl<H: HoldsPacket> StableBytes for ReadGuard<'_, H> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.endpoint.cursor().payload()
    }
}

impl<H: HoldsPacket> Drop for ReadGuard<'_, H> {
    #[inline(always)]
    fn drop(&mut self) {
        self.endpoint.release();
    }
}

/// A reader with a batch in flight.
pub(crate) trait HoldsBatch: HoldsPacket<Cursor = Reader> {
    /// Its side of the ring, to change it.
    fn reader_mut(&mut self) -> &mut Reader;
}

/// A batch in flight, released together.
///
/// # Invariants
///
/// 1. The list whose first packet has the address `list` was in flight when the guard was made, and
///    belongs to a reader within `endpoint`. It does not change while `endpoint` is borrowed.
#[derive(Debug)]
pub(crate) struct BatchGuard<'a, H: HoldsBatch> {
    endpoint: &'a mut H,
    list: usize,
}

impl<'a, H: HoldsBatch> BatchGuard<'a, H> {
    /// A guard over the batch that `endpoint` just took.
    pub(crate) fn new(endpoint: &'a mut H) -> Self {
        let reader = endpoint.cursor();
        assert!(reader.holds_list(), "a batch that is not in flight");
        let list = address(reader);
        Self { endpoint, list }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &H {
        self.endpoint
    }

    /// The packet at an index.
    pub(crate) fn taken(&self, index: usize) -> Taken {
        self.reader().list()[index]
    }

    /// The reader of the batch.
    #[inline]
    fn reader(&self) -> &Reader {
        let reader = self.endpoint.cursor();
        assert!(address(reader) == self.list, "another batch than the one that was taken");
        reader
    }
}

/// The address of a list in memory. Two lists with packets have different ones.
#[inline]
fn address(reader: &Reader) -> usize {
    reader.list().as_ptr().addr()
}

// SAFETY: by invariant 1, and the endpoint is borrowed: only `keep` and `drop` call its `&mut`
// methods. `keep` checks that a prefix of the batch is left, and in flight.
unsafe impl<H: HoldsBatch> StableBatch for BatchGuard<'_, H> {
    #[inline]
    fn count(&self) -> usize {
        self.reader().list().len()
    }

    #[inline]
    fn bytes(&self, index: usize) -> &[u8] {
        let reader = self.reader();
        // SAFETY: invariant 1. The endpoint is borrowed, so its reader has released nothing since
        // `new` or `keep` found the batch in flight.
        unsafe { payload_of(reader.memory(), &reader.list()[index]) }
    }

    #[inline]
    fn keep(&mut self, count: usize) {
        if count < self.count() {
            self.shorten(count);
        }
    }
}

impl<H: HoldsBatch> BatchGuard<'_, H> {
    /// Keeps the first `count` packets, at least one, and fewer than there are.
    ///
    /// An endpoint may do anything in its `&mut` method. A position is never used twice. A batch
    /// has all packets between its first and its last. So both, with the length and the ring, tell
    /// that the list is a prefix of what it was.
    #[cold]
    fn shorten(&mut self, count: usize) {
        let summary = |guard: &Self| {
            let ring = guard.reader().memory().address();
            (ring, guard.taken(0), guard.taken(count - 1))
        };
        let before = summary(self);
        self.endpoint.reader_mut().keep_of_list(count);
        let is_kept = self.count() == count && self.reader().holds_list();
        assert!(is_kept && summary(self) == before, "another batch than the one that was taken");
    }
}

impl<H: HoldsBatch> Drop for BatchGuard<'_, H> {
    fn drop(&mut self) {
        self.endpoint.release();
    }
}

/// A publisher with an open claim.
pub(crate) trait HoldsClaim {
    /// Its side of the ring.
    fn writer(&mut self) -> &mut Writer;

    /// Aborts the open claim.
    fn abandon(&mut self);

    /// Commits the open claim as one packet, and wakes subscribers. Returns its position.
    fn commit(&mut self, descriptor: Descriptor) -> u64;
}

/// A claim that is being filled. Dropping it aborts the claim.
///
/// # Invariants
///
/// 1. The bytes of `descriptor`'s archive at `start` are payload of a claim that a [`Writer`]
///    granted, and that stays open while `endpoint` is borrowed.
#[derive(Debug)]
pub(crate) struct WriteClaim<'a, H: HoldsClaim> {
    endpoint: &'a mut H,
    start: NonNull<u8>,
    descriptor: Descriptor,
}

// SAFETY: the value is an exclusive reference to the endpoint, and one to the bytes of its claim.
unsafe impl<H: HoldsClaim + Send> Send for WriteClaim<'_, H> {}
// SAFETY: as above; a shared claim gives no access to the bytes.
unsafe impl<H: HoldsClaim + Sync> Sync for WriteClaim<'_, H> {}

impl<'a, H: HoldsClaim> WriteClaim<'a, H> {
    /// A guard over the claim that `endpoint` just made for this packet.
    ///
    /// Stale content of a claim can be read, and written back into another packet. In a shared ring
    /// it must not contain stamps ([`slot`](super::slot) has the reason).
    pub(crate) fn new(endpoint: &'a mut H, descriptor: Descriptor) -> Self {
        let writer = endpoint.writer();
        writer.clear_stamps(descriptor.span());
        let start = room(writer, descriptor).start();
        Self { endpoint, start, descriptor }
    }

    /// Publishes the packet. Returns its position.
    pub(crate) fn commit(self) -> u64 {
        let descriptor = self.descriptor;
        ManuallyDrop::new(self).endpoint.commit(descriptor)
    }
}

// SAFETY: invariant 1; only `drop` and `commit` call methods of the endpoint, and both end the
// guard. Slots do not move.
unsafe impl<H: HoldsClaim> WriteTarget for WriteClaim<'_, H> {
    #[inline]
    fn start(&self) -> NonNull<u8> {
        self.start
    }

    #[inline]
    fn len(&self) -> usize {
        self.descriptor.len() as usize
    }
}

impl<H: HoldsClaim> Drop for WriteClaim<'_, H> {
    fn drop(&mut self) {
        self.endpoint.abandon();
    }
}

/// Room for the archive of a packet, at the start of `writer`'s open claim.
///
/// # Panics
///
/// If the claim is shorter.
#[inline(always)]
pub(crate) fn room(writer: &mut Writer, packet: Descriptor) -> WriteBuf<'_> {
    assert!(writer.owns(packet.span()), "room that was not claimed");
    // SAFETY: by invariants 1 and 2 of `Writer`: nobody else accesses these slots, and they lie in
    // one piece. The buffer borrows the writer, so the claim stays open.
    unsafe { WriteBuf::new(writer.payload(), packet.len() as usize) }
}

/// Fills the next packet of `writer`'s open claim and commits it. Returns its position. If `fill`
/// fails or panics, the claim is aborted.
///
/// # Panics
///
/// If the claim is shorter than the packet.
// One check of the claim serves `fill` and the commit: a second one costs 4 instructions per
// packet.
#[inline(always)]
pub(crate) fn publish<E>(
    writer: &mut Writer,
    descriptor: Descriptor,
    fill: impl FnOnce(WriteBuf<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let claim = AbortOnDrop(writer);
    fill(room(claim.0, descriptor))?;
    Ok(ManuallyDrop::new(claim).0.commit_owned(descriptor))
}

/// Fast path of a claim and [`publish`] in an exclusive ring. `None`: the packet must be claimed.
#[inline(always)]
pub(crate) fn publish_in_lap<E>(
    writer: &mut Writer,
    descriptor: Descriptor,
    fill: impl FnOnce(WriteBuf<'_>) -> Result<(), E>,
) -> Option<Result<u64, E>> {
    // No claim is open in an exclusive ring, so there is none to abort.
    writer.has_room_in_lap(descriptor.span()).then(
        #[inline(always)]
        || {
            fill(room(writer, descriptor))?;
            Ok(writer.commit_in_lap(descriptor))
        },
    )
}

/// Aborts the open claim when it is dropped.
struct AbortOnDrop<'a>(&'a mut Writer);

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
