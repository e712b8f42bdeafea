//! Tests of the type table alone.

use super::*;

#[cfg(loom)]
mod orderings;
#[cfg(not(loom))]
mod table;

/// The parts of a type table.
struct Table {
    membership: Membership,
    entries: Vec<TypeEntry>,
    links: Vec<AtomicU32>,
    text: Vec<AtomicU64>,
}

impl Table {
    fn new(types: usize, blocks: usize) -> Self {
        Self {
            membership: Membership::default(),
            entries: (0..types).map(|_| TypeEntry::default()).collect(),
            links: (0..blocks).map(|_| AtomicU32::new(0)).collect(),
            text: (0..blocks * BLOCK_WORDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn view(&self) -> TypeTable<'_> {
        let Self { membership, entries, links, text } = self;
        TypeTable { membership, entries, links, text }
    }
}
