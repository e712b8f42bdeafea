//! [`Tail`]: a packet that ends in a list whose length is chosen at run time. It can be filled in
//! place.
//!
//! ```text
//! 0                       aligned for the root           the end
//! | element 0 | element 1 | … | pad | head | pad | pointer i32 | count u32 | pad |
//! ```
//!
//! Sending a [`Tail`] value writes the same layout, so readers see no difference.
//!
//! [`AnyBits`] marks the types for which every bit pattern is a valid value. A publisher may hand
//! out a slot for such a type before the slot is filled: leftover bytes are a value. Types without
//! pointers do not all qualify: `bool`, `char` and enums have invalid bit patterns.

use super::writer::MAX_LEN;
use rkyv::primitive::*;
use rkyv::tuple::*;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Place};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

/// A packet type with a head and a list of elements.
///
/// Send it like any other packet, or reserve space for a given number of elements and fill them in
/// place ([`Publisher::reserve_tail`](crate::Publisher::reserve_tail)). Both write the same bytes.
/// The archive holds at most `i32::MAX` bytes. Elements without bytes (`()`) are refused at compile
/// time.
///
/// ```
/// use packetring::Tail;
///
/// # let ring = packetring::Ring::builder().heap()?;
/// let mut publisher = ring.publisher::<Tail<u64, u8>>()?;
/// let mut subscriber = ring.subscriber::<Tail<u64, u8>>()?;
/// publisher.send(&Tail { head: 17, tail: b"hello".to_vec() })?;
/// let packet = subscriber.recv()?;
/// assert_eq!((packet.head.to_native(), packet.tail.as_slice()), (17, &b"hello"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[crate::packet(crate = crate)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail<Head, Element> {
    /// The part of fixed size.
    pub head: Head,
    /// The elements.
    pub tail: Vec<Element>,
}

type Root<H, E> = ArchivedTail<H, E>;

/// Returns the length in bytes of the archive of a [`Tail`] with `n` elements.
///
/// `None` if the length exceeds [`MAX_LEN`] or if the elements have no bytes.
pub(crate) fn tail_len<H: Archive, E: Archive>(n: usize) -> Option<usize> {
    let len = root_position::<H, E>(n)?.checked_add(size_of::<Root<H, E>>())?;
    (len <= MAX_LEN).then_some(len)
}

/// Returns the position of the root behind `n` elements.
fn root_position<H: Archive, E: Archive>(n: usize) -> Option<usize> {
    let element = size_of::<E::Archived>();
    if element == 0 {
        return None;
    }
    n.checked_mul(element)?.checked_next_multiple_of(align_of::<Root<H, E>>())
}

/// Turns bytes into an archive of a [`Tail`] with `n` elements, and returns its head and its
/// elements.
///
/// Writes the relative pointer and the count only. Head and elements keep the bytes that were
/// there.
///
/// # Safety
///
/// 1. `tail_len::<H, E>(n)` is `Some(len)`.
/// 2. `out` is aligned to 16 and valid for writes of `len` bytes.
/// 3. These bytes are initialized.
/// 4. Nothing else accesses them during the call.
pub(crate) unsafe fn emplace_tail<H, E>(
    out: NonNull<u8>,
    n: usize,
) -> (NonNull<H::Archived>, NonNull<[E::Archived]>)
where
    H: Archive<Archived: AnyBits>,
    E: Archive<Archived: AnyBits>,
{
    let root = root_position::<H, E>(n).unwrap_or(0);
    // SAFETY: By 1 and 2 the root and its fields lie within the `len` bytes at `out`. (By 1,
    // `root_position` returned `Some`.)
    let (head, tail) = unsafe {
        let root = out.add(root);
        (root.add(offset_of!(Root<H, E>, head)), root.add(offset_of!(Root<H, E>, tail)))
    };
    let position = root + offset_of!(Root<H, E>, tail);
    // SAFETY: The field `tail` lies within the bytes as above. It is aligned: `root` is a multiple
    // of the root's alignment, and `out` of 16 (2). Its bytes are initialized (3) and accessed by
    // nothing else (4).
    let place =
        unsafe { Place::new_unchecked(position, tail.cast::<ArchivedVec<E::Archived>>().as_ptr()) };
    ArchivedVec::resolve_from_len(n, VecResolver::from_pos(0), place);
    let elements = ptr::slice_from_raw_parts_mut(out.as_ptr().cast(), n);
    // SAFETY: The pointer comes from `out`, which is not null.
    (head.cast(), unsafe { NonNull::new_unchecked(elements) })
}

