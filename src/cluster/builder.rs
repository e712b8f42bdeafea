//! Choosing how a worker joins.

use super::directory;
use super::names::{Cluster, WorkerId};
use crate::channel::{Namespace, Overflow};
use crate::error::OpenError;
use crate::sys::lock::LockLimit;
use crate::sys::stop::Stop;
use std::time::Duration;

/// Chooses how a worker joins. [`Worker::builder`](crate::Worker::builder) returns it.
///
/// ```
/// # let cluster = format!("builder-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::WorkerId;
///
/// let third = Worker::builder().max_workers(16).id(WorkerId(3)).join(&cluster, "encoder-3")?;
/// assert_eq!(third.id(), WorkerId(3));
/// # Ok::<(), packetring::cluster::JoinError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct WorkerBuilder {
    pub(super) max_workers: Option<usize>,
    pub(super) id: Option<WorkerId>,
    /// The process manager's number of this process.
    pub(super) hint: Option<WorkerId>,
    pub(super) inbox_capacity: Option<usize>,
    pub(super) reply_capacity: Option<usize>,
    pub(super) max_calls: Option<usize>,
    pub(super) events_overflow: Option<Overflow>,
    pub(super) populate: Option<bool>,
    pub(super) join_timeout: Option<Duration>,
    pub(super) wait_for_name: Option<Duration>,
    pub(super) max_deliveries: Option<u64>,
    /// The worker that gets dead letters.
    pub(super) dead_letters: Option<String>,
    pub(super) namespace: Namespace,
    pub(super) stop: Option<Stop>,
}

impl WorkerBuilder {
    /// Sets the maximum number of workers in the cluster: 1 to 1024, by default 128.
    ///
    /// Each costs every topic two entries of 256 bytes, and every inbox three. If the cluster
    /// exists with another number, joining fails with
    /// [`SettingsMismatch`](crate::OpenError::SettingsMismatch). Without this setting a worker
    /// joins any cluster.
    ///
    /// The number is fixed as long as the cluster exists: its inboxes, topics, queues and services
    /// have room for that many workers. To change it, end all workers, call
    /// [`Worker::remove_cluster`](crate::Worker::remove_cluster), which deletes the messages and
    /// jobs that are left, and let the first worker join with another number. A
    /// [full](super::JoinError::Full) cluster has room again after
    /// [`Worker::retire`](crate::Worker::retire) of a worker that is away.
    pub fn max_workers(mut self, count: usize) -> Self {
        self.max_workers = Some(count);
        self
    }

    /// Requests an id. It is ignored if the id is taken, or if the name has an id from before.
    ///
    /// An id that is not below [`max_workers`](Self::max_workers) is
    /// [`BadSettings`](crate::OpenError::BadSettings) when joining.
    pub fn id(mut self, id: WorkerId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the size of this worker's inbox in bytes: a power of two, by default 256 KiB. The
    /// largest message takes half of it.
    ///
    /// If the inbox exists with another size, from a worker of this name before,
    /// [`Worker::inbox`](crate::Worker::inbox) makes it anew with this size, if it is empty: no
    /// message waits in it or is being sent to it. Senders go on. For a moment both inboxes take
    /// memory. An inbox that holds a message keeps its size; [`Inbox::capacity`] returns it. Open
    /// the inbox again when it is empty. Without this setting an inbox keeps the size that it has.
    ///
    /// [`Inbox::capacity`]: super::Inbox::capacity
    pub fn inbox_capacity(mut self, bytes: usize) -> Self {
        self.inbox_capacity = Some(bytes);
        self
    }

    /// Sets the memory for the replies to this worker's calls, in bytes: a power of two, by default
    /// 256 KiB. All [clients](super::Client) of the worker share it. The first one makes it.
    ///
    /// A call reserves what its reply may need: see
    /// [`ServiceBuilder::max_reply`](super::ServiceBuilder::max_reply). One reply takes half of the
    /// memory at most.
    pub fn reply_capacity(mut self, bytes: usize) -> Self {
        self.reply_capacity = Some(bytes);
        self
    }

    /// Sets the most calls of this worker in flight, of all its clients together: 1 to 8192, by
    /// default 256. Each takes 128 bytes.
    pub fn max_calls(mut self, count: usize) -> Self {
        self.max_calls = Some(count);
        self
    }

    /// Sets what happens when the ring of events is full. By default
    /// [`emit`](super::Events::emit) waits. The first worker that opens the events decides.
    pub fn events_overflow(mut self, overflow: Overflow) -> Self {
        self.events_overflow = Some(overflow);
        self
    }

    /// Makes the pages of each ring present when an endpoint of this worker joins it: of topics,
    /// queues, services, events and inboxes, also those that it sends to. See
    /// [`RingBuilder::populate`](crate::RingBuilder::populate). The memory for replies is not
    /// included.
    ///
    /// ```
    /// # let cluster = format!("populate-{}", std::process::id());
    /// use packetring::Worker;
    ///
    /// let trader = Worker::builder().populate(true).join(&cluster, "trader")?;
    /// let prices = trader.subscriber::<u64>("prices")?; // its first lap has no page faults
    /// # drop(prices);
    /// # trader.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn populate(mut self, populate: bool) -> Self {
        self.populate = Some(populate);
        self
    }

