//! Archives and schemas that were damaged, read by schema and without the Rust type.
//!
//! Typed reading is the oracle: an archive that one of the two checks accepts is accepted by the
//! other one. There is one exception, which `packetring_dynamic` documents: a schema does not know
//! that a `Duration` has less than a second of nanoseconds. All parts of an accepted value can be
//! read and printed, and its JSON is encoded as a packet that typed reading accepts, or refused.
//!
//! Of a damaged schema nothing is expected but an end: it is refused, or what it reads is.

use crate::case::types::{self, TYPES, of_type};
use crate::case::{Choices, packet};
use packetring::dynamic::{Schema, Value, ValueKind, layout_of};
use packetring::rkyv::util::AlignedVec;
use packetring::{Packet, Ring};
use std::cell::RefCell;
use std::fmt::Debug;
use std::hint::black_box;
use std::marker::PhantomData;

/// Runs one case. The first choice is the type. The second one decides whether the rest is an
/// archive, a list of damages to a real one, or a list of damages to the schema.
pub(crate) fn run(data: &[u8]) {
    accepts(data);
}

/// Returns true if the archive of a case is valid.
pub(crate) fn accepts(data: &[u8]) -> bool {
    thread_local! {
        static READERS: RefCell<Vec<Option<Box<dyn Reader>>>> = RefCell::default();
    }
    READERS.with_borrow_mut(|readers| {
        readers.resize_with(TYPES, || None);
        let mut choices = Choices::new(data);
        let which = choices.below(TYPES);
        readers[which].get_or_insert_with(|| reader(which)).run(choices)
    })
}

/// The types of `packet`, in its order: its images are images here too.
fn reader(which: usize) -> Box<dyn Reader> {
    of_type!(which, TypedReader::new)
}

/// Both checks of a type.
trait Reader {
    fn run(&self, choices: Choices<'_>) -> bool;
}

struct TypedReader<T> {
    schema: Schema,
    /// Archives of the sample values.
    archives: Vec<Vec<u8>>,
    of: PhantomData<T>,
}

impl<T: Packet + Debug> TypedReader<T> {
    fn new(values: Vec<T>) -> Self {
        let schema = layout_of::<T>().unwrap();
        let ring = Ring::builder().capacity(64 << 10).heap().unwrap();
        let (mut out, mut all) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
        let mut archive = |value: &T| {
            out.try_send(value).unwrap();
            let packet = all.try_recv().unwrap();
            packet.value(&schema).unwrap().archive().unwrap().to_vec()
        };
        let archives = values.iter().map(&mut archive).collect();
        Self { schema, archives, of: PhantomData }
    }

    /// Reads an archive in both ways. Returns true if it is valid.
    fn read(&self, archive: &[u8]) -> bool {
        let is_valid = is_valid::<T>(archive);
        match self.schema.read(archive) {
            Ok(value) => {
                let is_only_long = has_long_duration(value);
                assert_eq!(is_valid, !is_only_long, "only the schema accepts {value}");
                self.read_and_encode(value, is_only_long);
            }
            Err(error) => {
                assert!(!is_valid, "only typed reading accepts an archive: {error}");
                assert!(error.to_string().starts_with("invalid packet at "), "{error}");
            }
        }
        is_valid
    }

    fn read_and_encode(&self, value: Value<'_>, has_long_duration: bool) {
        read_all(value);
        let json = serde_json::from_str(&value.to_string()).unwrap();
        // A map may have a key twice, in any order: such JSON is refused or sorted.
        if let Ok(archive) = self.schema.encode(&json) {
            assert!(has_long_duration || is_valid::<T>(&archive), "encoded {value}");
            assert!(self.schema.read(&archive).is_ok(), "encoded {value}");
        }
    }

