//! The name of a struct or enum with its type and const parameters, and the hash of both.
//!
//! Parameters count even if no field uses them: `Tagged<Metres>` is another type than
//! `Tagged<Feet>`.

use super::TypeName;
use crate::packet::fingerprint::Fnv;

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
