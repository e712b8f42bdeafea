//! Packet types of every shape, values of each, and code that reads all of a packet.

use packetring::packet::ArchivedTail;
use packetring::rkyv::{self, collections::btree_map::ArchivedBTreeMap, primitive::ArchivedU32};
use packetring::{Tail, one_of, packet, with};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CString;
use std::fmt::Debug;
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

/// Numbers and number-like types: of fixed size, without pointers.
#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
pub(crate) struct Flat {
    id: u64,
    parts: [u32; 3],
    share: f64,
    flag: bool,
    letter: char,
    never_zero: NonZeroU16,
    perhaps: Option<u16>,
}

/// All kinds of pointers.
#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
pub(crate) struct Nested {
    text: String,
    c_text: CString,
    boxed: Box<[Box<u64>]>,
    pairs: Vec<(u8, Option<String>)>,
    results: [Result<u16, Box<str>>; 2],
    queue: VecDeque<Vec<u8>>,
    took: Duration,
    from: SocketAddr,
    #[rkyv(with = with::Niche)]
    niche: Option<Box<[u32]>>,
    kind: Kind,
}

#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
#[repr(u8)]
pub(crate) enum Kind {
    Unit,
    Named { a: u16, b: Vec<String> },
    Tuple(Box<str>, f64) = 200,
}

#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
pub(crate) struct Trees {
    numbers: BTreeMap<u32, u32>,
    texts: BTreeMap<String, Vec<BTreeSet<String>>>,
    flags: Option<BTreeSet<bool>>,
    again: Vec<Trees>,
}

/// Packets nested to the maximum depth.
#[packet]
#[derive(Debug, Clone)]
#[rkyv(derive(Debug))]
pub(crate) struct Chain {
    number: u32,
    next: Option<Box<Chain>>,
}

pub(crate) type Tuple = (u8, String, [Option<Box<u32>>; 3], (bool, char));

/// Packet types that the subscriber of any type opens.
#[one_of]
pub(crate) enum Any {
    Flat(Flat),
    Text(String),
    Numbers(Vec<u32>),
    Texts(Vec<String>),
    Nested(Nested),
    Trees(Trees),
    Chain(Chain),
    Tail(Tail<u64, u8>),
}

/// Number of packet types.
pub(crate) const TYPES: usize = 11;

/// Calls a generic function with the sample values of the type of a number, and boxes its result.
macro_rules! of_type {
    ($which:expr, $new:path) => {
        match $which {
            0 => Box::new($new(types::flat())),
            1 => Box::new($new(types::texts())),
            2 => Box::new($new(types::numbers())),
            3 => Box::new($new(types::lists())),
            4 => Box::new($new(types::nested())),
            5 => Box::new($new(types::trees())),
            6 => Box::new($new(types::chains())),
            7 => Box::new($new(types::tuples())),
            8 => Box::new($new(types::tails())),
            9 => Box::new($new(types::wide_tails())),
            _ => Box::new($new(types::maps())),
        }
    };
}

pub(crate) use of_type;

pub(crate) fn flat() -> Vec<Flat> {
    let one = |flag| Flat {
        id: 7,
        parts: [1, 2, 3],
        share: 0.5,
        flag,
        letter: 'é',
        never_zero: NonZeroU16::MIN,
        perhaps: flag.then_some(9),
    };
    vec![one(false), one(true)]
}

pub(crate) fn texts() -> Vec<String> {
    vec![String::new(), "inline".into(), "a text that is out of line".into(), "é".repeat(90)]
}

pub(crate) fn numbers() -> Vec<Vec<u32>> {
    vec![vec![], vec![1, 2, 3], (0..200).collect()]
}

pub(crate) fn lists() -> Vec<Vec<String>> {
    vec![texts(), vec!["the same".into(); 9]]
}

pub(crate) fn nested() -> Vec<Nested> {
    let kinds = [
        Kind::Unit,
        Kind::Named { a: 1, b: vec!["one".into(), "another string".into()] },
        Kind::Tuple("tuple".into(), 0.5),
    ];
    let one = |kind| Nested {
        text: "a text that is out of line".into(),
        c_text: CString::new("and one for C").unwrap(),
        boxed: [Box::new(1), Box::new(2)].into(),
        pairs: vec![(1, Some("inline".into())), (2, None)],
        results: [Ok(3), Err("an error".into())],
        queue: [vec![1, 2], vec![3]].into(),
        took: Duration::new(1, 999_999_999),
        from: "[::1]:80".parse().unwrap(),
        niche: Some([1, 2, 3].into()),
        kind,
    };
    kinds.map(one).into()
}

