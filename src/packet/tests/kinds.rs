//! Values of every kind survive a round trip through an archive.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    ffi::CString,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num::{NonZeroI128, NonZeroU8, NonZeroU32},
    ops::{Bound, Range, RangeFrom, RangeFull, RangeTo, RangeToInclusive},
    path::PathBuf,
    sync::{Mutex, atomic::AtomicU16},
    time::{Duration, SystemTime},
};

use super::{Archive, round_trip};
use crate::{packet, with};

#[test]
fn numbers() {
    round_trip((true, 'ß', 1_u8, 2_u16, 3_u32, 4_u64, 5_u128));
    round_trip((-1_i8, -2_i16, -3_i32, -4_i64, -5_i128, 1.5_f32, -2.5_f64));
    round_trip(NonZeroU8::new(3).unwrap());
    round_trip((NonZeroU32::new(3).unwrap(), NonZeroI128::new(-9).unwrap()));
    round_trip(());
}

#[test]
fn containers() {
    round_trip([1_u16, 2, 3]);
    round_trip((1_u8, 2_u64, (3_u8,)));
    round_trip(Some(String::from("some")));
    round_trip(None::<u128>);
    round_trip(Ok::<u32, String>(1));
    round_trip(Err::<u32, String>(String::from("a longer error text")));
    round_trip(Box::new(9_u64));
    round_trip(Box::<[u32]>::from([1, 2, 3]));
    round_trip(Box::<str>::from("boxed text"));
    round_trip(vec![String::from("short"), String::from("one that is not inline")]);
    round_trip(VecDeque::from([1_u8, 2, 3]));
    round_trip(String::from("exactly8"));
    round_trip(CString::new("c text").unwrap());
    round_trip(Vec::<Vec<u64>>::new());
    round_trip(PhantomData::<Vec<u8>>);
}

#[test]
fn trees() {
    for len in [0, 1, 5, 6, 35, 36, 37, 300] {
        round_trip((0..len).map(|i| (i, format!("value {i}"))).collect::<BTreeMap<u32, String>>());
        round_trip((0..len).map(|i| format!("key number {i}")).collect::<BTreeSet<String>>());
    }
}

#[test]
fn library_types() {
    round_trip(Duration::from_millis(1234));
    round_trip(Ipv4Addr::LOCALHOST);
    round_trip(IpAddr::V6(Ipv6Addr::LOCALHOST));
    round_trip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    round_trip(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80));
    round_trip(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 1, 2)));
    round_trip::<Range<u32>>(1..5);
    round_trip::<RangeFrom<String>>(String::from("from here on")..);
    round_trip::<RangeTo<u8>>(..3);
    round_trip::<RangeToInclusive<u8>>(..=3);
    round_trip::<RangeFull>(..);
    round_trip((Bound::Included(1_u32), Bound::Excluded(2_u32), Bound::<u32>::Unbounded));
}

#[cfg(feature = "bytes")]
#[test]
fn bytes() {
    round_trip(bytes::Bytes::from_static(b"bytes"));
}

