//! The parts of values: fields, elements, members and entries, iterators over them, and numbers.
//! None allocates.
//!
//! The short ways of reading are inlined always. The slow ways take a copy of the value and return
//! no value: else the value lies in memory on the short way, too. To receive a packet and to read
//! six numbers by name took 70 ns before this and the tables of names, and 25 ns then
//! (2026-11-30).

use super::check::word;
use super::layout::{
    ENTRIES, FieldLayout, FieldPlace, LayoutKind, NO_WORD, NULL, Number, TreeLayout, TypeIndex,
    TypeLayout,
};
use super::value::{Value, ValuePlace};
use std::fmt;
use std::iter::FusedIterator;

impl<'a> Value<'a> {
    /// The field of this name: of a struct, or of the variant that an enum has.
    #[inline(always)]
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let (layout, place) = match &self.layout.kind {
            LayoutKind::Struct(fields) => {
                let FieldPlace { offset, of, .. } = fields.named(name)?;
                self.place_at(of, offset)?
            }
            _ => self.named_place_slow(name)?,
        };
        Some(Self { layout, place, ..*self })
    }

    /// The part at an index: a field by its place in the type, or an element of a list or array.
    #[inline(always)]
    pub fn at(&self, index: usize) -> Option<Value<'a>> {
        let (layout, place) = match &self.layout.kind {
            LayoutKind::Struct(fields) => {
                let FieldLayout { offset, of, .. } = fields.list.get(index)?;
                self.place_at(*of, *offset)?
            }
            _ => self.indexed_place_slow(index)?,
        };
        Some(Self { layout, place, ..*self })
    }

    /// The type and the place of a part at an offset.
    #[inline(always)]
    fn place_at(&self, of: TypeIndex, offset: usize) -> Option<(&'a TypeLayout, ValuePlace)> {
        Some((self.schema.types.get(of as usize)?, self.place.part(self.here() + offset)))
    }

    #[cold]
    #[inline(never)]
    fn named_place_slow(self, name: &str) -> Option<(&'a TypeLayout, ValuePlace)> {
        let this = self.bare();
        let FieldPlace { offset, of, .. } = this.own_fields()?.named(name)?;
        this.place_at(of, offset)
    }

    #[cold]
    #[inline(never)]
    fn indexed_place_slow(self, index: usize) -> Option<(&'a TypeLayout, ValuePlace)> {
        let this = self.bare();
        let part = match &this.layout.kind {
            LayoutKind::Array { of, len } if index < *len => {
                this.part(*of, this.here() + index * this.type_at(*of).size)
            }
            LayoutKind::List { of } => {
                let (of, at, len) = this.list(*of)?;
                let at = at + index * this.type_at(of).size;
                (index < len).then(|| this.part(of, at).behind())?
            }
            _ => {
                let FieldLayout { offset, of, .. } = this.own_fields()?.list.get(index)?;
                return this.place_at(*of, *offset);
            }
        };
        Some((part.layout, part.place))
    }

    /// The number of parts: of fields, elements, members or entries. 0 for all other values.
    pub fn len(&self) -> usize {
        let this = self.bare();
        match &this.layout.kind {
            LayoutKind::Array { len, .. } => *len,
            LayoutKind::List { of } => this.list(*of).map_or(0, |(_, _, len)| len),
            LayoutKind::Map(_) | LayoutKind::Set(_) => this.count(),
            _ => this.own_fields().map_or(0, |fields| fields.list.len()),
        }
    }

    /// True if the value has no parts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The fields, the elements of a list or array, or the members of a set, in order.
    pub fn iter(&self) -> Elements<'a> {
        let this = self.bare();
        match &this.layout.kind {
            LayoutKind::Set(tree) => Elements(Inner::Tree(this.walk(tree))),
            _ => Elements(Inner::Indexed { of: this, next: 0, len: this.len_unless_map() }),
        }
    }

    /// The names of the fields of a struct or variant, with their values, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let this = self.bare();
        let list = this.own_fields().map_or(&[][..], |fields| &fields.list);
        list.iter()
            .map(move |field| (&*field.name, this.part(field.of, this.here() + field.offset)))
    }

    /// The keys and values of a map, in order. Empty for all other values.
    pub fn entries(&self) -> Entries<'a> {
        let this = self.bare();
        match &this.layout.kind {
            LayoutKind::Map(tree) => Entries(Some(this.walk(tree))),
            _ => Entries(None),
        }
    }

    /// The name of the variant that an enum has.
    pub fn variant(&self) -> Option<&'a str> {
        let this = self.bare();
        let LayoutKind::Enum(variants) = &this.layout.kind else { return None };
        let tag = *this.archive.get(this.here())?;
        variants.iter().find(|variant| variant.tag == tag).map(|variant| &*variant.name)
    }

    fn len_unless_map(&self) -> usize {
        if matches!(self.layout.kind, LayoutKind::Map(_)) { 0 } else { self.len() }
    }

    fn walk(&self, tree: &'a TreeLayout) -> TreeWalk<'a> {
        let root = self.follow().filter(|_| self.count() > 0);
        // Each entry takes bytes of the packet, unless it changed after the check.
        TreeWalk::new(self.behind(), tree, root, self.count().min(self.archive.len()))
    }
}

