//! What goes on in shared memory: snapshots of rings, boards, directories and whole clusters.
//!
//! [`ObjectInfo::inspect`] reads one object of an [`inventory()`](crate::inventory()),
//! [`objects()`] a list of them, and [`cluster()`] all objects of one cluster.
//!
//! ```
//! use packetring::Ring;
//! use packetring::inspect::Inspection;
//!
//! let name = format!("inspect-{}", std::process::id());
//! let ring = Ring::open(&name)?;
//! let (mut out, _idle) = (ring.publisher::<u64>()?, ring.subscriber::<u64>()?);
//! out.send(&7)?;
//!
//! let objects = packetring::inventory()?;
//! let object = objects.iter().find(|object| object.name == name).expect("it is listed");
//! let Inspection::Ring(found) = object.inspect()? else { panic!("{object} is a ring") };
//! let slow = found.holder().expect("the subscriber holds the packet");
//! assert_eq!((slow.pid, slow.is_alive), (std::process::id(), true));
//! assert_eq!(slow.lag.and_then(|lag| lag.packets), Some(1));
//! # drop((out, _idle, ring));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a snapshot is
//!
//! Inspecting takes no lock and no place in a ring, stores nothing, and wakes no thread: the
//! objects are mapped read-only. No endpoint becomes slower, except that its cache lines are read.
//!
//! Processes go on meanwhile. Each word is that of the moment when it was read, so two figures may
//! be some microseconds apart. Figures that would be wrong are missing instead:
//! [`Lag::packets`], [`RingInspection::gate`].
//!
//! Nothing that is read is trusted: a damaged object leads to an error, or to wrong figures.
//!
//! # Cost
//!
//! For each object about 20 system calls (one open, two mappings for a moment), one `fcntl` for
//! each endpoint or worker, and a read of the header of each packet that a reader has not received
//! yet. For an object of a cluster, its directory is read too: [`objects()`] and [`cluster()`] read
//! it once.

#![forbid(unsafe_code)]

mod content;
mod endpoint;
mod latency;
mod ring;

pub use crate::ring::counters::Counters;
pub use crate::ring::snapshot::Lag;
pub use content::{BoardInspection, CallAreaInspection, CellInfo, DirectoryInspection};
pub use endpoint::{EndpointInfo, EndpointRole, InFlight, OpenClaim};
pub use latency::{LatencyBucket, LatencySnapshot};
pub use ring::{
    GateHolder, QueueBacklog, RingGate, RingInspection, RingStatus, RingType, SleepCounts,
};

use crate::cluster::{Cluster, WorkerInfo, WorkerState};
use crate::error::OpenError;
use crate::inventory::{ObjectInfo, ObjectKind, objects_of};
use crate::segment::PassiveSegment;
use crate::segment::name::Namespace;
use endpoint::Source;
use std::collections::HashMap;

/// The content of an object.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Inspection {
    /// A ring: a plain one, a topic, an inbox, a queue, the requests of a service, or the events
    /// of a cluster.
    Ring(RingInspection),
    /// A board or a latest value.
    Board(BoardInspection),
    /// The directory of a cluster.
    Directory(DirectoryInspection),
    /// The call area of a worker: the replies to it.
    CallArea(CallAreaInspection),
    /// The socket by which a worker receives descriptors. It has no content.
    Socket,
}

/// An object and its content.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectedObject {
    /// The object.
    pub info: ObjectInfo,
    /// Its content, or the reason why it could not be read.
    pub content: Result<Inspection, OpenError>,
}

/// All objects of one cluster.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClusterInspection {
    /// The cluster's name.
    pub name: String,
    /// Its workers, in the order of their ids: living ones, and those that left or died.
    pub workers: Vec<WorkerInfo>,
    /// Its objects, in the order of their files' names. The directory is one of them.
    pub objects: Vec<InspectedObject>,
}

