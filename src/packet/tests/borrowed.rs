//! A borrowed form writes the bytes of the owned packet.

use std::{
    collections::{BTreeMap, HashMap},
    marker::PhantomData,
    time::Duration,
};

use super::Archive;
use crate::{
    packet,
    packet::{Borrowed, Packet, SendAs, type_of},
    with,
};

/// A flat packet, which is borrowed by value.
#[packet]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Calm,
    Cross = 7,
}

/// A packet without a twin, which is borrowed by reference.
#[packet]
#[derive(Clone, Debug, PartialEq)]
struct Place {
    x: f64,
    name: String,
}

#[packet(borrowed)]
#[derive(Clone, Debug, PartialEq)]
struct Inner {
    text: String,
    counts: Vec<u32>,
}

/// One field of each kind.
#[packet(borrowed)]
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// The name.
    pub name: String,
    tags: Vec<String>,
    table: Vec<Vec<String>>,
    bytes: Vec<u8>,
    numbers: Vec<f64>,
    mood: Mood,
    moods: Vec<Mood>,
    place: Place,
    places: Vec<Place>,
    inner: Inner,
    inners: Vec<Inner>,
    nick: Option<String>,
    nicks: Vec<Option<String>>,
    pair: (u8, String),
    pairs: Vec<(u32, String)>,
    array: [u16; 3],
    arrays: Vec<[u16; 2]>,
    names: [String; 2],
    boxed: Box<str>,
    boxed_list: Box<[String]>,
    boxed_value: Box<Place>,
    map: BTreeMap<String, u32>,
    result: Result<u8, String>,
    took: Duration,
    deep: Option<Vec<(bool, Option<String>)>>,
    #[rkyv(with = with::AsVec)]
    hash: HashMap<String, u32>,
    r#fn: char,
    nothing: (),
    phantom: PhantomData<u8>,
}

#[packet(borrowed = Said)]
#[repr(u8)]
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Quit,
    Say(String, Vec<String>),
    Put { key: String, value: Vec<u8>, at: u64 } = 9,
    Wrapped(#[rkyv(with = with::AsVec)] HashMap<String, u32>),
    Nested(Inner),
}

#[packet(borrowed)]
struct Generic<T, const N: usize>
where
    T: Clone,
{
    one: T,
    many: Vec<T>,
    array: [T; N],
    maybe: Option<T>,
}

#[packet(borrowed)]
#[derive(Debug, PartialEq)]
struct Tree {
    name: String,
    children: Vec<Tree>,
}

#[packet(borrowed)]
#[derive(Debug, PartialEq)]
struct Tuple(String, u8);

