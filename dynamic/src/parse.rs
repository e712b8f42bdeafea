//! Reads the text of a schema into a table of types, and checks that it is one.
//!
//! The text may be hostile. Its length and its nesting are bounded, so time and memory are too.

use super::error::{SchemaError, SchemaProblem, element, field};
use super::facts::{
    MAX_SIZE, TypeHead, demand, describe, list, niche, number, object, pointer, primitive, text,
    values_in, wrong,
};
use super::layout::{
    ALIGN, FieldLayout, Fields, LayoutKind, MAX_NESTING, MAX_RECURSIVE_NESTING, Style, TreeLayout,
    TypeIndex, TypeLayout, VariantLayout, unit,
};
use super::names::NameKey;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// Most bytes of a schema's text. A ring has room for 32 KiB.
const MAX_TEXT: usize = 256 << 10;
/// Most values without bytes in all arrays of a schema: printing them is work without bytes.
const MAX_NO_BYTES: u64 = 4096;

/// The table of types. The root is the first, and the values of sets are the last.
pub(super) fn parse(text: &str) -> Result<Box<[TypeLayout]>, SchemaError> {
    if text.len() > MAX_TEXT {
        let (bytes, limit) = (text.len(), MAX_TEXT);
        return Err(SchemaError::new(SchemaProblem::TooLong { bytes, limit }));
    }
    // serde_json nests at most 127 deep.
    let json: Json = serde_json::from_str(text)
        .map_err(|error| SchemaError::new(SchemaProblem::NotJson(error.to_string())))?;
    let mut parser =
        Parser { types: Vec::new(), enclosing: Vec::new(), pointers: 0, nesting: 0, no_bytes: 0 };
    parser.read(&json, 0)?;
    let is_recursive = parser.types.iter().any(|layout| layout.is_recursive);
    if is_recursive && parser.nesting > MAX_RECURSIVE_NESTING {
        let limit = MAX_RECURSIVE_NESTING;
        return Err(SchemaError::new(SchemaProblem::TooDeep { limit }));
    }
    parser.types.push(unit());
    let mut types = parser.types.into_boxed_slice();
    let last = types.len() as TypeIndex - 1;
    for index in 0..types.len() {
        let set = match types[index].kind {
            LayoutKind::Set(tree) => tree,
            _ => continue,
        };
        let (key, value) = ((set.key, &types[set.key as usize]), (last, &types[last as usize]));
        types[index].kind = LayoutKind::Set(TreeLayout::of(key, value));
    }
    Ok(types)
}

/// A type whose parts are being read.
struct Enclosing {
    name: Box<str>,
    index: TypeIndex,
    /// The pointers around it.
    pointers: usize,
}

struct Parser {
    types: Vec<TypeLayout>,
    enclosing: Vec<Enclosing>,
    /// The pointers around the type that is being read.
    pointers: usize,
    /// Most types within each other without a pointer.
    nesting: usize,
    /// The values without bytes in all arrays.
    no_bytes: u64,
}

impl Parser {
    /// Reads a type. `nesting` counts the types around it up to the next pointer.
    fn read(&mut self, json: &Json, nesting: usize) -> Result<TypeIndex, SchemaError> {
        let object = object(json)?;
        let kind = text(object, "kind")?;
        if kind == "self" {
            return self.itself(text(object, "self")?);
        }
        if nesting >= MAX_NESTING {
            return Err(SchemaError::new(SchemaProblem::TooDeep { limit: MAX_NESTING }));
        }
        self.nesting = self.nesting.max(nesting + 1);
        let (size, align) = (number(object, "size", MAX_SIZE)?, number(object, "align", 16)?);
        let head = TypeHead { kind, name: text(object, "name")?, size, align };
        demand(align.is_power_of_two(), "align", align, ALIGN)?;
        demand(size.is_multiple_of(align), "size", size, size.next_multiple_of(align))?;
        let index = self.types.len() as TypeIndex;
        let mut layout = TypeLayout { name: head.name.into(), size, align, ..unit() };
        // A recursive mention finds the size here.
        (layout.is_flat, layout.is_any_bits) = (false, false);
        self.types.push(layout.clone());
        let pointers = self.pointers;
        self.enclosing.push(Enclosing { name: head.name.into(), index, pointers });
        layout.kind = self.kind(object, &head, nesting)?;
        self.enclosing.pop();
        describe(&self.types, &mut layout);
        // A mention of the type within itself was noted there.
        layout.is_recursive = self.types[index as usize].is_recursive;
        self.types[index as usize] = layout;
        Ok(index)
    }

    fn itself(&mut self, name: &str) -> Result<TypeIndex, SchemaError> {
        let pointers = self.pointers;
        let found = self.enclosing.iter().rev().find(|one| *one.name == *name);
        let Some(found) = found.filter(|one| one.pointers < pointers) else {
            return Err(SchemaError::new(SchemaProblem::Recursion(name.into())));
        };
        self.types[found.index as usize].is_recursive = true;
        Ok(found.index)
    }

