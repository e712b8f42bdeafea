//! The type table of a segment: fingerprint, name and schema of each packet type.
//!
//! An entry is written once, under the control lock, before the count that makes it visible. It
//! never changes. A reader checks a local copy of every length.

use super::layout::{Membership, SCHEMA_WORDS, TYPE_NAME_WORDS, TypeEntry};
use crate::failpoint::{Failpoint, failpoint};
use crate::sync::{AtomicU64, Ordering};

/// Longest type name in bytes. A longer name is cut: names are for display only.
const NAME_BYTES: usize = TYPE_NAME_WORDS * 8;
/// Bytes of schema text, for all types.
const SCHEMA_BYTES: usize = SCHEMA_WORDS * 8;

/// The type table of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeTable<'a> {
    pub(crate) membership: &'a Membership,
    pub(crate) entries: &'a [TypeEntry],
    pub(crate) text: &'a [AtomicU64],
}

/// The table has no space for another type or its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull {
    /// Number of registered types.
    pub(crate) types: usize,
    /// Bytes of schema text in use.
    pub(crate) schema_bytes: usize,
    /// Bytes of schema text that the type needs.
    pub(crate) needed_bytes: usize,
}

impl Membership {
    /// Returns true if the ring accepts packets of the type at an index.
    #[inline]
    pub(crate) fn accepts(&self, index: u16) -> bool {
        let accepted = self.accepted.load(Ordering::Relaxed);
        accepted == 0 || u32::from(index) < u64::BITS && accepted >> index & 1 == 1
    }

    /// Accepts only packets of the types at these indices from now on. Without an index, every type
    /// is accepted. Under the control lock.
    pub(crate) fn accept(&self, indices: impl IntoIterator<Item = u16>) {
        let accepted = indices.into_iter().fold(0, |bits, index| bits | 1 << index);
        self.accepted.store(accepted, Ordering::Relaxed);
    }

    /// Returns true if the ring accepts packets of every type.
    pub(crate) fn accepts_all(&self) -> bool {
        self.accepted.load(Ordering::Relaxed) == 0
    }
}

const _: () = assert!(super::layout::MAX_TYPES == u64::BITS as usize, "a bit for each type");

impl TypeTable<'_> {
    /// Longest type name in bytes.
    pub(crate) const NAME_BYTES: usize = NAME_BYTES;
    /// Most bytes of schema text.
    pub(crate) const SCHEMA_BYTES: usize = SCHEMA_BYTES;

    /// Number of registered types.
    pub(crate) fn len(&self) -> usize {
        // Pairs with the release in `register`: entries below the count are complete.
        (self.membership.types.load(Ordering::Acquire) as usize).min(self.entries.len())
    }

    /// The index of the type with this fingerprint.
    pub(crate) fn find(&self, fingerprint: u128) -> Option<u16> {
        (0..self.len()).find(|&i| self.fingerprint(i) == Some(fingerprint)).map(|i| i as u16)
    }

    /// The fingerprint at an index.
    pub(crate) fn fingerprint(&self, index: usize) -> Option<u128> {
        let entry = self.entries[..self.len()].get(index)?;
        let [low, high] = &entry.fingerprint;
        let (low, high) = (low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
        Some(u128::from(low) | u128::from(high) << 64)
    }

    /// The name at an index. Bytes that are not UTF-8 are replaced.
    pub(crate) fn name(&self, index: usize) -> Option<String> {
        let entry = self.entries[..self.len()].get(index)?;
        let len = entry.lens.load(Ordering::Relaxed) as u32 as usize;
        Some(load_text(&entry.name, len.min(NAME_BYTES)))
    }

    /// The schema at an index, as JSON.
    pub(crate) fn schema(&self, index: usize) -> Option<String> {
        let entry = self.entries[..self.len()].get(index)?;
        let len = (entry.lens.load(Ordering::Relaxed) >> 32) as usize;
        let start = usize::try_from(entry.schema.load(Ordering::Relaxed)).ok()?;
        let words = self.text.get(start..)?;
        (len <= words.len() * 8).then(|| load_text(words, len))
    }

    /// Returns the index of a type, and registers a new type first. Under the control lock.
    pub(crate) fn register(
        &self,
        fingerprint: u128,
        name: &str,
        schema: &str,
    ) -> Result<u16, TableFull> {
        if let Some(index) = self.find(fingerprint) {
            return Ok(index);
        }
        let index = self.len();
        let start = (self.membership.schema.load(Ordering::Relaxed) as usize).min(SCHEMA_WORDS);
        let end = start + schema.len().div_ceil(8);
        let (Some(entry), Some(words)) = (self.entries.get(index), self.text.get(start..end))
        else {
            let (schema_bytes, needed_bytes) = (start * 8, (end - start) * 8);
            return Err(TableFull { types: index, schema_bytes, needed_bytes });
        };
        let name = cut(name);
        entry.fingerprint[0].store(fingerprint as u64, Ordering::Relaxed);
        entry.fingerprint[1].store((fingerprint >> 64) as u64, Ordering::Relaxed);
        let lens = name.len() as u64 | (schema.len() as u64) << 32;
        entry.lens.store(lens, Ordering::Relaxed);
        entry.schema.store(start as u64, Ordering::Relaxed);
        store_text(&entry.name, name);
        store_text(words, schema);
        self.membership.schema.store(end as u32, Ordering::Relaxed);
        failpoint(Failpoint::JoinType);
        // Pairs with the acquire in `len`.
        self.membership.types.store(index as u32 + 1, Ordering::Release);
        Ok(index as u16)
    }
}

