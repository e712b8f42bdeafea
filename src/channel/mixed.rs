//! Endpoints for packets of several types in one ring.

use super::endpoint::Patience;
use super::error::{Mismatch, RecvError, SendError, WaitingFor};
use super::join;
use super::received::Info;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::OpenError;
use crate::packet::{Fingerprint, Invalid, OneOf, Packet};
use crate::ring::hand::Hand;
use crate::segment::bytes::Steady;
use crate::wait::Wait;
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
/// let mut work = ring.mixed_subscriber()?;
/// let mut boss = ring.mixed_publisher()?;
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
pub struct MixedPublisher {
    sender: Sender,
    /// Types sent so far, and their index in the ring.
    known: Vec<(Fingerprint, u16)>,
}

impl fmt::Debug for MixedPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.sender.endpoint.segment.name();
        f.debug_struct("MixedPublisher").field("ring", &ring).finish_non_exhaustive()
    }
}

impl MixedPublisher {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, known: Vec::new() }
    }

    /// Publishes a packet. Waits for room. Returns its position.
    ///
    /// # Errors
    ///
    /// As [`Publisher::send`](super::Publisher::send), and
    /// [`TooManyTypes`](SendError::TooManyTypes).
    pub fn send<T: Packet>(&mut self, packet: &T) -> Result<u64, SendError> {
        self.send_with(packet, Patience::Endless)
    }

    /// Publishes a packet if there is room now.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Full`](SendError::Full).
    pub fn try_send<T: Packet>(&mut self, packet: &T) -> Result<u64, SendError> {
        self.send_with(packet, Patience::None)
    }

    /// Publishes a packet if there is room in time.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Timeout`](SendError::Timeout).
    pub fn send_timeout<T: Packet>(
        &mut self,
        packet: &T,
        timeout: Duration,
    ) -> Result<u64, SendError> {
        self.send_with(packet, Patience::For(timeout))
    }

    /// Waits until this many subscribers have joined and live.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed).
    pub fn wait_for_subscribers(&mut self, count: usize) -> Result<(), SendError> {
        self.sender.wait_for_subscribers(count, Patience::Endless)
    }

    /// Whether this many subscribers have joined and live.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), [`Full`](SendError::Full) with how many are missing.
    pub fn try_wait_for_subscribers(&mut self, count: usize) -> Result<(), SendError> {
        self.sender.wait_for_subscribers(count, Patience::None)
    }

    /// Waits until this many subscribers have joined and live, if they do in time.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), [`Timeout`](SendError::Timeout) with how many are missing.
    pub fn wait_for_subscribers_timeout(
        &mut self,
        count: usize,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.sender.wait_for_subscribers(count, Patience::For(timeout))
    }

    /// How many subscribers live.
    pub fn subscribers(&self) -> usize {
        join::living_subscribers(&self.sender.endpoint.segment, None)
    }

    /// How far the slowest subscriber is behind, in slots of 64 bytes.
    pub fn backlog(&self) -> u64 {
        self.sender.backlog()
    }

    /// Chooses how this publisher waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.sender.endpoint.waiter.set(wait);
    }

    #[inline]
    fn send_with<T: Packet>(&mut self, packet: &T, patience: Patience) -> Result<u64, SendError> {
        let fingerprint = const { T::TYPE.fingerprint };
        let known = self.known.iter().find(|(known, _)| *known == fingerprint);
        let index = match known {
            Some(&(_, index)) => index,
            None => self.register::<T>(patience)?,
        };
        self.sender.send(packet, index, patience)
    }

    #[cold]
    fn register<T: Packet>(&mut self, patience: Patience) -> Result<u16, SendError> {
        let segment = &self.sender.endpoint.segment;
        let waiting_for = || WaitingFor::Joining { pid: segment.lock_holder() };
        let control = match patience {
            Patience::None => {
                segment.try_lock().ok_or_else(|| SendError::Full { waiting_for: waiting_for() })?
            }
            Patience::For(timeout) => segment
                .lock_within(timeout)
                .ok_or_else(|| SendError::Timeout { waiting_for: waiting_for() })?,
            Patience::Endless => segment.lock().map_err(registering)?,
        };
        let index = join::register(&control, segment, &T::TYPE).map_err(registering)?;
        self.known.push((T::TYPE.fingerprint, index));
        Ok(index)
    }
}

