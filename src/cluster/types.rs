//! The packet types that the rings of a cluster carry.

use super::directory::Lookup;
use super::names::{Addressee, ClusterObject, InboxName};
use super::worker::Worker;
use crate::channel::{CarriedType, RingBuilder};
use crate::error::OpenError;

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
