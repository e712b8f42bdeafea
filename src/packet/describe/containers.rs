//! Descriptions of tuples, arrays, options, results, boxes, lists and texts, and of ordered maps
//! and sets.
//!
//! Each audit visits the contained values, but only if their type needs an audit. Ordered maps and
//! sets (rkyv's B-trees) need one. rkyv 0.8.18 checks every node, and that the number of entries
//! equals the length. Its iterators rely on two more properties that it does not check:
//!
//! - each inner node has a first child;
//! - no leaf is empty.
//!
//! An archive without them passes rkyv's check, and iterating it reads unchecked bytes. The audit
//! checks both properties. It does not check the order of the keys: in an unordered tree a lookup
//! may miss entries, which is sound.

use std::{marker::PhantomData, mem::MaybeUninit, num::NonZeroUsize, ops::ControlFlow};

use rkyv::{
    Archived,
    boxed::ArchivedBox,
    collections::{btree_map::ArchivedBTreeMap, btree_set::ArchivedBTreeSet, util::Entry},
    ffi::ArchivedCString,
    option::ArchivedOption,
    rel_ptr::RawRelPtrI32,
    result::ArchivedResult,
    string::ArchivedString,
    traits::ArchivePointee,
    tuple::*,
    vec::ArchivedVec,
};

use super::{Describe, Field, Named, Shape, TypeName, Variant};

/// Audits all values, if their type needs it.
fn audit_all<'a, T: Describe + 'a>(
    values: impl IntoIterator<Item = &'a T>,
    archive: &[u8],
) -> bool {
    !T::SHAPE.audited || values.into_iter().all(|value| value.audit(archive))
}

// SAFETY: A unit has no bytes.
unsafe impl Describe for () {
    const NAME: TypeName = TypeName::tuple(&[]);
    const SHAPE: &'static Shape = const { &Shape::tuple::<()>(TypeName::tuple(&[]), &[]) };
}

macro_rules! tuple {
    ($type:ident: $($part:ident $index:tt)*) => {
        // SAFETY: An archived tuple is `repr(C)` with its public fields in order. Resolving writes
        // each field. The audit visits all of them.
        unsafe impl<$($part: Describe),*> Describe for $type<$($part),*> {
            const NAME: TypeName = TypeName::tuple(&[$($part::NAME),*]);
            const SHAPE: &'static Shape = const {
                &Shape::tuple::<Self>(Self::NAME, const { &Field::lay_out(0, [
                    $(Field::new::<$part>(stringify!($index), $part::SHAPE)),*
                ]) })
            };

            fn audit(&self, archive: &[u8]) -> bool {
                $(self.$index.audit(archive))&&*
            }
        }
    };
}

