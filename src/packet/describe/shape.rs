//! The description of an archived type, as a constant: the one source of its fingerprint, its schema
//! and of what the write and check paths must do for it.
//!
//! Shapes say how bytes are laid out. They hold no code and no values.

use super::{Name, named::Named};
use crate::packet::fingerprint::Fnv;

/// The largest alignment that a packet's start has.
pub(crate) const MAX_ALIGN: usize = 16;

/// How an archived type is laid out.
pub struct Shape {
    /// The type's name with its parameters.
    pub name: Name,
    /// The hash of everything below, names included.
    pub hash: u128,
    /// What it consists of.
    pub kind: Kind,
    /// Bytes.
    pub size: usize,
    /// Bytes, at most 16.
    pub align: usize,
    /// It holds no pointer: an archive of it is these `size` bytes.
    pub flat: bool,
    /// Writing a value may leave some of the bytes untouched.
    pub padded: bool,
    /// Checking its bytes is not enough: [`Describe::audit`](super::Describe::audit) must run too.
    pub audited: bool,
    /// It, or something in it, mentions itself.
    pub recursive: bool,
}

/// What a described type consists of.
pub enum Kind {
    /// A number, `bool` or `char`, by its name.
    Primitive,
    /// Named fields at fixed offsets.
    Struct(&'static [Field]),
    /// Numbered fields at fixed offsets.
    Tuple(&'static [Field]),
    /// A tag of one byte at offset 0, then the variant's fields.
    Enum(&'static [Variant]),
    /// So many of the same, one after the other.
    Array(&'static Shape, usize),
    /// One of the format's own types, by the word that the schema uses for it.
    Container(&'static str, &'static [&'static Shape]),
    /// The enclosing type of this name.
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
    shape: &'static Shape,
}

impl Field {
    /// A field of archived type `T`, at an offset that [`lay_out`](Self::lay_out) or
    /// [`at`](Self::at) will say.
    pub const fn new<T>(name: &'static str, shape: &'static Shape) -> Self {
        let written_whole = !shape.padded;
        Self { name, offset: 0, size: size_of::<T>(), align: align_of::<T>(), written_whole, shape }
    }

    /// The same field at this offset.
    pub const fn at(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// The same field, written by a wrapper that may leave bytes untouched.
    pub const fn wrapped(mut self) -> Self {
        self.written_whole = false;
        self
    }

    /// Puts fields one after the other as `repr(C)` does, behind `start` bytes.
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

    /// The field's name, or its number.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes from the start of the whole.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The field's type.
    pub const fn shape(&self) -> &'static Shape {
        self.shape
    }
}

/// A variant of an enum.
pub struct Variant {
    /// Its name.
    pub name: &'static str,
    /// The byte at offset 0 that says so.
    pub tag: u8,
    /// Its fields; offsets count from the enum's start.
    pub fields: &'static [Field],
}

impl Shape {
    /// A number, `bool` or `char`.
    pub const fn primitive<T>(name: &'static str) -> Self {
        let hash = Fnv::new().text("primitive").text(name);
        Self::flat::<T>(Name::plain(name), hash, Kind::Primitive)
    }

    /// One of the format's own types that holds no pointer.
    pub const fn flat_container<T>(
        word: &'static str,
        name: Name,
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

    /// One of the format's own types that points at what it holds.
    pub const fn container<T>(
        word: &'static str,
        name: Name,
        of: &'static [&'static Shape],
    ) -> Self {
        let mut hash = Fnv::new().text(word).number(of.len());
        let mut shape = Self::flat::<T>(name, hash, Kind::Container(word, of));
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

    /// A container of many elements, which may not be zero-sized: a few bytes could then claim
    /// billions of them, and checking or reading those would not end.
    pub const fn list<T>(word: &'static str, name: Name, of: &'static [&'static Shape]) -> Self {
        assert!(
            of[0].size > 0,
            "a packet cannot hold a list of zero-sized elements: send the count"
        );
        Self::container::<T>(word, name, of)
    }

    /// `[of; len]`.
    pub const fn array<T>(of: &'static Shape, len: usize) -> Self {
        let hash = Fnv::new().text("array").word(of.hash).number(len);
        let mut shape = Self::flat::<T>(Name::array(of.name, len), hash, Kind::Array(of, len));
        shape.inherit(of);
        shape.padded = of.padded;
        shape
    }

    /// A struct; its fields are at their offsets.
    pub const fn structure<T>(named: Named, fields: &'static [Field]) -> Self {
        let hash = hash_fields(named.hash("struct"), fields);
        let mut shape = Self::flat::<T>(named.name(), hash, Kind::Struct(fields));
        shape.inherit_fields(fields);
        shape.padded = !fills(fields, 0, shape.size);
        shape
    }

    /// A tuple; its fields are at their offsets.
    pub const fn tuple<T>(name: Name, fields: &'static [Field]) -> Self {
        let hash = hash_fields(Fnv::new().text("tuple"), fields);
        let mut shape = Self::flat::<T>(name, hash, Kind::Tuple(fields));
        shape.inherit_fields(fields);
        shape.padded = !fills(fields, 0, shape.size);
        shape
    }

    /// An enum; its variants' fields are at their offsets.
    pub const fn enumeration<T>(named: Named, variants: &'static [Variant]) -> Self {
        let hash = hash_variants(named.hash("enum"), variants);
        let mut shape = Self::flat::<T>(named.name(), hash, Kind::Enum(variants));
        let mut i = 0;
        while i < variants.len() {
            shape.inherit_fields(variants[i].fields);
            shape.padded |= !fills(variants[i].fields, 1, shape.size);
            i += 1;
        }
        shape
    }

    /// The same shape, whose values must be audited.
    pub(super) const fn with_audit(mut self) -> Self {
        self.audited = true;
        self
    }

    /// The enclosing type `T`, mentioned within itself.
    pub(super) const fn itself<T>(name: Name) -> Self {
        let mut shape = Self::flat::<T>(name, Fnv::new().text("self"), Kind::Itself);
        // The size is left out of the hash: the enclosing type's own says it.
        shape.hash = Fnv::new().text("self").text(name.as_str()).finish();
        shape.flat = false;
        shape.padded = true;
        shape.recursive = true;
        shape
    }

    const fn flat<T>(name: Name, hash: Fnv, kind: Kind) -> Self {
        let (size, align) = (size_of::<T>(), align_of::<T>());
        assert!(
            align <= MAX_ALIGN,
            "a packet is aligned to 16 bytes and cannot hold more aligned types"
        );
        let hash = hash.number(size).number(align).finish();
        let (flat, padded, audited, recursive) = (true, false, false, false);
        Self { name, hash, kind, size, align, flat, padded, audited, recursive }
    }

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

/// Whether writing all `fields` writes every one of `size` bytes, of which `taken` are written anyway.
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
