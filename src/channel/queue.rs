//! The typed consumer of a queue.

use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::join::{self, Types};
use super::received::{Info, deref_to_packet};
use super::reports;
use super::ring::Ring;
use super::type_table;
use super::untyped::{DeadLetters, Draining, GroupReceiver};
use super::waitable::{Selectable, Selectee};
use super::{async_verb, verb};
use crate::error::{Form, OpenError};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, Unpack, UnpackError};
use crate::ring::buffer::StableBytes;
use crate::ring::cursor::{Cursor, Taken};
use crate::ring::guard::ReadGuard;
use crate::sys::stop::Stop;
use crate::wait::{Timeout, Wait};
use std::fmt;
use std::marker::PhantomData;

/// Receives packets of a queue, in place. Each packet is delivered to one consumer.
///
/// All operations take `&mut self`: a consumer holds one packet at a time.
///
/// # Acknowledgement
///
/// Only [`Delivery::ack`] acknowledges a packet. If its guard is forgotten, or dropped by `?` or a
/// panic, this consumer receives the packet again, flagged as [redelivered](Info::redelivered). If
/// the consumer is dropped or its process dies, another consumer receives the packet. So each
/// packet is handled at least once, and a packet that was handed out before is flagged.
///
/// # Closing
///
/// The queue of a cluster stays open without publishers. A consumer that joins receives all
/// packets that wait in it.
pub struct QueueConsumer<T: Packet> {
    pub(crate) receiver: GroupReceiver,
    type_index: u16,
    packet: PhantomData<fn() -> T>,
}

// Not derived: that would require `T: Debug`.
impl<T: Packet> fmt::Debug for QueueConsumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueConsumer")
            .field("ring", &self.receiver.entry.segment.name())
            .field("type", &T::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<T: Packet> QueueConsumer<T> {
    pub(crate) fn new(receiver: GroupReceiver, type_index: u16) -> Self {
        Self { receiver, type_index, packet: PhantomData }
    }

    verb! {
        /// Receives the next packet. Waits for it, without end if no publisher ever joins.
        ///
        /// # Errors
        ///
        /// [`Closed`](RecvError::Closed), [`Corrupt`](RecvError::Corrupt),
        /// [`TypeMismatch`](RecvError::TypeMismatch). With the last two the packet is acknowledged:
        /// else it would be delivered again and again.
        recv, try_recv, recv_timeout = receive() -> Delivery<'_, T>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    async_verb! {
        recv_async = recv() -> Delivery<'_, T>; RecvError { take_next, open? }
    }

    /// Sets what ends the waits of this consumer.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.receiver.entry.set_stop(stop);
    }

    /// Changes how this consumer waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.receiver.entry.set_wait(wait);
    }

    /// What this consumer counted since it joined. Cost: about 20 loads.
    pub fn counters(&self) -> crate::ring::counters::Counters {
        self.receiver.entry.counters()
    }

    /// Sets where packets go that were handed out too often.
    pub(crate) fn set_dead_letters(&mut self, dead_letters: Option<DeadLetters>) {
        self.receiver.set_dead_letters(dead_letters);
    }

    /// Makes this a consumer of a worker that may drain.
    pub(crate) fn drain_with(&mut self, draining: Draining) {
        self.receiver.drain_with(draining);
    }

    fn receive<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Delivery<'_, T>, F> {
        let taken = self.take_next::<F>(timeout)?;
        Ok(self.open(taken)?)
    }

    /// Takes the next packet, unless the worker drains.
    #[inline(always)]
    fn take_next<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Taken, F> {
        if self.receiver.is_draining() {
            return Err(RecvError::Closed.into());
        }
        self.receiver.take(timeout)
    }

    #[inline(always)]
    fn open(&mut self, taken: Taken) -> Result<Delivery<'_, T>, RecvError> {
        if taken.descriptor.type_index() != self.type_index {
            return Err(self.mismatch(taken));
        }
        match Validated::open(ReadGuard::new(&mut self.receiver)) {
            Ok(opened) => Ok(Delivery { opened }),
            Err((job, _)) => Err(corrupt::<T>(job)),
        }
    }

    #[cold]
    fn mismatch(&mut self, taken: Taken) -> RecvError {
        let segment = &self.receiver.entry.segment;
        let types = type_table::mismatch(segment, &T::TYPE, taken.descriptor.type_index());
        self.receiver.ack();
        RecvError::TypeMismatch(Box::new(types))
    }
}

