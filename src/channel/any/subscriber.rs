//! The subscriber to packets of any type.

use super::received::{AnyBatch, AnyReceived};
use crate::channel::error::{RecvError, RecvFailure, RecvTimeoutError, TryRecvError};
use crate::channel::untyped::{End, Receiver, SubscriberIndex, subscriber_control};
use crate::channel::waitable::{Selectable, Selectee};
use crate::channel::{async_verb, verb};
use crate::error::{Form, OpenError};
use crate::ring::cursor::{Cursor, Taken};
use crate::ring::guard::{BatchGuard, ReadGuard};
use crate::wait::Timeout;
use std::fmt;

/// Reads packets of any type, in place.
///
/// Lagging, closing and cancellation are those of a [`Subscriber`](crate::Subscriber).
pub struct AnySubscriber {
    pub(crate) receiver: Receiver,
}

impl fmt::Debug for AnySubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnySubscriber")
            .field("ring", &self.receiver.entry.segment.name())
            .finish_non_exhaustive()
    }
}

impl AnySubscriber {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self { receiver }
    }

    verb! {
        /// Receives the next packet of any type. Waits for it.
        ///
        /// # Errors
        ///
        /// [`Missed`](RecvError::Missed), [`Closed`](RecvError::Closed),
        /// [`Corrupt`](RecvError::Corrupt).
        recv, try_recv, recv_timeout = receive() -> AnyReceived<'_>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    verb! {
        /// Receives all packets that are there, of any types: at least one, at most 256. Waits for
        /// the first. They are released together.
        ///
        /// ```
        /// # use packetring::{Ring, one_of, packet};
        /// # #[packet] struct Job { id: u64 }
        /// # #[packet] struct Stop;
        /// # #[one_of] enum Work { Job(Job), Stop(Stop) }
        /// # let ring = Ring::builder().heap()?;
        /// # let mut work = ring.any_subscriber()?;
        /// # let mut boss = ring.any_publisher()?;
        /// # boss.send(&Job { id: 7 })?;
        /// # boss.send(&Stop)?;
        /// for packet in &work.drain()? {
        ///     match packet.open()? {
        ///         Some(Work::Job(job)) => assert_eq!(job.id, 7),
        ///         Some(Work::Stop(_)) => break,
        ///         None => eprintln!("unknown packet type {}", packet.type_name()),
        ///     }
        /// }
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv).
        drain, try_drain, drain_timeout = receive_batch() -> AnyBatch<'_>;
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    verb! {
        /// Receives the newest packet of any type, and releases those before it. Waits for the
        /// first. Returns also the number of packets before it that this subscriber does not get.
        ///
        /// Newest, cost and the number are those of
        /// [`Subscriber::recv_latest`](crate::Subscriber::recv_latest).
        ///
        /// # Errors
        ///
        /// As [`recv`](Self::recv). [`Missed`](RecvError::Missed) is returned only if packets were
        /// lost and none is left: otherwise the number contains the lost packets.
        recv_latest, try_recv_latest, recv_latest_timeout
            = receive_latest() -> (AnyReceived<'_>, u64);
        RecvError, TryRecvError::Empty, RecvTimeoutError::Timeout
    }

    async_verb! {
        recv_async = recv() -> AnyReceived<'_>; RecvError { take_next, open }, first take_fast
        drain_async = drain() -> AnyBatch<'_>; RecvError { take_batch, open_batch }
        recv_latest_async
            = recv_latest() -> (AnyReceived<'_>, u64); RecvError { take_latest, open_latest }
    }

    fn receive_latest<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<(AnyReceived<'_>, u64), F> {
        let taken = F::retry(|| self.take_latest(timeout))?;
        Ok(self.open_latest(taken))
    }

    fn take_latest(&mut self, timeout: Timeout) -> Result<(Taken, u64), RecvFailure> {
        self.receiver.take_newest(timeout)
    }

    fn open_latest(&mut self, (taken, skipped): (Taken, u64)) -> (AnyReceived<'_>, u64) {
        (self.open(taken), skipped)
    }

    #[inline(always)]
    pub(crate) fn receive<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<AnyReceived<'_>, F> {
        let taken = self.take_next::<F>(timeout)?;
        Ok(self.open(taken))
    }

    /// The packet that was just taken.
    #[inline(always)]
    pub(crate) fn open(&mut self, taken: Taken) -> AnyReceived<'_> {
        self.receiver.know_types();
        AnyReceived::new(ReadGuard::new(&mut self.receiver), taken)
    }

    fn receive_batch<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<AnyBatch<'_>, F> {
        let first = self.take_batch::<F>(timeout)?;
        Ok(self.open_batch(first))
    }

    #[inline(always)]
    fn take_batch<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<Taken, F> {
        self.receiver.take_batch::<F>(timeout, |_| true)
    }

    #[inline(always)]
    fn open_batch(&mut self, _first: Taken) -> AnyBatch<'_> {
        self.receiver.know_types();
        AnyBatch::new(BatchGuard::new(&mut self.receiver))
    }

    /// The entry.
    pub(crate) fn subscriber_index(&self) -> SubscriberIndex {
        SubscriberIndex(self.receiver.cursor.entry())
    }

    /// The position of the next packet.
    pub(crate) fn place(&self) -> End {
        End(self.receiver.cursor.position())
    }

    /// Returns true if the next packet is at or behind this end.
    pub(crate) fn has_passed(&self, end: End) -> bool {
        self.place().0 >= end.0
    }

    /// Returns true if the next receive returns at once without a packet, for example at the end of
    /// the ring.
    pub(crate) fn has_notice(&self) -> bool {
        self.receiver.has_notice()
    }

    /// The end of all claims so far.
    pub(crate) fn end(&self) -> End {
        End(self.receiver.cursor.tail())
    }
}

subscriber_control!(AnySubscriber);

impl Selectable for AnySubscriber {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.receiver)
    }
}
