//! Bytes of a segment, as the packet layer gets them: some to read in place, some to fill.

use std::marker::PhantomData;
use std::ptr::NonNull;

/// A guard over bytes that stay as they are and where they are.
///
/// # Safety
///
/// A slice that `bytes` returned stays valid and at its address until the guard is dropped, moved or
/// not, and no process that keeps the protocol changes its content. Archives need it 16-aligned.
pub(crate) unsafe trait StableBytes {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

/// A guard over all but the first bytes of another's.
#[derive(Debug)]
pub(crate) struct Suffix<G: StableBytes> {
    guard: G,
    prefix: usize,
}

impl<G: StableBytes> Suffix<G> {
    /// All behind the first `prefix` bytes; gives the guard back if that is not a multiple of 16, or
    /// there are fewer.
    pub(crate) fn new(guard: G, prefix: usize) -> Result<Self, G> {
        if prefix.is_multiple_of(16) && prefix <= guard.bytes().len() {
            Ok(Self { guard, prefix })
        } else {
            Err(guard)
        }
    }
}

// SAFETY: the other guard's bytes stay as and where they are, and there are `prefix` of them at least;
// `prefix` is a multiple of 16, to which they are aligned.
unsafe impl<G: StableBytes> StableBytes for Suffix<G> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.guard.bytes()[self.prefix..]
    }
}

/// A guard over several such byte strings.
///
/// # Safety
///
/// As for [`StableBytes`], for each index below `count`, which changes by `keep` alone.
pub(crate) unsafe trait StableBatch {
    /// How many there are.
    fn count(&self) -> usize;
    /// The bytes at an index; panics if there are none.
    fn bytes(&self, index: usize) -> &[u8];
    /// Lets go of all but the first `count`, one at least.
    fn keep(&mut self, count: usize);
}

/// A guard over [`WriteBuf`] for one archive.
///
/// # Safety
///
/// As long as the guard lives, moved or not, `room` returns the same address and length.
pub(crate) unsafe trait WriteTarget {
    /// The room.
    fn room(&mut self) -> WriteBuf<'_>;
}

/// Room for one archive: 16-aligned bytes that nobody else writes or reads as long as this value
/// lives. Their content is left over from earlier packets.
#[derive(Debug)]
pub(crate) struct WriteBuf<'a> {
    start: NonNull<u8>,
    len: usize,
    claim: PhantomData<&'a mut [u8]>,
}

impl<'a> WriteBuf<'a> {
    /// # Safety
    ///
    /// `[start, start + len)` is 16-aligned, valid for reads and writes, initialized, and for
    /// `'a` accessed through this value alone.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        debug_assert!(start.as_ptr().addr().is_multiple_of(16));
        Self { start, len, claim: PhantomData }
    }

    /// The first `prefix` bytes, a multiple of 16, and room for an archive behind them.
    ///
    /// # Panics
    ///
    /// If there are not so many, or they would misalign the archive.
    #[inline]
    pub(crate) fn split_front(self, prefix: usize) -> (&'a mut [u8], WriteBuf<'a>) {
        assert!(prefix <= self.len && prefix.is_multiple_of(16), "a prefix that does not fit");
        // SAFETY: the bytes are valid for reads and writes, initialized, and for `'a` accessed
        // through this value alone, which ends here; the two parts do not overlap.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), prefix) };
        // SAFETY: as above; 16-aligned, because `prefix` is a multiple of 16.
        let rest = unsafe { WriteBuf::new(self.start.add(prefix), self.len - prefix) };
        (bytes, rest)
    }

    /// The first byte.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The number of bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[repr(align(16))]
    struct Aligned([u8; 48]);

    fn room(bytes: &mut Aligned) -> WriteBuf<'_> {
        let start = NonNull::from(&mut bytes.0).cast();
        // SAFETY: aligned, initialized, and borrowed for as long as the room.
        unsafe { WriteBuf::new(start, 48) }
    }

    #[test]
    fn a_front_and_the_room_behind_it_are_apart() {
        let mut bytes = Aligned([0; 48]);
        for prefix in [0, 16, 48] {
            let whole = room(&mut bytes);
            let start = whole.start();
            let (head, rest) = whole.split_front(prefix);
            head.fill(7);
            assert_eq!((head.len(), rest.len()), (prefix, 48 - prefix));
            assert_eq!(rest.start().addr().get(), start.addr().get() + prefix);
        }
        assert_eq!(bytes.0, [7; 48]);
    }

    #[test]
    #[should_panic = "a prefix that does not fit"]
    fn a_front_that_is_longer_is_refused() {
        room(&mut Aligned([0; 48])).split_front(64);
    }

    #[test]
    #[should_panic = "a prefix that does not fit"]
    fn a_front_that_misaligns_is_refused() {
        room(&mut Aligned([0; 48])).split_front(8);
    }
}
