//! A ring by its name: opening it, and what it gives.

use super::any::{AnyPublisher, AnySubscriber};
use super::endpoint;
use super::join::{self, Types};
use super::publisher::Publisher;
use super::subscriber::Subscriber;
use super::untyped::AckMode;
use crate::error::OpenError;
use crate::packet::{Fingerprint, Packet, TypeInfo};
use crate::ring::state::RingState;
use crate::segment::name::Name;
use crate::segment::settings::{Claims, Overflow, Parking, Settings};
use crate::segment::{Liveness, Segment};
use crate::wait::{Kind, Wait};
use std::time::Duration;

/// A ring that this process is attached to.
///
/// A ring lives in shared memory under its name. Whoever opens it first makes it; it goes when
/// the last attachment to it, `Ring`, publisher or subscriber, is dropped or dies, unless a
/// durable subscriber is left, for whom it is kept.
///
/// ```
/// use packetring::{Ring, packet};
///
/// #[packet]
/// pub struct Price { symbol: u32, bid: u64, ask: u64 }
///
/// let ring = Ring::open(&format!("prices-{}", std::process::id()))?;
/// let mut desk = ring.subscriber::<Price>()?;
/// let mut feed = ring.publisher::<Price>()?;
/// feed.send(&Price { symbol: 7, bid: 101, ask: 102 })?;
/// assert_eq!(desk.recv()?.bid, 101);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ring {
    segment: Segment,
    wait: Wait,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.name())
            .field("settings", self.settings())
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Opens the ring of this name as it is, or makes one with the default settings: 1 MiB,
    /// shared, blocking.
    ///
    /// Any number of processes may do so at the same instant: exactly one makes it.
    ///
    /// # Errors
    ///
    /// [`BadName`](OpenError::BadName), [`Foreign`](OpenError::Foreign),
    /// [`TooNew`](OpenError::TooNew), [`Corrupt`](OpenError::Corrupt), or
    /// [`System`](OpenError::System), for example when `/dev/shm` is full.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::builder().open(name)
    }

    /// Opens the ring of this name, which must be there and in use.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`NotFound`](OpenError::NotFound).
    pub fn attach(name: &str) -> Result<Self, OpenError> {
        Self::builder().attach(name)
    }

    /// Chooses settings, then opens.
    pub fn builder() -> RingBuilder {
        RingBuilder::default()
    }

    /// Removes the ring of this name, with its durable subscribers; `false`: there was none.
    ///
    /// Needed only for rings with durable subscribers and for what a crash of everyone left
    /// behind; the latter is also cleared away by the next to open it.
    ///
    /// # Errors
    ///
    /// [`InUse`](OpenError::InUse) if a living process is attached, [`Foreign`](OpenError::Foreign)
    /// if what has its name is no ring of this user: that is left alone.
    pub fn remove(name: &str) -> Result<bool, OpenError> {
        Segment::remove(&Name::new(name)?)
    }

    /// Joins as a publisher of `T`.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](OpenError::TypeMismatch) if the ring carries other packets,
    /// [`PublisherTaken`](OpenError::PublisherTaken) if it is exclusive and has a publisher,
    /// [`Full`](OpenError::Full), [`TooManyTypes`](OpenError::TooManyTypes),
    /// [`Closed`](OpenError::Closed), [`System`](OpenError::System).
    pub fn publisher<T: Packet>(&self) -> Result<Publisher<T>, OpenError> {
        let (sender, index) = join::publisher(&self.segment, &Types::One(&T::TYPE), self.wait)?;
        Ok(Publisher::new(sender, index))
    }

    /// Joins as a subscriber to `T`. It gets every packet that is published from now on, and
    /// those before that the ring's [history](RingBuilder::history) still has.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](OpenError::TypeMismatch), [`Full`](OpenError::Full),
    /// [`TooManyTypes`](OpenError::TooManyTypes), [`System`](OpenError::System).
    pub fn subscriber<T: Packet>(&self) -> Result<Subscriber<T>, OpenError> {
        let types = Types::One(&T::TYPE);
        let (receiver, index) = join::subscriber(&self.segment, &types, None, self.wait)?;
        Ok(Subscriber::new(receiver, index))
    }

    /// Joins as the durable subscriber of this name (1 to 64 bytes): one whose packets wait for
    /// it while its process is gone. Its successor of the same name goes on where it stopped,
    /// with the packet that was in hand, flagged as [redelivered](super::Info::redelivered).
    ///
    /// Publishers to a `Block` ring wait for it, dead or alive, once the ring is full.
    ///
    /// # Errors
    ///
    /// As [`subscriber`](Self::subscriber), and [`NameTaken`](OpenError::NameTaken),
    /// [`BadName`](OpenError::BadName).
    pub fn durable<T: Packet>(&self, name: &str) -> Result<Subscriber<T>, OpenError> {
        let (types, ack_mode) = (Types::One(&T::TYPE), AckMode::DropUnlessPanicking);
        let (receiver, index) = join::durable(&self.segment, &types, name, ack_mode, self.wait)?;
        Ok(Subscriber::new(receiver, index))
    }

    /// Removes the durable subscriber of this name, with what waits for it; `false`: there is
    /// none.
    ///
    /// # Errors
    ///
    /// [`NameTaken`](OpenError::NameTaken) if it lives.
    pub fn remove_durable(&self, name: &str) -> Result<bool, OpenError> {
        join::remove_durable(&self.segment, self.liveness(), name)
    }

    /// Joins as a publisher of packets of several types.
    ///
    /// # Errors
    ///
    /// As [`publisher`](Self::publisher), but for the type.
    pub fn any_publisher(&self) -> Result<AnyPublisher, OpenError> {
        let (sender, _) = join::publisher(&self.segment, &Types::Any, self.wait)?;
        Ok(AnyPublisher::new(sender))
    }

    /// The same, if so many entries are left to others.
    pub(crate) fn any_publisher_leaving(&self, others: usize) -> Result<AnyPublisher, OpenError> {
        let (sender, _) = join::publisher_beside(&self.segment, &Types::Any, self.wait, others)?;
        Ok(AnyPublisher::new(sender))
    }

    /// Joins as a subscriber to packets of several types.
    ///
    /// # Errors
    ///
    /// As [`subscriber`](Self::subscriber), but for the type.
    pub fn any_subscriber(&self) -> Result<AnySubscriber, OpenError> {
        let (receiver, _) = join::subscriber(&self.segment, &Types::Any, None, self.wait)?;
        Ok(AnySubscriber::new(receiver))
    }

    /// Joins as a durable subscriber to packets of several types: see [`durable`](Self::durable).
    ///
    /// # Errors
    ///
    /// As [`durable`](Self::durable), but for the type.
    pub fn any_durable(&self, name: &str) -> Result<AnySubscriber, OpenError> {
        let (types, ack_mode) = (Types::Any, AckMode::DropUnlessPanicking);
        let (receiver, _) = join::durable(&self.segment, &types, name, ack_mode, self.wait)?;
        Ok(AnySubscriber::new(receiver))
    }

    /// The same for one to whom a packet comes again until it is done with (`AckMode::Done`).
    pub(crate) fn any_acknowledged(&self, name: &str) -> Result<AnySubscriber, OpenError> {
        let types = Types::Any;
        let (receiver, _) = join::durable(&self.segment, &types, name, AckMode::Done, self.wait)?;
        Ok(AnySubscriber::new(receiver))
    }

    /// Has it take letters of these types alone from here on; of any, if there are none.
    pub(crate) fn accept(&self, types: &[TypeInfo]) -> Result<(), OpenError> {
        join::accept(&self.segment, types)
    }

    /// Closes the ring, for everyone and for good: sends fail from here on, subscribers get
    /// `Closed` once they have read what is there. What is being sent at that moment may or may not
    /// be received.
    ///
    /// # Errors
    ///
    /// [`System`](OpenError::System).
    pub fn close(&self) -> Result<(), OpenError> {
        let _control = self.segment.lock()?;
        RingState::Closed.set(self.segment.memory());
        endpoint::wake_both_sides(&self.segment);
        Ok(())
    }

    /// Ends the ring for everyone and expects nobody back: closes it, makes durable subscribers what
    /// others are, and takes its name away. Who opens the name from now on makes another ring. To
    /// be done again if it was not finished.
    pub(crate) fn discard(&self) -> Result<(), OpenError> {
        {
            let control = self.segment.lock()?;
            RingState::Closed.set(self.segment.memory());
            join::forget_durable(&control, &self.segment, self.liveness());
            self.segment.give_name_up(&control)?;
        }
        endpoint::wake_both_sides(&self.segment);
        Ok(())
    }

    /// How many subscribers live.
    pub fn subscribers(&self) -> usize {
        join::living_subscribers(&self.segment, self.liveness(), None)
    }

    /// The packet types that the ring carries, with the layouts that their publishers and
    /// subscribers registered.
    pub fn types(&self) -> Vec<CarriedType> {
        self.segment.with_types(|table| {
            let carried = |index| {
                Some(CarriedType {
                    name: table.name(index)?,
                    fingerprint: Fingerprint(table.fingerprint(index)?),
                    schema: table.schema(index)?,
                })
            };
            (0..table.len()).filter_map(carried).collect()
        })
    }

    /// The ring's name; empty for one on the heap.
    pub fn name(&self) -> &str {
        self.segment.name()
    }

    /// The attachment.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The locks that the endpoints of this ring live by: those of the ring's file.
    pub(crate) fn liveness(&self) -> &dyn Liveness {
        &self.segment
    }

    /// What the ring was made to be.
    pub fn settings(&self) -> &Settings {
        self.segment.settings()
    }
}

