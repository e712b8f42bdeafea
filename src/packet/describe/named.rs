//! The names of described types, and the placeholder of a recursive type.
//!
//! [`Named`] is the name of a struct or enum with its type and const parameters, and the hash of
//! both. Parameters count even if no field uses them: `Tagged<Metres>` is another type than
//! `Tagged<Feet>`.
//!
//! [`Itself`] stands for a recursive type inside its own description, so that the description is
//! finite. `#[packet]` describes the field `children: Vec<Node>` of `Node` as `Vec<Itself<Node>>`,
//! which has the same layout. No value of the placeholder types is ever created.

use super::{Describe, Shape, TypeName};
use crate::packet::fingerprint::Fnv;
use crate::packet::native::Native;
use rkyv::{Archive, Place, Portable};
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::{fmt, hash};

/// The name of a struct or enum with its parameters, and the hash of both. Built step by step.
#[derive(Clone, Copy)]
pub struct Named {
    name: TypeName,
    hash: Fnv,
    parameters: usize,
}

impl Named {
    /// Starts with a name and no parameters.
    pub const fn new(name: &str) -> Self {
        Self { name: TypeName::plain(name), hash: Fnv::new().text(name), parameters: 0 }
    }

    /// Starts with the name of a type of the standard library. Its bytes have rules of their own,
    /// so another type of this name and layout is another type.
    pub(super) const fn library(name: &str) -> Self {
        let mut named = Self::new(name);
        named.hash = named.hash.text("library");
        named
    }

    /// Marks the type as having a check of its own: `#[rkyv(bytecheck(verify))]`.
    pub const fn checked(mut self) -> Self {
        self.hash = self.hash.text("checked");
        self
    }

    /// Adds a type parameter by its name and hash.
    pub(super) const fn parameter(mut self, name: &str, hash: u128) -> Self {
        self = self.separated();
        self.name = self.name.push(name);
        self.hash = self.hash.text("type").word(hash);
        self
    }

    /// Adds an unsigned const parameter.
    pub const fn with(mut self, value: u128) -> Self {
        self = self.separated();
        self.name = self.name.number(value);
        self.hash = self.hash.text("value").word(value);
        self
    }

    /// Adds a signed const parameter.
    pub const fn with_signed(mut self, value: i128) -> Self {
        self = self.separated();
        self.name = self.name.signed(value);
        self.hash = self.hash.text("value").word(value.cast_unsigned());
        self
    }

    /// Returns the complete name.
    pub const fn name(self) -> TypeName {
        if self.parameters == 0 { self.name } else { self.name.push(">") }
    }

    /// Returns the hash of the kind of type, the name and the parameters.
    pub(super) const fn hash(self, kind: &str) -> Fnv {
        Fnv::new().text(kind).word(self.hash.number(self.parameters).finish())
    }

    /// Appends the separator before a parameter and counts the parameter.
    const fn separated(mut self) -> Self {
        self.name = self.name.push(if self.parameters == 0 { "<" } else { ", " });
        self.parameters += 1;
        self
    }
}

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
