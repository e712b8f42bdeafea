//! Packets that change between their check and a read. Tests of all else are in `tests/`.

use super::{Schema, Value, ValueKind};
use packetring::Packet;
use packetring::packet::schema_of;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Draws numbers at random, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// Overwrites a byte, or an aligned word by a small number.
    fn damage(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        match self.below(3) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xc0, 0xed, 0xff][self.below(8)],
            _ => {
                let words = [0, 1, -4, -8, i32::MIN, i32::MAX, self.below(64) as i32 - 32];
                let word = words[self.below(words.len())];
                if let Some(place) = bytes.get_mut(at & !3..(at & !3) + 4) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }
}

/// Reads all parts of a value, whatever they are by now.
fn read_all(value: Value<'_>) -> usize {
    let _ = (value.as_u128(), value.as_i128(), value.as_f64(), value.as_bool(), value.as_char());
    let _ = (value.as_str(), value.as_bytes(), value.variant(), value.is_none(), value.some());
    let parts = match value.kind() {
        ValueKind::Map => value.entries().map(|(key, of)| read_all(key) + read_all(of)).sum(),
        _ => value.iter().map(read_all).sum::<usize>(),
    };
    parts + 1
}

/// Reads values whose bytes were damaged after the check. Reads stay within the bytes. Printing
/// ends here: the damage is random, and does not make lists contain each other many times.
fn change(text: &str, json: Json) {
    let schema = Schema::parse(text, 0).unwrap();
    let whole = schema.encode(&json).unwrap();
    let at = whole.len() - schema.types[0].size;
    assert_eq!(serde_json::to_value(schema.read(&whole).unwrap()).unwrap(), json);
    let mut dice = Dice(whole.len() as u64);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        (0..=dice.below(9)).for_each(|_| dice.damage(&mut bytes));
        let value = Value::packet(&schema, &bytes, at).unwrap();
        assert!(!value.to_string().is_empty() && read_all(value) > 0);
    }
}

fn change_typed<T: Packet>(json: Json) {
    change(&schema_of::<T>(), json);
}

#[test]
fn values_that_change_are_still_read_within_their_bytes() {
    let long = "a text that is out of line";
    change_typed::<(String, Box<str>, Vec<String>, Option<String>, CString)>(json!([
        long,
        long,
        ["a", long, ""],
        long,
        [97, 98]
    ]));
    change_typed::<(IpAddr, SocketAddr, Duration)>(
        json!(["1.2.3.4", "[::1]:80", { "secs": 7, "nanos": 5 }]),
    );
    change_typed::<(Option<Option<u8>>, Option<Option<String>>, Vec<Option<Box<u64>>>)>(
        json!([null, { "Some": null }, [null, 3]]),
    );
    let entries = |len: u32| (0..len).map(|n| (n, n * n)).collect::<BTreeMap<_, _>>();
    change_typed::<Vec<(u32, u32)>>(json!(entries(9).into_iter().collect::<Vec<_>>()));
    change_typed::<BTreeSet<u32>>(json!((0..60).collect::<Vec<u32>>()));
    change_typed::<BTreeMap<u32, u32>>(json!({ "1": 2, "2": 3, "3": 4, "4": 5, "5": 6, "6": 7 }));
    let link = r#"{"kind":"struct","name":"Link","size":4,"align":4,"fields":[{"name":"a","offset":0,"type":{"kind":"option-box","name":"O","size":4,"align":4,"of":[{"kind":"self","self":"Link"}]}}]}"#;
    change(link, (0..40).fold(json!({ "a": null }), |json, _| json!({ "a": json })));
}