/// Reads all objects of this user in the cluster of this name. An empty prefix means the cluster
/// without a prefix; the environment variable `PACKETRING_PREFIX` is not read.
///
/// ```
/// use packetring::{Worker, inspect};
///
/// let name = format!("shop-{}", std::process::id());
/// let worker = Worker::builder().prefix("").join(&name, "billing")?;
/// let inbox = worker.inbox()?;
///
/// let found = inspect::cluster("", &name)?;
/// assert_eq!(found.workers[0].name, "billing");
/// let inbox_ring = found.objects.iter().find(|object| object.info.name == "billing");
/// assert!(inbox_ring.is_some_and(|object| object.content.is_ok()));
/// # drop(inbox);
/// # worker.leave()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`NotFound`](OpenError::NotFound) if this user has no object of that cluster.
/// [`BadName`](OpenError::BadName) and [`BadSettings`](OpenError::BadSettings) for an invalid name
/// or prefix. [`System`](OpenError::System) if `/dev/shm` cannot be listed. An error at one object
/// is its [`content`](InspectedObject::content).
pub fn cluster(prefix: &str, name: &str) -> Result<ClusterInspection, OpenError> {
    let cluster = Cluster::new(&Namespace::of_prefix(prefix), name)?;
    let directory = cluster.directory()?;
    let found = objects_of(&cluster)?;
    if found.is_empty() {
        return Err(OpenError::NotFound { name: directory.shown() });
    }
    let objects = objects(found);
    let workers = objects.iter().find_map(|object| match &object.content {
        Ok(Inspection::Directory(directory)) => Some(directory.workers.clone()),
        _ => None,
    });
    Ok(ClusterInspection { name: name.to_owned(), workers: workers.unwrap_or_default(), objects })
}

/// Reads the content of objects, in their order. Reads the directory of each cluster once to find
/// the names of workers.
pub fn objects(objects: Vec<ObjectInfo>) -> Vec<InspectedObject> {
    let mut clusters = HashMap::new();
    let read = |info: ObjectInfo| {
        let key = (info.prefix.clone(), info.cluster.clone());
        let workers = clusters.entry(key).or_insert_with(|| WorkerNames::of(&info));
        let content = read(&info, workers);
        InspectedObject { info, content }
    };
    objects.into_iter().map(read).collect()
}

impl ObjectInfo {
    /// Reads the content of the object: see the module [`inspect`](crate::inspect).
    ///
    /// Reads the object that has the name now, which may be a later one than that of the list.
    ///
    /// # Errors
    ///
    /// [`NotFound`](OpenError::NotFound) if the object was removed or is not complete,
    /// [`OtherVersion`](OpenError::OtherVersion) if it has another layout,
    /// [`Foreign`](OpenError::Foreign), [`Corrupt`](OpenError::Corrupt),
    /// [`OtherUser`](OpenError::OtherUser) or [`System`](OpenError::System) if it cannot be read.
    pub fn inspect(&self) -> Result<Inspection, OpenError> {
        read(self, &WorkerNames::of(self))
    }
}

/// Reads the content of an object.
fn read(info: &ObjectInfo, workers: &WorkerNames) -> Result<Inspection, OpenError> {
    if info.kind == ObjectKind::Socket {
        return Ok(Inspection::Socket);
    }
    let segment = &PassiveSegment::open(info.segment_name())?;
    let (settings, source) = (segment.settings(), Source { segment, workers });
    Ok(if settings.cells > 0 {
        Inspection::Board(BoardInspection::of(&source))
    } else if settings.call_cells > 0 {
        Inspection::CallArea(CallAreaInspection::of(segment))
    } else if settings.worker_slots > 0 {
        Inspection::Directory(DirectoryInspection::of(segment))
    } else {
        Inspection::Ring(RingInspection::of(&source))
    })
}

/// The workers of the cluster that an object belongs to: none, outside of a cluster.
struct WorkerNames(Vec<WorkerInfo>);

impl WorkerNames {
    /// Reads the directory of an object's cluster. None, if it cannot be read.
    fn of(info: &ObjectInfo) -> Self {
        let Some(name) = &info.cluster else { return Self(Vec::new()) };
        let prefix = info.prefix.as_deref().unwrap_or_default();
        let directory = Cluster::new(&Namespace::of_prefix(prefix), name)
            .and_then(|cluster| PassiveSegment::open(&cluster.directory()?));
        Self(directory.map_or(Vec::new(), |segment| DirectoryInspection::of(&segment).workers))
    }

    /// The name of the worker of a process. If the endpoint is alive, the worker is alive, too;
    /// otherwise the worker is dead or has left. `None` if the process has no worker, or several.
    fn of_process(&self, pid: u32, is_alive: bool) -> Option<String> {
        let is_it = |worker: &&WorkerInfo| {
            worker.pid == pid && (worker.state == WorkerState::Alive) == is_alive
        };
        let mut found = self.0.iter().filter(is_it);
        let name = &found.next()?.name;
        found.next().is_none().then(|| name.clone())
    }
}
