//! What things in a cluster are called: workers, and the objects they open.

use crate::channel::{MAX_ENTRIES, Name};
use crate::error::OpenError;
use std::fmt;

/// A worker's number in its cluster: small, and the same after a restart under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who sent a letter: a worker's number, and below it the last bits of its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderTag(pub(crate) u16);

impl SenderTag {
    /// Bits of the generation: what the largest number leaves.
    const GENERATION: u32 = u16::BITS - (MAX_ENTRIES - 1).ilog2() - 1;

    /// That of a worker.
    pub(crate) fn of(id: WorkerId, generation: u64) -> Self {
        let generation = generation as u16 & ((1 << Self::GENERATION) - 1);
        Self(id.0 << Self::GENERATION | generation)
    }

    /// The worker's number.
    #[inline]
    pub(crate) fn id(self) -> WorkerId {
        WorkerId(self.0 >> Self::GENERATION)
    }
}

/// A client: its worker's number, and below it the 48 bits that were drawn for its ring of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerId(pub(crate) u64);

impl CallerId {
    /// No client's.
    pub(crate) const NOBODY: Self = Self(u64::MAX);
    /// Bits that are drawn.
    const DRAWN: u32 = 48;

    /// That of a worker's client.
    pub(crate) fn of(worker: WorkerId, drawn: u64) -> Self {
        Self(u64::from(worker.0) << Self::DRAWN | Self(drawn).drawn())
    }

    fn drawn(self) -> u64 {
        self.0 & ((1 << Self::DRAWN) - 1)
    }

    /// The worker's number.
    pub(crate) fn worker(self) -> WorkerId {
        WorkerId((self.0 >> Self::DRAWN) as u16)
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

/// As it was given.
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
    /// The replies to a client.
    Replies(CallerId),
    /// All events.
    Events,
}

impl Object<'_> {
    /// What its segment is called.
    pub(crate) fn name(self, cluster: &str) -> Result<Name, OpenError> {
        if let Self::Topic(name) | Self::Inbox(name) | Self::Queue(name) | Self::Service(name) =
            self
            && name.is_empty()
        {
            return Err(OpenError::BadName { name: String::new(), reason: "it is empty" });
        }
        match self {
            Self::Topic(name) => Name::of_cluster(cluster, "t.", name),
            Self::Inbox(name) => Name::of_cluster(cluster, "i.", name),
            Self::Queue(name) => Name::of_cluster(cluster, "q.", name),
            Self::Service(name) => Name::of_cluster(cluster, "s.", name),
            Self::Replies(caller) => {
                let (worker, drawn) = (caller.worker(), caller.drawn());
                Name::of_cluster(cluster, "r.", &format!("{worker}.{drawn:012x}"))
            }
            Self::Events => Name::of_cluster(cluster, "e", ""),
        }
    }
}

/// What a cluster's directory is called.
pub(crate) fn directory(cluster: &str) -> Result<Name, OpenError> {
    Name::of_cluster(cluster, "d", "")
}

/// What a process is called that was not given a name by its own program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefaultName {
    pub(crate) name: String,
    pub(crate) id: Option<WorkerId>,
}

impl DefaultName {
    /// What this process' environment says.
    pub(crate) fn of_process() -> Self {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(|path| path.file_name()?.to_str());
        Self::of(|key| std::env::var(key).ok(), program.unwrap_or("worker"))
    }

    /// `<name or program>-<n>`, and the id `n`; without a number, the bare name.
    fn of(get: impl Fn(&str) -> Option<String>, program: &str) -> Self {
        let name = get("name").filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| program.to_owned());
        let number = |key| get(key)?.trim().parse::<u64>().ok();
        match number("NODE_APP_INSTANCE").or_else(|| number("pm_id")) {
            None => Self { name, id: None },
            Some(number) => {
                Self { name: format!("{name}-{number}"), id: number.try_into().ok().map(WorkerId) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_of(variables: &[(&str, &str)]) -> (String, Option<u16>) {
        let get = |key: &str| {
            let found = variables.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        let DefaultName { name, id } = DefaultName::of(get, "encoder");
        (name, id.map(|id| id.0))
    }

    #[test]
    fn a_signature_has_any_number_and_six_bits_of_the_generation() {
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
    fn the_process_manager_names_a_worker() {
        let named = |name: &str, id| (name.to_owned(), id);
        assert_eq!(default_of(&[]), named("encoder", None));
        assert_eq!(default_of(&[("name", "api")]), named("api", None));
        assert_eq!(default_of(&[("name", "api"), ("pm_id", "7")]), named("api-7", Some(7)));
        let both = [("NODE_APP_INSTANCE", "2"), ("pm_id", "7")];
        assert_eq!(default_of(&both), named("encoder-2", Some(2)));
        let unnumbered = [("NODE_APP_INSTANCE", "x"), ("pm_id", "7"), ("name", "")];
        assert_eq!(default_of(&unnumbered), named("encoder-7", Some(7)));
        assert_eq!(default_of(&[("pm_id", "70000")]), named("encoder-70000", None));
    }

    #[test]
    fn no_object_has_an_empty_name() {
        for object in [Object::Topic(""), Object::Inbox(""), Object::Queue(""), Object::Service("")]
        {
            assert!(matches!(object.name("m"), Err(OpenError::BadName { .. })), "{object:?}");
        }
        assert_eq!(Object::Events.name("m").unwrap().as_str(), "m~e");
        let caller = CallerId::of(WorkerId(3), u64::MAX << 8);
        assert_eq!(caller.worker(), WorkerId(3));
        assert_eq!(Object::Replies(caller).name("m").unwrap().as_str(), "m~r.3.ffffffffff00");
    }
}
