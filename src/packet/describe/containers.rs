//! Descriptions of tuples, arrays, options, results, boxes, lists and texts.
//!
//! Each audit visits the contained values, but only if their type needs an audit.

use std::marker::PhantomData;

use rkyv::{
    boxed::ArchivedBox, collections::util::Entry, ffi::ArchivedCString, option::ArchivedOption,
    result::ArchivedResult, string::ArchivedString, traits::ArchivePointee, tuple::*,
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
