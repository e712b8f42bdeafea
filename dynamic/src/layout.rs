//! The compact form of a schema: a table of types, with all offsets, sizes and alignments.
//!
//! Only `parse` makes it. It keeps these promises for hostile text, too:
//!
//! 1. Each index refers to a type of the table.
//! 2. A type contains itself behind a pointer only, and nests at most [`MAX_NESTING`] types without
//!    a pointer between them, or [`MAX_RECURSIVE_NESTING`]. So walking a value needs bounded stack.
//! 3. Fields do not overlap and lie within their type. Elements of lists have bytes.
//!
//! Nothing relies on them for memory safety: readers check each access against the bytes.

use super::names::{NameKey, NameTable};

/// Most types that may contain each other without a pointer in between.
pub(super) const MAX_NESTING: usize = 32;

/// As [`MAX_NESTING`], if a type contains itself: its values nest up to 62 times as deeply.
pub(super) const MAX_RECURSIVE_NESTING: usize = 12;

/// The alignment of every packet in bytes.
pub(super) const ALIGN: usize = 16;

/// The value of a relative pointer that is null.
pub(super) const NULL: i32 = 1;

/// The number of entries in a full node of a map or set.
pub(super) const ENTRIES: usize = 5;

/// The shift of a type that is no number of at most eight bytes.
pub(super) const NO_WORD: u8 = 64;

/// The index of a type in the table.
pub(super) type TypeIndex = u32;

/// A type.
#[derive(Clone, Debug)]
pub(super) struct TypeLayout {
    /// The name of the Rust type, for display.
    pub(super) name: Box<str>,
    pub(super) size: usize,
    pub(super) align: usize,
    /// True if the type contains no pointer: an archive of it consists of its `size` bytes.
    pub(super) is_flat: bool,
    /// True if all bytes are valid values.
    pub(super) is_any_bits: bool,
    /// True if the type contains itself.
    pub(super) is_recursive: bool,
    /// True if a value may print as `null`.
    pub(super) is_nullable: bool,
    /// True if the name is that of an address, which prints as text.
    pub(super) has_address_name: bool,
    /// The number type of [`LayoutKind::Number`], in a place that is the same for all types.
    pub(super) plain: Option<Number>,
    /// The bits above an unsigned number in eight bytes. [`NO_WORD`] for all other types.
    pub(super) unsigned_shift: u8,
    /// As `unsigned_shift`, for signed numbers.
    pub(super) signed_shift: u8,
    pub(super) kind: LayoutKind,
}

/// The parts of a type.
#[derive(Clone, Debug)]
pub(super) enum LayoutKind {
    /// A number that may have all values.
    Number(Number),
    /// A number that is not 0.
    NonZero(Number),
    /// A number; 0 is `None`.
    OptionNonZero(Number),
    Bool,
    Char,
    /// A struct, or a tuple.
    Struct(Fields),
    Enum(Box<[VariantLayout]>),
    Array {
        of: TypeIndex,
        len: usize,
    },
    /// No bytes.
    Phantom,
    /// A tag byte, and the content at this offset.
    Option {
        of: TypeIndex,
        offset: usize,
    },
    /// The content, or a niche.
    NicheOption {
        of: TypeIndex,
        niche: NicheLayout,
    },
    /// The content of type `boxed`, which is a pointer; a null pointer is `None`.
    OptionBox {
        boxed: TypeIndex,
    },
    /// A pointer.
    Box {
        of: TypeIndex,
    },
    /// A pointer and a number of bytes of text.
    BoxText,
    /// A pointer and a number of elements.
    List {
        of: TypeIndex,
    },
    /// Text of up to 8 bytes in place, or a length and a pointer.
    Text,
    /// A pointer and a number of bytes, with a final zero.
    CText,
    /// A pointer to the root node, and a number of entries.
    Map(TreeLayout),
    Set(TreeLayout),
}

/// The number types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    F32,
    F64,
}

impl Number {
    /// The number type of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "u128" => Self::U128,
            "i8" => Self::I8,
            "i16" => Self::I16,
            "i32" => Self::I32,
            "i64" => Self::I64,
            "i128" => Self::I128,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::U128 | Self::I128 => 16,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

/// The fields of a struct, tuple or variant.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) style: Style,
    pub(super) list: Box<[FieldLayout]>,
    /// The fields by name.
    table: NameTable<FieldPlace>,
    /// The positions in `list` in the order of keys and names, if there is no table.
    by_name: Box<[u32]>,
}

/// Where a field is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldPlace {
    pub(super) offset: usize,
    pub(super) of: TypeIndex,
    /// The position in the list of fields.
    index: u32,
}

