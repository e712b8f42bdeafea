//! Writes JSON as the archive of a type, byte for byte as rkyv writes the native value.
//!
//! rkyv serializes the contents of pointers first, in the order of fields and elements. Then it
//! writes the value itself, aligned, with zeros in all padding. The root comes last. Here an
//! [`Image`] holds a value until its place is known.

use super::Schema;
use super::address::AddressKind;
use super::check::{self, MAX_DEPTH};
use super::error::{EncodeError, EncodeProblem, element, field, listed};
use super::json::SOME;
use super::keys::{self, Scalar, array, demand_len, wrong};
use super::layout::{
    Fields, LayoutKind, NULL, NicheKind, Style, TypeIndex, TypeLayout, VariantLayout,
};
use serde_json::Value as Json;

/// Most bytes of an archive.
const MAX_LEN: usize = i32::MAX as usize;

pub(super) type Encoded<T = ()> = Result<T, EncodeError>;

/// The archive of a JSON value.
pub(super) fn encode(schema: &Schema, json: &Json) -> Encoded<Vec<u8>> {
    let types = &*schema.types;
    let Some(root) = types.first() else { return Ok(Vec::new()) };
    let mut encoder = Encoder { types, out: Vec::new(), depth: 1 };
    let mut image = Image::new(root.size)?;
    encoder.value(0, json, &mut image, 0)?;
    encoder.place(image, root.align)?;
    if types.iter().any(|layout| layout.is_recursive) {
        // Other types do not nest so deeply.
        let limit = MAX_DEPTH - 1;
        check::check(types, &encoder.out)
            .map_err(|_| EncodeError::new(EncodeProblem::TooDeep { limit }))?;
    }
    Ok(encoder.out)
}

/// The bytes of a value whose position is not known yet.
pub(super) struct Image {
    bytes: Vec<u8>,
    links: Vec<Link>,
}

/// A pointer in an image: an `i32` at `place`, to `target` in the archive, counted from `base`.
struct Link {
    place: usize,
    base: usize,
    target: usize,
}

impl Image {
    fn new(size: usize) -> Encoded<Self> {
        if size > MAX_LEN {
            return Err(EncodeError::new(EncodeProblem::TooLong { limit: MAX_LEN }));
        }
        Ok(Self { bytes: vec![0; size], links: Vec::new() })
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn put_niche(&mut self, at: usize, niche: NicheKind) -> Encoded {
        match niche {
            NicheKind::Zero(_) => {}
            NicheKind::Bool => self.put(at, &[2]),
            NicheKind::Null => self.put(at, &NULL.to_le_bytes()),
        }
        Ok(())
    }

    pub(super) fn link(&mut self, at: usize, target: usize) {
        self.links.push(Link { place: at, base: at, target });
    }

    /// A pointer and a number.
    pub(super) fn link_many(&mut self, at: usize, target: usize, count: usize) {
        self.link(at, target);
        self.put(at + 4, &(count as u32).to_le_bytes());
    }
}

pub(super) struct Encoder<'a> {
    pub(super) types: &'a [TypeLayout],
    out: Vec<u8>,
    /// The pointers that led here, the root counted as one.
    depth: usize,
}

impl<'a> Encoder<'a> {
    /// Writes an image, and returns its position.
    fn place(&mut self, image: Image, align: usize) -> Encoded<usize> {
        let at = self.out.len().next_multiple_of(align);
        self.room(at, image.bytes.len())?;
        self.out.resize(at, 0);
        self.out.extend_from_slice(&image.bytes);
        for Link { place, base, target } in image.links {
            let distance = target as i64 - (at + base) as i64;
            let bytes = (distance as i32).to_le_bytes();
            if let Some(place) = self.out.get_mut(at + place..at + place + bytes.len()) {
                place.copy_from_slice(&bytes);
            }
        }
        Ok(at)
    }

