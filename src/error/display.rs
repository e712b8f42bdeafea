//! Names of objects, and parts of errors, as errors show them.
//!
//! The user chose a part of an object's name; `segment::name` composes the rest. Any name can be
//! shown, including those of other programs.

use super::{Detachment, TypeRoom};
use std::fmt;

/// The name of an object in an error. It derefs to the whole name: that of a ring as the user gave
/// it, that of another object as it is composed. `Display` shows it with its kind.
///
/// ```
/// use packetring::{OpenError, Ring};
///
/// let Err(OpenError::NotFound { name }) = Ring::attach("no-such-ring") else { unreachable!() };
/// assert_eq!(name, "no-such-ring");
/// assert_eq!(name.to_string(), "ring \"no-such-ring\"");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    whole: Box<str>,
    kind: NameKind,
}

/// What errors call an object whose name does not tell its kind: rings, boards and latest values
/// share their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum NameKind {
    #[default]
    Ring,
    Board,
    Latest,
}

impl NameKind {
    fn word(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Board => "board",
            Self::Latest => "latest value",
        }
    }
}

impl ObjectName {
    /// A whole name, of an object that errors call so.
    pub(crate) fn new(whole: &str, kind: NameKind) -> Self {
        Self { whole: whole.into(), kind }
    }

    /// Returns true if it is a board or a latest value.
    pub(super) fn is_board(&self) -> bool {
        self.kind != NameKind::Ring
    }

    /// Returns true if it is an object of a cluster.
    pub(super) fn is_of_cluster(&self) -> bool {
        self.whole.contains('~')
    }

    /// The call that removes it.
    pub(crate) fn remover(&self) -> &'static str {
        if self.is_of_cluster() { "Worker::remove_cluster" } else { "Ring::remove" }
    }
}

/// The parts of a cluster object's name.
pub(crate) struct ClusterParts<'a> {
    /// The cluster as the user named it.
    pub(crate) cluster: String,
    /// The letter of the kind, such as `t` for a topic.
    pub(crate) kind: &'a str,
    /// The object as the user named it. Empty for a directory and a ring of events.
    pub(crate) name: String,
}

impl std::ops::Deref for ObjectName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.whole
    }
}

impl PartialEq<str> for ObjectName {
    fn eq(&self, other: &str) -> bool {
        *self.whole == *other
    }
}

impl PartialEq<&str> for ObjectName {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq<String> for ObjectName {
    fn eq(&self, other: &String) -> bool {
        self == other.as_str()
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = DisplayName(&self.whole);
        let (prefix, plain) = shown.prefix_and_name();
        let (kind, prefix) = (self.kind.word(), Prefix(prefix));
        match shown.cluster_parts() {
            // Where a cluster's board is opened as a latest value.
            Some(ClusterParts { cluster, kind: "b", name }) => {
                let kind = if self.is_board() { kind } else { "board" };
                write!(f, "{kind} {name:?} of cluster {cluster:?}{prefix}")
            }
            Some(_) => shown.fmt(f),
            None if plain.is_empty() => write!(f, "{kind} on the heap"),
            None => write!(f, "{kind} {plain:?}{prefix}"),
        }
    }
}

/// Shows a name of a cluster as `topic "x" of cluster "c"`. The prefix, if there is one, follows as
/// in `ring "x" (prefix "p")`.
pub(crate) struct DisplayName<'a>(pub(crate) &'a str);

impl<'a> DisplayName<'a> {
    /// The prefix, if there is one, and the name without it.
    pub(crate) fn prefix_and_name(&self) -> (Option<&'a str>, &'a str) {
        self.0.split_once(':').map_or((None, self.0), |(prefix, name)| (Some(prefix), name))
    }

    /// Returns true if it is the name of a socket, by which a worker gets descriptors.
    pub(crate) fn is_socket(&self) -> bool {
        self.cluster_parts().is_some_and(|parts| parts.kind == "f")
    }

    /// The parts of the name; `None` for a plain ring.
    pub(crate) fn cluster_parts(&self) -> Option<ClusterParts<'a>> {
        let (cluster, object) = self.prefix_and_name().1.split_once('~')?;
        let (kind, name) = object.split_once('.').unwrap_or((object, ""));
        Some(ClusterParts { cluster: unescaped(cluster), kind, name: unescaped(name) })
    }
}

impl fmt::Display for DisplayName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, plain) = self.prefix_and_name();
        let prefix = Prefix(prefix);
        let Some(ClusterParts { cluster, kind, name }) = self.cluster_parts() else {
            return write!(f, "ring {plain:?}{prefix}");
        };
        f.write_str(match kind {
            "b" => "board",
            "d" => "directory",
            "e" => "ring of events",
            "f" => "socket",
            "i" | "j" => "inbox",
            "q" => "work queue",
            "r" => "call area",
            "s" => "service",
            "t" => "topic",
            kind => kind,
        })?;
        if !name.is_empty() {
            write!(f, " {name:?}")?;
        }
        write!(f, " of cluster {cluster:?}{prefix}")
    }
}

