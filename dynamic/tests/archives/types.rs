//! Packet types of all kinds, with strategies for their values.

#![allow(non_snake_case, reason = "a field has the name of a variant")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CString;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroU8, NonZeroU16, NonZeroU32,
    NonZeroU64, NonZeroU128,
};
use std::ops::{Bound, Range, RangeFrom, RangeTo, RangeToInclusive};
use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde::Serialize;

use packetring::{Tail, packet, with};

/// A type with a strategy for its values.
pub(crate) trait Sample: Clone + Debug + 'static {
    fn any() -> BoxedStrategy<Self>;
}

fn any<T: Sample>() -> BoxedStrategy<T> {
    T::any()
}

/// `proptest::num` has its strategies in modules of these names.
macro_rules! whole_types {
    ($($type:ident)*) => {$(
        impl Sample for $type {
            fn any() -> BoxedStrategy<Self> {
                let all = proptest::num::$type::ANY;
                prop_oneof![all, 0..=9 as $type, Just($type::MAX), Just($type::MIN)].boxed()
            }
        }
    )*};
}

whole_types!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

macro_rules! by_map {
    ($($type:ty = $from:ty, $map:expr;)*) => {$(
        impl Sample for $type {
            fn any() -> BoxedStrategy<Self> {
                any::<$from>().prop_map($map).boxed()
            }
        }
    )*};
}

by_map! {
    NonZeroU8 = u8, |n| NonZeroU8::new(n).unwrap_or(NonZeroU8::MAX);
    NonZeroU16 = u16, |n| NonZeroU16::new(n).unwrap_or(NonZeroU16::MAX);
    NonZeroU32 = u32, |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MAX);
    NonZeroU64 = u64, |n| NonZeroU64::new(n).unwrap_or(NonZeroU64::MAX);
    NonZeroU128 = u128, |n| NonZeroU128::new(n).unwrap_or(NonZeroU128::MAX);
    NonZeroI8 = i8, |n| NonZeroI8::new(n).unwrap_or(NonZeroI8::MIN);
    NonZeroI16 = i16, |n| NonZeroI16::new(n).unwrap_or(NonZeroI16::MIN);
    NonZeroI32 = i32, |n| NonZeroI32::new(n).unwrap_or(NonZeroI32::MIN);
    NonZeroI64 = i64, |n| NonZeroI64::new(n).unwrap_or(NonZeroI64::MIN);
    NonZeroI128 = i128, |n| NonZeroI128::new(n).unwrap_or(NonZeroI128::MIN);
    Duration = (u64, u32), |(secs, nanos)| Duration::new(secs, nanos % 1_000_000_000);
    Ipv4Addr = u32, Ipv4Addr::from;
    Ipv6Addr = u128, Ipv6Addr::from;
    SocketAddrV4 = (Ipv4Addr, u16), |(ip, port)| SocketAddrV4::new(ip, port);
    SocketAddrV6 = (Ipv6Addr, u16, u32), |(ip, port, scope)| SocketAddrV6::new(ip, port, 0, scope);
    CString = Vec<NonZeroU8>, CString::from;
    Box<str> = String, String::into;
    RangeFrom<u16> = u16, |start| start..;
    RangeTo<u16> = u16, |end| ..end;
    RangeToInclusive<u16> = u16, |end| ..=end;
    Range<i64> = (i64, i64), |(start, end)| start..end;
}

impl Sample for bool {
    fn any() -> BoxedStrategy<Self> {
        proptest::bool::ANY.boxed()
    }
}

impl Sample for char {
    fn any() -> BoxedStrategy<Self> {
        proptest::char::any().boxed()
    }
}

impl Sample for () {
    fn any() -> BoxedStrategy<Self> {
        Just(()).boxed()
    }
}