/// A packet type that a ring carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CarriedType {
    /// Its name, cut to 96 bytes.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its layout, as JSON: see [`packet::schema`](crate::packet::schema).
    pub schema: String,
}

/// Settings of a ring to be opened. What is not chosen is the default if the ring is made, and
/// whatever it is if it exists.
///
/// ```
/// use packetring::{Overflow, Ring};
///
/// let ring = Ring::builder().capacity(1 << 16).exclusive().overflow(Overflow::DropOldest).heap()?;
/// # Ok::<(), packetring::OpenError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RingBuilder {
    capacity: Option<usize>,
    claims: Option<Claims>,
    overflow: Option<Overflow>,
    history: Option<usize>,
    max_publishers: Option<usize>,
    max_subscribers: Option<usize>,
    stays_open: Option<bool>,
    wait: Option<Wait>,
    open_timeout: Option<Duration>,
    /// What is not chosen, if the ring is made; and what no user chooses, which must be so.
    default: Settings,
}

impl RingBuilder {
    /// Other settings where none is chosen.
    pub(crate) fn or_else(mut self, default: impl FnOnce(&mut Settings)) -> Self {
        default(&mut self.default);
        self
    }

    /// Makes it a ring of letters: a cluster's, whose packets say more than their type.
    pub(crate) fn tagged_slots(self) -> Self {
        self.or_else(|default| default.tagged_slots = true)
    }

