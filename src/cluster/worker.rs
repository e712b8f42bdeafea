//! A process' place in a cluster.

use super::directory::{self, Directory, JoinRequest, Watch, WorkerInfo, WorkerState};
use super::error::{JoinError, WaitError};
use super::names::{Addressee, DefaultName, Object, WorkerId};
use super::pool::SenderPool;
use crate::channel::{Overflow, Ring, RingBuilder};
use crate::error::OpenError;
use crate::wait::{IDLE, Sleep, Timeout, Wait, Waiter};
use std::time::Duration;

/// A process' place in a cluster: its name there, and all that it opens.
///
/// A cluster is made by whoever joins first, and goes when the last has left, no inbox waits for
/// somebody to come back and no queue for its jobs to be done. What stays, also if the last was killed,
/// is cleared away by who joins, or by [`remove_cluster`](Worker::remove_cluster). A name belongs to one living worker. A worker that is killed gives its
/// place up by that; one that is dropped does so in good order. Who has an
/// [inbox](Worker::inbox) is expected back: its id, its inbox and what is in it stay for the next
/// worker of its name, until somebody [leaves](Worker::leave) or is [retired](Worker::retire).
///
/// It is `Send` and `Sync`, and its operations take `&self`. A process may have several.
///
/// ```
/// # let cluster = format!("worker-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::JoinError;
///
/// let desk = Worker::join(&cluster, "desk")?;
/// assert!(matches!(Worker::join(&cluster, "desk"), Err(JoinError::NameTaken { .. })));
/// assert_eq!(desk.workers()[0].name, "desk");
///
/// let id = desk.id();
/// drop(desk);
/// assert_eq!(Worker::join(&cluster, "desk")?.id(), id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Worker {
    pub(super) directory: Directory,
    pub(super) cluster: String,
    name: String,
    pub(super) choices: WorkerBuilder,
    pub(super) endpoints: SenderPool,
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Worker>();
};

/// Chooses how a worker joins.
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
#[derive(Clone, Debug)]
#[must_use]
pub struct WorkerBuilder {
    pub(super) max_workers: Option<usize>,
    pub(super) id: Option<WorkerId>,
    /// The id that the process manager has for this process.
    pub(super) hint: Option<WorkerId>,
    pub(super) inbox_capacity: Option<usize>,
    pub(super) events_overflow: Option<Overflow>,
    pub(super) join_timeout: Option<Duration>,
}

impl Worker {
    /// Joins a cluster as the worker of this name (1 to 64 bytes), making the cluster if it is not
    /// there.
    ///
    /// It gets the id that a worker of its name had before, if that is still free, and its inbox.
    ///
    /// # Errors
    ///
    /// [`NameTaken`](JoinError::NameTaken) if a worker of this name lives,
    /// [`BadName`](JoinError::BadName), [`Full`](JoinError::Full), [`Open`](JoinError::Open).
    pub fn join(cluster: &str, name: &str) -> Result<Self, JoinError> {
        Self::builder().join(cluster, name)
    }

