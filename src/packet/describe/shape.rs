//! The description of an archived type, as a constant.
//!
//! Fingerprint and schema are derived from it. The write path and the check path read its flags. A
//! shape describes how bytes are laid out; it contains no code and no values.

use super::{Named, TypeName};
use crate::packet::Fnv;

/// The alignment of every packet in bytes, and so the largest that an archived type may have.
pub(crate) const MAX_ALIGN: usize = 16;

/// The layout of an archived type.
pub struct Shape {
    /// The name of the type with its parameters.
    pub name: TypeName,
    /// The hash of names, layout and parts.
    pub hash: u128,
    /// The parts of the type.
    pub kind: ShapeKind,
    /// The size in bytes.
    pub size: usize,
    /// The alignment in bytes, at most 16.
    pub align: usize,
    /// True if the type contains no pointer: an archive of it consists of these `size` bytes.
    pub flat: bool,
    /// True if writing a value may leave some bytes unwritten.
    pub padded: bool,
    /// True if rkyv's check is not enough: [`Describe::audit`](super::Describe::audit) must run
    /// too.
    pub audited: bool,
    /// True if the type, or a type that it contains, contains itself behind a pointer.
    pub recursive: bool,
}

/// The parts of a described type.
pub enum ShapeKind {
    /// A number, `bool` or `char`. The name identifies it.
    Primitive,
    /// Named fields at fixed offsets.
    Struct(&'static [Field]),
    /// Numbered fields at fixed offsets.
    Tuple(&'static [Field]),
    /// A tag of one byte at offset 0, then the variant's fields.
    Enum(&'static [Variant]),
    /// An element type and the number of elements, without gaps.
    Array(&'static Shape, usize),
    /// A type of the format itself: its kind in the schema, and the types that it contains.
    Container(&'static str, &'static [&'static Shape]),
    /// A recursive mention of the enclosing type of this name.
    Itself,
}

/// A field of a struct, tuple or variant.
#[derive(Clone, Copy)]
pub struct Field {
    name: &'static str,
    offset: usize,
    size: usize,
    align: usize,
    written_whole: bool,
    niches: &'static [&'static str],
    shape: &'static Shape,
}

impl Field {
    /// Creates a field of archived type `T` at offset 0. [`lay_out`](Self::lay_out) or
    /// [`at`](Self::at) sets the offset.
    ///
    /// # Panics
    ///
    /// At compile time, if the shape is that of another type. A placeholder in the shape of a
    /// recursive type must not change the layout.
    pub const fn new<T>(name: &'static str, shape: &'static Shape) -> Self {
        assert!(
            shape.size == size_of::<T>() && shape.align == align_of::<T>(),
            "the layout of a recursive type depends on a trait that the type implements"
        );
        let written_whole = !shape.padded;
        let (size, align) = (size_of::<T>(), align_of::<T>());
        Self { name, offset: 0, size, align, written_whole, niches: &[], shape }
    }

    /// Returns the field, moved to this offset.
    pub const fn at(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Returns the field, marked as written by a wrapper that may leave bytes unwritten.
    pub const fn wrapped(mut self) -> Self {
        self.written_whole = false;
        self
    }

    /// Returns the field, marked as providing these niches to an option of the enclosing type.
    pub const fn with_niches(mut self, niches: &'static [&'static str]) -> Self {
        self.niches = niches;
        self
    }

    /// Sets the offsets of consecutive fields by the rules of `repr(C)`, behind `start` bytes.
    pub const fn lay_out<const N: usize>(start: usize, mut fields: [Field; N]) -> [Field; N] {
        let mut end = start;
        let mut i = 0;
        while i < N {
            fields[i].offset = end.next_multiple_of(fields[i].align);
            end = fields[i].offset + fields[i].size;
            i += 1;
        }
        fields
    }

    /// Returns the name of the field, or its number in a tuple.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the distance in bytes from the start of the enclosing type.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the niches that the field provides to an option of the enclosing type.
    pub const fn niches(&self) -> &'static [&'static str] {
        self.niches
    }

    /// Returns the type of the field.
    pub const fn shape(&self) -> &'static Shape {
        self.shape
    }
}

/// A variant of an enum.
pub struct Variant {
    /// The name of the variant.
    pub name: &'static str,
    /// The value of the byte at offset 0.
    pub tag: u8,
    /// The fields. Offsets count from the start of the enum.
    pub fields: &'static [Field],
}

impl Shape {
    /// Describes a number, `bool` or `char`.
    pub const fn primitive<T>(name: &'static str) -> Self {
        let hash = Fnv::new().text("primitive").text(name);
        Self::flat::<T>(TypeName::plain(name), hash, ShapeKind::Primitive)
    }

    /// Describes a type of the format itself, without pointers of its own. It is flat if its
    /// contents are.
    pub const fn flat_container<T>(
        word: &'static str,
        name: TypeName,
        of: &'static [&'static Shape],
    ) -> Self {
        let mut shape = Self::container::<T>(word, name, of);
        shape.flat = true;
        let mut i = 0;
        while i < of.len() {
            shape.flat &= of[i].flat;
            i += 1;
        }
        shape
    }

    /// Describes a type of the format itself that points at its contents.
    pub const fn container<T>(
        word: &'static str,
        name: TypeName,
        of: &'static [&'static Shape],
    ) -> Self {
        let mut hash = Fnv::new().text(word).number(of.len());
        let mut shape = Self::flat::<T>(name, hash, ShapeKind::Container(word, of));
        let mut i = 0;
        while i < of.len() {
            hash = hash.word(of[i].hash);
            shape.audited |= of[i].audited;
            shape.recursive |= of[i].recursive;
            i += 1;
        }
        shape.flat = false;
        shape.padded = true;
        shape.hash = hash.number(shape.size).number(shape.align).finish();
        shape
    }

    /// Describes a container of any number of elements.
    ///
    /// # Panics
    ///
    /// At compile time, if the elements have no bytes. A few bytes could otherwise claim billions
    /// of elements, and checking or reading them would take forever.
    // The error names the container, without excerpts of the standard library.
    #[track_caller]
    pub const fn list<T>(
        word: &'static str,
        name: TypeName,
        of: &'static [&'static Shape],
    ) -> Self {
        assert!(
            of[0].size > 0,
            "a packet cannot contain a list of zero-sized elements: send the number of elements"
        );
        Self::container::<T>(word, name, of)
    }