/// A number of a value.
pub(super) enum AnyNumber {
    Unsigned(u128),
    Signed(i128),
    F32(f32),
    F64(f64),
}

impl<'a> Value<'a> {
    /// The number of a value, as it is.
    pub(super) fn number(&self) -> Option<AnyNumber> {
        let (LayoutKind::Number(number)
        | LayoutKind::NonZero(number)
        | LayoutKind::OptionNonZero(number)) = &self.layout.kind
        else {
            return None;
        };
        let is_option = matches!(self.layout.kind, LayoutKind::OptionNonZero(_));
        if is_option && self.some().is_none() {
            return None;
        }
        Some(match number {
            Number::U8 => AnyNumber::Unsigned(u8::from_le_bytes(self.first_bytes()?).into()),
            Number::U16 => AnyNumber::Unsigned(u16::from_le_bytes(self.first_bytes()?).into()),
            Number::U32 => AnyNumber::Unsigned(u32::from_le_bytes(self.first_bytes()?).into()),
            Number::U64 => AnyNumber::Unsigned(u64::from_le_bytes(self.first_bytes()?).into()),
            Number::U128 => AnyNumber::Unsigned(u128::from_le_bytes(self.first_bytes()?)),
            Number::I8 => AnyNumber::Signed(i8::from_le_bytes(self.first_bytes()?).into()),
            Number::I16 => AnyNumber::Signed(i16::from_le_bytes(self.first_bytes()?).into()),
            Number::I32 => AnyNumber::Signed(i32::from_le_bytes(self.first_bytes()?).into()),
            Number::I64 => AnyNumber::Signed(i64::from_le_bytes(self.first_bytes()?).into()),
            Number::I128 => AnyNumber::Signed(i128::from_le_bytes(self.first_bytes()?)),
            Number::F32 => AnyNumber::F32(f32::from_le_bytes(self.first_bytes()?)),
            Number::F64 => AnyNumber::F64(f64::from_le_bytes(self.first_bytes()?)),
        })
    }

    #[inline(always)]
    pub(super) fn first_bytes<const N: usize>(&self) -> Option<[u8; N]> {
        self.archive.get(self.here()..self.here() + N)?.first_chunk().copied()
    }

    /// The value of a `bool`.
    #[inline(always)]
    pub fn as_bool(&self) -> Option<bool> {
        if let LayoutKind::Bool = self.layout.kind {
            return Some(self.archive.get(self.here()) == Some(&1));
        }
        self.bool_slow()
    }

    #[cold]
    #[inline(never)]
    fn bool_slow(self) -> Option<bool> {
        let this = self.scalar();
        let is_bool = matches!(this.layout.kind, LayoutKind::Bool);
        is_bool.then(|| this.archive.get(this.here()) == Some(&1))
    }

    /// The value of a `char`.
    pub fn as_char(&self) -> Option<char> {
        let this = self.scalar();
        let is_char = matches!(this.layout.kind, LayoutKind::Char);
        char::from_u32(u32::from_le_bytes(word(this.archive, this.here()))).filter(|_| is_char)
    }

    /// The value of a whole number, if it is one of `u64`.
    #[inline(always)]
    pub fn as_u64(&self) -> Option<u64> {
        let shift = self.layout.unsigned_shift;
        if shift < NO_WORD
            && let Some(word) = self.first_bytes()
        {
            return Some(u64::from_le_bytes(word) << shift >> shift);
        }
        self.unsigned_slow()
    }

    /// The value of a whole number, if it is one of `i64`.
    #[inline(always)]
    pub fn as_i64(&self) -> Option<i64> {
        let shift = self.layout.signed_shift;
        if shift < NO_WORD
            && let Some(word) = self.first_bytes()
        {
            return Some(i64::from_le_bytes(word) << shift >> shift);
        }
        self.signed_slow()
    }

    /// A number that ends less than eight bytes before the packet, or one of another type.
    #[cold]
    #[inline(never)]
    fn unsigned_slow(self) -> Option<u64> {
        match self.layout.plain {
            Some(Number::U32) => Some(u32::from_le_bytes(self.first_bytes()?).into()),
            Some(Number::U16) => Some(u16::from_le_bytes(self.first_bytes()?).into()),
            Some(Number::U8) => Some(u8::from_le_bytes(self.first_bytes()?).into()),
            _ => self.whole_slow()?.try_into().ok(),
        }
    }

    #[cold]
    #[inline(never)]
    fn signed_slow(self) -> Option<i64> {
        match self.layout.plain {
            Some(Number::I32) => Some(i32::from_le_bytes(self.first_bytes()?).into()),
            Some(Number::I16) => Some(i16::from_le_bytes(self.first_bytes()?).into()),
            Some(Number::I8) => Some(i8::from_le_bytes(self.first_bytes()?).into()),
            _ => self.whole_slow()?.try_into().ok(),
        }
    }

