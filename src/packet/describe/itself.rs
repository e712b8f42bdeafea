//! A placeholder for a recursive type inside its own description, so that the description is
//! finite.
//!
//! `#[packet]` describes the field `children: Vec<Node>` of `Node` as `Vec<Itself<Node>>`, which
//! has the same layout. No value of the placeholder types is ever created.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, mem::MaybeUninit};

use rkyv::{Archive, Place, Portable};

use super::{Describe, Shape, TypeName};
use crate::packet::native::Native;

/// The placeholder for `T` inside the description of `T`.
pub struct Itself<T>(PhantomData<T>);

/// The placeholder for the archived type `A` inside the description of `A`. Has the layout of `A`.
#[repr(transparent)]
pub struct ArchivedItself<A>(MaybeUninit<A>);

// SAFETY: `repr(transparent)` and `MaybeUninit` give it the layout of `A`, which is portable.
unsafe impl<A: Portable> Portable for ArchivedItself<A> {}

impl<T: Archive> Archive for Itself<T> {
    type Archived = ArchivedItself<T::Archived>;
    type Resolver = ();

    fn resolve(&self, (): (), _: Place<Self::Archived>) {}
}

// SAFETY: No value of this type exists.
unsafe impl<T> Native for Itself<T> {}

// SAFETY: The shape has the size and the alignment of `A`, and is neither flat nor free of padding.
// No value of this type exists, so nothing is resolved or audited.
unsafe impl<A: Describe> Describe for ArchivedItself<A> {
    const NAME: TypeName = A::NAME;
    const SHAPE: &'static Shape = const { &Shape::itself::<A>(A::NAME) };
}

/// Implements the traits that collections require of their elements. Nothing calls these methods.
macro_rules! unused_comparisons {
    ($type:ident) => {
        impl<T> PartialEq for $type<T> {
            fn eq(&self, _: &Self) -> bool {
                true
            }
        }
        impl<T> Eq for $type<T> {}
        impl<T> PartialOrd for $type<T> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl<T> Ord for $type<T> {
            fn cmp(&self, _: &Self) -> Ordering {
                Ordering::Equal
            }
        }
        impl<T> hash::Hash for $type<T> {
            fn hash<H: hash::Hasher>(&self, _: &mut H) {}
        }
        impl<T> fmt::Debug for $type<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Itself")
            }
        }
    };
}

unused_comparisons!(Itself);
unused_comparisons!(ArchivedItself);

impl<T> Clone for Itself<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Itself<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
