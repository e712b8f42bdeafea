//! The end of a worker: it drains, it leaves, or another worker clears it away.

use super::names::Addressee;
use super::worker::Worker;
use crate::error::OpenError;

impl Worker {
    /// Stops to take new work, so that this worker can hand its name over: receives on its inbox,
    /// its queue consumers and its services return `Closed` from now on. An inbox may return more
    /// messages before, if they are there: up to an eighth of its size. A receive that waits
    /// returns within 250 ms. Messages, jobs and requests in flight can be finished and
    /// acknowledged as before, and everything can be sent. Topics and events are not affected.
    ///
    /// To end a worker without loss or repetition, while its successor
    /// [waits for the name](super::WorkerBuilder::wait_for_name):
    ///
    /// 1. Call `drain`, for example from the thread that gets SIGTERM.
    /// 2. Finish what is in flight. Drop the [`Inbox`](super::Inbox) and the queue consumers.
    /// 3. Drop the worker: the successor gets the name, the id and the inbox.
    /// 4. Call [`Service::hand_over`](super::Service::hand_over) for each service: calls wait until
    ///    the successor serves.
    ///
    /// ```
    /// # let cluster = format!("drain-{}", std::process::id());
    /// use packetring::{RecvError, Worker};
    ///
    /// let worker = Worker::join(&cluster, "shop")?;
    /// let mut inbox = worker.inbox()?;
    /// worker.drain();
    /// assert!(matches!(inbox.recv(), Err(RecvError::Closed)));
    /// worker.send_to("shop", &7_u64)?;
    /// drop(inbox);
    /// drop(worker);
    ///
    /// let successor = Worker::join(&cluster, "shop")?;
    /// assert!(!successor.inbox()?.recv()?.info().redelivered);
    /// # successor.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self) {
        self.draining.start();
    }

    /// Returns true after [`drain`](Self::drain).
    pub fn is_draining(&self) -> bool {
        self.draining.is_on()
    }

    /// Leaves the cluster, and deletes the inbox. Dropping a worker that had an inbox keeps its
    /// name, its id and its inbox for a successor.
    ///
    /// Messages in the inbox are lost, except those that an open [`Inbox`](super::Inbox) still
    /// receives. Senders get [`Dead`](super::SendToError::Dead). The next worker of the name starts
    /// with a new inbox.
    ///
    /// # Errors
    ///
    /// - [`Busy`](OpenError::Busy) if another process was stopped while it opened or left the
    ///   directory or the inbox.
    /// - [`System`](OpenError::System).
    ///
    /// After an error a later join clears the worker.
    pub fn leave(self) -> Result<(), OpenError> {
        let Self { calls, callers, directory, .. } = self;
        drop((calls, callers));
        directory.leave()
    }

    /// Deletes the inbox of a worker that died or was dropped, and frees its worker slot. Returns
    /// false if no worker had this name or id, or if its worker slot is free already.
    ///
    /// # Errors
    ///
    /// [`WorkerLives`](OpenError::WorkerLives) if the worker lives, [`Busy`](OpenError::Busy),
    /// [`System`](OpenError::System).
    pub fn retire(&self, who: &(impl Addressee + ?Sized)) -> Result<bool, OpenError> {
        self.directory.retire(&who.address())
    }

    /// Removes a cluster without living workers, and everything in it: inboxes with their messages,
    /// queues with their packets, topics, requests. Returns false if there is none.
    ///
    /// It is for the rest of a cluster that no process joins any more, for example after all its
    /// processes were killed. A worker that joins at the same time joins the old cluster, which
    /// then is not removed, or a new one.
    ///
    /// ```
    /// # let cluster = format!("remove-{}", std::process::id());
    /// use packetring::{OpenError, Worker};
    ///
    /// let shop = Worker::join(&cluster, "shop")?;
    /// shop.queue_publisher::<u64>("jobs")?.send(&7)?; // stays until it is acknowledged
    /// let refused = Worker::remove_cluster(&cluster);
    /// assert!(matches!(refused, Err(OpenError::WorkerLives { name, .. }) if name == "shop"));
    ///
    /// drop(shop);
    /// assert!(Worker::remove_cluster(&cluster)?);
    /// assert!(!Worker::remove_cluster(&cluster)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BadName`](OpenError::BadName). Nothing was removed:
    ///
    /// - [`WorkerLives`](OpenError::WorkerLives) names a living worker.
    /// - [`InUse`](OpenError::InUse) names an object with an endpoint that outlived its worker.
    /// - [`OtherUser`](OpenError::OtherUser): the cluster is of another user. If this user shares
    ///   it, choose its mode and group: see
    ///   [`WorkerBuilder::remove_cluster`](crate::cluster::WorkerBuilder::remove_cluster).
    ///
    /// Call it again to remove the rest: [`Busy`](OpenError::Busy), [`System`](OpenError::System).
    ///
    /// Everything was removed but an object that is not of this library or of this user:
    /// [`Foreign`](OpenError::Foreign), or [`System`](OpenError::System) with the kernel's refusal.
    /// The object stays, and the next call is `Ok(false)`.
    pub fn remove_cluster(cluster: &str) -> Result<bool, OpenError> {
        Self::builder().remove_cluster(cluster)
    }
}
