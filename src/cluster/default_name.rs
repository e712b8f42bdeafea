//! The name of a worker whose program did not choose one: it comes from the environment, which the
//! process manager sets.
//!
//! Guarantee: two processes whose variables differ get different names, also if a name is too long
//! and is cut. (A cut name ends in 48 bits of a hash of the whole.)

use super::error::JoinError;
use super::names::WorkerId;
use std::fmt::Write as _;

/// Variables with the number of a process, the first one first. PM2 gives each of its processes
/// another `pm_id`, which a restart keeps. `NODE_APP_INSTANCE` may be 0 in all of them.
const NUMBERS: [&str; 2] = ["pm_id", "NODE_APP_INSTANCE"];

/// The name of a worker whose program did not choose one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DefaultName {
    pub(super) name: String,
    /// The process manager's number of this process.
    pub(super) id: Option<WorkerId>,
    /// Where the parts of the name come from, for errors: `name="api" pm_id="7"`.
    pub(super) variables: String,
}

impl DefaultName {
    /// The name by this process's environment. `fits` says whether a name can be used.
    pub(super) fn of_process(fits: impl Fn(&str) -> bool) -> Self {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(|path| path.file_name());
        let program = program.map_or("worker".into(), |name| name.to_string_lossy());
        let get = |key: &str| Some(std::env::var_os(key)?.to_string_lossy().into_owned());
        Self::of(get, &program, fits)
    }

    /// Adds the variables to the error of joining by this name.
    pub(super) fn explain(self, error: JoinError) -> JoinError {
        match error {
            JoinError::NameTaken { name, pid, .. } => {
                JoinError::NameTaken { name, pid, variables: Some(self.variables) }
            }
            error => error,
        }
    }

    /// `<name or program>-<n>` and the id `n`. Without a number: the bare name.
    fn of(
        get: impl Fn(&str) -> Option<String>,
        program: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Self {
        let (base, mut variables) = match get("name").filter(|name| !name.is_empty()) {
            Some(name) => {
                let variables = format!("name={name:?}");
                (name, variables)
            }
            None => (program.to_owned(), format!("program {program:?}")),
        };
        let number = |key| Some((key, get(key)?.trim().parse::<u64>().ok()?));
        let found = NUMBERS.into_iter().find_map(number);
        if let Some((key, number)) = found {
            // Writing to a `String` does not fail.
            let _ = write!(variables, " {key}=\"{number}\"");
        }
        let number = found.map(|(_, number)| number);
        let suffix = number.map_or_else(String::new, |number| format!("-{number}"));
        let id = number.and_then(|number| number.try_into().ok()).map(WorkerId);
        Self { name: cut(&base, &suffix, fits), id, variables }
    }
}

/// `base` and `suffix`. If that does not fit: the longest beginning of `base` that does, with a
/// hash of the whole base between. If nothing fits, the whole name, which joining then refuses.
fn cut(base: &str, suffix: &str, fits: impl Fn(&str) -> bool) -> String {
    let whole = format!("{base}{suffix}");
    if fits(&whole) {
        return whole;
    }
    let hash = hash(base) & 0xffff_ffff_ffff;
    let ends = base.char_indices().map(|(end, _)| end).rev();
    let cut = ends.map(|end| format!("{}~{hash:012x}{suffix}", &base[..end]));
    cut.into_iter().find(|name| fits(name)).unwrap_or(whole)
}

/// FNV-1a of 64 bits. The name of a worker must be the same in every build.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::names::{Cluster, ClusterObject, InboxName};

    fn default_of(variables: &[(&str, &str)]) -> DefaultName {
        let get = |key: &str| {
            let found = variables.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        DefaultName::of(get, "encoder", |name| name.len() <= 64)
    }

    fn named(name: &str, id: Option<u16>, variables: &str) -> DefaultName {
        let (name, variables) = (name.to_owned(), variables.to_owned());
        DefaultName { name, id: id.map(WorkerId), variables }
    }

    #[test]
    fn the_process_manager_numbers_a_worker() {
        assert_eq!(default_of(&[]), named("encoder", None, r#"program "encoder""#));
        assert_eq!(default_of(&[("name", "api")]), named("api", None, r#"name="api""#));
        let by_id = default_of(&[("name", "api"), ("pm_id", "7")]);
        assert_eq!(by_id, named("api-7", Some(7), r#"name="api" pm_id="7""#));
        // All instances may have the same one, so `pm_id` goes first.
        let both = default_of(&[("NODE_APP_INSTANCE", "0"), ("pm_id", "7")]);
        assert_eq!(both, named("encoder-7", Some(7), r#"program "encoder" pm_id="7""#));
        let instance = default_of(&[("NODE_APP_INSTANCE", "2"), ("pm_id", "x"), ("name", "")]);
        let variables = r#"program "encoder" NODE_APP_INSTANCE="2""#;
        assert_eq!(instance, named("encoder-2", Some(2), variables));
        let large = default_of(&[("pm_id", "70000")]);
        assert_eq!(large, named("encoder-70000", None, r#"program "encoder" pm_id="70000""#));
    }

    #[test]
    fn a_long_name_is_cut_and_stays_unique() {
        let of = |name: &str, number: &str| default_of(&[("name", name), ("pm_id", number)]).name;
        let longest = "x".repeat(62);
        assert_eq!(of(&longest, "7"), format!("{longest}-7"));
        let (a, b) = (format!("{longest}a"), format!("{longest}b"));
        let names = [of(&a, "7"), of(&a, "8"), of(&b, "7"), of(&b, "18446744073709551615")];
        for (index, name) in names.iter().enumerate() {
            assert!(name.len() == 64 && !names[..index].contains(name), "{names:?}");
        }
        assert!(names[0].starts_with("xxx") && names[0].ends_with("-7"), "{names:?}");
        assert_eq!(of(&a, "7"), names[0]);
        // A cut is never inside a character.
        let name = of(&"é".repeat(40), "7");
        assert!(name.starts_with('é') && name.len() <= 64, "{name}");
    }

    #[test]
    fn a_name_is_cut_until_its_inbox_has_a_valid_name() {
        let get = |key: &str| (key == "name").then(|| "é".repeat(30));
        let cluster = Cluster::plain(&"c".repeat(90));
        let inbox = |name: &str| ClusterObject::Inbox(name, InboxName::First).name(&cluster);
        let fits = |name: &str| inbox(name).is_ok();
        let name = DefaultName::of(get, "encoder", fits).name;
        assert!(fits(&name) && name.starts_with('é'), "{name}");
        // No name fits such a cluster. Joining says so.
        let none = DefaultName::of(get, "encoder", |_| false);
        assert_eq!(none.name, "é".repeat(30));
    }
}
