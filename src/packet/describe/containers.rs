//! Tuples, arrays, options, results, boxes, lists and texts.
//!
//! Each audit walks what the value holds, and only if something in there needs it.

use std::marker::PhantomData;

use rkyv::{
    boxed::ArchivedBox, collections::util::Entry, ffi::ArchivedCString, option::ArchivedOption,
    result::ArchivedResult, string::ArchivedString, traits::ArchivePointee, tuple::*,
    vec::ArchivedVec,
};

use super::{Describe, Field, Name, Named, Shape, Variant};

/// Audits many values, if their type asks for it.
fn audit_all<'a, T: Describe + 'a>(
    values: impl IntoIterator<Item = &'a T>,
    archive: &[u8],
) -> bool {
    !T::SHAPE.audited || values.into_iter().all(|value| value.audit(archive))
}

// SAFETY: A unit has no bytes.
unsafe impl Describe for () {
    const NAME: Name = Name::tuple(&[]);
    const SHAPE: &'static Shape = const { &Shape::tuple::<()>(Name::tuple(&[]), &[]) };
}

macro_rules! tuple {
    ($type:ident: $($part:ident $index:tt)*) => {
        // SAFETY: An archived tuple is `repr(C)`, its public fields in order, each written by itself;
        // the audit asks all of them.
        unsafe impl<$($part: Describe),*> Describe for $type<$($part),*> {
            const NAME: Name = Name::tuple(&[$($part::NAME),*]);
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

// SAFETY: An archived entry is `repr(C)`, its public fields in order, each written by itself; the audit
// asks both.
unsafe impl<K: Describe, V: Describe> Describe for Entry<K, V> {
    const NAME: Name = Name::generic("Entry", &[K::NAME, V::NAME]);
    const SHAPE: &'static Shape = const {
        let fields = const {
            &Field::lay_out(
                0,
                [Field::new::<K>("key", K::SHAPE), Field::new::<V>("value", V::SHAPE)],
            )
        };
        &Shape::structure::<Self>(Named::new("Entry").of(K::SHAPE).of(V::SHAPE), fields)
    };

    fn audit(&self, archive: &[u8]) -> bool {
        self.key.audit(archive) && self.value.audit(archive)
    }
}

// SAFETY: An array is its elements, each written by itself and asked by the audit.
unsafe impl<T: Describe, const N: usize> Describe for [T; N] {
    const NAME: Name = Name::array(T::NAME, N);
    const SHAPE: &'static Shape = const { &Shape::array::<Self>(T::SHAPE, N) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self, archive)
    }
}

// SAFETY: It has no bytes.
unsafe impl<T: ?Sized> Describe for PhantomData<T> {
    const NAME: Name = Name::plain("PhantomData");
    const SHAPE: &'static Shape =
        const { &Shape::flat_container::<Self>("phantom", Self::NAME, &[]) };
}

// SAFETY: An archived option is `repr(u8)`: a tag, then the value.
unsafe impl<T: Describe> Describe for ArchivedOption<T> {
    const NAME: Name = Name::generic("Option", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::flat_container::<Self>("option", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self.as_ref(), archive)
    }
}

// SAFETY: An archived result is `repr(u8)`: a tag, then one of the values, which the audit asks.
unsafe impl<T: Describe, E: Describe> Describe for ArchivedResult<T, E> {
    const NAME: Name = Name::generic("Result", &[T::NAME, E::NAME]);
    const SHAPE: &'static Shape = const {
        let named = Named::new("Result").of(T::SHAPE).of(E::SHAPE);
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

// SAFETY: A box is a relative pointer, and for texts and slices a count; the audit asks its content.
unsafe impl<T: Describe + ArchivePointee + ?Sized> Describe for ArchivedBox<T> {
    const NAME: Name = Name::generic("Box", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::container::<Self>("box", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        !T::SHAPE.audited || self.get().audit(archive)
    }
}

// SAFETY: A slice is its elements, which the audit asks.
unsafe impl<T: Describe> Describe for [T] {
    const NAME: Name = Name::slice(T::NAME);
    const SHAPE: &'static Shape =
        const { &Shape::list::<T>("slice", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self, archive)
    }
}

// SAFETY: A text is bytes that were checked to be UTF-8.
unsafe impl Describe for str {
    const NAME: Name = Name::plain("str");
    const SHAPE: &'static Shape = const { &Shape::container::<u8>("str", Self::NAME, &[]) };
}

// SAFETY: A list is a relative pointer and a count; the audit asks its elements.
unsafe impl<T: Describe> Describe for ArchivedVec<T> {
    const NAME: Name = Name::generic("Vec", &[T::NAME]);
    const SHAPE: &'static Shape =
        const { &Shape::list::<Self>("vec", Self::NAME, const { &[T::SHAPE] }) };

    fn audit(&self, archive: &[u8]) -> bool {
        audit_all(self.as_slice(), archive)
    }
}

// SAFETY: A string is 8 bytes, either text or a length and a relative pointer to checked text.
unsafe impl Describe for ArchivedString {
    const NAME: Name = Name::plain("String");
    const SHAPE: &'static Shape = const { &Shape::container::<Self>("string", Self::NAME, &[]) };
}

// SAFETY: A C string is a relative pointer and a length, of bytes checked to end in their only zero.
unsafe impl Describe for ArchivedCString {
    const NAME: Name = Name::plain("CString");
    const SHAPE: &'static Shape = const { &Shape::container::<Self>("c-string", Self::NAME, &[]) };
}
