//! Users: their names, and objects that belong to another one.

use crate::text;
use packetring::OpenError;
use packetring::inventory::ObjectInfo;
use std::collections::BTreeSet;

/// A user, as in `app (1000)`. Users that `/etc/passwd` does not have are shown by their id.
pub(crate) fn shown(user: u32) -> String {
    name(user).map_or_else(|| user.to_string(), |name| format!("{name} ({user})"))
}

fn name(user: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, user).map(|name| text::plain(name).into_owned())
}

fn name_in(users: &str, user: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut words = line.split(':');
        let name = words.next()?;
        (words.nth(1)?.parse() == Ok(user)).then_some(name)
    })
}

/// Returns true for an object that another user owns.
pub(crate) fn is_of_other(object: &ObjectInfo) -> bool {
    matches!(object.fault, Some(OpenError::OtherUser { .. }))
}

/// How to see objects of other users, as in `` `sudo -u app packetring ls` shows them ``.
pub(crate) fn advice(objects: &[&ObjectInfo], command: &str) -> String {
    let owners: BTreeSet<_> = objects.iter().map(|object| object.owner).collect();
    let owner = owners.first().copied().unwrap_or_default();
    let owner = name(owner).unwrap_or_else(|| format!("'#{owner}'"));
    format!("`sudo -u {owner} packetring {command}`")
}

/// The objects of other users in words, as in `2 objects of other users: app (1000) 33`. `None`
/// without such objects.
pub(crate) fn sentence(objects: &[&ObjectInfo]) -> Option<String> {
    let owners: BTreeSet<_> = objects.iter().map(|object| object.owner).collect();
    let owners: Vec<_> = owners.into_iter().map(shown).collect();
    let count = text::count(objects.len(), "object");
    match &*owners {
        [] => None,
        [owner] => Some(format!("{count} of another user: {owner}")),
        owners => Some(format!("{count} of other users: {}", owners.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_before_the_id() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbroken\napp:x:1000:7::/:/bin/sh\n";
        assert_eq!(name_in(users, 1000), Some("app"));
        assert_eq!(name_in(users, 7), None);
    }
}
