//! Names of rings and of cluster objects.
//!
//! Every cluster object has a `~` in its name and no ring has one, so the two never collide. A
//! prefix ends with a `:`, which no other part of a name has: names of two prefixes never collide.
//!
//! ```text
//! /packetring.prices            ring      /packetring.shop~t.prices           topic
//! /packetring.staging:prices    ring      /packetring.staging:shop~t.prices   topic
//! ```

#![cfg(not(loom))]

use crate::error::{NameKind, ObjectName, OpenError};
use crate::sys::shm;

/// Prefix of every object. No other object in `/dev/shm` is touched.
const PREFIX: &str = "/packetring.";
/// Longest name in bytes. A file name may have 255, and the prefix takes some.
const LONGEST: usize = 200;

/// Longest prefix in bytes. With it and the longest name, a file name has 252 bytes.
const LONGEST_PREFIX: usize = 40;
/// Ends a prefix.
const PREFIX_END: char = ':';
/// The environment variable with the prefix of all names of a process.
const PREFIX_VARIABLE: &str = "PACKETRING_PREFIX";

/// The choices of a builder about all names that it opens, not checked yet.
///
/// The default has the prefix of the environment variable `PACKETRING_PREFIX`.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    /// Empty: no prefix.
    prefix: String,
    /// The builder chose the prefix, not the environment.
    is_chosen: bool,
    mode: Option<u32>,
    group: Option<u32>,
}

/// The users that may use an object, as its opener chose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The owner alone: mode 0600.
    Owner,
    /// The owner and the users of this group: mode 0660.
    Group(u32),
}

impl Access {
    const OWNER_MODE: u32 = 0o600;
    const GROUP_MODE: u32 = 0o660;

    /// The permission bits.
    pub(crate) fn mode(self) -> u32 {
        match self {
            Self::Owner => Self::OWNER_MODE,
            Self::Group(_) => Self::GROUP_MODE,
        }
    }

    /// The group that has access.
    pub(crate) fn group(self) -> Option<u32> {
        match self {
            Self::Owner => None,
            Self::Group(group) => Some(group),
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        let prefix = std::env::var_os(PREFIX_VARIABLE).unwrap_or_default();
        // Bytes that are no UTF-8 become a character that no prefix may have.
        let prefix = prefix.to_string_lossy().into_owned();
        Self { prefix, is_chosen: false, mode: None, group: None }
    }
}

impl Namespace {
    /// The namespace of this prefix, whatever the environment says. Empty: no prefix.
    pub(crate) fn of_prefix(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), is_chosen: true, mode: None, group: None }
    }

    /// Chooses the prefix. Empty: no prefix.
    pub(crate) fn set_prefix(&mut self, prefix: &str) {
        (self.prefix, self.is_chosen) = (prefix.to_owned(), true);
    }

    /// Chooses the mode of the objects.
    pub(crate) fn set_mode(&mut self, mode: u32) {
        self.mode = Some(mode);
    }

    /// Chooses the group of the objects, by its id.
    pub(crate) fn set_group(&mut self, group: u32) {
        self.group = Some(group);
    }

    /// Checks the choices.
    pub(crate) fn check(&self) -> Result<Scope, OpenError> {
        let (access, prefix) = (self.access()?, &self.prefix);
        if prefix.is_empty() {
            return Ok(Scope { start: String::new(), access });
        }
        let is_valid = prefix.len() <= LONGEST_PREFIX && fault(prefix).is_none();
        if is_valid {
            return Ok(Scope { start: format!("{prefix}{PREFIX_END}"), access });
        }
        let source = if self.is_chosen { "" } else { " in PACKETRING_PREFIX" };
        let bytes = prefix.len();
        Err(OpenError::BadSettings {
            reason: format!(
                "prefix {prefix:?}{source} of {bytes} bytes is not 1 to {LONGEST_PREFIX} letters, \
                 digits, `.`, `_` and `-`, without a dot in front; choose another prefix"
            ),
        })
    }

    /// The chosen access; `None` if there is no choice.
    fn access(&self) -> Result<Option<Access>, OpenError> {
        let reason = match (self.mode, self.group) {
            (None, None) => return Ok(None),
            (Some(Access::OWNER_MODE), None) => return Ok(Some(Access::Owner)),
            (Some(Access::GROUP_MODE), group) => {
                return Ok(Some(Access::Group(group.unwrap_or_else(shm::group))));
            }
            (Some(Access::OWNER_MODE) | None, Some(group)) => format!(
                "group {group} without mode 0660: the mode gives the group no access; choose mode \
                 0660 too, or no group"
            ),
            (Some(mode), _) => format!(
                "mode {mode:04o} is not 0600 (one user) or 0660 (the users of a group), for each \
                 user of a ring reads and writes its file; choose one of both"
            ),
        };
        Err(OpenError::BadSettings { reason })
    }
}

