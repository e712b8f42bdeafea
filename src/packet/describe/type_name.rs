//! The name of a type, built in constants: `Vec<Chat>`, `[u8; 16]`, `Pair<u32, Chat>`.
//!
//! Errors and schemas show it, and the fingerprint of a recursive type includes it. A name holds at
//! most 120 bytes; a longer one is cut and ends in `…`.

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
