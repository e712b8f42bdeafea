//! rkyv bytes to typed and back, the fingerprint and the schema.
//!
//! A packet is one rkyv archive at an address aligned to 16, of exactly its length, with the root at the
//! end. What may be in it is decided by [`describe`]; knows neither rings nor processes.

mod any_bits;
mod check;
pub mod describe;
mod error;
mod explanation;
mod fingerprint;
pub(crate) mod guard;
mod info;
mod one_of;
pub mod schema;
mod scratch;
mod tail;
mod typed;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use crate::ring::buffer::WriteBuf;

pub(crate) use self::tail::{emplace_tail, tail_len};
pub use self::{
    any_bits::AnyBits,
    error::{Invalid, UnpackError, Unserializable},
    fingerprint::Fingerprint,
    info::{TypeInfo, fingerprint_of, schema_of, type_of},
    one_of::{OneOf, all_distinct},
    scratch::Scratch,
    tail::{ArchivedTail, Tail},
    typed::{Packet, Unpack},
};

/// The exact length of the value's archive; a constant for types without pointers.
#[inline]
pub(crate) fn measure<T: Packet>(
    value: &T,
    scratch: &mut Scratch,
) -> Result<usize, Unserializable> {
    T::measure(value, scratch)
}

/// Fills the room exactly, or fails: if the value no longer takes as many bytes as were measured, if it
/// refuses, or if no reader would accept it. After an error the bytes are unspecified.
#[inline]
pub(crate) fn write<T: Packet>(
    value: &T,
    room: WriteBuf<'_>,
    scratch: &mut Scratch,
) -> Result<(), Unserializable> {
    // SAFETY: Room is aligned to 16, valid for writes of its length, and nobody else's.
    unsafe { T::write(value, room.start(), room.len(), scratch) }
}

/// Checks bytes that should be a packet of this type, and gives it in place.
#[inline]
pub(crate) fn validate<T: Packet>(bytes: &[u8]) -> Result<&T::Archived, Invalid> {
    T::validate(bytes)
}

/// Says in full why [`validate`] refused.
#[cold]
pub(crate) fn explain<T: Packet>(bytes: &[u8]) -> String {
    T::explain(bytes)
}
