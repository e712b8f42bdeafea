//! Damaged archives. The check by schema accepts the same bytes as typed reading. All parts of an
//! accepted value can be read, and nothing panics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::types::*;
use super::{Archive, layout_of, run};
use packetring::packet::Unpack;
use packetring::{Packet, Tail};
use packetring_dynamic::{Schema, Value, ValueKind};

/// Draws damages at random, from a seed.
struct Damages(u64);

impl Damages {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn apply(&mut self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        let at = self.below(len);
        match self.below(9) {
            _ if len == 0 => bytes.push(0),
            0 | 1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xc0, 0xed, 0xff][self.below(8)],
            3 => bytes.truncate(at),
            4 => bytes.resize(len + self.below(40), 0),
            5 => {
                let (from, count) = (self.below(len), [4, 8, 16][self.below(3)]);
                let count = count.min(len - at).min(len - from);
                bytes.copy_within(from..from + count, at);
            }
            _ => {
                let words =
                    [0, 1, -4, -8, i32::MIN, i32::MAX, -(at as i32), self.below(64) as i32 - 32];
                let word = words[self.below(words.len())];
                if let Some(place) = bytes.get_mut(at & !3..(at & !3) + 4) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }
}

fn aligned(bytes: &[u8]) -> Archive {
    let mut archive = Archive::room(bytes.len());
    archive.bytes_mut().copy_from_slice(bytes);
    archive
}

/// Damages archives of a type. Typed reading and reading by schema must agree.
fn damage<T: Packet + Sample>(accepted: impl Fn(&T::Archived, &str)) {
    let schema = layout_of::<T>().unwrap();
    let count = std::cell::Cell::new((0, 0));
    run::<T>(|value| {
        let whole = Archive::of(&value).unwrap().bytes().to_vec();
        let mut damages =
            Damages(whole.iter().fold(7, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x1b3)));
        for _ in 0..20 {
            let mut bytes = whole.clone();
            (0..=damages.below(3)).for_each(|_| damages.apply(&mut bytes));
            let archive = aligned(&bytes);
            let typed = T::validate(archive.bytes());
            let read = schema.read(archive.bytes());
            let (valid, invalid) = count.get();
            match (&typed, &read) {
                (Ok(typed), Ok(value)) => {
                    count.set((valid + 1, invalid));
                    read_all(*value);
                    accepted(typed, &value.to_string());
                }
                (Err(_), Err(error)) => {
                    count.set((valid, invalid + 1));
                    assert!(error.to_string().starts_with("invalid packet at "), "{error}");
                }
                (Ok(_), Err(error)) => panic!("only typed reading accepts {bytes:?}: {error}"),
                (Err(_), Ok(value)) => panic!("only the schema accepts {bytes:?} as {value}"),
            }
        }
    });
    let (valid, invalid) = count.get();
    assert!(valid > 0 && invalid > 0, "{valid} valid, {invalid} invalid");
}

/// As above, and compares the JSON of what is accepted with that of serde.
fn damage_and_compare<T: Unpack + Sample + Serialize>() {
    damage::<T>(|archived, text| {
        let value = T::unpack(archived).unwrap();
        assert_eq!(text, serde_json::to_string(&value).unwrap());
    });
}

/// Reads all parts of a checked value. Each must be there.
fn read_all(value: Value<'_>) {
    let parts = value.len();
    match value.kind() {
        ValueKind::Unit => assert_eq!(value.to_string(), "null"),
        ValueKind::Bool => assert!(value.as_bool().is_some()),
        ValueKind::Char => assert!(value.as_char().is_some()),
        ValueKind::Unsigned => assert!(value.as_u128().is_some()),
        ValueKind::Signed => assert!(value.as_i128().is_some()),
        ValueKind::Float => assert!(value.as_f64().is_some()),
        ValueKind::Text => {
            let text = value.as_str().unwrap();
            assert_eq!(value.as_bytes(), Some(text.as_bytes()));
        }
        ValueKind::CText => assert!(!value.as_bytes().unwrap().contains(&0)),
        ValueKind::Option => match value.some() {
            None => assert!(value.is_none()),
            Some(content) if content.kind() == ValueKind::Option => {
                // An option of a number that is not 0 is its own content, or another option.
                if content.is_none()
                    || content.some().is_some_and(|c| c.kind() != ValueKind::Option)
                {
                    assert!(!value.is_none());
                }
            }
            Some(content) => read_all(content),
        },
        ValueKind::Struct | ValueKind::Tuple | ValueKind::Enum => {
            assert_eq!(value.fields().count(), parts);
            for (index, (name, part)) in value.fields().enumerate() {
                assert_eq!(value.get(name).unwrap().to_string(), part.to_string());
                assert_eq!(value.at(index).unwrap().to_string(), part.to_string());
                read_all(part);
            }
            assert_eq!(value.kind() == ValueKind::Enum, value.variant().is_some());
        }
        ValueKind::List | ValueKind::Set => {
            assert_eq!(value.iter().count(), parts);
            value.iter().for_each(read_all);
        }
        ValueKind::Map => {
            assert_eq!(value.entries().count(), parts);
            for (key, value) in value.entries() {
                read_all(key);
                read_all(value);
            }
        }
        kind => panic!("{kind:?}"),
    }
    assert!(value.at(parts).is_none() && value.get("no such field").is_none());
}

