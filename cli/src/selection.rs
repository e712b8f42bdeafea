//! Which objects a command looks at: by name, cluster and prefix.

use crate::names;
use crate::output::Failure;
use clap::Args;
use packetring::inventory::ObjectInfo;
use std::collections::BTreeSet;

/// Objects by their cluster and prefix.
#[derive(Debug, Default, Args)]
pub(crate) struct Selection {
    /// Objects of this cluster only
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Objects with this prefix only; an empty one means those without a prefix
    #[arg(long)]
    prefix: Option<String>,
}

/// Objects by their names, too.
#[derive(Debug, Default, Args)]
pub(crate) struct NamedSelection {
    /// Objects of these names only; a name with `*` is a pattern, and a cluster's name means all of
    /// its objects
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

impl Selection {
    /// Returns true if the object is one of them.
    pub(crate) fn has(&self, object: &ObjectInfo) -> bool {
        self.has_prefix_of(object)
            && self.cluster.as_ref().is_none_or(|cluster| object.cluster.as_ref() == Some(cluster))
    }

    fn has_prefix_of(&self, object: &ObjectInfo) -> bool {
        let prefix = object.prefix.as_deref().unwrap_or_default();
        self.prefix.as_ref().is_none_or(|wanted| wanted == prefix)
    }

    /// Returns an error if no object has the prefix or is of the cluster, with those that are
    /// there. The empty prefix is no error, because it names the objects without a prefix.
    pub(crate) fn check(&self, objects: &[ObjectInfo]) -> Result<(), Failure> {
        let of_prefix = || objects.iter().filter(|one| self.has_prefix_of(one));
        if let Some(prefix) = self.prefix.as_ref().filter(|prefix| !prefix.is_empty())
            && of_prefix().next().is_none()
        {
            let known = known("prefixes", objects.iter().filter_map(|one| one.prefix.as_ref()));
            return Err(Failure::failed(format_args!(
                "no object has the prefix {prefix:?}; {known}"
            )));
        }
        if let Some(cluster) = &self.cluster
            && !of_prefix().any(|one| self.has(one))
        {
            let known = known("clusters", of_prefix().filter_map(|one| one.cluster.as_ref()));
            return Err(Failure::failed(format_args!(
                "no object is of the cluster {cluster:?}; {known}"
            )));
        }
        Ok(())
    }
}

impl NamedSelection {
    /// Returns true if the object is one of them.
    pub(crate) fn has(&self, object: &ObjectInfo) -> bool {
        let is_named = |name: &String| is_named(object, name);
        self.selection.has(object) && (self.names.is_empty() || self.names.iter().any(is_named))
    }
}

fn known<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.collect::<BTreeSet<_>>().into_iter().cloned().collect();
    match names.is_empty() {
        true => format!("there are no {what}"),
        false => format!("the {what} are {}", names::list(&names)),
    }
}

/// Returns true if a name means an object, its cluster, or is a pattern that it fits.
pub(crate) fn is_named(object: &ObjectInfo, name: &str) -> bool {
    if name.contains('*') {
        return is_match(&names::full(object), name);
    }
    let is_of_cluster = match (&object.cluster, &object.prefix) {
        (None, _) => false,
        (Some(cluster), Some(prefix)) if name.contains(':') => {
            format!("{prefix}:{cluster}") == name
        }
        (Some(cluster), _) => cluster == name,
    };
    is_of_cluster || names::fits(object, name)
}

/// Returns true if a text fits a pattern, in which `*` stands for any characters.
pub(crate) fn is_match(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (text, pattern) in [("prices", "pri*"), ("shop/topic/x", "*/topic/*"), ("aba", "a*a")] {
            assert!(is_match(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("prices", "*x*"), ("a", "a*a"), ("ab", "*a")] {
            assert!(!is_match(text, pattern), "{text} {pattern}");
        }
    }
}