    /// Writes bytes, and returns their position.
    fn append(&mut self, bytes: &[u8]) -> Encoded<usize> {
        let at = self.out.len();
        self.room(at, bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(at)
    }

    fn room(&self, at: usize, len: usize) -> Encoded {
        if at.saturating_add(len) > MAX_LEN {
            return Err(EncodeError::new(EncodeProblem::TooLong { limit: MAX_LEN }));
        }
        Ok(())
    }

    /// Writes values behind a pointer, and returns their position.
    pub(super) fn behind(
        &mut self,
        size: usize,
        align: usize,
        write: impl FnOnce(&mut Self, &mut Image) -> Encoded,
    ) -> Encoded<usize> {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError::new(EncodeProblem::TooDeep { limit: MAX_DEPTH - 1 }));
        }
        self.room(self.out.len(), size)?;
        let mut image = Image::new(size)?;
        self.depth += 1;
        write(self, &mut image)?;
        self.depth -= 1;
        self.place(image, align)
    }

    /// Writes what a value points at, and the value into an image.
    // Calls a function for each kind: values nest deeply, and this frame is in all of them.
    pub(super) fn value(
        &mut self,
        of: TypeIndex,
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        let types = self.types;
        let Some(layout) = types.get(of as usize) else { return Ok(()) };
        match &layout.kind {
            LayoutKind::Number(_)
            | LayoutKind::NonZero(_)
            | LayoutKind::OptionNonZero(_)
            | LayoutKind::Bool
            | LayoutKind::Char => {
                image.put(at, Scalar::of(layout, json)?.bytes());
                Ok(())
            }
            LayoutKind::Struct(fields) if json.is_string() => {
                self.content_or_address(layout, fields, json, image, at)
            }
            LayoutKind::Struct(fields) => self.content(layout, fields, json, image, at),
            LayoutKind::Enum(variants) => self.variant(layout, variants, json, image, at),
            LayoutKind::Array { of, len } => {
                let list = array(layout, json)?;
                demand_len(*len, list.len())?;
                self.elements(*of, list, image, at)
            }
            LayoutKind::Phantom if json.is_null() => Ok(()),
            LayoutKind::Phantom => Err(wrong(layout, "null", json)),
            LayoutKind::Option { of, offset } => match self.some(*of, json) {
                Some(content) => {
                    image.put(at, &[1]);
                    self.value(*of, content, image, at + offset)
                }
                None => Ok(()),
            },
            LayoutKind::NicheOption { of, niche } => match self.some(*of, json) {
                Some(content) => self.value(*of, content, image, at),
                None => image.put_niche(at + niche.offset, niche.kind),
            },
            LayoutKind::OptionBox { boxed } => match self.some(*boxed, json) {
                Some(content) => self.value(*boxed, content, image, at),
                None => image.put_niche(at, NicheKind::Null),
            },
            LayoutKind::Box { of } => self.boxed(*of, json, image, at),
            LayoutKind::BoxText | LayoutKind::Text => self.text(layout, json, image, at),
            LayoutKind::CText => self.c_text(layout, json, image, at),
            LayoutKind::List { of } => self.list(layout, *of, json, image, at),
            LayoutKind::Map(tree) => self.map(layout, tree, json, image, at),
            LayoutKind::Set(tree) => self.set(layout, tree, json, image, at),
        }
    }

    fn boxed(&mut self, of: TypeIndex, json: &Json, image: &mut Image, at: usize) -> Encoded {
        let Some(content) = self.types.get(of as usize) else { return Ok(()) };
        let write = |this: &mut Self, image: &mut Image| this.value(of, json, image, 0);
        let target = self.behind(content.size, content.align, write)?;
        image.link(at, target);
        Ok(())
    }

    fn list(
        &mut self,
        layout: &TypeLayout,
        of: TypeIndex,
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        let list = array(layout, json)?;
        let Some(content) = self.types.get(of as usize) else { return Ok(()) };
        let size = content.size.saturating_mul(list.len());
        let write = |this: &mut Self, image: &mut Image| this.elements(of, list, image, 0);
        let target = self.behind(size, content.align, write)?;
        image.link_many(at, target, list.len());
        Ok(())
    }

    fn c_text(
        &mut self,
        layout: &TypeLayout,
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        let expected = "a text or an array of bytes, without zeros";
        let mut bytes = keys::c_text(json).ok_or_else(|| wrong(layout, expected, json))?;
        bytes.push(0);
        let target = self.append(&bytes)?;
        image.link_many(at, target, bytes.len());
        Ok(())
    }

    /// The struct that a text stands for.
    #[inline(never)]
    fn content_or_address(
        &mut self,
        layout: &TypeLayout,
        fields: &Fields,
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        match AddressKind::parts_in(self.types, layout, json)? {
            Some(parts) => self.content(layout, fields, &parts, image, at),
            None => self.content(layout, fields, json, image, at),
        }
    }

    /// The content of an option; `None` if the option is.
    fn some<'j>(&self, of: TypeIndex, json: &'j Json) -> Option<&'j Json> {
        let is_nested = self.types.get(of as usize).is_some_and(|layout| layout.is_nullable);
        match json {
            Json::Null => None,
            Json::Object(object) if is_nested && object.len() == 1 => {
                Some(object.get(SOME).unwrap_or(json))
            }
            content => Some(content),
        }
    }

    fn text(&mut self, layout: &TypeLayout, json: &Json, image: &mut Image, at: usize) -> Encoded {
        let text = json.as_str().ok_or_else(|| wrong(layout, "a text", json))?;
        let len = text.len();
        if matches!(layout.kind, LayoutKind::BoxText) {
            let target = self.append(text.as_bytes())?;
            image.link_many(at, target, len);
            return Ok(());
        }
        if len <= 8 {
            image.put(at, &[0xff; 8]);
            image.put(at, text.as_bytes());
            return Ok(());
        }
        // The length has 30 bits.
        let limit = (1 << 30) - 1;
        if len > limit {
            return Err(EncodeError::new(EncodeProblem::TooLong { limit }));
        }
        let target = self.append(text.as_bytes())?;
        image.links.push(Link { place: at + 4, base: at, target });
        let word = (len as u32 & 0x3f) | 0x80 | ((len as u32 & !0x3f) << 2);
        image.put(at, &word.to_le_bytes());
        Ok(())
    }

    fn elements(&mut self, of: TypeIndex, list: &[Json], image: &mut Image, at: usize) -> Encoded {
        let size = self.types.get(of as usize).map_or(0, |layout| layout.size);
        list.iter().enumerate().try_for_each(|(index, json)| {
            self.value(of, json, image, at + index * size)
                .map_err(|error| error.within(|| element(index)))
        })
    }

    /// The fields of a struct, tuple or variant.
    fn content(
        &mut self,
        layout: &TypeLayout,
        fields: &Fields,
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        match (fields.style, &*fields.list) {
            (Style::Newtype, [only]) => return self.value(only.of, json, image, at + only.offset),
            (Style::Named, list) => {
                let object = json.as_object().ok_or_else(|| wrong(layout, "an object", json))?;
                if let Some(found) = object.keys().find(|name| fields.named(name).is_none()) {
                    let known = listed(list.iter().map(|field| &*field.name));
                    let found = found.clone();
                    return Err(EncodeError::new(EncodeProblem::UnknownField { found, known }));
                }
                return list.iter().try_for_each(|part| {
                    let json = object.get(&*part.name).or_else(|| self.absent(part.of));
                    let missing = || EncodeProblem::MissingField(part.name.to_string());
                    let json = json.ok_or_else(|| EncodeError::new(missing()))?;
                    self.value(part.of, json, image, at + part.offset)
                        .map_err(|error| error.within(|| field(&part.name)))
                });
            }
            _ => {}
        }
        let is_empty = match json {
            Json::Null => true,
            Json::Object(object) => object.is_empty(),
            _ => false,
        };
        if fields.style == Style::Unit && is_empty {
            return Ok(());
        }
        let expected = if fields.style == Style::Unit { "null" } else { "an array" };
        let list = json.as_array().ok_or_else(|| wrong(layout, expected, json))?;
        demand_len(fields.list.len(), list.len())?;
        fields.list.iter().zip(list).enumerate().try_for_each(|(index, (part, json))| {
            self.value(part.of, json, image, at + part.offset)
                .map_err(|error| error.within(|| element(index)))
        })
    }

    /// The JSON of a field that is missing: an option is `None`.
    fn absent(&self, of: TypeIndex) -> Option<&'static Json> {
        let is_option = matches!(
            self.types.get(of as usize).map(|layout| &layout.kind),
            Some(
                LayoutKind::Option { .. }
                    | LayoutKind::NicheOption { .. }
                    | LayoutKind::OptionBox { .. }
                    | LayoutKind::OptionNonZero(_)
            )
        );
        is_option.then_some(&Json::Null)
    }

    fn variant(
        &mut self,
        layout: &TypeLayout,
        variants: &[VariantLayout],
        json: &Json,
        image: &mut Image,
        at: usize,
    ) -> Encoded {
        let (name, content) = match json {
            Json::String(name) => (name, &Json::Null),
            Json::Object(object) if object.len() == 1 => match object.iter().next() {
                Some(entry) => entry,
                None => return Ok(()),
            },
            _ => {
                let expected = "the name of a variant, or an object with that name alone";
                return Err(wrong(layout, expected, json));
            }
        };
        let Some(variant) = variants.iter().find(|variant| *variant.name == **name) else {
            return match AddressKind::parts_in(self.types, layout, json)? {
                Some(parts) => self.variant(layout, variants, &parts, image, at),
                None => {
                    let known = listed(variants.iter().map(|variant| &*variant.name));
                    let found = name.clone();
                    Err(EncodeError::new(EncodeProblem::UnknownVariant { found, known }))
                }
            };
        };
        image.put(at, &[variant.tag]);
        self.content(layout, &variant.fields, content, image, at)
            .map_err(|error| error.within(|| field(name)))
    }
}
