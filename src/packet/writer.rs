//! The writers of the first pass: one counts, one refuses every byte.
//!
//! Positions count from the start of the archive, which is aligned to 16 bytes. The writer of the
//! second pass is [`SlotWriter`](super::slot_writer::SlotWriter).

use std::{error::Error, fmt, ptr::NonNull};

use rkyv::{
    rancor::{Source, Strategy, fail},
    ser::{Allocator, Positional, Serializer, Writer, allocator::ArenaHandle},
};

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
