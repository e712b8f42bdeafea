//! Workers: joining a cluster, waiting for others, leaving.

use super::builder::WorkerBuilder;
use super::calls::{AreaSettings, OwnCallers, OwnCalls};
use super::default_name::DefaultName;
use super::directory::{self, Directory, JoinRequest, Watch, WorkerInfo};
use super::error::JoinError;
#[cfg(feature = "handover")]
use super::handover::FdListener;
use super::names::{Addressee, Cluster, ClusterObject, WorkerId};
use super::pool::SenderPool;
use crate::channel::{Draining, Ring, RingBuilder};
use crate::error::{Detachment, OpenError};
use std::fmt;
use std::sync::Mutex;
#[cfg(feature = "handover")]
use std::sync::{Arc, OnceLock};

/// A process's place in a cluster: its name and id, and the start of everything that it opens.
///
/// A worker is `Send` and `Sync`, and all methods take `&self`. A process may have several.
///
/// The first worker that joins creates the cluster. The cluster goes when its last worker has left,
/// unless a worker is [away](super::WorkerState::Away) or a queue has packets. The next join clears
/// the rest of a cluster whose workers were all killed; [`remove_cluster`](Worker::remove_cluster)
/// removes everything.
///
/// # Names
///
/// A name belongs to at most one living worker. A second worker of the name gets
/// [`NameTaken`](JoinError::NameTaken).
///
/// # Restart
///
/// If a worker without an inbox is dropped or dies, its worker slot becomes free. If a worker
/// opened an [inbox](Worker::inbox), its id, its inbox and the messages in it stay for the next
/// worker of its name. [`leave`](Worker::leave) and [`retire`](Worker::retire) delete them.
///
/// # When a worker dies
///
/// The kernel releases the locks of a dead process, so the other processes notice the death without
/// a timeout. [`watch`](Worker::watch) reports it. Everything that the dead process held is freed.
///
/// ```
/// # let cluster = format!("worker-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::JoinError;
///
/// let shop = Worker::join(&cluster, "shop")?;
/// assert!(matches!(Worker::join(&cluster, "shop"), Err(JoinError::NameTaken { .. })));
/// assert_eq!(shop.workers()[0].name, "shop");
///
/// let id = shop.id();
/// drop(shop);
/// assert_eq!(Worker::join(&cluster, "shop")?.id(), id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a worker that is dropped leaves its cluster"]
pub struct Worker {
    // First, so that the objects of calls go before the worker leaves.
    pub(super) calls: OwnCalls,
    pub(super) callers: OwnCallers,
    pub(super) directory: Directory,
    pub(super) cluster: Cluster,
    name: String,
    pub(super) choices: WorkerBuilder,
    pub(super) senders: SenderPool,
    pub(super) draining: Draining,
    /// Held while the inbox is opened.
    pub(super) opening: Mutex<()>,
    /// The socket by which it receives descriptors, once an inbox accepted some.
    #[cfg(feature = "handover")]
    pub(super) socket: Arc<OnceLock<FdListener>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Worker");
        out.field("cluster", &self.cluster.name).field("name", &self.name).field("id", &self.id());
        out.finish_non_exhaustive()
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Worker>();
};

impl Worker {
    /// Joins a cluster under a name of 1 to 64 bytes. Creates the cluster if it does not exist.
    ///
    /// The worker gets the inbox of the last worker of its name, and its id if that is still free.
    ///
    /// # Errors
    ///
    /// - [`NameTaken`](JoinError::NameTaken) if a worker of this name lives.
    /// - [`BadName`](JoinError::BadName), [`Full`](JoinError::Full), [`Open`](JoinError::Open).
    pub fn join(cluster: &str, name: &str) -> Result<Self, JoinError> {
        Self::builder().join(cluster, name)
    }

    /// As [`join`](Self::join), but waits in a task: see
    /// [`WorkerBuilder::join_async`](WorkerBuilder::join_async).
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    #[cfg(feature = "async")]
    pub async fn join_async(cluster: &str, name: &str) -> Result<Self, JoinError> {
        Self::builder().join_async(cluster, name).await
    }

