//! Properties of a packet type that are known without a value: name, fingerprint, layout.

use std::fmt;

use super::{Fingerprint, describe::Shape, schema};

/// The name, fingerprint and layout of a packet type.
///
/// [`type_of`](super::type_of) returns it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct TypeInfo {
    /// The hash of layout and names, equal in every program that has this type.
    pub fingerprint: Fingerprint,
    /// The name of the Rust type with its parameters, without a path. Cut after 120 bytes.
    pub name: &'static str,
    /// The size of the root in bytes. The root is the last part of every packet of this type.
    pub size: usize,
    /// The alignment of the root in bytes, at most 16.
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

    /// Returns the [schema]: the layout as JSON.
    ///
    /// Cost: each call formats it anew.
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
