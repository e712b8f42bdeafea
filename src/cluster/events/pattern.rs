//! Names of events, and patterns over them: `threadA::*`, `**::closed`.
//!
//! A name consists of parts between `::`. In a pattern, the part `*` matches any one part, and
//! `**` matches any number of parts, none included. All other text matches itself: the part
//! `thread*` ends in a plain asterisk.
//!
//! - A match takes at most time proportional to the product of both lengths.
//! - A name that is empty, too long or a pattern cannot be emitted.
//! - A pattern that is empty or too long is rejected, because no name could match it.

use crate::cluster::error::BadName;

/// Matches one part.
const ONE: &str = "*";
/// Matches any number of parts.
const ANY: &str = "**";

/// Most bytes of a name or a pattern.
const LONGEST: usize = 1024;
/// Characters of a longer name that an error shows.
const SHOWN: usize = 60;

/// Returns an error if no event can have this name.
pub(super) fn check_name(name: &str) -> Result<(), BadName> {
    check_length(name)?;
    if name.contains(ONE) && is_pattern(name) {
        let reason = "a part is an asterisk, which is allowed in handler patterns only";
        return Err(BadName { name: name.to_owned(), reason });
    }
    Ok(())
}

fn check_length(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName { name: String::new(), reason: "it is empty" });
    }
    if name.len() > LONGEST {
        let shown = name.chars().take(SHOWN).chain(['…']).collect();
        return Err(BadName { name: shown, reason: "it is longer than 1024 bytes" });
    }
    Ok(())
}

fn is_pattern(text: &str) -> bool {
    text.split("::").any(|part| part == ONE || part == ANY)
}

/// A name or a pattern that a handler was added for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    is_name: bool,
}

impl Pattern {
    /// Checks the length. An empty or too long text is an error.
    pub(super) fn new(text: &str) -> Result<Self, BadName> {
        check_length(text)?;
        Ok(Self { text: text.to_owned(), is_name: !is_pattern(text) })
    }

    /// The text as given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if the name matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        if self.is_name { self.text == name } else { matches(&self.text, name) }
    }
}

/// Compares part by part. At a mismatch, the last `**` takes one more part and the comparison
/// continues behind it. An earlier `**` needs no retry: the last one can take the same parts.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split("::"), name.split("::"));
    let mut retry = None;
    loop {
        let (at, wants) = (found.clone(), wanted.next());
        if wants == Some(ANY) {
            retry = Some((wanted.clone(), at));
            continue;
        }
        match (wants, found.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part == ONE || part == given => {}
            _ => {
                let Some((behind, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (wanted, found) = (behind.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadName, LONGEST, Pattern, check_name};

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::new(pattern).unwrap();
        for name in yes {
            assert!(pattern.matches(name), "{pattern:?} must match {name:?}");
        }
        for name in no {
            assert!(!pattern.matches(name), "{pattern:?} must not match {name:?}");
        }
    }

    #[test]
    fn a_name_matches_only_itself() {
        check("threadA::open", &["threadA::open"], &["threadA", "threadA::opened", "open", ""]);
        check("thread*", &["thread*"], &["thread", "threadA"]);
    }

    #[test]
    fn an_asterisk_matches_one_part() {
        check("threadA::*", &["threadA::open", "threadA::", "threadA::*"], &["threadA"]);
        check("threadA::*", &[], &["threadB::open", "threadA::open::now"]);
        check("*::open", &["threadA::open", "::open"], &["open", "a::b::open"]);
        check("*", &["open", ""], &["a::b"]);
    }

    #[test]
    fn two_asterisks_match_any_number_of_parts() {
        check("**", &["", "open", "a::b::c"], &[]);
        check("a::**", &["a", "a::b", "a::b::c"], &["b", "b::a", "ab"]);
        check("**::open", &["open", "a::open", "a::open::b::open"], &["a::open::b", "reopen"]);
        check("a::**::z", &["a::z", "a::b::z", "a::z::z", "a::b::c::z"], &["a", "a::b", "z"]);
        check("**::b::**::d", &["b::d", "a::b::c::d", "b::b::x::d::d"], &["b", "d::b", "a::d"]);
        check("**::*", &["", "a", "a::b"], &[]);
        check("*::**::*", &["a::b", "a::b::c"], &["a", ""]);
    }

    #[test]
    fn matching_many_asterisks_is_fast() {
        let name = vec!["a"; 2000].join("::");
        let pattern = ["**::a::a::a::a::b"; 20].join("::");
        assert!(!Pattern::new(&pattern).unwrap().matches(&name));
    }

    #[test]
    fn an_invalid_name_has_a_reason() {
        let reason = |name: &str| check_name(name).map_err(|bad| bad.reason);
        assert_eq!(reason(""), Err("it is empty"));
        for pattern in ["*", "**", "a::*", "*::a", "a::**::b"] {
            assert!(reason(pattern).unwrap_err().contains("asterisk"), "{pattern}");
            assert!(Pattern::new(pattern).is_ok());
        }
        for name in ["a", "::", "a::", "thread*", "*a::b", "***", "é", &"n".repeat(LONGEST)] {
            assert_eq!(reason(name), Ok(()));
        }
    }

    #[test]
    fn an_error_shows_only_the_start_of_a_long_name() {
        let name = "é".repeat(LONGEST / 2 + 1);
        let BadName { name: shown, reason } = check_name(&name).unwrap_err();
        assert!(reason.contains(&LONGEST.to_string()));
        assert!(shown.len() < 200 && shown.ends_with("é…"), "{shown}");
        assert_eq!(Pattern::new(&name).unwrap_err(), BadName { name: shown, reason });
        assert_eq!(Pattern::new("").unwrap_err().reason, "it is empty");
    }
}
