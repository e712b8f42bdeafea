//! Fields that were looked up once.

use super::layout::{LayoutKind, TypeIndex, TypeLayout};
use super::value::Value;
use std::fmt;
use std::sync::Arc;

/// A field of the root type of a schema, looked up once by [`Schema::field`](crate::Schema::field)
/// for [`Value::field`].
///
/// It belongs to its schema and to the clones of this schema.
#[derive(Clone)]
pub struct FieldPath {
    /// The table of the schema. Its root is the type that has the field.
    types: Arc<[TypeLayout]>,
    offset: usize,
    of: TypeIndex,
}

impl FieldPath {
    pub(super) fn find(types: &Arc<[TypeLayout]>, path: &str) -> Option<Self> {
        let (mut of, mut offset) = (0, 0);
        for name in path.split('.') {
            let LayoutKind::Struct(fields) = &types.get(of as usize)?.kind else { return None };
            let field = fields.named(name)?;
            (of, offset) = (field.of, offset + field.offset);
        }
        Some(Self { types: types.clone(), offset, of })
    }

    /// The name of the field's Rust type, for display.
    pub fn type_name(&self) -> &str {
        self.types.get(self.of as usize).map_or("", |layout| &layout.name)
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self.types.first().map_or("", |root| &*root.name);
        let (offset, of) = (self.offset, self.type_name());
        f.debug_struct("FieldPath")
            .field("owner", &owner)
            .field("offset", &offset)
            .field("of", &of)
            .finish()
    }
}

impl<'a> Value<'a> {
    /// Returns a field that was looked up before by [`Schema::field`](crate::Schema::field).
    ///
    /// `None` if the value has another type, or if its schema is neither the schema of the field
    /// nor a clone of it.
    // Inlined always: see `parts`.
    #[inline(always)]
    pub fn field(&self, field: &FieldPath) -> Option<Value<'a>> {
        if !std::ptr::eq(field.types.as_ptr(), self.layout) {
            return None;
        }
        let layout = self.schema.types.get(field.of as usize)?;
        Some(Self { layout, place: self.place.part(self.here() + field.offset), ..*self })
    }
}
