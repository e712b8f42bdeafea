//! The typed publisher.

use super::error::{SendAllError, SendError, SendTimeoutError, TrySendError, WaitingFor};
use super::join::{self, Types};
use super::reserved::{Reserved, ReservedTail};
use super::untyped::Sender;
use super::untyped::publisher_control;
use super::verb;
use crate::channel::waitable::{Selectable, Selectee};
use crate::error::{Form, OpenError};
use crate::packet::{AnyBits, Packet, SendAllAs, SendAs, Tail};
use crate::wait::Timeout;
use std::fmt;
use std::marker::PhantomData;

/// Publishes packets of one type.
///
/// A packet is serialized straight into its slots. All operations take `&mut self`, so a publisher
/// has one open claim at a time. The next call aborts a claim that was forgotten.
///
/// # Waiting
///
/// In a ring that blocks, a publisher waits for the slowest subscriber once the ring is full. A
/// durable subscriber counts while its process is gone. Without subscribers a publisher never
/// waits, and no subscriber receives its packets: see
/// [`wait_for_subscribers`](Self::wait_for_subscribers). A living subscriber that never reads is
/// waited for without end: see [`send_timeout`](Self::send_timeout).
///
/// # Lagging
///
/// In a ring that [drops the oldest](crate::Overflow::DropOldest), a publisher moves the cursor of
/// a subscriber that lags a whole ring behind, which then learns [how much it
/// missed](crate::RecvError::Missed). The publisher waits only for packets that are held in a
/// guard.
///
/// # Closing
///
/// Dropping the publisher leaves the ring. After the last one, subscribers receive the rest and
/// then [`Closed`](crate::RecvError::Closed). If its process dies inside a claim, another process
/// voids the claim within milliseconds. After [`Ring::close`](crate::Ring::close) all sends fail
/// with [`Closed`](SendError::Closed).
pub struct Publisher<T: Packet> {
    pub(crate) sender: Sender,
    pub(super) type_index: u16,
    packet: PhantomData<fn(T)>,
}

// Not derived: that would require `T: Debug`.
impl<T: Packet> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("ring", &self.sender.entry.segment.name())
            .field("type", &T::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<T: Packet> Publisher<T> {
    pub(crate) fn new(sender: Sender, type_index: u16) -> Self {
        Self { sender, type_index, packet: PhantomData }
    }

    verb! {
        /// Publishes a packet. Waits for room. Returns the packet's position.
        ///
        /// Takes `&packet`, or a [borrowed form](SendAs) of it.
        ///
        /// Cost: one serialization into the slots, and one compare-and-swap in a shared ring.
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed), [`TooLarge`](SendError::TooLarge),
        /// [`Unserializable`](SendError::Unserializable).
        send, try_send, send_timeout = send_with[P: SendAs<T>](packet: P) -> u64;
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    verb! {
        /// Publishes packets in order, up to 64 in one claim. Waits for room for each claim; a
        /// timeout counts for each claim, too.
        ///
        /// Packets of other publishers can come between two claims, but not inside one. Packets of
        /// less than 1 KiB that are numbers, or structs and arrays of numbers without padding,
        /// become visible claim by claim. Others become visible one by one.
        ///
        /// Takes `&packets`, or a [list of borrowed forms](SendAllAs).
        ///
        /// # Errors
        ///
        /// The error of [`send`](Self::send) for the first packet that was not published, and the
        /// number of packets that were.
        send_all, try_send_all, send_all_timeout = send_all_with[P: SendAllAs<T>](packets: P) -> ();
        SendError, TrySendError::Full, SendTimeoutError::Timeout in SendAllError
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
        self.sender.send_in_task(packet.value(), self.type_index).await
    }

    /// Joins as another publisher to the same ring.
    ///
    /// # Errors
    ///
    /// [`PublisherTaken`](OpenError::PublisherTaken) if the ring is exclusive,
    /// [`Full`](OpenError::Full), [`Closed`](OpenError::Closed), [`System`](OpenError::System).
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        let entry = &self.sender.entry;
        let types = Types::One(&T::TYPE);
        let (sender, index) = join::publisher(&entry.segment, &types, entry.waiter.wait())?;
        Ok(Self::new(sender, index))
    }

    #[inline(always)]
    fn send_with<P: SendAs<T>, F: Form<SendError, WaitingFor>>(
        &mut self,
        packet: P,
        timeout: Timeout,
    ) -> Result<u64, F> {
        self.sender.send(packet.value(), self.type_index, timeout)
    }

    fn send_all_with<P: SendAllAs<T>, F: Form<SendError, WaitingFor>>(
        &mut self,
        packets: P,
        timeout: Timeout,
    ) -> Result<(), SendAllError<F>> {
        self.sender.send_all(packets.values(), self.type_index, timeout)
    }
}

