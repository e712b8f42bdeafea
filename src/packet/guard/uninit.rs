//! Guards over space for one packet, to be filled in place.

use super::super::{
    AnyBits, Copying, Packet, Scratch, Unserializable, describe::Describe, emplace_tail, tail_len,
};
use crate::ring::buffer::WriteTarget;
use rkyv::util::Align;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Space for one packet of fixed size, to be filled in place.
///
/// `T::Archived` accepts every bit pattern, so leftover bytes of earlier packets are a valid value.
///
/// # Invariants
///
/// 1. The room of `guard` is as long as `T::Archived`, a flat archive that consists of its root.
/// 2. `guard` is not replaced while this value exists. By the contract of [`WriteTarget`] its room
///    stays the same, and nothing else accesses the room's bytes.
#[derive(Debug)]
pub(crate) struct Uninit<G: WriteTarget, T: Packet> {
    guard: G,
    /// The archive in the room, which this value owns for now.
    archived: PhantomData<T::Archived>,
}

impl<G: WriteTarget, T: Packet> Uninit<G, T>
where
    T::Archived: AnyBits,
{
    /// Creates a packet in the guard's room. `None` if the room has another length than the
    /// archive.
    pub(crate) fn new(guard: G) -> Option<Self> {
        const { assert_filled_whole::<T>() };
        (T::FLAT_LEN == Some(guard.len())).then_some(Self { guard, archived: PhantomData })
    }

    /// Ends the view and returns the guard, to commit it.
    pub(crate) fn into_guard(self) -> G {
        self.guard
    }

    /// Returns the packet. Bytes that were not written are left over from earlier packets.
    #[inline]
    pub(crate) fn get(&self) -> &T::Archived {
        // SAFETY: By the contract of `WriteTarget` the pointer is aligned and valid, and its bytes
        // are initialized; by invariant 1 they are enough. They are a valid value, because
        // `T::Archived` is `AnyBits`. By invariant 2 nothing else writes to them.
        unsafe { self.guard.start().cast().as_ref() }
    }

    /// Returns the packet for writing.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T::Archived {
        // SAFETY: As in `get`; `self` is borrowed mutably, so no other reference exists.
        unsafe { self.guard.start().cast().as_mut() }
    }
}

/// Space for one [`Tail`](crate::Tail), to be filled in place.
///
/// # Invariants
///
/// 1. `head` and `tail` came from `emplace_tail` for the room of `guard`: aligned, within the room,
///    and not overlapping. The room's bytes are initialized.
/// 2. `guard` is not replaced while this value exists. By the contract of [`WriteTarget`] its room
///    stays the same, and nothing else accesses the room's bytes.
#[derive(Debug)]
pub(crate) struct UninitTail<G: WriteTarget, H: Packet, E: Packet> {
    guard: G,
    head: NonNull<H::Archived>,
    tail: NonNull<[E::Archived]>,
}

// SAFETY: The value consists of the guard and of exclusive references into the guarded bytes.
unsafe impl<G: WriteTarget + Send, H: Packet, E: Packet> Send for UninitTail<G, H, E>
where
    H::Archived: Send,
    E::Archived: Send,
{
}
// SAFETY: As above; a shared reference gives shared references only.
unsafe impl<G: WriteTarget + Sync, H: Packet, E: Packet> Sync for UninitTail<G, H, E>
where
    H::Archived: Sync,
    E::Archived: Sync,
{
}

impl<G: WriteTarget, H: Packet, E: Packet> UninitTail<G, H, E>
where
    H::Archived: AnyBits,
    E::Archived: AnyBits,
{
    /// Creates a tail of `n` elements in the guard's room.
    ///
    /// `None` if the room has another length than the archive.
    pub(crate) fn new(guard: G, n: usize) -> Option<Self> {
        const {
            assert_filled_whole::<H>();
            assert_filled_whole::<E>();
        };
        if tail_len::<H, E>(n) != Some(guard.len()) {
            return None;
        }
        // SAFETY: `tail_len` returned the length of the room (1). By the contract of `WriteTarget`
        // the room is 16-aligned, valid for writes (2), initialized (3), and accessed through its
        // guard alone (4).
        let (head, tail) = unsafe { emplace_tail::<H, E>(guard.start(), n) };
        Some(Self { guard, head, tail })
    }

    /// Ends the views and returns the guard, to commit it.
    pub(crate) fn into_guard(self) -> G {
        self.guard
    }

    /// Returns head and elements. Bytes that were not written are left over from earlier packets.
    pub(crate) fn get(&self) -> (&H::Archived, &[E::Archived]) {
        // SAFETY: By invariant 1 both pointers are aligned and their bytes are initialized. They
        // are valid values, because both types are `AnyBits`. By invariant 2 nothing else writes to
        // them.
        unsafe { (self.head.as_ref(), self.tail.as_ref()) }
    }

    /// Copies all elements in: values whose archives are byte copies of them at once, others one by
    /// one.
    ///
    /// # Errors
    ///
    /// If an element refuses to be serialized.
    ///
    /// # Panics
    ///
    /// If the number of elements differs.
    pub(crate) fn copy_tail_from(
        &mut self,
        elements: &[E],
        copying: Copying,
    ) -> Result<(), Unserializable> {
        let (_, tail) = self.get_mut();
        assert!(
            elements.len() == tail.len(),
            "{} elements for a reservation of {}",
            elements.len(),
            tail.len()
        );
        if E::IS_COPIED {
            let (from, to) = (NonNull::from_ref(elements).cast(), NonNull::from_mut(tail).cast());
            // SAFETY: The bytes of a copied type are those of its archive, so both have as many.
            // The two do not overlap, because `tail` is borrowed mutably.
            unsafe { copying.copy(from, to, size_of_val(elements)) };
            return Ok(());
        }
        let mut scratch = Scratch::default();
        for (element, place) in elements.iter().zip(tail) {
            // Zeros: as in a slot, the place of an archive has initialized bytes.
            let mut archived = Align(MaybeUninit::<E::Archived>::zeroed());
            let out = NonNull::from_mut(&mut archived.0).cast();
            // SAFETY: `out` is valid for writes of one archived element, which is the whole archive
            // of a type without pointers, and nothing else accesses it. `Align` aligns to 16.
            unsafe { E::write(element, out, size_of::<E::Archived>(), &mut scratch)? };
            // SAFETY: All of it was written just now.
            *place = unsafe { archived.0.assume_init() };
        }
        Ok(())
    }

    /// Returns head and elements for writing.
    pub(crate) fn get_mut(&mut self) -> (&mut H::Archived, &mut [E::Archived]) {
        // SAFETY: As in `get`; `self` is borrowed mutably, and the two do not overlap (invariant
        // 1).
        unsafe { (self.head.as_mut(), self.tail.as_mut()) }
    }
}

/// Refuses a type with padding at compile time.
///
/// Assigning a whole value to the packet may leave the padding uninitialized, and commit publishes
/// it.
const fn assert_filled_whole<T: Packet>() {
    assert!(
        !<T::Archived as Describe>::SHAPE.has_gaps(),
        "a type with padding cannot be filled in place: order its fields by size, largest first, and \
         add fields for the rest"
    );
}

/// Returns the length in bytes of the archive of a [`Tail`](crate::Tail) with `n` elements, or
/// `usize::MAX` if it has none (`tail_len`).
pub(crate) fn tail_len_or_most<H: Packet, E: Packet>(n: usize) -> usize {
    tail_len::<H, E>(n).unwrap_or(usize::MAX)
}
