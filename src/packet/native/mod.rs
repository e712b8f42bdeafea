//! The native types that a packet may be made of, and the wrappers that may archive a field.
//!
//! [`Describe`](super::describe::Describe) restricts the archived types. That is not enough: rkyv
//! archives `usize` as the same 32 bits as `u32`, and cuts larger values. So [`Native`] restricts
//! the types that are archived, and [`NativeWith`] the pairs of a wrapper and a field.
//!
//! Excluded on purpose, though rkyv archives them:
//!
//! - `usize`, `isize` and their `NonZero` forms: cut to 32 bits, and a `NonZeroUsize` whose low
//!   bits are zero would become an invalid value;
//! - `RangeInclusive`: the archive omits the flag that marks an exhausted iterator;
//! - cells and locks: rkyv reads the value twice, and the two values may differ.

mod containers;
mod values;
mod wrappers;

/// A native type that archives without loss.
///
/// [`#[packet]`](macro@crate::packet) implements it for a type whose fields have it.
///
/// # Safety
///
/// 1. The archive of a value has all that the value has: a reader that compares finds no two
///    different values with equal archives.
/// 2. A value that is borrowed does not change. rkyv reads a value once to serialize and once to
///    resolve it, and an archive of two different values is undefined behavior.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a packet",
    label = "not a packet type",
    note = "your own types: put `#[packetring::packet]` on them",
    note = "`usize` and `isize`: rkyv cuts them to 32 bits; use `u64`, `i64` or `u32`",
    note = "types of other crates: convert them in the field, with `#[rkyv(with = packetring::with::Via<..>)]`",
    note = "hash tables: use `BTreeMap` or `BTreeSet`, or `#[rkyv(with = packetring::with::AsVec)]`",
    note = "borrowed or shared data: use `String` for `&str`, `Vec` for slices, `Box` for `Rc` and `Arc`"
)]
pub unsafe trait Native {}

/// A wrapper that archives a field of type `F` without loss: `#[rkyv(with = ..)]`.
///
/// All wrappers in [`with`](crate::with) have it for the types that they support. A wrapper of your
/// own is a [`Conversion`](crate::with::Conversion), which needs no `unsafe`.
///
/// # Safety
///
/// 1. The archive has all that the wrapper is documented to keep of the field.
/// 2. `resolve_with` writes the value that `serialize_with` has read, even if the field changes in
///    between.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot archive a field of type `{F}` in a packet",
    label = "not a wrapper for this field",
    note = "the contained types must be packet types; rkyv cuts `usize` and `isize` to 32 bits",
    note = "implement `packetring::with::Conversion` instead of a wrapper, and use `packetring::with::Via<..>`"
)]
pub unsafe trait NativeWith<F: ?Sized> {}
