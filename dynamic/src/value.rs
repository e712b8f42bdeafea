//! A packet read by its schema: a view of bytes that were checked once.
//!
//! Each access is checked against the bytes again, with slices. So a peer that changes a packet
//! after its check can change what is read, but no read leaves the packet. Pointers are followed at
//! most 64 deep.

use super::Schema;
use super::check::{self, word};
use super::layout::{Fields, LayoutKind, NULL, Number, Style, TypeIndex, TypeLayout};
use simdutf8::basic::from_utf8;

/// Most pointers that a read follows.
const MAX_DEPTH: u8 = 64;

/// A value in a packet, read by its schema and in place: see the [crate](crate).
///
/// It borrows the schema and the bytes, and reading allocates nothing. The methods that return a
/// part see through boxes and through `Some`; those that return a number or a text also see through
/// structs with one unnamed field, as JSON does.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pub(super) schema: &'a Schema,
    pub(super) layout: &'a TypeLayout,
    pub(super) archive: &'a [u8],
    pub(super) place: ValuePlace,
}

/// The place of a value: its position in the archive, the number of pointers that led to it, and
/// whether it is the whole packet.
///
/// It is one word, written as a whole. A copy of a value that was just made would otherwise wait
/// for its narrow stores.
#[derive(Clone, Copy)]
pub(super) struct ValuePlace(u64);

impl ValuePlace {
    const DEPTH: u32 = 32;
    const PACKET: u64 = 1 << 40;

    /// The root of a packet, which is shorter than `i32::MAX` bytes.
    #[inline(always)]
    fn packet(at: usize) -> Self {
        Self(u64::from(at as u32) | Self::PACKET)
    }

    #[inline(always)]
    fn at(self) -> usize {
        self.0 as u32 as usize
    }

    /// A part at this position.
    #[inline(always)]
    pub(super) fn part(self, at: usize) -> Self {
        Self(self.0 & (0xff << Self::DEPTH) | u64::from(at as u32))
    }

    /// True if one more pointer may be followed.
    fn may_follow(self) -> bool {
        (self.0 >> Self::DEPTH) as u8 <= MAX_DEPTH
    }

    /// The same position behind one more pointer, which may have been followed.
    pub(super) fn behind(self) -> Self {
        Self(self.part(self.at()).0 + (1 << Self::DEPTH))
    }
}

/// The kind of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueKind {
    /// `()` and other values without content.
    Unit,
    /// A `bool`.
    Bool,
    /// A `char`.
    Char,
    /// An unsigned number, also one that is not 0.
    Unsigned,
    /// A signed number, also one that is not 0.
    Signed,
    /// An `f32` or `f64`.
    Float,
    /// Text in UTF-8.
    Text,
    /// Text for C, without its final zero.
    CText,
    /// An option.
    Option,
    /// A struct.
    Struct,
    /// A tuple, or a struct with unnamed fields.
    Tuple,
    /// An enum.
    Enum,
    /// A list or an array.
    List,
    /// An ordered map.
    Map,
    /// An ordered set.
    Set,
}

impl<'a> Value<'a> {
    /// The whole packet, after its check.
    #[inline(always)]
    pub(super) fn packet(schema: &'a Schema, archive: &'a [u8], at: usize) -> Option<Self> {
        let layout = schema.types.first()?;
        Some(Self { schema, layout, archive, place: ValuePlace::packet(at) })
    }

