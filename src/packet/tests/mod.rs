//! Tests of the packet format that need private functions.

mod blind_spots;
mod borrowed;
mod choices;
mod hostile;
mod kinds;
mod shapes;
mod tails;
mod writing;

use std::{fmt::Debug, ptr::NonNull};

use crate::ring::buffer::WriteBuf;

use super::{Fnv, Packet, Scratch, Unpack, Unserializable, explain, measure, validate, write};

/// An archive in memory aligned like a slot, between guard bytes.
///
/// # Invariants
///
/// 1. `words` consists of one guard word, at least `len` bytes, and one more guard word.
pub(super) struct Archive {
    words: Vec<u128>,
    len: usize,
}

const GUARD: u128 = u128::from_ne_bytes([0xa5; 16]);

impl Archive {
    /// Returns `len` bytes with arbitrary content, like that of an older packet.
    pub(super) fn room(len: usize) -> Self {
        Self { words: vec![GUARD; len.div_ceil(16) + 2], len }
    }

    pub(super) fn of<T: Packet>(value: &T) -> Result<Self, Unserializable> {
        let mut scratch = Scratch::new();
        let len = measure(value, &mut scratch)?;
        let mut archive = Self::room(len);
        write(value, archive.claim(), &mut scratch)?;
        assert!(archive.guards_are_intact(), "wrote outside");
        Ok(archive)
    }

    /// Returns the bytes for writing.
    pub(super) fn claim(&mut self) -> WriteBuf<'_> {
        let len = self.len;
        // SAFETY: By invariant 1, `len` bytes follow the first guard. They are aligned like `u128`,
        // initialized, and borrowed mutably.
        unsafe { WriteBuf::new(self.out(), len) }
    }

    pub(super) fn out(&mut self) -> NonNull<u8> {
        NonNull::from(&mut self.words[1]).cast()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: By invariant 1, `len` initialized bytes follow the first guard.
        unsafe { std::slice::from_raw_parts(self.words[1..].as_ptr().cast(), self.len) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: By invariant 1, `len` initialized bytes follow the first guard.
        unsafe { std::slice::from_raw_parts_mut(self.words[1..].as_mut_ptr().cast(), self.len) }
    }

    fn guards_are_intact(&self) -> bool {
        let (first, last) = (self.words[0], self.words[self.words.len() - 1]);
        let beyond = self.len.next_multiple_of(16) - self.len;
        let word = self.words[self.words.len() - 2].to_ne_bytes();
        first == GUARD && last == GUARD && word[16 - beyond..].iter().all(|byte| *byte == 0xa5)
    }

    pub(super) fn view<T: Packet>(&self) -> &T::Archived {
        validate::<T>(self.bytes()).unwrap_or_else(|_| panic!("{}", explain::<T>(self.bytes())))
    }
}

/// Writes, checks and unpacks a value.
pub(super) fn round_trip<T: Unpack + PartialEq + Debug>(value: T) {
    let archive = Archive::of(&value).unwrap();
    assert_eq!(T::unpack(archive.view::<T>()).unwrap(), value);
    assert_eq!(T::FLAT_LEN.unwrap_or(archive.len), archive.len);
    let truncated = &archive.bytes()[..archive.len.saturating_sub(1)];
    assert!(archive.len == 0 || T::FLAT_LEN.is_none() || validate::<T>(truncated).is_err());
}

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