tuple!(ArchivedTuple1: A 0);
tuple!(ArchivedTuple2: A 0 B 1);
tuple!(ArchivedTuple3: A 0 B 1 C 2);
tuple!(ArchivedTuple4: A 0 B 1 C 2 D 3);
tuple!(ArchivedTuple5: A 0 B 1 C 2 D 3 E 4);
tuple!(ArchivedTuple6: A 0 B 1 C 2 D 3 E 4 F 5);
tuple!(ArchivedTuple7: A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple!(ArchivedTuple8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
tuple!(ArchivedTuple9: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
tuple!(ArchivedTuple10: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
tuple!(ArchivedTuple11: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
tuple!(ArchivedTuple12: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);
tuple!(ArchivedTuple13: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12);

// SAFETY: An archived entry is `repr(C)` with its public fields in order. Resolving writes each
// field. The audit visits both.
unsafe impl<K: Describe, V: Describe> Describe for Entry<K, V> {
    const NAME: TypeName = TypeName::generic("Entry", &[K::NAME, V::NAME]);
    const SHAPE: &'static Shape = const {
        let fields = const {
            &Field::lay_out(
                0,
                [Field::new::<K>("key", K::SHAPE), Field::new::<V>("value", V::SHAPE)],
            )
        };
        &Shape::structure::<Self>(Named::library("Entry").of(K::SHAPE).of(V::SHAPE), fields)
    };

    fn audit(&self, archive: &[u8]) -> bool {
        self.key.audit(archive) && self.value.audit(archive)
    }
}

// SAFETY: An array consists of its elements, without gaps. Resolving writes each of them, and the
// audit visits each of them.
unsafe impl<T: Describe, const N: usize> Describe for [T; N] {
    const NAME: TypeName = TypeName::array(T::NAME, N);
    const SHAPE: &'static Shape = const { &Shape::array::<Self>(T::SHAPE, N) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self, archive)
    }
}

// SAFETY: `PhantomData` has no bytes.
unsafe impl<T: ?Sized> Describe for PhantomData<T> {
    const NAME: TypeName = TypeName::plain("PhantomData");
    const SHAPE: &'static Shape =
        const { &Shape::flat_container::<Self>("phantom", Self::NAME, &[]) };
}

// SAFETY: An archived option is `repr(u8)`: a tag, then the value. `container` shapes count as
// padded. The audit visits the value.
unsafe impl<T: Describe> Describe for ArchivedOption<T> {
    const NAME: TypeName = TypeName::generic("Option", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::flat_container::<Self>("option", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self.as_ref(), archive)
    }
}

// SAFETY: An archived result is `repr(u8)`: a tag, then one of the two values. The audit visits it.
unsafe impl<T: Describe, E: Describe> Describe for ArchivedResult<T, E> {
    const NAME: TypeName = TypeName::generic("Result", &[T::NAME, E::NAME]);
    const SHAPE: &'static Shape = const {
        let named = Named::library("Result").of(T::SHAPE).of(E::SHAPE);
        &Shape::enumeration::<Self>(
            named,
            const {
                &[
                    Variant {
                        name: "Ok",
                        tag: 0,
                        fields: const { &Field::lay_out(1, [Field::new::<T>("0", T::SHAPE)]) },
                    },
                    Variant {
                        name: "Err",
                        tag: 1,
                        fields: const { &Field::lay_out(1, [Field::new::<E>("0", E::SHAPE)]) },
                    },
                ]
            },
        )
    };

    fn audit(&self, archive: &[u8]) -> bool {
        match self {
            Self::Ok(value) => value.audit(archive),
            Self::Err(error) => error.audit(archive),
        }
    }
}

// SAFETY: A box is a relative pointer, followed by a count for texts and slices. rkyv checks the
// target. The audit visits it.
unsafe impl<T: Describe + ArchivePointee + ?Sized> Describe for ArchivedBox<T> {
    const NAME: TypeName = TypeName::generic("Box", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::container::<Self>("box", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.get().audit(archive)
    }
}

// SAFETY: A slice consists of its elements, without gaps. The audit visits each of them.
unsafe impl<T: Describe> Describe for [T] {
    const NAME: TypeName = TypeName::slice(T::NAME);
    const SHAPE: &'static Shape =
        const { &Shape::list::<T>("slice", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self, archive)
    }
}

// SAFETY: rkyv checks that the bytes of a text are UTF-8. A text needs no audit.
unsafe impl Describe for str {
    const NAME: TypeName = TypeName::plain("str");
    const SHAPE: &'static Shape = const { &Shape::container::<u8>("str", Self::NAME, &[]) };
}

// SAFETY: A list is a relative pointer and a count. rkyv checks the elements. The audit visits each
// of them.
unsafe impl<T: Describe> Describe for ArchivedVec<T> {
    const NAME: TypeName = TypeName::generic("Vec", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::list::<Self>("vec", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self.as_slice(), archive)
    }
}

// SAFETY: A string is 8 bytes: inline text, or a length and a relative pointer to text. rkyv checks
// that the text is UTF-8. A string needs no audit.
unsafe impl Describe for ArchivedString {
    const NAME: TypeName = TypeName::plain("String");
    const SHAPE: &'static Shape = const { &Shape::container::<Self>("string", Self::NAME, &[]) };
}

// SAFETY: A C string is a relative pointer and a length. rkyv checks that the only zero byte is the
// last one. A C string needs no audit.
unsafe impl Describe for ArchivedCString {
    const NAME: TypeName = TypeName::plain("CString");
    const SHAPE: &'static Shape = const { &Shape::container::<Self>("c-string", Self::NAME, &[]) };
}

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
