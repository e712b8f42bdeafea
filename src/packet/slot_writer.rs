//! The writer of the second pass: bounds-checked, into the bytes of a slot.

use std::{marker::PhantomData, ptr::NonNull};

use rkyv::{
    rancor::{Source, Strategy, fail},
    ser::{Positional, Serializer, Writer, allocator::ArenaHandle},
};

use super::writer::NoRoom;

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
    _room: PhantomData<&'a mut [u8]>,
}

impl SlotWriter<'_> {
    /// # Safety
    ///
    /// For the writer's lifetime, `out` is valid for writes of `len` bytes, and nothing else
    /// accesses them.
    #[inline]
    pub(super) unsafe fn new(out: NonNull<u8>, len: usize) -> Self {
        // Invariant 1 is the caller's promise; 2 holds because 0 <= len.
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
        // SAFETY: The check above and invariant 2 give `pos + bytes.len() <= len`, so by invariant
        // 1 the target is valid for writes. `bytes` does not overlap it: only `self` accesses the
        // target.
        unsafe {
            self.out
                .add(self.pos)
                .copy_from_nonoverlapping(NonNull::from_ref(bytes).cast(), bytes.len())
        };
        self.pos += bytes.len();
        Ok(())
    }
}
