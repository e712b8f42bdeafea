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
use crate::segment::layout::SLOT;
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
/// 1. The packets were in flight when the guard was made, and belong to a reader within `endpoint`.
///    That reader does not change while `endpoint` is borrowed.
#[derive(Debug)]
pub(crate) struct BatchGuard<'a, H: HoldsBatch> {
    endpoint: &'a mut H,
    packets: Packets,
}

/// Where the packets of a batch are.
#[derive(Clone, Copy, Debug)]
enum Packets {
    /// Packets of one descriptor, each `stride` bytes behind the one before it. The archive of the
    /// first one begins at `start`.
    Run { first: Taken, start: NonNull<u8>, stride: usize, count: usize },
    /// In the reader's list, whose first packet has this address. 0: nowhere.
    List(usize),
}

// SAFETY: the value is an exclusive reference to the endpoint, and shared ones to bytes of a ring.
unsafe impl<H: HoldsBatch + Send> Send for BatchGuard<'_, H> {}
// SAFETY: as above.
unsafe impl<H: HoldsBatch + Sync> Sync for BatchGuard<'_, H> {}

impl<'a, H: HoldsBatch> BatchGuard<'a, H> {
    /// A guard over the batch that `endpoint` just took.
    #[inline]
    pub(crate) fn new(endpoint: &'a mut H) -> Self {
        let reader = endpoint.cursor();
        let packets = match reader.run() {
            Some((first, count)) => Packets::Run {
                first,
                start: reader.memory().payload(first.position),
                stride: first.descriptor.span() as usize * SLOT,
                count: count as usize,
            },
            None => {
                assert!(reader.holds_list(), "a batch that is not in flight");
                Packets::List(address(reader))
            }
        };
        Self { endpoint, packets }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &H {
        self.endpoint
    }

    /// The packet at an index.
    pub(crate) fn taken(&self, index: usize) -> Taken {
        match self.packets {
            Packets::Run { first, count, .. } => {
                assert!(index < count, "packet {index} of a batch of {count}");
                let behind = index as u64 * first.descriptor.span();
                Taken { position: first.position + behind, ..first }
            }
            Packets::List(list) => self.reader(list).list()[index],
        }
    }

    /// The reader of a listed batch.
    #[inline]
    fn reader(&self, list: usize) -> &Reader {
        let reader = self.endpoint.cursor();
        assert!(address(reader) == list, "another batch than the one that was taken");
        reader
    }
}

/// The address of a list in memory. Two lists with packets have different ones.
#[inline]
fn address(reader: &Reader) -> usize {
    reader.list().as_ptr().addr()
}

// SAFETY: by invariant 1, and the endpoint is borrowed: only `keep` and `drop` call its `&mut`
// methods. `keep` checks that a prefix of the batch is left, and in flight. By invariant 5 of
// `Reader` the packets of a run have one descriptor and lie in one piece, so each begins a span
// behind the one before it. `RingMemory::payload` is aligned to 16, and a span is a multiple of 64.
unsafe impl<H: HoldsBatch> StableBatch for BatchGuard<'_, H> {
    #[inline]
    fn count(&self) -> usize {
        match self.packets {
            Packets::Run { count, .. } => count,
            Packets::List(list) => self.reader(list).list().len(),
        }
    }

    #[inline]
    fn bytes(&self, index: usize) -> &[u8] {
        match self.packets {
            Packets::Run { first, start, stride, count } => {
                assert!(index < count, "packet {index} of a batch of {count}");
                let len = first.descriptor.len() as usize;
                // SAFETY: as above: the packet is in flight, in one piece with the first one.
                unsafe { std::slice::from_raw_parts(start.as_ptr().add(index * stride), len) }
            }
            Packets::List(list) => {
                let reader = self.reader(list);
                // SAFETY: invariant 1. The endpoint is borrowed, so its reader has released nothing
                // since `new` or `keep` found the batch in flight.
                unsafe { payload_of(reader.memory(), &reader.list()[index]) }
            }
        }
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
    /// has all packets between its first and its last. So the ring, the first position and the end
    /// of what is in flight tell that it is a prefix of what it was.
    #[cold]
    fn shorten(&mut self, count: usize) {
        // If the endpoint or a check panics, the guard has no packets.
        let packets = std::mem::replace(&mut self.packets, Packets::List(0));
        let reader = self.endpoint.cursor();
        let (ring, start) = (reader.memory().address(), reader.range().start);
        let end = match packets {
            Packets::Run { stride, .. } => start + (count * stride / SLOT) as u64,
            Packets::List(_) => reader.list()[count].position,
        };
        self.endpoint.reader_mut().keep_first(count);
        let reader = self.endpoint.cursor();
        let is_kept = reader.memory().address() == ring && reader.range() == (start..end);
        let (packets, is_prefix) = match packets {
            Packets::Run { first, start, stride, .. } => (
                Packets::Run { first, start, stride, count },
                reader.run() == Some((first, count as u64))
                    && reader.memory().payload(first.position) == start,
            ),
            Packets::List(list) => {
                (packets, address(reader) == list && reader.list().len() == count)
            }
        };
        assert!(is_kept && is_prefix, "another batch than the one that was taken");
        self.packets = packets;
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
