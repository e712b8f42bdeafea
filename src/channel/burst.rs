//! Bursts: one claim for several packets that are sent one by one.
//!
//! ```text
//!  burst(n) ──► one compare-and-swap ──► send: fill, stamp ──► … ──► drop: the rest becomes void
//!                        ▲                        │ the rest is too short for the packet
//!                        └── the rest is void ────┘
//! ```
//!
//! Guarantees:
//!
//! - Each packet is published by its own `send`, as a packet of its own claim is.
//! - A burst that waits for room holds no slots: its rest is void and its record clear before.
//! - The guard borrows its publisher, so no other call of the publisher aborts an open burst. The
//!   next call aborts a burst that was forgotten.
//!
//! Only a shared ring has such claims. In an exclusive ring a burst takes the path of `send`.

use super::any::AnyPublisher;
use super::error::{SendError, SendTimeoutError, TrySendError, WaitingFor};
use super::publisher::Publisher;
use super::untyped::Sender;
use super::verb;
#[cfg(feature = "async")]
use super::{SendFailure, in_task};
use crate::error::Form;
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{self, Packet, SendAs};
use crate::ring::claim::{BurstSize, Writer};
use crate::ring::geometry::span;
use crate::ring::guard::HoldsClaim;
use crate::ring::slot::Descriptor;
use crate::wait::Timeout;
use std::fmt;
use std::marker::PhantomData;

/// Room for several packets, which are sent one by one: see [`Publisher::burst`].
///
/// Dropping it makes the slots that are left void. In a shared ring, subscribers wait at an open
/// burst, so send its packets soon.
#[must_use = "a burst that is dropped publishes nothing"]
pub struct Burst<'a, T: Packet> {
    sender: &'a mut Sender,
    type_index: u16,
    /// Slots of each claim.
    slots: u64,
    packet: PhantomData<fn(T)>,
}

impl<T: Packet> fmt::Debug for Burst<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Burst").field("type", &T::TYPE.name).finish_non_exhaustive()
    }
}

impl<'a, T: Packet> Burst<'a, T> {
    fn claim<F: Form<SendError, WaitingFor>>(
        sender: &'a mut Sender,
        type_index: u16,
        slots: usize,
        timeout: Timeout,
    ) -> Result<Self, F> {
        sender.begin_burst::<F>(T::FLAT_LEN, slots as u64, timeout)?;
        Ok(Self::claimed(sender, type_index, slots))
    }

    /// As [`claim`](Self::claim), but waits in a task.
    #[cfg(feature = "async")]
    async fn claim_in_task(
        sender: &'a mut Sender,
        type_index: u16,
        slots: usize,
    ) -> Result<Self, SendError> {
        in_task(&mut *sender, SendError::System, |sender| {
            sender.begin_burst::<SendFailure>(T::FLAT_LEN, slots as u64, Timeout::Task)
        })
        .await?;
        Ok(Self::claimed(sender, type_index, slots))
    }

    fn claimed(sender: &'a mut Sender, type_index: u16, slots: usize) -> Self {
        Self { sender, type_index, slots: slots as u64, packet: PhantomData }
    }

    verb! {
        /// Publishes a packet in the next slots of the burst. Returns the packet's position.
        ///
        /// If the slots that are left are too few for the packet, they become void, and the call
        /// claims the next slots, as many as the burst began with. It waits for room then, with no
        /// slot claimed.
        ///
        /// Cost: one serialization into the slots. A claim costs one compare-and-swap.
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed) and [`Unserializable`](SendError::Unserializable): the
        /// rest of the burst is void. [`TooLarge`](SendError::TooLarge): the burst is as it was.
        send, try_send, send_timeout = send_with[P: SendAs<T>](packet: P) -> u64;
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    /// As [`send`](Self::send), but waits for room in a task, for any executor. Dropping the future
    /// publishes nothing, or the whole packet.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn send_async<P: SendAs<T>>(&mut self, packet: P) -> Result<u64, SendError> {
        let (index, slots) = (self.type_index, self.slots);
        in_task(&mut *self.sender, SendError::System, |sender| {
            sender.send_in_burst::<_, SendFailure>(packet.value(), index, slots, Timeout::Task)
        })
        .await
    }

    #[inline(always)]
    fn send_with<P: SendAs<T>, F: Form<SendError, WaitingFor>>(
        &mut self,
        packet: P,
        timeout: Timeout,
    ) -> Result<u64, F> {
        self.sender.send_in_burst(packet.value(), self.type_index, self.slots, timeout)
    }
}