    /// Makes it a work queue: each packet is taken by one member.
    pub(crate) fn queue(self) -> Self {
        self.or_else(|default| default.queue = true)
    }

    /// Bytes of the ring: a power of two from 1 KiB to 4 GiB, by default 1 MiB. A packet takes 16 bytes more than
    /// its archive, rounded up to 64, and half the ring at most.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// One publisher, which then publishes without a locked instruction.
    pub fn exclusive(mut self) -> Self {
        self.claims = Some(Claims::Exclusive);
        self
    }

    /// Any number of publishers: the default.
    pub fn shared(mut self) -> Self {
        self.claims = Some(Claims::Shared);
        self
    }

    /// What happens when a publisher comes to packets that a subscriber has not read.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Starts new subscribers up to this many packets back, as far as they are still there. Half
    /// of the ring is then kept for newcomers, and a packet takes a quarter of it at most. The
    /// ring goes with its last attachment, and its history with it.
    pub fn history(mut self, packets: usize) -> Self {
        self.history = Some(packets);
        self
    }

    /// Most publishers at a time: 1 to 1024, by default 64; an exclusive ring has one.
    pub fn max_publishers(mut self, count: usize) -> Self {
        self.max_publishers = Some(count);
        self
    }

    /// Most subscribers at a time, durable ones included: 1 to 1024, by default 64.
    pub fn max_subscribers(mut self, count: usize) -> Self {
        self.max_subscribers = Some(count);
        self
    }

    /// Whether subscribers wait on when the last publisher has left, or died. By default they
    /// get `Closed`, as from a channel: a subscriber that would wait for ever is the more common
    /// mistake.
    pub fn stays_open(mut self, stays: bool) -> Self {
        self.stays_open = Some(stays);
        self
    }