    /// The worker of a place in a cluster.
    pub(super) fn new(
        directory: Directory,
        cluster: Cluster,
        name: &str,
        choices: WorkerBuilder,
    ) -> Self {
        Self {
            senders: SenderPool::new(directory.id(), directory.generation()),
            directory,
            cluster,
            name: name.to_owned(),
            choices,
            draining: Draining::default(),
            opening: Mutex::default(),
            #[cfg(feature = "handover")]
            socket: Arc::default(),
            calls: OwnCalls::default(),
            callers: OwnCallers::default(),
        }
    }

    /// Joins under the name that the process manager gave this process. A process that PM2 restarts
    /// gets the same name and id.
    ///
    /// The name is the environment variable `name`, or the program's name, followed by `-<n>`. The
    /// number `n` is `pm_id`, or else `NODE_APP_INSTANCE`. It is also the requested id, if the
    /// cluster has so many worker slots. Without a number the name has no suffix. A name that is
    /// too long is cut, and `~` and a hash of the whole follow the rest: the same one each time.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join). [`NameTaken`](JoinError::NameTaken) shows the variables that made
    /// the name.
    pub fn from_env(cluster: &str) -> Result<Self, JoinError> {
        Self::builder().join_from_env(cluster)
    }
    /// Returns a builder that chooses how to join.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder::default()
    }

    /// This worker's id: small, and the same after a restart under the same name.
    pub fn id(&self) -> WorkerId {
        self.directory.id()
    }

    /// Why no worker can join this cluster any more; `None` if one can. Makes three system calls.
    ///
    /// The attached workers go on among themselves. A worker that joins a cluster of this name
    /// creates another one.
    pub fn detachment(&self) -> Option<Detachment> {
        self.directory.detachment()
    }

    /// Returns true if no worker can join this cluster any more: see
    /// [`detachment`](Self::detachment).
    pub fn is_detached(&self) -> bool {
        self.detachment().is_some()
    }

    /// This worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The workers of the cluster by id: all that live, this one included, and all that are
    /// [away](super::WorkerState::Away). Costs a system call for each.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.directory.list()
    }

    /// Describes a worker, also one that is gone. `None` if no worker ever had this name or id, or
    /// if its place was given to a worker of another name.
    pub fn worker(&self, who: &(impl Addressee + ?Sized)) -> Option<WorkerInfo> {
        self.directory.info(&who.address())
    }

    /// Returns a [`Watch`]: it reports every worker that joins, leaves or dies from now on.
    ///
    /// # Errors
    ///
    /// [`System`](OpenError::System), [`Busy`](OpenError::Busy).
    pub fn watch(&self) -> Result<Watch, OpenError> {
        self.directory.watch()
    }

    /// Opens an object of this cluster, or creates it. Waits no longer than the
    /// [`join_timeout`](WorkerBuilder::join_timeout).
    pub(crate) fn open(
        &self,
        object: ClusterObject<'_>,
        settings: RingBuilder,
    ) -> Result<Ring, OpenError> {
        self.with_space(|| self.try_open(object, settings.clone()))
    }

    /// As [`open`](Self::open), but fails at once if there is no room for the object.
    pub(super) fn try_open(
        &self,
        object: ClusterObject<'_>,
        settings: RingBuilder,
    ) -> Result<Ring, OpenError> {
        self.refuse_outsiders()?;
        let settings = self.with_choices(settings);
        settings.open_named(&object.name(&self.cluster)?)
    }

    /// The settings of a ring, with the choices of this worker.
    pub(super) fn with_choices(&self, settings: RingBuilder) -> RingBuilder {
        settings.limited(self.choices.limit()).or_populate(self.choices.populate)
    }

    /// Fails in a forked child, which has no place in the cluster, and in a cluster that was
    /// removed.
    pub(super) fn refuse_outsiders(&self) -> Result<(), OpenError> {
        self.directory.refuse_inherited()?;
        self.directory.refuse_detached()
    }

    /// How this worker makes its call area.
    pub(super) fn area_settings(&self) -> AreaSettings {
        AreaSettings {
            reply_capacity: self.choices.reply_capacity,
            max_calls: self.choices.max_calls,
            worker: self.id(),
            generation: self.directory.generation(),
            limit: self.choices.limit(),
        }
    }

    /// Makes an object. If there is no room for it, removes what killed processes left, and tries
    /// again for up to a second.
    pub(super) fn with_space<T>(
        &self,
        make: impl Fn() -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        directory::with_space(make, || self.directory.sweep())
    }

    /// As [`open`](Self::open), but the object must exist.
    pub(crate) fn attach_to(
        &self,
        object: ClusterObject<'_>,
        settings: RingBuilder,
    ) -> Result<Ring, OpenError> {
        self.refuse_outsiders()?;
        let settings = self.with_choices(settings);
        settings.attach_named(&object.name(&self.cluster)?)
    }
}