    /// Describes `[of; len]`.
    pub const fn array<T>(of: &'static Shape, len: usize) -> Self {
        let hash = Fnv::new().text("array").word(of.hash).number(len);
        let mut shape =
            Self::flat::<T>(TypeName::array(of.name, len), hash, ShapeKind::Array(of, len));
        shape.inherit(of);
        // Without elements there is no pointer.
        shape.flat |= len == 0;
        shape.padded = of.padded;
        shape
    }

    /// Describes a struct. The fields must have their offsets.
    pub const fn structure<T>(named: Named, fields: &'static [Field]) -> Self {
        let hash = hash_niches(hash_fields(named.hash("struct"), fields), fields);
        let mut shape = Self::flat::<T>(named.name(), hash, ShapeKind::Struct(fields));
        shape.inherit_fields(fields);
        shape.padded = !fills(fields, 0, shape.size);
        shape
    }

    /// Describes a tuple. The fields must have their offsets.
    pub const fn tuple<T>(name: TypeName, fields: &'static [Field]) -> Self {
        let hash = hash_fields(Fnv::new().text("tuple"), fields);
        let mut shape = Self::flat::<T>(name, hash, ShapeKind::Tuple(fields));
        shape.inherit_fields(fields);
        shape.padded = !fills(fields, 0, shape.size);
        shape
    }

    /// Describes an enum. The fields of its variants must have their offsets.
    pub const fn enumeration<T>(named: Named, variants: &'static [Variant]) -> Self {
        let hash = hash_variants(named.hash("enum"), variants);
        let mut shape = Self::flat::<T>(named.name(), hash, ShapeKind::Enum(variants));
        let mut i = 0;
        while i < variants.len() {
            shape.inherit_fields(variants[i].fields);
            shape.padded |= !fills(variants[i].fields, 1, shape.size);
            i += 1;
        }
        shape
    }

