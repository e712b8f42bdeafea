//! Numbers and keys in JSON, and the order of keys.

use super::error::{EncodeError, EncodeProblem, quoted};
use super::layout::{LayoutKind, Number, TypeIndex, TypeLayout};
use serde_json::Value as Json;

/// The bytes of a number, `bool` or `char`.
pub(super) struct Scalar {
    bytes: [u8; 16],
    len: usize,
}

impl Scalar {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len.min(16)]
    }

    fn new<const N: usize>(bytes: [u8; N]) -> Self {
        let mut scalar = Self { bytes: [0; 16], len: N };
        scalar.bytes[..N].copy_from_slice(&bytes);
        scalar
    }

    /// The value that JSON names. No bytes for `null` where that is `None`.
    pub(super) fn of(layout: &TypeLayout, json: &Json) -> Result<Self, EncodeError> {
        let found = match &layout.kind {
            LayoutKind::OptionNonZero(_) if json.is_null() => Some(Self::new([])),
            LayoutKind::Bool => json.as_bool().map(|value| Self::new([value.into()])),
            LayoutKind::Char => one_char(json).map(|c| Self::new(u32::from(c).to_le_bytes())),
            LayoutKind::Number(number) => Self::number(*number, json),
            LayoutKind::NonZero(number) | LayoutKind::OptionNonZero(number) => {
                let found = Self::number(*number, json);
                found.filter(|found| found.bytes().iter().any(|byte| *byte != 0))
            }
            _ => None,
        };
        found.ok_or_else(|| match json {
            Json::Number(_) | Json::String(_) => out_of_range(&layout.name, json),
            _ => {
                let expected = format!("a value of {}", layout.name);
                EncodeError::new(EncodeProblem::Type { expected, found: shown(json) })
            }
        })
    }

    fn number(number: Number, json: &Json) -> Option<Self> {
        Some(match number {
            Number::U8 => Self::new(u8::try_from(unsigned(json)?).ok()?.to_le_bytes()),
            Number::U16 => Self::new(u16::try_from(unsigned(json)?).ok()?.to_le_bytes()),
            Number::U32 => Self::new(u32::try_from(unsigned(json)?).ok()?.to_le_bytes()),
            Number::U64 => Self::new(u64::try_from(unsigned(json)?).ok()?.to_le_bytes()),
            Number::U128 => Self::new(unsigned(json)?.to_le_bytes()),
            Number::I8 => Self::new(i8::try_from(signed(json)?).ok()?.to_le_bytes()),
            Number::I16 => Self::new(i16::try_from(signed(json)?).ok()?.to_le_bytes()),
            Number::I32 => Self::new(i32::try_from(signed(json)?).ok()?.to_le_bytes()),
            Number::I64 => Self::new(i64::try_from(signed(json)?).ok()?.to_le_bytes()),
            Number::I128 => Self::new(signed(json)?.to_le_bytes()),
            Number::F32 => Self::new(float32(json)?.to_le_bytes()),
            Number::F64 => Self::new(float64(json)?.to_le_bytes()),
        })
    }
}

fn unsigned(json: &Json) -> Option<u128> {
    json.as_u64().map(u128::from).or_else(|| json.as_str()?.parse().ok())
}

fn signed(json: &Json) -> Option<i128> {
    let number = json.as_i64().map(i128::from).or(json.as_u64().map(i128::from));
    number.or_else(|| json.as_str()?.parse().ok())
}

fn float64(json: &Json) -> Option<f64> {
    match json.as_str() {
        None => json.as_f64(),
        Some("NaN") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(text) => Some(f64::from_bits(nan_bits(text)?)).filter(|number| number.is_nan()),
    }
}

fn float32(json: &Json) -> Option<f32> {
    match json.as_str() {
        None => {
            let wide = json.as_f64()?;
            Some(narrow(wide)).filter(|near| near.is_finite())
        }
        Some("NaN") => Some(f32::NAN),
        Some("inf") => Some(f32::INFINITY),
        Some("-inf") => Some(f32::NEG_INFINITY),
        Some(text) => {
            let bits = u32::try_from(nan_bits(text)?).ok()?;
            Some(f32::from_bits(bits)).filter(|number| number.is_nan())
        }
    }
}

/// The bits in `NaN(0x7ff8000000000001)`.
fn nan_bits(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("NaN(0x")?.strip_suffix(')')?;
    u64::from_str_radix(digits, 16).ok()
}

/// The `f32` that prints as the decimal number that `wide` was read from.
///
/// Rounding twice, to an `f64` and then to an `f32`, may end at a neighbor.
fn narrow(wide: f64) -> f32 {
    let near = wide as f32;
    if f64::from(near) == wide {
        return near;
    }
    let prints = |one: &f32| one.to_string().parse() == Ok(wide);
    [near, near.next_up(), near.next_down()].into_iter().find(prints).unwrap_or(near)
}

