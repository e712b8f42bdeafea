//! Endpoints for packets of several types in one ring.

use super::received::{AnyBatch, AnyReceived};
use crate::channel::error::{
    RecvError, RecvTimeoutError, SendAllError, SendError, SendFailure, SendTimeoutError,
    TryRecvError, TrySendError, WaitingFor,
};
use crate::channel::join::{self, Types};
use crate::channel::reserved::{Reserved, ReservedTail};
use crate::channel::select::{Selectable, Selectee};
use crate::channel::type_cache::Carried;
use crate::channel::untyped::Receiver;
use crate::channel::untyped::{End, SubscriberIndex, publisher_waits};
use crate::channel::untyped::{MessageHeader, Sender};
use crate::error::{Form, OpenError, retry};
use crate::packet::{AnyBits, Packet, Tail, TypeInfo};
use crate::ring::gate::position;
use crate::ring::guard::{BatchGuard, ReadGuard};
use crate::sync::Ordering;
use crate::wait::{Timeout, Wait};
use std::fmt;
use std::time::Duration;

/// An endpoint that publishes packets of any type.
///
/// The first packet of a type enters the type into the ring, under the control lock; after that a
/// send costs what a typed one does.
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
/// let mail = work.recv()?;
/// match mail.open()? {
///     Some(Work::Job(job)) => assert_eq!(job.id, 7),
///     Some(Work::Stop(_)) => unreachable!(),
///     None => eprintln!("a {} is not for us", mail.type_name()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AnyPublisher {
    pub(in crate::channel) sender: Sender,
    carried: Carried,
}

impl fmt::Debug for AnyPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.sender.endpoint.segment.name();
        f.debug_struct("AnyPublisher").field("ring", &ring).finish_non_exhaustive()
    }
}

