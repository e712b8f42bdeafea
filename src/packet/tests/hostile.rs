//! Corrupted archives are refused, or safe to use in every way. They never cause a panic, crash or
//! hang.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fmt::Debug,
    hint::black_box,
    net::SocketAddr,
    time::Duration,
};

use rkyv::{collections::btree_map::ArchivedBTreeMap, primitive::ArchivedU32, rancor::Failure};

use super::Archive;
use crate::{
    packet,
    packet::{Invalid, Packet, Scratch, Unpack, explain, measure, validate},
    with,
};

#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
struct Everything {
    flag: bool,
    letter: char,
    text: String,
    c_text: CString,
    nested: Vec<(u8, Option<String>)>,
    results: [Result<u16, Box<str>>; 2],
    boxed: Box<[Box<u64>]>,
    took: Duration,
    from: SocketAddr,
    #[rkyv(with = with::Niche)]
    niche: Option<Box<[u32]>>,
    #[rkyv(with = with::DefaultNiche)]
    maybe: Option<bool>,
    kind: Kind,
}

#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
#[repr(u8)]
enum Kind {
    Unit,
    Named { a: u16, b: Vec<String> },
    Tuple(Box<str>, f64) = 200,
}

#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
struct Trees {
    numbers: BTreeMap<u32, u32>,
    texts: BTreeMap<String, Vec<BTreeSet<String>>>,
    flags: Option<BTreeSet<bool>>,
    again: Vec<Trees>,
}

fn everything(kind: Kind) -> Everything {
    Everything {
        flag: true,
        letter: 'x',
        text: String::from("a text that is out of line"),
        c_text: CString::new("and one for C").unwrap(),
        nested: vec![(1, Some(String::from("inline"))), (2, None)],
        results: [Ok(3), Err("an error".into())],
        boxed: [Box::new(1), Box::new(2)].into(),
        took: Duration::new(1, 999_999_999),
        from: "[::1]:80".parse().unwrap(),
        niche: Some([1, 2, 3].into()),
        maybe: Some(true),
        kind,
    }
}

fn trees(depth: usize) -> Trees {
    let set = |i: usize| (0..i).map(|j| format!("member number {j}")).collect();
    Trees {
        numbers: (0..37).map(|i| (i, i * i)).collect(),
        texts: (0..7).map(|i| (format!("text number {i}"), vec![set(i), set(1)])).collect(),
        flags: Some(BTreeSet::from([false, true])),
        again: (0..depth).map(trees).collect(),
    }
}

/// A deterministic generator of test cases.
struct Cases(u64);

impl Cases {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    /// Flips a bit, or writes a word that is critical in pointers, lengths or tags.
    fn corrupt(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.next(3) {
            let at = self.next(bytes.len());
            match self.next(3) {
                0 => bytes[at] ^= 1 << self.next(8),
                1 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][self.next(6)],
                _ => {
                    let words =
                        [0, 1, 2, 4, 5, 6, -1, -4, -8, -12, -16, -64, -100, i32::MAX, i32::MIN];
                    let word = words[self.next(words.len())].to_le_bytes();
                    if let Some(place) = bytes.get_mut(at & !3..(at & !3) + 4) {
                        place.copy_from_slice(&word);
                    }
                }
            }
        }
    }
}

/// Corrupts archives of a value. Returns how many passed the check.
fn corrupted<T: Unpack + Debug>(value: &T, cases: usize, walk: fn(&T::Archived)) -> usize {
    let original = Archive::of(value).unwrap();
    let mut archive = Archive::of(value).unwrap();
    let mut generator = Cases(cases as u64);
    let mut accepted = 0;
    for _ in 0..cases {
        archive.bytes_mut().copy_from_slice(original.bytes());
        generator.corrupt(archive.bytes_mut());
        match validate::<T>(archive.bytes()) {
            Ok(archived) => {
                accepted += 1;
                walk(archived);
                black_box(format!("{:?}", T::unpack(archived)));
            }
            Err(Invalid) => assert!(!explain::<T>(archive.bytes()).is_empty()),
        }
    }
    accepted
}

