//! Values as JSON: `Serialize` and `Display`. The mapping is described in the [module](super).
//!
//! A value that changed after its check prints as a default where it is none any more. An error
//! would make `to_string` panic.

use super::Schema;
use super::address::NetAddress;
use super::layout::{Fields, LayoutKind, Style, TreeLayout, TypeIndex, TypeLayout};
use super::parts::AnyNumber;
use super::value::Value;
use serde_core::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::fmt;
use std::io;

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let this = self.unboxed();
        match &this.layout.kind {
            LayoutKind::Number(_) | LayoutKind::NonZero(_) => {
                put_number(this.number().unwrap_or(AnyNumber::Unsigned(0)), to)
            }
            LayoutKind::OptionNonZero(_) => match this.number() {
                Some(number) => put_number(number, to),
                None => to.serialize_none(),
            },
            LayoutKind::Option { of, .. } | LayoutKind::NicheOption { of, .. } => {
                put_option(&this, *of, to)
            }
            LayoutKind::OptionBox { boxed } => put_option(&this, *boxed, to),
            LayoutKind::Bool => to.serialize_bool(this.as_bool().unwrap_or_default()),
            LayoutKind::Char => to.serialize_char(this.as_char().unwrap_or_default()),
            LayoutKind::Struct(fields) => FieldsOf { of: this, fields }.serialize(to),
            LayoutKind::Enum(_) => put_variant(&this, to),
            LayoutKind::Array { .. } | LayoutKind::List { .. } => {
                to.collect_seq((0..this.len()).map(|index| this.at(index)))
            }
            LayoutKind::Set(_) => put_set(&this, to),
            LayoutKind::Phantom | LayoutKind::Box { .. } => to.serialize_unit(),
            LayoutKind::BoxText | LayoutKind::Text => {
                to.serialize_str(this.as_str().unwrap_or_default())
            }
            LayoutKind::CText => to.collect_seq(this.as_bytes().unwrap_or_default()),
            LayoutKind::Map(tree) => put_map(&this, tree, to),
        }
    }
}

fn put_number<S: Serializer>(number: AnyNumber, to: S) -> Result<S::Ok, S::Error> {
    match number {
        AnyNumber::Unsigned(number) => match u64::try_from(number) {
            Ok(number) => to.serialize_u64(number),
            Err(_) => to.collect_str(&number),
        },
        AnyNumber::Signed(number) => match i64::try_from(number) {
            Ok(number) => to.serialize_i64(number),
            Err(_) => to.collect_str(&number),
        },
        AnyNumber::F32(number) => {
            let bits = u64::from(number.to_bits());
            let usual = u64::from(f32::NAN.to_bits());
            if number.is_finite() {
                to.serialize_f32(number)
            } else {
                put_other(number.into(), bits, usual, to)
            }
        }
        AnyNumber::F64(number) => {
            let (bits, usual) = (number.to_bits(), f64::NAN.to_bits());
            if number.is_finite() {
                to.serialize_f64(number)
            } else {
                put_other(number, bits, usual, to)
            }
        }
    }
}

/// A number that JSON does not have, as text. `usual`: the bits of the usual NaN.
fn put_other<S: Serializer>(number: f64, bits: u64, usual: u64, to: S) -> Result<S::Ok, S::Error> {
    if number.is_nan() && bits != usual {
        return to.collect_str(&format_args!("NaN({bits:#x})"));
    }
    // "NaN", "inf", "-inf"
    to.collect_str(&number)
}

/// `of`: the type of the content.
fn put_option<S: Serializer>(this: &Value<'_>, of: TypeIndex, to: S) -> Result<S::Ok, S::Error> {
    match this.some() {
        None => to.serialize_none(),
        Some(content) if this.type_at(of).is_nullable && content.is_mistakable() => {
            let mut map = to.serialize_map(Some(1))?;
            map.serialize_entry(SOME, &content)?;
            map.end()
        }
        Some(content) => to.serialize_some(&content),
    }
}

/// The name around the content of a nested option that could be mistaken for `None`.
pub(super) const SOME: &str = "Some";