impl<T: Packet> Drop for Burst<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.sender.end_burst();
    }
}

impl<T: Packet> Publisher<T> {
    verb! {
        /// Claims room for several packets, which are then sent one by one. Waits for room for one
        /// packet. The burst has up to `slots` slots of 64 bytes, and at most as many as
        /// the largest packet of the ring. A packet with an archive of 48 bytes or less takes one
        /// slot.
        ///
        /// In a shared ring one compare-and-swap then serves all these packets, as in
        /// [`send_all`](Self::send_all). But each packet is published at once, and need not exist
        /// when the burst begins. After `slots` slots, [`Burst::send`] claims the next ones. An
        /// exclusive ring needs no claim: there the packets are published as by
        /// [`send`](Self::send).
        ///
        /// ```
        /// # let ring = packetring::Ring::builder().heap()?;
        /// # let mut prices = ring.publisher::<u64>()?;
        /// # let mut screen = ring.subscriber::<u64>()?;
        /// let mut burst = prices.burst(16)?;
        /// for price in [17, 18, 19] {
        ///     burst.send(&price)?;
        /// }
        /// drop(burst);
        /// assert_eq!(screen.recv()?.to_native(), 17);
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Order
        ///
        /// Packets lie in the ring where they were claimed, not when they were sent. Publisher A
        /// claims a burst. Publisher B sends `b` and tells A of it. A sends `a` in its burst. All
        /// subscribers get `a` before `b`. The packets of one publisher keep their order.
        ///
        /// # An open burst
        ///
        /// - Subscribers that come to the next slot of the burst wait there, also for packets of
        ///   other publishers behind it. A thread that holds a burst must not wait for such a
        ///   packet.
        /// - Other publishers wait as soon as they are a lap ahead.
        /// - In a ring that [drops the oldest](crate::Overflow::DropOldest), the claim makes room
        ///   for all of its slots, so packets may be dropped earlier.
        /// - After [`Ring::close`](crate::Ring::close), subscribers get
        ///   [`Closed`](crate::RecvError::Closed) only once the burst has ended.
        ///
        /// So drop the burst before the publisher waits for something else. Dropping it makes its
        /// rest void. If its process dies, another process does so within milliseconds, and the
        /// packets that were sent are received. The publisher's next call ends a burst that was
        /// forgotten.
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed), and [`TooLarge`](SendError::TooLarge) if all packets of
        /// the type are too large.
        burst, try_burst, burst_timeout = burst_with(slots: usize) -> Burst<'_, T>;
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    /// As [`burst`](Self::burst), but waits for room in a task, for any executor. Dropping the
    /// future claims nothing.
    ///
    /// # Errors
    ///
    /// As [`burst`](Self::burst), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn burst_async(&mut self, slots: usize) -> Result<Burst<'_, T>, SendError> {
        Burst::claim_in_task(&mut self.sender, self.type_index, slots).await
    }

    fn burst_with<F: Form<SendError, WaitingFor>>(
        &mut self,
        slots: usize,
        timeout: Timeout,
    ) -> Result<Burst<'_, T>, F> {
        Burst::claim(&mut self.sender, self.type_index, slots, timeout)
    }
}

impl AnyPublisher {
    verb! {
        /// Claims room for several packets of one type, which are then sent one by one: see
        /// [`Publisher::burst`](crate::Publisher::burst).
        ///
        /// # Errors
        ///
        /// As [`reserve`](Self::reserve).
        burst, try_burst, burst_timeout = burst_with[T: Packet](slots: usize) -> Burst<'_, T>;
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    /// As [`burst`](Self::burst), but waits for room in a task: see
    /// [`Publisher::burst_async`](crate::Publisher::burst_async).
    ///
    /// # Errors
    ///
    /// As [`burst`](Self::burst), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn burst_async<T: Packet>(
        &mut self,
        slots: usize,
    ) -> Result<Burst<'_, T>, SendError> {
        let index = self.index_in_task::<T>().await?;
        Burst::claim_in_task(&mut self.sender, index, slots).await
    }

    fn burst_with<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        slots: usize,
        timeout: Timeout,
    ) -> Result<Burst<'_, T>, F> {
        let (index, timeout) = self.types.index_of::<T, F>(&self.sender, timeout)?;
        Burst::claim(&mut self.sender, index, slots, timeout)
    }
}

