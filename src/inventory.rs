//! All objects of this user in shared memory: their list, and the removal of deserted ones.
//!
//! Processes that are killed, or that call `process::exit`, leave their objects in `/dev/shm`. The
//! next process that opens such a ring or joins such a cluster cleans up. Names that no process
//! opens again stay: [`inventory()`] lists them, and [`purge()`] removes them.
//!
//! Both calls look at the objects that the effective user owns, also those that it
//! [shares](crate::RingBuilder::mode) with other users. They see the `/dev/shm` of their own
//! container. [`of_other_users()`] lists the files of other users, without opening them.

#![forbid(unsafe_code)]

use crate::channel::settle;
use crate::cluster::Cluster;
use crate::error::{DisplayName, NameKind, OpenError};
use crate::segment::inventory::{self as raw, FoundObject};
use crate::segment::name::{Name, Namespace};
use crate::segment::{Clearance, Segment};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::segment::entry::Kept;

/// The layout version of this build: it opens segments with this [`layout`](ObjectInfo::layout).
pub const LAYOUT_VERSION: u32 = raw::LAYOUT_VERSION;

/// Longest wait for the control lock of an object that is removed.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectKind {
    /// A plain ring, or an object outside of a cluster whose content could not be read.
    Ring,
    /// The directory of a cluster, which holds its workers.
    Directory,
    /// The inbox of a worker.
    Inbox,
    /// A topic.
    Topic,
    /// A board or a latest value, of a cluster or without one. Without a cluster, its settings tell
    /// it from a ring.
    Board,
    /// A work queue.
    Queue,
    /// The requests of a service.
    Requests,
    /// The call area of a worker: the replies to it.
    Replies,
    /// The events of a cluster.
    Events,
    /// The socket by which a worker receives descriptors. It is attached as long as a process has
    /// it open.
    Socket,
    /// An object of a cluster of a kind that this build does not know.
    Unknown,
    /// A file of another program, or a segment of another kind of machine.
    Foreign,
}

/// An object in shared memory: of this user, or of another one ([`of_other_users`]).
///
/// [`Display`](fmt::Display) shows it as errors do, as in `topic "prices" of cluster "shop"`. For a
/// file of another program it shows the path, as in `foreign file "/dev/shm/packetring.x"`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// The kind.
    pub kind: ObjectKind,
    /// The name as the user gave it: of the ring, board, topic, queue or service, or of an inbox's
    /// worker. For replies the id of the caller. Empty for a directory and for events.
    pub name: String,
    /// The [prefix](crate::RingBuilder::prefix) of the name; `None` for a name without one.
    pub prefix: Option<String>,
    /// The cluster's name as the user gave it; `None` for a plain ring or board.
    pub cluster: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Permission bits of the file: 0o600, or 0o660 if [users of a
    /// group](crate::RingBuilder::mode) share it.
    pub mode: u32,
    /// Id of the file's owner.
    pub owner: u32,
    /// Id of the file's group.
    pub group: u32,
    /// The layout version. `None` if the object is not a complete segment.
    pub layout: Option<u32>,
    /// True if a living process is attached, which may be this one.
    pub is_attached: bool,
    /// The processes that use the object, ascending: they have it mapped to write. The ids are as
    /// this process sees them.
    /// `/proc` does not show all processes: for example, not those of another user. Such a process
    /// is listed if it owns an endpoint, with its id in its own pid namespace. For display only:
    /// [`is_attached`](Self::is_attached) comes from the locks of the kernel.
    pub processes: Vec<u32>,
    /// The processes that only [observe](crate::observe) the object, ascending: they have it mapped
    /// to read. They keep no object. For display only, as [`processes`](Self::processes).
    pub observers: Vec<u32>,
    /// Time since the object was made.
    pub age: Duration,
    /// The content that keeps the object without a process.
    pub kept: Kept,
    /// The reason why the object could not be read. If so, `kept` is unknown.
    pub fault: Option<OpenError>,
    object: Name,
}

/// Result of [`purge()`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Purged {
    /// The objects that this call removed.
    pub removed: Vec<ObjectInfo>,
    /// The objects that stay, each with the reason.
    pub stays: Vec<(ObjectInfo, StayReason)>,
}

/// The reason why [`purge()`] leaves an object.
#[derive(Debug)]
#[non_exhaustive]
pub enum StayReason {
    /// A living process is attached, or holds the object's control lock.
    InUse,
    /// The object keeps something durable: [`ObjectInfo::kept`].
    Kept,
    /// The object could not be checked or removed. A file of another program is
    /// [`Foreign`](OpenError::Foreign). A segment of another layout that may keep something is
    /// [`OtherVersion`](OpenError::OtherVersion).
    Failed(OpenError),
}

