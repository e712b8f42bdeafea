//! Work queues of a cluster: rings under the cluster's name, created by the first process on either
//! side.
//!
//! [`QueueConsumer`] states what consumers guarantee. When all processes have left, a queue with
//! packets stays, and an empty queue goes. Reservations that were aborted, or whose publisher died,
//! leave no packet.

use super::dead_letters::NamedSender;
use super::names::ClusterObject;
use super::worker::Worker;
use crate::channel::{AnyPublisher, MAX_ENTRIES, Publisher, QueueConsumer, Ring, RingBuilder};
use crate::error::OpenError;
use crate::packet::Packet;

/// Chooses the sizes of a work queue. [`Worker::queue_builder`] returns it.
///
/// A setting that is not chosen has its default if the queue is created, and any value if the queue
/// exists. A chosen setting must equal that of an existing queue.
///
/// ```
/// # let cluster = format!("queue-sizes-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::Delivery;
///
/// // Jobs of up to 8 MiB.
/// let worker = Worker::join(&cluster, "encoder-1")?;
/// let images = || worker.queue_builder("images").capacity(16 << 20);
/// images().publisher::<Vec<u8>>()?.send(&vec![7; 5 << 20])?;
/// let mut encoder = images().consumer::<Vec<u8>>()?;
/// let job = encoder.recv()?;
/// assert_eq!(job.len(), 5 << 20);
/// Delivery::ack(job);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct QueueBuilder<'a> {
    worker: &'a Worker,
    name: &'a str,
    settings: RingBuilder,
}

impl Worker {
    /// Joins a work queue as a consumer. Creates the queue if it does not exist. Each packet is
    /// delivered to one consumer.
    ///
    /// ```
    /// # let cluster = format!("queue-{}", std::process::id());
    /// use packetring::Worker;
    /// use packetring::cluster::Delivery;
    ///
    /// let worker = Worker::join(&cluster, "encoder-1")?;
    /// let mut jobs = worker.queue_publisher::<u64>("encoders")?;
    /// jobs.send(&7)?;
    /// let mut encoders = worker.queue::<u64>("encoders")?;
    /// let job = encoders.recv()?;
    /// assert_eq!(*job, 7);
    /// Delivery::ack(job);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::subscriber`].
    pub fn queue<T: Packet>(&self, name: &str) -> Result<QueueConsumer<T>, OpenError> {
        self.queue_builder(name).consumer()
    }

    /// Joins a work queue as a publisher. Creates the queue if it does not exist.
    ///
    /// Packets wait for consumers. A full queue blocks its publishers, with or without consumers.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`](crate::Ring::open) and [`Ring::publisher`](crate::Ring::publisher).
    pub fn queue_publisher<T: Packet>(&self, name: &str) -> Result<Publisher<T>, OpenError> {
        self.queue_builder(name).publisher()
    }

    /// Returns a builder of a work queue, to choose its sizes and then consume or publish.
    ///
    /// The name is as for [`topic`](Self::topic).
    pub fn queue_builder<'a>(&'a self, name: &'a str) -> QueueBuilder<'a> {
        QueueBuilder { worker: self, name, settings: RingBuilder::default() }
    }
}

impl QueueBuilder<'_> {
    /// Sets the size of the queue in bytes: a power of two, by default 1 MiB. A packet has at most
    /// half of it.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.settings = self.settings.capacity(bytes);
        self
    }

    /// Sets the most consumers at a time: 1 to 1023, by default twice the number of worker slots,
    /// less one. A consumer that uses [`nack`](crate::cluster::Delivery::nack) takes two.
    pub fn max_consumers(mut self, count: usize) -> Self {
        // Entry 0 holds the shared cursor.
        self.settings = self.settings.max_subscribers(count.saturating_add(1));
        self
    }

    /// Joins as a consumer.
    ///
    /// # Errors
    ///
    /// As [`Worker::queue`].
    pub fn consumer<T: Packet>(self) -> Result<QueueConsumer<T>, OpenError> {
        // Entry 0 has the shared cursor and belongs to no consumer.
        let joined = self.ring()?.queue_consumer();
        let mut consumer =
            joined.map_err(|error| error.full_of("consumers", |entries| entries - 1))?;
        consumer.drain_with(self.worker.draining.clone());
        consumer.set_dead_letters(self.worker.dead_letters(NamedSender::Own));
        Ok(consumer)
    }

    /// Joins as a publisher.
    ///
    /// # Errors
    ///
    /// As [`Worker::queue_publisher`].
    pub fn publisher<T: Packet>(self) -> Result<Publisher<T>, OpenError> {
        let joined = self.ring()?.publisher();
        joined.map_err(|error| error.full_of("senders", |entries| entries))
    }

    /// Joins as a publisher of packets of several types. A consumer skips packets of another type
    /// than its own, with an error.
    ///
    /// # Errors
    ///
    /// As [`Worker::queue_publisher`], except those about its type.
    pub fn any_publisher(self) -> Result<AnyPublisher, OpenError> {
        let joined = self.ring()?.any_publisher();
        joined.map_err(|error| error.full_of("senders", |entries| entries))
    }

    fn ring(&self) -> Result<Ring, OpenError> {
        let entries = self.worker.directory.worker_slots();
        let settings = self.settings.clone().queue().or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            // Entry 0 holds the shared cursor. A consumer that uses `nack` moves to another entry.
            default.max_subscribers = (entries * 2).min(MAX_ENTRIES);
        });
        self.worker.open(ClusterObject::Queue(self.name), settings)
    }
}
