//! A guard over the packet in a member's hand.
//!
//! It borrows its endpoint mutably, so an endpoint has one at a time. Dropping it lets go of
//! nothing: the packet stays in hand, and the endpoint's next call gives it again.

use crate::ring::group::Group;
use crate::ring::reader::Taken;
use crate::segment::bytes::Steady;
use std::slice;

/// An endpoint that is a member of a group.
pub(crate) trait Worker {
    /// Its side of the ring.
    fn group(&self) -> &Group;
    /// Acknowledges what is in hand, and wakes whoever waited for its room.
    fn done(&mut self);
    /// Leaves what is in hand to whoever comes first; it stays there, if it cannot be left.
    fn retry(&mut self);
}

/// One packet in hand, from some byte on.
#[derive(Debug)]
pub(crate) struct Job<'a, W: Worker> {
    worker: &'a mut W,
    taken: Taken,
    front: usize,
}

impl<'a, W: Worker> Job<'a, W> {
    /// A guard over what `worker` just took.
    #[inline]
    pub(crate) fn new(worker: &'a mut W, taken: Taken) -> Self {
        Self { worker, taken, front: 0 }
    }

    /// The same without the first `front` bytes: a multiple of 16, and not beyond the packet;
    /// otherwise they stay.
    pub(crate) fn behind(mut self, front: usize) -> Self {
        if front.is_multiple_of(16) && front <= self.taken.descriptor.len as usize {
            self.front = front;
        }
        self
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

    /// The endpoint, which keeps the packet in hand.
    pub(crate) fn into_worker(self) -> &'a mut W {
        self.worker
    }

    /// Acknowledges the packet.
    #[inline]
    pub(crate) fn done(self) {
        self.worker.done();
    }

    /// Leaves the packet to whoever comes first.
    pub(crate) fn retry(self) {
        self.worker.retry();
    }
}

// SAFETY: the packet is in the member's hand, which keeps publishers from these slots until the
// endpoint is told that it is done with it, or leaves it to another, for which it would have to be
// borrowed mutably. Slots do not move. A payload starts 16 bytes into a 64-aligned slot, and `front`
// is a multiple of 16.
unsafe impl<W: Worker> Steady for Job<'_, W> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &payload(self.worker.group(), &self.taken)[self.front..]
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
    unsafe { slice::from_raw_parts(start.as_ptr(), taken.descriptor.len as usize) }
}
