//! What packets are made of: the archived types that are known to be safe to read in place, each with
//! its description.
//!
//! A type that is not described here, directly or by `#[packet]`, cannot be part of a packet. Left out on
//! purpose: hash tables, whose control bytes are not checked, and shared pointers.

mod containers;
mod itself;
mod library;
mod name;
mod named;
mod niches;
mod primitives;
mod shape;
mod trees;

pub use self::{
    itself::{ArchivedItself, Itself},
    name::Name,
    named::Named,
    shape::{Field, Kind, Shape, Variant},
};

/// An archived type that can be part of a packet.
///
/// `#[packet]` implements it. It is not meant to be implemented by hand.
///
/// # Safety
///
/// [`SHAPE`](Self::SHAPE) tells the truth about the layout and about what writing does, and
/// [`audit`](Self::audit) returns true only if every safe use of the value is sound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a packet",
    label = "not described as part of a packet",
    note = "give its own type `#[packetring::packet]` instead of rkyv's derives",
    note = "hash tables: use `BTreeMap` or `BTreeSet`, or `#[rkyv(with = packetring::with::AsVec)]`",
    note = "`Rc` and `Arc`: use `Box`, or `#[rkyv(with = packetring::with::Unshare)]`"
)]
pub unsafe trait Describe {
    /// The type's name with its parameters.
    const NAME: Name;

    /// The type's description.
    const SHAPE: &'static Shape;

    /// Whether a value whose bytes were checked is also sound where that check does not look.
    /// `archive` is the whole archive that holds the value. Only types whose shape says
    /// [`audited`](Shape::audited) need it.
    #[inline]
    fn audit(&self, archive: &[u8]) -> bool {
        let _ = archive;
        true
    }
}

/// A condition on `T` that may turn out false: with a lifetime in it, the compiler treats it as one, and
/// not as a mistake.
#[doc(hidden)]
pub struct If<'a, T>(std::marker::PhantomData<&'a ()>, std::marker::PhantomData<T>);

// SAFETY: There is no such value.
unsafe impl<T: super::AnyBits> super::AnyBits for If<'_, T> {}