/// The longest prefix of the name that fits and is UTF-8.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// Stores text into words. Text beyond their end is cut.
pub(super) fn store_text(words: &[AtomicU64], text: &str) {
    for (word, bytes) in words.iter().zip(text.as_bytes().chunks(8)) {
        let mut buffer = [0; 8];
        buffer[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(buffer), Ordering::Relaxed);
    }
}

/// Loads `len` bytes of text. `len` must not exceed the bytes of the words.
pub(super) fn load_text(words: &[AtomicU64], len: usize) -> String {
    let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
    for word in &words[..len.div_ceil(8)] {
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::segment::layout::MAX_TYPES;

    struct Table {
        membership: Membership,
        entries: Vec<TypeEntry>,
        text: Vec<AtomicU64>,
    }

    impl Table {
        fn new() -> Self {
            Self {
                membership: Membership::default(),
                entries: (0..MAX_TYPES).map(|_| TypeEntry::default()).collect(),
                text: (0..SCHEMA_WORDS).map(|_| AtomicU64::new(0)).collect(),
            }
        }

        fn view(&self) -> TypeTable<'_> {
            TypeTable { membership: &self.membership, entries: &self.entries, text: &self.text }
        }
    }

    #[test]
    fn a_type_is_entered_once_and_found_again() {
        let table = Table::new();
        let table = table.view();
        assert_eq!(table.find(7 << 64), None);
        assert_eq!(table.register(7 << 64, "Chat", "{\"a\":1}"), Ok(0));
        assert_eq!(table.register(9, "Größe", "{}"), Ok(1));
        assert_eq!(table.register(7 << 64, "Chat", "{\"a\":1}"), Ok(0));
        assert_eq!(table.name(0).unwrap(), "Chat");
        assert_eq!(table.schema(0).unwrap(), "{\"a\":1}");
        assert_eq!(table.name(1).unwrap(), "Größe");
        assert_eq!(table.schema(1).unwrap(), "{}");
        assert_eq!(table.name(2), None);
    }

    #[test]
    fn types_are_accepted_by_their_bits() {
        let membership = Membership::default();
        assert!(membership.accepts_all() && membership.accepts(0) && membership.accepts(63));
        membership.accept([1, 63]);
        assert!(!membership.accepts_all());
        let accepted: Vec<u16> = (0..200).filter(|&index| membership.accepts(index)).collect();
        assert_eq!(accepted, [1, 63]);
        membership.accept([]);
        assert!(membership.accepts_all() && membership.accepts(2));
    }

    #[test]
    fn a_full_table_says_so_and_keeps_what_it_has() {
        let table = Table::new();
        let table = table.view();
        for i in 0..MAX_TYPES {
            assert_eq!(table.register(i as u128, "T", "{}"), Ok(i as u16));
        }
        let full =
            |types, schema_bytes, needed_bytes| TableFull { types, schema_bytes, needed_bytes };
        assert_eq!(table.register(1000, "T", "{}"), Err(full(MAX_TYPES, MAX_TYPES * 8, 8)));
        assert_eq!(table.register(3, "T", "{}"), Ok(3));
        let table = Table::new();
        let text = "x".repeat(SCHEMA_WORDS * 8 - 8);
        assert_eq!(table.view().register(1, "A", &text), Ok(0));
        assert_eq!(table.view().register(2, "B", "123456789"), Err(full(1, SCHEMA_BYTES - 8, 16)));
        assert_eq!(table.view().register(3, "C", "12345678"), Ok(1));
    }

    #[test]
    fn hostile_numbers_give_nothing() {
        let table = Table::new();
        table.view().register(1, "A", "{}").unwrap();
        table.entries[0].lens.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(table.view().schema(0), None);
        assert_eq!(table.view().name(0).unwrap().len(), NAME_BYTES);
        table.entries[0].schema.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(table.view().schema(0), None);
        table.membership.types.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(table.view().len(), MAX_TYPES);
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        assert_eq!(cut(&"é".repeat(60)).len(), 96);
        assert_eq!(cut(&format!("a{}", "é".repeat(60))).len(), 95);
    }
}
