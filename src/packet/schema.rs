//! The schema: a packet type's layout as JSON, enough to read any packet in place without having its type.
//!
//! Compact, deterministic, and not meant to be parsed back by this crate. Every type is an object:
//!
//! | member | of | means |
//! |---|---|---|
//! | `kind` | all | see below |
//! | `name` | all but `self` | the Rust type's name with its parameters |
//! | `size`, `align` | all but `self` | bytes; a `str` or `slice` gives one element's |
//! | `fields` | `struct`, `tuple` | array of `{"name", "offset", "type"}` |
//! | `variants` | `enum` | array of `{"name", "tag", "fields"}`; the tag is the byte at offset 0, fields' offsets count from the enum's start |
//! | `of` | all others | array of the types it holds |
//! | `len` | `array` | number of elements |
//! | `self` | `self` | the name of the enclosing type that is meant, the nearest of that name |
//!
//! The root is the last `size` bytes of a packet. Numbers are little-endian. A *pointer* is an `i32`: the
//! distance in bytes from its own first byte to what it points at. The kinds:
//!
//! | kind | layout |
//! |---|---|
//! | `primitive` | a number, `bool` (0 or 1) or `char` (u32), by its name; `Option<NonZeroX>` is that number, 0 means none |
//! | `struct`, `tuple`, `enum`, `array` | as their members say |
//! | `phantom` | no bytes |
//! | `option` | a byte, 0 none or 1 some; the value at the offset of its alignment |
//! | `option-zero`, `-nan`, `-bool`, `-null` | the value itself; none if it is zero, not a number, above 1, or a pointer of 1 |
//! | `option-default` | the value itself; which of these says none depends on its type: zero, above 1 or a pointer of 1 |
//! | `box` | a pointer; of a `str` or `slice`: a pointer, then a `u32` count of elements |
//! | `option-box` | as `box`; none if the pointer is 1 |
//! | `str`, `slice` | the elements, one after the other |
//! | `vec` | a pointer to the elements, then a `u32` count |
//! | `string` | 8 bytes. If the top two bits of the first are not `10`: text of up to 8 bytes, ended by `0xff` or the end. Else a `u32` whose lowest 6 bits are the length's lowest and whose upper 24 are its rest, then an `i32` distance from the *string's* first byte to the text |
//! | `c-string` | a pointer, then a `u32` length that includes the final zero |
//! | `btree-map`, `btree-set` | a pointer to the root node, then a `u32` count of entries. A node is laid out as the `repr(C)` struct `kind u8, keys [K; 5], values [V; 5]`, then, after a leaf (0): `len u32`; after an inner node (1): five pointers to the children before each key and one to the child after all; 1 means no child. A set's values have no bytes |

use super::describe::{Field, Kind, Shape, Variant};

/// Writes the schema of a type.
pub(super) fn of(shape: &Shape) -> String {
    let mut json = String::new();
    put_type(&mut json, shape);
    json
}

fn put_type(json: &mut String, shape: &Shape) {
    if let Kind::Itself = shape.kind {
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

fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Primitive => "primitive",
        Kind::Struct(_) => "struct",
        Kind::Tuple(_) => "tuple",
        Kind::Enum(_) => "enum",
        Kind::Array(..) => "array",
        Kind::Container(word, _) => word,
        Kind::Itself => "self",
    }
}

fn put_parts(json: &mut String, kind: &Kind) {
    match kind {
        Kind::Primitive | Kind::Itself => {}
        Kind::Struct(fields) | Kind::Tuple(fields) => put_list(json, "fields", fields, put_field),
        Kind::Enum(variants) => put_list(json, "variants", variants, put_variant),
        Kind::Container(_, of) => put_list(json, "of", of, |json, shape| put_type(json, shape)),
        Kind::Array(of, len) => {
            put_number(json, "len", *len);
            put_list(json, "of", &[*of], |json, shape| put_type(json, shape));
        }
    }
}

fn put_field(json: &mut String, field: &Field) {
    json.push_str(r#"{"name":"#);
    put_text(json, field.name());
    put_number(json, "offset", field.offset());
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

/// Puts a name: an identifier or a type's name, in which nothing needs escaping.
fn put_text(json: &mut String, text: &str) {
    json.push('"');
    json.push_str(text);
    json.push('"');
}