impl Value<'_> {
    /// True if the JSON of the value is `null`, or an object with the only name `Some`.
    fn is_mistakable(&self) -> bool {
        let this = self.unboxed();
        if this.is_option() {
            if matches!(this.layout.kind, LayoutKind::OptionNonZero(_)) {
                return this.is_none();
            }
            return this.some().is_none_or(|content| content.is_mistakable());
        }
        match &this.layout.kind {
            LayoutKind::Phantom => true,
            LayoutKind::Struct(fields) => match (fields.style, &*fields.list) {
                (Style::Unit, _) => true,
                (Style::Newtype, [field]) => {
                    this.part(field.of, this.here() + field.offset).is_mistakable()
                }
                (Style::Named, [field]) => *field.name == *SOME,
                _ => false,
            },
            LayoutKind::Enum(_) => {
                this.variant() == Some(SOME)
                    && this.own_fields().is_some_and(|f| f.style != Style::Unit)
            }
            LayoutKind::Map(tree) => {
                let mut keys = this.entries().map(|(key, _)| key.as_str() == Some(SOME));
                is_key(&this.schema.types, tree.key)
                    && keys.next() == Some(true)
                    && keys.next().is_none()
            }
            _ => false,
        }
    }
}

/// The fields of a value, in their style.
struct FieldsOf<'a> {
    of: Value<'a>,
    fields: &'a Fields,
}

impl Serialize for FieldsOf<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { of, fields } = self;
        if let Some(address) = NetAddress::of(of) {
            return to.collect_str(&address);
        }
        let mut parts =
            fields.list.iter().map(|one| (one, of.part(one.of, of.here() + one.offset)));
        match fields.style {
            Style::Unit => to.serialize_unit(),
            Style::Newtype => match parts.next() {
                Some((_, part)) => part.serialize(to),
                None => to.serialize_unit(),
            },
            Style::Unnamed => to.collect_seq(parts.map(|(_, part)| part)),
            Style::Named => to.collect_map(parts.map(|(field, part)| (&*field.name, part))),
        }
    }
}

fn put_variant<S: Serializer>(of: &Value<'_>, to: S) -> Result<S::Ok, S::Error> {
    if let Some(address) = NetAddress::of(of) {
        return to.collect_str(&address);
    }
    match (of.variant(), of.own_fields()) {
        (Some(name), Some(fields)) if fields.style != Style::Unit => {
            let mut map = to.serialize_map(Some(1))?;
            map.serialize_entry(name, &FieldsOf { of: *of, fields })?;
            map.end()
        }
        (name, _) => to.serialize_str(name.unwrap_or_default()),
    }
}

// Out of line, as maps: the iterator would be part of the stack of all values.
#[inline(never)]
fn put_set<S: Serializer>(this: &Value<'_>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(this.iter())
}

#[inline(never)]
fn put_map<S: Serializer>(this: &Value<'_>, tree: &TreeLayout, to: S) -> Result<S::Ok, S::Error> {
    if is_key(&this.schema.types, tree.key) {
        return to.collect_map(this.entries());
    }
    let mut list = to.serialize_seq(Some(this.len()))?;
    this.entries().try_for_each(|entry| list.serialize_element(&entry))?;
    list.end()
}

/// True if keys of this type are names of JSON objects: texts, whole numbers, `bool` and `char`.
pub(super) fn is_key(types: &[TypeLayout], of: TypeIndex) -> bool {
    match types.get(of as usize).map(|layout| &layout.kind) {
        Some(LayoutKind::Number(number) | LayoutKind::NonZero(number)) => !number.is_float(),
        Some(LayoutKind::Bool | LayoutKind::Char | LayoutKind::Text | LayoutKind::BoxText) => true,
        _ => false,
    }
}

/// The value as JSON in one line; with `{:#}` in several.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_pretty = f.alternate();
        let out = Out(f);
        let written = if is_pretty {
            serde_json::to_writer_pretty(out, self)
        } else {
            serde_json::to_writer(out, self)
        };
        written.map_err(|_| fmt::Error)
    }
}

/// As `Display`.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("name", &self.name())
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// Writes JSON to a formatter. serde_json writes whole characters.
struct Out<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl io::Write for Out<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
