//! Bytes of packets for the packet layer: guards over bytes to read in place, and room to fill.

use std::marker::PhantomData;
use std::ptr::NonNull;

/// A guard over bytes that neither move nor change.
///
/// # Safety
///
/// As long as the guard lives, moved or not:
///
/// 1. Bytes that `bytes` returned stay valid at their address.
/// 2. No process that follows the protocol changes them.
/// 3. The address is aligned to 16, unless there are no bytes.
pub(crate) unsafe trait StableBytes {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

/// A guard over the bytes of several packets.
///
/// # Safety
///
/// The conditions of [`StableBytes`] hold for each index below `count`, and each call returns the
/// same address and length. Only `keep` changes `count`.
pub(crate) unsafe trait StableBatch {
    /// Number of packets.
    fn count(&self) -> usize;
    /// The bytes of the packet at an index.
    ///
    /// # Panics
    ///
    /// If there is no such packet.
    fn bytes(&self, index: usize) -> &[u8];
    /// Releases all packets except the first `count`; at least one stays.
    fn keep(&mut self, count: usize);
}

/// A guard over room for one archive.
///
/// # Safety
///
/// As long as the guard lives, moved or not:
///
/// 1. `start` and `len` return the same values.
/// 2. The bytes are aligned to 16, initialized, and valid for reads and writes.
/// 3. The bytes are accessed only by the owner of the guard, through `start`.
pub(crate) unsafe trait WriteTarget {
    /// The first byte to fill.
    fn start(&self) -> NonNull<u8>;

    /// The number of bytes.
    fn len(&self) -> usize;
}

/// Room for one archive. Its content is left over from earlier packets.
///
/// # Invariants
///
/// 1. `[start, start + len)` is aligned to 16, initialized, and valid for reads and writes.
/// 2. For `'a` only this value accesses these bytes.
#[derive(Debug)]
pub(crate) struct WriteBuf<'a> {
    start: NonNull<u8>,
    len: usize,
    claim: PhantomData<&'a mut [u8]>,
}

impl<'a> WriteBuf<'a> {
    /// # Safety
    ///
    /// The invariants hold for `start`, `len` and `'a`.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        debug_assert!(start.as_ptr().addr().is_multiple_of(16));
        Self { start, len, claim: PhantomData }
    }

    /// Splits off the first `prefix` bytes. The rest is room for an archive.
    ///
    /// # Panics
    ///
    /// If `prefix` exceeds the length or is not a multiple of 16.
    #[inline]
    pub(crate) fn split_front(self, prefix: usize) -> (&'a mut [u8], WriteBuf<'a>) {
        assert!(prefix <= self.len && prefix.is_multiple_of(16), "a prefix that does not fit");
        // SAFETY: invariants 1 and 2; this value ends here, and the two parts do not overlap.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), prefix) };
        // SAFETY: as above; aligned, because `prefix` is a multiple of 16.
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
