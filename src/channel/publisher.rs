//! The typed publisher.

use super::error::{SendAllError, SendError, SendTimeoutError, TrySendError, WaitingFor};
use super::join::{self, Types};
use super::reserved::{Reserved, ReservedTail};
use super::untyped::Sender;
use super::untyped::publisher_waits;
use crate::error::{Form, OpenError, retry};
use crate::packet::{AnyBits, Packet, Tail};
use crate::wait::Timeout;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// An endpoint that publishes packets of one type, straight into their slots.
///
/// All operations take `&mut self`: one claim at a time, and a forgotten one is given up by the
/// next call. Dropping the publisher leaves the ring.
pub struct Publisher<T: Packet> {
    pub(crate) sender: Sender,
    type_index: u16,
    packet: PhantomData<fn(T)>,
}

// Not derived, which would ask for `T: Debug`.
impl<T: Packet> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("ring", &self.sender.endpoint.segment.name())
            .field("type", &T::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<T: Packet> Publisher<T> {
    pub(crate) fn new(sender: Sender, type_index: u16) -> Self {
        Self { sender, type_index, packet: PhantomData }
    }

    /// Publishes a packet, archiving it in its slot. Waits for room. Returns the packet's
    /// position.
    ///
    /// With no subscriber there is nobody to wait for and nobody to receive it: see
    /// [`wait_for_subscribers`](Self::wait_for_subscribers). A subscriber that lives and never
    /// reads is waited for without end: see [`send_timeout`](Self::send_timeout).
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), [`TooLarge`](SendError::TooLarge),
    /// [`Unserializable`](SendError::Unserializable).
    #[inline]
    pub fn send(&mut self, packet: &T) -> Result<u64, SendError> {
        self.send_with(packet, Timeout::Never)
    }

    /// Publishes a packet if there is room now.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Full`](TrySendError::Full).
    #[inline]
    pub fn try_send(&mut self, packet: &T) -> Result<u64, TrySendError> {
        self.send_with(packet, Timeout::Zero)
    }

    /// Publishes a packet if there is room in time.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Timeout`](SendTimeoutError::Timeout).
    #[inline]
    pub fn send_timeout(&mut self, packet: &T, timeout: Duration) -> Result<u64, SendTimeoutError> {
        self.send_with(packet, Timeout::After(timeout))
    }

    /// Publishes packets in order, claiming room for up to 64 at once. Waits for room.
    ///
    /// Other publishers' packets may come between two claims; within one there are none.
    ///
    /// # Errors
    ///
    /// What [`send`](Self::send) says to the first packet that was not sent, and how many were.
    #[inline]
    pub fn send_all(&mut self, packets: &[T]) -> Result<(), SendAllError> {
        self.sender.send_all(packets, self.type_index, Timeout::Never)
    }

    /// Publishes packets as far as there is room now: see [`send_all`](Self::send_all).
    ///
    /// # Errors
    ///
    /// As [`send_all`](Self::send_all), and [`Full`](TrySendError::Full).
    #[inline]
    pub fn try_send_all(&mut self, packets: &[T]) -> Result<(), SendAllError<TrySendError>> {
        self.sender.send_all(packets, self.type_index, Timeout::Zero)
    }

    /// Publishes packets, waiting this long for room for each claim: see
    /// [`send_all`](Self::send_all).
    ///
    /// # Errors
    ///
    /// As [`send_all`](Self::send_all), and [`Timeout`](SendTimeoutError::Timeout).
    #[inline]
    pub fn send_all_timeout(
        &mut self,
        packets: &[T],
        timeout: Duration,
    ) -> Result<(), SendAllError<SendTimeoutError>> {
        self.sender.send_all(packets, self.type_index, Timeout::After(timeout))
    }

    /// Another publisher to the same ring.
    ///
    /// # Errors
    ///
    /// [`PublisherTaken`](OpenError::PublisherTaken) if the ring is exclusive,
    /// [`Full`](OpenError::Full), [`System`](OpenError::System).
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        let endpoint = &self.sender.endpoint;
        let types = Types::One(&T::TYPE);
        let (sender, index) = join::publisher(&endpoint.segment, &types, endpoint.waiter.wait())?;
        Ok(Self::new(sender, index))
    }

    #[inline(always)]
    fn send_with<F: Form<SendError, WaitingFor>>(
        &mut self,
        packet: &T,
        timeout: Timeout,
    ) -> Result<u64, F> {
        retry(|| self.sender.send(packet, self.type_index, timeout))
    }
}

