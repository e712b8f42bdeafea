//! Draining: a worker that hands its name over stops to take new work.

use super::worker::Worker;

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
}