impl Sample for f32 {
    fn any() -> BoxedStrategy<Self> {
        let bits = proptest::num::u32::ANY.prop_map(f32::from_bits);
        prop_oneof![bits.prop_filter("finite", |n| n.is_finite()), Just(-0.0), Just(0.1)].boxed()
    }
}

impl Sample for f64 {
    fn any() -> BoxedStrategy<Self> {
        let bits = proptest::num::u64::ANY.prop_map(f64::from_bits);
        prop_oneof![bits.prop_filter("finite", |n| n.is_finite()), Just(-0.0), Just(0.1)].boxed()
    }
}

impl Sample for String {
    fn any() -> BoxedStrategy<Self> {
        let with_all = vec(any::<char>(), 0..30).prop_map(String::from_iter);
        let ascii = vec(proptest::char::range('a', 'z'), 0..100).prop_map(String::from_iter);
        prop_oneof![with_all, ascii, Just("Some".into()), Just("12345678".into())].boxed()
    }
}

impl Sample for IpAddr {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), any::<Ipv6Addr>().prop_map(IpAddr::V6)]
            .boxed()
    }
}

impl Sample for SocketAddr {
    fn any() -> BoxedStrategy<Self> {
        let v4 = any::<SocketAddrV4>().prop_map(SocketAddr::V4);
        prop_oneof![v4, any::<SocketAddrV6>().prop_map(SocketAddr::V6)].boxed()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn any() -> BoxedStrategy<Self> {
        proptest::option::of(any::<T>()).boxed()
    }
}

impl<T: Sample, E: Sample> Sample for Result<T, E> {
    fn any() -> BoxedStrategy<Self> {
        proptest::result::maybe_ok(any::<T>(), any::<E>()).boxed()
    }
}

impl<T: Sample> Sample for Bound<T> {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![
            Just(Bound::Unbounded),
            any::<T>().prop_map(Bound::Included),
            any::<T>().prop_map(Bound::Excluded)
        ]
        .boxed()
    }
}

impl<T: Sample> Sample for Box<T> {
    fn any() -> BoxedStrategy<Self> {
        any::<T>().prop_map(Box::new).boxed()
    }
}

impl<T: Sample> Sample for Box<[T]> {
    fn any() -> BoxedStrategy<Self> {
        any::<Vec<T>>().prop_map(Vec::into_boxed_slice).boxed()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn any() -> BoxedStrategy<Self> {
        vec(any::<T>(), 0..6).boxed()
    }
}

impl<T: Sample> Sample for VecDeque<T> {
    fn any() -> BoxedStrategy<Self> {
        any::<Vec<T>>()
            .prop_map(|mut list| {
                let first = list.pop();
                let mut deque = VecDeque::from(list);
                // Not in one piece.
                first.into_iter().for_each(|first| deque.push_front(first));
                deque
            })
            .boxed()
    }
}

impl<T: Sample, const N: usize> Sample for [T; N] {
    fn any() -> BoxedStrategy<Self> {
        let list = vec(any::<T>(), N..=N);
        list.prop_map(|list| list.try_into().unwrap_or_else(|_| panic!("{N} elements"))).boxed()
    }
}

/// Sizes of maps and sets: of all heights up to 4.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![30 => 0..8_usize, 10 => 0..45_usize, 1 => 200..260_usize]
}

impl<K: Sample + Ord, V: Sample> Sample for BTreeMap<K, V> {
    fn any() -> BoxedStrategy<Self> {
        sizes().prop_flat_map(|len| btree_map(any::<K>(), any::<V>(), 0..=len)).boxed()
    }
}

impl<K: Sample + Ord> Sample for BTreeSet<K> {
    fn any() -> BoxedStrategy<Self> {
        sizes().prop_flat_map(|len| btree_set(any::<K>(), 0..=len)).boxed()
    }
}

macro_rules! tuples {
    ($(($($part:ident)+))*) => {$(
        impl<$($part: Sample),+> Sample for ($($part,)+) {
            fn any() -> BoxedStrategy<Self> {
                ($(any::<$part>(),)+).boxed()
            }
        }
    )*};
}

tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}

/// Defines structs with named or unnamed fields, and their strategies.
macro_rules! structs {
    ($(
        $(#[$meta:meta])*
        struct $name:ident { $($(#[$of:meta])* $field:ident: $type:ty),+ $(,)? }
    )*) => {$(
        #[packet]
        #[derive(Clone, Debug, PartialEq, Serialize)]
        $(#[$meta])*
        pub(crate) struct $name { $($(#[$of])* pub(super) $field: $type),+ }

        impl Sample for $name {
            fn any() -> BoxedStrategy<Self> {
                ($(any::<$type>(),)+).prop_map(|($($field,)+)| Self { $($field),+ }).boxed()
            }
        }
    )*};
}

structs! {
    struct Numbers { a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64 }
    struct Floats { a: f32, b: f64, c: [f32; 3], d: Vec<f64> }
    struct Wide { a: u128, b: i128, c: Vec<u128> }
    struct Padded { a: u8, b: u64, c: bool, d: u16, e: char }
    struct Texts { a: String, b: Box<str>, c: Vec<String>, d: Option<String>, e: CString }
    struct NonZeros {
        a: NonZeroU8, b: NonZeroU16, c: NonZeroU32, d: NonZeroU64,
        e: NonZeroI8, f: NonZeroI16, g: NonZeroI32, h: NonZeroI64,
    }
    struct Niches {
        #[rkyv(with = with::Niche)] a: Option<NonZeroU16>,
        #[rkyv(with = with::Niche)] b: Option<Box<u64>>,
        #[rkyv(with = with::Niche)] c: Option<Box<[u16]>>,
        #[rkyv(with = with::Niche)] d: Option<Box<str>>,
        #[rkyv(with = with::DefaultNiche)] e: Option<bool>,
        #[rkyv(with = with::DefaultNiche)] f: Option<NonZeroI64>,
        #[rkyv(with = with::DefaultNiche)] g: Option<Box<String>>,
        #[rkyv(with = with::DefaultNiche)] h: Option<Niched>,
    }
    struct Niched { a: u32, #[rkyv(niche)] b: NonZeroU8, c: String }
    struct Containers {
        a: Vec<Padded>, b: Box<[Texts]>, c: VecDeque<u32>, d: [Option<Vec<u8>>; 2],
        e: Result<u16, String>, f: Bound<i32>, g: Box<Box<u8>>,
    }
    struct Ordered {
        a: BTreeMap<u32, String>, b: BTreeMap<String, Vec<u8>>, c: BTreeSet<i64>,
        d: BTreeMap<char, bool>, e: BTreeMap<bool, u8>,
        f: BTreeMap<String, BTreeMap<i16, BTreeSet<String>>>,
    }
    struct Odd {
        a: BTreeMap<(u8, String), u64>, b: BTreeMap<[u8; 2], ()>, c: BTreeSet<Option<u16>>,
        d: BTreeMap<Point, u8>, e: BTreeSet<Vec<String>>, f: BTreeMap<Color, Box<str>>,
    }
    #[derive(Eq, PartialOrd, Ord)]
    #[rkyv(derive(PartialEq, Eq, PartialOrd, Ord))]
    struct Point { x: i32, y: u8 }
    struct Addresses {
        a: IpAddr, b: SocketAddr, c: Ipv4Addr, d: Ipv6Addr, e: SocketAddrV4, f: SocketAddrV6,
        g: Duration,
    }
    struct Ranges { a: Range<i64>, b: RangeFrom<u16>, c: RangeTo<u16> }
    struct Empty { a: (), b: [(); 3], c: Unit, d: [u8; 0], e: ((), (u8,)) }
    struct NestedOptions {
        a: Option<Option<u8>>, b: Option<Option<Option<String>>>, c: Option<()>,
        d: Option<Option<NonZeroU8>>, e: Option<Wrapped>, f: Option<Option<Sole>>,
        g: Option<Option<BTreeMap<String, u8>>>, h: Option<Option<Choice>>,
    }
    struct Nested { a: Pair<u8, String>, b: Pair<Vec<Padded>, Option<Texts>>, c: Choice, d: Vec<Choice> }
}

/// A generic type.
#[packet]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pair<A, B>(A, B);

impl<A: Sample, B: Sample> Sample for Pair<A, B> {
    fn any() -> BoxedStrategy<Self> {
        any::<(A, B)>().prop_map(|(a, b)| Self(a, b)).boxed()
    }
}

#[packet]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Unit;

impl Sample for Unit {
    fn any() -> BoxedStrategy<Self> {
        Just(Self).boxed()
    }
}

/// One unnamed field, which may print as `null`.
#[packet]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Wrapped(Option<u16>);

impl Sample for Wrapped {
    fn any() -> BoxedStrategy<Self> {
        any::<Option<u16>>().prop_map(Self).boxed()
    }
}

#[packet]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[rkyv(derive(PartialEq, Eq, PartialOrd, Ord))]
pub(crate) enum Color {
    Red,
    Green,
    Blue,
}

impl Sample for Color {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![Just(Self::Red), Just(Self::Green), Just(Self::Blue)].boxed()
    }
}

/// Its JSON is like that around the content of a nested option.
#[packet]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Sole {
    Some: u8,
}

impl Sample for Sole {
    fn any() -> BoxedStrategy<Self> {
        any::<u8>().prop_map(|number| Self { Some: number }).boxed()
    }
}

/// Variants of all shapes.
#[packet]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[repr(u8)]
pub(crate) enum Choice {
    Unit,
    Newtype(String) = 7,
    Tuple(u8, Vec<u64>),
    Named { a: u128, b: Option<Box<str>> } = 200,
    Some(u32),
}

impl Sample for Choice {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![
            Just(Self::Unit),
            any::<String>().prop_map(Self::Newtype),
            any::<(u8, Vec<u64>)>().prop_map(|(a, b)| Self::Tuple(a, b)),
            any::<(u64, Option<Box<str>>)>().prop_map(|(a, b)| Self::Named { a: a.into(), b }),
            any::<u32>().prop_map(Self::Some),
        ]
        .boxed()
    }
}

/// Contains itself in three ways.
#[packet]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Family {
    name: String,
    children: Vec<Family>,
    parent: Option<Box<Family>>,
    friends: BTreeMap<u8, Family>,
}

impl Sample for Family {
    fn any() -> BoxedStrategy<Self> {
        let one = |name, children, parent: Option<_>, friends| Self {
            name,
            children,
            parent: parent.map(Box::new),
            friends,
        };
        let alone = any::<String>().prop_map(move |name| one(name, vec![], None, BTreeMap::new()));
        alone
            .prop_recursive(5, 40, 4, move |inner| {
                let children = proptest::collection::vec(inner.clone(), 0..3);
                let friends = btree_map(any::<u8>(), inner.clone(), 0..3);
                let parent = proptest::option::of(inner);
                (any::<String>(), children, parent, friends)
                    .prop_map(move |(a, b, c, d)| one(a, b, c, d))
            })
            .boxed()
    }
}

/// A list in the type itself, behind one unnamed field.
#[packet]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Link(Option<Box<Link>>);

impl Sample for Link {
    fn any() -> BoxedStrategy<Self> {
        let chain = |len| (0..len).fold(Self(None), |link, _| Self(Some(Box::new(link))));
        (0..50_usize).prop_map(chain).boxed()
    }
}

impl<H: Sample, E: Sample> Sample for Tail<H, E> {
    fn any() -> BoxedStrategy<Self> {
        any::<(H, Vec<E>)>().prop_map(|(head, tail)| Self { head, tail }).boxed()
    }
}
