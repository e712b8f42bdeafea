//! [`AnyPublisher`]: publishes packets of several types to one ring.

#[cfg(feature = "dynamic")]
use super::outgoing::archive_of;
use crate::channel::error::{
    SendAllError, SendError, SendFailure, SendTimeoutError, TrySendError, WaitingFor,
};
#[cfg(feature = "async")]
use crate::channel::in_task;
use crate::channel::join::{self, Types};
use crate::channel::reserved::{Reserved, ReservedTail};
use crate::channel::type_cache::TypeCache;
use crate::channel::type_table;
#[cfg(feature = "async")]
use crate::channel::untyped::RoomWait;
use crate::channel::untyped::{
    DeadLetter, MessageHeader, Sender, SubscriberIndex, publisher_control,
};
use crate::channel::verb;
use crate::channel::waitable::{Selectable, Selectee};
use crate::error::{Form, OpenError};
use crate::packet::{AnyBits, Packet, SendAllAs, SendAs, Tail};
use crate::sys::stop::Stop;
use crate::wait::{Timeout, Wait};
#[cfg(feature = "dynamic")]
use packetring_dynamic::Value;
use std::fmt;
use std::time::Duration;
#[cfg(feature = "async")]
use std::time::Instant;

/// Publishes packets of several types to one ring.
///
/// The first packet of a type registers the type in the ring, under its control lock. Later packets
/// of the type cost the same as those of a [`Publisher`](crate::Publisher). A full ring and a
/// closed ring behave as they do for a [`Publisher`](crate::Publisher).
///
/// ```
/// # use packetring::{Ring, one_of, packet};
/// #[packet] struct Job { id: u64 }
/// #[packet] struct Stop;
/// #[one_of] enum Work { Job(Job), Stop(Stop) }
///
/// # let ring = Ring::builder().heap()?;
/// let mut work = ring.any_subscriber()?;
/// let mut boss = ring.any_publisher()?;
/// boss.send(&Job { id: 7 })?;
/// boss.send(&Stop)?;
///
/// let packet = work.recv()?;
/// match packet.open()? {
///     Some(Work::Job(job)) => assert_eq!(job.id, 7),
///     Some(Work::Stop(_)) => unreachable!(),
///     None => eprintln!("unknown packet type {}", packet.type_name()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AnyPublisher {
    pub(in crate::channel) sender: Sender,
    pub(in crate::channel) types: TypeCache,
}

impl fmt::Debug for AnyPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyPublisher")
            .field("ring", &self.sender.entry.segment.name())
            .finish_non_exhaustive()
    }
}

