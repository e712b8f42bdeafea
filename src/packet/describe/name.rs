//! A type's name, put together in constants: `Vec<Chat>`, `[u8; 16]`, `Pair<u32, Chat>`.
//!
//! Names are for people and for the fingerprint. They are cut after 120 bytes and then end in `…`.

/// The name of a described type.
#[derive(Clone, Copy)]
pub struct Name {
    text: [u8; Self::CAPACITY],
    len: usize,
    cut: bool,
}

const MARK: &str = "…";

impl Name {
    const CAPACITY: usize = 120;

    /// A name without parameters.
    pub const fn plain(text: &str) -> Self {
        Self { text: [0; Self::CAPACITY], len: 0, cut: false }.push(text)
    }

    /// `base<first, second>`.
    pub const fn generic(base: &str, parameters: &[Name]) -> Self {
        Self::plain(base).push("<").list(parameters).push(">")
    }

    /// `(first, second)`.
    pub const fn tuple(parts: &[Name]) -> Self {
        let name = Self::plain("(").list(parts);
        if parts.len() == 1 { name.push(",)") } else { name.push(")") }
    }

    /// `[of; len]`.
    pub const fn array(of: Name, len: usize) -> Self {
        Self::plain("[").push(of.as_str()).push("; ").number(len as u128).push("]")
    }

    /// `[of]`.
    pub const fn slice(of: Name) -> Self {
        Self::plain("[").push(of.as_str()).push("]")
    }

    /// The name's text.
    pub const fn as_str(&self) -> &str {
        // `push` only ever adds whole characters, so the first `len` bytes are text.
        match str::from_utf8(self.text.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    const fn list(mut self, parts: &[Name]) -> Self {
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

    /// Adds text; what does not fit is cut.
    pub const fn push(mut self, text: &str) -> Self {
        if self.cut {
            return self;
        }
        let room = Self::CAPACITY - MARK.len() - self.len;
        if text.len() <= room {
            return self.append(text.as_bytes(), text.len());
        }
        self.cut = true;
        self.append(text.as_bytes(), boundary_at_most(text, room))
            .append(MARK.as_bytes(), MARK.len())
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

    /// Adds a number in decimal.
    pub const fn number(self, number: u128) -> Self {
        let with_tens = if number >= 10 { self.number(number / 10) } else { self };
        with_tens.append_digit((number % 10) as u8)
    }

    /// Adds a number with its sign.
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

/// The last place at or before `at` where a character of `text` begins.
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
    fn names_read_like_types() {
        let chat = Name::plain("Chat");
        assert_eq!(Name::generic("Vec", &[chat]).as_str(), "Vec<Chat>");
        assert_eq!(Name::tuple(&[chat, Name::plain("u8")]).as_str(), "(Chat, u8)");
        assert_eq!(Name::tuple(&[chat]).as_str(), "(Chat,)");
        assert_eq!(Name::tuple(&[]).as_str(), "()");
        assert_eq!(Name::array(chat, 120).as_str(), "[Chat; 120]");
        assert_eq!(Name::plain("x").signed(-40).as_str(), "x-40");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = Name::plain(&"é".repeat(100));
        assert_eq!(name.as_str(), format!("{}…", "é".repeat(58)));
        assert_eq!(name.push("more").as_str(), name.as_str());
    }
}