/// The checked namespace of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Empty, or the prefix with its end.
    start: String,
    /// `None`: no choice.
    access: Option<Access>,
}

impl Scope {
    fn name(&self, name: &str) -> Name {
        let whole = format!("{}{name}", self.start);
        Name { whole, access: self.access, kind: NameKind::default() }
    }
}

/// A checked name of a ring or of a cluster object, with its prefix and the access to the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The prefix with its end, and the name of the object.
    whole: String,
    /// `None`: the opener chose none.
    access: Option<Access>,
    /// What errors call the object, where its name does not tell.
    kind: NameKind,
}

impl Name {
    /// This name, of an object that errors call so.
    pub(crate) fn called(self, kind: NameKind) -> Self {
        Self { kind, ..self }
    }

    /// The name as errors show it.
    pub(crate) fn shown(&self) -> ObjectName {
        ObjectName::new(&self.whole, self.kind)
    }

    /// Checks a name: 1 to 200 of `A-Z a-z 0-9 . _ -`, not starting with a dot.
    pub(crate) fn of_ring(scope: &Scope, name: &str) -> Result<Self, OpenError> {
        match fault(name) {
            None => Ok(scope.name(name)),
            Some(reason) => Err(OpenError::BadName { name: name.to_owned(), reason }),
        }
    }

    /// The name of a ring without a prefix.
    #[cfg(test)]
    pub(crate) fn new(name: &str) -> Result<Self, OpenError> {
        Self::of_ring(&Scope::default(), name)
    }

    /// The name of a cluster object: `<cluster>~<kind><rest>`. Bytes of `cluster` and `rest` that
    /// are not allowed in a name are written as `%XX`. A name that is too long is an error.
    pub(crate) fn of_cluster(
        scope: &Scope,
        cluster: &str,
        kind: &str,
        rest: &str,
    ) -> Result<Self, OpenError> {
        let bad = |name: &str, reason| OpenError::BadName { name: name.to_owned(), reason };
        if cluster.is_empty() {
            return Err(bad(cluster, "it is empty"));
        }
        let name = format!("{}~{kind}{}", escaped(cluster), escaped(rest));
        if name.len() > LONGEST {
            return Err(match rest {
                "" => bad(cluster, "it is longer than 200 bytes"),
                rest => bad(rest, "together with the cluster's name it is longer than 200 bytes"),
            });
        }
        Ok(scope.name(&name))
    }

    /// The names of all existing objects of a cluster, with its directory.
    pub(crate) fn all_of_cluster(scope: &Scope, cluster: &str) -> Result<Vec<Self>, OpenError> {
        let prefix = format!("{PREFIX}{}{}~", scope.start, escaped(cluster));
        let objects = shm::names(&prefix)
            .map_err(|error| OpenError::system("list the objects in", shm::path("/"), error))?;
        let access = scope.access;
        let kind = NameKind::default();
        let name = |object: &String| {
            Some(Self { whole: object.strip_prefix(PREFIX)?.into(), access, kind })
        };
        Ok(objects.iter().filter_map(name).collect())
    }

    /// The names of all existing objects, of any user. Files with names that this library does not
    /// compose are left out.
    pub(crate) fn all() -> Result<Vec<Self>, OpenError> {
        let objects = shm::names(PREFIX)
            .map_err(|error| OpenError::system("list the objects in", shm::path("/"), error))?;
        let name = |object: &String| Self::composed(object.strip_prefix(PREFIX)?);
        Ok(objects.iter().filter_map(name).collect())
    }

    /// A name that is in use. `None` if this library does not compose such a name.
    fn composed(whole: &str) -> Option<Self> {
        let (prefix, name) = whole.split_once(PREFIX_END).unwrap_or(("x", whole));
        if prefix.len() > LONGEST_PREFIX || fault(prefix).is_some() {
            return None;
        }
        let is_escaped = |part: &str| part.bytes().all(|byte| is_allowed(byte) || byte == b'%');
        let is_composed = match name.split_once('~') {
            None => fault(name).is_none(),
            Some((cluster, object)) => {
                let are_filled = !cluster.is_empty() && !object.is_empty();
                are_filled && name.len() <= LONGEST && is_escaped(cluster) && is_escaped(object)
            }
        };
        let kind = NameKind::default();
        is_composed.then(|| Self { whole: whole.to_owned(), access: None, kind })
    }

