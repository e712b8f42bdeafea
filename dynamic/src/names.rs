//! Names of fields as words, so that most names are compared without a look at their text, and
//! tables of names, so that a name is compared once.

/// A name as words of its text: names of up to [`NameKey::WHOLE`] bytes with equal keys are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameKey {
    /// The first bytes, with zeros behind a short name.
    first: u64,
    /// The last bytes of those that are left, below the length, or below 255 for a long name.
    rest: u64,
}

impl NameKey {
    /// The bytes of the longest name that its key has as a whole.
    pub(super) const WHOLE: usize = 15;

    /// The bits of `rest` that have bytes of the name.
    const REST: u32 = 56;

    /// The key of no name: names have no byte of 255.
    const NONE: Self = Self { first: u64::MAX, rest: u64::MAX };

    /// The key of a name. Of a name in the program's text, the compiler computes it.
    // Inlined always: a call for each read by name took longer than the search.
    #[inline(always)]
    pub(super) fn of(name: &str) -> Self {
        let (bytes, len) = (name.as_bytes(), name.len());
        let tag =
            (len.min(Self::WHOLE) as u64 | if len > Self::WHOLE { 0xf0 } else { 0 }) << Self::REST;
        if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            // Without the bytes that `first` has.
            let surplus = 8 * Self::WHOLE.saturating_sub(len) as u32;
            let rest = u64::from_le_bytes(*last) >> 8 >> surplus;
            return Self { first: u64::from_le_bytes(*first), rest: rest | tag };
        }
        let mut first = [0; 8];
        if let (Some(start), Some(end)) = (bytes.first_chunk(), bytes.last_chunk()) {
            // Both have the bytes that are in the middle.
            let (start, end) = (u32::from_le_bytes(*start), u32::from_le_bytes(*end));
            let first = u64::from(start) | u64::from(end) << (8 * (len - 4));
            return Self { first, rest: tag };
        }
        for (place, byte) in first.iter_mut().zip(bytes) {
            *place = *byte;
        }
        Self { first: u64::from_le_bytes(first), rest: tag }
    }

    /// A number that is another one for most other names. `name` is the name of this key.
    #[inline(always)]
    pub(super) fn hash(self, name: &str) -> u64 {
        let mut hash = self.first ^ self.rest.rotate_left(29);
        // Long names often differ in their middle alone.
        let bytes = name.as_bytes();
        if let Some((_, behind)) = bytes.split_first_chunk::<8>()
            && let Some((before, _)) = bytes.split_last_chunk::<8>()
            && let (Some(first), Some(last)) = (behind.first_chunk(), before.last_chunk())
        {
            hash ^= u64::from_le_bytes(*first).rotate_left(17);
            hash ^= u64::from_le_bytes(*last).rotate_left(43);
        }
        hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 32)
    }
}

/// Places of names by bits of their hashes. No two names share a place.
#[derive(Clone, Debug)]
pub(super) struct NameTable<T> {
    /// The lowest bit of a hash that counts.
    shift: u32,
    /// The bits from there on that count.
    mask: usize,
    /// A place for each number of these bits. Empty if there is no table.
    places: Box<[NamePlace<T>]>,
}

/// A name that a table has, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamePlace<T> {
    pub(super) key: NameKey,
    pub(super) value: T,
}

impl<T: Copy + Default> NameTable<T> {
    /// Most names in a table.
    const MOST: usize = 64;
    /// Most places of a table.
    const MOST_PLACES: usize = 1024;

    /// A table of these names. It has no places if there are no names, too many, or names with
    /// equal hashes.
    pub(super) fn of(names: &[(&str, T)]) -> Self {
        let hashes: Vec<_> = names.iter().map(|(name, _)| NameKey::of(name).hash(name)).collect();
        let mut len = 2 * names.len().next_power_of_two();
        while (1..=Self::MOST).contains(&names.len()) && len <= Self::MOST_PLACES {
            let mut shifts = 0..u64::BITS - len.ilog2();
            let fits = |shift: &u32| are_apart(hashes.iter().map(|hash| hash >> shift), len);
            if let Some(shift) = shifts.find(fits) {
                let free = NamePlace { key: NameKey::NONE, value: T::default() };
                let mut table = Self { shift, mask: len - 1, places: vec![free; len].into() };
                for ((name, value), hash) in names.iter().zip(hashes) {
                    let index = table.index(hash);
                    if let Some(place) = table.places.get_mut(index) {
                        *place = NamePlace { key: NameKey::of(name), value: *value };
                    }
                }
                return table;
            }
            len *= 2;
        }
        Self { shift: 0, mask: 0, places: Box::default() }
    }