    /// Reads an archive by a schema whose text was damaged.
    fn read_by_damaged_schema(&self, archive: &[u8], choices: &mut Choices<'_>) {
        let mut text = self.schema.text().as_bytes().to_vec();
        for _ in 0..1 + choices.below(4) {
            damage_text(&mut text, choices);
        }
        match Schema::parse(&String::from_utf8_lossy(&text), self.schema.fingerprint()) {
            Ok(schema) => {
                if let Ok(value) = schema.read(archive) {
                    read_all(value);
                    let json = serde_json::from_str(&value.to_string()).unwrap();
                    let _ = black_box(schema.encode(&json));
                }
            }
            Err(error) => assert!(error.to_string().starts_with("invalid schema at "), "{error}"),
        }
    }
}

impl<T: Packet + Debug> Reader for TypedReader<T> {
    fn run(&self, mut choices: Choices<'_>) -> bool {
        let way = choices.below(4);
        if way == usize::from(packet::IMAGE) {
            return self.read(choices.rest());
        }
        let mut archive = self.archives[choices.below(self.archives.len())].clone();
        if way == 2 {
            self.read_by_damaged_schema(&archive, &mut choices);
        }
        for _ in 0..1 + choices.below(4) {
            packet::damage(&mut archive, &mut choices);
        }
        self.read(&archive)
    }
}

/// Typed reading, at an address that is aligned as in a ring.
fn is_valid<T: Packet>(archive: &[u8]) -> bool {
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(archive);
    T::validate(&aligned).is_ok()
}

/// Reads all parts of a checked value. Each must be there.
fn read_all(value: Value<'_>) {
    let len = value.len();
    match value.kind() {
        ValueKind::Unit => assert_eq!(len, 0),
        ValueKind::Bool => assert!(value.as_bool().is_some()),
        ValueKind::Char => assert!(value.as_char().is_some()),
        ValueKind::Unsigned => assert!(value.as_u128().is_some()),
        ValueKind::Signed => assert!(value.as_i128().is_some()),
        ValueKind::Float => assert!(value.as_f64().is_some()),
        ValueKind::Text => assert!(value.as_str().is_some()),
        ValueKind::CText => assert!(value.as_bytes().is_some()),
        // An option of a number that is not 0 is its own content.
        ValueKind::Option => match value.some() {
            Some(content) if content.kind() != ValueKind::Option => read_all(content),
            Some(content) => assert!(!content.to_string().is_empty()),
            None => assert!(value.is_none()),
        },
        ValueKind::Map => {
            assert_eq!(value.entries().count(), len);
            value.entries().flat_map(<[_; 2]>::from).for_each(read_all);
        }
        kind => {
            assert_eq!(value.iter().count(), len);
            assert_eq!(value.variant().is_some(), kind == ValueKind::Enum);
            for (index, (name, part)) in value.fields().enumerate() {
                assert_eq!(part.type_name(), value.get(name).unwrap().type_name());
                assert_eq!(part.type_name(), value.at(index).unwrap().type_name());
            }
            value.iter().for_each(read_all);
        }
    }
    assert!(value.get("no such field").is_none());
}

/// True if a part is a `Duration` with a second or more of nanoseconds.
fn has_long_duration(value: Value<'_>) -> bool {
    if value.type_name() == "Duration" {
        return value.get("nanos").and_then(|nanos| nanos.as_u64()) > Some(999_999_999);
    }
    match value.kind() {
        ValueKind::Map => value.entries().flat_map(<[_; 2]>::from).any(has_long_duration),
        _ => value.iter().any(has_long_duration),
    }
}

/// Damages the text of a schema: a character, a number, a word that is moved, or the end.
fn damage_text(text: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let len = text.len();
    if len == 0 {
        return;
    }
    let at = choices.below(len);
    match choices.below(8) {
        0 => text[at] = choices.word() as u8,
        1 => text.truncate(at),
        2 | 3 => {
            // The next number.
            let Some(start) = text[at..].iter().position(u8::is_ascii_digit) else { return };
            let start = at + start;
            let rest = text[start..].iter().take_while(|byte| byte.is_ascii_digit());
            let end = start + rest.count();
            let number = choices.pick(&["0", "1", "2", "4", "8", "16", "256", "4294967296"]);
            text.splice(start..end, number.bytes());
        }
        _ => {
            // A piece that begins at a quote takes the place of another one.
            let quote = |from: usize| text[from..].iter().position(|byte| *byte == b'"');
            let from = choices.below(len);
            let (Some(to), Some(source)) = (quote(at), quote(from)) else { return };
            let (to, source) = (at + to, from + source);
            let count = 1 + choices.below(40);
            let piece = text[source..len.min(source + count)].to_vec();
            text.splice(to..len.min(to + 1 + choices.below(40)), piece);
        }
    }
}
