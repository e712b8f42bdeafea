//! Errors of setup (opening and joining a ring), and the macro that writes the errors of verbs.
//!
//! The errors of an operation (`send`, `recv`, …) live beside it, in `channel` and `cluster`.

mod display;
#[cfg(not(loom))]
mod family;

pub(crate) use display::Detail;
use display::DisplayName;
#[cfg(not(loom))]
pub(crate) use family::{Failure, Form, error_family};
use std::fmt;
use std::io;

/// Why a ring could not be opened, joined or removed.
///
/// Process ids are for people: they are those of the process's own pid namespace, and the library
/// decides nothing by them.
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
        /// The ring.
        name: String,
    },
    /// The object of this name is not a segment of this library, of this kind of machine and of
    /// this user. It was not changed.
    Foreign {
        /// The ring.
        name: String,
        /// The value that differs.
        what: &'static str,
        /// Its value in a segment of this library.
        expected: u64,
        /// Its value in this object.
        found: u64,
    },
    /// The segment was created by a newer version of this library.
    TooNew {
        /// The ring.
        name: String,
        /// The newest layout version that this build supports.
        expected: u32,
        /// The segment's layout version.
        found: u32,
    },
    /// The segment contradicts itself.
    Corrupt {
        /// The ring.
        name: String,
        /// The number that is wrong.
        what: &'static str,
        /// The right value, or the highest valid one.
        expected: u64,
        /// Its value.
        found: u64,
    },
    /// The ring exists with other settings.
    SettingsMismatch {
        /// The ring.
        name: String,
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
        /// The ring.
        name: String,
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
        /// `publishers` or `subscribers`.
        what: &'static str,
        /// The number of entries.
        limit: usize,
    },
    /// The ring has no space for another packet type or its schema text.
    TooManyTypes(TypeRoom),
    /// The ring was closed. Nothing can be published to it any more.
    Closed {
        /// The ring.
        name: String,
    },
    /// The ring cannot be removed, because it is in use.
    InUse {
        /// The ring.
        name: String,
    },
    /// Another process is opening, joining or leaving the ring, and did not finish within this
    /// one's [`open_timeout`](crate::RingBuilder::open_timeout). Perhaps it is stopped.
    Busy {
        /// The ring.
        name: String,
        /// The last process that joined or left, if this process is attached already.
        pid: Option<u32>,
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

/// How full the type table of a ring is, for a packet type that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeRoom {
    /// Types that the ring has.
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

impl fmt::Display for TypeRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { types, max_types, schema_bytes, max_schema_bytes, needed_bytes } = self;
        if types >= max_types {
            return write!(f, "{types} types, limit {max_types}");
        }
        write!(
            f,
            "{schema_bytes} bytes of schema text, limit {max_schema_bytes}, and this type needs {needed_bytes} ({types} types, limit {max_types})"
        )
    }
}

impl OpenError {
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
            Self::BadSettings { reason } => write!(f, "invalid ring settings: {reason}"),
            Self::NotFound { name } => {
                let shown = DisplayName(name);
                write!(f, "{shown} not found: start the process that opens it")?;
                if shown.is_of_cluster() {
                    return Ok(());
                }
                f.write_str(", or call Ring::open, which creates it")
            }
            Self::Foreign { name, what, expected, found } => write!(
                f,
                "{} is not an object of this library: {what} is {found:#x}, expected {expected:#x}; use another name, or remove the object",
                DisplayName(name)
            ),
            Self::TooNew { name, expected, found } => write!(
                f,
                "{} is too new: its layout version is {found}, this build supports {expected}; build both sides with one version",
                DisplayName(name)
            ),
            Self::Corrupt { name, what, expected, found } => write!(
                f,
                "{} is corrupt: {what} is {found}, expected {expected}; end its processes and call {}",
                DisplayName(name),
                if DisplayName(name).is_of_cluster() {
                    "Worker::remove_cluster"
                } else {
                    "Ring::remove"
                }
            ),
            Self::SettingsMismatch { name, setting, expected, found } => write!(
                f,
                "{} exists with other settings: {setting} is {found}, requested {expected}; open it with the same settings or none",
                DisplayName(name)
            ),
            Self::TypeMismatch { expected, found, difference } => write!(
                f,
                "wrong packet type: the ring carries {found}, expected {expected}{}; build both sides from one definition of the type, or use a ring of another name",
                Detail(difference.as_deref())
            ),
            Self::PublisherTaken { name, pid } => write!(
                f,
                "{} is exclusive: process {pid} publishes to it; make it shared for several publishers",
                DisplayName(name)
            ),
            Self::NameTaken { name, pid } => write!(
                f,
                "durable name {name:?} taken: its subscriber lives in process {pid}; end it or use another name"
            ),
            Self::InboxOpen { name, pid } => write!(
                f,
                "inbox of worker {name} is open already, in process {pid}; use that one or drop it first (it outlives its Worker)"
            ),
            Self::WorkerLives { name, pid } => write!(
                f,
                "worker {name} is alive, in process {pid}: only dead workers can be removed; end it, or call Worker::leave there"
            ),
            Self::Full { what, limit } => write!(
                f,
                "all {limit} entries for {what} are in use: create the ring with a larger max_{what}{}",
                if *what == "subscribers" { ", or remove durable ones" } else { "" }
            ),
            Self::TooManyTypes(room) => {
                write!(f, "packet type not registered: the ring has {room}; use another ring")
            }
            Self::Closed { name } => {
                write!(f, "{} is closed: create one of another name", DisplayName(name))
            }
            Self::InUse { name } => {
                write!(f, "{} is in use: end its processes, then remove it", DisplayName(name))
            }
            Self::Busy { name, pid } => {
                let which = pid.map_or_else(String::new, |pid| format!(" (perhaps {pid})"));
                write!(
                    f,
                    "{} is busy: a process{which} is joining or leaving it and does not finish; continue or end that process",
                    DisplayName(name)
                )
            }
            Self::System { action, object, source } => {
                write!(f, "could not {action} {object}: {source}")?;
                let full = source.raw_os_error() == Some(libc::ENOSPC);
                if full {
                    write!(f, "; /dev/shm is full, make the ring smaller or the mount larger")
                } else {
                    Ok(())
                }
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
