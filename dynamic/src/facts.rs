//! What follows from the parts of a type, and the members of the JSON of a schema.

use super::error::{SchemaError, SchemaProblem};
use super::layout::{
    FieldLayout, Fields, LayoutKind, NO_WORD, NicheKind, NicheLayout, Number, Style, TypeIndex,
    TypeLayout,
};
use serde_json::{Map, Value as Json};

/// Largest size of a type in bytes.
pub(super) const MAX_SIZE: u64 = i32::MAX as u64;
/// The names of network addresses and UUIDs.
const ADDRESSES: &[&str] =
    &["Ipv4Addr", "Ipv6Addr", "IpAddr", "SocketAddrV4", "SocketAddrV6", "SocketAddr", "Uuid"];

/// The members of a type that all kinds have.
pub(super) struct TypeHead<'j> {
    pub(super) kind: &'j str,
    pub(super) name: &'j str,
    pub(super) size: usize,
    pub(super) align: usize,
}

/// The number of values in a value without bytes, itself included.
pub(super) fn values_in(types: &[TypeLayout], of: TypeIndex) -> u64 {
    match &types[of as usize].kind {
        LayoutKind::Array { of, len } => (*len as u64).saturating_mul(values_in(types, *of)),
        LayoutKind::Struct(fields) => {
            let parts = fields.list.iter().map(|field| values_in(types, field.of));
            parts.fold(1, u64::saturating_add)
        }
        _ => 1,
    }
}

/// Where a type has its niche for an option of this kind.
pub(super) fn niche(types: &[TypeLayout], of: TypeIndex, word: &str) -> Option<NicheLayout> {
    let (mut of, mut offset) = (of, 0);
    let kind = loop {
        let layout = &types[of as usize];
        of = match &layout.kind {
            LayoutKind::Struct(fields) => {
                let has_niche =
                    |field: &&FieldLayout| field.niches.iter().any(|niche| **niche == *word);
                let field = fields.list.iter().find(has_niche)?;
                offset += field.offset;
                field.of
            }
            LayoutKind::NicheOption { of, .. } => *of,
            LayoutKind::NonZero(number) => break NicheKind::Zero(number.size()),
            LayoutKind::Bool => break NicheKind::Bool,
            LayoutKind::Box { .. } | LayoutKind::BoxText | LayoutKind::List { .. } => {
                break NicheKind::Null;
            }
            _ => return None,
        };
    };
    Some(NicheLayout { offset, kind })
}

/// Sets what follows from the parts of a type.
pub(super) fn describe(types: &[TypeLayout], layout: &mut TypeLayout) {
    let of = |index: &TypeIndex| &types[*index as usize];
    let all = |fields: &Fields, has: fn(&TypeLayout) -> bool| {
        fields.list.iter().all(|field| has(of(&field.of)))
    };
    layout.has_address_name = ADDRESSES.contains(&&*layout.name);
    let kind = &layout.kind;
    layout.plain = if let LayoutKind::Number(number) = kind { Some(*number) } else { None };
    let shift = |number: Number| NO_WORD - 8 * number.size() as u8;
    match layout.plain {
        Some(number @ (Number::U8 | Number::U16 | Number::U32 | Number::U64)) => {
            layout.unsigned_shift = shift(number);
        }
        Some(number @ (Number::I8 | Number::I16 | Number::I32 | Number::I64)) => {
            layout.signed_shift = shift(number);
        }
        _ => {}
    }
    layout.is_flat = match kind {
        LayoutKind::Number(_)
        | LayoutKind::NonZero(_)
        | LayoutKind::OptionNonZero(_)
        | LayoutKind::Bool
        | LayoutKind::Char
        | LayoutKind::Phantom => true,
        LayoutKind::Struct(fields) => all(fields, |part| part.is_flat),
        LayoutKind::Enum(variants) => {
            variants.iter().all(|variant| all(&variant.fields, |part| part.is_flat))
        }
        LayoutKind::Array { of: part, len } => *len == 0 || of(part).is_flat,
        LayoutKind::Option { of: part, .. } | LayoutKind::NicheOption { of: part, .. } => {
            of(part).is_flat
        }
        _ => false,
    };
    layout.is_any_bits = match kind {
        LayoutKind::Number(_) | LayoutKind::OptionNonZero(_) | LayoutKind::Phantom => true,
        LayoutKind::Struct(fields) => all(fields, |part| part.is_any_bits),
        LayoutKind::Array { of: part, len } => *len == 0 || of(part).is_any_bits,
        _ => false,
    };
    layout.is_nullable = match kind {
        LayoutKind::Phantom
        | LayoutKind::OptionNonZero(_)
        | LayoutKind::Option { .. }
        | LayoutKind::NicheOption { .. }
        | LayoutKind::OptionBox { .. } => true,
        LayoutKind::Struct(fields) => match fields.style {
            Style::Unit => true,
            Style::Newtype => all(fields, |part| part.is_nullable),
            Style::Unnamed | Style::Named => false,
        },
        // The content of a box that is being read is not known yet: it counts as nullable, in
        // both directions.
        LayoutKind::Box { of: part } => of(part).is_nullable,
        _ => false,
    };
}