    /// Returns true if some bytes of a value belong to no field.
    ///
    /// Assigning a whole value may leave any content in such bytes, so they would carry memory of
    /// the publisher to the subscribers.
    #[doc(hidden)]
    pub const fn has_gaps(&self) -> bool {
        match self.kind {
            ShapeKind::Primitive => false,
            ShapeKind::Struct(fields) | ShapeKind::Tuple(fields) => {
                let mut sum = 0;
                let mut i = 0;
                while i < fields.len() {
                    if fields[i].shape.has_gaps() {
                        return true;
                    }
                    sum += fields[i].size;
                    i += 1;
                }
                sum != self.size
            }
            ShapeKind::Array(of, _) => of.has_gaps(),
            ShapeKind::Enum(_) | ShapeKind::Container(..) | ShapeKind::Itself => self.size > 0,
        }
    }

    /// Returns the shape, marked as needing an audit.
    pub(super) const fn with_audit(mut self) -> Self {
        self.audited = true;
        self
    }

    /// Describes a recursive mention of the enclosing type `T`.
    pub(super) const fn itself<T>(name: TypeName) -> Self {
        let mut shape = Self::flat::<T>(name, Fnv::new().text("self"), ShapeKind::Itself);
        // The hash omits the size: the enclosing type's hash includes it.
        shape.hash = Fnv::new().text("self").text(name.as_str()).finish();
        shape.flat = false;
        shape.padded = true;
        shape.recursive = true;
        shape
    }

    const fn flat<T>(name: TypeName, hash: Fnv, kind: ShapeKind) -> Self {
        let (size, align) = (size_of::<T>(), align_of::<T>());
        assert!(
            align <= MAX_ALIGN,
            "a packet is aligned to 16 bytes and cannot contain a type with a larger alignment"
        );
        let hash = hash.number(size).number(align).finish();
        let (flat, padded, audited, recursive) = (true, false, false, false);
        Self { name, hash, kind, size, align, flat, padded, audited, recursive }
    }

    /// Takes over the flags of a part.
    const fn inherit(&mut self, part: &Shape) {
        self.flat &= part.flat;
        self.audited |= part.audited;
        self.recursive |= part.recursive;
    }

    const fn inherit_fields(&mut self, fields: &[Field]) {
        let mut i = 0;
        while i < fields.len() {
            self.inherit(fields[i].shape);
            i += 1;
        }
    }
}

const fn hash_fields(hash: Fnv, fields: &[Field]) -> Fnv {
    let mut hash = hash.number(fields.len());
    let mut i = 0;
    while i < fields.len() {
        let field = &fields[i];
        hash = hash.text(field.name).number(field.offset).number(field.size).word(field.shape.hash);
        i += 1;
    }
    hash
}

/// Hashes which fields provide niches. Comes last, so no field is confused with a niche.
const fn hash_niches(mut hash: Fnv, fields: &[Field]) -> Fnv {
    let mut i = 0;
    while i < fields.len() {
        let niches = fields[i].niches;
        let mut j = 0;
        while j < niches.len() {
            hash = hash.text("niche").number(i).text(niches[j]);
            j += 1;
        }
        i += 1;
    }
    hash
}

const fn hash_variants(hash: Fnv, variants: &[Variant]) -> Fnv {
    let mut hash = hash.number(variants.len());
    let mut i = 0;
    while i < variants.len() {
        let variant = &variants[i];
        hash = hash_fields(hash.text(variant.name).number(variant.tag as usize), variant.fields);
        i += 1;
    }
    hash
}

/// Returns true if writing all `fields` and `taken` further bytes writes every one of `size` bytes.
const fn fills(fields: &[Field], taken: usize, size: usize) -> bool {
    let mut sum = taken;
    let mut i = 0;
    while i < fields.len() {
        if !fields[i].written_whole {
            return false;
        }
        sum += fields[i].size;
        i += 1;
    }
    sum == size
}

impl Named {
    /// Adds a type parameter.
    pub const fn of(self, shape: &Shape) -> Self {
        self.parameter(shape.name.as_str(), shape.hash)
    }
}