/// The untyped part of a burst.
impl Sender {
    /// Begins an operation, and claims a burst for archives of `len` bytes each, or of any lengths.
    fn begin_burst<F: Form<SendError, WaitingFor>>(
        &mut self,
        len: Option<usize>,
        slots: u64,
        timeout: Timeout,
    ) -> Result<(), F> {
        let first = len.unwrap_or(0);
        if self.writer.is_exclusive() {
            return self.begin_claim(first, timeout);
        }
        self.begin()?;
        self.check_len(first)?;
        let size = BurstSize::new(span(first), len.is_some(), slots);
        self.claim_burst(first, size, timeout)
    }

    /// Publishes the next packet of a burst.
    #[inline(always)]
    fn send_in_burst<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        value: &T,
        type_index: u16,
        slots: u64,
        timeout: Timeout,
    ) -> Result<u64, F> {
        if self.writer.is_exclusive() {
            return self.send(value, type_index, timeout);
        }
        match T::FLAT_LEN {
            Some(len) => self.send_claimed_in_burst(len, value, type_index, slots, timeout),
            None => self.send_measured_in_burst(value, type_index, slots, timeout),
        }
    }

    // Out of line: serialization is large.
    #[inline(never)]
    fn send_measured_in_burst<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        value: &T,
        type_index: u16,
        slots: u64,
        timeout: Timeout,
    ) -> Result<u64, F> {
        match packet::measure(value, &mut self.scratch) {
            Ok(len) => self.send_claimed_in_burst(len, value, type_index, slots, timeout),
            Err(error) => {
                self.end_burst();
                Err(SendError::from(error).into())
            }
        }
    }

    #[inline(always)]
    fn send_claimed_in_burst<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        len: usize,
        value: &T,
        type_index: u16,
        slots: u64,
        timeout: Timeout,
    ) -> Result<u64, F> {
        if self.is_closed() || !self.writer.owns(span(len)) {
            self.next_burst::<F>(len, T::FLAT_LEN.is_some(), slots, timeout)?;
        }
        failpoint(Failpoint::BurstFill);
        Ok(self.publish(&[], value, Descriptor::data(len, type_index))?)
    }

    /// Claims the next slots, because the rest is too short for an archive of `len` bytes. Fails if
    /// the ring is closed.
    #[inline(never)]
    fn next_burst<F: Form<SendError, WaitingFor>>(
        &mut self,
        len: usize,
        is_flat: bool,
        slots: u64,
        timeout: Timeout,
    ) -> Result<(), F> {
        self.check_len(len)?;
        // Before the claim, which may wait: an open claim would gate this publisher, too.
        self.end_burst();
        self.check_open()?;
        self.claim_burst(len, BurstSize::new(span(len), is_flat, slots), timeout)
    }

    /// Claims a burst, and waits for room for its first packet, of `len` bytes.
    fn claim_burst<F: Form<SendError, WaitingFor>>(
        &mut self,
        len: usize,
        size: BurstSize,
        timeout: Timeout,
    ) -> Result<(), F> {
        let position = match self.writer.claim_burst(size) {
            Ok(position) => position,
            Err(full) => {
                let mut claim = |writer: &mut Writer| writer.claim_burst(size);
                F::retry(|| self.claim_slow(full, timeout, &mut claim))?
            }
        };
        self.choose_copying(len, position);
        Ok(())
    }

    /// Makes the rest of an open burst void.
    fn end_burst(&mut self) {
        let is_open = !self.writer.is_exclusive() && self.writer.owns(1);
        // In a forked child the memory is not mapped, and the claim belongs to the parent.
        if is_open && !self.entry.segment.is_inherited() {
            failpoint(Failpoint::BurstVoid);
            // Readers continue behind a void packet, so they are woken for it, too.
            HoldsClaim::abandon(self);
        }
    }
}
