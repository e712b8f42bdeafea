//! Descriptions of numbers, `bool` and `char`. Numbers of more than one byte are little-endian.

use std::num::{NonZeroI8, NonZeroU8};

use rkyv::{niche::option_nonzero::*, primitive::*};

use super::{Describe, Shape, TypeName};

macro_rules! primitive {
    ($($type:ty: $name:literal),* $(,)?) => {$(
        // SAFETY: A number, `bool` or `char` has neither pointers nor padding. Resolving writes all
        // of its bytes. rkyv checks them completely, so no audit is needed.
        unsafe impl Describe for $type {
            const NAME: TypeName = TypeName::plain($name);
            const SHAPE: &'static Shape = const { &Shape::primitive::<Self>($name) };
        }
    )*};
}

primitive! {
    bool: "bool", ArchivedChar: "char",
    u8: "u8", ArchivedU16: "u16", ArchivedU32: "u32", ArchivedU64: "u64", ArchivedU128: "u128",
    i8: "i8", ArchivedI16: "i16", ArchivedI32: "i32", ArchivedI64: "i64", ArchivedI128: "i128",
    ArchivedF32: "f32", ArchivedF64: "f64",
    NonZeroU8: "NonZeroU8", ArchivedNonZeroU16: "NonZeroU16", ArchivedNonZeroU32: "NonZeroU32",
    ArchivedNonZeroU64: "NonZeroU64", ArchivedNonZeroU128: "NonZeroU128",
    NonZeroI8: "NonZeroI8", ArchivedNonZeroI16: "NonZeroI16", ArchivedNonZeroI32: "NonZeroI32",
    ArchivedNonZeroI64: "NonZeroI64", ArchivedNonZeroI128: "NonZeroI128",
}

macro_rules! option_nonzero {
    ($($type:ty: $name:literal),* $(,)?) => {$(
        // SAFETY: As for the number that it consists of; 0 means `None`.
        unsafe impl Describe for $type {
            const NAME: TypeName = TypeName::generic("Option", &[TypeName::plain($name)]);
            const SHAPE: &'static Shape =
                const { &Shape::primitive::<Self>(concat!("Option<", $name, ">")) };
        }
    )*};
}

option_nonzero! {
    ArchivedOptionNonZeroU8: "NonZeroU8", ArchivedOptionNonZeroU16: "NonZeroU16",
    ArchivedOptionNonZeroU32: "NonZeroU32", ArchivedOptionNonZeroU64: "NonZeroU64",
    ArchivedOptionNonZeroU128: "NonZeroU128",
    ArchivedOptionNonZeroI8: "NonZeroI8", ArchivedOptionNonZeroI16: "NonZeroI16",
    ArchivedOptionNonZeroI32: "NonZeroI32", ArchivedOptionNonZeroI64: "NonZeroI64",
    ArchivedOptionNonZeroI128: "NonZeroI128",
}