impl AnyPublisher {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, carried: Carried::default() }
    }

    /// Publishes a packet. Waits for room. Returns its position.
    ///
    /// # Errors
    ///
    /// As [`Publisher::send`](crate::channel::Publisher::send), and
    /// [`TooManyTypes`](SendError::TooManyTypes).
    pub fn send<T: Packet>(&mut self, packet: &T) -> Result<u64, SendError> {
        self.send_with(packet, Timeout::Never)
    }

    /// Publishes a packet if there is room now.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Full`](TrySendError::Full).
    pub fn try_send<T: Packet>(&mut self, packet: &T) -> Result<u64, TrySendError> {
        self.send_with(packet, Timeout::Zero)
    }

    /// Publishes a packet if there is room in time.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Timeout`](SendTimeoutError::Timeout).
    pub fn send_timeout<T: Packet>(
        &mut self,
        packet: &T,
        timeout: Duration,
    ) -> Result<u64, SendTimeoutError> {
        self.send_with(packet, Timeout::After(timeout))
    }

    /// Publishes packets of one type in order, claiming room for up to 64 at once. Waits for room.
    ///
    /// # Errors
    ///
    /// As [`Publisher::send_all`](crate::channel::Publisher::send_all), and
    /// [`TooManyTypes`](SendError::TooManyTypes).
    pub fn send_all<T: Packet>(&mut self, packets: &[T]) -> Result<(), SendAllError> {
        self.send_all_with(packets, Timeout::Never)
    }

    /// Publishes packets as far as there is room now: see [`send_all`](Self::send_all).
    ///
    /// # Errors
    ///
    /// As [`send_all`](Self::send_all), and [`Full`](TrySendError::Full).
    pub fn try_send_all<T: Packet>(
        &mut self,
        packets: &[T],
    ) -> Result<(), SendAllError<TrySendError>> {
        self.send_all_with(packets, Timeout::Zero)
    }

    /// Publishes packets, waiting this long for room for each claim: see
    /// [`send_all`](Self::send_all).
    ///
    /// # Errors
    ///
    /// As [`send_all`](Self::send_all), and [`Timeout`](SendTimeoutError::Timeout).
    pub fn send_all_timeout<T: Packet>(
        &mut self,
        packets: &[T],
        timeout: Duration,
    ) -> Result<(), SendAllError<SendTimeoutError>> {
        self.send_all_with(packets, Timeout::After(timeout))
    }

    /// Room for one packet, to be filled in place: see
    /// [`Publisher::reserve`](crate::channel::Publisher::reserve). Waits for it.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), [`TooLarge`](SendError::TooLarge),
    /// [`TooManyTypes`](SendError::TooManyTypes).
    pub fn reserve<T: Packet>(&mut self) -> Result<Reserved<'_, T>, SendError>
    where
        T::Archived: AnyBits,
    {
        self.reserve_with(Timeout::Never)
    }

    /// Room for one packet, if there is some now: see [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`Full`](TrySendError::Full).
    pub fn try_reserve<T: Packet>(&mut self) -> Result<Reserved<'_, T>, TrySendError>
    where
        T::Archived: AnyBits,
    {
        self.reserve_with(Timeout::Zero)
    }

    /// Room for one packet, if there is some in time: see [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`Timeout`](SendTimeoutError::Timeout).
    pub fn reserve_timeout<T: Packet>(
        &mut self,
        timeout: Duration,
    ) -> Result<Reserved<'_, T>, SendTimeoutError>
    where
        T::Archived: AnyBits,
    {
        self.reserve_with(Timeout::After(timeout))
    }

    /// Room for a head and `count` elements, to be filled in place: see
    /// [`Publisher::reserve_tail`](crate::channel::Publisher::reserve_tail). Waits for it.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn reserve_tail<H: Packet, E: Packet>(
        &mut self,
        count: usize,
    ) -> Result<ReservedTail<'_, H, E>, SendError>
    where
        Tail<H, E>: Packet,
        H::Archived: AnyBits,
        E::Archived: AnyBits,
    {
        self.reserve_tail_with(count, Timeout::Never)
    }

    /// Room for a head and `count` elements, if there is some now: see
    /// [`reserve_tail`](Self::reserve_tail).
    ///
    /// # Errors
    ///
    /// As [`try_reserve`](Self::try_reserve).
    pub fn try_reserve_tail<H: Packet, E: Packet>(
        &mut self,
        count: usize,
    ) -> Result<ReservedTail<'_, H, E>, TrySendError>
    where
        Tail<H, E>: Packet,
        H::Archived: AnyBits,
        E::Archived: AnyBits,
    {
        self.reserve_tail_with(count, Timeout::Zero)
    }

    /// Room for a head and `count` elements, if there is some in time: see
    /// [`reserve_tail`](Self::reserve_tail).
    ///
    /// # Errors
    ///
    /// As [`reserve_timeout`](Self::reserve_timeout).
    pub fn reserve_tail_timeout<H: Packet, E: Packet>(
        &mut self,
        count: usize,
        timeout: Duration,
    ) -> Result<ReservedTail<'_, H, E>, SendTimeoutError>
    where
        Tail<H, E>: Packet,
        H::Archived: AnyBits,
        E::Archived: AnyBits,
    {
        self.reserve_tail_with(count, Timeout::After(timeout))
    }

    /// Another publisher to the same ring.
    ///
    /// # Errors
    ///
    /// As [`Publisher::try_clone`](crate::channel::Publisher::try_clone).
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        let endpoint = &self.sender.endpoint;
        let wait = endpoint.waiter.wait();
        let (sender, _) = join::publisher(&endpoint.segment, &Types::Any, wait)?;
        Ok(Self { sender, carried: self.carried.clone() })
    }

    #[inline]
    fn send_with<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        packet: &T,
        timeout: Timeout,
    ) -> Result<u64, F> {
        retry(|| {
            let (index, timeout) = self.carried.index_of::<T>(&self.sender, timeout)?;
            self.sender.send(packet, index, timeout)
        })
    }

    /// Publishes a letter that is but marked.
    #[inline(always)]
    pub(crate) fn send_tagged<T: Packet>(
        &mut self,
        tag: u16,
        packet: &T,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        self.send_with_header(MessageHeader { tag, ..MessageHeader::NONE }, packet, timeout)
    }

    /// Publishes a letter: a packet in a cover.
    // Part of its callers, so that the length of a front is known where it is constant.
    #[inline(always)]
    pub(crate) fn send_with_header<T: Packet>(
        &mut self,
        cover: MessageHeader<'_>,
        packet: &T,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        let (index, timeout) = self.carried.index_of::<T>(&self.sender, timeout)?;
        if !self.sender.writer.memory.head().membership.accepts(index) {
            let refusal = join::refusal(&self.sender.endpoint.segment, &T::TYPE);
            return Err(SendError::TypeRefused(Box::new(refusal)).into());
        }
        // Who sends letters reserves nothing, so no claim was forgotten.
        self.sender.check_open()?;
        self.sender.send_shared(cover, packet, index, timeout)
    }

    /// Enters types into the ring ahead of their first packets: those need no lock then.
    pub(crate) fn enter(
        &mut self,
        types: &[TypeInfo],
        timeout: Timeout,
    ) -> Result<(), SendFailure> {
        types.iter().try_for_each(|info| self.carried.know(&self.sender, info, timeout))
    }

    /// How it waits.
    #[cfg(test)]
    pub(crate) fn wait(&self) -> Wait {
        self.sender.endpoint.waiter.wait()
    }

    /// Waits for the control lock for this long from now on.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.sender.endpoint.segment.set_lock_timeout(timeout);
    }

    fn send_all_with<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        packets: &[T],
        timeout: Timeout,
    ) -> Result<(), SendAllError<F>> {
        let (index, timeout) = retry(|| self.carried.index_of::<T>(&self.sender, timeout))
            .map_err(|source| SendAllError { sent: 0, source })?;
        self.sender.send_all(packets, index, timeout)
    }

    fn reserve_with<T: Packet, F: Form<SendError, WaitingFor>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Reserved<'_, T>, F>
    where
        T::Archived: AnyBits,
    {
        let (index, timeout) = retry(|| self.carried.index_of::<T>(&self.sender, timeout))?;
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
        let (index, timeout) =
            retry(|| self.carried.index_of::<Tail<H, E>>(&self.sender, timeout))?;
        ReservedTail::claim(&mut self.sender, index, count, timeout)
    }
}