publisher_waits!(Publisher<T>, T);

impl<T: Packet> Publisher<T>
where
    T::Archived: AnyBits,
{
    /// Room for one packet, to be filled in place; its content is left over from earlier packets.
    /// Waits for it. Dropping it publishes nothing.
    ///
    /// For packets of numbers, arrays of them, and `#[packet]` structs of these: any bytes are a
    /// value of them ([`AnyBits`]). Send other packets by [`send`](Self::send).
    ///
    /// ```
    /// #[packetring::packet]
    /// struct Frame { taken_at: u64, pixels: [u8; 1024] }
    ///
    /// # let ring = packetring::Ring::builder().heap()?;
    /// # let (mut frames, mut screen) = (ring.publisher::<Frame>()?, ring.subscriber::<Frame>()?);
    /// let mut frame = frames.reserve()?;
    /// frame.taken_at = 17.into();
    /// frame.pixels.fill(0);
    /// frame.commit();
    /// assert_eq!(screen.recv()?.taken_at, 17);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), [`TooLarge`](SendError::TooLarge).
    pub fn reserve(&mut self) -> Result<Reserved<'_, T>, SendError> {
        Reserved::claim(&mut self.sender, self.type_index, Timeout::Never)
    }

    /// Room for one packet, if there is some now: see [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`Full`](TrySendError::Full).
    pub fn try_reserve(&mut self) -> Result<Reserved<'_, T>, TrySendError> {
        Reserved::claim(&mut self.sender, self.type_index, Timeout::Zero)
    }

    /// Room for one packet, if there is some in time: see [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), and [`Timeout`](SendTimeoutError::Timeout).
    pub fn reserve_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Reserved<'_, T>, SendTimeoutError> {
        Reserved::claim(&mut self.sender, self.type_index, Timeout::After(timeout))
    }
}

impl<H: Packet, E: Packet> Publisher<Tail<H, E>>
where
    Tail<H, E>: Packet,
    H::Archived: AnyBits,
    E::Archived: AnyBits,
{
    /// Room for a head and `count` elements, to be filled in place; their content is left over
    /// from earlier packets. Waits for it. Dropping it publishes nothing.
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
    pub fn reserve_tail(&mut self, count: usize) -> Result<ReservedTail<'_, H, E>, SendError> {
        ReservedTail::claim(&mut self.sender, self.type_index, count, Timeout::Never)
    }

    /// Room for a head and `count` elements, if there is some now: see
    /// [`reserve_tail`](Self::reserve_tail).
    ///
    /// # Errors
    ///
    /// As [`reserve_tail`](Self::reserve_tail), and [`Full`](TrySendError::Full).
    pub fn try_reserve_tail(
        &mut self,
        count: usize,
    ) -> Result<ReservedTail<'_, H, E>, TrySendError> {
        ReservedTail::claim(&mut self.sender, self.type_index, count, Timeout::Zero)
    }

    /// Room for a head and `count` elements, if there is some in time: see
    /// [`reserve_tail`](Self::reserve_tail).
    ///
    /// # Errors
    ///
    /// As [`reserve_tail`](Self::reserve_tail), and [`Timeout`](SendTimeoutError::Timeout).
    pub fn reserve_tail_timeout(
        &mut self,
        count: usize,
        timeout: Duration,
    ) -> Result<ReservedTail<'_, H, E>, SendTimeoutError> {
        ReservedTail::claim(&mut self.sender, self.type_index, count, Timeout::After(timeout))
    }
}
