//! The type table of a segment: fingerprint, name and schema of each packet type.
//!
//! Only the holder of the control lock writes. The bit of an entry in `Membership::types` says that
//! the entry has a type:
//!
//! ```text
//!  register   words, text ─► generation + 1 ─► registrations + 1 ─► bit set
//!  free       bit cleared
//! ```
//!
//! - **One bit decides.** An entry without its bit is vacant, whatever its words are, and so is a
//!   block of text that no entry with a bit reaches. A process that dies at any step leaves a
//!   vacant entry, or a complete one.
//! - **The count comes before the bit.** A reader keeps fingerprints by index, with the count that
//!   it loaded before it read them. A process that finds a type by its bit may die before it counts
//!   anything, and a packet of that type makes no reader look again.
//! - **Readers take no lock.** The text of a freed entry may be overwritten for another entry. So a
//!   reader looks at the bit again after it read an entry, and then at the generation. In the other
//!   order the entry could be registered again in between.
//!
//! Text is a chain of blocks of 64 bytes. Text of a registered entry never moves, and no gap
//! between texts is too small. A reader checks a local copy of every length, index and link.

use super::layout::{
    BLOCK_WORDS, BLOCKS, MAX_TYPES, Membership, SCHEMA_WORDS, TYPE_NAME_WORDS, TypeEntry,
};
use crate::failpoint::{Failpoint, failpoint};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Longest type name in bytes. A longer name is cut: names are for display only.
const NAME_BYTES: usize = TYPE_NAME_WORDS * 8;
/// Bytes of schema text, for all types.
const SCHEMA_BYTES: usize = SCHEMA_WORDS * 8;
/// Bytes of schema text in a block.
const BLOCK_BYTES: usize = BLOCK_WORDS * 8;

/// The type table of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeTable<'a> {
    pub(crate) membership: &'a Membership,
    pub(crate) entries: &'a [TypeEntry],
    /// The next block of each block of schema text.
    pub(crate) links: &'a [AtomicU32],
    pub(crate) text: &'a [AtomicU64],
}

/// The table has no space for another type or its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull {
    /// Number of registered types.
    pub(crate) types: usize,
    /// Bytes of schema text in use, in whole blocks.
    pub(crate) schema_bytes: usize,
    /// Bytes of schema text that the type needs, in whole blocks.
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

    /// Number of types that were ever registered. A reader loads it before the entries that it
    /// keeps, and again for each packet.
    #[inline]
    pub(crate) fn registrations(&self) -> u64 {
        // Pairs with the release in `register`: the entry of each counted type is complete.
        self.registrations.load(Ordering::Acquire)
    }
}

const _: () = assert!(MAX_TYPES == u64::BITS as usize, "a bit for each type");

