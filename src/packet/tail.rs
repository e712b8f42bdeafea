//! [`Tail`]: a packet that ends in a list whose length is chosen at run time. It can be filled in
//! place.
//!
//! ```text
//! 0                       aligned for the root           the end
//! | element 0 | element 1 | … | pad | head | pad | pointer i32 | count u32 | pad |
//! ```
//!
//! Sending a [`Tail`] value writes the same layout, so readers see no difference.

use std::{
    mem::offset_of,
    ptr::{self, NonNull},
};

use rkyv::{
    Archive, Place,
    vec::{ArchivedVec, VecResolver},
};

use super::{AnyBits, writer::MAX_LEN};

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