    fn kind(
        &mut self,
        object: &Map<String, Json>,
        head: &TypeHead<'_>,
        nesting: usize,
    ) -> Result<LayoutKind, SchemaError> {
        let inside = nesting + 1;
        Ok(match head.kind {
            "primitive" => primitive(head)?,
            "struct" | "tuple" => {
                let (mut fields, end) = self.fields(object, head, 0, inside)?;
                demand(end.next_multiple_of(head.align) == head.size, "size", head.size, end)?;
                if head.kind == "tuple" && fields.style != Style::Unit {
                    fields.style = Style::Unnamed;
                }
                LayoutKind::Struct(fields)
            }
            "enum" => self.enumeration(object, head, inside)?,
            "array" => {
                let of = self.only(object, inside, false)?;
                let len = number(object, "len", u64::MAX >> 1)?;
                self.array(head, of, len)?
            }
            "phantom" => {
                demand(head.size == 0, "size", head.size, 0)?;
                LayoutKind::Phantom
            }
            "option" => {
                let of = self.only(object, inside, false)?;
                let content = &self.types[of as usize];
                let offset = 1_usize.next_multiple_of(content.align);
                let size = (offset + content.size).next_multiple_of(content.align);
                demand(head.align == content.align, "align", head.align, content.align)?;
                demand(head.size == size, "size", head.size, size)?;
                LayoutKind::Option { of, offset }
            }
            "option-zero" | "option-bool" | "option-null" | "option-default" => {
                let of = self.only(object, inside, false)?;
                let content = &self.types[of as usize];
                demand(head.size == content.size, "size", head.size, content.size)?;
                demand(head.align == content.align, "align", head.align, content.align)?;
                let niche = niche(&self.types, of, head.kind).ok_or_else(|| {
                    SchemaError::new(SchemaProblem::NoNiche(head.kind.to_owned()))
                })?;
                LayoutKind::NicheOption { of, niche }
            }
            "box" => self.boxed(object, head)?,
            "option-box" => {
                let kind = self.boxed(object, head)?;
                let name =
                    head.name.strip_prefix("Option<").and_then(|name| name.strip_suffix('>'));
                let name = name.unwrap_or(head.name).into();
                let mut layout = TypeLayout { name, kind, ..unit() };
                (layout.size, layout.align) = (head.size, head.align);
                describe(&self.types, &mut layout);
                self.types.push(layout);
                LayoutKind::OptionBox { boxed: self.types.len() as TypeIndex - 1 }
            }
            "vec" => {
                let of = self.only(object, 0, true)?;
                self.list(head, of)?
            }
            "string" => pointer(head, 8, LayoutKind::Text)?,
            "c-string" => pointer(head, 8, LayoutKind::CText)?,
            "btree-map" => {
                let (key, value) = self.pair(object)?;
                let [of_key, of_value] = [key, value].map(|of| (of, &self.types[of as usize]));
                pointer(head, 8, LayoutKind::Map(TreeLayout::of(of_key, of_value)))?
            }
            "btree-set" => {
                let key = self.only(object, 0, true)?;
                let of_key = (key, &self.types[key as usize]);
                // The unit type is not in the table yet: see `parse`.
                pointer(head, 8, LayoutKind::Set(TreeLayout::of(of_key, (key, &unit()))))?
            }
            kind => return Err(SchemaError::new(SchemaProblem::UnknownKind(kind.to_owned()))),
        })
    }

    /// Reads the one contained type. `behind`: it is behind a pointer.
    fn only(
        &mut self,
        object: &Map<String, Json>,
        nesting: usize,
        behind: bool,
    ) -> Result<TypeIndex, SchemaError> {
        let [of] = list(object, "of")? else {
            return Err(wrong("of", "an array of one type"));
        };
        self.pointers += usize::from(behind);
        let index = self.read(of, nesting).map_err(|error| error.within(|| ".of[0]".into()));
        self.pointers -= usize::from(behind);
        index
    }

    fn pair(&mut self, object: &Map<String, Json>) -> Result<(TypeIndex, TypeIndex), SchemaError> {
        let [key, value] = list(object, "of")? else {
            return Err(wrong("of", "an array of two types"));
        };
        self.pointers += 1;
        let key = self.read(key, 0).map_err(|error| error.within(|| ".of[0]".into()))?;
        let value = self.read(value, 0).map_err(|error| error.within(|| ".of[1]".into()))?;
        self.pointers -= 1;
        Ok((key, value))
    }

    /// A pointer to a text, to a list or to one value.
    fn boxed(
        &mut self,
        json: &Map<String, Json>,
        head: &TypeHead<'_>,
    ) -> Result<LayoutKind, SchemaError> {
        let [of] = list(json, "of")? else {
            return Err(wrong("of", "an array of one type"));
        };
        let content = object(of).map_err(|error| error.within(|| ".of[0]".into()))?;
        match content.get("kind").and_then(Json::as_str) {
            Some("str") => pointer(head, 8, LayoutKind::BoxText),
            Some("slice") => {
                let element = self.only(content, 0, true);
                let element = element.map_err(|error| error.within(|| ".of[0]".into()))?;
                self.list(head, element)
            }
            _ => {
                let of = self.only(json, 0, true)?;
                pointer(head, 4, LayoutKind::Box { of })
            }
        }
    }

