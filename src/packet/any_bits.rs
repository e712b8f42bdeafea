//! Types any of whose bytes are a value, so that a slot can be handed out before it is filled.
//!
//! Not the same as being free of pointers: `bool`, `char` and enums have bytes that are no value.

use std::marker::PhantomData;

use rkyv::{primitive::*, tuple::*};

/// An archived type any of whose bit patterns are a value: numbers, arrays and tuples of them, and
/// structs with [`#[packet]`](macro@crate::packet) of these.
///
/// `bool`, `char`, enums, `NonZero` numbers and everything with pointers are not.
///
/// # Safety
///
/// Any bytes of the type's size are a valid value, also to the type's own methods.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be filled in place",
    label = "not every bit pattern of this is a value",
    note = "only numbers, arrays of them, and `#[packet]` structs of them can be reserved; send a value instead"
)]
pub unsafe trait AnyBits {}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        // SAFETY: Any bytes are a number.
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

// SAFETY: No bytes, one value.
unsafe impl AnyBits for () {}

// SAFETY: No bytes, one value.
unsafe impl<T: ?Sized> AnyBits for PhantomData<T> {}

#[cfg(feature = "uuid")]
// SAFETY: Any 16 bytes are one.
unsafe impl AnyBits for uuid::Uuid {}

// SAFETY: Its elements are its bytes.
unsafe impl<T: AnyBits, const N: usize> AnyBits for [T; N] {}

macro_rules! tuples {
    ($($type:ident: $($part:ident)*;)*) => {$(
        // SAFETY: Its fields and padding are its bytes.
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
