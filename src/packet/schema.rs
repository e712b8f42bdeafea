//! The schema: a packet type's layout as JSON, enough to read packets without having the type.
//!
//! The JSON is compact and deterministic. This module writes it; with the feature `dynamic`, the
//! module `packetring::dynamic` reads it, and reads and writes packets by it. Numbers in a
//! packet are little-endian. The root is the last `size` bytes of a packet. Every type is an
//! object:
//!
//! | member | present in | meaning |
//! |---|---|---|
//! | `kind` | all | the kind, see below |
//! | `name` | all but `self` | the name of the Rust type with its parameters |
//! | `size`, `align` | all but `self` | in bytes; for `str` and `slice`, of one element |
//! | `fields` | `struct`, `tuple` | array of `{"name", "offset", "type"}` |
//! | `variants` | `enum` | array of `{"name", "tag", "fields"}` |
//! | `of` | all others | array of the contained types |
//! | `len` | `array` | the number of elements |
//! | `self` | `self` | the name of the enclosing type meant: the nearest of that name |
//!
//! A field that provides niches has `niches` too: an array of kinds of options.
//!
//! An enum's tag is the byte at offset 0. Offsets of a variant's fields count from the enum's
//! start.
//!
//! A *pointer* is an `i32`: the distance in bytes from the pointer's own first byte to its target.
//! In optional pointers, the value 1 means null. The kinds:
//!
//! - `primitive`: a number, `bool` (0 or 1) or `char` (a `u32`), named by `name`.
//!   `Option<NonZeroX>` is that number, with 0 for `None`.
//! - `struct`, `tuple`, `enum`, `array`: as their members describe.
//! - `phantom`: no bytes.
//! - `option`: a byte, 0 for `None` and 1 for `Some`; then the value, at the offset of its
//!   alignment.
//! - `option-zero`, `option-bool`, `option-null`: the value itself. `None` is zero, a byte above 1,
//!   or a null pointer.
//! - `option-default`: the value itself. `None` is zero, a byte above 1 or a null pointer,
//!   depending on the type of the value.
//! - Of a struct, the field tells whose `niches` has the kind of the option.
//! - `box`: a pointer. For a `str` or `slice`: a pointer, then the number of elements as `u32`.
//! - `option-box`: like `box`, with a null pointer for `None`.
//! - `str`, `slice`: the elements, without gaps.
//! - `vec`: a pointer to the elements, then their number as `u32`.
//! - `string`: 8 bytes, in one of two forms. The top two bits of the first byte select it.
//!   - Bits `10`: a `u32`, then an `i32`. The lowest 6 bits of the `u32` are the lowest 6 bits of
//!     the length; its upper 24 bits are the rest of the length. The `i32` is the distance in bytes
//!     from the *string's* first byte to the text.
//!   - All others: text of up to 8 bytes, ended by `0xff` or by the end of the 8 bytes.
//! - `c-string`: a pointer, then the length as `u32`, which includes the final zero.
//! - `btree-map`, `btree-set`: a pointer to the root node, then the number of entries as `u32`.
//!   - A node starts like the `repr(C)` struct `kind u8, keys [K; 5], values [V; 5]`.
//!   - A leaf (kind 0) ends with `len u32`.
//!   - An inner node (kind 1) ends with five pointers to the children before each key, then one
//!     pointer to the child after the last key. A null pointer means no child.
//!   - The values of a set have no bytes.

use super::describe::{Field, Shape, ShapeKind, Variant};

/// Returns the schema of a type.
pub(super) fn of(shape: &Shape) -> String {
    let mut json = String::new();
    put_type(&mut json, shape);
    json
}

fn put_type(json: &mut String, shape: &Shape) {
    if let ShapeKind::Itself = shape.kind {
        json.push_str(r#"{"kind":"self","self":"#);
        put_text(json, shape.name.as_str());
        return json.push('}');
    }
    json.push_str(r#"{"kind":"#);
    put_text(json, word(&shape.kind));
    json.push_str(r#","name":"#);
    put_text(json, shape.name.as_str());
    put_number(json, "size", shape.size);
    put_number(json, "align", shape.align);
    put_parts(json, &shape.kind);
    json.push('}');
}

fn word(kind: &ShapeKind) -> &'static str {
    match kind {
        ShapeKind::Primitive => "primitive",
        ShapeKind::Struct(_) => "struct",
        ShapeKind::Tuple(_) => "tuple",
        ShapeKind::Enum(_) => "enum",
        ShapeKind::Array(..) => "array",
        ShapeKind::Container(word, _) => word,
        ShapeKind::Itself => "self",
    }
}

fn put_parts(json: &mut String, kind: &ShapeKind) {
    match kind {
        ShapeKind::Primitive | ShapeKind::Itself => {}
        ShapeKind::Struct(fields) | ShapeKind::Tuple(fields) => {
            put_list(json, "fields", fields, put_field)
        }
        ShapeKind::Enum(variants) => put_list(json, "variants", variants, put_variant),
        ShapeKind::Container(_, of) => {
            put_list(json, "of", of, |json, shape| put_type(json, shape))
        }
        ShapeKind::Array(of, len) => {
            put_number(json, "len", *len);
            put_list(json, "of", &[*of], |json, shape| put_type(json, shape));
        }
    }
}

fn put_field(json: &mut String, field: &Field) {
    json.push_str(r#"{"name":"#);
    put_text(json, field.name());
    put_number(json, "offset", field.offset());
    if !field.niches().is_empty() {
        put_list(json, "niches", field.niches(), |json, niche| put_text(json, niche));
    }
    json.push_str(r#","type":"#);
    put_type(json, field.shape());
    json.push('}');
}

fn put_variant(json: &mut String, variant: &Variant) {
    json.push_str(r#"{"name":"#);
    put_text(json, variant.name);
    put_number(json, "tag", variant.tag.into());
    put_list(json, "fields", variant.fields, put_field);
    json.push('}');
}

fn put_list<T>(json: &mut String, member: &str, items: &[T], put: fn(&mut String, &T)) {
    json.push_str(&format!(",\"{member}\":["));
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        put(json, item);
    }
    json.push(']');
}

fn put_number(json: &mut String, member: &str, number: usize) {
    json.push_str(&format!(",\"{member}\":{number}"));
}

/// Appends an identifier or the name of a type. These contain no character that JSON must escape.
fn put_text(json: &mut String, text: &str) {
    json.push('"');
    json.push_str(text);
    json.push('"');
}