/// Lists the objects of this user in shared memory, in the order of their files' names.
///
/// Takes no lock and changes no object. Each object is read at another moment, so the list is no
/// snapshot of them all. A broken or foreign object is listed with its
/// [`fault`](ObjectInfo::fault). Costs one listing of `/dev/shm`, one open and one mapping for each
/// object, and one read of `/proc/<pid>/maps` for each process of this user.
///
/// ```
/// use packetring::inventory::{Kept, ObjectKind};
///
/// let name = format!("stock-{}", std::process::id());
/// let ring = packetring::Ring::open(&name)?;
/// let objects = packetring::inventory()?;
/// let own = objects.iter().find(|object| object.name == name).expect("it is listed");
/// assert_eq!((own.kind, &own.kept), (ObjectKind::Ring, &Kept::Nothing));
/// assert!(own.is_attached && own.processes.contains(&std::process::id()));
/// # drop(ring);
/// # Ok::<(), packetring::OpenError>(())
/// ```
///
/// # Errors
///
/// [`System`](OpenError::System) if `/dev/shm` cannot be listed.
pub fn inventory() -> Result<Vec<ObjectInfo>, OpenError> {
    Ok(raw::list()?.into_iter().map(ObjectInfo::of).collect())
}

/// Lists the objects of other users in shared memory, in the order of their files' names.
///
/// No object is opened, so only its file is known: name, length, owner, group, mode, age, and the
/// processes that `/proc` shows, which are none except for root. [`kind`](ObjectInfo::kind) is that
/// of the name. `kept` is unknown, `is_attached` is false, and the fault is
/// [`OtherUser`](OpenError::OtherUser). A file of another program with such a name is listed, too.
///
/// ```
/// for object in packetring::inventory::of_other_users()? {
///     println!("{object} of user {}: {} bytes", object.owner, object.bytes);
/// }
/// # Ok::<(), packetring::OpenError>(())
/// ```
///
/// # Errors
///
/// [`System`](OpenError::System) if `/dev/shm` cannot be listed.
pub fn of_other_users() -> Result<Vec<ObjectInfo>, OpenError> {
    Ok(raw::list_of_other_users()?.into_iter().map(ObjectInfo::of).collect())
}

/// Removes the deserted objects of this user, of all prefixes: no living process is attached, and
/// nothing durable is kept. [`purge_prefix()`] removes those of one prefix.
///
/// Durable subscribers, jobs of a work queue, and names and inboxes of workers stay. So do all
/// objects with a living process, files of other users and of other programs. An empty file stays,
/// and each file that does not begin with the bytes of this library. The call waits for no
/// lock: an object whose control lock is held counts as in use. A process may open, use and close
/// any ring meanwhile, and another one may purge: each object is checked under its control lock. An
/// object that another process removes first is in neither list.
///
/// For up to a second after a kill, the kernel may still close the files of the dead process. Its
/// objects count as in use until then. Costs as [`inventory()`], and about as much again for the
/// locks.
///
/// ```no_run
/// let purged = packetring::purge()?;
/// for object in &purged.removed {
///     println!("removed {object}: {} bytes", object.bytes);
/// }
/// for (object, reason) in &purged.stays {
///     println!("{object} stays: {reason}");
/// }
/// # Ok::<(), packetring::OpenError>(())
/// ```
///
/// # Errors
///
/// [`System`](OpenError::System) if `/dev/shm` cannot be listed. An error at one object is its
/// [`StayReason`].
pub fn purge() -> Result<Purged, OpenError> {
    purge_where(|_| true)
}

/// Removes the deserted objects of this user whose names have this
/// [prefix](crate::RingBuilder::prefix): see [`purge()`]. Objects of other prefixes and without one
/// are neither removed nor reported. An empty prefix means the objects without a prefix.
///
/// ```
/// use packetring::{Ring, inventory::purge_prefix};
///
/// let test = format!("test-{}", std::process::id());
/// let ring = Ring::builder().prefix(&test).open("prices")?;
/// assert_eq!(purge_prefix(&test)?.stays[0].0.prefix.as_ref(), Some(&test)); // it is in use
/// drop(ring);
/// # Ok::<(), packetring::OpenError>(())
/// ```
///
/// # Errors
///
/// As [`purge()`], and [`BadSettings`](OpenError::BadSettings) for an invalid prefix.
pub fn purge_prefix(prefix: &str) -> Result<Purged, OpenError> {
    Namespace::of_prefix(prefix).check()?;
    purge_where(|object| object.prefix.as_deref().unwrap_or_default() == prefix)
}