#[cfg(feature = "uuid")]
#[test]
fn uuids() {
    round_trip(uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
struct Chat {
    name: String,
    age: u32,
    r#type: Kind,
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
struct Point(f64, f64);

#[packet]
#[derive(Debug, Clone, PartialEq)]
struct Stop;

#[packet]
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Plain,
    Moved(Point, u8),
    Renamed { from: String, to: Option<Box<str>> },
}

#[test]
fn structs_and_enums() {
    let kinds = [
        Kind::Plain,
        Kind::Moved(Point(1.0, 2.0), 3),
        Kind::Renamed { from: String::from("a longer name"), to: Some("b".into()) },
    ];
    for kind in kinds {
        round_trip(Chat { name: String::from("Åsa"), age: 30, r#type: kind });
    }
    round_trip(Stop);
    round_trip(vec![Some((Stop, Point(0.0, 1.0)))]);
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
struct Pair<A, B = u8>
where
    A: Clone,
{
    a: A,
    b: Vec<B>,
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
enum Either<L, R> {
    Left(L),
    Right { value: R },
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
struct Grid<const W: usize, const H: usize, const SIGNED: i8> {
    cells: [[u16; W]; H],
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
struct Tagged<T> {
    id: u64,
    of: PhantomData<T>,
}

#[test]
fn generics() {
    round_trip(Pair { a: String::from("a"), b: vec![1_u8, 2] });
    round_trip(Pair { a: Stop, b: vec![Either::<u8, String>::Left(1)] });
    round_trip(Either::<Point, String>::Right { value: String::from("right hand side") });
    round_trip(Grid::<3, 2, -1> { cells: [[1, 2, 3], [4, 5, 6]] });
    round_trip(Tagged::<Stop> { id: 1, of: PhantomData });
}

#[packet]
#[derive(Debug, Clone, PartialEq, Default)]
struct Node {
    value: u32,
    children: Vec<Node>,
    next: Option<Box<Self>>,
    by_name: BTreeMap<String, (u8, Node)>,
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
enum Tree<T> {
    Leaf(T),
    Fork(Box<Tree<T>>, Box<Tree<T>>),
}

#[packet]
#[derive(Debug, Clone, PartialEq)]
#[rkyv(archived = Renamed)]
struct Loose {
    #[rkyv(with = with::AsVec)]
    children: HashMap<u32, Loose>,
}

#[test]
fn recursive_types() {
    let leaf = Node { value: 3, ..Node::default() };
    let inner = Node { children: vec![leaf.clone(), leaf.clone()], ..Node::default() };
    round_trip(Node {
        value: 1,
        children: vec![inner.clone()],
        next: Some(Box::new(leaf.clone())),
        by_name: BTreeMap::from([(String::from("leaf"), (7, leaf)), (String::new(), (8, inner))]),
    });
    let leaf = |text: &str| Box::new(Tree::Leaf(String::from(text)));
    round_trip(Tree::Fork(leaf("left"), Box::new(Tree::Fork(leaf("a"), leaf("right and long")))));
    round_trip(Loose { children: HashMap::from([(1, Loose { children: HashMap::new() })]) });
}

#[packet]
#[derive(Debug, PartialEq)]
struct Wrapped {
    #[rkyv(with = with::AsVec)]
    map: HashMap<String, u32>,
    #[rkyv(with = with::AsVec)]
    set: HashSet<u32>,
    #[rkyv(with = with::AsVec)]
    tree: BTreeMap<u8, String>,
    #[rkyv(with = with::AsUnixTime)]
    at: SystemTime,
    #[rkyv(with = with::AsString)]
    path: PathBuf,
    #[rkyv(with = with::Niche)]
    niche: Option<Box<u64>>,
    #[rkyv(with = with::Niche)]
    none: Option<NonZeroU32>,
    #[rkyv(with = with::Skip)]
    skipped: Vec<*const u8>,
    #[rkyv(with = with::AsBox)]
    boxed: u128,
    #[rkyv(with = with::Map<with::AsString>)]
    paths: Vec<PathBuf>,
    #[rkyv(with = with::Identity)]
    same: u8,
    #[rkyv(with = with::AsOwned)]
    cow: std::borrow::Cow<'static, str>,
    #[rkyv(with = with::DefaultNiche)]
    flag: Option<bool>,
}

#[packet]
#[derive(Debug)]
struct Guarded {
    #[rkyv(with = with::Lock)]
    value: Mutex<String>,
    #[rkyv(with = with::AtomicLoad<with::Relaxed>)]
    count: AtomicU16,
}

#[test]
fn wrappers() {
    round_trip(Wrapped {
        map: HashMap::from([(String::from("one that is long"), 1), (String::from("two"), 2)]),
        set: HashSet::from([1, 2, 3]),
        tree: BTreeMap::from([(1, String::from("one"))]),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(9),
        path: PathBuf::from("/a/path/to/a/file"),
        niche: Some(Box::new(4)),
        none: None,
        skipped: Vec::new(),
        boxed: 5,
        paths: vec![PathBuf::from("a"), PathBuf::from("b")],
        same: 6,
        cow: "owned in the end".into(),
        flag: Some(false),
    });
    let guarded = Guarded { value: Mutex::new(String::from("guarded")), count: AtomicU16::new(7) };
    let archive = Archive::of(&guarded).unwrap();
    assert_eq!(archive.view::<Guarded>().value, "guarded");
    assert_eq!(archive.view::<Guarded>().count, 7);
}

#[test]
fn fields_are_read_in_place() {
    let kind = Kind::Renamed { from: String::from("old"), to: None };
    let archive = Archive::of(&Chat { name: String::from("Åsa"), age: 30, r#type: kind }).unwrap();
    let chat = archive.view::<Chat>();
    assert_eq!((chat.name.as_str(), chat.age.to_native()), ("Åsa", 30));
    assert!(
        matches!(&chat.r#type, ArchivedKind::Renamed { from, to } if from == "old" && to.is_none())
    );
}

#[packet]
#[derive(Debug, PartialEq)]
struct Printed {
    name: String,
    boxed: Box<u32>,
    text: Box<str>,
    slice: Box<[u16]>,
    list: Vec<Kind>,
    option: Option<Box<u64>>,
    map: BTreeMap<String, (u8, char)>,
    result: Result<f64, String>,
    nested: Either<u8, Vec<String>>,
    r#type: Stop,
}

fn printed() -> Printed {
    Printed {
        name: String::from("a name that is not inline"),
        boxed: Box::new(7),
        text: "boxed".into(),
        slice: Box::from([1, 2]),
        list: vec![Kind::Plain, Kind::Moved(Point(1.0, 2.0), 3)],
        option: Some(Box::new(8)),
        map: BTreeMap::from([(String::from("key"), (9, 'x'))]),
        result: Ok(0.5),
        nested: Either::Right { value: vec![String::from("right")] },
        r#type: Stop,
    }
}

#[test]
fn a_derived_debug_prints_the_values_of_a_packet() {
    let archive = Archive::of(&printed()).unwrap();
    let native = format!("{:?}", printed());
    let archived = format!("{:?}", archive.view::<Printed>());
    // Structs have the name of the archived type. All else is equal.
    assert_eq!(archived.replace("Archived", ""), native);
    assert!(
        archived.starts_with("ArchivedPrinted { name: \"a name that is not inline\", boxed: 7")
    );
    let pretty = format!("{:#?}", archive.view::<Printed>());
    assert_eq!(pretty.replace("Archived", ""), format!("{:#?}", printed()));
}

#[packet]
#[derive(Debug)]
struct Library {
    at: (Duration, IpAddr, SocketAddr, CString),
    ranges: (Range<u32>, RangeFrom<u8>, RangeTo<u16>, RangeToInclusive<u8>, RangeFull),
    bounds: [Bound<Box<u8>>; 3],
    #[rkyv(with = with::Niche)]
    niche: Option<Box<str>>,
    #[rkyv(with = with::Niche)]
    number: Option<NonZeroU32>,
    #[rkyv(with = with::DefaultNiche)]
    flag: Option<bool>,
    deque: VecDeque<(u8,)>,
    phantom: PhantomData<u8>,
    unit: (),
    set: BTreeSet<Box<str>>,
}

#[test]
fn a_derived_debug_prints_library_types_like_their_values() {
    let library = Library {
        at: (
            Duration::from_millis(1500),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0)),
            CString::new("c text").unwrap(),
        ),
        ranges: (1..5, 2.., ..3, ..=4, ..),
        bounds: [Bound::Included(Box::new(1)), Bound::Excluded(Box::new(2)), Bound::Unbounded],
        niche: Some("niche".into()),
        number: NonZeroU32::new(5),
        flag: Some(true),
        deque: VecDeque::from([(6,)]),
        phantom: PhantomData,
        unit: (),
        set: BTreeSet::from(["one".into(), "two".into()]),
    };
    let archive = Archive::of(&library).unwrap();
    let archived = format!("{:?}", archive.view::<Library>());
    assert_eq!(archived.replacen("Archived", "", 1), format!("{library:?}"));
}

#[test]
fn a_derived_debug_prints_wrapped_fields_and_tails() {
    let tail = crate::Tail { head: Stop, tail: vec![String::from("a"), String::from("b")] };
    let archive = Archive::of(&tail).unwrap();
    let text = format!("{:?}", archive.view::<crate::Tail<Stop, String>>());
    assert_eq!(text, r#"ArchivedTail { head: ArchivedStop, tail: ["a", "b"] }"#);
    assert!(*archive.view::<crate::Tail<Stop, String>>() == tail);

    let guarded = Guarded { value: Mutex::new(String::from("locked")), count: AtomicU16::new(7) };
    let archive = Archive::of(&guarded).unwrap();
    let text = format!("{:?}", archive.view::<Guarded>());
    assert_eq!(text, r#"ArchivedGuarded { value: "locked", count: 7 }"#);

    let loose = Loose { children: HashMap::from([(1, Loose { children: HashMap::new() })]) };
    let archive = Archive::of(&loose).unwrap();
    let text = format!("{:?}", archive.view::<Loose>());
    assert_eq!(text, "Renamed { children: [Entry { key: 1, value: Renamed { children: [] } }] }");
}

#[test]
fn a_derived_equality_compares_packets_with_each_other_and_with_values() {
    let (one, same) = (Archive::of(&printed()).unwrap(), Archive::of(&printed()).unwrap());
    assert_eq!(one.view::<Printed>(), same.view::<Printed>());
    assert_eq!(*one.view::<Printed>(), printed());
    assert_eq!(printed(), *one.view::<Printed>());
    let changes: [fn(&mut Printed); 10] = [
        |value| value.name.push('x'),
        |value| *value.boxed = 8,
        |value| value.text = "other".into(),
        |value| value.slice[1] = 3,
        |value| value.list[1] = Kind::Moved(Point(1.0, 2.0), 4),
        |value| value.list[0] = Kind::Renamed { from: String::new(), to: None },
        |value| value.option = None,
        |value| *value.map.get_mut("key").unwrap() = (9, 'y'),
        |value| value.result = Err(String::from("error")),
        |value| value.nested = Either::Left(1),
    ];
    for change in changes {
        let mut other = printed();
        change(&mut other);
        let archive = Archive::of(&other).unwrap();
        assert_ne!(one.view::<Printed>(), archive.view::<Printed>());
        assert_ne!(*one.view::<Printed>(), other);
        assert_ne!(other, *one.view::<Printed>());
    }
}

#[test]
fn recursive_and_generic_packets_are_compared_and_printed() {
    let leaf = Node { value: 3, ..Node::default() };
    let node = Node { children: vec![leaf.clone()], next: Some(Box::new(leaf)), ..Node::default() };
    let archive = Archive::of(&node).unwrap();
    assert_eq!(*archive.view::<Node>(), node);
    let text = format!("{:?}", archive.view::<Node>());
    assert_eq!(text.replace("Archived", ""), format!("{node:?}"));

    let tree = Tree::Fork(Box::new(Tree::Leaf(1_u32)), Box::new(Tree::Leaf(2)));
    let archive = Archive::of(&tree).unwrap();
    assert_eq!(*archive.view::<Tree<u32>>(), tree);
    assert_eq!(format!("{:?}", archive.view::<Tree<u32>>()), "Fork(Leaf(1), Leaf(2))");
}

/// Has `Debug` and `PartialEq` by hand, so the archived type lacks them.
#[packet]
struct ByHand(u8);

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("by hand")
    }
}

impl PartialEq for ByHand {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Compiles although the archived field has neither trait.
#[packet]
#[derive(Debug, PartialEq)]
struct Around(ByHand);

/// rkyv implements the traits, as the attributes ask.
#[packet]
#[derive(Debug, PartialEq)]
#[rkyv(derive(Debug, PartialEq), compare(PartialEq))]
struct ByRkyv(u8);

/// The derives above `#[packet]` leave the archived type to the author.
#[derive(Debug, PartialEq)]
#[packet]
struct Own(u8);

impl std::fmt::Debug for ArchivedOwn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("own")
    }
}

#[packet]
#[cfg_attr(test, derive(Debug))]
#[cfg_attr(any(), derive(PartialEq))]
struct Conditional(u8);

impl PartialEq for ArchivedConditional {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

/// Recursive, with a field that rkyv compares in one way only.
#[packet]
#[derive(Debug, PartialEq)]
struct Family {
    since: Vec<(Duration, Family)>,
}

/// rkyv does not compare two archived sets.
#[packet]
#[derive(Debug, PartialEq)]
struct Chosen(BTreeSet<i64>);

/// rkyv does not compare an archived duration with a native one.
#[packet]
#[derive(Debug, PartialEq)]
struct Timed(Duration);

#[test]
fn traits_of_archived_types_yield_to_those_of_the_author() {
    round_trip(Around(ByHand(1)));
    let archive = Archive::of(&ByRkyv(7)).unwrap();
    assert_eq!(*archive.view::<ByRkyv>(), ByRkyv(7));
    assert_eq!(format!("{:?}", archive.view::<ByRkyv>()), "ArchivedByRkyv(7)");
    let archive = Archive::of(&Own(7)).unwrap();
    assert_eq!(format!("{:?}", archive.view::<Own>()), "own");
    let archive = Archive::of(&Conditional(7)).unwrap();
    assert_eq!(format!("{:?}", archive.view::<Conditional>()), "ArchivedConditional(7)");
    assert_ne!(archive.view::<Conditional>(), archive.view::<Conditional>());
    let archive = Archive::of(&Chosen(BTreeSet::from([-1, 1]))).unwrap();
    assert_eq!(*archive.view::<Chosen>(), Chosen(BTreeSet::from([-1, 1])));
    assert_ne!(*archive.view::<Chosen>(), Chosen(BTreeSet::from([-1])));
    assert_eq!(format!("{:?}", archive.view::<Chosen>()), "ArchivedChosen({-1, 1})");
    let family = Family { since: vec![(Duration::from_secs(1), Family { since: vec![] })] };
    let archive = Archive::of(&family).unwrap();
    assert_eq!(archive.view::<Family>(), archive.view::<Family>());
    let archive = Archive::of(&Timed(Duration::from_secs(1))).unwrap();
    assert_eq!(archive.view::<Timed>(), archive.view::<Timed>());
}