/// Writes the owned packet and a borrowed form, and compares the bytes.
#[track_caller]
fn assert_same_bytes<T: Packet>(owned: &T, borrowed: impl SendAs<T>) {
    let expected = Archive::of(owned).unwrap();
    let found = Archive::of(borrowed.value()).unwrap();
    assert_eq!(found.bytes(), expected.bytes(), "{}", T::TYPE.name);
    found.view::<T>();
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn inner(text: &str) -> Inner {
    Inner { text: text.to_owned(), counts: vec![1, 2, 3] }
}

fn place(name: &str) -> Place {
    Place { x: 1.5, name: name.to_owned() }
}

#[test]
fn a_twin_writes_the_bytes_of_its_owner() {
    let long = "a text that does not fit the eight bytes of an archived string";
    let chat = Chat {
        name: long.to_owned(),
        tags: texts(&["a", long, ""]),
        table: vec![texts(&["x", "y"]), texts(&[]), texts(&[long])],
        bytes: (0..100).collect(),
        numbers: vec![1.0, f64::NEG_INFINITY],
        mood: Mood::Cross,
        moods: vec![Mood::Calm, Mood::Cross],
        place: place("here"),
        places: vec![place("there"), place(long)],
        inner: inner(long),
        inners: vec![inner("one"), inner(long)],
        nick: Some(long.to_owned()),
        nicks: vec![None, Some(long.to_owned()), Some("short".to_owned())],
        pair: (3, long.to_owned()),
        pairs: vec![(1, "one".to_owned()), (2, long.to_owned())],
        array: [1, 2, 3],
        arrays: vec![[1, 2], [3, 4]],
        names: [long.to_owned(), "b".to_owned()],
        boxed: long.into(),
        boxed_list: texts(&["p", long]).into(),
        boxed_value: Box::new(place("boxed")),
        map: [("one".to_owned(), 1), (long.to_owned(), 2)].into(),
        result: Err(long.to_owned()),
        took: Duration::from_millis(1500),
        deep: Some(vec![(true, Some(long.to_owned())), (false, None)]),
        hash: [(long.to_owned(), 1)].into(),
        r#fn: 'ß',
        nothing: (),
        phantom: PhantomData,
    };
    let twin = ChatRef {
        name: long,
        tags: &["a", long, ""],
        table: &[&["x", "y"], &[], &[long]],
        bytes: &chat.bytes,
        numbers: &chat.numbers,
        mood: Mood::Cross,
        moods: &[Mood::Calm, Mood::Cross],
        place: &chat.place,
        places: &chat.places,
        inner: InnerRef { text: long, counts: &[1, 2, 3] },
        inners: &[
            InnerRef { text: "one", counts: &[1, 2, 3] },
            InnerRef { text: long, counts: &[1, 2, 3] },
        ],
        nick: Some(long),
        nicks: &[None, Some(long), Some("short")],
        pair: (3, long),
        pairs: &[(1, "one"), (2, long)],
        array: &[1, 2, 3],
        arrays: &[[1, 2], [3, 4]],
        names: &[long, "b"],
        boxed: long,
        boxed_list: &["p", long],
        boxed_value: &chat.boxed_value,
        map: &chat.map,
        result: &chat.result,
        took: chat.took,
        deep: Some(&[(true, Some(long)), (false, None)]),
        hash: &chat.hash,
        r#fn: 'ß',
        nothing: (),
        phantom: PhantomData,
    };
    assert_same_bytes(&chat, twin);
    assert_eq!(twin, twin.clone());
    assert!(format!("{twin:?}").starts_with("ChatRef { name: \"a text"));
}

#[test]
fn a_twin_of_an_enum_writes_the_bytes_of_its_owner() {
    let hash: HashMap<String, u32> = [("one".to_owned(), 1)].into();
    let (key, value) = ("a key that is longer than eight bytes", [1_u8, 2, 3]);
    let put = Event::Put { key: key.to_owned(), value: value.to_vec(), at: 17 };
    assert_same_bytes(&Event::Quit, Said::Quit);
    assert_same_bytes(&Event::Say(key.to_owned(), texts(&["a", "b"])), Said::Say(key, &["a", "b"]));
    assert_same_bytes(&put, Said::Put { key, value: &value, at: 17 });
    assert_same_bytes(&Event::Wrapped(hash.clone()), Said::Wrapped(&hash));
    assert_same_bytes(
        &Event::Nested(inner(key)),
        Said::Nested(InnerRef { text: key, counts: &[1, 2, 3] }),
    );
}

#[test]
fn generic_recursive_and_tuple_types_have_twins() {
    let generic =
        Generic { one: inner("a"), many: vec![inner("b")], array: [inner("c")], maybe: None };
    let part = |text| InnerRef { text, counts: &[1, 2, 3] };
    let twin: GenericRef<'_, Inner, 1> =
        GenericRef { one: part("a"), many: &[part("b")], array: &[part("c")], maybe: None };
    assert_same_bytes(&generic, twin);
    let flat = Generic { one: 1_u64, many: vec![2], array: [3, 4], maybe: Some(5) };
    assert_same_bytes(
        &flat,
        GenericRef::<u64, 2> { one: 1, many: &[2], array: &[3, 4], maybe: Some(5) },
    );
    let leaf = |name: &str| Tree { name: name.to_owned(), children: Vec::new() };
    let tree = Tree { name: "root".to_owned(), children: vec![leaf("a"), leaf("b")] };
    assert_same_bytes(&tree, TreeRef { name: "root", children: &tree.children });
    assert_same_bytes(&Tuple("one".to_owned(), 1), TupleRef("one", 1));
}

#[test]
fn parts_of_library_types_are_sent_borrowed() {
    assert_same_bytes(&"a text of some length".to_owned(), Borrowed("a text of some length"));
    assert_same_bytes(&texts(&["a", "b"]), Borrowed(&["a", "b"][..]));
    assert_same_bytes(&vec![1_u8, 2, 3], Borrowed(&[1_u8, 2, 3][..]));
    assert_same_bytes(&(7_u32, "seven".to_owned()), Borrowed((7, "seven")));
    assert_same_bytes(&Some("seven".to_owned()), Borrowed(Some("seven")));
    assert_same_bytes(&["seven".to_owned()], Borrowed(["seven"]));
    assert_same_bytes(&[1_u64, 2], Borrowed(&[1_u64, 2]));
    assert_same_bytes(&7_u64, Borrowed(7));
    assert_same_bytes(&7_u64, &mut 7);
}

#[test]
fn a_twin_has_the_type_of_its_owner() {
    fn assert_same<A: Packet, B: Packet>() {
        let (a, b) = (type_of::<A>(), type_of::<B>());
        assert_eq!((a.name, a.fingerprint, a.schema()), (b.name, b.fingerprint, b.schema()));
    }
    assert_same::<Chat, ChatRef<'_>>();
    assert_same::<Event, Said<'_>>();
    assert_same::<Generic<u8, 2>, GenericRef<'_, u8, 2>>();
}