fn registering(error: OpenError) -> SendError {
    match error {
        OpenError::TooManyTypes { limit } => SendError::TooManyTypes { limit },
        OpenError::System { source, .. } => SendError::System(source),
        other => SendError::System(std::io::Error::other(other)),
    }
}

/// An endpoint that reads packets of any type.
pub struct MixedSubscriber {
    pub(crate) receiver: Receiver,
}

impl fmt::Debug for MixedSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.receiver.endpoint.segment.name();
        f.debug_struct("MixedSubscriber").field("ring", &ring).finish_non_exhaustive()
    }
}

impl MixedSubscriber {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self { receiver }
    }

    /// The next packet, whatever its type. Waits for it.
    ///
    /// # Errors
    ///
    /// [`Missed`](RecvError::Missed), [`Closed`](RecvError::Closed),
    /// [`Corrupt`](RecvError::Corrupt).
    pub fn recv(&mut self) -> Result<Mail<'_>, RecvError> {
        self.receive(Patience::Endless)
    }

    /// The next packet, or [`Empty`](RecvError::Empty).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](RecvError::Empty).
    pub fn try_recv(&mut self) -> Result<Mail<'_>, RecvError> {
        self.receive(Patience::None)
    }

    /// The next packet, if it comes in time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvError::Timeout).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Mail<'_>, RecvError> {
        self.receive(Patience::For(timeout))
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

    fn receive(&mut self, patience: Patience) -> Result<Mail<'_>, RecvError> {
        let taken = self.receiver.take(patience)?;
        Ok(Mail { hand: Hand::new(&mut self.receiver, taken) })
    }
}

/// A packet in its slot whose type is not known yet. Dropping it releases the slot.
pub struct Mail<'a> {
    hand: Hand<'a, Receiver>,
}

impl Mail<'_> {
    /// The packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, checked;
    /// `None`: it is of another type.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt): it says it is one of them, and is not sound.
    pub fn open<'m, W: OneOf<'m>>(&'m self) -> Result<Option<W>, RecvError> {
        let Some(fingerprint) = self.fingerprint() else { return Ok(None) };
        W::open(fingerprint, self.hand.bytes()).map_err(|Invalid| {
            RecvError::Corrupt(W::explain(fingerprint, self.hand.bytes()).into())
        })
    }

    /// The packet as a `T`, checked.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt).
    pub fn open_as<T: Packet>(&self) -> Result<&T::Archived, RecvError> {
        if self.fingerprint() != Some(T::TYPE.fingerprint) {
            return Err(RecvError::TypeMismatch(Box::new(self.mismatch::<T>())));
        }
        crate::packet::validate::<T>(self.hand.bytes()).map_err(|Invalid| {
            RecvError::Corrupt(crate::packet::explain::<T>(self.hand.bytes()).into())
        })
    }

    /// The name of the packet's type; empty if the ring does not know it.
    pub fn type_name(&self) -> String {
        let index = self.type_index();
        self.hand
            .holder()
            .endpoint
            .segment
            .with_types(|types| types.name(index))
            .unwrap_or_default()
    }

    /// Position, and whether it was delivered before.
    pub fn info(&self) -> Info {
        Info::of(self.hand.holder(), self.hand.taken())
    }

    /// Puts the packet back: this subscriber's next call gets it again, flagged as redelivered.
    pub fn put_back(self) {
        self.hand.put_back();
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let segment = &self.hand.holder().endpoint.segment;
        segment.with_types(|types| types.fingerprint(self.type_index())).map(Fingerprint)
    }

    fn mismatch<T: Packet>(&self) -> Mismatch {
        let index = self.hand.taken().descriptor.type_index;
        join::mismatch(&self.hand.holder().endpoint.segment, &T::TYPE, index)
    }

    fn type_index(&self) -> usize {
        usize::from(self.hand.taken().descriptor.type_index)
    }
}

impl fmt::Debug for Mail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.hand.bytes().len();
        f.debug_struct("Mail").field("type", &self.type_name()).field("bytes", &bytes).finish()
    }
}
