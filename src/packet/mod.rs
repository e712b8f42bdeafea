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
mod copying;
pub mod describe;
mod difference;
mod error;
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
use rkyv::util::Align;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

pub(crate) use self::copying::{Copying, LARGE};
pub(crate) use self::difference::first_difference;
pub(crate) use self::tail::{emplace_tail, tail_len};
pub use self::{
    borrowed::{Borrowed, SendAllAs, SendAs},
    error::{Invalid, UnpackError, Unserializable},
    native::{Native, NativeWith},
    tail::{AnyBits, ArchivedTail, Tail},
    typed::{
        Archived, Packet, TypeInfo, Unpack, fingerprint_of, schema_of, type_of, unpack,
        unpack_boxed,
    },
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

/// Writes a copy of an archive.
///
/// # Panics
///
/// If the archive has another length than the room.
pub(crate) fn write_archive(archive: &[u8], room: WriteBuf<'_>, scratch: &Scratch) {
    assert!(archive.len() == room.len(), "an archive that does not fit");
    // SAFETY: A `WriteBuf` is valid for writes of `len` bytes, which only its owner accesses. This
    // function owns it, so `archive` lies elsewhere.
    unsafe {
        scratch.copies.way().copy(NonNull::from_ref(archive).cast(), room.start(), archive.len());
    }
}

/// The archives of values as they lie in memory, if an archive is a byte copy of its value.
#[inline]
pub(crate) fn archives_of<T: Packet>(values: &[T]) -> Option<&[u8]> {
    if !T::IS_COPIED {
        return None;
    }
    // SAFETY: all bytes of a value of a copied type are initialized, because they are those of its
    // archive. The slice borrows the values.
    Some(unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) })
}

/// Calls `work` with a copy of a value whose archive is a byte copy, otherwise with the value.
///
/// For a cold path that is not inlined: the caller's value need not lie in memory for it, and stays
/// in registers on the other paths. A large value has no place there, nor a copy on the stack.
#[inline(always)]
pub(crate) fn on_copy<T: Packet, R>(value: &T, work: impl FnOnce(&T) -> R) -> R {
    // Of one size for all types: in a debug build the stack has room for it even if it is unused.
    type Room = Align<MaybeUninit<[u8; 256]>>;

    if !T::IS_COPIED || size_of::<T>() > size_of::<Room>() || align_of::<T>() > align_of::<Room>() {
        return work(value);
    }
    let mut room: Room = Align(MaybeUninit::uninit());
    let copy = NonNull::from_mut(&mut room).cast::<T>();
    // SAFETY: `room` is large enough and aligned for a `T`, and nothing else accesses it. The bytes
    // of a copied type are those of its archive, so the copy is as valid as the value. It is only
    // read, and not dropped.
    work(unsafe {
        copy.copy_from_nonoverlapping(NonNull::from_ref(value), 1);
        copy.as_ref()
    })
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

/// The packet format. Part of every fingerprint, so that programs with another format do not match.
const FORMAT: &str = "packetring 1, rkyv 0.8, little-endian, aligned, pointers of 32 bits";

/// The fingerprint of a packet type: a 128-bit hash of its archived layout and its names.
///
/// Two types have the same fingerprint if their archived forms have the same names, kinds, sizes,
/// alignments, offsets, tags and niches. Names are those of types, type parameters, fields and
/// variants; modules, crates, the compiler and the build do not count. FNV is not a cryptographic
/// hash: it detects mistakes, not forged types.
///
/// [`fingerprint_of`] computes it. `Display` prints 32 hexadecimal
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
    const fn of_description(hash: u128) -> Self {
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
struct Fnv(u128);

impl Fnv {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    const fn new() -> Self {
        Self(Self::BASIS)
    }

    const fn finish(self) -> u128 {
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
    const fn text(self, text: &str) -> Self {
        self.number(text.len()).bytes(text.as_bytes())
    }

    /// Hashes a count, a size or an offset as 64 bits, whatever the width of `usize`.
    const fn number(self, number: usize) -> Self {
        self.bytes(&(number as u64).to_le_bytes())
    }

    /// Hashes another hash, or the value of a const parameter.
    const fn word(self, word: u128) -> Self {
        self.bytes(&word.to_le_bytes())
    }
}
