//! What a ring may be called.

use crate::error::OpenError;

/// What every segment's name begins with: nothing else in `/dev/shm` is ever touched.
const PREFIX: &str = "/packetring.";
/// Longest name in bytes: 255 is what a file name may have, less the prefix.
const LONGEST: usize = 200;

/// A checked name of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Checks a name: 1 to 200 of `A-Z a-z 0-9 . _ -`, not starting with a dot.
    pub(crate) fn new(name: &str) -> Result<Self, OpenError> {
        match fault(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(OpenError::BadName { name: name.to_owned(), reason }),
        }
    }

    /// The name as its user gave it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the shared-memory object.
    pub(crate) fn object(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

fn fault(name: &str) -> Option<&'static str> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > LONGEST {
        return Some("it is longer than 200 bytes");
    }
    if name.starts_with('.') {
        return Some("it starts with a dot");
    }
    (!name.bytes().all(allowed)).then_some("it may hold letters, digits, `.`, `_` and `-` only")
}

#[cfg(all(test, not(loom)))]
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
}
