//! The typed subscriber.

use super::error::{RecvError, RecvFailure, RecvTimeoutError, TryRecvError, ValueError};
use super::join::{self, Types};
use super::received::{Batch, Copied, Info, Received};
use super::select::{Selectable, Selectee};
use super::untyped::Receiver;
use crate::error::{Form, OpenError, retry};
use crate::packet::guard::{self, Validated, ValidatedBatch};
use crate::packet::{self, Packet, Unpack};
use crate::ring::buffer::{StableBatch, StableBytes};
use crate::ring::guard::{BatchGuard, ReadEndpoint, ReadGuard};
use crate::ring::reader::Taken;
use crate::ring::slot::Descriptor;
use crate::wait::{Timeout, Wait};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// An endpoint that reads packets of one type in place.
///
/// All operations take `&mut self`: one guard at a time, and whatever a forgotten guard held is
/// released by the next call. Dropping the subscriber leaves the ring; a durable one stays.
pub struct Subscriber<T: Packet> {
    pub(crate) receiver: Receiver,
    type_index: u16,
    packet: PhantomData<fn() -> T>,
}

// Not derived, which would ask for `T: Debug`.
impl<T: Packet> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("ring", &self.receiver.endpoint.segment.name())
            .field("type", &T::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<T: Packet> Subscriber<T> {
    pub(crate) fn new(receiver: Receiver, type_index: u16) -> Self {
        Self { receiver, type_index, packet: PhantomData }
    }

    /// The next packet. Waits for it; for ever, if no publisher ever comes.
    ///
    /// # Errors
    ///
    /// [`Missed`](RecvError::Missed), [`Closed`](RecvError::Closed),
    /// [`Corrupt`](RecvError::Corrupt), [`TypeMismatch`](RecvError::TypeMismatch).
    #[inline]
    pub fn recv(&mut self) -> Result<Received<'_, T>, RecvError> {
        self.receive(Timeout::Never)
    }

    /// The next packet, or [`Empty`](TryRecvError::Empty).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](TryRecvError::Empty).
    #[inline]
    pub fn try_recv(&mut self) -> Result<Received<'_, T>, TryRecvError> {
        self.receive(Timeout::Zero)
    }

    /// The next packet, if it comes in time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvTimeoutError::Timeout).
    #[inline]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Received<'_, T>, RecvTimeoutError> {
        self.receive(Timeout::After(timeout))
    }

    /// All packets that are there, one at least and 256 at most: checked up front, released
    /// together. Waits for the first.
    ///
    /// A packet that is not sound ends the batch before it; the next call reports it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn drain(&mut self) -> Result<Batch<'_, T>, RecvError> {
        self.receive_batch(Timeout::Never)
    }

    /// All packets that are there, or [`Empty`](TryRecvError::Empty): see [`drain`](Self::drain).
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    #[inline]
    pub fn try_drain(&mut self) -> Result<Batch<'_, T>, TryRecvError> {
        self.receive_batch(Timeout::Zero)
    }

    /// All packets that are there, if one comes in time: see [`drain`](Self::drain).
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    #[inline]
    pub fn drain_timeout(&mut self, timeout: Duration) -> Result<Batch<'_, T>, RecvTimeoutError> {
        self.receive_batch(Timeout::After(timeout))
    }

    /// The next packet that fits; those before it are released. Waits for it.
    ///
    /// ```
    /// # let ring = packetring::Ring::builder().heap()?;
    /// # let (mut out, mut numbers) = (ring.publisher::<u64>()?, ring.subscriber::<u64>()?);
    /// # out.send_all(&[5, 50, 500])?;
    /// let large = numbers.recv_where(|number| *number > 100)?;
    /// assert_eq!(*large, 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_where(
        &mut self,
        fits: impl FnMut(&T::Archived) -> bool,
    ) -> Result<Received<'_, T>, RecvError> {
        self.receive_where(Timeout::Never, fits)
    }

    /// The next packet that fits, of those that are there: see [`recv_where`](Self::recv_where).
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_where(
        &mut self,
        fits: impl FnMut(&T::Archived) -> bool,
    ) -> Result<Received<'_, T>, TryRecvError> {
        self.receive_where(Timeout::Zero, fits)
    }

    /// The next packet that fits, if it comes in time, counted from the call: see
    /// [`recv_where`](Self::recv_where).
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_where_timeout(
        &mut self,
        timeout: Duration,
        fits: impl FnMut(&T::Archived) -> bool,
    ) -> Result<Received<'_, T>, RecvTimeoutError> {
        self.receive_where(Timeout::After(timeout), fits)
    }

    /// The next packet, copied out of the ring before it is checked. Waits for it.
    ///
    /// For publishers that are not trusted: one that goes on writing after the check can defeat
    /// any check in place. Costs the copy; allocates only to grow. The slots are released before the
    /// call returns: to a durable subscriber this packet does not come again.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_copied(&mut self) -> Result<Copied<'_, T>, RecvError> {
        self.receive_copied(Timeout::Never)
    }

    /// The next packet, copied, or [`Empty`](TryRecvError::Empty): see
    /// [`recv_copied`](Self::recv_copied).
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_copied(&mut self) -> Result<Copied<'_, T>, TryRecvError> {
        self.receive_copied(Timeout::Zero)
    }

    /// The next packet, copied, if it comes in time: see [`recv_copied`](Self::recv_copied).
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_copied_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Copied<'_, T>, RecvTimeoutError> {
        self.receive_copied(Timeout::After(timeout))
    }

    /// The packets as owned values, until the ring is closed or its last publisher has left. Waits
    /// for each. What was missed in a ring that drops is an item, too. Each packet is released before
    /// its value is returned: to a durable subscriber it does not come again.
    ///
    /// ```
    /// # let ring = packetring::Ring::builder().heap()?;
    /// # let (mut out, mut names) = (ring.publisher::<String>()?, ring.subscriber::<String>()?);
    /// # out.send(&"ada".to_owned())?; drop(out);
    /// for name in names.values() {
    ///     let name: String = name?;
    ///     assert_eq!(name, "ada");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn values(&mut self) -> Values<'_, T>
    where
        T: Unpack,
    {
        Values { subscriber: self }
    }

    /// Another subscriber at the same place: it gets what this one has in hand or before it, and
    /// everything after. Not durable, even if this one is.
    ///
    /// # Errors
    ///
    /// [`Full`](OpenError::Full), [`System`](OpenError::System).
    pub fn try_clone(&mut self) -> Result<Self, OpenError> {
        let wait = self.receiver.endpoint.waiter.wait();
        let types = Types::One(&T::TYPE);
        let segment = &self.receiver.endpoint.segment;
        let beside = Some(&self.receiver.reader);
        let (receiver, index) = join::subscriber(segment, &types, beside, wait)?;
        Ok(Self::new(receiver, index))
    }

    /// How much waits to be received, in slots of 64 bytes: a packet takes one for every 64 bytes
    /// of its archive and header. Includes what is claimed and not yet committed.
    pub fn backlog(&self) -> u64 {
        self.receiver.backlog()
    }

    /// Chooses how this subscriber waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.receiver.endpoint.waiter.set(wait);
    }

    /// Makes the slots read-only in this subscriber's mapping, for good: a store to one, which only
    /// `unsafe` code gone wrong makes, ends the process by a SIGSEGV. Nothing in a ring on the heap.
    ///
    /// Not the default because it has a price on some machines: processors that fetch a line
    /// differently where it cannot be written made packets of 4 to 64 KiB up to twice as slow.
    ///
    /// # Errors
    ///
    /// [`System`](OpenError::System).
    pub fn protect(&mut self) -> Result<(), OpenError> {
        self.receiver.endpoint.segment.protect_slots()
    }

    #[inline]
    fn receive<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Received<'_, T>, F> {
        match self.receiver.take_fast(timeout) {
            Some(taken) => Ok(self.open(taken)?),
            None => self.wait_and_receive(timeout),
        }
    }

    #[inline(never)]
    fn wait_and_receive<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Received<'_, T>, F> {
        let taken = retry(|| self.receiver.take_or_wait(timeout))?;
        Ok(self.open(taken)?)
    }

    #[inline(always)]
    fn open(&mut self, taken: Taken) -> Result<Received<'_, T>, RecvError> {
        if taken.descriptor.type_index() != self.type_index {
            return Err(self.mismatch(taken));
        }
        match Validated::open(ReadGuard::new(&mut self.receiver, taken)) {
            Ok(opened) => Ok(Received { opened }),
            Err((hand, _)) => Err(corrupt::<T>(hand)),
        }
    }

    fn receive_where<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
        fits: impl FnMut(&T::Archived) -> bool,
    ) -> Result<Received<'_, T>, F> {
        let mut fits = fits;
        let taken = retry(|| self.take_where(timeout, &mut fits))?;
        Ok(self.open(taken)?)
    }

    /// Takes the next packet that fits or is invalid, and releases those before it.
    fn take_where(
        &mut self,
        timeout: Timeout,
        mut fits: impl FnMut(&T::Archived) -> bool,
    ) -> Result<Taken, RecvFailure> {
        let deadline = timeout.deadline();
        // Of those that are there: not those that come meanwhile.
        let end = self.receiver.tail();
        loop {
            let taken = self.receiver.take(timeout.left(deadline))?;
            let is_own = taken.descriptor.type_index() == self.type_index;
            // In hand while `fits` looks at it, which may panic; released if it does not fit.
            let hand = ReadGuard::new(&mut self.receiver, taken);
            let archived = packet::validate::<T>(hand.bytes());
            // One that is not sound is returned, too: `open` says what is wrong with it.
            if !is_own || archived.map_or(true, &mut fits) {
                std::mem::forget(hand);
                return Ok(taken);
            }
            drop(hand);
            let has_ended = match timeout {
                Timeout::Zero => self.receiver.reader.position() >= end,
                _ => deadline.has_passed(),
            };
            if has_ended && matches!(timeout, Timeout::Zero) && self.receiver.is_over() {
                return Err(RecvError::Closed.into());
            }
            if has_ended {
                return Err(RecvFailure::NotReady(()));
            }
        }
    }

    fn receive_batch<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Batch<'_, T>, F> {
        let own = self.type_index;
        let wanted = |descriptor: &Descriptor| descriptor.type_index() == own;
        let first = retry(|| self.receiver.take_batch(timeout, wanted))?;
        if !wanted(&first.descriptor) {
            self.receiver.reader.keep_of_batch(1);
            return Err(self.mismatch(first).into());
        }
        match ValidatedBatch::open(BatchGuard::new(&mut self.receiver)) {
            Ok(opened) => Ok(Batch { opened }),
            Err(mut hands) => {
                hands.keep(1);
                Err(explained::<T>(hands.endpoint(), &first).into())
            }
        }
    }

    fn receive_copied<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Copied<'_, T>, F> {
        let taken = retry(|| self.receiver.take(timeout))?;
        if taken.descriptor.type_index() != self.type_index {
            return Err(self.mismatch(taken).into());
        }
        let info = Info::of(&self.receiver, &taken);
        self.receiver.copy_out(&taken);
        match Validated::open(guard::Copied::new(&self.receiver.copy)) {
            Ok(opened) => Ok(Copied::new(opened, info)),
            Err((_, _)) => {
                let what = packet::explain::<T>(&self.receiver.copy);
                Err(RecvError::Corrupt(what.into()).into())
            }
        }
    }

    #[cold]
    fn mismatch(&mut self, taken: Taken) -> RecvError {
        let segment = &self.receiver.endpoint.segment;
        let types = join::mismatch(segment, &T::TYPE, taken.descriptor.type_index());
        self.receiver.release();
        RecvError::TypeMismatch(Box::new(types))
    }
}

/// Says what is wrong with a packet, and lets go of it.
#[cold]
#[inline(never)]
fn corrupt<T: Packet>(hand: ReadGuard<'_, Receiver>) -> RecvError {
    explained::<T>(hand.endpoint(), hand.taken())
}

fn explained<T: Packet>(receiver: &Receiver, taken: &Taken) -> RecvError {
    let what = packet::explain::<T>(receiver.payload(taken));
    RecvError::Corrupt(format!("at position {}: {what}", taken.position).into())
}

/// The packets of a subscriber as owned values: see [`Subscriber::values`].
pub struct Values<'a, T: Packet> {
    subscriber: &'a mut Subscriber<T>,
}

impl<T: Packet> fmt::Debug for Values<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("subscriber", &self.subscriber).finish()
    }
}

impl<T: Unpack> Iterator for Values<'_, T> {
    type Item = Result<T, ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.subscriber.recv() {
            Ok(received) => Some(Received::unpack(received).map_err(ValueError::from)),
            Err(RecvError::Closed) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl<T: Packet> Selectable for Subscriber<T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.receiver)
    }
}
