//! Topics of a cluster: rings under the cluster's name, created by the first process on either
//! side.
//!
//! A topic differs from a plain [`Ring`] in two defaults: it stays open without publishers, and it
//! has room for as many publishers and subscribers as the cluster has workers.
//!
//! Also here: the packet types that topics and the other rings of a cluster carry.

use super::directory::Lookup;
use super::names::{Addressee, ClusterObject, InboxName};
use super::worker::Worker;
use crate::channel::{
    AnyPublisher, AnySubscriber, CarriedType, Overflow, Publisher, Ring, RingBuilder, Subscriber,
};
use crate::error::OpenError;
use crate::packet::Packet;
use crate::wait::Wait;

/// Chooses the settings of a topic. [`Worker::topic`] returns it.
///
/// A setting that is not chosen has its default if the topic is created, and any value if the topic
/// exists. A chosen setting must equal that of an existing topic.
///
/// ```
/// # let cluster = format!("topic-{}", std::process::id());
/// use packetring::{Overflow, Worker};
///
/// let feed = Worker::join(&cluster, "feed")?;
/// let latest = || feed.topic("prices").overflow(Overflow::DropOldest).capacity(64 * 1024);
/// let mut prices = latest().subscriber::<u64>()?;
/// latest().publisher::<u64>()?.send(&101)?;
/// assert_eq!(*prices.recv()?, 101);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TopicBuilder<'a> {
    worker: &'a Worker,
    name: &'a str,
    settings: RingBuilder,
}

impl Worker {
    /// Joins a topic as a publisher. Creates the topic if it does not exist: 2 MiB, shared,
    /// blocking.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::publisher`]. [`TypeMismatch`](OpenError::TypeMismatch) shows
    /// both types.
    pub fn publisher<T: Packet>(&self, topic: &str) -> Result<Publisher<T>, OpenError> {
        self.topic(topic).publisher()
    }

    /// Joins a topic as a subscriber. Creates the topic if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::subscriber`].
    pub fn subscriber<T: Packet>(&self, topic: &str) -> Result<Subscriber<T>, OpenError> {
        self.topic(topic).subscriber()
    }

    /// Returns a builder of a topic, to choose its settings and then publish or subscribe.
    ///
    /// Any text that is not empty is a valid name, up to 195 bytes together with the cluster's
    /// name. Bytes outside `A-Z a-z 0-9 . _ -` count three times.
    pub fn topic<'a>(&'a self, name: &'a str) -> TopicBuilder<'a> {
        TopicBuilder { worker: self, name, settings: RingBuilder::default() }
    }
}

impl TopicBuilder<'_> {
    /// Sets the size of the ring in bytes: see [`RingBuilder::capacity`].
    pub fn capacity(self, bytes: usize) -> Self {
        self.with(|settings| settings.capacity(bytes))
    }

    /// Allows one publisher only: see [`RingBuilder::exclusive`].
    pub fn exclusive(self) -> Self {
        self.with(RingBuilder::exclusive)
    }

    /// Sets what happens when the ring is full of packets that a subscriber has not read.
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.with(|settings| settings.overflow(overflow))
    }

    /// Starts new subscribers up to this many packets back: see [`RingBuilder::history`].
    pub fn history(self, packets: usize) -> Self {
        self.with(|settings| settings.history(packets))
    }

    /// Closes the topic when its last publisher leaves: subscribers then get
    /// [`Closed`](crate::RecvError::Closed). By default they keep waiting.
    pub fn closes_when_left(self) -> Self {
        self.with(|settings| settings.stays_open(false))
    }

    /// Sets how this endpoint waits: see [`RingBuilder::wait`].
    pub fn wait(self, wait: Wait) -> Self {
        self.with(|settings| settings.wait(wait))
    }

    /// Makes the pages of the topic present when this endpoint joins: see
    /// [`RingBuilder::populate`].
    pub fn populate(self, populate: bool) -> Self {
        self.with(|settings| settings.populate(populate))
    }

    /// Joins the topic as a publisher.
    ///
    /// # Errors
    ///
    /// As [`RingBuilder::open`] and [`Ring::publisher`].
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) shows the chosen and the existing value.
    pub fn publisher<T: Packet>(self) -> Result<Publisher<T>, OpenError> {
        self.open()?.publisher()
    }

    /// Joins the topic as a subscriber.
    ///
    /// # Errors
    ///
    /// As [`publisher`](Self::publisher), and as [`Ring::subscriber`].
    pub fn subscriber<T: Packet>(self) -> Result<Subscriber<T>, OpenError> {
        self.open()?.subscriber()
    }

    /// Joins the topic as a publisher of packets of several types.
    ///
    /// # Errors
    ///
    /// As [`publisher`](Self::publisher), except those about its type.
    pub fn any_publisher(self) -> Result<AnyPublisher, OpenError> {
        self.open()?.any_publisher()
    }

    /// Joins the topic as a subscriber to packets of several types.
    ///
    /// # Errors
    ///
    /// As [`subscriber`](Self::subscriber), except those about its type.
    pub fn any_subscriber(self) -> Result<AnySubscriber, OpenError> {
        self.open()?.any_subscriber()
    }

    fn open(self) -> Result<Ring, OpenError> {
        let entries = self.worker.directory.worker_slots();
        let settings = self.settings.or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            default.max_subscribers = entries;
        });
        self.worker.open(ClusterObject::Topic(self.name), settings)
    }

    fn with(mut self, change: impl FnOnce(RingBuilder) -> RingBuilder) -> Self {
        self.settings = change(self.settings);
        self
    }
}