/// Shows a prefix in brackets, or nothing.
struct Prefix<'a>(Option<&'a str>);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |prefix| write!(f, " (prefix {prefix:?})"))
    }
}

/// Shows a detail behind a colon, or nothing.
pub(crate) struct Detail<'a>(pub(crate) Option<&'a str>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// The way to share another user's object that has this mode and this group.
pub(crate) struct Sharing {
    pub(crate) mode: u32,
    pub(crate) group: u32,
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            0o660 => write!(f, "open it with mode 0660 and group {}", self.group),
            _ => {
                f.write_str("run both as one user, or open it in both with mode 0660 and one group")
            }
        }
    }
}

/// Steps before `max_workers` of a cluster can be another number: it is fixed as long as the
/// cluster exists.
pub(crate) const END_CLUSTER: &str = "end all workers, call Worker::remove_cluster (deletes messages and jobs), and let the first worker join with";

/// Advice about a setting that differs from that of an existing object.
pub(crate) struct SettingAdvice<'a>(pub(crate) &'a str);

impl fmt::Display for SettingAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "max_workers" => write!(
                f,
                "join with the same number or none; to change it, {END_CLUSTER} another WorkerBuilder::max_workers"
            ),
            _ => f.write_str("open it with the same settings or none"),
        }
    }
}

/// Advice if all entries of this kind are in use.
pub(crate) struct FullAdvice<'a>(pub(crate) &'a str);

impl fmt::Display for FullAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            "servers" => "make the service with a larger max_servers",
            "consumers" => "make the queue with a larger max_consumers",
            "publishers" => "create the ring with a larger max_publishers",
            "subscribers" => {
                "create the ring with a larger max_subscribers, or remove durable ones"
            }
            "writers" => "create the board with a larger max_writers",
            "readers" => "create the board with a larger max_readers",
            // Clients of a service, publishers of a queue.
            _ => return write!(f, "{END_CLUSTER} a larger WorkerBuilder::max_workers"),
        })
    }
}

/// How a segment with less memory is made.
pub(super) fn smaller(name: &ObjectName) -> &'static str {
    match name.is_board() {
        true => "choose fewer keys, buffers or readers or a smaller max_size",
        false => "lower its capacity",
    }
}

/// Why a second endpoint that writes cannot join, and how it can.
pub(super) struct Exclusive<'a>(pub(super) &'a ObjectName, pub(super) u32);

impl fmt::Display for Exclusive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, pid) = self;
        if name.is_board() {
            return write!(
                f,
                "{name} has its writer, in process {pid}; create it with BoardBuilder::max_writers for several writers"
            );
        }
        write!(
            f,
            "{name} is exclusive: process {pid} publishes to it; create the ring with RingBuilder::shared for several publishers"
        )
    }
}

/// Reverses the escape of bytes as `%XX`.
fn unescaped(name: &str) -> String {
    let mut parts = name.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        // A `%` without two digits was not made by the escape: keep it.
        let (byte, rest) = byte.map_or((b'%', part), |byte| (byte, &part[2..]));
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for Detachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameRemoved => {
                "its name in /dev/shm was removed; end the processes that use it and start them again (systemd: set RemoveIPC=no)"
            }
            Self::DescriptorClosed => {
                "other code of this process closed its descriptor; open rings after the process became a daemon"
            }
        })
    }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::segment::name::{Name, Scope};

    #[test]
    fn people_are_told_of_an_object_by_what_they_called_it() {
        let known = |kind, rest| {
            let name = Name::of_cluster(&Scope::default(), "my ü", kind, rest).unwrap();
            DisplayName(name.as_str()).to_string()
        };
        for (kind, what) in [
            ("b.", "board"),
            ("t.", "topic"),
            ("i.", "inbox"),
            ("j.", "inbox"),
            ("q.", "work queue"),
            ("s.", "service"),
            ("r.", "call area"),
        ] {
            let said = format!("{what} \"threadA::50 %.é~\" of cluster \"my ü\"");
            assert_eq!(known(kind, "threadA::50 %.é~"), said);
        }
        assert_eq!(known("d", ""), "directory of cluster \"my ü\"");
        assert_eq!(known("e", ""), "ring of events of cluster \"my ü\"");
        assert_eq!(DisplayName("prices").to_string(), "ring \"prices\"");
        assert_eq!(DisplayName("a:b").to_string(), "ring \"b\" (prefix \"a\")");
        let topic = DisplayName("a:shop~t.b").to_string();
        assert_eq!(topic, "topic \"b\" of cluster \"shop\" (prefix \"a\")");
        // Names that this library did not compose.
        assert_eq!(DisplayName("a%~t.%4%é").to_string(), "topic \"%4%é\" of cluster \"a%\"");
    }
}
