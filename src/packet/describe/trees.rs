//! Descriptions of ordered maps and sets (rkyv's B-trees), and the audit that makes iteration
//! sound.
//!
//! rkyv 0.8.18 checks every node, and that the number of entries equals the length. Its iterators
//! rely on two more properties that it does not check:
//!
//! - each inner node has a first child;
//! - no leaf is empty.
//!
//! An archive without them passes rkyv's check, and iterating it reads unchecked bytes. The audit
//! checks both properties. It does not check the order of the keys: in an unordered tree a lookup
//! may miss entries, which is sound.

use std::num::NonZeroUsize;

use std::{mem::MaybeUninit, ops::ControlFlow};

use rkyv::{
    Archived,
    collections::{btree_map::ArchivedBTreeMap, btree_set::ArchivedBTreeSet},
    rel_ptr::RawRelPtrI32,
};

use super::{Describe, Shape, TypeName};

/// The maximum nesting depth of pointers; bounds the stack that a check needs.
pub(crate) const MAX_DEPTH: NonZeroUsize = match NonZeroUsize::new(64) {
    Some(depth) => depth,
    None => NonZeroUsize::MIN,
};

/// The number of entries in a full node, for every map and set.
const ENTRIES: usize = 5;

/// The start of every node:
///
/// ```text
/// kind u8 (0 leaf, 1 inner) | keys [K; 5] | values [V; 5]
/// ```
#[repr(C)]
struct NodeHeader<K, V> {
    kind: u8,
    keys: [MaybeUninit<K>; ENTRIES],
    values: [MaybeUninit<V>; ENTRIES],
}

/// A node without children. The first `len` entries are in use.
#[repr(C)]
struct LeafNode<K, V> {
    node: NodeHeader<K, V>,
    len: Archived<u32>,
}

/// A node in which all entries are in use, with a child before each entry and one after the last.
#[repr(C)]
struct InnerNode<K, V> {
    node: NodeHeader<K, V>,
    lesser: [RawRelPtrI32; ENTRIES],
    greater: RawRelPtrI32,
}

/// The value of a relative pointer that is null.
const NULL: i32 = 1;

// SAFETY: A map is a relative pointer and a length. After the audit its iterators stay within nodes
// that rkyv checked. The audit visits each key and each value.
unsafe impl<K: Describe, V: Describe> Describe for ArchivedBTreeMap<K, V, ENTRIES> {
    const NAME: TypeName = TypeName::generic("BTreeMap", &[K::NAME, V::NAME]);
    const SHAPE: &'static Shape = const {
        &Shape::with_audit(Shape::container::<Self>(
            "btree-map",
            Self::NAME,
            const { &[K::SHAPE, V::SHAPE] },
        ))
    };

    fn audit(&self, archive: &[u8]) -> bool {
        let sound = self.is_empty() || tree_is_sound::<K, V>(address(self), archive);
        sound && self.visit(|key, value| audit_entry(key, value, archive)).is_none()
    }
}

// SAFETY: As for a map; a set is a map with values of type `()`.
unsafe impl<K: Describe> Describe for ArchivedBTreeSet<K, ENTRIES> {
    const NAME: TypeName = TypeName::generic("BTreeSet", &[K::NAME]);
    const SHAPE: &'static Shape = const {
        &Shape::with_audit(Shape::container::<Self>("btree-set", Self::NAME, const { &[K::SHAPE] }))
    };

    fn audit(&self, archive: &[u8]) -> bool {
        let sound = self.is_empty() || tree_is_sound::<K, ()>(address(self), archive);
        sound && self.visit(|key| audit_entry(key, &(), archive)).is_none()
    }
}

/// Audits an entry. Breaks if it is unsound.
fn audit_entry<K: Describe, V: Describe>(key: &K, value: &V, archive: &[u8]) -> ControlFlow<()> {
    if key.audit(archive) && value.audit(archive) {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

fn address<T>(value: &T) -> usize {
    (&raw const *value).addr()
}

/// Returns true if every node of the non-empty map at this address can be iterated.
fn tree_is_sound<K, V>(map: usize, archive: &[u8]) -> bool {
    let root = map.wrapping_sub(archive.as_ptr().addr());
    match target(archive, root) {
        Some(Target::At(node)) => node_is_sound::<K, V>(archive, node, MAX_DEPTH.get()),
        Some(Target::Null) | None => false,
    }
}

fn node_is_sound<K, V>(archive: &[u8], node: usize, depth: usize) -> bool {
    match archive.get(node) {
        Some(0) => read(archive, node + std::mem::offset_of!(LeafNode<K, V>, len)) != Some([0; 4]),
        Some(1) if depth > 0 => inner_is_sound::<K, V>(archive, node, depth - 1),
        _ => false,
    }
}

fn inner_is_sound<K, V>(archive: &[u8], node: usize, depth: usize) -> bool {
    // In memory, `greater` directly follows the `lesser` pointers.
    let children = node + std::mem::offset_of!(InnerNode<K, V>, lesser);
    (0..=ENTRIES).all(|i| match target(archive, children + i * size_of::<RawRelPtrI32>()) {
        Some(Target::At(child)) => node_is_sound::<K, V>(archive, child, depth),
        Some(Target::Null) => i > 0,
        None => false,
    })
}

/// The target of a relative pointer, as an index into the archive.
enum Target {
    Null,
    At(usize),
}

/// Follows the relative pointer at `at`.
///
/// `None` if the pointer lies outside the archive, or if its target lies before the start. A target
/// after the end is returned; the caller checks it.
fn target(archive: &[u8], at: usize) -> Option<Target> {
    let offset = i32::from_le_bytes(read(archive, at)?);
    if offset == NULL {
        return Some(Target::Null);
    }
    at.checked_add_signed(isize::try_from(offset).ok()?).map(Target::At)
}

fn read(archive: &[u8], at: usize) -> Option<[u8; 4]> {
    archive.get(at..)?.first_chunk().copied()
}
