//! The typed subscriber.

use super::error::{RecvError, RecvFailure, RecvTimeoutError, TryRecvError};
use super::join::{self, Types};
use super::received::{Batch, Copied, Info, Received};
use super::reports;
use super::type_table;
use super::untyped::{Receiver, subscriber_control};
use super::waitable::{Selectable, Selectee, rearm};
use super::{async_verb, verb};
use crate::error::{Form, OpenError};
use crate::packet::guard::{self, Validated, ValidatedBatch};
use crate::packet::{self, Packet};
use crate::ring::buffer::{StableBatch, StableBytes};
use crate::ring::cursor::{Cursor, Taken};
use crate::ring::guard::{BatchGuard, HoldsPacket, ReadGuard};
use crate::ring::slot::Descriptor;
use crate::wait::Timeout;
use std::fmt;
use std::marker::PhantomData;

/// Reads packets of one type, in place.
///
/// All operations take `&mut self`, so a subscriber has one guard at a time. The next call releases
/// what a forgotten guard held.
///
/// # Lagging
///
/// In a ring that blocks, a subscriber loses nothing: publishers wait for it once the ring is full.
/// In a ring that [drops the oldest](crate::Overflow::DropOldest), a subscriber that lags a whole
/// ring behind is moved forward. Its next call returns [`Missed`](RecvError::Missed) with the
/// number of lost packets, and the call after that continues behind them. A packet in a guard is
/// never overwritten.
///
/// # Closing
///
/// After the last publisher left or died, calls return the rest and then
/// [`Closed`](RecvError::Closed), unless the ring
/// [`stays_open`](crate::RingBuilder::stays_open). They also end this way after
/// [`Ring::close`](crate::Ring::close).
///
/// Dropping the subscriber leaves the ring. A [durable](crate::Ring::durable) one keeps its
/// position, and its successor receives the packet that was held, flagged as
/// [`redelivered`](Info::redelivered).
///
/// # Cancellation
///
/// A receive that fails or times out takes no packet. A guard that is dropped releases its packet;
/// to receive it again, use [`Received::unreceive`]. A durable subscriber also receives a packet
/// again if its guard was dropped by a panic.
pub struct Subscriber<T: Packet> {
    pub(crate) receiver: Receiver,
    type_index: u16,
    packet: PhantomData<fn() -> T>,
}

