//! A packet with a head and a tail of run-time length, that can be filled in place.
//!
//! ```text
//! 0                       aligned for the root           the end
//! | element 0 | element 1 | … | pad | head | pad | pointer i32 | count u32 | pad |
//! ```
//!
//! This is what sending a [`Tail`] writes too, so readers cannot tell how it was made.

use std::{
    mem::offset_of,
    ptr::{self, NonNull},
};

use rkyv::{
    Archive, Place,
    vec::{ArchivedVec, VecResolver},
};

use super::{AnyBits, writer::MAX_LEN};

/// A head, and a tail of as many elements as needed.
///
/// Send it like any other packet, or reserve room for it and fill that in place.
#[crate::packet(crate = crate)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail<Head, Element> {
    /// What comes once.
    pub head: Head,
    /// What comes many times.
    pub tail: Vec<Element>,
}

type Root<H, E> = ArchivedTail<H, E>;

/// The length of the archive of a [`Tail`] with `n` elements; nothing if that is more than fits, or if
/// the elements have no bytes.
pub(crate) fn tail_len<H: Archive, E: Archive>(n: usize) -> Option<usize> {
    let len = root_position::<H, E>(n)?.checked_add(size_of::<Root<H, E>>())?;
    (len <= MAX_LEN).then_some(len)
}

/// Where the root goes, behind `n` elements.
fn root_position<H: Archive, E: Archive>(n: usize) -> Option<usize> {
    let element = size_of::<E::Archived>();
    if element == 0 {
        return None;
    }
    n.checked_mul(element)?.checked_next_multiple_of(align_of::<Root<H, E>>())
}

/// Makes the bytes an archive of a [`Tail`] with `n` elements, whose head and elements are what the bytes
/// were. Writes the relative pointer and the count, and nothing else.
///
/// # Safety
///
/// `tail_len::<H, E>(n)` is some length; `out` is aligned to 16 and valid for writes of as many bytes, which
/// are initialized and which nobody else accesses.
pub(crate) unsafe fn emplace_tail<H, E>(
    out: NonNull<u8>,
    n: usize,
) -> (NonNull<H::Archived>, NonNull<[E::Archived]>)
where
    H: Archive<Archived: AnyBits>,
    E: Archive<Archived: AnyBits>,
{
    let root = root_position::<H, E>(n).unwrap_or(0);
    // SAFETY: The caller promises that the root lies within the bytes at `out`; it is aligned there, since
    // its position is a multiple of its alignment and `out` of 16.
    let (head, tail) = unsafe {
        let root = out.add(root);
        (root.add(offset_of!(Root<H, E>, head)), root.add(offset_of!(Root<H, E>, tail)))
    };
    let position = root + offset_of!(Root<H, E>, tail);
    // SAFETY: As above; the bytes are initialized.
    let place =
        unsafe { Place::new_unchecked(position, tail.cast::<ArchivedVec<E::Archived>>().as_ptr()) };
    ArchivedVec::resolve_from_len(n, VecResolver::from_pos(0), place);
    let elements = ptr::slice_from_raw_parts_mut(out.as_ptr().cast(), n);
    // SAFETY: `out` is not null.
    (head.cast(), unsafe { NonNull::new_unchecked(elements) })
}
