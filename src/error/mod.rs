//! Errors of setup (opening and joining a ring), and the macro that writes the errors of verbs.
//!
//! The errors of an operation (`send`, `recv`, …) live beside it, in `channel` and `cluster`.

mod display;
#[cfg(not(loom))]
mod family;

pub(crate) use display::Detail;
pub(crate) use display::END_CLUSTER;
pub use display::ObjectName;
pub(crate) use display::{DisplayName, NameKind};
use display::{Exclusive, FullAdvice, SettingAdvice, Sharing, smaller};
#[cfg(not(loom))]
pub(crate) use family::{Failure, Form, error_family};
use std::fmt;
use std::io;

/// Why a ring could not be opened, joined or removed.
///
/// Process ids are for display only. An id is valid in the pid namespace of its process. The
/// library makes no decision by a process id.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is not valid.
    BadName {
        /// The name as given.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// No ring can have these settings.
    BadSettings {
        /// The invalid setting, and the valid range.
        reason: String,
    },
    /// There is no ring of this name, and the call does not create one.
    NotFound {
        /// The object.
        name: ObjectName,
    },
    /// The object of this name is not a segment of this library, of this kind of machine and of
    /// this user. It was not changed.
    Foreign {
        /// The object.
        name: ObjectName,
        /// The value that differs.
        what: &'static str,
        /// Its value in a segment of this library.
        expected: u64,
        /// Its value in this object.
        found: u64,
    },
    /// The object of this name belongs to another user, and does not have the
    /// [mode](crate::RingBuilder::mode) 0660 and the group that the call chose. It was not changed.
    OtherUser {
        /// The object.
        name: ObjectName,
        /// The user id of the owner.
        owner: u32,
        /// The effective user id of this process.
        user: u32,
        /// The permission bits of the object.
        mode: u32,
        /// The group id of the object.
        group: u32,
    },
    /// The segment was created by a version of this library with another layout.
    ///
    /// A segment of another layout that no process is attached to is replaced, unless it may hold
    /// something durable.
    OtherVersion {
        /// The object.
        name: ObjectName,
        /// The layout version of this build.
        expected: u32,
        /// The segment's layout version.
        found: u32,
        /// True if a process is attached. False if the segment was left, and may hold something
        /// durable.
        is_in_use: bool,
    },
    /// This process has the ring open, but no process can join it any more.
    Detached {
        /// The object.
        name: ObjectName,
        /// The reason.
        cause: Detachment,
    },
    /// There is not enough shared memory for the ring.
    NoSpace {
        /// The object.
        name: ObjectName,
        /// Bytes that the ring needs; 0 if a directory entry did not fit.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The file system of the shared memory has no free inode, so it takes no further object.
    NoInodes {
        /// The object.
        name: ObjectName,
        /// Number of inodes of the file system.
        limit: u64,
    },
    /// The system has no directory for shared memory.
    NoSharedMemory {
        /// The directory.
        folder: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The segment contradicts itself.
    Corrupt {
        /// The object.
        name: ObjectName,
        /// The number that is wrong.
        what: &'static str,
        /// The right value, or the highest valid one.
        expected: u64,
        /// Its value.
        found: u64,
    },
    /// The ring exists with other settings.
    SettingsMismatch {
        /// The object.
        name: ObjectName,
        /// The setting.
        setting: &'static str,
        /// The value that the call requested.
        expected: String,
        /// The ring's value.
        found: String,
    },
    /// The ring carries other packet types.
    TypeMismatch {
        /// The requested type, with its fingerprint.
        expected: String,
        /// The ring's types, with theirs.
        found: String,
        /// The first difference from the ring's type of the same name, if there is one, as in
        /// `field "mood: u8" at offset 12 is missing in the ring's Chat`.
        difference: Option<String>,
    },
    /// The ring is exclusive and has a living publisher.
    PublisherTaken {
        /// The object.
        name: ObjectName,
        /// The publisher's process.
        pid: u32,
    },
    /// A living subscriber has this durable name.
    NameTaken {
        /// The name.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// The inbox of the worker of this name is open already, perhaps one of a [`Worker`] that was
    /// dropped before its inbox.
    ///
    /// [`Worker`]: crate::Worker
    InboxOpen {
        /// The worker's name.
        name: String,
        /// The process that has it open.
        pid: u32,
    },
    /// The worker of this name lives. Only dead workers can be removed.
    WorkerLives {
        /// The worker's name.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// All entries of the ring are in use: by living endpoints, or by durable subscribers, which
    /// keep theirs until they are [removed](crate::Ring::remove_durable).
    Full {
        /// `publishers` or `subscribers` of a ring; `servers` or `clients` of a service;
        /// `consumers` or `senders` of a queue.
        what: &'static str,
        /// The number of entries.
        limit: usize,
    },
    /// The ring has no space for another packet type or its schema text: it carries 64 types, or 32
    /// KiB of schema text, which are all needed now.
    ///
    /// A ring reuses the place of a type that no endpoint uses and that no packet carries which a
    /// subscriber may still receive. A durable subscriber needs its type also while it is away.
    TooManyTypes(TypeRoom),
    /// The ring was closed. Nothing can be published to it any more.
    Closed {
        /// The object.
        name: ObjectName,
    },
    /// The ring cannot be removed, because it is in use.
    InUse {
        /// The object.
        name: ObjectName,
    },
    /// Another process is opening, joining or leaving the ring, and did not finish within this
    /// one's [`open_timeout`](crate::RingBuilder::open_timeout). Perhaps it is stopped.
    Busy {
        /// The object.
        name: ObjectName,
        /// The last process that joined or left, if this process is attached already.
        pid: Option<u32>,
    },
    /// The call waited for another process, and its [`Stop`](crate::Stop) ended the wait.
    Stopped {
        /// The object.
        name: ObjectName,
    },
    /// The operating system failed.
    System {
        /// The operation.
        action: &'static str,
        /// Its object, usually a path.
        object: String,
        /// The cause.
        source: io::Error,
    },
}

/// Why no process can join an object any more that this process has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detachment {
    /// The name of the object in `/dev/shm` was removed, or belongs to another object now. The
    /// attached processes can go on among themselves.
    NameRemoved,
    /// Other code of this process closed the library's descriptors. Packets already in the ring
    /// stay readable, but this process can neither wait nor join any more.
    DescriptorClosed,
}

/// How full the type table of a ring is, for a packet type that does not fit.
///
/// Types that nothing needs any more were removed before, so all these are in use. Schema text
/// takes whole blocks of 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeRoom {
    /// Types that the ring has and needs.
    pub types: usize,
    /// Most types of a ring.
    pub max_types: usize,
    /// Bytes of schema text that the ring has.
    pub schema_bytes: usize,
    /// Most bytes of schema text.
    pub max_schema_bytes: usize,
    /// Bytes of schema text that the new type needs.
    pub needed_bytes: usize,
}

impl OpenError {
    /// The error of an object whose users know its entries by another name, if it is full. `limit`
    /// converts their number.
    pub(crate) fn full_of(self, what: &'static str, limit: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Full { limit: entries, .. } => Self::Full { what, limit: limit(entries) },
            error => error,
        }
    }

    pub(crate) fn system(
        action: &'static str,
        object: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::System { action, object: object.into(), source: source.into() }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName { name, reason } => write!(f, "invalid name {name:?}: {reason}"),
            Self::BadSettings { reason } => write!(f, "invalid settings: {reason}"),
            Self::NotFound { name } => {
                write!(f, "{name} not found: start the process that opens it")?;
                if name.is_of_cluster() {
                    return Ok(());
                }
                f.write_str(", or call Ring::open, which creates it")
            }
            Self::Foreign { name, what, expected, found } => write!(
                f,
                "{name} is not an object of this library: {what} is {found:#x}, expected {expected:#x}; use another name, or remove the object"
            ),
            Self::OtherUser { name, owner, user, mode, group } => write!(
                f,
                "{name} belongs to another user: its owner has user id {owner}, this process {user}; its mode is {mode:04o}, its group {group}; {}, use another name, or let user {owner} remove it",
                Sharing { mode: *mode, group: *group }
            ),
            Self::OtherVersion { name, expected, found, is_in_use: true } => write!(
                f,
                "{name} is in use with another layout: its version is {found}, this build has {expected}; build all processes with one version of packetring"
            ),
            Self::OtherVersion { name, expected, found, is_in_use: false } => write!(
                f,
                "{name} was left with another layout, and may hold durable packets: its version is {found}, this build has {expected}; read them with the old build, or call {}",
                name.remover()
            ),
            Self::Detached { name, cause } => {
                write!(f, "{name} is detached: {cause}")
            }
            Self::NoSpace { name, needed, free } => write!(
                f,
                "no space for {name}: it needs {needed} bytes, /dev/shm has {free} free; {}, remove objects that are left, or enlarge the mount",
                smaller(name)
            ),
            Self::NoInodes { name, limit } => write!(
                f,
                "no inode for {name}: all {limit} inodes of /dev/shm are in use; remove objects that are left, or mount it with a larger nr_inodes"
            ),
            Self::NoSharedMemory { folder, source } => write!(
                f,
                "no shared memory: {folder} is not there ({source}); mount a tmpfs at {folder}"
            ),
            Self::Corrupt { name, what, expected, found } => write!(
                f,
                "{name} is corrupt: {what} is {found}, expected {expected}; end its processes and call {}",
                name.remover()
            ),
            Self::SettingsMismatch { name, setting: "kind", expected, found } => write!(
                f,
                "{name} not opened: this is the name of a {found}, not of a {expected}; use another name"
            ),
            Self::SettingsMismatch { name, setting, expected, found } => write!(
                f,
                "{name} exists with other settings: {setting} is {found}, requested {expected}; {}",
                SettingAdvice(setting)
            ),
            Self::TypeMismatch { expected, found, difference } => write!(
                f,
                "wrong packet type: found {found}, expected {expected}{}; build both sides from one definition of the type, or use another name",
                Detail(difference.as_deref())
            ),
            Self::PublisherTaken { name, pid } => Exclusive(name, *pid).fmt(f),
            Self::NameTaken { name, pid } => write!(
                f,
                "durable name {name:?} taken: its subscriber lives in process {pid}; end that process or use another name"
            ),
            Self::InboxOpen { name, pid } => write!(
                f,
                "inbox of worker {name} is open already, in process {pid}; use that Inbox or drop it first (dropping its Worker does not close it)"
            ),
            Self::WorkerLives { name, pid } => write!(
                f,
                "worker {name} is alive, in process {pid}: only dead workers can be removed; end that process, or call Worker::leave in it"
            ),
            Self::Full { what, limit } => {
                write!(f, "all {limit} entries for {what} are in use: {}", FullAdvice(what))
            }
            Self::TooManyTypes(room) => {
                write!(f, "packet type not registered: the ring has {room}; use another ring")
            }
            Self::Closed { name } => {
                write!(f, "{name} is closed: use another name")
            }
            Self::InUse { name } => {
                write!(f, "{name} is in use: end the attached processes first")
            }
            Self::Busy { name, pid } => {
                let which = pid.map_or_else(String::new, |pid| format!(" (perhaps {pid})"));
                write!(
                    f,
                    "{name} is busy: a process{which} is joining or leaving it and does not finish; continue or end that process"
                )
            }
            Self::Stopped { name } => {
                write!(f, "the wait for {name} was stopped")
            }
            Self::System { action, object, source } => {
                write!(f, "could not {action} {object}: {source}")
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } | Self::NoSharedMemory { source, .. } => Some(source),
            _ => None,
        }
    }
}