#[test]
fn damaged_lists_and_texts() {
    damage_and_compare::<Numbers>();
    damage_and_compare::<Padded>();
    damage_and_compare::<String>();
    damage_and_compare::<Box<str>>();
    damage_and_compare::<Texts>();
    damage_and_compare::<Vec<u64>>();
    damage_and_compare::<Vec<String>>();
    damage_and_compare::<VecDeque<Vec<u8>>>();
    damage_and_compare::<Containers>();
    damage_and_compare::<Pair<Vec<Padded>, Option<Texts>>>();
}

#[test]
fn damaged_numbers_options_and_enums() {
    damage_and_compare::<NonZeros>();
    damage_and_compare::<Niches>();
    damage_and_compare::<Vec<Niches>>();
    damage_and_compare::<Vec<Color>>();
    damage_and_compare::<Result<Result<u8, Box<str>>, bool>>();
    damage_and_compare::<(u8, String, [Option<Box<u32>>; 3], (bool, char))>();
    damage::<Nested>(|_, _| {});
    damage::<NestedOptions>(|_, _| {});
    damage::<Tail<Padded, (u16, bool)>>(|_, _| {});
    damage::<std::net::SocketAddr>(|_, _| {});
}

#[test]
fn damaged_maps_and_sets() {
    damage::<BTreeMap<u32, u32>>(|_, _| {});
    damage::<BTreeMap<String, Vec<BTreeSet<String>>>>(|_, _| {});
    damage::<BTreeSet<bool>>(|_, _| {});
    damage::<BTreeMap<u8, ()>>(|_, _| {});
    damage::<Ordered>(|_, _| {});
    damage::<Odd>(|_, _| {});
}

#[test]
fn damaged_recursive_types() {
    damage::<Family>(|_, _| {});
    damage::<Link>(|_, _| {});
}

#[test]
fn both_checks_count_pointers_alike() {
    let schema = layout_of::<Link>().unwrap();
    for pointers in 0..80 {
        // A tag, and a pointer to the link before.
        let link = |index| if index == 0 { [0, 0] } else { [1, -12_i32] };
        let bytes: Vec<u8> = (0..=pointers).flat_map(link).flat_map(i32::to_le_bytes).collect();
        let archive = aligned(&bytes);
        let is_valid = Link::validate(archive.bytes()).is_ok();
        assert_eq!(is_valid, pointers <= 62, "{pointers}");
        assert_eq!(schema.read(archive.bytes()).is_ok(), is_valid, "{pointers}");
    }
}

/// The deepest value of the deepest type: 62 pointers, and 11 structs around each.
#[test]
fn the_deepest_value_fits_a_small_stack() {
    let inner = r#"{"kind":"self","self":"S1"}"#;
    let inner = format!(r#"{{"kind":"option-box","name":"O","size":4,"align":4,"of":[{inner}]}}"#);
    let text = (1..=11).rev().fold(inner, |inner, depth| {
        format!(
            r#"{{"kind":"struct","name":"S{depth}","size":4,"align":4,"fields":[{{"name":"a","offset":0,"type":{inner}}}]}}"#
        )
    });
    let schema = Schema::parse(&text, 1).unwrap();
    let archive = |pointers: i32| -> Vec<u8> {
        let word = |index| if index == 0 { 1_i32 } else { -4 };
        (0..=pointers).flat_map(|index| word(index).to_le_bytes()).collect()
    };
    let deepest = archive(62);
    let value = schema.read(&deepest).unwrap();
    let json = serde_json::to_value(value).unwrap();
    assert_eq!(value.to_string().len(), 63 * 11 * r#"{"a":}"#.len() + "null".len());
    assert_eq!(&*schema.encode(&json).unwrap(), &*deepest);
    let mut at = value;
    while let Some(inner) = at.get("a") {
        at = inner;
    }
    assert!(at.is_none());
    let too_deep = archive(63);
    let error = schema.read(&too_deep).unwrap_err().to_string();
    assert!(error.contains("more than 63 pointers"), "{error}");
    let deeper = (0..11).fold(json, |json, _| serde_json::json!({ "a": json }));
    let error = schema.encode(&deeper).unwrap_err().to_string();
    assert!(error.contains("more than 62 pointers"), "{error}");
}
