//! A guard over the packet in a member's hand.
//!
//! It borrows its endpoint mutably, so an endpoint has one at a time. What becomes of a packet whose
//! guard is dropped is the endpoint's to say: a member of a work queue keeps it in hand, and its next
//! call gives it again.

use crate::ring::group::Group;
use crate::ring::reader::Taken;
use crate::segment::bytes::Steady;
use std::mem::ManuallyDrop;
use std::slice;

/// An endpoint that is a member of a group.
pub(crate) trait Worker {
    /// Its side of the ring.
    fn group(&self) -> &Group;
    /// Acknowledges what is in hand, and wakes whoever waited for its room.
    fn done(&mut self);
    /// Leaves what is in hand to whoever comes first; it stays there, if it cannot be left.
    fn retry(&mut self);
    /// The guard was dropped.
    fn dropped(&mut self) {}
}

/// One packet in hand.
#[derive(Debug)]
pub(crate) struct Job<'a, W: Worker> {
    worker: &'a mut W,
    taken: Taken,
}

impl<'a, W: Worker> Job<'a, W> {
    /// A guard over what `worker` just took.
    #[inline]
    pub(crate) fn new(worker: &'a mut W, taken: Taken) -> Self {
        Self { worker, taken }
    }

    /// What is in hand.
    #[inline]
    pub(crate) fn taken(&self) -> &Taken {
        &self.taken
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
    pub(crate) fn done(self) {
        self.end(W::done);
    }

    /// Leaves the packet to whoever comes first.
    pub(crate) fn retry(self) {
        self.end(W::retry);
    }
}

impl<W: Worker> Drop for Job<'_, W> {
    #[inline]
    fn drop(&mut self) {
        self.worker.dropped();
    }
}

// SAFETY: the packet is in the member's hand, which keeps publishers from these slots until the
// endpoint is told that it is done with it, or leaves it to another, for which it would have to be
// borrowed mutably. Slots do not move. A payload starts 16 bytes into a 64-aligned slot.
unsafe impl<W: Worker> Steady for Job<'_, W> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        payload(self.worker.group(), &self.taken)
    }
}

/// The payload of a packet in a member's hand.
fn payload<'a>(group: &'a Group, taken: &Taken) -> &'a [u8] {
    assert!(group.held().as_ref() == Some(taken), "a packet that is not in hand");
    let start = group.memory.payload(taken.position);
    // SAFETY: the packet is in hand: stamped, so completely written, and gated by the hand, so not
    // written to as long as the group is not told to let go of it, for which it would have to be
    // borrowed mutably. Its span was checked to lie within the ring in one piece, and its length is
    // what the span was computed from.
    unsafe { slice::from_raw_parts(start.as_ptr(), taken.descriptor.len() as usize) }
}
