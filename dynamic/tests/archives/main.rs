//! Tests with types of all kinds: reading, printing and encoding, and damaged bytes. The archives
//! are those that packetring writes, and its check is the measure of the check by schema.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod archive;
mod hostile;
mod schemas;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::num::{NonZeroI128, NonZeroU128};
use std::ops::RangeToInclusive;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::Serialize;

use archive::{Archive, layout_of};
use packetring::{Packet, Tail};
use packetring_dynamic::Schema;
use types::*;

/// Prints and encodes values of a type, and compares with the archive of the native value.
fn round_trip<T: Packet + Sample>(as_serde: impl Fn(&T, &str)) {
    let schema = layout_of::<T>().unwrap();
    run::<T>(|value| {
        let archive = Archive::of(&value).unwrap();
        let read = schema.read(archive.bytes()).unwrap();
        let text = read.to_string();
        as_serde(&value, &text);
        encodes(&schema, &serde_json::from_str(&text).unwrap(), &archive);
        encodes(&schema, &serde_json::to_value(read).unwrap(), &archive);
    });
}

/// As above, and compares the JSON with that of serde.
fn round_trip_as_serde<T: Packet + Sample + Serialize>() {
    round_trip(|value: &T, text| assert_eq!(text, serde_json::to_string(value).unwrap()));
}

fn round_trip_otherwise<T: Packet + Sample>() {
    round_trip(|_: &T, _| {});
}

fn encodes(schema: &Schema, json: &serde_json::Value, archive: &Archive) {
    let encoded = schema.encode(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(&*encoded, archive.bytes(), "{json}");
}

/// Runs a test with many values of a type.
fn run<T: Sample>(test: impl Fn(T)) {
    let mut config = ProptestConfig { failure_persistence: None, ..Default::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 64;
    }
    let outcome = TestRunner::new(config).run(&T::any(), |value| {
        test(value);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{}: {error}", std::any::type_name::<T>()));
}

macro_rules! all_as_serde {
    ($($name:ident: $($type:ty),+ $(,)?;)*) => {$(
        #[test]
        fn $name() {
            $(round_trip_as_serde::<$type>();)+
        }
    )*};
}

all_as_serde! {
    numbers: u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, bool, char, Numbers, Floats, Padded;
    non_zero_numbers: std::num::NonZeroU8, NonZeros, Option<std::num::NonZeroI32>;
    texts: String, Box<str>, std::ffi::CString, Texts, Vec<String>, [String; 3];
    niches: Niches, Niched, Vec<Niches>, Option<Niches>;
    lists: Vec<u8>, Vec<u64>, Box<[u16]>, VecDeque<String>, Vec<Vec<Vec<u8>>>, [[u16; 3]; 2],
        Vec<Option<Box<u64>>>, Containers;
    tuples: (u8,), (u8, u64, String), (u8, (u16, (u32, Vec<u8>)), bool), Pair<u8, Pair<String, u8>>;
    options: Option<u8>, Option<String>, Option<Box<str>>, Option<Vec<Option<u8>>>, Wrapped;
    results: Result<u8, String>, Result<Result<u8, u16>, ()>, std::ops::Bound<String>;
    enums: Color, Vec<Color>, Option<Color>, Box<Color>, Vec<(Color, u64)>;
    maps: BTreeMap<u32, u64>, BTreeMap<String, String>, BTreeSet<u8>, BTreeSet<String>, Ordered,
        BTreeSet<(u8, i16)>, Vec<BTreeMap<u8, u8>>, BTreeMap<Box<str>, u8>;
    standard_types: Addresses, Ranges, std::time::Duration, std::net::SocketAddr;
    types_without_bytes: (), Unit, [(); 5], Empty, ((), ()), std::marker::PhantomData<u8>;
    recursive_types: Family, Vec<Family>;
}

impl<T: 'static> Sample for std::marker::PhantomData<T> {
    fn any() -> BoxedStrategy<Self> {
        Just(Self).boxed()
    }
}

#[test]
fn values_that_serde_prints_in_another_way() {
    round_trip_otherwise::<u128>();
    round_trip_otherwise::<i128>();
    round_trip_otherwise::<NonZeroU128>();
    round_trip_otherwise::<Option<NonZeroI128>>();
    round_trip_otherwise::<Wide>();
    round_trip_otherwise::<Choice>();
    round_trip_otherwise::<Nested>();
    round_trip_otherwise::<NestedOptions>();
    round_trip_otherwise::<Option<Option<()>>>();
    round_trip_otherwise::<Link>();
    round_trip_otherwise::<Option<Link>>();
    round_trip_otherwise::<BTreeMap<u128, i128>>();
    round_trip_otherwise::<Odd>();
    round_trip_otherwise::<RangeToInclusive<u16>>();
    round_trip_otherwise::<Tail<u64, u8>>();
    round_trip_otherwise::<Tail<Padded, (u16, bool)>>();
}

#[test]
fn all_bits_of_floats_are_kept() {
    fn all<T: Packet + Copy + Debug>(numbers: &[T], texts: &[&str]) {
        let schema = layout_of::<T>().unwrap();
        for (number, text) in numbers.iter().zip(texts) {
            let archive = Archive::of(number).unwrap();
            let read = schema.read(archive.bytes()).unwrap();
            assert_eq!(read.to_string(), *text);
            encodes(&schema, &serde_json::from_str(text).unwrap(), &archive);
        }
    }
    all(
        &[f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, 1e300],
        &[
            r#""NaN""#,
            r#""NaN(0xfff8000000000000)""#,
            r#""inf""#,
            r#""-inf""#,
            "-0.0",
            "5e-324",
            "1e+300",
        ],
    );
    all(
        &[f32::NAN, f32::from_bits(0x7f80_0001), f32::INFINITY, f32::NEG_INFINITY, 16_777_216.0],
        &[r#""NaN""#, r#""NaN(0x7f800001)""#, r#""inf""#, r#""-inf""#, "16777216.0"],
    );
}