    /// The access that the opener chose; `None` if it chose none.
    pub(crate) fn access(&self) -> Option<Access> {
        self.access
    }

    /// The whole name: the prefix with its end, and behind it the name of the object.
    pub(crate) fn as_str(&self) -> &str {
        &self.whole
    }

    /// The name of the shared-memory object.
    pub(crate) fn object(&self) -> String {
        format!("{PREFIX}{}", self.whole)
    }
}

/// A copy of the name with `%XX` for each byte that is not allowed.
fn escaped(name: &str) -> String {
    let byte = |byte: u8| match is_allowed(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > LONGEST {
        return Some("it is longer than 200 bytes");
    }
    if name.starts_with('.') {
        return Some("it starts with a dot");
    }
    (!name.bytes().all(is_allowed)).then_some("it may hold letters, digits, `.`, `_` and `-` only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_whole_or_refused() {
        for good in ["a", "prices", "thread-A.7_x", &"x".repeat(200)] {
            assert_eq!(Name::new(good).unwrap().object(), format!("/packetring.{good}"));
        }
        for bad in ["", ".x", "a/b", "../etc", "a b", "é", "a\0b", &"x".repeat(201)] {
            assert!(matches!(Name::new(bad), Err(OpenError::BadName { .. })), "{bad:?}");
        }
    }

    #[test]
    fn composed_names_are_found_again_and_others_are_not() {
        let of_cluster = Name::of_cluster(&Scope::default(), "my ü", "t.", "a~b").unwrap();
        let scope = Namespace::of_prefix("a.b").check().unwrap();
        let prefixed = Name::of_cluster(&scope, "my ü", "t.", "a~b").unwrap();
        for name in ["a", "prices.7", "a.b:prices", of_cluster.as_str(), prefixed.as_str()] {
            assert_eq!(Name::composed(name).unwrap().as_str(), name);
        }
        for other in [
            "", ".a", "a b", "a%20", "~d", "a~", "a~t.x~y", "a~t.é", ":a", ".a:b", "a:", "a:b:c",
            "a:.b",
        ] {
            assert_eq!(Name::composed(other), None, "{other:?}");
        }
        for (prefix, name) in [(0, 201), (41, 1), (40, 201)] {
            let separator = if prefix == 0 { "" } else { ":" };
            let other = format!("{}{separator}{}", "p".repeat(prefix), "x".repeat(name));
            assert_eq!(Name::composed(&other), None, "{other:?}");
        }
    }

    #[test]
    fn the_longest_name_with_the_longest_prefix_is_a_file_name() {
        let scope = Namespace::of_prefix(&"p".repeat(40)).check().unwrap();
        let object = Name::of_ring(&scope, &"x".repeat(200)).unwrap().object();
        assert!(object.len() - 1 <= 255, "{}", object.len());
        assert!(Name::composed(&object["/packetring.".len()..]).is_some());
        for bad in [".a", "a:b", "a/b", "a~b", "a b", "é", &"p".repeat(41)] {
            let error = Namespace::of_prefix(bad).check().unwrap_err().to_string();
            let numbers = [format!("{} bytes", bad.len()), "1 to 40 letters".to_owned()];
            assert!(numbers.iter().all(|number| error.contains(number)), "{error}");
        }
    }

    #[test]
    fn objects_of_clusters_meet_no_ring_and_each_other_never() {
        let plain = Scope::default();
        let name = |cluster, kind, rest| Name::of_cluster(&plain, cluster, kind, rest).unwrap();
        assert_eq!(name("m", "t.", "threadA::open").as_str(), "m~t.threadA%3A%3Aopen");
        assert_eq!(name("a~t.b", "d", "").as_str(), "a%7Et.b~d");
        assert_ne!(name("a", "t.", "%3A"), name("a", "t.", ":"));
        assert!(Name::new(name("m", "d", "").as_str()).is_err());
        let long = "é".repeat(40);
        for (cluster, rest) in [("", "x"), ("m", &*long)] {
            assert!(matches!(
                Name::of_cluster(&plain, cluster, "t.", rest),
                Err(OpenError::BadName { .. })
            ));
        }
    }
}