/// The packet types that the rings of a cluster carry.
impl Worker {
    /// The packet types of a topic, as [`Ring::types`](crate::Ring::types): those that its
    /// publishers and subscribers registered, with their layouts.
    ///
    /// ```
    /// # let cluster = format!("types-{}", std::process::id());
    /// use packetring::Worker;
    ///
    /// let worker = Worker::join(&cluster, "chart")?;
    /// let _prices = worker.subscriber::<u64>("prices")?;
    /// assert_eq!(worker.topic_types("prices")?[0].name, "u64");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](OpenError::NotFound) if nobody has opened the topic;
    /// [`Busy`](OpenError::Busy), [`System`](OpenError::System).
    pub fn topic_types(&self, topic: &str) -> Result<Vec<CarriedType>, OpenError> {
        self.types_of(ClusterObject::Topic(topic), RingBuilder::default())
    }

    /// The packet types of a work queue: see [`topic_types`](Self::topic_types).
    ///
    /// # Errors
    ///
    /// As [`topic_types`](Self::topic_types).
    pub fn queue_types(&self, queue: &str) -> Result<Vec<CarriedType>, OpenError> {
        self.types_of(ClusterObject::Queue(queue), RingBuilder::default().queue())
    }

    /// The packet types in the inbox of a worker: of all messages that were sent to it, and those
    /// that it [accepts](Worker::inbox_of). See [`topic_types`](Self::topic_types).
    ///
    /// # Errors
    ///
    /// As [`topic_types`](Self::topic_types). [`NotFound`](OpenError::NotFound) if the worker has
    /// no inbox.
    pub fn inbox_types(
        &self,
        who: &(impl Addressee + ?Sized),
    ) -> Result<Vec<CarriedType>, OpenError> {
        let (name, inbox) = match self.directory.find(&who.address()) {
            Lookup::Inbox(address) => (address.name, address.presence.inbox_name()),
            _ => {
                let named = self.worker(who).map(|worker| worker.name);
                (named.unwrap_or_else(|| who.address().to_string()), InboxName::First)
            }
        };
        self.types_of(ClusterObject::Inbox(&name, inbox), RingBuilder::default().tagged_slots())
    }

    /// The packet types of a service: the pair of both types, of requests, and of replies. See
    /// [`topic_types`](Self::topic_types).
    ///
    /// # Errors
    ///
    /// As [`topic_types`](Self::topic_types).
    pub fn service_types(&self, service: &str) -> Result<Vec<CarriedType>, OpenError> {
        let settings = RingBuilder::default().queue().tagged_slots();
        self.types_of(ClusterObject::Service(service), settings)
    }

    /// The packet types of all events that were emitted. See [`topic_types`](Self::topic_types).
    ///
    /// # Errors
    ///
    /// As [`topic_types`](Self::topic_types).
    pub fn event_types(&self) -> Result<Vec<CarriedType>, OpenError> {
        self.types_of(ClusterObject::Events, RingBuilder::default().tagged_slots())
    }

    fn types_of(
        &self,
        object: ClusterObject<'_>,
        settings: RingBuilder,
    ) -> Result<Vec<CarriedType>, OpenError> {
        Ok(self.attach_to(object, settings)?.types())
    }
}
