//! Ordered maps and sets: rkyv's B-trees, and the audit that makes iterating them sound.
//!
//! rkyv 0.8.18 checks every node and that the entries add up to the length, but its iterators also rely on
//! two things it does not check: that each inner node has a first child and that no leaf is empty. An
//! archive that breaks them passes the check, and iterating it reads unchecked bytes. The audit looks.
//! It does not check that keys are in order: lookups in a tree out of order miss, and are sound.

use std::{mem::MaybeUninit, ops::ControlFlow};

use rkyv::{
    Archived,
    collections::{btree_map::ArchivedBTreeMap, btree_set::ArchivedBTreeSet},
    rel_ptr::RawRelPtrI32,
};

use super::{Describe, Name, Shape};
use crate::packet::check::MAX_DEPTH;

/// Entries in a full node; every map and set has this number.
const ENTRIES: usize = 5;

/// How every node begins:
///
/// ```text
/// kind u8 (0 leaf, 1 inner) | keys [K; 5] | values [V; 5]
/// ```
#[repr(C)]
struct Node<K, V> {
    kind: u8,
    keys: [MaybeUninit<K>; ENTRIES],
    values: [MaybeUninit<V>; ENTRIES],
}

/// A node without children; `len` of its entries are used.
#[repr(C)]
struct Leaf<K, V> {
    node: Node<K, V>,
    len: Archived<u32>,
}

/// A node whose entries are all used, with a child before each and one behind; offset 1 means none.
#[repr(C)]
struct Inner<K, V> {
    node: Node<K, V>,
    lesser: [RawRelPtrI32; ENTRIES],
    greater: RawRelPtrI32,
}

/// What a relative pointer holds that points nowhere.
const NOWHERE: i32 = 1;

// SAFETY: A map is a relative pointer and a length. After the audit its iterators stay within checked
// nodes, and each key and value was asked.
unsafe impl<K: Describe, V: Describe> Describe for ArchivedBTreeMap<K, V, ENTRIES> {
    const NAME: Name = Name::generic("BTreeMap", &[K::NAME, V::NAME]);
    const SHAPE: &'static Shape = const {
        &Shape::with_audit(Shape::container::<Self>(
            "btree-map",
            Self::NAME,
            const { &[K::SHAPE, V::SHAPE] },
        ))
    };

    fn audit(&self, archive: &[u8]) -> bool {
        let sound = self.is_empty() || tree_is_sound::<K, V>(address(self), archive);
        sound && self.visit(|key, value| refuted(key, value, archive)).is_none()
    }
}

// SAFETY: A set is a map to units.
unsafe impl<K: Describe> Describe for ArchivedBTreeSet<K, ENTRIES> {
    const NAME: Name = Name::generic("BTreeSet", &[K::NAME]);
    const SHAPE: &'static Shape = const {
        &Shape::with_audit(Shape::container::<Self>("btree-set", Self::NAME, const { &[K::SHAPE] }))
    };

    fn audit(&self, archive: &[u8]) -> bool {
        let sound = self.is_empty() || tree_is_sound::<K, ()>(address(self), archive);
        sound && self.visit(|key| refuted(key, &(), archive)).is_none()
    }
}

fn refuted<K: Describe, V: Describe>(key: &K, value: &V, archive: &[u8]) -> ControlFlow<()> {
    if key.audit(archive) && value.audit(archive) {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

fn address<T>(value: &T) -> usize {
    (&raw const *value).addr()
}

/// Whether every node of a map that is not empty, at this address, is fit for iteration.
fn tree_is_sound<K, V>(map: usize, archive: &[u8]) -> bool {
    let root = map.wrapping_sub(archive.as_ptr().addr());
    match target(archive, root) {
        Some(Child::At(node)) => node_is_sound::<K, V>(archive, node, MAX_DEPTH.get()),
        Some(Child::None) | None => false,
    }
}

fn node_is_sound<K, V>(archive: &[u8], node: usize, depth: usize) -> bool {
    match archive.get(node) {
        Some(0) => read(archive, node + std::mem::offset_of!(Leaf<K, V>, len)) != Some([0; 4]),
        Some(1) if depth > 0 => inner_is_sound::<K, V>(archive, node, depth - 1),
        _ => false,
    }
}

fn inner_is_sound<K, V>(archive: &[u8], node: usize, depth: usize) -> bool {
    // The child behind the last entry directly follows the children before each entry.
    let children = node + std::mem::offset_of!(Inner<K, V>, lesser);
    (0..=ENTRIES).all(|i| match target(archive, children + i * size_of::<RawRelPtrI32>()) {
        Some(Child::At(child)) => node_is_sound::<K, V>(archive, child, depth),
        Some(Child::None) => i > 0,
        None => false,
    })
}

/// Where a relative pointer leads, as an index into the archive.
enum Child {
    None,
    At(usize),
}

/// Follows the relative pointer at `at`; nothing if it leaves the archive.
fn target(archive: &[u8], at: usize) -> Option<Child> {
    let offset = i32::from_le_bytes(read(archive, at)?);
    if offset == NOWHERE {
        return Some(Child::None);
    }
    at.checked_add_signed(isize::try_from(offset).ok()?).map(Child::At)
}

fn read(archive: &[u8], at: usize) -> Option<[u8; 4]> {
    archive.get(at..)?.first_chunk().copied()
}
