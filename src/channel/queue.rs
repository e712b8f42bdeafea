//! The typed member of a group.

use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::join::{self, Types};
use super::received::Info;
use super::ring::Ring;
use super::select::{Selectable, Selectee};
use super::untyped::GroupReceiver;
use crate::error::{Form, OpenError, retry};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, Unpack, UnpackError};
use crate::ring::buffer::StableBytes;
use crate::ring::queue_guard::{ConsumerEndpoint, DeliveryGuard};
use crate::ring::reader;
use crate::wait::{Timeout, Wait};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// A member of a work queue: takes packets that no other member gets, in place.
///
/// What it takes is acknowledged by [`Delivery::ack`] alone. A packet whose guard is dropped otherwise,
/// by `?`, a panic, or because it was forgotten, comes again to this member, flagged as
/// [redelivered](Info::redelivered); if the member is dropped or its process dies, to another one. So
/// each packet is handled at least once, and one that was handed out before says so.
///
/// All operations take `&mut self`: one packet in hand at a time.
pub struct QueueConsumer<T: Packet> {
    pub(crate) taker: GroupReceiver,
    type_index: u16,
    packet: PhantomData<fn() -> T>,
}

// Not derived, which would ask for `T: Debug`.
impl<T: Packet> fmt::Debug for QueueConsumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueConsumer")
            .field("ring", &self.taker.endpoint.segment.name())
            .field("type", &T::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<T: Packet> QueueConsumer<T> {
    pub(crate) fn new(taker: GroupReceiver, type_index: u16) -> Self {
        Self { taker, type_index, packet: PhantomData }
    }

    /// The next packet. Waits for it; for ever, if no publisher ever comes.
    ///
    /// # Errors
    ///
    /// [`Closed`](RecvError::Closed), [`Corrupt`](RecvError::Corrupt),
    /// [`TypeMismatch`](RecvError::TypeMismatch): with the last two the packet is acknowledged, lest it
    /// come for ever.
    pub fn recv(&mut self) -> Result<Delivery<'_, T>, RecvError> {
        self.receive(Timeout::Never)
    }

    /// The next packet, or [`Empty`](TryRecvError::Empty).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](TryRecvError::Empty).
    pub fn try_recv(&mut self) -> Result<Delivery<'_, T>, TryRecvError> {
        self.receive(Timeout::Zero)
    }

    /// The next packet, if it comes in time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvTimeoutError::Timeout).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Delivery<'_, T>, RecvTimeoutError> {
        self.receive(Timeout::After(timeout))
    }

    /// Chooses how this member waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.taker.endpoint.waiter.set(wait);
    }

    fn receive<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Delivery<'_, T>, F> {
        let taken = retry(|| self.taker.take(timeout))?;
        if taken.descriptor.type_index() != self.type_index {
            return Err(self.mismatch(taken).into());
        }
        match Validated::open(DeliveryGuard::new(&mut self.taker)) {
            Ok(opened) => Ok(Delivery { opened }),
            Err((job, _)) => Err(corrupt::<T>(job).into()),
        }
    }

    #[cold]
    fn mismatch(&mut self, taken: reader::Taken) -> RecvError {
        let segment = &self.taker.endpoint.segment;
        let types = join::mismatch(segment, &T::TYPE, taken.descriptor.type_index());
        self.taker.ack();
        RecvError::TypeMismatch(Box::new(types))
    }
}

impl<T: Packet> Selectable for QueueConsumer<T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.taker)
    }
}

impl Ring {
    /// Joins as a member of the group of a work queue.
    pub(crate) fn member<T: Packet>(&self) -> Result<QueueConsumer<T>, OpenError> {
        let (taker, index) = self.taker(&Types::One(&T::TYPE))?;
        Ok(QueueConsumer::new(taker, index))
    }
}

/// Says what is wrong with a packet, and acknowledges it.
#[cold]
fn corrupt<T: Packet>(job: DeliveryGuard<'_, GroupReceiver>) -> RecvError {
    let what = packet::explain::<T>(job.bytes());
    let position = job.worker().group().held().map_or(0, |taken| taken.position);
    let what = format!("at position {position}: {what}");
    job.ack();
    RecvError::Corrupt(what.into())
}

/// A packet of a work queue, in its slot. Dropped without [`done`](Delivery::ack), it comes again.
pub struct Delivery<'a, T: Packet> {
    opened: Validated<DeliveryGuard<'a, GroupReceiver>, T>,
}

impl<T: Packet> Delivery<'_, T> {
    /// Position, and whether it was handed out before.
    pub fn info(this: &Self) -> Info {
        let group = this.opened.guard().worker().group();
        let position = group.held().map_or(0, |taken| taken.position);
        Info { position, redelivered: group.is_redelivered() }
    }

    /// The packet as an owned value. It is not acknowledged yet.
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can refuse.
    pub fn unpack(this: &Self) -> Result<T, UnpackError>
    where
        T: Unpack,
    {
        T::unpack(this.opened.get())
    }

    /// Acknowledges the packet: it does not come again.
    pub fn ack(this: Self) {
        this.opened.into_guard().ack();
    }

    /// Leaves the packet to whichever member asks first, within some 50 ms; that may be this one. It
    /// comes flagged. Half of the queue's places are kept for members: if no other is left to leave it
    /// at, it is dropped, and comes again here.
    pub fn nack(this: Self) {
        this.opened.into_guard().nack();
    }
}

impl<T: Packet> Deref for Delivery<'_, T> {
    type Target = T::Archived;

    #[inline]
    fn deref(&self) -> &T::Archived {
        self.opened.get()
    }
}

impl<T: Packet> fmt::Debug for Delivery<'_, T>
where
    T::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.opened.get().fmt(f)
    }
}
