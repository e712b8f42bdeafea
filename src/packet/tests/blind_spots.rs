//! Two types with one fingerprint read any bytes as the same value.
//!
//! The first test reads damaged archives as each two types of a list whose types have one name and
//! differ in one respect. If any bytes tell two types apart, their fingerprints must differ. The
//! second test builds descriptions at random and changes one part of each.

use std::sync::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fmt::Debug,
    num::{NonZeroI8, NonZeroU8, NonZeroU16, NonZeroU32},
    ops::{Bound, Range, RangeFrom, RangeTo},
    time::Duration,
};

use super::Archive;
use crate::packet::{
    Fingerprint, Unpack,
    describe::{Describe, Field, Named, Shape, TypeName, Variant},
    fingerprint_of, schema, validate,
};

/// A type of the list.
struct Subject {
    name: String,
    fingerprint: Fingerprint,
    /// Reads bytes as the type. `None` if they are not valid.
    read: fn(&[u8]) -> Option<String>,
    archives: Vec<Vec<u8>>,
}

fn subject<T: Unpack + Debug>(name: &str, values: Vec<T>) -> Subject {
    let archives = values.iter().map(|value| Archive::of(value).unwrap().bytes().to_vec());
    Subject {
        name: name.to_owned(),
        fingerprint: fingerprint_of::<T>(),
        read: read::<T>,
        archives: archives.collect(),
    }
}

fn read<T: Unpack + Debug>(bytes: &[u8]) -> Option<String> {
    let mut archive = Archive::room(bytes.len());
    archive.bytes_mut().copy_from_slice(bytes);
    let packet = validate::<T>(archive.bytes()).ok()?;
    Some(T::unpack(packet).map_or_else(|_| String::from("?"), |value| format!("{value:?}")))
}

