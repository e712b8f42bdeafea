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

pub(super) mod values {
    //! Values without parts: numbers, text, durations and addresses.

    use std::{
        ffi::CString,
        marker::PhantomData,
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
        num::NonZero,
        ops::RangeFull,
        time::Duration,
    };

    use rkyv::rend;

    use super::Native;

    macro_rules! native {
        ($($type:ty),* $(,)?) => {$(
            // SAFETY: The archive has all bits of the value, or all that tell it from others. The
            // type has no interior mutability.
            unsafe impl Native for $type {}
        )*};
    }

    /// Calls a macro with all types that are `Copy`, and have no parts.
    macro_rules! copied_values {
        ($then:ident) => {
            $then! {
                (), bool, char, f32, f64,
                u8, u16, u32, u64, u128,
                i8, i16, i32, i64, i128,
                NonZero<u8>, NonZero<u16>, NonZero<u32>, NonZero<u64>, NonZero<u128>,
                NonZero<i8>, NonZero<i16>, NonZero<i32>, NonZero<i64>, NonZero<i128>,
                Duration, RangeFull,
                IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6,
            }

            // The archived numbers archive as themselves.
            $then! {
                rend::char_le, rend::f32_le, rend::f64_le,
                rend::u16_le, rend::u32_le, rend::u64_le, rend::u128_le,
                rend::i16_le, rend::i32_le, rend::i64_le, rend::i128_le,
                rend::NonZeroU16_le, rend::NonZeroU32_le, rend::NonZeroU64_le,
                rend::NonZeroU128_le, rend::NonZeroI16_le, rend::NonZeroI32_le,
                rend::NonZeroI64_le, rend::NonZeroI128_le,
            }

            #[cfg(feature = "uuid")]
            $then!(uuid::Uuid);
        };
    }

    pub(in crate::packet) use copied_values;

    copied_values!(native);
    native!(str, String, CString);

    #[cfg(feature = "bytes")]
    native!(bytes::Bytes);

    // SAFETY: The type has no value to lose or to change.
    unsafe impl<T: ?Sized> Native for PhantomData<T> {}
}

mod containers {
    //! Containers of native types.

    use std::{
        collections::{BTreeMap, BTreeSet, VecDeque},
        ops::{Bound, Range, RangeFrom, RangeTo, RangeToInclusive},
    };

    use super::Native;

    macro_rules! containers {
        ($($type:ident<$($part:ident),+>),* $(,)?) => {$(
            // SAFETY: The archive has all contained values, in order. Their promises make up that
            // of the container, which has no interior mutability of its own.
            unsafe impl<$($part: Native),+> Native for $type<$($part),+> {}
        )*};
    }

    containers! {
        Option<T>, Result<T, E>, Vec<T>, VecDeque<T>, BTreeMap<K, V>, BTreeSet<K>,
        Bound<T>, Range<T>, RangeFrom<T>, RangeTo<T>, RangeToInclusive<T>,
    }

    // SAFETY: As above.
    unsafe impl<T: Native + ?Sized> Native for Box<T> {}

    // SAFETY: As above.
    unsafe impl<T: Native> Native for [T] {}

    // SAFETY: As above.
    unsafe impl<T: Native, const N: usize> Native for [T; N] {}

    macro_rules! tuples {
        ($($($part:ident)+;)*) => {$(
            // SAFETY: As above.
            unsafe impl<$($part: Native),+> Native for ($($part,)+) {}
        )*};
    }

    tuples! {
        A;
        A B;
        A B C;
        A B C D;
        A B C D E;
        A B C D E F;
        A B C D E F G;
        A B C D E F G H;
        A B C D E F G H I;
        A B C D E F G H I J;
        A B C D E F G H I J K;
        A B C D E F G H I J K L;
        A B C D E F G H I J K L M;
    }
}

mod wrappers {
    //! The wrappers for fields, and the fields that each archives without loss.

    #![allow(clippy::disallowed_types, reason = "names the types of fields, and uses no atomic")]

    use std::{
        borrow::Cow,
        collections::{BTreeMap, BTreeSet, HashMap, HashSet},
        ffi::OsString,
        path::PathBuf,
        rc::Rc,
        sync::{
            Arc, Mutex, RwLock,
            atomic::{
                AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16,
                AtomicU32, AtomicU64,
            },
        },
        time::SystemTime,
    };

    use super::{Native, NativeWith};
    use crate::with::*;

    macro_rules! wrappers {
        ($([$($generics:tt)*] $wrapper:ty => $field:ty;)*) => {$(
            // SAFETY: The archive has the contained values, which archive without loss and do not
            // change. The wrapper reads nothing else.
            unsafe impl<$($generics)*> NativeWith<$field> for $wrapper {}
        )*};
    }

    wrappers! {
        [T: Native] Identity => T;
        [T: Native + ?Sized] AsBox => T;
        [T: Native] Inline => &T;
        [T: Native + ?Sized] InlineAsBox => &T;
        [T: Native + ToOwned + ?Sized] AsOwned => Cow<'_, T>;
        [T: Native + ?Sized] Unshare => Rc<T>;
        [T: Native + ?Sized] Unshare => Arc<T>;
        [] AsString => PathBuf;
        [] AsString => OsString;
        [] AsString => &str;
        [K: Native, V: Native, S] AsVec => HashMap<K, V, S>;
        [K: Native, S] AsVec => HashSet<K, S>;
        [K: Native, V: Native] AsVec => BTreeMap<K, V>;
        [K: Native] AsVec => BTreeSet<K>;
        [T: Native] AsVec => &[T];
        [T: Native] Niche => Option<T>;
        [T: Native] DefaultNiche => Option<T>;
        [T: Native, N: ?Sized] NicheInto<N> => Option<T>;
        [W: NativeWith<T> + ?Sized, N: ?Sized, T] MapNiche<W, N> => Option<T>;
        [W: NativeWith<T>, T] Map<W> => Option<T>;
        [W: NativeWith<T>, T] Map<W> => Vec<T>;
        [W: NativeWith<T>, T, const N: usize] Map<W> => [T; N];
        [A: NativeWith<K>, B: NativeWith<V>, K, V] MapKV<A, B> => BTreeMap<K, V>;
    }

    // SAFETY: The wrapper reads nothing of the field, and is documented to keep nothing.
    unsafe impl<F> NativeWith<F> for Skip {}

    // SAFETY: `AsUnixTime` keeps the time in its resolver.
    unsafe impl NativeWith<SystemTime> for AsUnixTime {}

    // SAFETY: `Via` keeps the converted value in its resolver.
    unsafe impl<F, C: Conversion<F, Packet: Native>> NativeWith<F> for Via<C> {}

    // SAFETY: `Lock` keeps a copy of the value in its resolver.
    unsafe impl<T: Native> NativeWith<Mutex<T>> for Lock {}

    // SAFETY: As above.
    unsafe impl<T: Native> NativeWith<RwLock<T>> for Lock {}

    macro_rules! atomics {
        ($($atomic:ty),*) => {$(
            // SAFETY: rkyv loads the number once, in `resolve_with`. `serialize_with` does not read
            // it.
            unsafe impl<O> NativeWith<$atomic> for AtomicLoad<O> {}
        )*};
    }

    atomics!(
        AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32,
        AtomicU64
    );
}