impl<T: Packet> Selectable for QueueConsumer<T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.receiver)
    }
}

impl Ring {
    /// Joins as a consumer of a queue.
    pub(crate) fn queue_consumer<T: Packet>(&self) -> Result<QueueConsumer<T>, OpenError> {
        let (receiver, index) =
            join::consumer(self.segment(), &Types::One(&T::TYPE), Wait::default())?;
        Ok(QueueConsumer::new(receiver, index))
    }
}

/// The error for an invalid packet, which is acknowledged.
#[cold]
fn corrupt<T: Packet>(job: ReadGuard<'_, GroupReceiver>) -> RecvError {
    let what = packet::explain::<T>(job.bytes());
    let position = job.endpoint().cursor.in_flight().map_or(0, |taken| taken.position);
    reports::invalid(&job.endpoint().entry.segment, position, &what);
    let what = format!("at position {position}: {what}");
    job.end(GroupReceiver::ack);
    RecvError::Corrupt(what.into())
}

/// A packet of a queue, in its slot. It is delivered again unless it is
/// [acknowledged](Delivery::ack).
///
/// It derefs to the archived packet, so the operations of the guard are associated functions.
#[must_use = "a delivery that is not acknowledged is delivered again"]
pub struct Delivery<'a, T: Packet> {
    opened: Validated<ReadGuard<'a, GroupReceiver>, T>,
}

impl<T: Packet> Delivery<'_, T> {
    /// Position, and whether the packet was handed out before.
    pub fn info(this: &Self) -> Info {
        Info::of(this.opened.guard().endpoint())
    }

    /// How often the packet was handed out, this delivery included: over all consumers, also those
    /// that were killed.
    ///
    /// It is never too low. A consumer that is killed while it receives may count a delivery that
    /// it did not return.
    pub fn deliveries(this: &Self) -> u64 {
        let receiver = this.opened.guard().endpoint();
        receiver.cursor.in_flight().map_or(1, |taken| receiver.cursor.deliveries(&taken))
    }

    /// Makes an owned value of the packet, which is not acknowledged yet.
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can fail.
    pub fn unpack(this: &Self) -> Result<T, UnpackError>
    where
        T: Unpack,
    {
        T::unpack(this.opened.get())
    }

    /// Makes an owned value of the packet on the heap. For values that are too large for the stack:
    /// see [`unpack_boxed`](crate::packet::unpack_boxed).
    ///
    /// # Errors
    ///
    /// A `with` wrapper of one of its fields can fail, and so can starting a thread.
    pub fn unpack_boxed(this: &Self) -> Result<Box<T>, UnpackError>
    where
        T: Unpack + Send,
    {
        packet::unpack_boxed::<T>(this.opened.get())
    }

    /// Acknowledges the packet: it is not delivered again.
    pub fn ack(this: Self) {
        this.opened.into_guard().end(GroupReceiver::ack);
    }

    /// Returns the packet to the queue. A consumer that receives gets it within 50 ms, or within
    /// 250 ms if all wait, flagged as redelivered. This consumer may get it again.
    ///
    /// A returned packet occupies an entry of the queue until it is delivered. It is returned only
    /// while more than half of the entries are free, so that consumers can join. Otherwise the
    /// guard is only dropped, and this consumer receives the packet again.
    pub fn nack(this: Self) {
        this.opened.into_guard().end(GroupReceiver::nack);
    }
}

deref_to_packet!(Delivery);
