//! The packet types of a ring: registering them, restricting the ring to some, and the errors.

use super::error::{SendError, TypeMismatch};
use crate::error::{OpenError, TypeRoom};
use crate::packet::{self, Fingerprint, TypeInfo};
use crate::segment::types::{TableFull, TypeTable};
use crate::segment::{Control, Segment};

/// A packet type that a ring carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CarriedType {
    /// Its name, cut to 96 bytes.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its layout, as JSON: see [`packet::schema`](crate::packet::schema).
    pub schema: String,
}

impl CarriedType {
    /// The type at an index of a ring's table.
    pub(crate) fn of(table: &TypeTable<'_>, index: usize) -> Option<Self> {
        Some(Self {
            name: table.name(index)?,
            fingerprint: Fingerprint(table.fingerprint(index)?),
            schema: table.schema(index)?,
        })
    }
}

/// Registers a type, unless the ring is restricted to other types. Needs the control lock.
pub(crate) fn register(
    control: &Control<'_>,
    segment: &Segment,
    info: &TypeInfo,
) -> Result<u16, OpenError> {
    let is_refused = segment.with_types(|table| {
        !table.membership.accepts_all() && table.find(info.fingerprint.0).is_none()
    });
    if is_refused {
        let TypeMismatch { expected, found, difference } = refusal(segment, info);
        return Err(OpenError::TypeMismatch { expected: found, found: expected, difference });
    }
    enter_type(control, segment, info)
}

fn enter_type(
    _control: &Control<'_>,
    segment: &Segment,
    info: &TypeInfo,
) -> Result<u16, OpenError> {
    let schema = info.schema();
    segment
        .with_types(|table| table.register(info.fingerprint.0, info.name, &schema))
        .map_err(too_many_types)
}

/// Restricts the ring to packets of these types. No types: no restriction.
pub(crate) fn accept(ring: &Segment, types: &[TypeInfo]) -> Result<(), OpenError> {
    let control = ring.lock()?;
    let indices: Result<Vec<u16>, OpenError> =
        types.iter().map(|info| enter_type(&control, ring, info)).collect();
    let indices = indices?;
    ring.with_types(|table| table.membership.accept(indices));
    Ok(())
}

/// The types that a restricted ring accepts, and the one it refused.
#[cold]
pub(crate) fn refusal(segment: &Segment, refused: &TypeInfo) -> TypeMismatch {
    let (expected, difference) = segment.with_types(|table| {
        let accepted = || (0..table.len()).filter(|&i| table.membership.accepts(i as u16));
        let labels = accepted().filter_map(|i| Some(label(&table.name(i)?, table.fingerprint(i)?)));
        let difference = accepted().find_map(|index| difference(&table, refused, index));
        (labels.collect::<Vec<String>>().join(", "), difference)
    });
    TypeMismatch { expected, found: label(refused.name, refused.fingerprint.0), difference }
}

/// The first difference between a type of this program and the ring's type at an index. `None`
/// unless both have the same name.
#[cold]
pub(crate) fn difference(table: &TypeTable<'_>, info: &TypeInfo, index: usize) -> Option<String> {
    let name = table.name(index)?;
    // The table cuts long names.
    let is_cut = name.len() + 4 > TypeTable::NAME_BYTES && info.name.starts_with(&*name);
    let is_same_name = name == info.name || is_cut;
    let schema = is_same_name.then(|| table.schema(index))??;
    packet::first_difference(&info.schema(), &schema)
}

/// The error of a type that does not fit the type table.
pub(crate) fn too_many_types(full: TableFull) -> OpenError {
    let TableFull { types, schema_bytes, needed_bytes } = full;
    OpenError::TooManyTypes(TypeRoom {
        types,
        max_types: Segment::MAX_TYPES,
        schema_bytes,
        max_schema_bytes: TypeTable::SCHEMA_BYTES,
        needed_bytes,
    })
}

/// A type as errors show it.
pub(crate) fn label(name: &str, fingerprint: u128) -> String {
    format!("{name} (fingerprint {fingerprint:032x})")
}

/// The expected type and the type that was found.
pub(crate) fn mismatch(segment: &Segment, expected: &TypeInfo, found: u16) -> TypeMismatch {
    let index = usize::from(found);
    let (found, difference) = segment.with_types(|table| {
        let both = table.name(index).zip(table.fingerprint(index));
        let found = both.map(|(name, print)| label(&name, print));
        (found, difference(&table, expected, index))
    });
    TypeMismatch {
        expected: label(expected.name, expected.fingerprint.0),
        found: found.unwrap_or_else(|| "a type that was never registered".into()),
        difference,
    }
}

/// Registers a type that another ring carries, unless the ring is restricted to other types. Needs
/// the control lock.
pub(crate) fn register_carried(
    _control: &Control<'_>,
    segment: &Segment,
    carried: &CarriedType,
) -> Result<u16, OpenError> {
    let CarriedType { name, fingerprint, schema } = carried;
    segment.with_types(|table| {
        if !table.membership.accepts_all() {
            let known = table.find(fingerprint.0).filter(|index| table.membership.accepts(*index));
            let (expected, found) = (label(name, fingerprint.0), "other types".to_owned());
            let refused = OpenError::TypeMismatch { expected, found, difference: None };
            return known.ok_or(refused);
        }
        table.register(fingerprint.0, name, schema).map_err(too_many_types)
    })
}

/// Why a type was not registered.
pub(crate) fn refused(error: OpenError) -> SendError {
    match error {
        OpenError::TooManyTypes(room) => SendError::TooManyTypes(room),
        OpenError::TypeMismatch { expected, found, difference } => {
            // `OpenError` has the refused type as the expected one.
            let (expected, found) = (found, expected);
            SendError::TypeRefused(Box::new(TypeMismatch { expected, found, difference }))
        }
        OpenError::System { source, .. } => SendError::System(source),
        other => SendError::System(std::io::Error::other(other)),
    }
}
