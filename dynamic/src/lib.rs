//! Packets of packetring without their Rust types: read, printed and
//! written by the schema that a ring carries. packetring has this crate as its module `dynamic`,
//! with the feature `dynamic`.
//!
//! This crate knows neither rings nor Rust types of packets. A [`Schema`] is made from the text of
//! a schema, [`Schema::read`] checks the bytes of a packet once, and the [`Value`] that it returns
//! reads them in place. A value is `Serialize`, and its `Display` is JSON. [`Schema::encode`] turns
//! JSON into a packet.
//!
//! ```
//! use packetring_dynamic::Schema;
//!
//! let text = r#"{"kind":"struct","name":"Price","size":16,"align":8,"fields":[
//!     {"name":"symbol","offset":0,"type":{"kind":"primitive","name":"u32","size":4,"align":4}},
//!     {"name":"bid","offset":8,"type":{"kind":"primitive","name":"u64","size":8,"align":8}}]}"#;
//! let schema = Schema::parse(text, 0)?;
//! let packet = schema.encode(&serde_json::json!({ "symbol": 7, "bid": 1250 }))?;
//!
//! let price = schema.read(&packet)?;
//! assert_eq!(price.get("bid").and_then(|bid| bid.as_u64()), Some(1250));
//! assert_eq!(price.to_string(), r#"{"symbol":7,"bid":1250}"#);
//!
//! let bid = schema.field("bid").ok_or("no bid")?; // once per schema
//! assert_eq!(price.field(&bid).and_then(|bid| bid.as_u64()), Some(1250));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A schema and a packet may be any bytes: the result is an error that names the place, or a
//!   value whose reads stay within the packet. The crate has no `unsafe` code.
//! - A packet that typed reading accepts is accepted here. In addition, this crate accepts values
//!   that only the Rust type refuses: types with a check of their own
//!   (`#[rkyv(bytecheck(verify))]`), and a `Duration` with a second or more of nanoseconds. The
//!   bytes may have any alignment in memory.
//! - As for typed reading, a peer that keeps writing after the check can change what is read. No
//!   read leaves the packet then, but printing a value of nested lists may take very long.
//! - Reading a part allocates nothing.
//! - A schema nests at most 32 types without a pointer between them, 12 if one of its types
//!   contains itself, and its JSON at most 127 levels.
//! - `encode` writes the same bytes as sending the native value. The order of entries of maps and
//!   sets is that of their keys. If a key contains a struct or an enum, its order is not known:
//!   then the entries stay in the order of the JSON, which must be that of the type's `Ord`.
//!
//! # JSON
//!
//! A value prints as serde prints the native value with derived `Serialize`, with these rules:
//!
//! | value | JSON |
//! |---|---|
//! | whole numbers up to 64 bits | numbers, also beyond 2⁵³ |
//! | `i128`, `u128` | a number if it fits `i64` or `u64`, else a text of its digits |
//! | `f32`, `f64` | a number; else `"inf"`, `"-inf"`, `"NaN"`, or `"NaN(0x…)"` with unusual bits |
//! | `char` | a text of one character |
//! | `String`, `Box<str>` | a text |
//! | `CString`, `Vec<u8>`, `[u8; N]`, `Bytes` | an array of numbers |
//! | `Box<T>`, a struct with one unnamed field | the content |
//! | `()`, `PhantomData`, structs without fields | `null` |
//! | `Option` | the content, or `null` for `None` |
//! | an option in an option | `{"Some":…}`, where the content could be mistaken for `None` |
//! | structs | an object; an array for unnamed fields |
//! | tuples, arrays, lists, sets | an array |
//! | enums | `"Name"` without fields, else `{"Name":…}` |
//! | maps with keys that are texts, whole numbers, `bool` or `char` | an object |
//! | other maps | an array of `[key, value]` |
//! | `Duration` | `{"secs":…,"nanos":…}` |
//! | IP and socket addresses, `Uuid` | a text; a socket address with a flow is an object |
//! | a field with a wrapper of `packetring::with` | what the wrapper stores |
//!
//! Encoding accepts all that printing gives, and in addition: digits in a text for each whole
//! number, a text for a `CString`, an object for an address, and no member for an option that is
//! `None`.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]

mod address;
mod check;
mod encode;
mod error;
mod facts;
mod field;
mod json;
mod keys;
mod layout;
mod names;
mod parse;
mod parts;
#[cfg(test)]
mod tests;
mod trees;
mod value;

pub use self::error::{
    ArchiveError, ArchiveProblem, EncodeError, EncodeProblem, SchemaError, SchemaProblem,
};
pub use self::field::FieldPath;
pub use self::parts::{Elements, Entries};
pub use self::value::{Value, ValueKind};

use self::layout::TypeLayout;
use std::sync::Arc;

/// The layout of a packet type, read from the text of its schema.
///
/// Making one costs an allocation for each type in it. Make one per type and keep it: cloning is
/// cheap.
#[derive(Clone)]
pub struct Schema {
    types: Arc<[TypeLayout]>,
    text: Arc<str>,
    fingerprint: u128,
}

impl Schema {
    /// Reads the text of a schema. The fingerprint is that of the type, which the text does not
    /// have. This crate keeps it for its callers and does not use it: packetring sends values with
    /// it, and a received packet must have it.
    ///
    /// # Errors
    ///
    /// The text is not a schema, or nests too deeply.
    pub fn parse(text: &str, fingerprint: u128) -> Result<Self, SchemaError> {
        Ok(Self { types: parse::parse(text)?.into(), text: text.into(), fingerprint })
    }

    /// The name of the Rust type with its parameters, for display.
    pub fn name(&self) -> &str {
        self.types.first().map_or("", |root| &root.name)
    }

    /// The fingerprint of the type, as given to [`parse`](Self::parse).
    #[inline]
    pub fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// The text of the schema.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Looks up a field of the root type once, for [`Value::field`]: reading it is faster than by
    /// its name. `path` is the name of a field, or the names of structs in structs and of a field
    /// there, as in `"position.x"`. The fields of tuples have the names `0`, `1` and so on.
    ///
    /// `None` if there is no such field, or if an option, an enum, a box or a container is between.
    pub fn field(&self, path: &str) -> Option<FieldPath> {
        FieldPath::find(&self.types, path)
    }

    /// Checks the bytes of a packet, and returns it as a value in place.
    ///
    /// # Errors
    ///
    /// The bytes are not a packet of this type.
    // Inlined always: see `parts`.
    #[inline(always)]
    pub fn read<'a>(&'a self, archive: &'a [u8]) -> Result<Value<'a>, ArchiveError> {
        let at = check::check(&self.types, archive)?;
        let (len, root) = (archive.len(), 0);
        Value::packet(self, archive, at)
            .ok_or_else(|| ArchiveError::new(ArchiveProblem::Length { len, root }))
    }

    /// Returns the packet of a JSON value, with the bytes that sending the native value gives.
    ///
    /// # Errors
    ///
    /// The JSON is no value of this type, or its packet would be too large or nest too deeply.
    pub fn encode(&self, json: &serde_json::Value) -> Result<Vec<u8>, EncodeError> {
        encode::encode(self, json)
    }
}
