//! Choosing the sizes of a service.

use crate::channel::{Ring, RingBuilder};
use crate::cluster::calls::request_ring;
use crate::cluster::names::ClusterObject;
use crate::cluster::worker::Worker;
use crate::error::OpenError;
use crate::sync::AtomicU64;
use std::sync::Arc;

/// Chooses the sizes of a service. [`Worker::service_builder`] returns it.
///
/// The first client or server that opens the service makes its request ring. A
/// [`capacity`](Self::capacity) or [`max_servers`](Self::max_servers) that is chosen must equal
/// that of an existing ring. [`window`](Self::window) and [`max_reply`](Self::max_reply) belong to
/// one client.
///
/// ```
/// # let cluster = format!("sizes-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::Request;
///
/// // Requests of up to 20 MiB and replies of up to 20 MiB.
/// let worker = Worker::builder().reply_capacity(64 << 20).join(&cluster, "images")?;
/// let images = || worker.service_builder("resize").capacity(64 << 20).max_reply(20 << 20);
/// let mut server = images().server::<Vec<u8>, Vec<u8>>()?;
/// let client = images().client::<Vec<u8>, Vec<u8>>()?;
///
/// let call = client.start(&vec![7; 19 << 20])?;
/// let request = server.recv()?;
/// let half = request[..request.len() / 2].to_vec();
/// Request::reply(request, &half)?;
/// assert_eq!(call.wait()?.len(), 19 << 19);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ServiceBuilder<'a> {
    pub(super) worker: &'a Worker,
    pub(super) name: &'a str,
    pub(super) ring: RingBuilder,
    pub(super) window: Option<usize>,
    pub(super) max_reply: Option<usize>,
}

impl Worker {
    /// Returns a builder of a service, to choose its sizes and then open a server or a client.
    ///
    /// The name is as for [`topic`](Self::topic).
    pub fn service_builder<'a>(&'a self, name: &'a str) -> ServiceBuilder<'a> {
        let ring = RingBuilder::default();
        ServiceBuilder { worker: self, name, ring, window: None, max_reply: None }
    }
}

impl ServiceBuilder<'_> {
    /// Opens the request ring. Fails at once if there is no room for it.
    pub(super) fn request_ring(&self) -> Result<Ring, OpenError> {
        self.worker.try_open(ClusterObject::Service(self.name), self.ring_settings())
    }

    /// Opens the request ring, which must exist.
    #[cfg(feature = "dynamic")]
    pub(super) fn existing_ring(&self) -> Result<Ring, OpenError> {
        self.worker.attach_to(ClusterObject::Service(self.name), self.ring_settings())
    }

    fn ring_settings(&self) -> RingBuilder {
        request_ring(self.worker.directory.worker_slots(), self.ring.clone())
    }

    /// Sets the size of the request ring in bytes: a power of two, by default 1 MiB. A request has
    /// at most half of it.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.ring = self.ring.capacity(bytes);
        self
    }

    /// Sets the most servers at a time: 1 to 1023, by default as many as the cluster has worker
    /// slots.
    pub fn max_servers(mut self, count: usize) -> Self {
        // Entry 0 has the shared cursor and belongs to no server.
        self.ring = self.ring.max_subscribers(count.saturating_add(1));
        self
    }

    /// Sets the most calls in flight of the client that this builder opens. By default only
    /// [`max_calls`](crate::cluster::WorkerBuilder::max_calls) of its worker limits them.
    pub fn window(mut self, calls: usize) -> Self {
        self.window = Some(calls);
        self
    }

    /// Sets the bytes that the client reserves for each reply: at most half of its worker's
    /// [`reply_capacity`](crate::cluster::WorkerBuilder::reply_capacity).
    ///
    /// By default a reply type of a constant size reserves that size, and any other type a 32nd of
    /// the reply capacity (8 KiB). A reply of at most 48 bytes needs no reservation.
    pub fn max_reply(mut self, bytes: usize) -> Self {
        self.max_reply = Some(bytes);
        self
    }

    /// Bytes that a client reserves for each reply. `flat` is the size of a reply type of a
    /// constant size, `capacity` that of the worker's memory for replies.
    pub(super) fn reply_size(
        &self,
        flat: Option<usize>,
        capacity: usize,
    ) -> Result<usize, OpenError> {
        let max_reply = self.max_reply.or(flat).unwrap_or(capacity / 32);
        if max_reply > capacity / 2 {
            let reason = format!(
                "max_reply {max_reply} is more than half of the worker's {capacity} bytes for \
                 replies: join with a larger reply_capacity"
            );
            return Err(OpenError::BadSettings { reason });
        }
        Ok(max_reply)
    }

    /// The number of calls in flight of a new client and their limit, if it has one.
    pub(super) fn new_window(&self) -> Result<Option<(Arc<AtomicU64>, usize)>, OpenError> {
        match self.window {
            Some(0) => {
                let reason = "a window of 0 calls: choose at least 1".to_owned();
                Err(OpenError::BadSettings { reason })
            }
            Some(calls) => Ok(Some((Arc::new(AtomicU64::new(0)), calls))),
            None => Ok(None),
        }
    }
}
