//! A type's own name with its parameters, for people and for the fingerprint.
//!
//! Parameters count even where no field shows them: `Tagged<Metres>` is not `Tagged<Feet>`.

use super::{Name, Shape};
use crate::packet::fingerprint::Fnv;

/// The name of a struct or enum, and the hash of it and its parameters.
#[derive(Clone, Copy)]
pub struct Named {
    name: Name,
    hash: Fnv,
    parameters: usize,
}

impl Named {
    /// A type of this name, without parameters so far.
    pub const fn new(name: &str) -> Self {
        Self { name: Name::plain(name), hash: Fnv::new().text(name), parameters: 0 }
    }

    /// One more parameter: a type.
    pub const fn of(mut self, shape: &Shape) -> Self {
        self = self.separated();
        self.name = self.name.push(shape.name.as_str());
        self.hash = self.hash.text("type").word(shape.hash);
        self
    }

    /// One more parameter: a value.
    pub const fn with(mut self, value: u128) -> Self {
        self = self.separated();
        self.name = self.name.number(value);
        self.hash = self.hash.text("value").word(value);
        self
    }

    /// One more parameter: a signed value.
    pub const fn with_signed(mut self, value: i128) -> Self {
        self = self.separated();
        self.name = self.name.signed(value);
        self.hash = self.hash.text("value").word(value.cast_unsigned());
        self
    }

    /// The whole name.
    pub const fn name(self) -> Name {
        if self.parameters == 0 { self.name } else { self.name.push(">") }
    }

    pub(super) const fn hash(self, kind: &str) -> Fnv {
        Fnv::new().text(kind).word(self.hash.number(self.parameters).finish())
    }

    const fn separated(mut self) -> Self {
        self.name = self.name.push(if self.parameters == 0 { "<" } else { ", " });
        self.parameters += 1;
        self
    }
}
