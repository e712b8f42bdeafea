//! Descriptions match the layout that the compiler chose.

use std::{collections::BTreeMap, mem::offset_of};

use rkyv::Archived;
use serde_json::Value;

use crate::{
    packet,
    packet::{AnyBits, Packet, describe::Describe, describe::ShapeKind, schema_of, type_of},
};

#[packet]
struct Mixed<T> {
    r#type: u8,
    wide: u128,
    text: String,
    generic: T,
}

#[packet]
#[repr(u8)]
enum Shape {
    Dot,
    Line(u8, u32, u8) = 7,
    Box { corner: (u16, u64), name: String },
    Last = 255,
}

/// A variant in the layout of `repr(u8)`.
#[repr(C)]
struct Line(u8, u8, Archived<u32>, u8);

/// A variant in the layout of `repr(u8)`.
#[repr(C)]
struct Corner {
    tag: u8,
    corner: Archived<(u16, u64)>,
    name: Archived<String>,
}

#[test]
fn fields_are_where_the_compiler_put_them() {
    let ShapeKind::Struct(fields) = ArchivedMixed::<u16>::SHAPE.kind else { panic!() };
    let offsets: Vec<_> = fields.iter().map(|field| (field.name(), field.offset())).collect();
    type Compiled = ArchivedMixed<u16>;
    let expected = [
        ("type", offset_of!(Compiled, r#type)),
        ("wide", offset_of!(Compiled, wide)),
        ("text", offset_of!(Compiled, text)),
        ("generic", offset_of!(Compiled, generic)),
    ];
    assert_eq!(offsets, expected);
}

#[test]
fn variants_have_the_layout_of_equal_structs() {
    let ShapeKind::Enum(variants) = &ArchivedShape::SHAPE.kind else { panic!() };
    let tags: Vec<_> = variants.iter().map(|variant| (variant.name, variant.tag)).collect();
    assert_eq!(tags, [("Dot", 0), ("Line", 7), ("Box", 8), ("Last", 255)]);
    let offsets =
        |i: usize| variants[i].fields.iter().map(|field| field.offset()).collect::<Vec<_>>();
    assert_eq!(offsets(1), [offset_of!(Line, 1), offset_of!(Line, 2), offset_of!(Line, 3)]);
    assert_eq!(offsets(2), [offset_of!(Corner, corner), offset_of!(Corner, name)]);
}

#[test]
fn the_tag_in_the_bytes_is_the_tag_described() {
    let archive = super::Archive::of(&Shape::Line(1, 2, 3)).unwrap();
    assert_eq!(archive.bytes()[0], 7);
    assert_eq!(super::Archive::of(&Shape::Dot).unwrap().bytes()[0], 0);
    assert_eq!(super::Archive::of(&Shape::Last).unwrap().bytes()[0], 255);
    let corner = Shape::Box { corner: (1, 2), name: String::new() };
    assert_eq!(super::Archive::of(&corner).unwrap().bytes()[0], 8);
}

#[packet]
struct Node {
    children: Vec<(u32, Node)>,
    by_name: BTreeMap<String, Option<Box<Self>>>,
}

#[test]
fn a_recursive_mention_has_the_size_of_its_type() {
    let schema: Value = serde_json::from_str(&schema_of::<Node>()).unwrap();
    let element = &schema["fields"][0]["type"]["of"][0];
    assert_eq!(element["size"], size_of::<Archived<(u32, Node)>>());
    assert_eq!(element["fields"][1]["type"], serde_json::json!({ "kind": "self", "self": "Node" }));
    assert_eq!(type_of::<Node>().name, "Node");
    assert_eq!(type_of::<Vec<Node>>().name, "Vec<Node>");
}

#[test]
fn schemas_are_json_with_every_size() {
    let schema: Value = serde_json::from_str(&schema_of::<Mixed<Shape>>()).unwrap();
    assert_eq!(schema["kind"], "struct");
    assert_eq!(schema["name"], "Mixed<Shape>");
    assert_eq!(schema["size"], size_of::<ArchivedMixed<Shape>>());
    assert_eq!(schema["fields"][3]["type"]["variants"][1]["tag"], 7);
    assert_eq!(schema["fields"][2]["type"]["kind"], "string");
    assert_eq!(schema_of::<Mixed<Shape>>(), schema_of::<Mixed<Shape>>());
}

#[packet]
struct Raw<const N: usize> {
    taken_at: u64,
    pixels: [[u8; 3]; N],
    position: (f32, f32),
}

#[packet]
struct RawOf<T> {
    values: [T; 4],
}

fn any_bits<T: Packet<Archived: AnyBits>>() -> bool {
    T::FLAT_LEN.is_some()
}

#[test]
fn structs_of_numbers_can_be_reserved() {
    assert!(any_bits::<Raw<1000>>() && any_bits::<RawOf<i128>>() && any_bits::<[u32; 7]>());
}

#[test]
fn gaps_are_bytes_of_no_field() {
    fn has_gaps<T: Packet>() -> bool {
        <T::Archived as Describe>::SHAPE.has_gaps()
    }
    assert!(has_gaps::<(u8, u64)>() && has_gaps::<[(u32, (u16, u8)); 3]>());
    assert!(has_gaps::<(u64, u8)>() && has_gaps::<Raw<1>>());
    assert!(!has_gaps::<(u32, u16, [u8; 2])>() && !has_gaps::<RawOf<(u8, i8)>>());
    assert!(!has_gaps::<Raw<8>>() && !has_gaps::<[(); 3]>());
    assert!(!has_gaps::<(u64, std::marker::PhantomData<u8>)>());
}

#[test]
fn names_have_parameters_and_no_paths() {
    assert_eq!(type_of::<Raw<7>>().name, "Raw<7>");
    assert_eq!(type_of::<RawOf<Option<u8>>>().name, "RawOf<Option<u8>>");
    assert_eq!(type_of::<(u8, [String; 2])>().name, "(u8, [String; 2])");
    assert_eq!(type_of::<BTreeMap<u8, Box<str>>>().name, "BTreeMap<u8, Box<str>>");
}

#[test]
fn packets_of_zero_sized_elements_in_place_are_fine() {
    assert_eq!(<[(); 1000]>::FLAT_LEN, Some(0));
    super::round_trip([(), ()]);
    super::round_trip(Some(()));
    super::round_trip(Box::new(()));
}
