//! Patterns over names of events: `threadA::*`, `**::closed`.
//!
//! A name is parts between `::`. In a pattern the part `*` stands for one part, whatever it is, and
//! `**` for any number of them, none included. Everything else stands for itself, letter by letter:
//! `thread*` is a part that ends in an asterisk.
//!
//! It guarantees that a look takes no longer than the product of both lengths, whatever they are.

const ONE: &str = "*";
const ANY: &str = "**";

/// What a handler is for: one name, or all that a pattern describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    is_name: bool,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        let is_name = !text.split("::").any(|part| part == ONE || part == ANY);
        Self { text: text.to_owned(), is_name }
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
    use super::Pattern;

    #[track_caller]
    fn check(pattern: &str, fit: &[&str], do_not: &[&str]) {
        let pattern = Pattern::new(pattern);
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
        check("", &[""], &["a", "::"]);
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
        assert!(!Pattern::new(&pattern).fits(&name));
    }
}
