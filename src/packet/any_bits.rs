//! Types for which every bit pattern is a valid value.
//!
//! A publisher may hand out a slot for such a type before the slot is filled: leftover bytes are a
//! value. Types without pointers do not all qualify: `bool`, `char` and enums have invalid bit
//! patterns.

use std::marker::PhantomData;

use rkyv::{primitive::*, tuple::*};

/// An archived type for which every bit pattern is a valid value.
///
/// Numbers, arrays and tuples of them, and [`#[packet]`](macro@crate::packet) structs of these
/// implement it. `bool`, `char`, enums, `NonZero` numbers and all types with pointers do not. Nor
/// do a struct with a check of its own (`#[rkyv(bytecheck(verify))]`), and a struct of numbers with
/// padding.
///
/// Packets of such a type can be reserved and filled in place
/// ([`Publisher::reserve`](crate::Publisher::reserve)).
///
/// ```
/// use packetring::{Packet, packet};
/// use packetring::packet::AnyBits;
///
/// #[packet]
/// struct Frame {
///     taken_at: u64,
///     pixels: [[u8; 3]; 640],
/// }
///
/// fn reservable<T: Packet<Archived: AnyBits>>() {}
/// reservable::<Frame>();
/// ```
///
/// # Safety
///
/// Every sequence of `size_of::<Self>()` initialized bytes is a valid value of the type. The type's
/// safe methods accept each of these values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be filled in place",
    label = "some bit patterns of this type are invalid",
    note = "only numbers, arrays of numbers, and `#[packet]` structs of these can be reserved",
    note = "`bool` and enums: reserve a `u8` and convert; text and lists: use `Tail<Head, u8>`, or `send` a value"
)]
pub unsafe trait AnyBits {}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        // SAFETY: Every bit pattern of an integer or a float is valid.
        unsafe impl AnyBits for $type {}
    )*};
}

numbers!(
    u8,
    i8,
    ArchivedU16,
    ArchivedU32,
    ArchivedU64,
    ArchivedU128,
    ArchivedI16,
    ArchivedI32,
    ArchivedI64,
    ArchivedI128,
    ArchivedF32,
    ArchivedF64
);

// SAFETY: The type has no bytes.
unsafe impl AnyBits for () {}

// SAFETY: The type has no bytes.
unsafe impl<T: ?Sized> AnyBits for PhantomData<T> {}

#[cfg(feature = "uuid")]
// SAFETY: A UUID is 16 bytes, and every value of them is valid.
unsafe impl AnyBits for uuid::Uuid {}

// SAFETY: An array consists of its elements, without padding, and each element is `AnyBits`.
unsafe impl<T: AnyBits, const N: usize> AnyBits for [T; N] {}

macro_rules! tuples {
    ($($type:ident: $($part:ident)*;)*) => {$(
        // SAFETY: A tuple consists of its fields, each of them `AnyBits`, and of padding, which may
        // hold any bytes.
        unsafe impl<$($part: AnyBits),*> AnyBits for $type<$($part),*> {}
    )*};
}

tuples! {
    ArchivedTuple1: A;
    ArchivedTuple2: A B;
    ArchivedTuple3: A B C;
    ArchivedTuple4: A B C D;
    ArchivedTuple5: A B C D E;
    ArchivedTuple6: A B C D E F;
    ArchivedTuple7: A B C D E F G;
    ArchivedTuple8: A B C D E F G H;
    ArchivedTuple9: A B C D E F G H I;
    ArchivedTuple10: A B C D E F G H I J;
    ArchivedTuple11: A B C D E F G H I J K;
    ArchivedTuple12: A B C D E F G H I J K L;
}