    /// How endpoints wait that this `Ring` gives, and, for a ring that is made, what its
    /// endpoints sleep on: an event with [`Wait::event`], a futex otherwise.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = Some(wait);
        self
    }

    /// How long opening, joining and closing may wait for another process that is just opening,
    /// joining or leaving: microseconds, unless it was stopped there (by SIGSTOP or a debugger).
    /// After it they give up with [`Busy`](OpenError::Busy). By default they wait for ever.
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = Some(timeout);
        self
    }

    /// Opens the ring of this name, making it if it is not there.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`], and [`BadSettings`](OpenError::BadSettings),
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) if it exists and a chosen setting is
    /// another.
    pub fn open(self, name: &str) -> Result<Ring, OpenError> {
        self.open_named(&Name::new(name)?)
    }

    /// The same, by a name of any kind.
    pub(crate) fn open_named(self, name: &Name) -> Result<Ring, OpenError> {
        let segment = Segment::open(name, &self.settings(), self.open_timeout)?;
        self.finish(segment)
    }

    /// Opens the ring of this name, which must be there and in use.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`NotFound`](OpenError::NotFound).
    pub fn attach(self, name: &str) -> Result<Ring, OpenError> {
        self.attach_named(&Name::new(name)?)
    }

    /// The same, by a name of any kind.
    pub(crate) fn attach_named(self, name: &Name) -> Result<Ring, OpenError> {
        let segment = Segment::attach(name, self.open_timeout)?;
        self.finish(segment)
    }

    /// Makes a ring on the heap, for the threads of this process: the same API without a name.
    ///
    /// # Errors
    ///
    /// [`BadSettings`](OpenError::BadSettings), or [`System`](OpenError::System) if there is not
    /// that much memory.
    pub fn heap(self) -> Result<Ring, OpenError> {
        let segment = Segment::heap(&self.settings())?;
        self.finish(segment)
    }

    fn finish(self, segment: Segment) -> Result<Ring, OpenError> {
        self.compare(&segment)?;
        Ok(Ring { segment, wait: self.wait.unwrap_or_default() })
    }

    fn settings(&self) -> Settings {
        let mut default = self.default;
        if self.claims == Some(Claims::Exclusive) {
            default.max_publishers = 1;
        }
        Settings {
            capacity: self.capacity.unwrap_or(default.capacity),
            claims: self.claims.unwrap_or(default.claims),
            overflow: self.overflow.unwrap_or(default.overflow),
            history: self.history.unwrap_or(default.history),
            max_publishers: self.max_publishers.unwrap_or(default.max_publishers),
            max_subscribers: self.max_subscribers.unwrap_or(default.max_subscribers),
            stays_open: self.stays_open.unwrap_or(default.stays_open),
            parking: self.parking().unwrap_or(default.parking),
            ..default
        }
    }

    /// What the ring should park on, if that was chosen: spinning leaves it open.
    fn parking(&self) -> Option<Parking> {
        match self.wait?.kind {
            Kind::Spin => None,
            Kind::Park => Some(Parking::Futex),
            Kind::Event => Some(Parking::Event),
        }
    }

    fn compare(&self, segment: &Segment) -> Result<(), OpenError> {
        let found = segment.settings();
        let name = segment.name();
        same(name, "capacity", self.capacity, found.capacity)?;
        same(name, "claims", self.claims, found.claims)?;
        same(name, "overflow", self.overflow, found.overflow)?;
        same(name, "history", self.history, found.history)?;
        same(name, "max_publishers", self.max_publishers, found.max_publishers)?;
        same(name, "max_subscribers", self.max_subscribers, found.max_subscribers)?;
        same(name, "stays_open", self.stays_open, found.stays_open)?;
        same(name, "wait", self.parking(), found.parking)?;
        same(name, "worker slots", Some(self.default.worker_slots), found.worker_slots)?;
        same(name, "letters", Some(self.default.tagged_slots), found.tagged_slots)?;
        same(name, "grouped", Some(self.default.queue), found.queue)
    }
}

fn same<S: PartialEq + ToString>(
    name: &str,
    setting: &'static str,
    wanted: Option<S>,
    found: S,
) -> Result<(), OpenError> {
    match wanted {
        Some(wanted) if wanted != found => Err(OpenError::SettingsMismatch {
            name: name.to_owned(),
            setting,
            expected: wanted.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}