pub(super) fn primitive(head: &TypeHead<'_>) -> Result<LayoutKind, SchemaError> {
    let of_non_zero = |name: &str| {
        let number = Number::named(&name.strip_prefix("NonZero")?.to_ascii_lowercase())?;
        (!number.is_float()).then_some(number)
    };
    let option = head.name.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>'));
    let kind = match head.name {
        "bool" => Some((LayoutKind::Bool, 1)),
        "char" => Some((LayoutKind::Char, 4)),
        name => Number::named(name)
            .map(|number| (LayoutKind::Number(number), number.size()))
            .or_else(|| of_non_zero(name).map(|n| (LayoutKind::NonZero(n), n.size())))
            .or_else(|| of_non_zero(option?).map(|n| (LayoutKind::OptionNonZero(n), n.size()))),
    };
    let unknown = || SchemaError::new(SchemaProblem::UnknownKind(head.name.to_owned()));
    let (kind, size) = kind.ok_or_else(unknown)?;
    demand(head.size == size, "size", head.size, size)?;
    Ok(kind)
}

pub(super) fn pointer(
    head: &TypeHead<'_>,
    size: usize,
    kind: LayoutKind,
) -> Result<LayoutKind, SchemaError> {
    demand(head.size == size, "size", head.size, size)?;
    demand(head.align == 4, "align", head.align, 4)?;
    Ok(kind)
}

pub(super) fn demand(
    fits: bool,
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), SchemaError> {
    if fits {
        return Ok(());
    }
    let (found, expected) = (found as u64, expected as u64);
    Err(SchemaError::new(SchemaProblem::Number { what, found, expected }))
}

pub(super) fn wrong(member: &'static str, expected: &'static str) -> SchemaError {
    SchemaError::new(SchemaProblem::Member { member, expected })
}

pub(super) fn object(json: &Json) -> Result<&Map<String, Json>, SchemaError> {
    json.as_object().ok_or_else(|| wrong("type", "an object"))
}

pub(super) fn text<'j>(
    object: &'j Map<String, Json>,
    member: &'static str,
) -> Result<&'j str, SchemaError> {
    object.get(member).and_then(Json::as_str).ok_or_else(|| wrong(member, "a text"))
}

pub(super) fn list<'j>(
    object: &'j Map<String, Json>,
    member: &'static str,
) -> Result<&'j [Json], SchemaError> {
    let list = object.get(member).and_then(Json::as_array);
    list.map(Vec::as_slice).ok_or_else(|| wrong(member, "an array"))
}

pub(super) fn number(
    object: &Map<String, Json>,
    member: &'static str,
    limit: u64,
) -> Result<usize, SchemaError> {
    let number = object.get(member).and_then(Json::as_u64);
    let number = number.ok_or_else(|| wrong(member, "a whole number"))?;
    demand(number <= limit, member, number as usize, limit as usize)?;
    Ok(number as usize)
}