impl AnyPublisher {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, types: TypeCache::default() }
    }

    verb! {
        /// Publishes a packet. Waits for room. Returns the packet's position.
        ///
        /// # Errors
        ///
        /// The errors of [`Publisher::send`](crate::Publisher::send). The first packet of a type
        /// can also fail with [`TooManyTypes`](SendError::TooManyTypes) or
        /// [`System`](SendError::System).
        send, try_send, send_timeout = send_with[T: Packet](packet: impl SendAs<T>) -> u64;
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    verb! {
        /// Publishes packets of one type in order: see
        /// [`Publisher::send_all`](crate::Publisher::send_all).
        ///
        /// # Errors
        ///
        /// The error of [`send`](Self::send) for the first packet that was not published, and the
        /// number of packets that were published before it.
        send_all, try_send_all, send_all_timeout = send_all_with[T: Packet](packets: impl SendAllAs<T>)
            -> ();
        SendError, TrySendError::Full, SendTimeoutError::Timeout in SendAllError
    }

    verb! {
        /// Reserves room for one packet, to be filled in place: see
        /// [`Publisher::reserve`](crate::Publisher::reserve).
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed), [`TooLarge`](SendError::TooLarge),
        /// [`TooManyTypes`](SendError::TooManyTypes), [`System`](SendError::System).
        reserve, try_reserve, reserve_timeout = reserve_with[T: Packet]() -> Reserved<'_, T>
        where [T::Archived: AnyBits];
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    verb! {
        /// Reserves room for a head and `count` elements, to be filled in place: see
        /// [`Publisher::reserve_tail`](crate::Publisher::reserve_tail).
        ///
        /// # Errors
        ///
        /// As [`reserve`](Self::reserve).
        reserve_tail, try_reserve_tail, reserve_tail_timeout
            = reserve_tail_with[H: Packet, E: Packet](count: usize) -> ReservedTail<'_, H, E>
        where [Tail<H, E>: Packet, H::Archived: AnyBits, E::Archived: AnyBits];
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    #[cfg(feature = "dynamic")]
    verb! {
        /// Publishes a packet without its Rust type: an archive that
        /// [`Schema::encode`](crate::dynamic::Schema::encode) made and its schema read, or a packet
        /// of another ring. Waits for room. Returns the packet's position.
        ///
        /// # Errors
        ///
        /// As [`send`](Self::send). [`Unserializable`](SendError::Unserializable) if the value is a
        /// part of a packet.
        send_value, try_send_value, send_value_timeout = send_value_with(value: Value<'_>) -> u64;
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    /// Joins as another publisher to the same ring.
    ///
    /// # Errors
    ///
    /// As [`Publisher::try_clone`](crate::Publisher::try_clone).
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        let entry = &self.sender.entry;
        let wait = entry.waiter.wait();
        // Types that this publisher has registered stay registered while it lives.
        let known = Types::Known(self.types.bits());
        let (sender, _) = join::publisher(&entry.segment, &known, wait)?;
        Ok(Self { sender, types: self.types.clone() })
    }

    #[inline]
    fn send_with<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        packet: impl SendAs<T>,
        timeout: Timeout,
    ) -> Result<u64, F> {
        let (index, timeout) = self.types.index_of::<T, F>(&self.sender, timeout)?;
        self.sender.send(packet.value(), index, timeout)
    }

    #[cfg(feature = "dynamic")]
    fn send_value_with<F: Form<SendError, WaitingFor>>(
        &mut self,
        value: Value<'_>,
        timeout: Timeout,
    ) -> Result<u64, F> {
        let archive = archive_of(value)?;
        let schema = value.schema();
        let (index, timeout) = self.types.index_of_schema::<F>(&self.sender, schema, timeout)?;
        self.sender.begin()?;
        self.sender.send_archive(archive, index, MessageHeader::NONE, timeout)
    }

    /// As [`send`](Self::send), but waits for room in a task, for any executor. Dropping the future
    /// publishes nothing, or the whole packet.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn send_async<T: Packet>(
        &mut self,
        packet: impl SendAs<T>,
    ) -> Result<u64, SendError> {
        let index = self.index_in_task::<T>().await?;
        self.sender.send_in_task(packet.value(), index).await
    }

    /// As [`reserve`](Self::reserve), but waits for room in a task: see
    /// [`Publisher::reserve_async`](crate::Publisher::reserve_async).
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn reserve_async<T: Packet>(&mut self) -> Result<Reserved<'_, T>, SendError>
    where
        T::Archived: AnyBits,
    {
        let index = self.index_in_task::<T>().await?;
        Reserved::claim_in_task(&mut self.sender, index).await
    }

    /// As [`reserve_tail`](Self::reserve_tail), but waits for room in a task: see
    /// [`Publisher::reserve_async`](crate::Publisher::reserve_async).
    ///
    /// # Errors
    ///
    /// As [`reserve_tail`](Self::reserve_tail), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn reserve_tail_async<H: Packet, E: Packet>(
        &mut self,
        count: usize,
    ) -> Result<ReservedTail<'_, H, E>, SendError>
    where
        Tail<H, E>: Packet,
        H::Archived: AnyBits,
        E::Archived: AnyBits,
    {
        let index = self.index_in_task::<Tail<H, E>>().await?;
        ReservedTail::claim_in_task(&mut self.sender, index, count).await
    }

    /// The index of a type, which is registered if it is new to the ring. Tries again in the task
    /// while another process holds the control lock.
    #[cfg(feature = "async")]
    pub(crate) async fn index_in_task<T: Packet>(&mut self) -> Result<u16, SendError> {
        match self.types.index_of::<T, SendFailure>(&self.sender, Timeout::Task) {
            Ok((index, _)) => return Ok(index),
            Err(SendFailure::Error(error)) => return Err(error),
            Err(SendFailure::NotReady(_)) => {}
        }
        let mut clock = RoomWait::new(self.sender.entry.segment.stop());
        let since = Instant::now();
        in_task(&mut clock, SendError::System, |clock| {
            clock.begin(None);
            let found = self.types.index_of::<T, SendFailure>(&self.sender, Timeout::Task);
            if let Err(SendFailure::NotReady(_)) = found
                && let Some(error) = self.sender.entry.segment.end_of_wait(since)
            {
                return Err(type_table::refused(error).into());
            }
            found.map(|(index, _)| index)
        })
        .await
    }

    /// After a try that found no room: has a task wait for room, without this publisher.
    #[cfg(feature = "async")]
    pub(crate) fn wait_in(&mut self, room: &mut RoomWait) {
        room.begin(Some(&mut self.sender));
    }

    /// Publishes a copy of a packet of another ring, with its type. Does not wait for room.
    pub(crate) fn forward(&mut self, letter: &DeadLetter<'_>, tag: u32) -> Result<(), SendFailure> {
        let sender = &mut self.sender;
        sender.begin()?;
        let index = {
            let control = sender.entry.segment.lock().map_err(type_table::refused)?;
            type_table::register_for(&control, &sender.entry, |registrar| {
                registrar.register_carried(&letter.carried)
            })
            .map_err(type_table::refused)?
        };
        let header = MessageHeader::tagged(tag);
        sender.send_archive::<SendFailure>(letter.archive, index, header, Timeout::Zero)?;
        Ok(())
    }

    /// Returns the wait policy of this publisher.
    pub(crate) fn wait(&self) -> Wait {
        self.sender.entry.waiter.wait()
    }

    /// Sets what ends the waits of this publisher, if it differs.
    #[inline]
    pub(crate) fn set_stop_to(&mut self, stop: Option<&Stop>) {
        let is_it = match (self.sender.entry.waiter.stop(), stop) {
            (Some(own), Some(stop)) => own.is(stop),
            (own, stop) => own.is_none() && stop.is_none(),
        };
        if !is_it {
            self.sender.entry.waiter.set_stop(stop);
        }
    }

    /// Sets the longest wait for the control lock. `None` waits without a limit.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.sender.entry.segment.set_lock_timeout(timeout);
    }

    fn send_all_with<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        packets: impl SendAllAs<T>,
        timeout: Timeout,
    ) -> Result<(), SendAllError<F>> {
        let (index, timeout) = self
            .types
            .index_of::<T, F>(&self.sender, timeout)
            .map_err(|source| SendAllError { sent: 0, source })?;
        self.sender.send_all(packets.values(), index, timeout)
    }

    fn reserve_with<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Reserved<'_, T>, F>
    where
        T::Archived: AnyBits,
    {
        let (index, timeout) = self.types.index_of::<T, F>(&self.sender, timeout)?;
        Reserved::claim(&mut self.sender, index, timeout)
    }

    fn reserve_tail_with<H: Packet, E: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        count: usize,
        timeout: Timeout,
    ) -> Result<ReservedTail<'_, H, E>, F>
    where
        Tail<H, E>: Packet,
        H::Archived: AnyBits,
        E::Archived: AnyBits,
    {
        let (index, timeout) = self.types.index_of::<Tail<H, E>, F>(&self.sender, timeout)?;
        ReservedTail::claim(&mut self.sender, index, count, timeout)
    }

    /// Stores the id of the client that sends its requests by this publisher. Returns the index of
    /// the publisher's entry: a server reads the client's id there.
    pub(crate) fn sign(&self, caller: u64) -> u16 {
        self.sender.sign(caller)
    }

    /// Returns true if no cursor is lower than the one of `subscriber`, so this subscriber gates
    /// the publisher.
    pub(crate) fn waits_for(&self, subscriber: SubscriberIndex) -> bool {
        self.sender.waits_for(subscriber)
    }
}

publisher_control!(AnyPublisher);

/// Ready if there may be room since a call that does not wait found none.
impl Selectable for AnyPublisher {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.sender)
    }
}
