//! Guards over slots: a packet or a batch in flight, and a claim that is being filled.
//!
//! Each guard borrows its endpoint mutably, so an endpoint has one guard at a time. An endpoint
//! that can be called again has none: that call releases what a forgotten guard held.
//!
//! The traits of endpoints are safe, and no `unsafe` code here depends on how they are implemented.
//! A slice that an endpoint lends stays valid while the endpoint is borrowed, and a guard calls a
//! `&mut` method only at its end. Room for a claim is computed once, from a [`Writer`], and kept.

use super::buffer::{StableBatch, StableBytes, WriteBuf, WriteTarget};
use super::claim::Writer;
use super::cursor::{Cursor, Taken, payload_of};
use super::geometry::span;
use super::reader::Reader;
use super::slot::Descriptor;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// An endpoint that reads.
pub(crate) trait ReadEndpoint {
    /// The bytes of the packet in flight, 16-aligned if there are any. Panics if there is none.
    fn payload(&self) -> &[u8];

    /// Ends the guard that is dropped.
    fn release(&mut self);
}

/// A packet in flight. A single pointer, so that the typed guards around it are moved in
/// registers.
#[derive(Debug)]
pub(crate) struct ReadGuard<'a, E: ReadEndpoint> {
    endpoint: &'a mut E,
}

impl<'a, E: ReadEndpoint> ReadGuard<'a, E> {
    /// A guard over the packet that `endpoint` just took.
    #[inline]
    pub(crate) fn new(endpoint: &'a mut E) -> Self {
        Self { endpoint }
    }

    /// The endpoint.
    #[inline]
    pub(crate) fn endpoint(&self) -> &E {
        self.endpoint
    }

    /// Ends the guard with `work` instead of [`ReadEndpoint::release`].
    #[inline]
    pub(crate) fn end<R>(self, work: impl FnOnce(&mut E) -> R) -> R {
        work(ManuallyDrop::new(self).endpoint)
    }
}

// SAFETY: `payload` lends its slice for as long as the endpoint is borrowed. The guard holds that
// borrow, and calls `&mut` methods only in `drop` and `end`, which end the guard. The slice lies in
// slots or on the heap, so moving the guard does not move it.
unsafe impl<E: ReadEndpoint> StableBytes for ReadGuard<'_, E> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.endpoint.payload()
    }
}

impl<E: ReadEndpoint> Drop for ReadGuard<'_, E> {
    #[inline(always)]
    fn drop(&mut self) {
        self.endpoint.release();
    }
}

/// An endpoint that reads batches.
pub(crate) trait BatchEndpoint: ReadEndpoint {
    /// Its side of the ring.
    fn reader(&self) -> &Reader;

    /// Its side of the ring, to change it.
    fn reader_mut(&mut self) -> &mut Reader;
}

/// A batch in flight, released together.
///
/// # Invariants
///
/// 1. The list of `endpoint` was read by a [`Reader`] of the ring whose head has the address
///    `ring`. A position is never used twice, so a reader of this ring that has these positions in
///    flight has these packets in flight.
#[derive(Debug)]
pub(crate) struct BatchGuard<'a, E: BatchEndpoint> {
    endpoint: &'a mut E,
    ring: usize,
}

impl<'a, E: BatchEndpoint> BatchGuard<'a, E> {
    /// A guard over the batch that `endpoint` just took.
    pub(crate) fn new(endpoint: &'a mut E) -> Self {
        let reader = endpoint.reader();
        assert!(reader.holds_list(), "a batch that is not in flight");
        let ring = reader.memory().address();
        Self { endpoint, ring }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &E {
        self.endpoint
    }

    /// The packet at an index.
    pub(crate) fn taken(&self, index: usize) -> Taken {
        self.endpoint.reader().list()[index]
    }
}

// SAFETY: by invariant 1, and the endpoint is borrowed: only `keep` and `drop` call its `&mut`
// methods. `keep` keeps a prefix of the batch in flight.
unsafe impl<E: BatchEndpoint> StableBatch for BatchGuard<'_, E> {
    #[inline]
    fn count(&self) -> usize {
        self.endpoint.reader().list().len()
    }

