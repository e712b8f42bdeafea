//! What a program knows about a packet type without having a value of it.

use std::fmt;

use super::{Fingerprint, Packet, describe::Shape, schema};

/// A packet type: its name, fingerprint, layout.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct TypeInfo {
    /// Tells packet types apart across programs.
    pub fingerprint: Fingerprint,
    /// The Rust type's name with its parameters, without a path.
    pub name: &'static str,
    /// Bytes of the root, the part at the end of every packet of this type.
    pub size: usize,
    /// Alignment of the root in bytes, at most 16.
    pub align: usize,
    shape: &'static Shape,
}

impl TypeInfo {
    pub(super) const fn of(shape: &'static Shape) -> Self {
        Self {
            fingerprint: Fingerprint::of_description(shape.hash),
            name: shape.name.as_str(),
            size: shape.size,
            align: shape.align,
            shape,
        }
    }

    /// The [schema](crate::packet::schema): the layout as JSON. Put together anew by each call.
    pub fn schema(&self) -> String {
        schema::of(self.shape)
    }
}

impl fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeInfo")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint)
            .field("size", &self.size)
            .field("align", &self.align)
            .finish_non_exhaustive()
    }
}

/// The name, fingerprint and layout of a packet type.
///
/// ```
/// assert_eq!(packetring::packet::type_of::<Vec<u32>>().name, "Vec<u32>");
/// ```
pub const fn type_of<T: Packet>() -> TypeInfo {
    T::TYPE
}

/// The fingerprint of a packet type; usable in constants.
///
/// ```
/// use packetring::packet::{Fingerprint, fingerprint_of};
///
/// const HERE: Fingerprint = fingerprint_of::<(u32, String)>();
/// assert_ne!(HERE, fingerprint_of::<(String, u32)>());
/// ```
pub const fn fingerprint_of<T: Packet>() -> Fingerprint {
    T::TYPE.fingerprint
}

/// The [schema](crate::packet::schema) of a packet type: its layout as JSON.
///
/// ```
/// let schema = packetring::packet::schema_of::<u32>();
/// assert_eq!(schema, r#"{"kind":"primitive","name":"u32","size":4,"align":4}"#);
/// ```
pub fn schema_of<T: Packet>() -> String {
    T::TYPE.schema()
}
