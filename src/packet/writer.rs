//! The writers of serialization: one counts, one refuses every byte (both in the first pass), one
//! writes into the bytes of a slot (second pass).
//!
//! Positions count from the start of the archive, which is aligned to 16 bytes.

use super::copying::Copying;
use rkyv::rancor::{Source, Strategy, fail};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Allocator, Positional, Serializer, Writer};
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The maximum length of an archive in bytes. Every distance within it fits a relative pointer
/// (`i32`).
pub(super) const MAX_LEN: usize = i32::MAX as usize;

/// The serializer of the counting pass.
pub(super) type Counting<'a, E> = Strategy<Serializer<Counter, ArenaHandle<'a>, ()>, E>;

/// The serializer of types without pointers: their values write the root only.
pub(super) type Resolving<E> = Strategy<RootOnly, E>;

/// Counts the bytes that the second pass will write. At most [`MAX_LEN`].
#[derive(Default)]
pub(super) struct Counter {
    pos: usize,
}

impl Positional for Counter {
    #[inline]
    fn pos(&self) -> usize {
        self.pos
    }
}

impl<E: Source> Writer<E> for Counter {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        if bytes.len() > MAX_LEN - self.pos {
            fail!(NoRoom::beyond(MAX_LEN));
        }
        self.pos += bytes.len();
        Ok(())
    }
}

/// Refuses every byte besides the root, and lends no scratch memory.
pub(super) struct RootOnly;

impl Positional for RootOnly {
    fn pos(&self) -> usize {
        0
    }
}

impl<E: Source> Writer<E> for RootOnly {
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        if bytes.is_empty() { Ok(()) } else { fail!(NoRoom::beyond(0)) }
    }
}

// SAFETY: `push_alloc` never returns memory, so no block can be too small, misaligned or shared.
unsafe impl<E: Source> Allocator<E> for RootOnly {
    unsafe fn push_alloc(&mut self, _: std::alloc::Layout) -> Result<NonNull<[u8]>, E> {
        fail!(NoRoom::beyond(0))
    }

    unsafe fn pop_alloc(&mut self, _: NonNull<u8>, _: std::alloc::Layout) -> Result<(), E> {
        Ok(())
    }
}

/// A value wrote more bytes than fit. `limit` is the number that fits.
#[derive(Debug)]
pub(super) struct NoRoom {
    limit: usize,
}

impl NoRoom {
    pub(super) fn beyond(limit: usize) -> Self {
        Self { limit }
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            MAX_LEN => write!(f, "archive larger than the maximum of {MAX_LEN} bytes"),
            limit => write!(f, "archive longer than the measured {limit} bytes"),
        }
    }
}

impl Error for NoRoom {}

/// The serializer of the writing pass.
pub(super) type Writing<'a, E> = Strategy<Serializer<SlotWriter<'a>, ArenaHandle<'a>, ()>, E>;

/// Writes into the `len` bytes at `out`. Positions count from `out`, which is aligned to 16.
///
/// # Invariants
///
/// 1. For `'a`, `out` is valid for writes of `len` bytes, and only this value accesses them.
/// 2. `pos <= len`.
pub(super) struct SlotWriter<'a> {
    out: NonNull<u8>,
    len: usize,
    pos: usize,
    copying: Copying,
    _room: PhantomData<&'a mut [u8]>,
}

impl SlotWriter<'_> {
    /// # Safety
    ///
    /// For the writer's lifetime, `out` is valid for writes of `len` bytes, and nothing else
    /// accesses them.
    #[inline]
    pub(super) unsafe fn new(out: NonNull<u8>, len: usize, copying: Copying) -> Self {
        // Invariant 1 is the caller's promise; 2 holds because 0 <= len.
        Self { out, len, pos: 0, copying, _room: PhantomData }
    }
}

impl Positional for SlotWriter<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.pos
    }
}

impl<E: Source> Writer<E> for SlotWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        if bytes.len() > self.len - self.pos {
            fail!(NoRoom::beyond(self.len));
        }
        // SAFETY: The check above and invariant 2 give `pos + bytes.len() <= len`, so by invariant
        // 1 the target is valid for writes. `bytes` does not overlap it: only `self` accesses the
        // target.
        unsafe {
            self.copying.copy(NonNull::from_ref(bytes).cast(), self.out.add(self.pos), bytes.len())
        };
        self.pos += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rkyv::rancor::Failure;

    use super::*;

    #[test]
    fn counting_stops_at_the_reach_of_a_pointer() {
        let mut counter = Counter { pos: MAX_LEN - 3 };
        assert!(Writer::<Failure>::write(&mut counter, &[0; 3]).is_ok());
        assert!(Writer::<Failure>::write(&mut counter, &[0; 1]).is_err());
        assert_eq!(counter.pos(), MAX_LEN);
    }
}