#[test]
fn corrupted_fields_are_refused_or_harmless() {
    let kinds = [
        Kind::Unit,
        Kind::Named { a: 1, b: vec![String::from("one"), String::from("another string")] },
        Kind::Tuple("tuple".into(), 0.5),
    ];
    for kind in kinds {
        let accepted = corrupted(&everything(kind), 20_000, |archived| {
            black_box(format!("{archived:?}"));
        });
        assert!(accepted > 1000, "{accepted}");
    }
}

fn walk_trees(trees: &ArchivedTrees) {
    black_box(format!("{trees:?}"));
    let mut count = 0;
    for (key, value) in trees.numbers.iter() {
        count += 1;
        black_box((trees.numbers.get(key), value));
    }
    assert_eq!(count, trees.numbers.len());
    let (low, high) = (ArchivedU32::from_native(3), ArchivedU32::from_native(20));
    black_box(trees.numbers.range(low..high).count() + trees.numbers.range(low..).count());
    black_box(trees.numbers.range(..high).count() + trees.numbers.range(..).count());
    for sets in trees.texts.values().flat_map(|sets| sets.iter()) {
        black_box(sets.iter().map(|text| text.len()).sum::<usize>());
    }
    trees.again.iter().for_each(walk_trees);
}

#[test]
fn corrupted_trees_are_refused_or_harmless() {
    let accepted =
        corrupted(&trees(0), 40_000, walk_trees) + corrupted(&trees(2), 5_000, walk_trees);
    assert!(accepted > 1000, "{accepted}");
}

#[test]
fn random_bytes_are_refused_or_harmless() {
    let mut generator = Cases(7);
    for _ in 0..20_000 {
        let len = generator.next(200);
        let mut archive = Archive::room(len);
        archive.bytes_mut().fill_with(|| [0, 1, 2, 4, 0xff, 0xf8][generator.next(6)]);
        if let Ok(archived) = validate::<Trees>(archive.bytes()) {
            walk_trees(archived);
        }
        black_box(validate::<Everything>(archive.bytes()).is_ok());
    }
}

#[test]
fn bytes_that_are_short_or_misplaced_are_refused() {
    let archive = Archive::of(&trees(0)).unwrap();
    let bytes = archive.bytes();
    for start in 1..16 {
        assert!(validate::<Trees>(&bytes[start..]).is_err());
    }
    for len in 0..size_of::<ArchivedTrees>() {
        assert!(validate::<Trees>(&bytes[..len]).is_err());
    }
    assert!(explain::<Trees>(&bytes[1..]).contains("aligned to 16"));
    assert!(validate::<u64>(&Archive::room(9).bytes()[..9]).is_err());
}

/// A map of six numbers: a root node with five entries, and before its first entry a leaf with one.
struct SixNumbers {
    archive: Archive,
    leaf_len: usize,
    first_child: usize,
    map_len: usize,
}

impl SixNumbers {
    fn new() -> Self {
        let map: BTreeMap<u32, u32> = (10..16).map(|i| (i, i)).collect();
        let archive = Archive::of(&map).unwrap();
        // The leaf: kind, 5 keys, 5 values, length. The inner node: kind, 5 keys, 5 values, 6
        // children.
        let (leaf_len, first_child) = (44, 48 + 44);
        let map_len = archive.bytes().len() - 4;
        Self { archive, leaf_len, first_child, map_len }
    }

    fn put(&mut self, at: usize, old: i32, new: i32) {
        let place = &mut self.archive.bytes_mut()[at..at + 4];
        assert_eq!(place, old.to_le_bytes(), "rkyv lays trees out differently");
        place.copy_from_slice(&new.to_le_bytes());
    }

    fn passes_rkyv(&self) -> bool {
        type Map = ArchivedBTreeMap<ArchivedU32, ArchivedU32>;
        rkyv::api::low::access::<Map, Failure>(self.archive.bytes()).is_ok()
    }

    fn passes(&self) -> bool {
        validate::<BTreeMap<u32, u32>>(self.archive.bytes()).is_ok()
    }
}

