//! Names and ids in a cluster: of workers, of senders and callers, and of shared objects.

use crate::channel::{MAX_ENTRIES, Name, Namespace, Scope};
use crate::error::OpenError;
use std::fmt;

/// The id of a worker: the index of its worker slot. It is small, and a worker that restarts under
/// its name gets the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sender in the tag of a message: its id, and below it the last bits of its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderTag(pub(crate) u16);

/// The tag of a message: the number of descriptors that go with it, and below it the sender.
///
/// A message with descriptors has their id in front of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageTag(pub(crate) u32);

impl MessageTag {
    /// Bytes of the id of descriptors.
    pub(crate) const ID_LEN: usize = 16;

    /// The sender.
    #[inline]
    pub(crate) fn sender(self) -> SenderTag {
        SenderTag(self.0 as u16)
    }

    /// The number of descriptors.
    #[inline]
    pub(crate) fn fds(self) -> usize {
        (self.0 >> u16::BITS) as usize
    }

    /// Bytes in front of the packet.
    #[inline]
    pub(crate) fn prefix(self) -> usize {
        if self.fds() == 0 { 0 } else { Self::ID_LEN }
    }

    /// The tag of a message with descriptors.
    #[cfg(feature = "handover")]
    pub(crate) fn with_fds(sender: SenderTag, fds: usize) -> Self {
        Self(u32::from(sender.0) | (fds as u32) << u16::BITS)
    }
}

impl SenderTag {
    /// Bits of the generation: those that the largest id leaves free.
    const GENERATION: u32 = u16::BITS - (MAX_ENTRIES - 1).ilog2() - 1;

    /// The tag of a worker's messages.
    pub(crate) fn of(id: WorkerId, generation: u64) -> Self {
        let generation = generation as u16 & ((1 << Self::GENERATION) - 1);
        Self(id.0 << Self::GENERATION | generation)
    }

    /// The worker's id.
    #[inline]
    pub(crate) fn id(self) -> WorkerId {
        WorkerId(self.0 >> Self::GENERATION)
    }
}

/// The id of a call area: its worker's id, and below it 48 random bits, which make the name of the
/// area unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerId(pub(crate) u64);

impl CallerId {
    /// The id of no area.
    pub(crate) const NONE: Self = Self(u64::MAX);
    /// Number of random bits.
    const RANDOM_BITS: u32 = 48;

    /// The id of an area of this worker. Uses the low 48 bits of `random`.
    pub(crate) fn of(worker: WorkerId, random: u64) -> Self {
        Self(u64::from(worker.0) << Self::RANDOM_BITS | Self(random).random())
    }

    fn random(self) -> u64 {
        self.0 & ((1 << Self::RANDOM_BITS) - 1)
    }

    /// The worker's id.
    pub(crate) fn worker(self) -> WorkerId {
        WorkerId((self.0 >> Self::RANDOM_BITS) as u16)
    }
}

/// A worker's name or id, as an argument. Implemented for `str`, `String` and [`WorkerId`].
pub trait Addressee {
    #[doc(hidden)]
    fn address(&self) -> Address<'_>;
}

/// A worker's name or id.
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
            Self::Name(name) => f.write_str(name),
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

/// A cluster: its name and its namespace.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// The name as the user gave it.
    pub(crate) name: String,
    scope: Scope,
}

impl Cluster {
    /// The cluster of this name in a namespace.
    pub(crate) fn new(namespace: &Namespace, name: &str) -> Result<Self, OpenError> {
        Ok(Self { name: name.to_owned(), scope: namespace.check()? })
    }

    /// The name of its directory.
    pub(crate) fn directory(&self) -> Result<Name, OpenError> {
        self.object("d", "")
    }

    /// The names of all its existing objects, with its directory.
    pub(crate) fn objects(&self) -> Result<Vec<Name>, OpenError> {
        Name::all_of_cluster(&self.scope, &self.name)
    }

    fn object(&self, kind: &str, rest: &str) -> Result<Name, OpenError> {
        Name::of_cluster(&self.scope, &self.name, kind, rest)
    }

    /// The cluster of this name without a prefix.
    #[cfg(test)]
    pub(crate) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), scope: Scope::default() }
    }
}

