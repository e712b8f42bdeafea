//! Names of events, and patterns over them: `threadA::*`, `**::closed`.
//!
//! A name is parts between `::`. In a pattern the part `*` stands for one part, whatever it is, and
//! `**` for any number of them, none included. Everything else stands for itself, letter by letter:
//! `thread*` is a part that ends in an asterisk.
//!
//! It guarantees that a look takes no longer than the product of both lengths, whatever they are; that
//! no event is emitted whose name is empty, a pattern, or of no sensible length; and that whoever
//! listens for what cannot come is told so.

use crate::cluster::error::BadName;

const ONE: &str = "*";
const ANY: &str = "**";

/// Most bytes of a name or a pattern.
pub(crate) const LONGEST: usize = 1024;
/// Most letters that are shown of one that is longer.
const SHOWN: usize = 60;

/// Whether an event can have this name.
pub(crate) fn check_name(name: &str) -> Result<(), BadName> {
    check_length(name)?;
    if name.contains(ONE) && is_pattern(name) {
        let reason = "a part of it is an asterisk, which only those who listen may write";
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

/// What a handler is for: one name, or all that a pattern describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    is_name: bool,
}

impl Pattern {
    /// A name or a pattern, unless nothing could ever fit it.
    pub(crate) fn new(text: &str) -> Result<Self, BadName> {
        check_length(text)?;
        Ok(Self { text: text.to_owned(), is_name: !is_pattern(text) })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it describes this name.
    pub(crate) fn fits(&self, name: &str) -> bool {
        if self.is_name { self.text == name } else { fits(&self.text, name) }
    }
}

/// Goes through both once, and back to the last `**` when they part: that one then stands for one
/// part more. An earlier `**` need not be asked again: what it could take, the last can.
fn fits(pattern: &str, name: &str) -> bool {
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
    fn check(pattern: &str, fit: &[&str], do_not: &[&str]) {
        let pattern = Pattern::new(pattern).unwrap();
        for name in fit {
            assert!(pattern.fits(name), "{pattern:?} describes {name:?}");
        }
        for name in do_not {
            assert!(!pattern.fits(name), "{pattern:?} does not describe {name:?}");
        }
    }

    #[test]
    fn a_name_is_itself_alone() {
        check("threadA::open", &["threadA::open"], &["threadA", "threadA::opened", "open", ""]);
        check("thread*", &["thread*"], &["thread", "threadA"]);
    }

    #[test]
    fn an_asterisk_is_one_part() {
        check("threadA::*", &["threadA::open", "threadA::", "threadA::*"], &["threadA"]);
        check("threadA::*", &[], &["threadB::open", "threadA::open::now"]);
        check("*::open", &["threadA::open", "::open"], &["open", "a::b::open"]);
        check("*", &["open", ""], &["a::b"]);
    }

    #[test]
    fn two_asterisks_are_any_number_of_parts() {
        check("**", &["", "open", "a::b::c"], &[]);
        check("a::**", &["a", "a::b", "a::b::c"], &["b", "b::a", "ab"]);
        check("**::open", &["open", "a::open", "a::open::b::open"], &["a::open::b", "reopen"]);
        check("a::**::z", &["a::z", "a::b::z", "a::z::z", "a::b::c::z"], &["a", "a::b", "z"]);
        check("**::b::**::d", &["b::d", "a::b::c::d", "b::b::x::d::d"], &["b", "d::b", "a::d"]);
        check("**::*", &["", "a", "a::b"], &[]);
        check("*::**::*", &["a::b", "a::b::c"], &["a", ""]);
    }

    #[test]
    fn many_of_them_are_no_trap() {
        let name = vec!["a"; 2000].join("::");
        let pattern = ["**::a::a::a::a::b"; 20].join("::");
        assert!(!Pattern::new(&pattern).unwrap().fits(&name));
    }

    #[test]
    fn what_cannot_be_a_name_says_why() {
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
    fn one_that_is_too_long_is_not_repeated_whole() {
        let name = "é".repeat(LONGEST / 2 + 1);
        let BadName { name: shown, reason } = check_name(&name).unwrap_err();
        assert!(reason.contains(&LONGEST.to_string()));
        assert!(shown.len() < 200 && shown.ends_with("é…"), "{shown}");
        assert_eq!(Pattern::new(&name).unwrap_err(), BadName { name: shown, reason });
        assert_eq!(Pattern::new("").unwrap_err().reason, "it is empty");
    }
}