/// Defines a struct `S` in a module of its own per line, and lists all of them.
macro_rules! subjects {
    ($($name:ident { $($item:item)* } $($value:expr),+;)*) => {
        $(mod $name {
            #![allow(unused_imports, reason = "one list of imports for all modules")]
            use super::*;
            use crate::{packet, with};
            use rkyv::niche::niching::{Bool, Null, Zero};
            $(#[packet] #[derive(Debug)] $item)*
            pub(super) fn subject() -> Subject {
                super::subject(stringify!($name), vec![$($value),+])
            }
        })*
        fn structs() -> Vec<Subject> {
            vec![$($name::subject()),*]
        }
    };
}

/// Another name of a niche.
type Alias = rkyv::niche::niching::Zero;

fn nonzero(number: u8) -> NonZeroU8 {
    NonZeroU8::new(number).unwrap()
}

subjects! {
    numbers { struct S { a: u8, b: u8 } } S { a: 1, b: 2 };
    signed { struct S { a: i8, b: u8 } } S { a: 1, b: 2 };
    flags { struct S { a: bool, b: u8 } } S { a: true, b: 2 };
    swapped { struct S { b: u8, a: u8 } } S { a: 1, b: 2 };
    wide { struct S { a: u16 } } S { a: 1 };
    nonzeros { struct S { a: NonZeroU8, b: u8 } } S { a: nonzero(1), b: 2 };
    nonzero_signed { struct S { a: NonZeroI8, b: u8 } } S { a: NonZeroI8::MAX, b: 2 };
    option_nonzero { struct S { a: Option<NonZeroU8>, b: u8 } } S { a: None, b: 2 };
    array { struct S { a: [u8; 2] } } S { a: [1, 2] };
    tuple { struct S { a: (u8, u8) } } S { a: (1, 2) };
    tuple_struct { struct S(u8, u8); } S(1, 2);
    choice { enum S { A(u8), B(u8) } } S::A(1), S::B(1);
    choice_swapped { enum S { B(u8), A(u8) } } S::A(1), S::B(1);
    choice_tagged { #[repr(u8)] enum S { A(u8) = 1, B(u8) = 0 } } S::A(1), S::B(1);
    choice_named { enum S { A { a: u8 }, B { a: u8 } } } S::A { a: 1 }, S::B { a: 1 };
    choice_signed { enum S { A(i8), B(u8) } } S::A(1), S::B(1);
    choice_unit { enum S { A, B(u8) } } S::A, S::B(1);

    character { struct S { a: char } } S { a: 'a' };
    word { struct S { a: u32 } } S { a: 97 };
    signed_word { struct S { a: i32 } } S { a: 97 };
    float { struct S { a: f32 } } S { a: 1.5 };
    nonzero_word { struct S { a: NonZeroU32 } } S { a: NonZeroU32::MIN };
    boxed { struct S { a: Box<u8> } } S { a: Box::new(1) };
    boxed_nonzero { struct S { a: Box<NonZeroU8> } } S { a: Box::new(nonzero(1)) };
    option_boxed_niche { struct S { #[rkyv(with = with::Niche)] a: Option<Box<u8>> } }
        S { a: None }, S { a: Some(Box::new(1)) };
    option_boxed_null { struct S { #[rkyv(with = with::NicheInto<Null>)] a: Option<Box<u8>> } }
        S { a: None }, S { a: Some(Box::new(1)) };
    option_boxed_default { struct S { #[rkyv(with = with::DefaultNiche)] a: Option<Box<u8>> } }
        S { a: None }, S { a: Some(Box::new(1)) };

    text { struct S { a: String } } S { a: "ab".into() }, S { a: "a longer text".into() };
    boxed_text { struct S { a: Box<str> } } S { a: "ab".into() };
    bytes { struct S { a: Vec<u8> } } S { a: vec![1, 0xff] };
    boxed_bytes { struct S { a: Box<[u8]> } } S { a: [1, 2].into() };
    c_text { struct S { a: CString } } S { a: CString::new("ab").unwrap() };
    list_of_flags { struct S { a: Vec<bool> } } S { a: vec![true, false] };
    option_boxed { struct S { a: Option<Box<u8>> } } S { a: None }, S { a: Some(Box::new(1)) };
    map { struct S { a: BTreeMap<u8, u8> } } S { a: BTreeMap::from([(1, 2)]) };
    map_of_flags { struct S { a: BTreeMap<u8, bool> } } S { a: BTreeMap::from([(1, true)]) };
    map_as_list { struct S { #[rkyv(with = with::AsVec)] a: BTreeMap<u8, u8> } }
        S { a: BTreeMap::from([(1, 2)]) };
    set { struct S { a: BTreeSet<u8> } } S { a: BTreeSet::from([1]) };
    set_of_words { struct S { a: BTreeSet<u16> } } S { a: BTreeSet::from([1]) };

    option { struct S { a: Option<u8> } } S { a: None }, S { a: Some(1) };
    option_signed { struct S { a: Option<i8> } } S { a: None }, S { a: Some(1) };
    option_flag { struct S { a: Option<bool> } } S { a: None }, S { a: Some(true) };
    result { struct S { a: Result<u8, u8> } } S { a: Ok(1) }, S { a: Err(1) };
    bound { struct S { a: Bound<u8> } } S { a: Bound::Unbounded }, S { a: Bound::Included(1) };
    niche_flag { struct S { #[rkyv(with = with::DefaultNiche)] a: Option<bool>, b: u8 } }
        S { a: None, b: 1 }, S { a: Some(true), b: 1 };
    niche_bool { struct S { #[rkyv(with = with::NicheInto<Bool>)] a: Option<bool>, b: u8 } }
        S { a: None, b: 1 }, S { a: Some(true), b: 1 };
    niche_zero { struct S { #[rkyv(with = with::NicheInto<Zero>)] a: Option<NonZeroU8>, b: u8 } }
        S { a: None, b: 1 }, S { a: Some(nonzero(1)), b: 1 };

    niche_in_first {
        struct Pair { #[rkyv(niche)] a: NonZeroU8, b: NonZeroU8 }
        struct S { #[rkyv(with = with::DefaultNiche)] a: Option<Pair> }
    } S { a: None }, S { a: Some(Pair { a: nonzero(1), b: nonzero(2) }) };
    niche_in_second {
        struct Pair { a: NonZeroU8, #[rkyv(niche)] b: NonZeroU8 }
        struct S { #[rkyv(with = with::DefaultNiche)] a: Option<Pair> }
    } S { a: None }, S { a: Some(Pair { a: nonzero(1), b: nonzero(2) }) };
    zero_in_first {
        struct Pair { #[rkyv(niche = Zero)] a: NonZeroU8, b: NonZeroU8 }
        struct S { #[rkyv(with = with::NicheInto<Zero>)] a: Option<Pair> }
    } S { a: None }, S { a: Some(Pair { a: nonzero(1), b: nonzero(2) }) };
    zero_in_second {
        struct Pair { a: NonZeroU8, #[rkyv(niche = Alias)] b: NonZeroU8 }
        struct S { #[rkyv(with = with::NicheInto<Alias>)] a: Option<Pair> }
    } S { a: None }, S { a: Some(Pair { a: nonzero(1), b: nonzero(2) }) };
    niche_by_map {
        struct Pair { a: NonZeroU8, #[rkyv(niche = Zero)] b: NonZeroU8 }
        struct S { #[rkyv(with = with::MapNiche<with::Identity, Zero>)] a: Option<Pair> }
    } S { a: None }, S { a: Some(Pair { a: nonzero(1), b: nonzero(2) }) };
    no_niche {
        struct Pair { a: NonZeroU8, b: NonZeroU8 }
        struct S { a: Option<Pair> }
    } S { a: None }, S { a: Some(Pair { a: nonzero(1), b: nonzero(2) }) };

    duration { struct S { a: Duration } } S { a: Duration::new(1, 2) };
    like_duration {
        struct Duration { secs: u64, nanos: u32 }
        struct S { a: Duration }
    } S { a: Duration { secs: 1, nanos: 2 } };
    range { struct S { a: Range<u8> } } S { a: 1..2 };
    range_from { struct S { a: RangeFrom<u8> } } S { a: 1.. };
    range_to { struct S { a: RangeTo<u8> } } S { a: ..1 };
    pair_of_words { struct S { a: (u16, NonZeroU16) } } S { a: (1, NonZeroU16::MIN) };
}

/// Bytes that tell types apart: the archives, and damaged ones.
fn corpus(subjects: &[Subject]) -> BTreeSet<Vec<u8>> {
    let mut corpus = BTreeSet::new();
    for archive in subjects.iter().flat_map(|subject| &subject.archives) {
        for at in 0..archive.len() {
            for byte in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut damaged = archive.clone();
                damaged[at] = byte;
                corpus.insert(damaged.clone());
                damaged[(at + 1) % archive.len()] = 0;
                corpus.insert(damaged);
            }
        }
    }
    corpus
}

#[test]
fn types_with_one_fingerprint_read_the_same() {
    let subjects = structs();
    let corpus = corpus(&subjects);
    let readings: Vec<Vec<_>> = subjects
        .iter()
        .map(|subject| corpus.iter().map(|bytes| (subject.read)(bytes)).collect())
        .collect();
    for (i, one) in subjects.iter().enumerate() {
        assert!(readings[i].iter().any(Option::is_some), "{} reads nothing", one.name);
        for (j, other) in subjects.iter().enumerate().take(i) {
            let differ = readings[i] != readings[j];
            let told_apart = one.fingerprint != other.fingerprint;
            assert!(told_apart || !differ, "{} and {} share a fingerprint", one.name, other.name);
        }
    }
}

/// The memory of a composite type in a random description.
type Block = [u8; 8];

/// Draws descriptions of types at random.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn list<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> &'static [T] {
        let len = self.below(3);
        kept((0..len).map(|_| draw(self)).collect())
    }

    fn name(&mut self) -> &'static str {
        self.of(&["a", "b", "ab"])
    }

    fn fields(&mut self, depth: usize) -> &'static [Field] {
        self.list(|draw| {
            let (name, shape) = (draw.name(), draw.shape(depth));
            let field = match shape.size {
                1 => Field::new::<u8>(name, shape),
                _ => Field::new::<Block>(name, shape),
            };
            field.at(draw.below(3))
        })
    }

    fn fields_with_niches(&mut self, depth: usize) -> &'static [Field] {
        let fields = self.fields(depth).iter().map(|field| {
            let niches: [&[&str]; 4] =
                [&[], &[], &["option-zero"], &["option-zero", "option-null"]];
            field.with_niches(self.of(&niches))
        });
        kept(fields.collect())
    }

    fn shape(&mut self, depth: usize) -> &'static Shape {
        if depth == 0 {
            return self.of(&[u8::SHAPE, i8::SHAPE, bool::SHAPE]);
        }
        let depth = depth - 1;
        let shape = match self.below(5) {
            0 => return self.shape(0),
            1 => {
                let named = Named::new(self.name());
                Shape::structure::<Block>(named, self.fields_with_niches(depth))
            }
            2 => {
                let variants = self.list(|draw| Variant {
                    name: draw.name(),
                    tag: draw.of(&[0, 1]),
                    fields: draw.fields(depth),
                });
                Shape::enumeration::<Block>(Named::new(self.name()), variants)
            }
            3 => Shape::array::<Block>(self.shape(depth), self.below(3)),
            _ => {
                let of = self.list(|draw| draw.shape(depth));
                Shape::container::<Block>(self.of(&["box", "vec"]), TypeName::plain("C"), of)
            }
        };
        &kept(vec![shape])[0]
    }
}

/// Makes a list static. It stays reachable, so that a leak checker does not report it.
fn kept<T>(list: Vec<T>) -> &'static [T] {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let list = list.leak();
    KEPT.lock().unwrap().push(list.as_ptr().expose_provenance());
    list
}

#[test]
fn descriptions_with_one_hash_have_one_schema() {
    let mut draw = Draw(1);
    let mut schemas = BTreeMap::new();
    for _ in 0..20_000 {
        let shape = draw.shape(2);
        let schema = schema::of(shape);
        let first = schemas.entry(shape.hash).or_insert_with(|| schema.clone());
        assert_eq!(*first, schema);
    }
    assert!(schemas.len() > 1_000, "{} schemas", schemas.len());
}
