//! Topics: rings under the cluster's name, made on demand by either side.
//!
//! Nothing but names and two defaults differ from a [`Ring`]: a topic stays open when its last
//! publisher leaves, and has room for as many publishers and subscribers as the cluster has workers.

use super::names::Object;
use super::worker::Worker;
use crate::channel::{Overflow, Publisher, Ring, RingBuilder, Subscriber};
use crate::error::OpenError;
use crate::packet::Packet;
use crate::wait::Wait;

/// Chooses a topic's settings. What is not chosen is the default if the topic is made, and whatever
/// it is if it is there.
///
/// ```
/// # let cluster = format!("topic-{}", std::process::id());
/// use packetring::{Overflow, Worker};
///
/// let feed = Worker::join(&cluster, "feed")?;
/// let latest = || feed.topic("prices").overflow(Overflow::DropOldest).capacity(64 * 1024);
/// let mut desk = latest().subscriber::<u64>()?;
/// latest().publisher::<u64>()?.send(&101)?;
/// assert_eq!(*desk.recv()?, 101);
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
    /// Publishes to a topic, making it if it is not there: of 1 MiB, shared, blocking.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::publisher`]; [`TypeMismatch`](OpenError::TypeMismatch) shows
    /// both types.
    pub fn publisher<T: Packet>(&self, topic: &str) -> Result<Publisher<T>, OpenError> {
        self.topic(topic).publisher()
    }

    /// Subscribes to a topic, making it if it is not there.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::subscriber`].
    pub fn subscriber<T: Packet>(&self, topic: &str) -> Result<Subscriber<T>, OpenError> {
        self.topic(topic).subscriber()
    }

    /// Chooses a topic's settings, then publishes or subscribes. Any text can be a name, if it is
    /// not too long: with the cluster's, 195 bytes, of which those outside `A-Z a-z 0-9 . _ -` count
    /// thrice.
    pub fn topic<'a>(&'a self, name: &'a str) -> TopicBuilder<'a> {
        TopicBuilder { worker: self, name, settings: RingBuilder::default() }
    }
}

impl TopicBuilder<'_> {
    /// Bytes of the topic's ring: see [`RingBuilder::capacity`].
    pub fn capacity(self, bytes: usize) -> Self {
        self.with(|settings| settings.capacity(bytes))
    }

    /// One publisher: see [`RingBuilder::exclusive`].
    pub fn exclusive(self) -> Self {
        self.with(RingBuilder::exclusive)
    }

    /// What happens when a publisher comes to packets that a subscriber has not read.
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.with(|settings| settings.overflow(overflow))
    }

    /// Starts new subscribers up to this many packets back: see [`RingBuilder::history`].
    pub fn history(self, packets: usize) -> Self {
        self.with(|settings| settings.history(packets))
    }

    /// Subscribers get [`Closed`](crate::RecvError::Closed) when the last publisher has left. By
    /// default they wait on.
    pub fn closes_when_left(self) -> Self {
        self.with(|settings| settings.stays_open(false))
    }

    /// How this endpoint waits: see [`RingBuilder::wait`].
    pub fn wait(self, wait: Wait) -> Self {
        self.with(|settings| settings.wait(wait))
    }

    /// Publishes to the topic.
    ///
    /// # Errors
    ///
    /// As [`RingBuilder::open`] and [`Ring::publisher`];
    /// [`SettingsMismatch`](OpenError::SettingsMismatch) shows what was chosen and what is there.
    pub fn publisher<T: Packet>(self) -> Result<Publisher<T>, OpenError> {
        self.open()?.publisher()
    }

    /// Subscribes to the topic.
    ///
    /// # Errors
    ///
    /// As [`publisher`](Self::publisher), and as [`Ring::subscriber`].
    pub fn subscriber<T: Packet>(self) -> Result<Subscriber<T>, OpenError> {
        self.open()?.subscriber()
    }

    fn open(self) -> Result<Ring, OpenError> {
        let entries = self.worker.directory.worker_slots();
        let settings = self.settings.or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            default.max_subscribers = entries;
        });
        self.worker.open(Object::Topic(self.name), settings)
    }

    fn with(mut self, change: impl FnOnce(RingBuilder) -> RingBuilder) -> Self {
        self.settings = change(self.settings);
        self
    }
}
