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
            AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32,
            AtomicU64,
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
        // SAFETY: rkyv loads the number once, in `resolve_with`. `serialize_with` does not read it.
        unsafe impl<O> NativeWith<$atomic> for AtomicLoad<O> {}
    )*};
}

atomics!(
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64
);