impl Fields {
    pub(super) fn new(style: Style, list: Box<[FieldLayout]>) -> Self {
        let place = |(index, field): (usize, &'_ FieldLayout)| FieldPlace {
            offset: field.offset,
            of: field.of,
            index: index as u32,
        };
        let places = list.iter().enumerate().map(|one| (&*one.1.name, place(one)));
        let table = NameTable::of(&places.collect::<Vec<_>>());
        let mut by_name = Vec::new();
        if !table.has_places() {
            by_name.extend(0..list.len() as u32);
            by_name.sort_by_key(|&index| (list[index as usize].key, &list[index as usize].name));
        }
        Self { style, list, table, by_name: by_name.into() }
    }

    /// Where the field of a name is.
    // Inlined always, so that the compiler computes the key and the hash of a name in the program's
    // text.
    #[inline(always)]
    pub(super) fn named(&self, name: &str) -> Option<FieldPlace> {
        let key = NameKey::of(name);
        let Some(place) = self.table.place(key.hash(name)) else {
            let index = self.index_slow(name)?;
            let field = self.list.get(index as usize)?;
            return Some(FieldPlace { offset: field.offset, of: field.of, index });
        };
        // The key has a short name as a whole.
        let has_text =
            || self.list.get(place.value.index as usize).is_some_and(|field| *field.name == *name);
        let is_it = place.key == key && (name.len() <= NameKey::WHOLE || has_text());
        is_it.then_some(place.value)
    }

    #[cold]
    #[inline(never)]
    fn index_slow(&self, name: &str) -> Option<u32> {
        let key = NameKey::of(name);
        let found = self.by_name.binary_search_by(|&index| {
            let field = &self.list[index as usize];
            field.key.cmp(&key).then_with(|| (*field.name).cmp(name))
        });
        self.by_name.get(found.ok()?).copied()
    }
}

/// How fields are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// No fields.
    Unit,
    /// One unnamed field.
    Newtype,
    /// Unnamed fields.
    Unnamed,
    Named,
}

#[derive(Clone, Debug)]
pub(super) struct FieldLayout {
    pub(super) name: Box<str>,
    /// The key of the name.
    pub(super) key: NameKey,
    pub(super) offset: usize,
    pub(super) of: TypeIndex,
    /// The kinds of options of the enclosing type for which this field has a niche.
    pub(super) niches: Box<[Box<str>]>,
}

#[derive(Clone, Debug)]
pub(super) struct VariantLayout {
    pub(super) name: Box<str>,
    pub(super) tag: u8,
    pub(super) fields: Fields,
}

/// Where an option without a tag byte has its `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct NicheLayout {
    pub(super) offset: usize,
    pub(super) kind: NicheKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum NicheKind {
    /// So many zero bytes.
    Zero(usize),
    /// A byte above 1.
    Bool,
    /// A null pointer.
    Null,
}

/// The nodes of a map or set.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeLayout {
    pub(super) key: TypeIndex,
    /// The values of a set have no bytes.
    pub(super) value: TypeIndex,
    pub(super) key_size: usize,
    pub(super) value_size: usize,
    pub(super) keys: usize,
    pub(super) values: usize,
    /// The offset of a leaf's number of entries, and of an inner node's pointers.
    pub(super) tail: usize,
    pub(super) align: usize,
    pub(super) leaf_size: usize,
    pub(super) inner_size: usize,
}

impl TreeLayout {
    /// Lays nodes out by the rules of `repr(C)`.
    pub(super) fn of(key: (TypeIndex, &TypeLayout), value: (TypeIndex, &TypeLayout)) -> Self {
        let ((key, key_type), (value, value_type)) = (key, value);
        let keys = 1_usize.next_multiple_of(key_type.align);
        let values = (keys + ENTRIES * key_type.size).next_multiple_of(value_type.align);
        let align = key_type.align.max(value_type.align);
        let node = (values + ENTRIES * value_type.size).next_multiple_of(align);
        let tail = node.next_multiple_of(4);
        let align = align.max(4);
        Self {
            key,
            value,
            key_size: key_type.size,
            value_size: value_type.size,
            keys,
            values,
            tail,
            align,
            leaf_size: (tail + 4).next_multiple_of(align),
            inner_size: (tail + 4 * (ENTRIES + 1)).next_multiple_of(align),
        }
    }
}

/// The values of sets: a type without bytes, at the end of each table.
pub(super) fn unit() -> TypeLayout {
    TypeLayout {
        name: "()".into(),
        size: 0,
        align: 1,
        is_flat: true,
        is_any_bits: true,
        is_recursive: false,
        is_nullable: true,
        has_address_name: false,
        plain: None,
        unsigned_shift: NO_WORD,
        signed_shift: NO_WORD,
        kind: LayoutKind::Phantom,
    }
}
