//! Where rkyv writes to: nowhere, counting; or into a slot, bounds-checked.
//!
//! Positions count from the start of the archive, which is aligned to 16 bytes.

use std::{error::Error, fmt, marker::PhantomData, ptr::NonNull};

use rkyv::{
    rancor::{Source, Strategy, fail},
    ser::{Allocator, Positional, Serializer, Writer, allocator::ArenaHandle},
};

/// The largest archive: every distance in it fits a relative pointer.
pub(super) const MAX_LEN: usize = i32::MAX as usize;

/// The serializer of the counting pass.
pub(super) type Counting<'a, E> = Strategy<Serializer<Counter, ArenaHandle<'a>, ()>, E>;

/// The serializer of the writing pass.
pub(super) type Writing<'a, E> = Strategy<Serializer<SlotWriter<'a>, ArenaHandle<'a>, ()>, E>;

/// The serializer of types whose values write nothing besides their root.
pub(super) type Resolving<E> = Strategy<Nothing, E>;

/// Counts what would be written.
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

/// Writes into `len` bytes from `out` on.
pub(super) struct SlotWriter<'a> {
    out: NonNull<u8>,
    len: usize,
    pos: usize,
    _room: PhantomData<&'a mut [u8]>,
}

impl SlotWriter<'_> {
    /// # Safety
    ///
    /// For the writer's lifetime `out` is valid for writes of `len` bytes and nobody else accesses them.
    #[inline]
    pub(super) unsafe fn new(out: NonNull<u8>, len: usize) -> Self {
        Self { out, len, pos: 0, _room: PhantomData }
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
        // SAFETY: `pos + bytes.len() <= len`, and `new` was promised `len` writable bytes that nobody
        // else accesses, so `bytes` does not overlap them.
        unsafe {
            self.out
                .add(self.pos)
                .copy_from_nonoverlapping(NonNull::from_ref(bytes).cast(), bytes.len())
        };
        self.pos += bytes.len();
        Ok(())
    }
}

/// Refuses to write and to lend memory.
pub(super) struct Nothing;

impl Positional for Nothing {
    fn pos(&self) -> usize {
        0
    }
}

impl<E: Source> Writer<E> for Nothing {
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        if bytes.is_empty() { Ok(()) } else { fail!(NoRoom::beyond(0)) }
    }
}

// SAFETY: It never returns memory.
unsafe impl<E: Source> Allocator<E> for Nothing {
    unsafe fn push_alloc(&mut self, _: std::alloc::Layout) -> Result<NonNull<[u8]>, E> {
        fail!(NoRoom::beyond(0))
    }

    unsafe fn pop_alloc(&mut self, _: NonNull<u8>, _: std::alloc::Layout) -> Result<(), E> {
        Ok(())
    }
}

/// More was written than there is room for.
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
            MAX_LEN => write!(f, "its archive is larger than {MAX_LEN} bytes"),
            limit => write!(f, "it took more than the {limit} bytes that were measured"),
        }
    }
}

impl Error for NoRoom {}

#[cfg(test)]
mod tests {
    use rkyv::rancor::Failure;

    use super::*;

    #[test]
    fn counting_ends_where_pointers_cannot_reach() {
        let mut counter = Counter { pos: MAX_LEN - 3 };
        assert!(Writer::<Failure>::write(&mut counter, &[0; 3]).is_ok());
        assert!(Writer::<Failure>::write(&mut counter, &[0; 1]).is_err());
        assert_eq!(counter.pos(), MAX_LEN);
    }
}
