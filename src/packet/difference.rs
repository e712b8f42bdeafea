//! The first difference between two schemas, as a sentence for people.
//!
//! The other schema comes from shared memory. Any text gives a sentence or none: the parser has a
//! limit of depth, and the comparison looks at each part once.

use std::fmt::Write as _;

/// Deepest nesting of a schema that is read.
const DEPTH: usize = 64;

/// A value of the JSON that `packet::schema` writes. Texts contain no escapes.
#[derive(Debug, PartialEq, Eq)]
enum Json<'a> {
    Number(u64),
    Text(&'a str),
    List(Vec<Json<'a>>),
    Object(Vec<(&'a str, Json<'a>)>),
}

/// The first difference between the schema of a type of this program and that of a type elsewhere:
/// `place` is `ring` or `board`. `None` if there is none, or if one is not a schema.
pub(crate) fn first_difference(here: &str, there: &str, place: &str) -> Option<String> {
    let (here, there) = (Json::read(here)?, Json::read(there)?);
    Comparison { place }.difference(&here, &there)
}

/// The comparison with a schema elsewhere. The sentences call that place so.
struct Comparison<'a> {
    place: &'a str,
}

impl Comparison<'_> {
    fn difference(&self, here: &Json<'_>, there: &Json<'_>) -> Option<String> {
        let Self { place } = self;
        let (kind, other) = (here.text("kind"), there.text("kind"));
        let (name, named) = (here.name(), there.name());
        if kind != other {
            return Some(format!(
                "{name} is of kind {kind} here, and {named} of kind {other} in the {place}"
            ));
        }
        if name != named {
            return Some(format!("the type is {name} here, and {named} in the {place}"));
        }
        self.of_fields(here, there, name, "")
            .or_else(|| self.of_variants(here, there, name))
            .or_else(|| self.of_number(here, there, name, "len"))
            .or_else(|| {
                let pairs = here.list("of").iter().zip(there.list("of"));
                pairs.map(|(here, there)| self.difference(here, there)).find_map(|found| found)
            })
            .or_else(|| self.of_number(here, there, name, "size"))
            .or_else(|| self.of_number(here, there, name, "align"))
    }

    /// The first difference between the fields of a type or of one of its variants.
    fn of_fields(
        &self,
        here: &Json<'_>,
        there: &Json<'_>,
        owner: &str,
        variant: &str,
    ) -> Option<String> {
        let Self { place } = self;
        let (fields, others) = (here.list("fields"), there.list("fields"));
        let owner = format!("{owner}{variant}");
        let with_name = |list: &'_ [Json<'_>], name: &str| {
            list.iter().position(|field| field.text("name") == name)
        };
        for field in fields {
            let Some(at) = with_name(others, field.text("name")) else {
                return Some(format!(
                    "field {} is missing in the {place}'s {owner}",
                    field.field()
                ));
            };
            let other = &others[at];
            let (kind, found) = (field.get("type")?, other.get("type")?);
            if kind.name() != found.name() {
                let (name, kind, found) = (field.text("name"), kind.name(), found.name());
                return Some(format!(
                    "field {name:?} of {owner} is {kind} here, and {found} in the {place}"
                ));
            }
            if let Some(inside) = self.difference(kind, found) {
                return Some(format!("in field {:?} of {owner}: {inside}", field.text("name")));
            }
        }
        if let Some(other) =
            others.iter().find(|other| with_name(fields, other.text("name")).is_none())
        {
            return Some(format!(
                "field {} of the {place}'s {owner} is missing here",
                other.field()
            ));
        }
        fields.iter().find_map(|field| {
            let other = &others[with_name(others, field.text("name"))?];
            let (offset, found) = (field.number("offset"), other.number("offset"));
            (offset != found).then(|| {
                format!("field {} of {owner} is at offset {found} in the {place}", field.field())
            })
        })
    }

    fn of_variants(&self, here: &Json<'_>, there: &Json<'_>, owner: &str) -> Option<String> {
        let Self { place } = self;
        let (variants, others) = (here.list("variants"), there.list("variants"));
        for variant in variants {
            let name = variant.text("name");
            let Some(other) = others.iter().find(|other| other.text("name") == name) else {
                return Some(format!("variant {name:?} is missing in the {place}'s {owner}"));
            };
            if let Some(found) = self.of_fields(variant, other, owner, &format!("::{name}")) {
                return Some(found);
            }
        }
        let is_here = |name: &str| variants.iter().any(|variant| variant.text("name") == name);
        if let Some(other) = others.iter().find(|other| !is_here(other.text("name"))) {
            let name = other.text("name");
            return Some(format!("variant {name:?} of the {place}'s {owner} is missing here"));
        }
        variants.iter().find_map(|variant| {
            let name = variant.text("name");
            let other = others.iter().find(|other| other.text("name") == name)?;
            let (tag, found) = (variant.number("tag"), other.number("tag"));
            (tag != found).then(|| {
                format!(
                    "variant {name:?} of {owner} has tag {tag} here, and {found} in the {place}"
                )
            })
        })
    }

    fn of_number(
        &self,
        here: &Json<'_>,
        there: &Json<'_>,
        owner: &str,
        member: &str,
    ) -> Option<String> {
        let Self { place } = self;
        let (number, found) = (here.number(member), there.number(member));
        (number != found)
            .then(|| format!("{member} of {owner} is {number} here, and {found} in the {place}"))
    }
}

