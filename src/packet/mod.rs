//! The packet format: packet types, their fingerprints and their schemas.
//!
//! A packet is one rkyv archive. Its address is aligned to 16 bytes, its length is exact, and its
//! root is at the end. [`describe`] lists the types that a packet may contain. This module knows
//! neither rings nor processes.
//!
//! - [`Packet`]: types that can be sent. [`Unpack`]: types that can be taken out as owned values.
//! - [`AnyBits`]: archived types that can be filled in place. [`Tail`]: a packet type that ends in
//!   a list.
//! - [`OneOf`]: a choice of packet types.
//! - [`SendAs`], [`SendAllAs`]: what the sending verbs take. [`Borrowed`]: borrowed parts of a
//!   packet.
//! - [`type_of`], [`fingerprint_of`], [`schema_of`]: how a type is identified and laid out.
//!
//! ```
//! use packetring::packet::{schema_of, type_of};
//!
//! #[packetring::packet]
//! struct Price { symbol: u32, bid: u64 }
//!
//! let info = type_of::<Price>();
//! assert_eq!((info.name, info.size, info.align), ("Price", 16, 8));
//! assert!(schema_of::<Price>().contains(r#""name":"bid","offset":8"#));
//! ```

pub mod borrowed;
mod check;
pub mod describe;
mod difference;
mod error;
mod fingerprint;
pub(crate) mod guard {
    //! Typed guards: over the bytes of a received packet, and over space that is being filled.
    //!
    //! Another layer owns the bytes through a guard of its own. The guards here check the bytes
    //! once, and from then on give access to them by type.

    mod uninit;
    mod validated;

    pub(crate) use self::{
        uninit::{Uninit, UninitTail, tail_len_or_most},
        validated::{CopiedBytes, Validated, ValidatedBatch},
    };
}
mod native;
pub mod schema;
mod tail;
mod typed;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use crate::ring::buffer::WriteBuf;

pub(crate) use self::difference::first_difference;
pub(crate) use self::tail::{emplace_tail, tail_len};
pub use self::{
    borrowed::{Borrowed, SendAllAs, SendAs},
    error::{Invalid, UnpackError, Unserializable},
    fingerprint::Fingerprint,
    native::{Native, NativeWith},
    tail::{AnyBits, ArchivedTail, Tail},
    typed::{Packet, TypeInfo, Unpack, fingerprint_of, schema_of, type_of, unpack, unpack_boxed},
    write::Scratch,
};

/// Returns the exact length of the value's archive in bytes. A constant for types without pointers.
#[inline]
pub(crate) fn measure<T: Packet>(
    value: &T,
    scratch: &mut Scratch,
) -> Result<usize, Unserializable> {
    T::measure(value, scratch)
}

/// Writes the archive of a value, exactly as long as `room`.
///
/// Fails if the value's length differs from the length of `room`, if serialization fails, or if the
/// archive of a recursive type nests too deeply for readers. After an error the bytes are
/// unspecified.
#[inline]
pub(crate) fn write<T: Packet>(
    value: &T,
    room: WriteBuf<'_>,
    scratch: &mut Scratch,
) -> Result<(), Unserializable> {
    // SAFETY: A `WriteBuf` starts at a 16-aligned address and is valid for writes of `len` bytes,
    // which only its owner accesses. This function owns it.
    unsafe { T::write(value, room.start(), room.len(), scratch) }
}

/// Checks that the bytes are a packet of type `T`, and returns the packet in place.
#[inline]
pub(crate) fn validate<T: Packet>(bytes: &[u8]) -> Result<&T::Archived, Invalid> {
    T::validate(bytes)
}

/// Returns the reason why [`validate`] failed, as text.
#[cold]
pub(crate) fn explain<T: Packet>(bytes: &[u8]) -> String {
    T::explain(bytes)
}

/// An enum of references to packets, each read in place for `'a`. The packet's fingerprint selects
/// the variant, and the bytes are checked as that variant's type only.
///
/// Only [`#[one_of]`](macro@crate::one_of) implements it.
///
/// ```
/// use packetring::{one_of, packet};
/// use packetring::packet::OneOf;
///
/// #[packet]
/// struct Job { name: String }
/// #[packet]
/// struct Stop;
///
/// #[one_of]
/// enum Work {
///     Job(Job),
///     Stop(Stop),
/// }
///
/// # fn main() {
/// assert_eq!(Work::TYPES[1].name, "Stop");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a choice of packets",
    label = "not a choice of packets",
    note = "put `#[packetring::one_of]` on the enum"
)]
pub trait OneOf<'a>: Sized {
    /// The packet types of all variants, in declaration order.
    const TYPES: &'static [TypeInfo];

    /// Checks the bytes as the type with this fingerprint. Returns `None` if no variant has it.
    #[doc(hidden)]
    fn open(fingerprint: Fingerprint, bytes: &'a [u8]) -> Result<Option<Self>, Invalid>;

    /// Returns the reason why `open` failed, as text.
    #[doc(hidden)]
    fn explain(fingerprint: Fingerprint, bytes: &'a [u8]) -> String;
}

/// Returns true if all fingerprints differ.
#[doc(hidden)]
pub const fn all_distinct(types: &[TypeInfo]) -> bool {
    let mut i = 0;
    while i < types.len() {
        let mut j = i + 1;
        while j < types.len() {
            if types[i].fingerprint.0 == types[j].fingerprint.0 {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}
