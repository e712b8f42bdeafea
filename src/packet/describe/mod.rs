//! The archived types that a packet may contain. All are safe to read in place.
//!
//! [`Describe`] marks them and gives each a description ([`Shape`]). A type without it, directly or
//! through `#[packet]`, cannot be part of a packet. Two groups are excluded on purpose:
//!
//! - hash tables, because rkyv does not check their control bytes;
//! - shared pointers (`Rc`, `Arc`), because checking them needs a registry of the pointers that
//!   were seen, and the checks here have none.

mod containers;
mod library;
mod print;
mod shape;
mod type_name;

pub(crate) use self::containers::MAX_DEPTH;
#[doc(hidden)]
pub use self::print::{Print, Printed};
pub use self::{
    library::{ArchivedItself, Itself, niche_word},
    shape::{Field, Shape, ShapeKind, Variant},
    type_name::{Named, TypeName},
};

/// An archived type that can be part of a packet.
///
/// `#[packet]` implements it. It is not meant to be implemented by hand.
///
/// # Safety
///
/// 1. [`SHAPE`](Self::SHAPE) describes the layout of `Self`: its size, its alignment, and its parts
///    at their offsets.
/// 2. `SHAPE.flat` is true only if no value contains a pointer. `SHAPE.padded` is false only if
///    resolving a value writes every byte.
/// 3. If rkyv accepted the bytes of a value and [`audit`](Self::audit) returned true, every safe
///    use of the value is sound. `SHAPE.audited` is false only if `audit` always returns true.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a packet",
    label = "not an archived packet type",
    note = "your own types: put `#[packetring::packet]` on them instead of rkyv's derives",
    note = "hash tables: use `BTreeMap` or `BTreeSet`, or `#[rkyv(with = packetring::with::AsVec)]`",
    note = "`Rc` and `Arc`: use `Box`, or `#[rkyv(with = packetring::with::Unshare)]`"
)]
pub unsafe trait Describe {
    /// The type's name with its parameters.
    const NAME: TypeName;

    /// The type's description.
    const SHAPE: &'static Shape;

    /// Makes the checks that rkyv omits, on a value whose bytes rkyv accepted. Returns true if it
    /// is sound.
    ///
    /// `archive` is the whole archive that contains the value. Only types with
    /// [`audited`](Shape::audited) in their shape need it.
    #[inline]
    fn audit(&self, archive: &[u8]) -> bool {
        let _ = archive;
        true
    }
}

/// Makes a bound on `T` conditional. The lifetime `'a` keeps the compiler from evaluating the bound
/// at once, where a false bound would be an error.
#[doc(hidden)]
pub struct If<'a, T>(std::marker::PhantomData<&'a ()>, std::marker::PhantomData<T>);

// SAFETY: The type has no bytes.
unsafe impl<T: super::AnyBits> super::AnyBits for If<'_, T> {}

/// Whether an archived type has padding, for [`NoPadding`]. The lifetime serves the same purpose as
/// in [`If`].
#[doc(hidden)]
pub struct Gaps<'a, const HAS: bool>(std::marker::PhantomData<&'a ()>);

/// The bound of `AnyBits` that an archived type `T` has no padding. It only gives the error
/// message: a reservation checks the shape.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{T}` has padding and cannot be filled in place",
    label = "has bytes between its fields or at its end that belong to no field",
    note = "assigning a whole value would leave these bytes uninitialized, and they would be sent",
    note = "order the fields by size, largest first, and add fields of `u8` for the rest; or `send` a value"
)]
pub trait NoPadding<T> {}

impl<T> NoPadding<T> for Gaps<'_, false> {}
