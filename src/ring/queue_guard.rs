//! A guard over what a member has in hand: a packet in its slot, or the copy of one.
//!
//! It borrows its endpoint mutably, so an endpoint has one at a time. What becomes of a packet whose
//! guard is dropped is the endpoint's to say: a member of a work queue keeps it in hand, and its next
//! call gives it again.

use super::buffer::StableBytes;
use super::consumer_group::ConsumerGroup;
use std::mem::ManuallyDrop;
use std::slice;

/// An endpoint that is a member of a group.
pub(crate) trait ConsumerEndpoint {
    /// Its side of the ring.
    fn group(&self) -> &ConsumerGroup;
    /// Acknowledges what is in hand, and wakes whoever waited for its room.
    fn ack(&mut self);
    /// Leaves what is in hand to whoever comes first; it stays there, if it cannot be left.
    fn nack(&mut self);
    /// The guard was dropped.
    fn dropped(&mut self) {}
}

/// One packet in hand. No larger than a pointer, so that what holds one is moved in registers.
#[derive(Debug)]
pub(crate) struct DeliveryGuard<'a, W: ConsumerEndpoint> {
    worker: &'a mut W,
}

impl<'a, W: ConsumerEndpoint> DeliveryGuard<'a, W> {
    /// A guard over what `worker` has in hand.
    #[inline]
    pub(crate) fn new(worker: &'a mut W) -> Self {
        Self { worker }
    }

    /// The endpoint.
    #[inline]
    pub(crate) fn worker(&self) -> &W {
        self.worker
    }

    /// Ends the guard with some work of the endpoint's instead of what dropping it does.
    #[inline]
    pub(crate) fn end<R>(self, work: impl FnOnce(&mut W) -> R) -> R {
        let mut job = ManuallyDrop::new(self);
        work(job.worker)
    }

    /// Acknowledges the packet.
    #[inline]
    pub(crate) fn ack(self) {
        self.end(W::ack);
    }

    /// Leaves the packet to whoever comes first.
    pub(crate) fn nack(self) {
        self.end(W::nack);
    }
}

impl<W: ConsumerEndpoint> Drop for DeliveryGuard<'_, W> {
    #[inline]
    fn drop(&mut self) {
        self.worker.dropped();
    }
}

// SAFETY: the packet is in the member's hand, which keeps publishers from these slots, or is the
// member's own copy, until the
// endpoint is told that it is done with it, or leaves it to another, for which it would have to be
// borrowed mutably. Slots do not move. A payload starts 16 bytes into a 64-aligned slot.
unsafe impl<W: ConsumerEndpoint> StableBytes for DeliveryGuard<'_, W> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        payload(self.worker.group())
    }
}

/// What a member has in hand.
///
/// # Panics
///
/// If that is nothing.
#[inline]
fn payload(group: &ConsumerGroup) -> &[u8] {
    let Some(taken) = group.held() else { return group.copy() };
    let start = group.memory.payload(taken.position);
    // SAFETY: the packet is in hand: stamped, so completely written, and gated by the hand, so not
    // written to as long as the group is not told to let go of it, for which it would have to be
    // borrowed mutably. Its span was checked to lie within the ring in one piece, and its length is
    // what the span was computed from.
    unsafe { slice::from_raw_parts(start.as_ptr(), taken.descriptor.len() as usize) }
}