    /// The kind of the value. A box has the kind of its content.
    pub fn kind(&self) -> ValueKind {
        let this = self.unboxed();
        match &this.layout.kind {
            LayoutKind::Number(number) | LayoutKind::NonZero(number) => match number {
                Number::F32 | Number::F64 => ValueKind::Float,
                Number::U8 | Number::U16 | Number::U32 | Number::U64 | Number::U128 => {
                    ValueKind::Unsigned
                }
                _ => ValueKind::Signed,
            },
            LayoutKind::Bool => ValueKind::Bool,
            LayoutKind::Char => ValueKind::Char,
            LayoutKind::Struct(fields) => match fields.style {
                Style::Unit => ValueKind::Unit,
                Style::Newtype | Style::Unnamed => ValueKind::Tuple,
                Style::Named => ValueKind::Struct,
            },
            LayoutKind::Enum(_) => ValueKind::Enum,
            LayoutKind::Array { .. } | LayoutKind::List { .. } => ValueKind::List,
            LayoutKind::Phantom | LayoutKind::Box { .. } => ValueKind::Unit,
            LayoutKind::OptionNonZero(_)
            | LayoutKind::Option { .. }
            | LayoutKind::NicheOption { .. }
            | LayoutKind::OptionBox { .. } => ValueKind::Option,
            LayoutKind::BoxText | LayoutKind::Text => ValueKind::Text,
            LayoutKind::CText => ValueKind::CText,
            LayoutKind::Map(_) => ValueKind::Map,
            LayoutKind::Set(_) => ValueKind::Set,
        }
    }

