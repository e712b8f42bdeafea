//! The fingerprint of a packet type: a 128-bit hash of its archived layout and its names.
//!
//! Two programs compute the same fingerprint if their types have the same layout and the same
//! names. It depends on names, sizes, offsets, tags and niches of the archived form only: not on
//! the crate, the module path, the compiler or the build.
//!
//! Limit: FNV is not a cryptographic hash. It detects mistakes, not forged types.

use std::fmt;

/// The packet format. Part of every fingerprint, so that programs with another format do not match.
const FORMAT: &str = "packetring 1, rkyv 0.8, little-endian, aligned, pointers of 32 bits";

/// The fingerprint of a packet type.
///
/// Two types have the same fingerprint if their archived forms have the same names, kinds, sizes,
/// alignments, offsets, tags and niches. Names are those of types, type parameters, fields and
/// variants; modules and crates do not count.
///
/// [`fingerprint_of`](crate::packet::fingerprint_of) computes it. `Display` prints 32 hexadecimal
/// digits.
///
/// ```
/// use packetring::packet::fingerprint_of;
///
/// mod server {
///     #[packetring::packet]
///     pub struct Login { pub user: String }
/// }
/// mod client {
///     #[packetring::packet]
///     pub struct Login { pub user: String }
/// }
/// # fn main() {
/// assert_eq!(fingerprint_of::<server::Login>(), fingerprint_of::<client::Login>());
/// assert_eq!(fingerprint_of::<u32>().to_string().len(), 32);
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// Returns the fingerprint of a type whose description hashes to `hash`.
    pub(super) const fn of_description(hash: u128) -> Self {
        Self(Fnv::new().text(FORMAT).word(hash).finish())
    }

    /// Returns the fingerprint of an ordered pair: the request and reply types of a service.
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

/// FNV-1a with 128 bits, usable in constants.
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

    /// Hashes a text after its length, so that two different sequences of texts never hash the same
    /// bytes.
    pub(super) const fn text(self, text: &str) -> Self {
        self.number(text.len()).bytes(text.as_bytes())
    }

    /// Hashes a count, a size or an offset as 64 bits, whatever the width of `usize`.
    pub(super) const fn number(self, number: usize) -> Self {
        self.bytes(&(number as u64).to_le_bytes())
    }

    /// Hashes another hash, or the value of a const parameter.
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
    fn texts_are_prefixed_with_their_length() {
        let ab_c = Fnv::new().text("ab").text("c").finish();
        let a_bc = Fnv::new().text("a").text("bc").finish();
        assert_ne!(ab_c, a_bc);
    }
}
