//! Guards over checked packets.

use super::super::{Invalid, Packet, validate};
use crate::ring::buffer::{StableBatch, StableBytes};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A packet that was checked, read in place. Holds the guard over its bytes.
///
/// # Invariants
///
/// 1. `archived` points to a valid `T::Archived` within `guard.bytes()`, or to no bytes at all.
/// 2. `guard` is neither replaced nor borrowed mutably while this value exists. By the contract of
///    [`StableBytes`], its bytes keep their address and their content, even if this value moves.
#[derive(Debug)]
pub(crate) struct Validated<G: StableBytes, T: Packet> {
    guard: G,
    archived: NonNull<T::Archived>,
}

// SAFETY: The value consists of the guard and of a shared reference into the guarded bytes.
unsafe impl<G: StableBytes + Send, T: Packet> Send for Validated<G, T> where T::Archived: Sync {}
// SAFETY: As above.
unsafe impl<G: StableBytes + Sync, T: Packet> Sync for Validated<G, T> where T::Archived: Sync {}

impl<G: StableBytes, T: Packet> Validated<G, T> {
    /// Checks the guard's bytes. Returns the guard if they are not a valid `T`.
    // Always: a call returns its result through memory.
    #[inline(always)]
    pub(crate) fn open(guard: G) -> Result<Self, (G, Invalid)> {
        // Establishes invariant 1: `validate` returns a reference into the bytes it was given.
        match validate::<T>(guard.bytes()).map(NonNull::from) {
            Ok(archived) => Ok(Self { guard, archived }),
            Err(invalid) => Err((guard, invalid)),
        }
    }

    /// Returns the packet.
    #[inline]
    pub(crate) fn get(&self) -> &T::Archived {
        // SAFETY: Invariants 1 and 2: the pointer is valid as long as `self`, which is borrowed.
        unsafe { self.archived.as_ref() }
    }

    /// Returns the guard.
    #[inline]
    pub(crate) fn guard(&self) -> &G {
        &self.guard
    }

    /// Returns the guard and gives up the typed access.
    pub(crate) fn into_guard(self) -> G {
        self.guard
    }
}

/// Packets that were checked, read in place. Holds the guard over their bytes.
///
/// # Invariants
///
/// 1. For each index below `guard.count()`, `guard.bytes(index)` was found to be a valid `T`.
/// 2. `guard` is neither replaced nor borrowed mutably after `open`. By the contract of
///    [`StableBatch`], its count and its bytes do not change.
///
/// It is `Send` and `Sync` if the guard is. Every `T::Archived` is both, by the bounds of
/// [`Packet`].
#[derive(Debug)]
pub(crate) struct ValidatedBatch<G: StableBatch, T: Packet> {
    guard: G,
    packet: PhantomData<fn() -> T>,
}

impl<G: StableBatch, T: Packet> ValidatedBatch<G, T> {
    /// Checks the guard's packets and keeps those before the first invalid one.
    ///
    /// Returns the guard if the first packet is invalid.
    #[inline]
    pub(crate) fn open(mut guard: G) -> Result<Self, G> {
        let sound = (0..guard.count()).take_while(|&i| validate::<T>(guard.bytes(i)).is_ok());
        let sound = sound.count();
        if sound == 0 {
            return Err(guard);
        }
        // Establishes invariant 1: only packets that passed the check remain.
        guard.keep(sound);
        Ok(Self { guard, packet: PhantomData })
    }

    /// Returns the number of packets.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.guard.count()
    }

    /// Returns the packet at an index.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &T::Archived {
        let bytes = self.guard.bytes(index);
        // SAFETY: `bytes` returned, so the index is below the count. By invariants 1 and 2 the
        // bytes are a valid `T`, and the root of every archive is at its end.
        unsafe { rkyv::access_unchecked::<T::Archived>(bytes) }
    }
}

/// Bytes that were copied out of the ring, so that no other process can change them.
///
/// # Invariants
///
/// 1. The slice is aligned to 16 bytes, unless it is empty.
#[derive(Debug)]
pub(crate) struct CopiedBytes<'a>(&'a [u8]);

impl<'a> CopiedBytes<'a> {
    /// Borrows copied bytes.
    pub(crate) fn new(bytes: &'a rkyv::util::AlignedVec<16>) -> Self {
        // Invariant 1: `AlignedVec<16>` aligns its bytes to 16. Without any, its address is 1.
        Self(bytes)
    }
}

// SAFETY: A shared slice changes neither its address nor its content while it is borrowed.
// Invariant 1 gives the alignment.
unsafe impl StableBytes for CopiedBytes<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }
}
