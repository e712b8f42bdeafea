//! Work queues by name: rings under the cluster's name, made on demand by either side.
//!
//! What members guarantee is said at [`QueueConsumer`]. A queue with packets in it is kept when everybody has
//! left, for whoever comes next; one in which all is done goes with the last.

use super::names::Object;
use super::worker::Worker;
use crate::channel::{MAX_ENTRIES, Publisher, QueueConsumer, Ring, RingBuilder};
use crate::error::OpenError;
use crate::packet::Packet;

impl Worker {
    /// Joins a work queue as a member, making it if it is not there: each packet is taken by one of
    /// its members.
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
        self.queue_ring(name)?.queue_consumer()
    }

    /// Publishes to a work queue, making it if it is not there. What is published waits for members.
    /// A full queue holds publishers back, whether it has members or not.
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
            // The first is the group's own. One that retries moves to another.
            default.max_subscribers = (entries * 2).min(MAX_ENTRIES);
        });
        self.open(Object::Queue(name), settings)
    }
}