    #[inline]
    fn bytes(&self, index: usize) -> &[u8] {
        let reader = self.endpoint.reader();
        assert!(reader.memory().address() == self.ring, "the reader of another ring");
        // SAFETY: invariant 1. The endpoint is borrowed, so its reader has released nothing since
        // `new` found the batch in flight.
        unsafe { payload_of(reader.memory(), &reader.list()[index]) }
    }

    fn keep(&mut self, count: usize) {
        self.endpoint.reader_mut().keep_of_list(count);
    }
}

impl<E: BatchEndpoint> Drop for BatchGuard<'_, E> {
    fn drop(&mut self) {
        self.endpoint.release();
    }
}

/// An endpoint that writes.
pub(crate) trait WriteEndpoint {
    /// Its side of the ring.
    fn writer(&mut self) -> &mut Writer;

    /// Aborts the open claim.
    fn abandon(&mut self);

    /// Commits the open claim as one archive of `len` bytes, and wakes subscribers. Returns its
    /// position.
    fn commit(&mut self, len: usize, type_index: u16) -> u64;
}

/// A claim that is being filled. Dropping it aborts the claim.
///
/// # Invariants
///
/// 1. `[start, start + len)` is the payload of a claim that a [`Writer`] granted, and that stays
///    open while `endpoint` is borrowed.
#[derive(Debug)]
pub(crate) struct WriteClaim<'a, E: WriteEndpoint> {
    endpoint: &'a mut E,
    start: NonNull<u8>,
    len: usize,
    type_index: u16,
}

// SAFETY: the value is an exclusive reference to the endpoint, and one to the bytes of its claim.
unsafe impl<E: WriteEndpoint + Send> Send for WriteClaim<'_, E> {}
// SAFETY: as above; a shared claim gives no access to the bytes.
unsafe impl<E: WriteEndpoint + Sync> Sync for WriteClaim<'_, E> {}

impl<'a, E: WriteEndpoint> WriteClaim<'a, E> {
    /// A guard over what `endpoint` just claimed for an archive of `len` bytes.
    ///
    /// Stale content of a claim can be read, and written back into another packet. In a shared ring
    /// it must not contain stamps ([`slot`](super::slot) has the reason).
    pub(crate) fn new(endpoint: &'a mut E, len: usize, type_index: u16) -> Self {
        let writer = endpoint.writer();
        writer.clear_stamps(span(len));
        let start = room(writer, len).start();
        Self { endpoint, start, len, type_index }
    }

    /// Publishes the packet. Returns its position.
    pub(crate) fn commit(self) -> u64 {
        let (len, type_index) = (self.len, self.type_index);
        ManuallyDrop::new(self).endpoint.commit(len, type_index)
    }
}

// SAFETY: invariant 1; only `drop` and `commit` call methods of the endpoint, and both end the
// guard. Slots do not move.
unsafe impl<E: WriteEndpoint> WriteTarget for WriteClaim<'_, E> {
    fn room(&mut self) -> WriteBuf<'_> {
        // SAFETY: invariant 1. The buffer borrows the guard mutably, so it is the only one.
        unsafe { WriteBuf::new(self.start, self.len) }
    }
}

impl<E: WriteEndpoint> Drop for WriteClaim<'_, E> {
    fn drop(&mut self) {
        self.endpoint.abandon();
    }
}

/// The first `len` payload bytes of the packet that `writer`'s open claim begins with.
///
/// # Panics
///
/// If the claim is shorter.
#[inline(always)]
pub(crate) fn room(writer: &mut Writer, len: usize) -> WriteBuf<'_> {
    assert!(writer.owns(span(len)), "room that was not claimed");
    // SAFETY: by invariants 1 and 2 of `Writer`: nobody else accesses these slots, and they lie in
    // one piece. The buffer borrows the writer, so the claim stays open.
    unsafe { WriteBuf::new(writer.payload(), len) }
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
    fill(room(claim.0, descriptor.len() as usize))?;
    Ok(ManuallyDrop::new(claim).0.commit_owned(descriptor))
}

/// Aborts the open claim when it is dropped.
struct AbortOnDrop<'a>(&'a mut Writer);

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