    /// The name of the Rust type, for display: `Vec<u32>`.
    pub fn type_name(&self) -> &'a str {
        &self.layout.name
    }

    /// The schema of the packet.
    #[inline]
    pub fn schema(&self) -> &'a Schema {
        self.schema
    }

    /// The bytes of the packet, if the value is the whole packet and not a part of it.
    #[inline]
    pub fn archive(&self) -> Option<&'a [u8]> {
        (self.place.0 & ValuePlace::PACKET != 0).then_some(self.archive)
    }

    /// True if the value is an option that is `None`.
    pub fn is_none(&self) -> bool {
        let this = self.unboxed();
        this.is_option() && this.some().is_none()
    }

    /// The content of an option that is `Some`. Only nested options need it: the other methods see
    /// through options.
    pub fn some(&self) -> Option<Value<'a>> {
        let this = self.unboxed();
        match &this.layout.kind {
            LayoutKind::OptionNonZero(number) => {
                let bytes = this.archive.get(this.here()..this.here() + number.size())?;
                bytes.iter().any(|byte| *byte != 0).then_some(this)
            }
            LayoutKind::Option { of, offset } => (this.archive.get(this.here()) == Some(&1))
                .then(|| this.part(*of, this.here() + offset)),
            LayoutKind::NicheOption { of, niche } => {
                let is_none = check::is_niche(this.archive, this.here(), *niche);
                (!is_none).then(|| this.part(*of, this.here()))
            }
            LayoutKind::OptionBox { boxed } => {
                let is_none = i32::from_le_bytes(word(this.archive, this.here())) == NULL;
                (!is_none).then(|| this.part(*boxed, this.here()))
            }
            _ => None,
        }
    }

    pub(super) fn is_option(&self) -> bool {
        matches!(
            self.layout.kind,
            LayoutKind::OptionNonZero(_)
                | LayoutKind::Option { .. }
                | LayoutKind::NicheOption { .. }
                | LayoutKind::OptionBox { .. }
        )
    }

    /// A part of the value that is not behind a pointer.
    #[inline(always)]
    pub(super) fn part(&self, of: TypeIndex, at: usize) -> Self {
        Self { layout: self.type_at(of), place: self.place.part(at), ..*self }
    }

    #[inline(always)]
    pub(super) fn here(&self) -> usize {
        self.place.at()
    }

    #[inline(always)]
    pub(super) fn type_at(&self, of: TypeIndex) -> &'a TypeLayout {
        self.schema.types.get(of as usize).unwrap_or(self.layout)
    }

    /// The content of boxes.
    pub(super) fn unboxed(&self) -> Self {
        let mut this = *self;
        while let LayoutKind::Box { of } = &this.layout.kind {
            let Some(at) = this.follow() else {
                break;
            };
            this = this.part(*of, at).behind();
        }
        this
    }

    /// The content of boxes and of options that are `Some`.
    pub(super) fn bare(&self) -> Self {
        let mut this = self.unboxed();
        while this.is_option() {
            let Some(content) = this.some() else { break };
            // An option of a number that is not 0 is that number.
            if std::ptr::eq(content.layout, this.layout) {
                break;
            }
            this = content.unboxed();
        }
        this
    }

    /// The number or text that JSON shows.
    pub(super) fn scalar(&self) -> Self {
        let mut this = self.bare();
        while let LayoutKind::Struct(fields) = &this.layout.kind
            && let (Style::Newtype, [field]) = (fields.style, &*fields.list)
        {
            this = this.part(field.of, this.here() + field.offset).bare();
        }
        this
    }

    /// The fields of a struct, or of the variant that an enum has.
    #[inline]
    pub(super) fn own_fields(&self) -> Option<&'a Fields> {
        match &self.layout.kind {
            LayoutKind::Struct(fields) => Some(fields),
            LayoutKind::Enum(variants) => {
                let tag = *self.archive.get(self.here())?;
                variants.iter().find(|variant| variant.tag == tag).map(|variant| &variant.fields)
            }
            _ => None,
        }
    }

    /// The type of a list's elements, the position of the first, and their number.
    pub(super) fn list(&self, of: TypeIndex) -> Option<(TypeIndex, usize, usize)> {
        let at = self.follow()?;
        // A list that leaves the packet is empty.
        let bytes = self.count().checked_mul(self.type_at(of).size)?;
        self.archive.get(at..at.checked_add(bytes)?)?;
        Some((of, at, self.count()))
    }

    /// The number behind a pointer.
    pub(super) fn count(&self) -> usize {
        u32::from_le_bytes(word(self.archive, self.here() + 4)) as usize
    }

    /// The position that the pointer of this value leads to, unless it is too deep.
    pub(super) fn follow(&self) -> Option<usize> {
        self.target(self.here()).filter(|_| self.place.may_follow())
    }

    /// The same value, behind one more pointer.
    pub(super) fn behind(&self) -> Self {
        Self { place: self.place.behind(), ..*self }
    }

    /// The position that the pointer at `place` leads to.
    pub(super) fn target(&self, place: usize) -> Option<usize> {
        let offset = i32::from_le_bytes(word(self.archive, place));
        place.checked_add_signed(isize::try_from(offset).ok()?)
    }

    /// The bytes of a text.
    fn text(&self) -> Option<&'a [u8]> {
        let (at, len) = match &self.layout.kind {
            LayoutKind::Text => match check::text_place(self.archive, self.here()) {
                Some((at, len)) => (usize::try_from(at).ok()?, len),
                None => return Some(check::inline_text(self.archive, self.here())),
            },
            LayoutKind::BoxText => (self.target(self.here())?, self.count()),
            // Without the final zero.
            LayoutKind::CText => (self.target(self.here())?, self.count().checked_sub(1)?),
            _ => return None,
        };
        self.archive.get(at..at.checked_add(len)?)
    }

    /// The text of a `String` or `Box<str>`.
    #[inline]
    pub fn as_str(&self) -> Option<&'a str> {
        match self.layout.kind {
            LayoutKind::Text => from_utf8(self.text()?).ok(),
            _ => self.as_str_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn as_str_slow(&self) -> Option<&'a str> {
        let this = self.scalar();
        if matches!(this.layout.kind, LayoutKind::CText) {
            return None;
        }
        from_utf8(this.text()?).ok()
    }

    /// The bytes of a list or array of `u8`, of a text, or of a text for C without its final zero.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        let this = self.scalar();
        let (of, at, len) = match &this.layout.kind {
            LayoutKind::List { of } => this.list(*of)?,
            LayoutKind::Array { of, len } => (*of, this.here(), *len),
            _ => return this.text(),
        };
        let is_bytes = matches!(this.type_at(of).kind, LayoutKind::Number(Number::U8));
        this.archive.get(at..at + len).filter(|_| is_bytes)
    }
}