    /// Sets how long this worker waits for other processes that open, join or leave the same
    /// object: see [`RingBuilder::open_timeout`](crate::RingBuilder::open_timeout).
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = Some(timeout);
        self
    }

    /// Sets what ends the waits of this worker and of everything that it opens: see [`Stop`].
    /// Joining fails with [`Stopped`](super::JoinError::Stopped) while it waits for a
    /// [name](Self::wait_for_name) or for another process.
    ///
    /// ```
    /// # let cluster = format!("stop-{}", std::process::id());
    /// use packetring::{RecvError, Stop, Worker};
    ///
    /// let stop = Stop::new(); // A signal handler or another thread has a clone.
    /// let shop = Worker::builder().stop(&stop).join(&cluster, "shop")?;
    /// let mut inbox = shop.inbox()?;
    /// stop.stop();
    /// assert!(matches!(inbox.recv(), Err(RecvError::Stopped)));
    /// # drop(inbox);
    /// # shop.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = Some(stop.clone());
        self
    }

    /// The limits of waits for the control lock.
    pub(super) fn limit(&self) -> LockLimit {
        LockLimit { timeout: self.join_timeout, stop: self.stop.clone() }
    }

    /// Waits this long for a name that a living worker has, and for its inbox, in which that worker
    /// may have a message in hand. By default joining fails at once.
    ///
    /// With it a successor can start before its predecessor ends. The predecessor
    /// [drains](crate::Worker::drain) meanwhile. If the name is still taken after the timeout,
    /// joining fails with [`NameTaken`](super::JoinError::NameTaken).
    pub fn wait_for_name(mut self, timeout: Duration) -> Self {
        self.wait_for_name = Some(timeout);
        self
    }

    /// Gives messages and jobs up that this worker did not acknowledge in `count` deliveries, over
    /// all restarts. Instead of the next delivery they go to the inbox of the worker that
    /// [`dead_letters`](Self::dead_letters) names, and are acknowledged. By default they come for
    /// ever. It holds for the [inbox](crate::Worker::inbox) and the [queues](crate::Worker::queue)
    /// of this worker.
    ///
    /// ```
    /// # let cluster = format!("dead-letters-{}", std::process::id());
    /// use packetring::{TryRecvError, Worker};
    ///
    /// let undertaker = Worker::join(&cluster, "undertaker")?; // usually another process
    /// let mut dead_letters = undertaker.inbox()?;
    /// let builder = Worker::builder().max_deliveries(2).dead_letters("undertaker");
    /// let shop = builder.join(&cluster, "shop")?;
    /// let mut inbox = shop.inbox()?;
    ///
    /// shop.send_to("shop", &7_u64)?;
    /// assert_eq!(inbox.recv()?.deliveries(), 1); // Dropped without `ack`.
    /// assert_eq!(inbox.recv()?.deliveries(), 2);
    /// assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    ///
    /// let letter = dead_letters.recv()?;
    /// assert_eq!((*letter.open_as::<u64>()?, letter.sender()), (7.into(), shop.id()));
    /// letter.ack();
    /// # drop((inbox, dead_letters));
    /// # shop.leave()?;
    /// # undertaker.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_deliveries(mut self, count: u64) -> Self {
        self.max_deliveries = Some(count);
        self
    }

    /// Names the worker whose inbox gets what was delivered [too often](Self::max_deliveries). The
    /// dead letter has the type and the bytes of the original. A message names its sender; a job
    /// names the worker that gave it up.
    ///
    /// Nothing is lost: if that worker has no inbox, or the inbox is full or refuses the type, the
    /// original is delivered again, and the next delivery tries again. If this process is killed
    /// between both steps, there are two dead letters.
    ///
    /// Joining fails with [`BadSettings`](crate::OpenError::BadSettings) if only one of both
    /// settings is chosen, or if the worker names itself.
    pub fn dead_letters(mut self, worker: &str) -> Self {
        self.dead_letters = Some(worker.to_owned());
        self
    }

    /// Sets the prefix of the names of all objects of the cluster: see
    /// [`RingBuilder::prefix`](crate::RingBuilder::prefix). Workers of two prefixes never meet,
    /// although their clusters have one name.
    ///
    /// ```
    /// # let cluster = format!("prefix-{}", std::process::id());
    /// use packetring::Worker;
    ///
    /// let staging = Worker::builder().prefix("staging").join(&cluster, "shop")?;
    /// let live = Worker::builder().prefix("live").join(&cluster, "shop")?; // not `NameTaken`
    /// assert_eq!((staging.workers().len(), live.workers().len()), (1, 1));
    /// # Ok::<(), packetring::cluster::JoinError>(())
    /// ```
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.namespace.set_prefix(prefix);
        self
    }

    /// Sets the mode of all files of the cluster that this worker creates: 0o600, the default, or
    /// 0o660 to share the cluster with the users of a [group](Self::group). All workers choose
    /// both: see [`RingBuilder::mode`](crate::RingBuilder::mode).
    ///
    /// ```
    /// # let cluster = format!("mode-{}", std::process::id());
    /// use packetring::Worker;
    ///
    /// let worker = Worker::builder().mode(0o660).join(&cluster, "web")?;
    /// # worker.leave()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.namespace.set_mode(mode);
        self
    }

    /// Sets the group that shares the cluster, by its numeric id: see
    /// [`RingBuilder::group`](crate::RingBuilder::group).
    pub fn group(mut self, group: u32) -> Self {
        self.namespace.set_group(group);
        self
    }

    /// Removes a cluster without living workers: see
    /// [`Worker::remove_cluster`](crate::Worker::remove_cluster). Of the settings, only the
    /// [`prefix`](Self::prefix), the [`mode`](Self::mode) and the [`group`](Self::group) count.
    ///
    /// # Errors
    ///
    /// As [`Worker::remove_cluster`](crate::Worker::remove_cluster), and
    /// [`BadSettings`](OpenError::BadSettings) for an invalid [`prefix`](Self::prefix).
    pub fn remove_cluster(self, cluster: &str) -> Result<bool, OpenError> {
        directory::remove(&Cluster::new(&self.namespace, cluster)?)
    }
}