impl WorkerBuilder {
    /// Joins a cluster: see [`Worker::join`].
    ///
    /// # Errors
    ///
    /// As [`Worker::join`].
    pub fn join(self, cluster: &str, name: &str) -> Result<Worker, JoinError> {
        let (cluster, request) = self.request(cluster, name)?;
        let directory = Directory::join(&cluster, &request)?;
        Ok(Worker::new(directory, cluster, name, self))
    }

    /// Joins a cluster, and waits in a task, for any executor: for a
    /// [name](Self::wait_for_name) that is taken, and for processes that are joining or leaving.
    /// Other waits of joining are those of files, as with [`join`](Self::join).
    ///
    /// Dropping the future joins nothing: the name and the id stay free, unless the future had
    /// ended with a worker.
    ///
    /// ```
    /// # let cluster = format!("join-async-{}", std::process::id());
    /// use packetring::Worker;
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let old = Worker::join(&cluster, "shop")?; // Normally in another process.
    /// let builder = Worker::builder().wait_for_name(Duration::from_secs(60));
    /// let leaving = async { old.leave() };
    /// let (new, left) = tokio::join!(builder.join_async(&cluster, "shop"), leaving);
    /// left?;
    /// assert_eq!(new?.name(), "shop");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::join`]. [`Open`](JoinError::Open) also if the task cannot wait, as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn join_async(self, cluster: &str, name: &str) -> Result<Worker, JoinError> {
        let (cluster, request) = self.request(cluster, name)?;
        let directory = Directory::join_in_task(&cluster, &request).await?;
        Ok(Worker::new(directory, cluster, name, self))
    }

    /// The cluster, and how to join it.
    fn request<'a>(
        &self,
        cluster: &str,
        name: &'a str,
    ) -> Result<(Cluster, JoinRequest<'a>), JoinError> {
        self.check_dead_letters(name)?;
        let limit = self.limit();
        let Self { id, hint, max_workers, wait_for_name, .. } = *self;
        let request = JoinRequest { name, id, hint, max_workers, limit, wait_for_name };
        Ok((Cluster::new(&self.namespace, cluster)?, request))
    }

    /// Joins under the name that the process manager gave this process: see [`Worker::from_env`].
    ///
    /// # Errors
    ///
    /// As [`Worker::from_env`].
    pub fn join_from_env(self, cluster: &str) -> Result<Worker, JoinError> {
        let default = self.default_name(cluster)?;
        let builder = Self { hint: default.id, ..self };
        builder.join(cluster, &default.name).map_err(|error| default.explain(error))
    }

    /// As [`join_from_env`](Self::join_from_env), but waits in a task: see
    /// [`join_async`](Self::join_async).
    ///
    /// # Errors
    ///
    /// As [`Worker::from_env`] and [`join_async`](Self::join_async).
    #[cfg(feature = "async")]
    pub async fn join_from_env_async(self, cluster: &str) -> Result<Worker, JoinError> {
        let default = self.default_name(cluster)?;
        let builder = Self { hint: default.id, ..self };
        let joined = builder.join_async(cluster, &default.name).await;
        joined.map_err(|error| default.explain(error))
    }

    fn default_name(&self, cluster: &str) -> Result<DefaultName, JoinError> {
        let cluster = Cluster::new(&self.namespace, cluster)?;
        let fits = |name: &str| directory::check_name(&cluster, name).is_ok();
        Ok(DefaultName::of_process(fits))
    }
}