impl<'a> Json<'a> {
    fn get(&self, member: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(name, _)| *name == member).map(|(_, value)| value)
    }

    fn text(&self, member: &str) -> &'a str {
        match self.get(member) {
            Some(Self::Text(text)) => text,
            _ => "",
        }
    }

    fn number(&self, member: &str) -> u64 {
        match self.get(member) {
            Some(Self::Number(number)) => *number,
            _ => 0,
        }
    }

    fn list(&self, member: &str) -> &[Self] {
        match self.get(member) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }

    /// The name of a type; that of the enclosing type if it mentions itself.
    fn name(&self) -> &'a str {
        match self.text("name") {
            "" => self.text("self"),
            name => name,
        }
    }

    /// A field with its type and offset: `"mood: u8" at offset 12`.
    fn field(&self) -> String {
        let kind = self.get("type").map_or("", Json::name);
        let mut text = format!("\"{}: {kind}\"", self.text("name"));
        // Writing to a `String` does not fail.
        let _ = write!(text, " at offset {}", self.number("offset"));
        text
    }

    /// Reads a whole text.
    fn read(text: &'a str) -> Option<Self> {
        let (value, rest) = Self::read_value(text, DEPTH)?;
        rest.is_empty().then_some(value)
    }

    /// Reads a value. Returns it with the text behind it.
    fn read_value(text: &'a str, depth: usize) -> Option<(Self, &'a str)> {
        let depth = depth.checked_sub(1)?;
        if let Some(rest) = text.strip_prefix('{') {
            let (members, rest) = read_items(rest, '}', |text| {
                let (name, rest) = read_text(text)?;
                let (value, rest) = Self::read_value(rest.strip_prefix(':')?, depth)?;
                Some(((name, value), rest))
            })?;
            return Some((Self::Object(members), rest));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (list, rest) = read_items(rest, ']', |text| Self::read_value(text, depth))?;
            return Some((Self::List(list), rest));
        }
        if text.starts_with('"') {
            let (text, rest) = read_text(text)?;
            return Some((Self::Text(text), rest));
        }
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        Some((Self::Number(digits.parse().ok()?), rest))
    }
}

/// Reads a text between quotation marks.
fn read_text(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

/// Reads items with commas between them, up to `end`.
fn read_items<'a, T>(
    text: &'a str,
    end: char,
    read: impl Fn(&'a str) -> Option<(T, &'a str)>,
) -> Option<(Vec<T>, &'a str)> {
    let mut items = Vec::new();
    if let Some(rest) = text.strip_prefix(end) {
        return Some((items, rest));
    }
    let mut text = text;
    loop {
        let (item, rest) = read(text)?;
        items.push(item);
        if let Some(rest) = rest.strip_prefix(end) {
            return Some((items, rest));
        }
        text = rest.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    fn first_difference(here: &str, there: &str) -> Option<String> {
        super::first_difference(here, there, "ring")
    }

    /// A struct with these fields: name, offset, type.
    fn chat(fields: &[(&str, usize, &str)]) -> String {
        let field = |&(name, offset, kind): &(&str, usize, &str)| {
            let kind = format!(r#"{{"kind":"primitive","name":"{kind}","size":1,"align":1}}"#);
            format!(r#"{{"name":"{name}","offset":{offset},"type":{kind}}}"#)
        };
        let fields: Vec<String> = fields.iter().map(field).collect();
        let fields = fields.join(",");
        format!(r#"{{"kind":"struct","name":"Chat","size":16,"align":4,"fields":[{fields}]}}"#)
    }

    #[test]
    fn the_first_difference_is_named() {
        let one = chat(&[("text", 0, "u64"), ("mood", 12, "u8")]);
        let said = |ring: &[(&str, usize, &str)]| first_difference(&one, &chat(ring)).unwrap();
        assert_eq!(first_difference(&one, &one), None);
        assert_eq!(
            said(&[("text", 0, "u64")]),
            "field \"mood: u8\" at offset 12 is missing in the ring's Chat"
        );
        assert_eq!(
            said(&[("text", 0, "u64"), ("mood", 12, "u8"), ("at", 13, "u16")]),
            "field \"at: u16\" at offset 13 of the ring's Chat is missing here"
        );
        assert_eq!(
            said(&[("text", 0, "u64"), ("mood", 12, "u16")]),
            "field \"mood\" of Chat is u8 here, and u16 in the ring"
        );
        assert_eq!(
            said(&[("mood", 0, "u8"), ("text", 8, "u64")]),
            "field \"text: u64\" at offset 0 of Chat is at offset 8 in the ring"
        );
        let renamed = one.replace("Chat", "Talk");
        assert_eq!(
            first_difference(&one, &renamed).unwrap(),
            "the type is Chat here, and Talk in the ring"
        );
        let larger = one.replace("\"size\":16", "\"size\":32");
        assert_eq!(
            first_difference(&one, &larger).unwrap(),
            "size of Chat is 16 here, and 32 in the ring"
        );
        let other = one.replace("struct", "tuple");
        assert_eq!(
            first_difference(&one, &other).unwrap(),
            "Chat is of kind struct here, and Chat of kind tuple in the ring"
        );
    }

    #[test]
    fn a_text_that_is_no_schema_has_no_difference() {
        let one = chat(&[("text", 0, "u64")]);
        for end in 0..one.len() {
            assert_eq!(first_difference(&one, &one[..end]), None, "{end}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(first_difference(&deep, &one), None);
        assert_eq!(first_difference(&one, &deep), None);
        assert_eq!(first_difference(&one, "99999999999999999999999"), None);
        // Every byte changed: a sentence or none, and no panic.
        for at in 0..one.len() {
            for byte in *b"\"{}[]:,0x\\" {
                let mut changed = one.clone().into_bytes();
                changed[at] = byte;
                let _ = first_difference(&one, &String::from_utf8(changed).unwrap());
            }
        }
    }
}
