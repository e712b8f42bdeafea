//! Work queues of a cluster: rings under the cluster's name, created by the first process on either
//! side.
//!
//! [`QueueConsumer`] states what consumers guarantee. When all processes have left, a queue with
//! packets stays, and an empty queue goes. Reservations that were aborted, or whose publisher died,
//! leave no packet.

use super::dead_letters::NamedSender;
use super::names::ClusterObject;
use super::worker::Worker;
use crate::channel::{MAX_ENTRIES, Publisher, QueueConsumer, Ring, RingBuilder};
use crate::error::OpenError;
use crate::packet::Packet;

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
        let mut consumer = self.queue_ring(name)?.queue_consumer()?;
        consumer.drain_with(self.draining.clone());
        consumer.set_dead_letters(self.dead_letters(NamedSender::Own));
        Ok(consumer)
    }

    /// Joins a work queue as a publisher. Creates the queue if it does not exist.
    ///
    /// Packets wait for consumers. A full queue blocks its publishers, with or without consumers.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::publisher`].
    pub fn queue_publisher<T: Packet>(&self, name: &str) -> Result<Publisher<T>, OpenError> {
        self.queue_ring(name)?.publisher()
    }

    fn queue_ring(&self, name: &str) -> Result<Ring, OpenError> {
        let entries = self.directory.worker_slots();
        let settings = RingBuilder::default().queue().or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            // Entry 0 holds the shared cursor. A consumer that uses `nack` moves to another entry.
            default.max_subscribers = (entries * 2).min(MAX_ENTRIES);
        });
        self.open(ClusterObject::Queue(name), settings)
    }
}