publisher_control!(Publisher<T>, T);

// The methods have the bounds. Bounds of the `impl` would hide the methods without a reason.
impl<T: Packet> Publisher<T> {
    verb! {
        /// Reserves room for one packet, to be filled in place. Waits for room.
        ///
        /// The room still has the bytes of earlier packets. Dropping the reservation publishes
        /// nothing.
        ///
        /// Only for types of which any bytes are a value ([`AnyBits`]): numbers, arrays of them,
        /// and `#[packet]` structs of both. Other packets are published with [`send`](Self::send).
        ///
        /// ```
        /// #[packetring::packet]
        /// struct Frame { taken_at: u64, pixels: [u8; 1024] }
        ///
        /// # let ring = packetring::Ring::builder().heap()?;
        /// # let mut frames = ring.publisher::<Frame>()?;
        /// # let mut screen = ring.subscriber::<Frame>()?;
        /// let mut frame = frames.reserve()?;
        /// frame.taken_at = 17.into();
        /// frame.pixels.fill(0);
        /// packetring::Reserved::commit(frame);
        /// assert_eq!(screen.recv()?.taken_at, 17);
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// A type with padding is refused, because assigning a whole value leaves the padding
        /// uninitialized. For tuples, generic types and structs that contain other structs, the
        /// build fails without a place in your code:
        ///
        /// ```compile_fail,E0080
        /// # let ring = packetring::Ring::builder().heap().unwrap();
        /// let mut out = ring.publisher::<(u32, u64)>().unwrap();
        /// let _ = out.reserve();
        /// ```
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed), [`TooLarge`](SendError::TooLarge).
        reserve, try_reserve, reserve_timeout = reserve_with() -> Reserved<'_, T>
        where [T::Archived: AnyBits];
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    /// As [`reserve`](Self::reserve), but waits for room in a task, for any executor. Dropping the
    /// future reserves nothing.
    ///
    /// The reservation may live across an await. Subscribers wait at it, so fill it soon.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn reserve_async(&mut self) -> Result<Reserved<'_, T>, SendError>
    where
        T::Archived: AnyBits,
    {
        Reserved::claim_in_task(&mut self.sender, self.type_index).await
    }

    #[inline]
    fn reserve_with<F: Form<SendError, WaitingFor>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Reserved<'_, T>, F>
    where
        T::Archived: AnyBits,
    {
        Reserved::claim(&mut self.sender, self.type_index, timeout)
    }
}

impl<H: Packet, E: Packet> Publisher<Tail<H, E>>
where
    Tail<H, E>: Packet,
{
    verb! {
        /// Reserves room for a head and `count` elements, to be filled in place. Waits for room.
        ///
        /// The room still has the bytes of earlier packets. Dropping the reservation publishes
        /// nothing.
        ///
        /// ```
        /// use packetring::Tail;
        ///
        /// # let ring = packetring::Ring::builder().heap()?;
        /// # let mut out = ring.publisher::<Tail<u64, u8>>()?;
        /// # let mut log = ring.subscriber::<Tail<u64, u8>>()?;
        /// let mut line = out.reserve_tail(5)?;
        /// *line.head_mut() = 17.into();
        /// line.tail_mut().copy_from_slice(b"hello");
        /// line.commit();
        /// assert_eq!(log.recv()?.tail.as_slice(), b"hello");
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        ///
        /// [`Closed`](SendError::Closed), [`TooLarge`](SendError::TooLarge).
        reserve_tail, try_reserve_tail, reserve_tail_timeout
            = reserve_tail_with(count: usize) -> ReservedTail<'_, H, E>
        where [H::Archived: AnyBits, E::Archived: AnyBits];
        SendError, TrySendError::Full, SendTimeoutError::Timeout
    }

    /// As [`reserve_tail`](Self::reserve_tail), but waits for room in a task: see
    /// [`reserve_async`](Self::reserve_async).
    ///
    /// # Errors
    ///
    /// As [`reserve_tail`](Self::reserve_tail), and [`System`](SendError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn reserve_tail_async(
        &mut self,
        count: usize,
    ) -> Result<ReservedTail<'_, H, E>, SendError>
    where
        H::Archived: AnyBits,
        E::Archived: AnyBits,
    {
        ReservedTail::claim_in_task(&mut self.sender, self.type_index, count).await
    }

    fn reserve_tail_with<F: Form<SendError, WaitingFor>>(
        &mut self,
        count: usize,
        timeout: Timeout,
    ) -> Result<ReservedTail<'_, H, E>, F>
    where
        H::Archived: AnyBits,
        E::Archived: AnyBits,
    {
        ReservedTail::claim(&mut self.sender, self.type_index, count, timeout)
    }
}

/// Ready if there may be room since a call that does not wait found none.
impl<T: Packet> Selectable for Publisher<T> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.sender)
    }
}
