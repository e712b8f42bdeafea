//! Bytes of a segment, as the packet layer gets them: some to read in place, some to fill.

use std::marker::PhantomData;
use std::ptr::NonNull;

/// A guard over bytes that stay as they are and where they are.
///
/// # Safety
///
/// As long as the guard lives, moved or not, `bytes` returns the same address and length, and
/// nobody who keeps the protocol changes them. They are 16-aligned.
pub(crate) unsafe trait Steady {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

/// A guard over several such byte strings.
///
/// # Safety
///
/// As for [`Steady`], for each index below `count`, which changes by `keep` alone.
pub(crate) unsafe trait SteadyMany {
    /// How many there are.
    fn count(&self) -> usize;
    /// The bytes at an index; panics if there are none.
    fn bytes(&self, index: usize) -> &[u8];
    /// Lets go of all but the first `count`, one at least.
    fn keep(&mut self, count: usize);
}

/// A guard over [`Room`] for one archive.
///
/// # Safety
///
/// As long as the guard lives, moved or not, `room` returns the same address and length.
pub(crate) unsafe trait Roomy {
    /// The room.
    fn room(&mut self) -> Room<'_>;
}

/// Room for one archive: 16-aligned bytes that nobody else writes or reads as long as this value
/// lives. Their content is left over from earlier packets.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    start: NonNull<u8>,
    len: usize,
    claim: PhantomData<&'a mut [u8]>,
}

impl<'a> Room<'a> {
    /// # Safety
    ///
    /// `[start, start + len)` is 16-aligned, valid for reads and writes, initialized, and for
    /// `'a` accessed through this value alone.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        debug_assert!(start.as_ptr().addr().is_multiple_of(16));
        Self { start, len, claim: PhantomData }
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
