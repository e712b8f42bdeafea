//! Names of objects on the command line: their full forms, and how a shorter one is resolved.

use crate::output::Failure;
use crate::text;
use crate::users;
use packetring::inventory::{ObjectInfo, ObjectKind};

/// Most candidates that an error lists.
const MOST_CANDIDATES: usize = 8;

/// The word for a kind in names, in the output and in filters.
pub(crate) fn word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Ring => "ring",
        ObjectKind::Directory => "directory",
        ObjectKind::Inbox => "inbox",
        ObjectKind::Topic => "topic",
        ObjectKind::Board => "board",
        ObjectKind::Queue => "queue",
        ObjectKind::Requests => "service",
        ObjectKind::Replies => "replies",
        ObjectKind::Events => "events",
        ObjectKind::Socket => "socket",
        ObjectKind::Foreign => "foreign",
        _ => "unknown",
    }
}

/// The full name of an object, which no other object has.
pub(crate) fn full(object: &ObjectInfo) -> String {
    if object.kind == ObjectKind::Foreign {
        return object.path.display().to_string();
    }
    match &object.prefix {
        Some(prefix) => format!("{prefix}:{}", without_prefix(object)),
        None => without_prefix(object),
    }
}

fn without_prefix(object: &ObjectInfo) -> String {
    let kind = word(object.kind);
    match &object.cluster {
        None => object.name.clone(),
        Some(cluster) if object.name.is_empty() => format!("{cluster}/{kind}"),
        Some(cluster) => format!("{cluster}/{kind}/{}", object.name),
    }
}

/// The full name of the cluster of an object.
pub(crate) fn of_cluster(object: &ObjectInfo, cluster: &str) -> String {
    match &object.prefix {
        Some(prefix) => format!("{prefix}:{cluster}"),
        None => cluster.to_owned(),
    }
}

/// The name without prefix and kind.
fn shortest(object: &ObjectInfo) -> String {
    match &object.cluster {
        Some(cluster) if !object.name.is_empty() => format!("{cluster}/{}", object.name),
        _ => without_prefix(object),
    }
}

/// Returns true if an object has this name in one of its forms.
pub(crate) fn fits(object: &ObjectInfo, name: &str) -> bool {
    FORMS.iter().any(|form| form(object, name))
}

/// Each form by which a name can mean an object, the most exact first.
const FORMS: [fn(&ObjectInfo, &str) -> bool; 4] = [
    |object, name| full(object) == name || object.path.as_os_str() == name,
    |object, name| {
        let prefix = std::env::var("PACKETRING_PREFIX").unwrap_or_default();
        object.prefix.as_deref().unwrap_or_default() == prefix && is_short_of(object, name)
    },
    |object, name| match &object.prefix {
        Some(prefix) => {
            let rest = name.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix(':'));
            rest.is_some_and(|rest| is_short_of(object, rest))
        }
        None => is_short_of(object, name),
    },
    is_short_of,
];

fn is_short_of(object: &ObjectInfo, name: &str) -> bool {
    object.kind != ObjectKind::Foreign
        && (without_prefix(object) == name || shortest(object) == name)
}

/// Returns the object of this name among `objects`, or an error with candidates.
pub(crate) fn find<'a>(objects: &'a [ObjectInfo], name: &str) -> Result<&'a ObjectInfo, Failure> {
    for form in FORMS {
        let mut found = objects.iter().filter(|object| form(object, name));
        match (found.next(), found.next()) {
            (Some(object), None) => return Ok(object),
            (None, _) => {}
            (Some(first), Some(second)) => {
                let all: Vec<_> = [first, second].into_iter().chain(found).map(full).collect();
                return Err(Failure::failed(format_args!(
                    "{} objects have the name {name:?}: {}; give the full name",
                    all.len(),
                    list(&all)
                )));
            }
        }
    }
    Err(not_found(objects, name))
}

/// The error of a name that no object has.
pub(crate) fn not_found(objects: &[ObjectInfo], name: &str) -> Failure {
    let others = packetring::inventory::of_other_users().unwrap_or_default();
    if let Some(object) = others.iter().find(|object| fits(object, name)) {
        return Failure::failed(format_args!(
            "{} belongs to another user, {}; run the command as that user: {}",
            text::plain(&full(object)),
            users::shown(object.owner),
            users::advice(&[object], "...")
        ));
    }
    let mut close: Vec<_> = objects
        .iter()
        .map(|object| (distance(object, name), full(object)))
        .filter(|(distance, _)| *distance <= name.chars().count().div_ceil(3))
        .collect();
    close.sort();
    let close: Vec<_> = close.into_iter().map(|(_, name)| name).collect();
    let advice = match &*close {
        [] => "`packetring ls` lists all objects".to_owned(),
        close => format!("similar names: {}", list(close)),
    };
    Failure::failed(format_args!("no object has the name {name:?}; {advice}"))
}

/// Number of edits from a name of the object to `name`; 0 if one contains the other.
fn distance(object: &ObjectInfo, name: &str) -> usize {
    let (full, shortest) = (full(object), shortest(object));
    if full.contains(name) || name.contains(shortest.as_str()) {
        return 0;
    }
    let forms = [full.as_str(), shortest.as_str(), object.name.as_str()];
    forms.iter().map(|form| strsim::levenshtein(form, name)).min().unwrap_or(usize::MAX)
}

/// Names in a row, at most [`MOST_CANDIDATES`].
pub(crate) fn list(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(MOST_CANDIDATES).map(|name| text::plain(name)).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