publisher_waits!(AnyPublisher);

/// An endpoint that reads packets of any type.
pub struct AnySubscriber {
    pub(crate) receiver: Receiver,
}

impl fmt::Debug for AnySubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.receiver.endpoint.segment.name();
        f.debug_struct("AnySubscriber").field("ring", &ring).finish_non_exhaustive()
    }
}

impl AnySubscriber {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self { receiver }
    }

    /// The next packet, whatever its type. Waits for it.
    ///
    /// # Errors
    ///
    /// [`Missed`](RecvError::Missed), [`Closed`](RecvError::Closed),
    /// [`Corrupt`](RecvError::Corrupt).
    #[inline]
    pub fn recv(&mut self) -> Result<AnyReceived<'_>, RecvError> {
        self.receive(Timeout::Never)
    }

    /// The next packet, or [`Empty`](TryRecvError::Empty).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](TryRecvError::Empty).
    #[inline]
    pub fn try_recv(&mut self) -> Result<AnyReceived<'_>, TryRecvError> {
        self.receive(Timeout::Zero)
    }

    /// The next packet, if it comes in time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvTimeoutError::Timeout).
    #[inline]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<AnyReceived<'_>, RecvTimeoutError> {
        self.receive(Timeout::After(timeout))
    }

    /// All packets that are there, whatever their types, one at least and 256 at most: released
    /// together. Waits for the first.
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
    /// for parcel in &work.drain()? {
    ///     match parcel.open()? {
    ///         Some(Work::Job(job)) => assert_eq!(job.id, 7),
    ///         Some(Work::Stop(_)) => break,
    ///         None => eprintln!("a {} is not for us", parcel.type_name()),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn drain(&mut self) -> Result<AnyBatch<'_>, RecvError> {
        self.receive_batch(Timeout::Never)
    }

    /// All packets that are there, or [`Empty`](TryRecvError::Empty): see [`drain`](Self::drain).
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn try_drain(&mut self) -> Result<AnyBatch<'_>, TryRecvError> {
        self.receive_batch(Timeout::Zero)
    }

    /// All packets that are there, if one comes in time: see [`drain`](Self::drain).
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn drain_timeout(&mut self, timeout: Duration) -> Result<AnyBatch<'_>, RecvTimeoutError> {
        self.receive_batch(Timeout::After(timeout))
    }

    /// How much waits to be received, in slots of 64 bytes.
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

    #[inline(always)]
    fn receive<F: Form<RecvError, ()>>(&mut self, timeout: Timeout) -> Result<AnyReceived<'_>, F> {
        let taken = retry(|| self.receiver.take(timeout))?;
        self.receiver.know_type(taken.descriptor.type_index());
        Ok(AnyReceived::new(ReadGuard::new(&mut self.receiver, taken)))
    }

    fn receive_batch<F: Form<RecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<AnyBatch<'_>, F> {
        retry(|| self.receiver.take_batch(timeout, |_| true))?;
        self.receiver.know_types();
        Ok(AnyBatch::new(BatchGuard::new(&mut self.receiver)))
    }
}

impl Selectable for AnySubscriber {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.receiver)
    }
}

impl AnyPublisher {
    /// Says whose requests this one publishes from now on. Returns its entry, by which a server
    /// finds that.
    pub(crate) fn sign(&self, caller: u64) -> u16 {
        let writer = &self.sender.writer;
        let details = &writer.own().details;
        details.since.store(writer.tail(), Ordering::Relaxed);
        // Pairs with the acquire in `caller`: who sees this sees `since`.
        details.caller.store(caller, Ordering::Release);
        writer.entry as u16
    }

    /// Whether no subscriber is behind this one: who waits for room then waits for it.
    pub(crate) fn waits_for(&self, subscriber: SubscriberIndex) -> bool {
        let entries = self.sender.writer.memory.subscribers();
        let cursors = entries.iter().map(|entry| position(entry.cursor.load(Ordering::Relaxed)));
        let slowest = cursors.clone().min();
        cursors.clone().nth(subscriber.0) == slowest
    }
}

impl AnySubscriber {
    /// Where it sits.
    pub(crate) fn subscriber_index(&self) -> SubscriberIndex {
        SubscriberIndex(self.receiver.reader.entry)
    }

    /// The place of what it receives next.
    pub(crate) fn place(&self) -> End {
        End(self.receiver.reader.position())
    }

    /// Whether it has come to the end of what was there when this was asked for.
    pub(crate) fn has_passed(&self, end: End) -> bool {
        self.place().0 >= end.0
    }

    /// Whether the next receive has something to tell, be it that the ring is over.
    pub(crate) fn has_notice(&self) -> bool {
        self.receiver.has_notice()
    }

    /// The end of what is there.
    pub(crate) fn end(&self) -> End {
        End(self.receiver.tail())
    }
}