    /// Returns true if there is a table.
    pub(super) fn has_places(&self) -> bool {
        !self.places.is_empty()
    }

    /// The only place where a name of this hash can be. `None` if there is no table.
    #[inline(always)]
    pub(super) fn place(&self, hash: u64) -> Option<&NamePlace<T>> {
        self.places.get(self.index(hash))
    }

    #[inline(always)]
    fn index(&self, hash: u64) -> usize {
        hash.wrapping_shr(self.shift) as usize & self.mask
    }
}

/// Returns true if no two of these numbers have the same place among so many, a power of two.
fn are_apart(numbers: impl Iterator<Item = u64>, places: usize) -> bool {
    let mut taken = vec![false; places];
    let mut places = numbers.map(|number| number as usize & (places - 1));
    places.all(|place| !std::mem::replace(&mut taken[place], true))
}

#[cfg(test)]
mod tests {
    use super::{NameKey, NameTable};
    use std::collections::BTreeMap;

    /// Each byte of a name of up to 15 bytes is in its key, and its length is.
    #[test]
    fn names_with_equal_keys_are_equal_up_to_15_bytes() {
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
        // Names that are longer have keys of their own.
        add("abcdefghijklmnop".into());
        let count: usize = (0..=NameKey::WHOLE).map(|len| len + 2).sum();
        // The empty name is there twice.
        assert_eq!(names.len(), count);
        let (a, b) = ("a_long_name_that_ends", "a_long_n_me_that_ends");
        assert_eq!(NameKey::of(a), NameKey::of(b), "the text decides between longer names");
        assert_ne!(NameKey::of(a).hash(a), NameKey::of(b).hash(b), "the hash has their middle");
    }

    fn hash(name: &str) -> u64 {
        NameKey::of(name).hash(name)
    }

    #[test]
    fn a_table_has_each_name_at_its_own_place() {
        let ordinary = ["id", "price", "bid", "ask", "venue", "symbol", "change", "nanoseconds"];
        let long = ["average_minimum_price_of_the_day", "average_maximum_price_of_the_day"];
        let ordinary = ordinary.iter().chain(&long).map(|name| (*name).to_owned());
        let numbered = |count: usize| (0..count).map(|number| format!("field_{number}")).collect();
        let most = NameTable::<usize>::MOST;
        let tuple = (0..most).map(|number| number.to_string()).collect();
        for names in [ordinary.collect::<Vec<_>>(), numbered(1), numbered(most), tuple] {
            let entries = names.iter().enumerate().map(|(index, name)| (name.as_str(), index));
            let table = NameTable::of(&entries.clone().collect::<Vec<_>>());
            assert!(table.has_places(), "{names:?}");
            for (name, index) in entries {
                let place = table.place(hash(name)).unwrap();
                assert_eq!((place.key, place.value), (NameKey::of(name), index), "{name}");
            }
            for number in 0..1000 {
                let other = format!("other {number}");
                let place = table.place(hash(&other)).unwrap();
                assert_ne!(place.key, NameKey::of(&other));
            }
        }
    }

    #[test]
    fn there_is_no_table_of_no_names_many_names_and_equal_names() {
        let many: Vec<_> = (0..=NameTable::<()>::MOST).map(|number| number.to_string()).collect();
        let many = many.iter().map(|name| (name.as_str(), ())).collect::<Vec<_>>();
        for names in [&[][..], &many, &[("a", ()), ("b", ()), ("a", ())]] {
            let table = NameTable::of(names);
            assert!(!table.has_places() && table.place(hash("a")).is_none(), "{names:?}");
        }
    }
}