#[test]
fn a_tree_without_a_first_child_is_refused() {
    let mut map = SixNumbers::new();
    assert!(map.passes());
    let (child, len) = (map.first_child, map.map_len);
    map.put(child, -i32::try_from(child).unwrap(), 1);
    map.put(len, 6, 5);
    assert!(map.passes_rkyv(), "rkyv checks this now: remove the audit");
    assert!(!map.passes());
    assert!(explain::<BTreeMap<u32, u32>>(map.archive.bytes()).contains("first child"));
}

#[test]
fn a_tree_with_an_empty_leaf_is_refused() {
    let mut map = SixNumbers::new();
    let (leaf_len, len) = (map.leaf_len, map.map_len);
    map.put(leaf_len, 1, 0);
    map.put(len, 6, 5);
    assert!(map.passes_rkyv(), "rkyv checks this now: remove the audit");
    assert!(!map.passes());
}

#[test]
fn unsound_trees_are_found_wherever_they_are() {
    fn refuses<T: Packet>(wrap: impl Fn(BTreeMap<u32, u32>) -> T) {
        let map = || (10..16).map(|i| (i, i)).collect::<BTreeMap<u32, u32>>();
        let mut archive = Archive::of(&wrap(map())).unwrap();
        assert!(validate::<T>(archive.bytes()).is_ok());
        let six = archive.bytes().windows(8).rposition(|word| word[4..] == [6, 0, 0, 0]).unwrap();
        archive.bytes_mut()[six + 4] = 5;
        archive.bytes_mut()[44] = 0;
        assert!(validate::<T>(archive.bytes()).is_err(), "{}", T::TYPE.name);
    }
    refuses(|map| map);
    refuses(|map| vec![map]);
    refuses(|map| Some(Box::new(map)));
    refuses(|map| (1_u8, [Ok::<_, u8>(map)]));
    refuses(|map| BTreeMap::from([(1_u8, map)]));
    refuses(std::ops::Bound::Included);
    refuses(|map| (map.clone()..map).start..);
    refuses(|map| Box::<[_]>::from([map]));
    refuses(|numbers| {
        let none = || Trees {
            numbers: BTreeMap::new(),
            texts: BTreeMap::new(),
            flags: None,
            again: vec![],
        };
        Trees { again: vec![Trees { numbers, ..none() }], ..none() }
    });
    refuses(InStruct);
    refuses(|map| InEnum::Named { map });
    refuses(|map| InNiche { map: Some([map].into()) });
}

#[packet]
struct InStruct(BTreeMap<u32, u32>);

#[packet]
enum InEnum {
    Named { map: BTreeMap<u32, u32> },
}

#[packet]
struct InNiche {
    #[rkyv(with = with::Niche)]
    map: Option<Box<[BTreeMap<u32, u32>]>>,
}

#[packet]
struct Seen {
    #[rkyv(with = with::AsUnixTime)]
    at: std::time::SystemTime,
}

#[test]
fn times_out_of_range_are_refused() {
    let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    let mut archive = Archive::of(&Seen { at }).unwrap();
    assert_eq!(Seen::unpack(archive.view::<Seen>()).unwrap().at, at);
    archive.bytes_mut()[..8].fill(0xff);
    let error = Seen::unpack(archive.view::<Seen>()).err().unwrap().to_string();
    assert!(error.contains("18446744073709551615 seconds after 1970"), "{error}");
    let before = Archive::of(&Seen { at: at - Duration::from_secs(6) });
    assert!(before.err().unwrap().to_string().contains("before 1970"));
}

#[packet]
#[derive(Debug)]
struct Chain {
    next: Option<Box<Chain>>,
}

#[test]
fn a_value_that_nests_too_deeply_is_not_sent() {
    let chain = |depth| {
        (0..depth).fold(Chain { next: None }, |chain, _| Chain { next: Some(Box::new(chain)) })
    };
    assert!(Archive::of(&chain(62)).is_ok());
    let error = Archive::of(&chain(63)).err().unwrap().to_string();
    assert!(error.contains("maximum subtree depth"), "{error}");
    // The counting pass does not check the depth.
    assert!(measure(&chain(63), &mut Scratch::new()).is_ok());
}
