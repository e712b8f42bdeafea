//! The stand-in for a type inside its own description, so that describing it ends.
//!
//! `#[packet]` describes `children: Vec<Node>` in `Node` as `Vec<Itself<Node>>`, which is laid out the
//! same. No value of these types is ever made.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, mem::MaybeUninit};

use rkyv::{Archive, Place, Portable};

use super::{Describe, Name, Shape};

/// Stands for `T` inside the description of `T`.
pub struct Itself<T>(PhantomData<T>);

/// Stands for `A` inside the description of `A`, in its layout.
#[repr(transparent)]
pub struct ArchivedItself<A>(MaybeUninit<A>);

// SAFETY: It is laid out as `A`, which is portable.
unsafe impl<A: Portable> Portable for ArchivedItself<A> {}

impl<T: Archive> Archive for Itself<T> {
    type Archived = ArchivedItself<T::Archived>;
    type Resolver = ();

    fn resolve(&self, (): (), _: Place<Self::Archived>) {}
}

// SAFETY: No value of this type exists; it is a description only.
unsafe impl<A: Describe> Describe for ArchivedItself<A> {
    const NAME: Name = A::NAME;
    const SHAPE: &'static Shape = const { &Shape::itself::<A>(A::NAME) };
}

/// What collections ask of their elements; nothing calls these.
macro_rules! nothing_to_compare {
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

nothing_to_compare!(Itself);
nothing_to_compare!(ArchivedItself);

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
