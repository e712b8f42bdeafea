//! Types that users may write: the `packet` macro keeps the items unchanged, in any position.
//!
//! Round trips of values through a packet are tested inside the crate, beside the format.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "rkyv's resolvers of enums with named fields have none")]

use std::{collections::BTreeMap, fmt::Debug, marker::PhantomData};

use packetring::{
    Packet, Tail, one_of, packet,
    packet::{AnyBits, OneOf, Unpack, schema_of, type_of},
};

fn is_packet<T: Packet + Unpack>() -> &'static str {
    type_of::<T>().name
}

fn is_reservable<T: Packet<Archived: AnyBits>>() {}

/// Public types in a public module.
pub mod outer {
    use packetring::packet;

    /// Documented.
    #[packet]
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[rkyv(compare(PartialEq), derive(Debug, PartialEq, Eq, PartialOrd, Ord))]
    pub struct Key {
        /// In words.
        pub words: Vec<String>,
        /// Private to the crate.
        pub(crate) number: u64,
        /// A keyword.
        pub r#fn: Option<bool>,
    }
}

/// `#[packet]` may follow other derives.
#[derive(Debug, Clone)]
#[packet]
#[rkyv(derive(Debug))]
pub enum Command {
    /// A unit variant.
    Stop,
    /// A tuple variant.
    Go(u8, #[rkyv(with = packetring::with::Map<packetring::with::AsBox>)] Option<u64>),
    /// A variant with named fields.
    Turn {
        /// In degrees.
        by: f32,
    },
}

/// Type and const parameters, bounds and defaults.
#[packet]
#[derive(Debug)]
pub struct Generic<T, const N: usize, U = ()>
where
    T: Debug + Clone,
    [T; N]: Sized,
{
    items: [T; N],
    others: BTreeMap<u32, U>,
    phantom: PhantomData<T>,
}

/// A recursive generic type.
#[packet]
pub enum Expression<T> {
    /// A value.
    Value(T),
    /// Boxed, by name.
    Not(Box<Expression<T>>),
    /// In a list, as `Self`.
    All(Vec<Self>),
    /// In a map, inside a tuple.
    Named {
        /// By name.
        parts: BTreeMap<String, (u8, Expression<T>)>,
    },
}

/// Custom names for the archived type and the resolver.
#[packet]
#[rkyv(archived = Stored, resolver = Storing)]
pub struct Renamed(String);

impl Stored {
    fn shout(&self) -> String {
        self.0.to_uppercase()
    }
}

/// A choice of packet types.
#[one_of]
#[derive(Debug)]
pub enum Incoming {
    /// A command.
    Command(Command),
    /// A key.
    Key(outer::Key),
}

#[test]
fn supported_types_are_packets() {
    assert_eq!(is_packet::<outer::Key>(), "Key");
    assert_eq!(is_packet::<Command>(), "Command");
    assert_eq!(is_packet::<Generic<String, 3>>(), "Generic<String, 3, ()>");
    assert_eq!(is_packet::<Expression<u8>>(), "Expression<u8>");
    assert_eq!(is_packet::<Vec<Option<Renamed>>>(), "Vec<Option<Renamed>>");
    assert_eq!(is_packet::<Tail<(u64, u8), [u8; 3]>>(), "Tail<(u64, u8), [u8; 3]>");
    assert_eq!(
        is_packet::<(u8, String, Result<Box<str>, char>)>(),
        "(u8, String, Result<Box<str>, char>)"
    );
    is_reservable::<(u64, [f32; 8])>();
}

#[test]
fn generic_code_sends_containers_of_its_parameter() {
    fn name<T: Packet>() -> &'static str {
        type_of::<Tail<T, Option<(T, Vec<T>)>>>().name
    }
    assert_eq!(name::<String>(), "Tail<String, Option<(String, Vec<String>)>>");
}

#[test]
fn types_inside_functions_are_packets() {
    #[packet]
    struct Local {
        x: u8,
    }
    assert_eq!(type_of::<Local>().size, 1);
    is_reservable::<Local>();
}

#[test]
fn archived_types_keep_their_names_and_methods() {
    let _: fn(&Stored) -> String = Stored::shout;
    let _: fn(&ArchivedCommand) -> String = |command| format!("{command:?}");
    let _: fn(&ArchivedKey, &outer::Key) -> bool = |archived, key| archived == key;
    use outer::ArchivedKey;
}

#[test]
fn one_of_lists_its_types() {
    let names: Vec<_> = Incoming::TYPES.iter().map(|info| info.name).collect();
    assert_eq!(names, ["Command", "Key"]);
}

#[test]
fn a_schema_describes_the_whole_layout() {
    let schema: serde_json::Value = serde_json::from_str(&schema_of::<Command>()).unwrap();
    let expected = serde_json::json!({
        "kind": "enum", "name": "Command", "size": 12, "align": 4,
        "variants": [
            { "name": "Stop", "tag": 0, "fields": [] },
            { "name": "Go", "tag": 1, "fields": [
                { "name": "0", "offset": 1,
                  "type": { "kind": "primitive", "name": "u8", "size": 1, "align": 1 } },
                { "name": "1", "offset": 4,
                  "type": { "kind": "option", "name": "Option<Box<u64>>", "size": 8, "align": 4, "of": [
                      { "kind": "box", "name": "Box<u64>", "size": 4, "align": 4, "of": [
                          { "kind": "primitive", "name": "u64", "size": 8, "align": 8 } ] } ] } },
            ] },
            { "name": "Turn", "tag": 2, "fields": [
                { "name": "by", "offset": 4,
                  "type": { "kind": "primitive", "name": "f32", "size": 4, "align": 4 } } ] },
        ],
    });
    assert_eq!(schema, expected);
}
