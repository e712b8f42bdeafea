//! Typed guards: over bytes that stay as they are, and over room that is being filled.
//!
//! The bytes are some guard's of another layer; here they get their type, once, and keep it.

use super::{AnyBits, Invalid, Packet, Tail, emplace_tail, tail_len, validate};
use crate::ring::buffer::{StableBatch, StableBytes, WriteTarget};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A packet that was checked, in place.
#[derive(Debug)]
pub(crate) struct Validated<G: StableBytes, T: Packet> {
    guard: G,
    archived: NonNull<T::Archived>,
}

// SAFETY: the value is the guard and a shared reference into what it guards.
unsafe impl<G: StableBytes + Send, T: Packet> Send for Validated<G, T> where T::Archived: Sync {}
// SAFETY: as above.
unsafe impl<G: StableBytes + Sync, T: Packet> Sync for Validated<G, T> where T::Archived: Sync {}

impl<G: StableBytes, T: Packet> Validated<G, T> {
    /// Checks the guard's bytes; gives the guard back if they are not a `T`.
    #[inline]
    pub(crate) fn open(guard: G) -> Result<Self, (G, Invalid)> {
        match validate::<T>(guard.bytes()).map(NonNull::from) {
            Ok(archived) => Ok(Self { guard, archived }),
            Err(invalid) => Err((guard, invalid)),
        }
    }

    /// The packet.
    #[inline]
    pub(crate) fn get(&self) -> &T::Archived {
        // SAFETY: it was found valid within the guard's bytes, which stay as and where they are
        // for as long as the guard lives, which is in `self`.
        unsafe { self.archived.as_ref() }
    }

    /// The guard.
    #[inline]
    pub(crate) fn guard(&self) -> &G {
        &self.guard
    }

    /// The guard alone.
    pub(crate) fn into_guard(self) -> G {
        self.guard
    }
}

/// Packets that were checked, in place.
#[derive(Debug)]
pub(crate) struct ValidatedBatch<G: StableBatch, T: Packet> {
    guard: G,
    packet: PhantomData<fn() -> T>,
}

impl<G: StableBatch, T: Packet> ValidatedBatch<G, T> {
    /// Checks the guard's bytes, and keeps those before the first that are not a `T`; gives the
    /// guard back if that leaves none.
    #[inline]
    pub(crate) fn open(mut guard: G) -> Result<Self, G> {
        let sound = (0..guard.count()).take_while(|&i| validate::<T>(guard.bytes(i)).is_ok());
        let sound = sound.count();
        if sound == 0 {
            return Err(guard);
        }
        guard.keep(sound);
        Ok(Self { guard, packet: PhantomData })
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.guard.count()
    }

    /// The packet at an index, which must be below `len`.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &T::Archived {
        let bytes = self.guard.bytes(index);
        // SAFETY: `open` found each of the guard's byte strings to be a valid `T` with its root at
        // the end, and they stay as and where they are.
        unsafe { rkyv::access_unchecked::<T::Archived>(bytes) }
    }
}

/// Bytes that were copied out: aligned, and nobody else's.
#[derive(Debug)]
pub(crate) struct Copied<'a>(&'a [u8]);

impl<'a> Copied<'a> {
    pub(crate) fn new(bytes: &'a rkyv::util::AlignedVec<16>) -> Self {
        Self(bytes)
    }
}

// SAFETY: a shared slice stays as and where it is; `AlignedVec<16>` aligns its bytes to 16.
unsafe impl StableBytes for Copied<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }
}

/// Room for a packet of fixed size any of whose bit patterns are values, to be filled in place.
#[derive(Debug)]
pub(crate) struct Uninit<G: WriteTarget, T: Packet> {
    pub(crate) guard: G,
    archived: NonNull<T::Archived>,
}

// SAFETY: the value is the guard and an exclusive reference into what it guards.
unsafe impl<G: WriteTarget + Send, T: Packet> Send for Uninit<G, T> where T::Archived: Send {}
// SAFETY: as above.
unsafe impl<G: WriteTarget + Sync, T: Packet> Sync for Uninit<G, T> where T::Archived: Sync {}

impl<G: WriteTarget, T: Packet> Uninit<G, T>
where
    T::Archived: AnyBits,
{
    /// A blank packet in the guard's room, which must be as long as its archive; `None` if it is
    /// not.
    pub(crate) fn new(mut guard: G) -> Option<Self> {
        let room = guard.room();
        if T::FLAT_LEN != Some(room.len()) {
            return None;
        }
        let archived = room.start().cast();
        Some(Self { guard, archived })
    }

    /// The packet, its content left over.
    #[inline]
    pub(crate) fn get(&self) -> &T::Archived {
        // SAFETY: a flat archive is its root: it begins at the room's first byte, 16-aligned, and
        // is as long as the room. Its bytes are initialized, and any bytes are a value. Nobody
        // else accesses them while the guard lives.
        unsafe { self.archived.as_ref() }
    }

    /// The packet, to be filled.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T::Archived {
        // SAFETY: as in `get`, and `self` is borrowed mutably.
        unsafe { self.archived.as_mut() }
    }
}

/// Room for a [`Tail`], to be filled in place.
#[derive(Debug)]
pub(crate) struct UninitTail<G: WriteTarget, H: Packet, E: Packet> {
    pub(crate) guard: G,
    head: NonNull<H::Archived>,
    tail: NonNull<[E::Archived]>,
}

// SAFETY: the value is the guard and exclusive references into what it guards.
unsafe impl<G: WriteTarget + Send, H: Packet, E: Packet> Send for UninitTail<G, H, E>
where
    H::Archived: Send,
    E::Archived: Send,
{
}

impl<G: WriteTarget, H: Packet, E: Packet> UninitTail<G, H, E>
where
    H::Archived: AnyBits,
    E::Archived: AnyBits,
{
    /// A blank tail of `n` elements in the guard's room, which must be as long as its archive;
    /// `None` if it is not.
    pub(crate) fn new(mut guard: G, n: usize) -> Option<Self> {
        let room = guard.room();
        if tail_len::<H, E>(n) != Some(room.len()) {
            return None;
        }
        // SAFETY: the room is 16-aligned, initialized, as long as the archive, and nobody else's.
        let (head, tail) = unsafe { emplace_tail::<H, E>(room.start(), n) };
        Some(Self { guard, head, tail })
    }

    /// Head and elements, their content left over.
    pub(crate) fn get(&self) -> (&H::Archived, &[E::Archived]) {
        // SAFETY: both lie in the room, aligned and apart from each other; any bytes are values;
        // nobody else accesses them while the guard lives.
        unsafe { (self.head.as_ref(), self.tail.as_ref()) }
    }

    /// Head and elements, to be filled.
    pub(crate) fn get_mut(&mut self) -> (&mut H::Archived, &mut [E::Archived]) {
        // SAFETY: as in `get`, and `self` is borrowed mutably.
        unsafe { (self.head.as_mut(), self.tail.as_mut()) }
    }
}

/// The archive length of a [`Tail`] with `n` elements, or the most there can be.
pub(crate) fn tail_len_or_most<H: Packet, E: Packet>(n: usize) -> usize {
    let _: PhantomData<Tail<H, E>>;
    tail_len::<H, E>(n).unwrap_or(usize::MAX)
}