pub(crate) fn trees() -> Vec<Trees> {
    fn one(depth: usize) -> Trees {
        let set = |i: usize| (0..i).map(|j| format!("member number {j}")).collect();
        Trees {
            numbers: (0..17 * depth as u32).map(|i| (i, i * i)).collect(),
            texts: (0..depth).map(|i| (format!("text number {i}"), vec![set(i), set(1)])).collect(),
            flags: Some(BTreeSet::from([false, true])),
            again: (0..depth).map(one).collect(),
        }
    }
    vec![one(0), one(1), one(2)]
}

pub(crate) fn chains() -> Vec<Chain> {
    let chain = |depth| {
        let first = Chain { number: 0, next: None };
        (1..depth).fold(first, |next, number| Chain { number, next: Some(Box::new(next)) })
    };
    vec![chain(1), chain(3), chain(62)]
}

pub(crate) fn tuples() -> Vec<Tuple> {
    vec![(1, "a text that is out of line".into(), [None, Some(Box::new(2)), None], (true, 'x'))]
}

pub(crate) fn tails() -> Vec<Tail<u64, u8>> {
    [0, 5, 300].map(|len| Tail { head: 7, tail: vec![1; len] }).into()
}

pub(crate) fn wide_tails() -> Vec<Tail<Flat, (u16, bool)>> {
    [0, 40].map(|len| Tail { head: flat().remove(0), tail: vec![(1, true); len] }).into()
}

pub(crate) fn maps() -> Vec<BTreeMap<u32, u32>> {
    [0, 1, 6, 37, 100].map(|len| (0..len).map(|i| (i, i + 1)).collect()).into()
}

/// Reads all of a packet.
pub(crate) trait Read {
    /// Uses every accessor except printing.
    fn read(&self) {}

    /// Formats the packet.
    fn print(&self) -> String;
}

impl Read for rkyv::string::ArchivedString {
    fn read(&self) {
        black_box(self.chars().rev().count());
    }

    fn print(&self) -> String {
        format!("{self:?}")
    }
}

impl Read for ArchivedFlat {
    fn read(&self) {
        black_box((self.flag as u8, self.letter.to_native().is_alphabetic()));
        black_box((self.never_zero.get(), self.perhaps.as_ref().map(|n| n.to_native())));
    }

    fn print(&self) -> String {
        format!("{self:?}")
    }
}

impl Read for ArchivedNested {
    fn read(&self) {
        self.text.read();
        black_box((self.c_text.as_c_str().to_bytes().len(), self.niche.as_ref().map(|n| n.len())));
        black_box(self.boxed.iter().map(|number| number.to_native() & 1).sum::<u64>());
        black_box(self.pairs.iter().filter_map(|pair| pair.1.as_ref()).map(|t| t.len()).max());
        black_box(self.queue.iter().map(|bytes| bytes.len()).max());
        black_box((Duration::from(self.took), self.from.as_socket_addr()));
    }

    fn print(&self) -> String {
        format!("{self:?}")
    }
}

impl Read for ArchivedChain {
    fn read(&self) {
        let mut chain = Some(self);
        while let Some(one) = chain {
            chain = one.next.as_ref().map(|next| &**next);
        }
    }

    fn print(&self) -> String {
        format!("{self:?}")
    }
}

impl Read for ArchivedTrees {
    fn read(&self) {
        self.numbers.read();
        for (key, sets) in self.texts.iter() {
            assert!(self.texts.get(key).is_none_or(|found| found.len() <= 1 << 16));
            black_box(sets.iter().flat_map(|set| set.iter()).map(|text| text.len()).max());
        }
        self.again.iter().for_each(Read::read);
    }

    fn print(&self) -> String {
        format!("{self:?}")
    }
}

impl Read for ArchivedBTreeMap<ArchivedU32, ArchivedU32> {
    fn read(&self) {
        let found = self.iter().map(|(key, _)| black_box(self.get(key)).is_some());
        assert_eq!(found.count(), self.len());
        let (low, high) = (ArchivedU32::from_native(3), ArchivedU32::from_native(20));
        black_box(self.range(low..high).count() + self.range(low..).count());
        black_box(self.range(..high).count() + self.range(..).count());
    }

    fn print(&self) -> String {
        format!("{self:?}")
    }
}

impl<T: Debug> Read for rkyv::vec::ArchivedVec<T> {
    fn print(&self) -> String {
        format!("{self:?}")
    }
}
impl<H, E> Read for ArchivedTail<H, E>
where
    H: rkyv::Archive<Archived: Debug>,
    E: rkyv::Archive<Archived: Debug>,
{
    fn print(&self) -> String {
        format!("{:?} {:?}", self.head, self.tail)
    }
}

impl<A: Debug, B: Debug, C: Debug, D: Debug> Read for rkyv::tuple::ArchivedTuple4<A, B, C, D> {
    fn print(&self) -> String {
        format!("{self:?}")
    }
}