/// An archived type for which every bit pattern is a valid value.
///
/// Numbers, arrays and tuples of them, and [`#[packet]`](macro@crate::packet) structs of these
/// implement it. `bool`, `char`, enums, `NonZero` numbers and all types with pointers do not. Nor
/// do a struct with a check of its own (`#[rkyv(bytecheck(verify))]`), and a struct of numbers with
/// padding.
///
/// Packets of such a type can be reserved and filled in place
/// ([`Publisher::reserve`](crate::Publisher::reserve)).
///
/// ```
/// use packetring::{Packet, packet};
/// use packetring::packet::AnyBits;
///
/// #[packet]
/// struct Frame {
///     taken_at: u64,
///     pixels: [[u8; 3]; 640],
/// }
///
/// fn reservable<T: Packet<Archived: AnyBits>>() {}
/// reservable::<Frame>();
/// ```
///
/// # Safety
///
/// Every sequence of `size_of::<Self>()` initialized bytes is a valid value of the type. The type's
/// safe methods accept each of these values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be filled in place",
    label = "some bit patterns of this type are invalid",
    note = "only numbers, arrays of numbers, and `#[packet]` structs of these can be reserved",
    note = "`bool` and enums: reserve a `u8` and convert; text and lists: use `Tail<Head, u8>`, or `send` a value"
)]
pub unsafe trait AnyBits {}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        // SAFETY: Every bit pattern of an integer or a float is valid.
        unsafe impl AnyBits for $type {}
    )*};
}

numbers!(
    u8,
    i8,
    ArchivedU16,
    ArchivedU32,
    ArchivedU64,
    ArchivedU128,
    ArchivedI16,
    ArchivedI32,
    ArchivedI64,
    ArchivedI128,
    ArchivedF32,
    ArchivedF64
);

// SAFETY: The type has no bytes.
unsafe impl AnyBits for () {}

// SAFETY: The type has no bytes.
unsafe impl<T: ?Sized> AnyBits for PhantomData<T> {}

#[cfg(feature = "uuid")]
// SAFETY: A UUID is 16 bytes, and every value of them is valid.
unsafe impl AnyBits for uuid::Uuid {}

// SAFETY: An array consists of its elements, without padding, and each element is `AnyBits`.
unsafe impl<T: AnyBits, const N: usize> AnyBits for [T; N] {}

macro_rules! tuples {
    ($($type:ident: $($part:ident)*;)*) => {$(
        // SAFETY: A tuple consists of its fields, each of them `AnyBits`, and of padding, which may
        // hold any bytes.
        unsafe impl<$($part: AnyBits),*> AnyBits for $type<$($part),*> {}
    )*};
}

tuples! {
    ArchivedTuple1: A;
    ArchivedTuple2: A B;
    ArchivedTuple3: A B C;
    ArchivedTuple4: A B C D;
    ArchivedTuple5: A B C D E;
    ArchivedTuple6: A B C D E F;
    ArchivedTuple7: A B C D E F G;
    ArchivedTuple8: A B C D E F G H;
    ArchivedTuple9: A B C D E F G H I;
    ArchivedTuple10: A B C D E F G H I J;
    ArchivedTuple11: A B C D E F G H I J K;
    ArchivedTuple12: A B C D E F G H I J K L;
}