fn one_char(json: &Json) -> Option<char> {
    let mut chars = json.as_str()?.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// A text for C, without its final zero.
pub(super) fn c_text(json: &Json) -> Option<Vec<u8>> {
    let bytes = match json {
        Json::String(text) => text.as_bytes().to_vec(),
        Json::Array(list) => {
            let byte = |json: &Json| u8::try_from(json.as_u64()?).ok();
            list.iter().map(byte).collect::<Option<Vec<u8>>>()?
        }
        _ => return None,
    };
    (!bytes.contains(&0)).then_some(bytes)
}

/// JSON for an error, cut.
pub(super) fn shown(json: &Json) -> String {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => json.to_string(),
        Json::String(text) => format!("text {}", quoted(text)),
        Json::Array(list) => format!("an array of {}", list.len()),
        Json::Object(object) => format!("an object of {}", object.len()),
    }
}

#[cold]
pub(super) fn out_of_range(expected: &str, json: &Json) -> EncodeError {
    let expected = expected.to_owned();
    EncodeError::new(EncodeProblem::Range { expected, found: shown(json) })
}

/// The key that the name in an object stands for.
pub(super) fn named(types: &[TypeLayout], of: TypeIndex, name: &str) -> Json {
    match (types.get(of as usize).map(|layout| &layout.kind), name) {
        (Some(LayoutKind::Bool), "true") => Json::Bool(true),
        (Some(LayoutKind::Bool), "false") => Json::Bool(false),
        _ => Json::String(name.to_owned()),
    }
}

/// A key by its order. Keys of one type have one form.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Nothing,
    Something(Box<Key>),
    Unsigned(u128),
    Signed(i128),
    Bool(bool),
    Char(char),
    Text(String),
    List(Vec<Key>),
}

impl Key {
    /// `None` if the order of the type is not known, or if the JSON is no value of it.
    fn of(types: &[TypeLayout], of: TypeIndex, json: &Json) -> Option<Self> {
        let layout = types.get(of as usize)?;
        let number = |number: Number| match number {
            Number::F32 | Number::F64 => None,
            Number::U8 | Number::U16 | Number::U32 | Number::U64 | Number::U128 => {
                Some(Self::Unsigned(unsigned(json)?))
            }
            _ => Some(Self::Signed(signed(json)?)),
        };
        let some = |content: Option<Self>| Some(Self::Something(Box::new(content?)));
        match &layout.kind {
            LayoutKind::OptionNonZero(_)
            | LayoutKind::Option { .. }
            | LayoutKind::NicheOption { .. }
            | LayoutKind::OptionBox { .. }
                if json.is_null() =>
            {
                Some(Self::Nothing)
            }
            LayoutKind::Number(of) | LayoutKind::NonZero(of) => number(*of),
            LayoutKind::OptionNonZero(of) => some(number(*of)),
            LayoutKind::Bool => Some(Self::Bool(json.as_bool()?)),
            LayoutKind::Char => Some(Self::Char(one_char(json)?)),
            LayoutKind::Text | LayoutKind::BoxText => Some(Self::Text(json.as_str()?.to_owned())),
            LayoutKind::Box { of } => Self::of(types, *of, json),
            LayoutKind::Option { of, .. } | LayoutKind::NicheOption { of, .. }
                if !is_nested(types, *of) =>
            {
                some(Self::of(types, *of, json))
            }
            LayoutKind::List { of } | LayoutKind::Array { of, .. } => {
                let keys = json.as_array()?.iter().map(|json| Self::of(types, *of, json));
                Some(Self::List(keys.collect::<Option<_>>()?))
            }
            // A tuple. The order of a struct is its own.
            LayoutKind::Struct(fields) if layout.name.starts_with('(') => {
                let parts = fields.list.iter().zip(json.as_array()?);
                let keys = parts.map(|(part, json)| Self::of(types, part.of, json));
                Some(Self::List(keys.collect::<Option<_>>()?))
            }
            _ => None,
        }
    }
}

fn is_nested(types: &[TypeLayout], of: TypeIndex) -> bool {
    types.get(of as usize).is_some_and(|layout| layout.is_nullable)
}

/// Sorts entries by their keys, if the order of the keys is known.
pub(super) fn sort<'j>(
    types: &[TypeLayout],
    of: TypeIndex,
    entries: Vec<(Json, &'j Json)>,
) -> Result<Vec<(Json, &'j Json)>, EncodeError> {
    let keys: Option<Vec<Key>> = entries.iter().map(|(key, _)| Key::of(types, of, key)).collect();
    let Some(keys) = keys else { return Ok(entries) };
    let mut sorted: Vec<_> = keys.into_iter().zip(entries).collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    if let Some([_, (_, (twice, _))]) =
        sorted.array_windows().find(|[(one, _), (other, _)]| one == other)
    {
        return Err(EncodeError::new(EncodeProblem::Twice(quoted(&twice.to_string()))));
    }
    Ok(sorted.into_iter().map(|(_, entry)| entry).collect())
}

pub(super) fn array<'j>(layout: &TypeLayout, json: &'j Json) -> Result<&'j [Json], EncodeError> {
    json.as_array().map(Vec::as_slice).ok_or_else(|| wrong(layout, "an array", json))
}

pub(super) fn demand_len(expected: usize, found: usize) -> Result<(), EncodeError> {
    if expected == found {
        return Ok(());
    }
    Err(EncodeError::new(EncodeProblem::Length { expected, found }))
}

#[cold]
pub(super) fn wrong(layout: &TypeLayout, expected: &str, json: &Json) -> EncodeError {
    let expected = format!("{expected} for {}", layout.name);
    EncodeError::new(EncodeProblem::Type { expected, found: shown(json) })
}
