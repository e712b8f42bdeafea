//! The fingerprint: 128 bits that are equal in two programs exactly when their packet types are laid
//! out alike and named alike.
//!
//! It is 64-bit-host, crate, path and build independent: only names, sizes, offsets and tags of the
//! archived form go in. It is not a cryptographic hash: it tells honest programs apart, not forgers.

use std::fmt;

/// What the bytes of every packet have in common; part of every fingerprint.
const FORMAT: &str = "packetring 1, rkyv 0.8, little-endian, aligned, pointers of 32 bits";

/// The fingerprint of a packet type.
///
/// Two types have the same fingerprint if their archived forms have the same names (of types, fields
/// and variants; module and crate do not count), kinds, sizes, alignments, offsets and tags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint of a type whose description hashes to `hash`.
    pub(super) const fn of_description(hash: u128) -> Self {
        Self(Fnv::new().text(FORMAT).word(hash).finish())
    }

    /// The fingerprint of two types in this order: requests and replies of a service.
    pub(crate) const fn of_pair(first: Self, second: Self) -> Self {
        Self(Fnv::new().text("pair").word(first.0).word(second.0).finish())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// FNV-1a over 128 bits, usable in constants.
#[derive(Clone, Copy)]
pub(super) struct Fnv(u128);

impl Fnv {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    pub(super) const fn new() -> Self {
        Self(Self::BASIS)
    }

    pub(super) const fn finish(self) -> u128 {
        self.0
    }

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u128).wrapping_mul(Self::PRIME))
    }

    const fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut i = 0;
        while i < bytes.len() {
            self = self.byte(bytes[i]);
            i += 1;
        }
        self
    }

    /// Feeds a text, led by its length, so that no two sequences of texts feed the same bytes.
    pub(super) const fn text(self, text: &str) -> Self {
        self.number(text.len()).bytes(text.as_bytes())
    }

    /// Feeds a count, a size or an offset, the same on hosts of any width.
    pub(super) const fn number(self, number: usize) -> Self {
        self.bytes(&(number as u64).to_le_bytes())
    }

    /// Feeds another hash or a value of a constant parameter.
    pub(super) const fn word(self, word: u128) -> Self {
        self.bytes(&word.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_matches_the_published_vectors() {
        let hash = |text: &str| Fnv::new().bytes(text.as_bytes()).finish();
        assert_eq!(hash(""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(hash("a"), 0xd228cb696f1a8caf78912b704e4a8964);
        assert_eq!(hash("foobar"), 0x343e1662793c64bf6f0d3597ba446f18);
    }

    #[test]
    fn texts_are_led_by_their_length() {
        let ab_c = Fnv::new().text("ab").text("c").finish();
        let a_bc = Fnv::new().text("a").text("bc").finish();
        assert_ne!(ab_c, a_bc);
    }
}
