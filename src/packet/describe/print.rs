//! `Debug` of archived types as the values that they hold.
//!
//! rkyv's own `Debug` prints a box as its pointer, and a tuple as a struct. A derived `Debug` of an
//! archived type prints its fields through [`Print`] instead.

use std::{fmt, marker::PhantomData};

use rkyv::{
    boxed::ArchivedBox,
    collections::{btree_map::ArchivedBTreeMap, btree_set::ArchivedBTreeSet, util::Entry},
    ffi::ArchivedCString,
    net::{
        ArchivedIpAddr, ArchivedIpv4Addr, ArchivedIpv6Addr, ArchivedSocketAddr,
        ArchivedSocketAddrV4, ArchivedSocketAddrV6,
    },
    niche::{
        niched_option::NichedOption, niching::Niching, option_box::ArchivedOptionBox,
        option_nonzero::*,
    },
    ops::{
        ArchivedBound, ArchivedRange, ArchivedRangeFrom, ArchivedRangeFull, ArchivedRangeTo,
        ArchivedRangeToInclusive,
    },
    option::ArchivedOption,
    primitive::*,
    result::ArchivedResult,
    string::ArchivedString,
    time::ArchivedDuration,
    traits::ArchivePointee,
    tuple::*,
    vec::ArchivedVec,
};
use std::num::{NonZeroI8, NonZeroU8};

/// An archived type that can be printed as the value that it holds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be printed",
    label = "no `Debug`",
    note = "put `#[derive(Debug)]` below `#[packet]` on the type, or `#[rkyv(derive(Debug))]` beside it"
)]
pub trait Print {
    /// Prints the value like its native `Debug`.
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A value whose `Debug` is its [`Print`].
pub struct Printed<'a, T: ?Sized>(pub &'a T);

impl<T: Print + ?Sized> fmt::Debug for Printed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.print(f)
    }
}

/// Prints through `Debug`, which prints the value.
macro_rules! by_debug {
    ($($type:ty),* $(,)?) => {$(
        impl Print for $type {
            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    )*};
}

by_debug! {
    (), bool, str, u8, i8, NonZeroU8, NonZeroI8,
    ArchivedChar, ArchivedF32, ArchivedF64,
    ArchivedU16, ArchivedU32, ArchivedU64, ArchivedU128,
    ArchivedI16, ArchivedI32, ArchivedI64, ArchivedI128,
    ArchivedNonZeroU16, ArchivedNonZeroU32, ArchivedNonZeroU64, ArchivedNonZeroU128,
    ArchivedNonZeroI16, ArchivedNonZeroI32, ArchivedNonZeroI64, ArchivedNonZeroI128,
    ArchivedOptionNonZeroU8, ArchivedOptionNonZeroU16, ArchivedOptionNonZeroU32,
    ArchivedOptionNonZeroU64, ArchivedOptionNonZeroU128,
    ArchivedOptionNonZeroI8, ArchivedOptionNonZeroI16, ArchivedOptionNonZeroI32,
    ArchivedOptionNonZeroI64, ArchivedOptionNonZeroI128,
    ArchivedString, ArchivedCString, ArchivedRangeFull,
}

#[cfg(feature = "uuid")]
by_debug!(uuid::Uuid);

/// Prints a native value of the same text, built from the parts of an archived one.
macro_rules! like {
    ($([$($generics:tt)*] $type:ty, $value:ident => $native:expr;)*) => {$(
        impl<$($generics)*> Print for $type {
            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $value = self;
                fmt::Debug::fmt(&$native, f)
            }
        }
    )*};
}

like! {
    [] ArchivedDuration, value => std::time::Duration::from(*value);
    [] ArchivedIpv4Addr, value => value.as_ipv4();
    [] ArchivedIpv6Addr, value => value.as_ipv6();
    [] ArchivedIpAddr, value => value.as_ipaddr();
    [] ArchivedSocketAddrV4, value => value.as_socket_addr_v4();
    [] ArchivedSocketAddrV6, value => value.as_socket_addr_v6();
    [] ArchivedSocketAddr, value => value.as_socket_addr();
    [T: ?Sized] PhantomData<T>, value => value;
    [T: Print] ArchivedOption<T>, value => value.as_ref().map(Printed);
    [T: Print, E: Print] ArchivedResult<T, E>, value =>
        value.as_ref().map(Printed).map_err(Printed);
    [T: Print + ArchivePointee + ?Sized] ArchivedBox<T>, value => Printed(value.get());
    [T: Print + ArchivePointee + ?Sized] ArchivedOptionBox<T>, value =>
        value.as_ref().map(|value| Printed(value.get()));
    [T: Print, N: Niching<T> + ?Sized] NichedOption<T, N>, value => value.as_ref().map(Printed);
    [T: Print] ArchivedVec<T>, value => Printed(value.as_slice());
    [T: Print, const N: usize] [T; N], value => Printed(value.as_slice());
    [T: Print] ArchivedBound<T>, value => value.as_ref().map(Printed);
    [T: Print] ArchivedRange<T>, value => Printed(&value.start)..Printed(&value.end);
    [T: Print] ArchivedRangeFrom<T>, value => Printed(&value.start)..;
    [T: Print] ArchivedRangeTo<T>, value => ..Printed(&value.end);
    [T: Print] ArchivedRangeToInclusive<T>, value => ..=Printed(&value.end);
}

impl<T: Print> Print for [T] {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Printed)).finish()
    }
}

impl<K: Print, V: Print, const E: usize> Print for ArchivedBTreeMap<K, V, E> {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.iter().map(|(key, value)| (Printed(key), Printed(value)));
        f.debug_map().entries(entries).finish()
    }
}

impl<K: Print, const E: usize> Print for ArchivedBTreeSet<K, E> {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Printed)).finish()
    }
}

impl<K: Print, V: Print> Print for Entry<K, V> {
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (Printed(&self.key), Printed(&self.value));
        f.debug_struct("Entry").field("key", &key).field("value", &value).finish()
    }
}

macro_rules! tuples {
    ($($type:ident: $($part:ident $index:tt)*;)*) => {$(
        impl<$($part: Print),*> Print for $type<$($part),*> {
            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("")$(.field(&Printed(&self.$index)))*.finish()
            }
        }
    )*};
}

tuples! {
    ArchivedTuple1: A 0;
    ArchivedTuple2: A 0 B 1;
    ArchivedTuple3: A 0 B 1 C 2;
    ArchivedTuple4: A 0 B 1 C 2 D 3;
    ArchivedTuple5: A 0 B 1 C 2 D 3 E 4;
    ArchivedTuple6: A 0 B 1 C 2 D 3 E 4 F 5;
    ArchivedTuple7: A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    ArchivedTuple8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
    ArchivedTuple9: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8;
    ArchivedTuple10: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9;
    ArchivedTuple11: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10;
    ArchivedTuple12: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11;
    ArchivedTuple13: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12;
}