    /// The value of a whole number, if it is one of `u128`.
    pub fn as_u128(&self) -> Option<u128> {
        match self.scalar().number()? {
            AnyNumber::Unsigned(number) => Some(number),
            AnyNumber::Signed(number) => number.try_into().ok(),
            AnyNumber::F32(_) | AnyNumber::F64(_) => None,
        }
    }

    /// The value of a whole number, if it is one of `i128`.
    pub fn as_i128(&self) -> Option<i128> {
        self.whole_slow()
    }

    #[cold]
    #[inline(never)]
    fn whole_slow(self) -> Option<i128> {
        match self.scalar().number()? {
            AnyNumber::Unsigned(number) => number.try_into().ok(),
            AnyNumber::Signed(number) => Some(number),
            AnyNumber::F32(_) | AnyNumber::F64(_) => None,
        }
    }

    /// The value of an `f32` or `f64`.
    #[inline(always)]
    pub fn as_f64(&self) -> Option<f64> {
        match self.layout.plain {
            Some(Number::F64) => self.first_bytes().map(f64::from_le_bytes),
            Some(Number::F32) => Some(f32::from_le_bytes(self.first_bytes()?).into()),
            _ => self.float_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn float_slow(self) -> Option<f64> {
        match self.scalar().number()? {
            AnyNumber::F32(number) => Some(number.into()),
            AnyNumber::F64(number) => Some(number),
            AnyNumber::Unsigned(_) | AnyNumber::Signed(_) => None,
        }
    }
}

/// Iterator over the fields, elements or members of a [`Value`]: see [`Value::iter`].
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct Elements<'a>(Inner<'a>);

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "iterators do not allocate")]
enum Inner<'a> {
    Indexed { of: Value<'a>, next: usize, len: usize },
    Tree(TreeWalk<'a>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        match &mut self.0 {
            Inner::Indexed { of, next, len } if *next < *len => {
                *next += 1;
                of.at(*next - 1)
            }
            Inner::Indexed { .. } => None,
            Inner::Tree(walk) => walk.step().map(|(key, _)| key),
        }
    }
}

impl FusedIterator for Elements<'_> {}

/// Iterator over the keys and values of a map: see [`Value::entries`].
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct Entries<'a>(Option<TreeWalk<'a>>);

impl<'a> Iterator for Entries<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.step()
    }
}

impl FusedIterator for Entries<'_> {}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

/// Most nodes between the root and an entry.
const MAX_HEIGHT: usize = 64;

/// A walk over the entries of a map or set in order.
#[derive(Clone)]
struct TreeWalk<'a> {
    of: Value<'a>,
    tree: &'a TreeLayout,
    /// The nodes on the way, with the next step in each: an inner node has a child before each
    /// entry.
    nodes: [(u32, u8); MAX_HEIGHT],
    height: usize,
    /// Entries that are left. Bounds the walk if the bytes change meanwhile.
    left: usize,
}

impl<'a> TreeWalk<'a> {
    fn new(of: Value<'a>, tree: &'a TreeLayout, root: Option<usize>, len: usize) -> Self {
        let mut walk = Self { of, tree, nodes: [(0, 0); MAX_HEIGHT], height: 0, left: len };
        walk.push(root);
        walk
    }

    fn push(&mut self, node: Option<usize>) {
        if let (Some(node), Some(place)) = (node, self.nodes.get_mut(self.height)) {
            // A packet is shorter than `i32::MAX` bytes; a position behind it is read as none.
            *place = (node.try_into().unwrap_or(u32::MAX), 0);
            self.height += 1;
        }
    }

    fn step(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        while self.left > 0 {
            let (node, step) = self.nodes.get_mut(self.height.checked_sub(1)?)?;
            let (at, index) = (*node as usize, usize::from(*step));
            *step += 1;
            let tail = at.checked_add(self.tree.tail)?;
            let count = |at| u32::from_le_bytes(word(self.of.archive, at)) as usize;
            match self.of.archive.get(at)? {
                0 if index < count(tail).min(ENTRIES) => return Some(self.entry(at, index)),
                1 if index <= 2 * ENTRIES && index % 2 == 1 => {
                    return Some(self.entry(at, index / 2));
                }
                1 if index <= 2 * ENTRIES => {
                    let place = tail + 4 * (index / 2);
                    let is_null = i32::from_le_bytes(word(self.of.archive, place)) == NULL;
                    let child = if is_null { None } else { self.of.target(place) };
                    self.push(child);
                }
                _ => self.height -= 1,
            }
        }
        None
    }

    fn entry(&mut self, at: usize, index: usize) -> (Value<'a>, Value<'a>) {
        self.left -= 1;
        let Self { of, tree, .. } = self;
        (
            of.part(tree.key, at + tree.keys + index * tree.key_size),
            of.part(tree.value, at + tree.values + index * tree.value_size),
        )
    }
}
