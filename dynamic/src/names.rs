//! Names of fields as words, so that most names are compared without a look at their text.

/// A name as words of its text: names of up to [`NameKey::WHOLE`] bytes with equal keys are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameKey {
    first: u64,
    last: u64,
    len: usize,
}

impl NameKey {
    /// The bytes of the longest name that its key has as a whole.
    pub(super) const WHOLE: usize = 16;

    /// The key of a name. Of a name in the program's text, the compiler computes it.
    // Inlined always: a call for each read by name took longer than the search.
    #[inline(always)]
    pub(super) fn of(name: &str) -> Self {
        let (bytes, len) = (name.as_bytes(), name.len());
        // The two words of a length overlap, and cover all bytes of it.
        if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            return Self {
                first: u64::from_le_bytes(*first),
                last: u64::from_le_bytes(*last),
                len,
            };
        }
        if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            return Self { first: first.into(), last: last.into(), len };
        }
        let mut first = [0; 8];
        for (place, byte) in first.iter_mut().zip(bytes) {
            *place = *byte;
        }
        Self { first: u64::from_le_bytes(first), last: 0, len }
    }

    #[inline(always)]
    pub(super) fn new(first: u64, last: u64, len: usize) -> Self {
        Self { first, last, len }
    }

    /// The words of the key, without the length.
    #[inline(always)]
    pub(super) fn words(self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// A word of the key, which is another one for most other keys.
    #[inline(always)]
    pub(super) fn digest(self) -> u64 {
        self.first ^ self.last.rotate_left(29) ^ (self.len as u64).rotate_left(57)
    }
}

#[cfg(test)]
mod tests {
    use super::NameKey;
    use std::collections::BTreeMap;

    /// Each byte of a name of up to 16 bytes is in its key, and its length is.
    #[test]
    fn names_with_equal_keys_are_equal_up_to_16_bytes() {
        let mut names = BTreeMap::new();
        let mut add = |name: String| {
            if let Some(other) = names.insert(NameKey::of(&name), name.clone()) {
                assert_eq!(name, other);
            }
        };
        for len in 0..=NameKey::WHOLE {
            let name = "abcdefghijklmnop"[..len].to_owned();
            for at in 0..len {
                let mut changed = name.clone();
                changed.replace_range(at..=at, "-");
                add(changed);
            }
            add(name);
            add("\0".repeat(len));
        }
        let count: usize = (0..=NameKey::WHOLE).map(|len| len + 2).sum();
        // The empty name is there twice.
        assert_eq!(names.len(), count - 1);
        let (a, b) = ("a_long_name_that_ends", "a_long_n_me_that_ends");
        assert_eq!(NameKey::of(a), NameKey::of(b), "the text decides between longer names");
    }
}
