//! Errors of setting up: opening a ring and joining it.
//!
//! Errors of one operation (`send`, `recv`, …) live beside it, in `channel`.

mod display;

use display::DisplayName;
use std::fmt;
use std::io;

/// Why a ring could not be opened, joined or removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The name cannot name a ring.
    BadName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No ring can be made with these settings.
    BadSettings {
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// There is no ring of this name, and the call was not one that makes it.
    NotFound {
        /// The ring.
        name: String,
    },
    /// The object of this name is not a segment of this library, of this kind of machine and of
    /// this user. It is left as it is.
    Foreign {
        /// The ring.
        name: String,
        /// What about it is foreign.
        what: &'static str,
        /// What a segment of ours has there.
        expected: u64,
        /// What this one has.
        found: u64,
    },
    /// The segment was made by a newer version of this library.
    TooNew {
        /// The ring.
        name: String,
        /// The layout version that this build knows.
        expected: u32,
        /// The segment's.
        found: u32,
    },
    /// The segment contradicts itself.
    Corrupt {
        /// The ring.
        name: String,
        /// Which number.
        what: &'static str,
        /// What it would have to be, or the most it may be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The ring exists and was made otherwise.
    SettingsMismatch {
        /// The ring.
        name: String,
        /// Which setting.
        setting: &'static str,
        /// What was asked for.
        expected: String,
        /// What the ring has.
        found: String,
    },
    /// The ring carries other packets.
    TypeMismatch {
        /// The type asked for, with its fingerprint.
        expected: String,
        /// The types the ring carries, with theirs.
        found: String,
    },
    /// The ring is exclusive and has a living publisher.
    PublisherTaken {
        /// The ring.
        name: String,
        /// The publisher's process id, as its own pid namespace has it. For people: nothing is
        /// decided by it.
        pid: u32,
    },
    /// A living subscriber has this durable name.
    NameTaken {
        /// The name.
        name: String,
        /// Its process id, as its own pid namespace has it. For people.
        pid: u32,
    },
    /// An inbox of the worker of this name is in somebody's hand, perhaps of a [`Worker`] that was
    /// dropped before it.
    ///
    /// [`Worker`]: crate::Worker
    InboxOpen {
        /// The worker's name.
        name: String,
        /// The process that has it, as its own pid namespace has it. For people.
        pid: u32,
    },
    /// The worker of this name lives, and only who is dead can be cleared away.
    WorkerLives {
        /// The worker's name.
        name: String,
        /// Its process id, as its own pid namespace has it. For people.
        pid: u32,
    },
    /// All entries of the ring are in use: by the living, or by durable subscribers, who keep
    /// theirs until they are [removed](crate::Ring::remove_durable).
    Full {
        /// `publishers` or `subscribers`.
        what: &'static str,
        /// How many it was made for.
        limit: usize,
    },
    /// The ring carries as many types, or as much schema text, as it can.
    TooManyTypes {
        /// How many types it can carry.
        limit: usize,
    },
    /// The ring was closed: no packet will be published to it any more.
    Closed {
        /// The ring.
        name: String,
    },
    /// The ring cannot be removed: it is in use.
    InUse {
        /// The ring.
        name: String,
    },
    /// Another process is opening, joining or leaving the ring, and did not come to an end within
    /// the [patience](crate::RingBuilder::open_timeout) of this one. Perhaps it is stopped there.
    Busy {
        /// The ring.
        name: String,
        /// The process id of the last to join or leave, as its own pid namespace has it, if this
        /// process is attached already. For people.
        pid: Option<u32>,
    },
    /// The operating system refused.
    System {
        /// What was being done.
        action: &'static str,
        /// With what: usually a path.
        object: String,
        /// Why not.
        source: io::Error,
    },
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
            Self::BadName { name, reason } => write!(f, "{name:?} cannot be a name here: {reason}"),
            Self::BadSettings { reason } => write!(f, "no ring can be made like this: {reason}"),
            Self::NotFound { name } => {
                let known = DisplayName(name);
                write!(f, "there is no {known}: start the process that opens it")?;
                if known.is_of_cluster() {
                    return Ok(());
                }
                f.write_str(", or use Ring::open, which makes it")
            }
            Self::Foreign { name, what, expected, found } => write!(
                f,
                "the shared-memory object of {} is not ours: {what} is {found:#x}, expected {expected:#x}",
                DisplayName(name)
            ),
            Self::TooNew { name, expected, found } => write!(
                f,
                "{} has layout version {found}, this build knows {expected}: build both sides with one version",
                DisplayName(name)
            ),
            Self::Corrupt { name, what, expected, found } => write!(
                f,
                "{} is corrupt: {what} is {found}, expected {expected}; when nobody uses it, {} clears it away",
                DisplayName(name),
                if DisplayName(name).is_of_cluster() {
                    "Worker::remove_cluster"
                } else {
                    "Ring::remove"
                }
            ),
            Self::SettingsMismatch { name, setting, expected, found } => write!(
                f,
                "{} exists with {setting} {found}, asked for {expected}: open it with the same settings or none",
                DisplayName(name)
            ),
            Self::TypeMismatch { expected, found } => {
                write!(
                    f,
                    "the ring carries {found}, expected {expected}: build both sides from one definition of the type, or use a ring of another name"
                )
            }
            Self::PublisherTaken { name, pid } => write!(
                f,
                "{} is exclusive and process {pid} publishes to it; make it shared for several publishers",
                DisplayName(name)
            ),
            Self::NameTaken { name, pid } => {
                write!(f, "process {pid} is alive and has the name {name:?} here")
            }
            Self::InboxOpen { name, pid } => write!(
                f,
                "the inbox of worker {name} is open already, in process {pid}, and stays so when the worker is dropped: go on with that one, or drop it first"
            ),
            Self::WorkerLives { name, pid } => write!(
                f,
                "worker {name} is alive, in process {pid}, and only the dead are cleared away: end it first, or have it leave"
            ),
            Self::Full { what, limit } => write!(
                f,
                "all {limit} entries for {what} are in use: make the ring with a larger max_{what}{}",
                if *what == "subscribers" { ", or remove durable ones" } else { "" }
            ),
            Self::TooManyTypes { limit } => write!(
                f,
                "the ring carries as many packet types as it can: {limit}, with 32 KiB of schema text"
            ),
            Self::Closed { name } => write!(f, "{} was closed", DisplayName(name)),
            Self::InUse { name } => {
                write!(f, "{} is in use: end its processes, then remove it", DisplayName(name))
            }
            Self::Busy { name, pid } => {
                let who = pid.map_or_else(String::new, |pid| format!(", perhaps {pid},"));
                write!(
                    f,
                    "a process{who} is joining or leaving {} and does not go on: continue or end it",
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