/// Removes the deserted objects of this user that `is_meant` selects: see [`purge()`]. Other
/// objects are neither removed nor reported. For example, a program that showed a list to a person
/// removes no object that was not in the list.
///
/// ```
/// use packetring::{Ring, inventory::purge_where};
///
/// let name = format!("chosen-{}", std::process::id());
/// let ring = Ring::open(&name)?;
/// let purged = purge_where(|object| object.name == name)?;
/// assert!(purged.removed.is_empty() && purged.stays[0].0.is_attached);
/// # drop(ring);
/// # Ok::<(), packetring::OpenError>(())
/// ```
///
/// # Errors
///
/// As [`purge()`].
pub fn purge_where(is_meant: impl Fn(&ObjectInfo) -> bool) -> Result<Purged, OpenError> {
    let mut purged = Purged { removed: Vec::new(), stays: Vec::new() };
    for object in inventory()?.into_iter().filter(is_meant) {
        match Segment::clear_away(&object.object, settle) {
            Ok(Clearance::Gone) => {}
            Ok(Clearance::Removed) => purged.removed.push(object),
            Ok(Clearance::InUse) => purged.stays.push((object, StayReason::InUse)),
            Ok(Clearance::Kept) => purged.stays.push((object, StayReason::Kept)),
            Err(error) => purged.stays.push((object, StayReason::Failed(error))),
        }
    }
    Ok(purged)
}

/// Lists the objects of this user in a cluster, in the order of their files' names.
pub(crate) fn objects_of(cluster: &Cluster) -> Result<Vec<ObjectInfo>, OpenError> {
    Ok(raw::find_all(cluster.objects()?).into_iter().map(ObjectInfo::of).collect())
}

impl ObjectInfo {
    /// Removes the object with all that it [keeps](Self::kept): durable subscribers with the
    /// packets that wait for them, jobs of a queue. Returns false if it is gone, or was not yet
    /// made when its maker died. An object that is damaged or has another layout goes, too.
    ///
    /// Removes the object that has the name now, which may be a later one than that of the list.
    /// Waits up to a second for a process that joins or leaves.
    ///
    /// ```
    /// # let name = format!("kept-{}", std::process::id());
    /// let ring = packetring::Ring::open(&name)?;
    /// drop(ring.durable::<u64>("log")?); // its place stays
    /// let objects = packetring::inventory()?;
    /// let object = objects.iter().find(|object| object.name == name).expect("it is listed");
    /// assert!(object.remove().is_err()); // in use
    /// drop(ring);
    /// assert!(object.remove()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InUse`](OpenError::InUse) if a living process is attached.
    /// - [`BadSettings`](OpenError::BadSettings) for a directory or an inbox: these go with their
    ///   [cluster](crate::Worker::remove_cluster) or their [worker](crate::Worker::retire).
    /// - [`Foreign`](OpenError::Foreign) for a file of another program,
    ///   [`OtherUser`](OpenError::OtherUser), [`Busy`](OpenError::Busy),
    ///   [`System`](OpenError::System).
    pub fn remove(&self) -> Result<bool, OpenError> {
        if matches!(self.kind, ObjectKind::Directory | ObjectKind::Inbox) {
            let reason = format!("{self} belongs to its cluster; remove the cluster or the worker");
            return Err(OpenError::BadSettings { reason });
        }
        Segment::remove_listed(&self.object, REMOVE_TIMEOUT)
    }

    /// The name of its segment.
    pub(crate) fn segment_name(&self) -> &Name {
        &self.object
    }

    fn of(found: FoundObject) -> Self {
        let shown = DisplayName(found.name.as_str());
        let ((prefix, plain), parts) = (shown.prefix_and_name(), shown.cluster_parts());
        let prefix = prefix.map(str::to_owned);
        let kind = match (&found.fault, &parts) {
            (Some(OpenError::Foreign { .. }), _) => ObjectKind::Foreign,
            (_, None) if found.has_cells => ObjectKind::Board,
            (_, None) => ObjectKind::Ring,
            (_, Some(parts)) => match parts.kind {
                "b" => ObjectKind::Board,
                "d" => ObjectKind::Directory,
                "e" => ObjectKind::Events,
                "f" => ObjectKind::Socket,
                "i" | "j" => ObjectKind::Inbox,
                "q" => ObjectKind::Queue,
                "r" => ObjectKind::Replies,
                "s" => ObjectKind::Requests,
                "t" => ObjectKind::Topic,
                _ => ObjectKind::Unknown,
            },
        };
        let (cluster, name) = match parts {
            Some(parts) => (Some(parts.cluster), parts.name),
            None => (None, plain.to_owned()),
        };
        Self {
            kind,
            name,
            prefix,
            cluster,
            path: found.path.into(),
            bytes: found.len,
            mode: found.mode,
            owner: found.owner,
            group: found.group,
            layout: found.layout,
            is_attached: found.is_attached,
            processes: found.processes,
            observers: found.observers,
            age: found.age,
            kept: found.kept,
            fault: found.fault,
            object: found.name,
        }
    }
}

impl fmt::Display for ObjectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ObjectKind::Foreign => write!(f, "foreign file {:?}", self.path),
            ObjectKind::Board => self.object.clone().called(NameKind::Board).shown().fmt(f),
            _ => self.object.shown().fmt(f),
        }
    }
}

impl fmt::Display for StayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("a process uses it"),
            Self::Kept => f.write_str("something durable is kept in it"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}