// Not derived: that would require `T: Debug`.
impl<T: Packet> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("ring", &self.receiver.entry.segment.name())
            .field("type", &T::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<T: Packet> Subscriber<T> {
    pub(crate) fn new(receiver: Receiver, type_index: u16) -> Self {
        Self { receiver, type_index, packet: PhantomData }
    }

    verb! {
        /// Receives the next packet. Waits for it, without end if no publisher ever joins.
        ///
        /// Cost: one check of the archive; no copy.
        ///
        /// # Errors
        ///
        /// [`Missed`](RecvError::Missed), [`Closed`](RecvError::Closed),
        /// [`Corrupt`](RecvError::Corrupt), [`TypeMismatch`](RecvError::TypeMismatch).
        recv, try_recv, recv_timeout = receive() -> Received<'_, T>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    verb! {
        /// Receives all packets that are there: at least one, at most 256. Waits for the first. All
        /// are checked first, and released together.
        ///
        /// The batch ends before an invalid packet, which the next call reports.
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv).
        drain, try_drain, drain_timeout = receive_batch() -> Batch<'_, T>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    verb! {
        /// Receives the next packet as a copy, which is made before the check. Waits for it.
        ///
        /// For publishers that are not trusted: a write after a check in place would defeat the
        /// check. Costs the copy; allocates only to grow the buffer. The slots are released before
        /// the call returns, so a durable subscriber does not receive this packet again.
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv).
        recv_copied, try_recv_copied, recv_copied_timeout = receive_copied() -> Copied<'_, T>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    async_verb! {
        recv_async = recv() -> Received<'_, T>; RecvError { take_next, open? }, first take_fast
        drain_async = drain() -> Batch<'_, T>; RecvError { take_batch, open_batch? }
        recv_copied_async = recv_copied() -> Copied<'_, T>; RecvError { take_next, open_copied? }
        recv_latest_async
            = recv_latest() -> (Received<'_, T>, u64); RecvError { take_latest, open_latest? }
    }

    verb! {
        /// Receives the next packet for which `fits` returns true, and releases those before it.
        /// Waits for it.
        ///
        /// `try_recv_where` examines the packets that are there when it is called. The timeout of
        /// `recv_where_timeout` covers all packets together.
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
        recv_where, try_recv_where, recv_where_timeout
            = receive_where(fits: impl FnMut(&T::Archived) -> bool) -> Received<'_, T>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    verb! {
        /// Receives the newest packet, and releases those before it. Waits for the first. Returns
        /// also the number of packets before it that this subscriber does not get: those that were
        /// skipped now, and those that a ring that drops the oldest took from it.
        ///
        /// The newest packet is the last of the committed packets that no open claim interrupts. An
        /// open claim is not skipped: its packet, and those behind it, come with later calls, in
        /// order. A publisher that is stopped in its claim therefore delays the newest packet, as
        /// it delays [`recv`](Self::recv); a dead one does not.
        ///
        /// Cost: as `recv`, and one load of a header, mostly a cache miss, for each skipped packet.
        /// The skipped packets are released by one store, and are neither checked nor copied.
        ///
        /// ```
        /// # let ring = packetring::Ring::builder().heap()?;
        /// # let (mut out, mut prices) = (ring.publisher::<f64>()?, ring.subscriber::<f64>()?);
        /// # out.send_all(&[1.0, 1.1, 1.2])?;
        /// let (price, skipped) = prices.recv_latest()?;
        /// assert_eq!((price.to_native(), skipped), (1.2, 2));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv). [`Missed`](RecvError::Missed) is returned only if packets were
        /// lost and none is left: otherwise the number contains the lost packets.
        recv_latest, try_recv_latest, recv_latest_timeout
            = receive_latest() -> (Received<'_, T>, u64);
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    /// Joins as another subscriber at the same position. It receives the packet that this one
    /// holds, and all later ones. It is not durable, even if this one is.
    ///
    /// # Errors
    ///
    /// [`Full`](OpenError::Full), [`System`](OpenError::System).
    pub fn try_clone(&mut self) -> Result<Self, OpenError> {
        let wait = self.receiver.entry.waiter.wait();
        let types = Types::One(&T::TYPE);
        let segment = &self.receiver.entry.segment;
        let beside = Some(&self.receiver.cursor);
        let (receiver, index) = join::subscriber(segment, &types, beside, wait)?;
        Ok(Self::new(receiver, index))
    }

    /// The fast path of flat packets is inlined into the caller. It has fewer instructions than the
    /// general one, so the processor looks further ahead.
    #[inline(always)]
    fn receive<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Received<'_, T>, F> {
        let Some(len) = T::FLAT_LEN else { return self.receive_any(timeout) };
        if !self.receiver.take_expected(Descriptor::data(len, self.type_index)) {
            self.take_any::<F>(timeout)?;
        }
        Ok(self.open_taken()?)
    }

    /// Takes a packet, and checks its type.
    #[inline(never)]
    fn take_any<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<(), F> {
        let taken = self.receiver.take::<F>(timeout)?;
        if taken.descriptor.type_index() != self.type_index {
            return Err(self.mismatch(taken).into());
        }
        Ok(())
    }

    #[inline]
    fn receive_any<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Received<'_, T>, F> {
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
        let taken = F::retry(|| self.receiver.take_slow(timeout))?;
        Ok(self.open(taken)?)
    }

    #[inline(always)]
    pub(super) fn open(&mut self, taken: Taken) -> Result<Received<'_, T>, RecvError> {
        if taken.descriptor.type_index() != self.type_index {
            return Err(self.mismatch(taken));
        }
        self.open_taken()
    }

    /// Opens the packet in flight, which has the right type.
    #[inline(always)]
    fn open_taken(&mut self) -> Result<Received<'_, T>, RecvError> {
        match Validated::open(ReadGuard::new(&mut self.receiver)) {
            Ok(opened) => Ok(Received { opened }),
            Err((guard, _)) => Err(corrupt::<T>(guard)),
        }
    }

    fn receive_latest<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<(Received<'_, T>, u64), F> {
        let taken = F::retry(|| self.take_latest(timeout))?;
        Ok(self.open_latest(taken)?)
    }

    fn take_latest(&mut self, timeout: Timeout) -> Result<(Taken, u64), RecvFailure> {
        self.receiver.take_newest(timeout)
    }

    fn open_latest(
        &mut self,
        (taken, skipped): (Taken, u64),
    ) -> Result<(Received<'_, T>, u64), RecvError> {
        Ok((self.open(taken)?, skipped))
    }

    fn receive_where<F: Form<RecvError, ()>>(
        &mut self,
        mut fits: impl FnMut(&T::Archived) -> bool,
        timeout: Timeout,
    ) -> Result<Received<'_, T>, F> {
        let taken = F::retry(|| self.take_where(&mut fits, timeout))?;
        Ok(self.open(taken)?)
    }

    /// Takes the next packet that fits or is invalid, and releases those before it.
    fn take_where(
        &mut self,
        mut fits: impl FnMut(&T::Archived) -> bool,
        timeout: Timeout,
    ) -> Result<Taken, RecvFailure> {
        let deadline = timeout.deadline();
        // Without a wait: only packets that are there now, not later ones.
        let end = self.receiver.cursor.tail();
        loop {
            let taken = self.receiver.take::<RecvFailure>(timeout.left(deadline))?;
            let is_own = taken.descriptor.type_index() == self.type_index;
            // Held while `fits` runs, which may panic. Released if the packet does not fit.
            let guard = ReadGuard::new(&mut self.receiver);
            let archived = packet::validate::<T>(guard.bytes());
            // An invalid packet is returned, too: `open` makes the error.
            if !is_own || archived.map_or(true, &mut fits) {
                std::mem::forget(guard);
                return Ok(taken);
            }
            drop(guard);
            let has_ended = match timeout {
                Timeout::Zero => self.receiver.cursor.position() >= end,
                _ => deadline.has_passed(),
            };
            if has_ended && matches!(timeout, Timeout::Zero) && self.receiver.is_over() {
                return Err(RecvError::Closed.into());
            }
            if has_ended {
                rearm(&mut self.receiver);
                return Err(RecvFailure::NotReady(()));
            }
        }
    }

    fn receive_batch<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Batch<'_, T>, F> {
        let first = self.take_batch::<F>(timeout)?;
        Ok(self.open_batch(first)?)
    }

    /// Takes all packets that are there, up to the first of another type. Returns the first.
    #[inline(always)]
    fn take_batch<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Taken, F> {
        let own = self.type_index;
        let wanted = |descriptor: &Descriptor| descriptor.type_index() == own;
        self.receiver.take_batch::<F>(timeout, wanted)
    }

    #[inline(always)]
    fn open_batch(&mut self, first: Taken) -> Result<Batch<'_, T>, RecvError> {
        if first.descriptor.type_index() != self.type_index {
            self.receiver.cursor.keep_until(first.end());
            return Err(self.mismatch(first));
        }
        match ValidatedBatch::open(BatchGuard::new(&mut self.receiver)) {
            Ok(opened) => Ok(Batch { opened }),
            Err(mut guard) => {
                guard.keep(1);
                Err(explained::<T>(guard.endpoint(), first.position, guard.bytes(0)))
            }
        }
    }

    fn receive_copied<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Copied<'_, T>, F> {
        let taken = self.take_next::<F>(timeout)?;
        Ok(self.open_copied(taken)?)
    }

    #[inline(always)]
    fn open_copied(&mut self, taken: Taken) -> Result<Copied<'_, T>, RecvError> {
        if taken.descriptor.type_index() != self.type_index {
            return Err(self.mismatch(taken));
        }
        let info = Info::of(&self.receiver);
        self.receiver.copy_out();
        match Validated::open(guard::CopiedBytes::new(&self.receiver.copy)) {
            Ok(opened) => Ok(Copied::new(opened, info)),
            Err((_, _)) => {
                let what = packet::explain::<T>(&self.receiver.copy);
                reports::invalid(&self.receiver.entry.segment, info.position, &what);
                Err(RecvError::Corrupt(what.into()))
            }
        }
    }

    #[cold]
    fn mismatch(&mut self, taken: Taken) -> RecvError {
        let segment = &self.receiver.entry.segment;
        let types = type_table::mismatch(segment, &T::TYPE, taken.descriptor.type_index());
        self.receiver.release();
        RecvError::TypeMismatch(Box::new(types))
    }
}

/// The error for an invalid packet, which is released.
#[cold]
#[inline(never)]
fn corrupt<T: Packet>(guard: ReadGuard<'_, Receiver>) -> RecvError {
    let receiver = guard.endpoint();
    explained::<T>(receiver, receiver.cursor.position(), guard.bytes())
}

#[cold]
fn explained<T: Packet>(receiver: &Receiver, position: u64, bytes: &[u8]) -> RecvError {
    let what = packet::explain::<T>(bytes);
    reports::invalid(&receiver.entry.segment, position, &what);
    RecvError::Corrupt(format!("at position {position}: {what}").into())
}

subscriber_control!(Subscriber<T>, T);

impl<T: Packet> Selectable for Subscriber<T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.receiver)
    }
}