impl TypeTable<'_> {
    /// Longest type name in bytes.
    pub(crate) const NAME_BYTES: usize = NAME_BYTES;
    /// Most bytes of schema text.
    pub(crate) const SCHEMA_BYTES: usize = SCHEMA_BYTES;

    /// The registered types, one bit for each index.
    pub(crate) fn registered(&self) -> u64 {
        // Pairs with the release in `register`: entry and count are seen.
        self.membership.types.load(Ordering::Acquire)
    }

    /// The indices of the registered types.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> + use<> {
        let registered = self.registered();
        (0..MAX_TYPES).filter(move |index| registered >> index & 1 == 1)
    }

    /// The index of the registered type with this fingerprint.
    pub(crate) fn find(&self, fingerprint: u128) -> Option<u16> {
        self.indices().find(|&i| self.fingerprint(i) == Some(fingerprint)).map(|i| i as u16)
    }

    /// The fingerprint at an index.
    pub(crate) fn fingerprint(&self, index: usize) -> Option<u128> {
        self.whole(index, |entry| Some(print_of(entry)))
    }

    /// The name at an index. Bytes that are not UTF-8 are replaced.
    pub(crate) fn name(&self, index: usize) -> Option<String> {
        self.whole(index, |entry| Some(name_of(entry)))
    }

    /// The schema at an index, as JSON.
    pub(crate) fn schema(&self, index: usize) -> Option<String> {
        self.whole(index, |entry| self.schema_of(entry))
    }

    /// Name, fingerprint and schema at an index, of one type.
    pub(crate) fn record(&self, index: usize) -> Option<(String, u128, String)> {
        Some(self.counted_record(index)?.1)
    }

    /// As [`record`](Self::record), with the number of types that the index has had.
    pub(crate) fn counted_record(&self, index: usize) -> Option<(u32, (String, u128, String))> {
        let all = |entry: &TypeEntry| {
            let record = (name_of(entry), print_of(entry), self.schema_of(entry)?);
            Some((entry.generation.load(Ordering::Relaxed), record))
        };
        self.whole(index, all)
    }

    /// The number of types that an index has had. A type is counted before it is registered.
    #[cfg(not(loom))]
    pub(crate) fn count(&self, index: usize) -> u32 {
        // Acquire: the types that the registrations counted are counted here, too.
        self.entries.get(index).map_or(0, |entry| entry.generation.load(Ordering::Acquire))
    }

    /// The fingerprints by index, and 0 where no type is. A packet's type is among them if the
    /// registrations were loaded before this call and did not change since.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = u128> {
        // Not by the bits: they are set after the count.
        self.entries.iter().map(print_of)
    }

    /// Reads an entry. `None` if it has no type, or gets another one meanwhile.
    fn whole<R>(&self, index: usize, read: impl FnOnce(&TypeEntry) -> Option<R>) -> Option<R> {
        let entry = self.entries.get(index)?;
        let is_registered = || self.registered() >> index & 1 == 1;
        if !is_registered() {
            return None;
        }
        // Pairs with the release in `register`: the words of this generation are seen.
        let generation = entry.generation.load(Ordering::Acquire);
        let found = read(entry);
        // Pairs with the fence in `register`: a reader of a word or a text that was written after
        // it sees the bit cleared, or set again behind a later generation.
        fence(Ordering::Acquire);
        let is_whole = is_registered() && entry.generation.load(Ordering::Relaxed) == generation;
        found.filter(|_| is_whole)
    }

    fn schema_of(&self, entry: &TypeEntry) -> Option<String> {
        let mut rest = (entry.lens.load(Ordering::Relaxed) >> 32) as usize;
        let mut text = Vec::new();
        for block in self.blocks_of(entry) {
            let words = self.text.get(block * BLOCK_WORDS..(block + 1) * BLOCK_WORDS)?;
            load_bytes(words, rest.min(BLOCK_BYTES), &mut text);
            rest -= rest.min(BLOCK_BYTES);
        }
        (rest == 0).then(|| String::from_utf8_lossy(&text).into_owned())
    }

    /// The blocks of an entry's schema. Ends early if a word is invalid.
    fn blocks_of(&self, entry: &TypeEntry) -> impl Iterator<Item = usize> {
        let bytes = (entry.lens.load(Ordering::Relaxed) >> 32) as usize;
        let count = bytes.div_ceil(BLOCK_BYTES).min(BLOCKS);
        let mut next = entry.schema.load(Ordering::Relaxed) as usize;
        (0..count).map_while(move |_| {
            let block = next;
            next = self.links.get(block)?.load(Ordering::Relaxed) as usize;
            Some(block)
        })
    }

    /// Marks the blocks that no registered entry has. Under the control lock.
    fn free_blocks(&self) -> Vec<usize> {
        let mut is_free = vec![true; BLOCKS];
        for entry in self.indices().filter_map(|index| self.entries.get(index)) {
            self.blocks_of(entry).for_each(|block| is_free[block] = false);
        }
        (0..BLOCKS).filter(|&block| is_free[block]).collect()
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
        let registered = self.registered();
        let index = (!registered).trailing_zeros() as usize;
        let free = self.free_blocks();
        let needed = schema.len().div_ceil(BLOCK_BYTES);
        let (Some(entry), Some(blocks)) = (self.entries.get(index), free.get(..needed)) else {
            return Err(TableFull {
                types: registered.count_ones() as usize,
                schema_bytes: (BLOCKS - free.len()) * BLOCK_BYTES,
                needed_bytes: needed * BLOCK_BYTES,
            });
        };
        // Pairs with the fence in `whole`: the bits of freed entries were cleared before.
        fence(Ordering::Release);
        failpoint(Failpoint::TypeWrite);
        let name = cut(name);
        entry.fingerprint[0].store(fingerprint as u64, Ordering::Relaxed);
        entry.fingerprint[1].store((fingerprint >> 64) as u64, Ordering::Relaxed);
        let lens = name.len() as u64 | (schema.len() as u64) << 32;
        entry.lens.store(lens, Ordering::Relaxed);
        store_text(&entry.name, name);
        self.store_schema(entry, blocks, schema);
        // Pairs with the acquire in `whole`.
        entry.generation.fetch_add(1, Ordering::Release);
        failpoint(Failpoint::TypeCount);
        // Pairs with the acquire in `registrations`. Only the control lock holder adds.
        self.membership.registrations.fetch_add(1, Ordering::Release);
        failpoint(Failpoint::JoinType);
        // Pairs with the acquire in `registered`.
        self.membership.types.store(registered | 1 << index, Ordering::Release);
        Ok(index as u16)
    }

    fn store_schema(&self, entry: &TypeEntry, blocks: &[usize], schema: &str) {
        entry.schema.store(blocks.first().map_or(0, |&block| block as u32), Ordering::Relaxed);
        let nexts = blocks.iter().skip(1).chain(blocks.last());
        let pieces = schema.as_bytes().chunks(BLOCK_BYTES);
        for ((&block, &next), piece) in blocks.iter().zip(nexts).zip(pieces) {
            self.links[block].store(next as u32, Ordering::Relaxed);
            store_bytes(&self.text[block * BLOCK_WORDS..(block + 1) * BLOCK_WORDS], piece);
        }
    }

    /// Frees the entries of all types but these, which are used. Under the control lock.
    pub(crate) fn keep(&self, used: u64) {
        failpoint(Failpoint::TypeFree);
        // Release: as every store of the bits.
        self.membership.types.store(self.registered() & used, Ordering::Release);
    }
}

fn print_of(entry: &TypeEntry) -> u128 {
    let [low, high] = &entry.fingerprint;
    let (low, high) = (low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
    u128::from(low) | u128::from(high) << 64
}

fn name_of(entry: &TypeEntry) -> String {
    let len = entry.lens.load(Ordering::Relaxed) as u32 as usize;
    load_text(&entry.name, len.min(NAME_BYTES))
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
    store_bytes(words, text.as_bytes());
}

fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks(8)) {
        let mut buffer = [0; 8];
        buffer[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(buffer), Ordering::Relaxed);
    }
}

/// Loads `len` bytes of text. `len` must not exceed the bytes of the words.
pub(super) fn load_text(words: &[AtomicU64], len: usize) -> String {
    let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
    load_bytes(words, len, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Appends `len` bytes of the words.
fn load_bytes(words: &[AtomicU64], len: usize, bytes: &mut Vec<u8>) {
    let end = bytes.len() + len;
    for word in &words[..len.div_ceil(8)] {
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes.truncate(end);
}

#[cfg(test)]
mod tests;