    fn list(&self, head: &TypeHead<'_>, of: TypeIndex) -> Result<LayoutKind, SchemaError> {
        if self.types[of as usize].size == 0 {
            let (elements, limit) = (0, MAX_NO_BYTES);
            return Err(SchemaError::new(SchemaProblem::NoBytes { elements, limit }));
        }
        pointer(head, 8, LayoutKind::List { of })
    }

    fn array(
        &mut self,
        head: &TypeHead<'_>,
        of: TypeIndex,
        len: usize,
    ) -> Result<LayoutKind, SchemaError> {
        let content = &self.types[of as usize];
        let size = content.size.saturating_mul(len);
        demand(head.size == size, "size", head.size, size)?;
        demand(head.align == content.align, "align", head.align, content.align)?;
        if content.size == 0 {
            let elements = (len as u64).saturating_mul(values_in(&self.types, of));
            self.no_bytes = self.no_bytes.saturating_add(elements);
            if self.no_bytes > MAX_NO_BYTES {
                let (elements, limit) = (self.no_bytes, MAX_NO_BYTES);
                return Err(SchemaError::new(SchemaProblem::NoBytes { elements, limit }));
            }
        }
        Ok(LayoutKind::Array { of, len })
    }

    /// Reads fields, which begin behind `start` bytes. Returns the end of the last one, too.
    fn fields(
        &mut self,
        object: &Map<String, Json>,
        head: &TypeHead<'_>,
        start: usize,
        nesting: usize,
    ) -> Result<(Fields, usize), SchemaError> {
        let (mut fields, mut end) = (Vec::new(), start);
        for (index, json) in list(object, "fields")?.iter().enumerate() {
            let (field, field_end) = self
                .field(json, head, end, nesting)
                .map_err(|error| error.within(|| format!(".fields{}", element(index))))?;
            end = field_end;
            fields.push(field);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = fields.iter().find(|field| !names.insert(&*field.name)) {
            return Err(SchemaError::new(SchemaProblem::Twice(twice.name.to_string())));
        }
        let is_number =
            |(index, field): (usize, &FieldLayout)| *field.name == *index.to_string().as_str();
        let style = match fields.len() {
            0 => Style::Unit,
            count if fields.iter().enumerate().all(is_number) => {
                if count == 1 {
                    Style::Newtype
                } else {
                    Style::Unnamed
                }
            }
            _ => Style::Named,
        };
        Ok((Fields::new(style, fields.into()), end))
    }

    fn field(
        &mut self,
        json: &Json,
        head: &TypeHead<'_>,
        free: usize,
        nesting: usize,
    ) -> Result<(FieldLayout, usize), SchemaError> {
        let json = object(json)?;
        let (name, offset) = (text(json, "name")?, number(json, "offset", MAX_SIZE)?);
        let of = json.get("type").ok_or_else(|| wrong("type", "an object"))?;
        let of = self.read(of, nesting).map_err(|error| error.within(|| field("type")))?;
        let content = &self.types[of as usize];
        demand(content.align <= head.align, "align", content.align, head.align)?;
        demand(offset.is_multiple_of(content.align), "offset", offset, content.align)?;
        demand(offset >= free, "offset", offset, free)?;
        let end = offset + content.size;
        demand(end <= head.size, "end of the field", end, head.size)?;
        let niches = match json.get("niches") {
            None => Vec::new(),
            Some(_) => {
                let words = list(json, "niches")?.iter().map(|word| word.as_str().map(Box::from));
                words.collect::<Option<_>>().ok_or_else(|| wrong("niches", "an array of texts"))?
            }
        };
        let niches = niches.into_boxed_slice();
        let key = NameKey::of(name);
        Ok((FieldLayout { name: name.into(), key, offset, of, niches }, end))
    }

    fn enumeration(
        &mut self,
        members: &Map<String, Json>,
        head: &TypeHead<'_>,
        nesting: usize,
    ) -> Result<LayoutKind, SchemaError> {
        demand(head.size > 0, "size", head.size, 1)?;
        let mut variants: Vec<VariantLayout> = Vec::new();
        for (index, json) in list(members, "variants")?.iter().enumerate() {
            let mut read = || {
                let json = object(json)?;
                let (name, tag) = (text(json, "name")?, number(json, "tag", 255)? as u8);
                let (fields, _) = self.fields(json, head, 1, nesting)?;
                Ok(VariantLayout { name: name.into(), tag, fields })
            };
            let step = || format!(".variants{}", element(index));
            variants.push(read().map_err(|error: SchemaError| error.within(step))?);
        }
        let (mut names, mut tags) = (BTreeSet::new(), BTreeSet::new());
        let twice = variants.iter().find(|one| !names.insert(&*one.name) || !tags.insert(one.tag));
        if let Some(twice) = twice {
            return Err(SchemaError::new(SchemaProblem::Twice(twice.name.to_string())));
        }
        Ok(LayoutKind::Enum(variants.into_boxed_slice()))
    }
}