    /// Joins under the name that the process manager gave this process.
    ///
    /// That is `name` of the environment, or the program's name where there is none, and behind it
    /// `-<n>` with `n` from `NODE_APP_INSTANCE`, else from `pm_id`, which is also the id that is
    /// asked for, where the cluster has so many desks. So a process that PM2 restarts has the name and
    /// id it had before.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn from_env(cluster: &str) -> Result<Self, JoinError> {
        let default = DefaultName::of_process();
        let builder = WorkerBuilder { hint: default.id, ..Self::builder() };
        builder.join(cluster, &default.name)
    }

    /// Chooses how to join.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder {
            max_workers: None,
            id: None,
            hint: None,
            inbox_capacity: None,
            events_overflow: None,
            join_timeout: None,
        }
    }

    /// This worker's number: the index of its place in the cluster, small, and the same after a
    /// restart under the same name.
    pub fn id(&self) -> WorkerId {
        self.directory.id()
    }

    /// This worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who is in the cluster, by number: those that live, this one included, and those that are
    /// [away](WorkerState::Away).
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.directory.list()
    }

    /// What is known of a worker, by name or id, of one that is gone, too; `None`: it was never
    /// there, or another one has its place.
    pub fn worker(&self, who: &(impl Addressee + ?Sized)) -> Option<WorkerInfo> {
        self.directory.info(&who.address())
    }

    /// Waits until a worker lives. It may have no inbox yet, or never have one: before
    /// [`send_to`](Self::send_to), [`wait_for_inbox_timeout`](Self::wait_for_inbox_timeout) is what to
    /// wait with.
    ///
    /// # Errors
    ///
    /// [`NotThere`](WaitError::NotThere).
    pub fn wait_for_worker_timeout(
        &self,
        who: &(impl Addressee + ?Sized),
        timeout: Duration,
    ) -> Result<WorkerInfo, WaitError> {
        let is_alive = |worker: &WorkerInfo| worker.state == WorkerState::Alive;
        let found = self.wait_until(who, timeout, is_alive);
        found.ok_or_else(|| WaitError::NotThere { who: who.address().to_string() })
    }

    /// Waits until a worker has an [inbox](Self::inbox), so that letters can be sent to it. One that is
    /// [away](WorkerState::Away) has one, too: they wait there.
    ///
    /// ```
    /// # let cluster = format!("wait-for-inbox-{}", std::process::id());
    /// use packetring::Worker;
    /// use std::time::Duration;
    ///
    /// let feed = Worker::join(&cluster, "feed")?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///         let desk = Worker::join(&cluster, "desk")?;
    ///         desk.inbox()?.recv()?.ack();
    ///         Ok(desk.leave()?)
    ///     });
    ///     feed.wait_for_inbox_timeout("desk", Duration::from_secs(10))?;
    ///     feed.send_to("desk", &7_u64)?;
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoInbox`](WaitError::NoInbox), [`NotThere`](WaitError::NotThere).
    pub fn wait_for_inbox_timeout(
        &self,
        who: &(impl Addressee + ?Sized),
        timeout: Duration,
    ) -> Result<WorkerInfo, WaitError> {
        self.wait_until(who, timeout, |worker| worker.has_inbox).ok_or_else(|| {
            let is_alive = self.worker(who).is_some_and(|found| found.state == WorkerState::Alive);
            let who = who.address().to_string();
            if is_alive { WaitError::NoInbox { who } } else { WaitError::NotThere { who } }
        })
    }

    /// Waits until a worker is as it is to be; `None`: it was not in time.
    fn wait_until(
        &self,
        who: &(impl Addressee + ?Sized),
        timeout: Duration,
        is_ready: impl Fn(&WorkerInfo) -> bool,
    ) -> Option<WorkerInfo> {
        let deadline = Timeout::After(timeout).deadline();
        let waiter = Waiter::new(Wait::park(), Sleep::Futex);
        let find = || self.worker(who).filter(&is_ready);
        loop {
            let found = find();
            if found.is_some() || deadline.has_passed() {
                return found;
            }
            waiter.park(self.directory.event_count(), deadline.cut(IDLE), || find().is_some());
        }
    }

    /// Gives name and inbox up: what is in the inbox is lost, but for what an [`Inbox`](super::Inbox)
    /// that is still in hand receives; who sends to it is told that this worker is dead, and the next
    /// of its name begins anew. Dropping a worker keeps both for its successor, if it had an inbox.
    ///
    /// # Errors
    ///
    /// [`Busy`](OpenError::Busy) if another process was stopped while it opened or left the
    /// directory or the inbox, [`System`](OpenError::System). Whoever joins later tries again.
    pub fn leave(self) -> Result<(), OpenError> {
        self.directory.leave()
    }

    /// Clears a dead worker's name and inbox away, so that nobody is expected back; `false`: there is
    /// no such worker, or it has been cleared away.
    ///
    /// # Errors
    ///
    /// [`WorkerLives`](OpenError::WorkerLives) if it lives, [`Busy`](OpenError::Busy),
    /// [`System`](OpenError::System).
    pub fn retire(&self, who: &(impl Addressee + ?Sized)) -> Result<bool, OpenError> {
        self.directory.retire(&who.address())
    }

    /// Removes a cluster that nobody is in, with everything in it: inboxes and letters of workers that
    /// are away, queues with jobs that are not done, topics, requests; `false`: there is none.
    ///
    /// It is for what stays when nobody comes any more: after the last process was killed, and what
    /// waits for somebody who never comes. Who joins at the same time comes into the old cluster, which
    /// then is not removed, or into a new one.
    ///
    /// ```
    /// # let cluster = format!("remove-{}", std::process::id());
    /// use packetring::{OpenError, Worker};
    ///
    /// let desk = Worker::join(&cluster, "desk")?;
    /// desk.queue_publisher::<u64>("jobs")?.send(&7)?; // stays until somebody does it
    /// let refused = Worker::remove_cluster(&cluster);
    /// assert!(matches!(refused, Err(OpenError::WorkerLives { name, .. }) if name == "desk"));
    ///
    /// drop(desk);
    /// assert!(Worker::remove_cluster(&cluster)?);
    /// assert!(!Worker::remove_cluster(&cluster)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`WorkerLives`](OpenError::WorkerLives) names one that is in it; [`InUse`](OpenError::InUse) what
    /// somebody still has in hand whose worker was dropped; both, and nothing was removed.
    /// [`BadName`](OpenError::BadName), [`Busy`](OpenError::Busy), [`Foreign`](OpenError::Foreign),
    /// [`System`](OpenError::System): what is left can be removed by calling it again.
    pub fn remove_cluster(cluster: &str) -> Result<bool, OpenError> {
        directory::remove(cluster)
    }

    /// Returns a [`Watch`] over the workers of the cluster: it reports every worker that joins, leaves
    /// or dies from now on.
    ///
    /// # Errors
    ///
    /// [`System`](OpenError::System), [`Busy`](OpenError::Busy).
    pub fn watch(&self) -> Result<Watch, OpenError> {
        self.directory.watch()
    }

    /// Opens an object of this cluster, making it if it is not there, with the patience that this
    /// worker has.
    pub(crate) fn open(
        &self,
        object: Object<'_>,
        settings: RingBuilder,
    ) -> Result<Ring, OpenError> {
        // A child would do it in its parent's name.
        self.directory.refuse_inherited()?;
        let settings = match self.choices.join_timeout {
            Some(timeout) => settings.open_timeout(timeout),
            None => settings,
        };
        settings.open_named(&object.name(&self.cluster)?)
    }
}

