//! What things in a cluster are called: workers, and the objects they open.

use crate::error::OpenError;
use crate::segment::name::Name;
use std::fmt;

/// A worker's number in its cluster: small, and the same after a restart under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a worker is addressed by: its name, or its id.
pub trait Addressee {
    #[doc(hidden)]
    fn address(&self) -> Address<'_>;
}

/// A name or an id.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// A worker's name.
    Name(&'a str),
    /// A worker's id.
    Id(WorkerId),
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl Addressee for str {
    fn address(&self) -> Address<'_> {
        Address::Name(self)
    }
}

impl Addressee for String {
    fn address(&self) -> Address<'_> {
        Address::Name(self)
    }
}

impl Addressee for WorkerId {
    fn address(&self) -> Address<'_> {
        Address::Id(*self)
    }
}

/// An object of a cluster, but for its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object<'a> {
    /// A topic of this name.
    Topic(&'a str),
    /// The inbox of the worker of this name.
    Inbox(&'a str),
    /// A work queue of this name.
    Queue(&'a str),
    /// The requests to the service of this name.
    Service(&'a str),
    /// The replies to one client of a worker, told apart by a number of its own.
    Replies(WorkerId, u64),
    /// All events.
    Events,
}

impl Object<'_> {
    /// What its segment is called.
    pub(crate) fn name(self, cluster: &str) -> Result<Name, OpenError> {
        match self {
            Self::Topic(name) => Name::of_cluster(cluster, "t.", name),
            Self::Inbox(name) => Name::of_cluster(cluster, "i.", name),
            Self::Queue(name) => Name::of_cluster(cluster, "q.", name),
            Self::Service(name) => Name::of_cluster(cluster, "s.", name),
            Self::Replies(worker, number) => {
                Name::of_cluster(cluster, "r.", &format!("{worker}.{number:016x}"))
            }
            Self::Events => Name::of_cluster(cluster, "e", ""),
        }
    }
}

/// What a cluster's directory is called.
pub(crate) fn directory(cluster: &str) -> Result<Name, OpenError> {
    Name::of_cluster(cluster, "d", "")
}