/// A shared object of a cluster, other than its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterObject<'a> {
    /// The topic of this name.
    Topic(&'a str),
    /// The inbox of the worker of this name. It has one of two names.
    Inbox(&'a str, InboxName),
    /// The board or the latest value of this name.
    Board(&'a str),
    /// The work queue of this name.
    Queue(&'a str),
    /// The ring of requests to the service of this name.
    Service(&'a str),
    /// The call area of this id.
    Replies(CallerId),
    /// The ring of all events.
    Events,
    /// The socket by which a worker receives descriptors.
    #[cfg(feature = "handover")]
    Socket {
        /// The worker.
        worker: WorkerId,
        /// The generation of its worker slot.
        generation: u64,
        /// A random number of the cluster's directory: a later cluster of the name begins with the
        /// same generations. So no two sockets ever have one name.
        directory: u64,
    },
}

/// The first or the second name of an inbox. The phase of the worker's slot has the name of the
/// current inbox. An inbox of the other name is a spare one: in the making, or replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InboxName {
    /// The name of a first inbox.
    #[default]
    First,
    /// The name of an inbox that replaced the first.
    Second,
}

impl InboxName {
    /// Both names.
    pub(crate) const ALL: [Self; 2] = [Self::First, Self::Second];

    /// The other name.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl ClusterObject<'_> {
    /// The name of its segment.
    pub(crate) fn name(self, cluster: &Cluster) -> Result<Name, OpenError> {
        if let Self::Topic(name)
        | Self::Board(name)
        | Self::Inbox(name, _)
        | Self::Queue(name)
        | Self::Service(name) = self
            && name.is_empty()
        {
            return Err(OpenError::BadName { name: String::new(), reason: "it is empty" });
        }
        match self {
            Self::Topic(name) => cluster.object("t.", name),
            Self::Board(name) => cluster.object("b.", name),
            Self::Inbox(name, InboxName::First) => cluster.object("i.", name),
            Self::Inbox(name, InboxName::Second) => cluster.object("j.", name),
            Self::Queue(name) => cluster.object("q.", name),
            Self::Service(name) => cluster.object("s.", name),
            Self::Replies(caller) => {
                let (worker, random) = (caller.worker(), caller.random());
                cluster.object("r.", &format!("{worker}.{random:012x}"))
            }
            Self::Events => cluster.object("e", ""),
            #[cfg(feature = "handover")]
            Self::Socket { worker, generation, directory } => {
                cluster.object("f.", &format!("{worker}.{generation:x}.{directory:x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_tag_holds_any_id_and_six_bits_of_the_generation() {
        for id in [0, 1, 127, MAX_ENTRIES as u16 - 1].map(WorkerId) {
            for generation in [0, 1, 63] {
                let sender_tag = SenderTag::of(id, generation);
                assert_eq!(sender_tag.id(), id);
                assert_eq!(sender_tag, SenderTag::of(id, generation + 64));
                assert_ne!(sender_tag, SenderTag::of(id, generation + 1));
                assert_ne!(sender_tag, SenderTag::of(WorkerId(id.0 ^ 1), generation));
            }
        }
        assert_eq!(SenderTag(u16::MAX).id(), WorkerId(MAX_ENTRIES as u16 - 1));
    }

    #[test]
    fn no_object_has_an_empty_name() {
        let m = Cluster::plain("m");
        for object in [
            ClusterObject::Topic(""),
            ClusterObject::Board(""),
            ClusterObject::Inbox("", InboxName::First),
            ClusterObject::Inbox("", InboxName::Second),
            ClusterObject::Queue(""),
            ClusterObject::Service(""),
        ] {
            assert!(matches!(object.name(&m), Err(OpenError::BadName { .. })), "{object:?}");
        }
        assert_eq!(ClusterObject::Events.name(&m).unwrap().as_str(), "m~e");
        let caller = CallerId::of(WorkerId(3), u64::MAX << 8);
        assert_eq!(caller.worker(), WorkerId(3));
        assert_eq!(ClusterObject::Replies(caller).name(&m).unwrap().as_str(), "m~r.3.ffffffffff00");
    }
}
