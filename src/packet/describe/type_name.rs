//! The name of a type, built in constants: `Vec<Chat>`, `[u8; 16]`, `Pair<u32, Chat>`.
//!
//! Errors and schemas show it, and the fingerprint of a recursive type includes it. A name holds at
//! most 120 bytes; a longer one is cut and ends in `…`.
//!
//! [`Named`] is the name of a struct or enum with its type and const parameters, and the hash of
//! both. Parameters count even if no field uses them: `Tagged<Metres>` is another type than
//! `Tagged<Feet>`.

use crate::packet::Fnv;

/// The name of a described type with its parameters, at most 120 bytes.
///
/// `text[..len]` is always UTF-8: `push` appends whole characters only.
#[derive(Clone, Copy)]
pub struct TypeName {
    text: [u8; Self::CAPACITY],
    len: usize,
    cut: bool,
}

const ELLIPSIS: &str = "…";

impl TypeName {
    const CAPACITY: usize = 120;

    /// Returns a name without parameters.
    pub const fn plain(text: &str) -> Self {
        Self { text: [0; Self::CAPACITY], len: 0, cut: false }.push(text)
    }

    /// Returns `base<first, second>`.
    pub const fn generic(base: &str, parameters: &[TypeName]) -> Self {
        Self::plain(base).push("<").list(parameters).push(">")
    }

    /// Returns `(first, second)`.
    pub const fn tuple(parts: &[TypeName]) -> Self {
        let name = Self::plain("(").list(parts);
        if parts.len() == 1 { name.push(",)") } else { name.push(")") }
    }

    /// Returns `[of; len]`.
    pub const fn array(of: TypeName, len: usize) -> Self {
        Self::plain("[").push(of.as_str()).push("; ").number(len as u128).push("]")
    }

    /// Returns `[of]`.
    pub const fn slice(of: TypeName) -> Self {
        Self::plain("[").push(of.as_str()).push("]")
    }

    /// Returns the name as text.
    pub const fn as_str(&self) -> &str {
        match str::from_utf8(self.text.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    const fn list(mut self, parts: &[TypeName]) -> Self {
        let mut i = 0;
        while i < parts.len() {
            if i > 0 {
                self = self.push(", ");
            }
            self = self.push(parts[i].as_str());
            i += 1;
        }
        self
    }

    /// Appends text. If it does not fit, appends a part of it and `…`; later calls append nothing.
    pub const fn push(mut self, text: &str) -> Self {
        if self.cut {
            return self;
        }
        let room = Self::CAPACITY - ELLIPSIS.len() - self.len;
        if text.len() <= room {
            return self.append(text.as_bytes(), text.len());
        }
        self.cut = true;
        self.append(text.as_bytes(), boundary_at_most(text, room))
            .append(ELLIPSIS.as_bytes(), ELLIPSIS.len())
    }

    const fn append(mut self, bytes: &[u8], count: usize) -> Self {
        let mut i = 0;
        while i < count {
            self.text[self.len] = bytes[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    /// Appends a number in decimal.
    pub const fn number(self, number: u128) -> Self {
        let with_tens = if number >= 10 { self.number(number / 10) } else { self };
        with_tens.append_digit((number % 10) as u8)
    }

    /// Appends a number with its sign.
    pub const fn signed(self, number: i128) -> Self {
        let name = if number < 0 { self.push("-") } else { self };
        name.number(number.unsigned_abs())
    }

    const fn append_digit(self, digit: u8) -> Self {
        let digits = "0123456789";
        let (_, tail) = digits.split_at(digit as usize);
        let (one, _) = tail.split_at(1);
        self.push(one)
    }
}

/// Returns the last character boundary of `text` at or before `at`.
const fn boundary_at_most(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The name of a struct or enum with its parameters, and the hash of both. Built step by step.
#[derive(Clone, Copy)]
pub struct Named {
    name: TypeName,
    hash: Fnv,
    parameters: usize,
}

impl Named {
    /// Starts with a name and no parameters.
    pub const fn new(name: &str) -> Self {
        Self { name: TypeName::plain(name), hash: Fnv::new().text(name), parameters: 0 }
    }

    /// Starts with the name of a type of the standard library. Its bytes have rules of their own,
    /// so another type of this name and layout is another type.
    pub(super) const fn library(name: &str) -> Self {
        let mut named = Self::new(name);
        named.hash = named.hash.text("library");
        named
    }

    /// Marks the type as having a check of its own: `#[rkyv(bytecheck(verify))]`.
    pub const fn checked(mut self) -> Self {
        self.hash = self.hash.text("checked");
        self
    }

    /// Adds a type parameter by its name and hash.
    pub(super) const fn parameter(mut self, name: &str, hash: u128) -> Self {
        self = self.separated();
        self.name = self.name.push(name);
        self.hash = self.hash.text("type").word(hash);
        self
    }

    /// Adds an unsigned const parameter.
    pub const fn with(mut self, value: u128) -> Self {
        self = self.separated();
        self.name = self.name.number(value);
        self.hash = self.hash.text("value").word(value);
        self
    }

    /// Adds a signed const parameter.
    pub const fn with_signed(mut self, value: i128) -> Self {
        self = self.separated();
        self.name = self.name.signed(value);
        self.hash = self.hash.text("value").word(value.cast_unsigned());
        self
    }

    /// Returns the complete name.
    pub const fn name(self) -> TypeName {
        if self.parameters == 0 { self.name } else { self.name.push(">") }
    }

    /// Returns the hash of the kind of type, the name and the parameters.
    pub(super) const fn hash(self, kind: &str) -> Fnv {
        Fnv::new().text(kind).word(self.hash.number(self.parameters).finish())
    }

    /// Appends the separator before a parameter and counts the parameter.
    const fn separated(mut self) -> Self {
        self.name = self.name.push(if self.parameters == 0 { "<" } else { ", " });
        self.parameters += 1;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_look_like_rust_types() {
        let chat = TypeName::plain("Chat");
        assert_eq!(TypeName::generic("Vec", &[chat]).as_str(), "Vec<Chat>");
        assert_eq!(TypeName::tuple(&[chat, TypeName::plain("u8")]).as_str(), "(Chat, u8)");
        assert_eq!(TypeName::tuple(&[chat]).as_str(), "(Chat,)");
        assert_eq!(TypeName::tuple(&[]).as_str(), "()");
        assert_eq!(TypeName::array(chat, 120).as_str(), "[Chat; 120]");
        assert_eq!(TypeName::plain("x").signed(-40).as_str(), "x-40");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = TypeName::plain(&"é".repeat(100));
        assert_eq!(name.as_str(), format!("{}…", "é".repeat(58)));
        assert_eq!(name.push("more").as_str(), name.as_str());
    }
}