impl WorkerBuilder {
    /// Most workers of the cluster: 1 to 1024, by default 128. Each costs every topic an entry of
    /// 256 bytes, and every inbox three. Who joins a cluster that was made for another number gets
    /// [`SettingsMismatch`](OpenError::SettingsMismatch); who does not choose joins any.
    pub fn max_workers(mut self, count: usize) -> Self {
        self.max_workers = Some(count);
        self
    }

    /// The id to have, if no worker of this name was there before and it is free. It is below
    /// [`max_workers`](Self::max_workers), else joining is
    /// [`BadSettings`](OpenError::BadSettings).
    pub fn id(mut self, id: WorkerId) -> Self {
        self.id = Some(id);
        self
    }

    /// Bytes of this worker's inbox: a power of two, by default 256 KiB. A packet takes half of it at
    /// most.
    pub fn inbox_capacity(mut self, bytes: usize) -> Self {
        self.inbox_capacity = Some(bytes);
        self
    }

    /// What happens when a worker does not handle its events in time, if this one is the first to
    /// open them: by default, who emits waits.
    pub fn events_overflow(mut self, overflow: Overflow) -> Self {
        self.events_overflow = Some(overflow);
        self
    }

    /// How long this worker waits for processes that are just opening, joining or leaving the same:
    /// see [`RingBuilder::open_timeout`].
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = Some(timeout);
        self
    }

    /// Joins: see [`Worker::join`].
    ///
    /// # Errors
    ///
    /// As [`Worker::join`].
    pub fn join(self, cluster: &str, name: &str) -> Result<Worker, JoinError> {
        let Self { id, hint, max_workers, join_timeout, .. } = self;
        let request = JoinRequest { name, id, hint, max_workers, join_timeout };
        let directory = Directory::join(cluster, &request)?;
        Ok(Worker {
            endpoints: SenderPool::of(directory.id(), directory.generation()),
            directory,
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            choices: self,
        })
    }
}
