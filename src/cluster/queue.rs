//! Work queues by name: rings under the cluster's name, made on demand by either side.
//!
//! What members guarantee is said at [`Member`]. A queue with packets in it is kept when everybody has
//! left, for whoever comes next; one in which all is done goes with the last.

use super::names::Object;
use super::worker::Worker;
use crate::channel::{Member, Publisher, Ring, RingBuilder};
use crate::error::OpenError;
use crate::packet::Packet;
use crate::segment::settings::MOST_ENTRIES;

impl Worker {
    /// Joins a work queue as a member, making it if it is not there: each packet is taken by one of
    /// its members.
    ///
    /// ```
    /// # let cluster = format!("queue-{}", std::process::id());
    /// use packetring::{Taken, Worker};
    ///
    /// let worker = Worker::join(&cluster, "encoder-1")?;
    /// let mut jobs = worker.group_publisher::<u64>("encoders")?;
    /// jobs.send(&7)?;
    /// let mut encoders = worker.group::<u64>("encoders")?;
    /// let job = encoders.recv()?;
    /// assert_eq!(*job, 7);
    /// Taken::done(job);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::subscriber`].
    pub fn group<T: Packet>(&self, name: &str) -> Result<Member<T>, OpenError> {
        self.queue(name)?.member()
    }

    /// Publishes to a work queue, making it if it is not there. What is published waits for members.
    /// A full queue holds publishers back, whether it has members or not.
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::publisher`].
    pub fn group_publisher<T: Packet>(&self, name: &str) -> Result<Publisher<T>, OpenError> {
        self.queue(name)?.publisher()
    }

    fn queue(&self, name: &str) -> Result<Ring, OpenError> {
        let entries = self.directory.desks();
        let settings = RingBuilder::default().grouped().or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            // The first is the group's own. One that retries moves to another.
            default.max_subscribers = (entries * 2).min(MOST_ENTRIES);
        });
        self.open(Object::Queue(name), settings)
    }
}
