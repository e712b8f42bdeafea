//! [`CarriedType`]: a packet type as a ring has it, without the Rust type.

use super::error::TypeMismatch;
use crate::packet::Fingerprint;
use crate::segment::types::TypeTable;
#[cfg(feature = "dynamic")]
use packetring_dynamic::{Schema, SchemaError};

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
        Some(Self::counted(table, index)?.1)
    }

    /// As [`of`](Self::of), with the number of types that the index has had.
    pub(crate) fn counted(table: &TypeTable<'_>, index: usize) -> Option<(u32, Self)> {
        let (count, (name, fingerprint, schema)) = table.counted_record(index)?;
        Some((count, Self { name, fingerprint: Fingerprint(fingerprint), schema }))
    }

    /// The error for a packet of this type that was expected to be another one.
    pub(crate) fn found_instead_of(
        found: Option<&Self>,
        name: &str,
        print: Fingerprint,
    ) -> TypeMismatch {
        let found = found.map(|carried| label(&carried.name, carried.fingerprint.0));
        TypeMismatch {
            expected: label(name, print.0),
            found: found.unwrap_or_else(|| "a type that is not known".into()),
            difference: None,
        }
    }

    /// The type of packets with this schema.
    #[cfg(feature = "dynamic")]
    pub(crate) fn of_schema(schema: &Schema) -> Self {
        Self {
            name: schema.name().to_owned(),
            fingerprint: Fingerprint(schema.fingerprint()),
            schema: schema.text().to_owned(),
        }
    }

    /// Reads its schema, to read and write packets without their Rust type.
    ///
    /// # Errors
    ///
    /// Its text is not a schema. A process of this user may have damaged it.
    #[cfg(feature = "dynamic")]
    pub fn layout(&self) -> Result<Schema, SchemaError> {
        Schema::parse(&self.schema, self.fingerprint.0)
    }
}

/// A type as errors show it.
pub(super) fn label(name: &str, fingerprint: u128) -> String {
    format!("{name} (fingerprint {fingerprint:032x})")
}
