//! Serializes a value straight into its final place in a slot.
//!
//! There are two passes: the first counts, the second writes exactly that many bytes. Types without
//! pointers have a constant length and need one pass. Every byte of the archive is written, padding
//! as zeros, so that no byte of an older packet remains.

use super::Unserializable;
use super::copying::{CopyChoice, Copying, LARGE};
use super::describe::Describe;
use super::error::Explanation;
use super::writer::{Counter, Counting, MAX_LEN, NoRoom, Resolving, RootOnly, SlotWriter, Writing};
use rkyv::rancor::{Fallible, Strategy, fail};
use rkyv::ser::allocator::{Arena, ArenaHandle};
use rkyv::ser::{Positional, Serializer, Writer, WriterExt};
use rkyv::{Archive, Place, Serialize};
use std::ptr::NonNull;

type E = Explanation;

/// Returns the length in bytes of the archive of a value with pointers.
#[inline]
pub(super) fn measure<T>(value: &T, scratch: &mut Scratch) -> Result<usize, Unserializable>
where
    T: for<'a> Serialize<Counting<'a, E>>,
{
    let mut serializer = Serializer::new(Counter::default(), scratch.acquire(), ());
    let parts = write_parts(value, Strategy::<_, E>::wrap(&mut serializer));
    let (root, _) = parts.map_err(Unserializable::refused)?;
    end_of_root::<T>(root).map_err(Unserializable::refused)
}

/// Returns the length of an archive whose root is at this position.
#[inline]
fn end_of_root<T: Archive>(root: usize) -> Result<usize, E> {
    let len = root + size_of::<T::Archived>();
    if len > MAX_LEN { fail!(NoRoom::beyond(MAX_LEN)) } else { Ok(len) }
}

/// Writes the archive of a value with pointers.
///
/// # Safety
///
/// `out` is aligned to 16 and valid for writes of `len` bytes. Nothing else accesses these bytes
/// during the call.
#[inline]
pub(super) unsafe fn write<T>(
    value: &T,
    out: NonNull<u8>,
    len: usize,
    scratch: &mut Scratch,
) -> Result<(), Unserializable>
where
    T: for<'a> Serialize<Writing<'a, E>, Archived: Describe>,
{
    // SAFETY: The caller's promise about `out` and `len`; `writer` does not outlive this call.
    let writer = unsafe { SlotWriter::new(out, len, scratch.copies.way()) };
    let mut serializer = Serializer::new(writer, scratch.acquire(), ());
    let parts = write_parts(value, Strategy::<_, E>::wrap(&mut serializer));
    let (root, resolver) = parts.map_err(Unserializable::refused)?;
    if root + size_of::<T::Archived>() != len {
        return Err(Unserializable::changed(len));
    }
    // SAFETY: `root` is a multiple of the root's alignment (`write_parts`), and `out` is aligned to
    // 16, which is enough for every archived type. By the check above, `len - root` is the root's
    // size. The caller promised the rest; `writer` is no longer used.
    unsafe { resolve(value, resolver, root, out.add(root).cast()) };
    Ok(())
}

/// Returns true if the archive of a value without pointers is a byte copy of the value.
pub(super) const fn is_copied<T: Archive>() -> bool {
    T::COPY_OPTIMIZATION.is_enabled() && size_of::<T>() == size_of::<T::Archived>()
}

/// Writes the archive of a value without pointers: the root only.
///
/// # Safety
///
/// `out` is aligned to 16 and valid for writes of the root's size. Nothing else accesses these
/// bytes during the call.
#[inline]
pub(super) unsafe fn write_flat<T>(
    value: &T,
    out: NonNull<u8>,
    copying: Copying,
) -> Result<(), Unserializable>
where
    T: Serialize<Resolving<E>, Archived: Describe>,
{
    if const { is_copied::<T>() } {
        // SAFETY: With the copy optimization a value's bytes equal its archive's, and all of them
        // are initialized. `out` is aligned to 16, which is enough for the archived type and so for
        // `T`, and valid for as many bytes. Nothing else accesses these, so they do not overlap
        // `value`.
        // A small copy is one of the type, so that the compiler keeps the value in registers.
        unsafe {
            if const { size_of::<T>() < LARGE } {
                out.cast::<T>().copy_from_nonoverlapping(NonNull::from_ref(value), 1);
            } else {
                copying.copy(NonNull::from_ref(value).cast(), out, size_of::<T>());
            }
        }
        return Ok(());
    }
    let resolver =
        value.serialize(Strategy::wrap(&mut RootOnly)).map_err(Unserializable::refused)?;
    // SAFETY: The caller's promise; an alignment of 16 is enough for every archived type.
    unsafe { resolve(value, resolver, 0, out.cast()) };
    Ok(())
}

/// Writes everything that the root points at, then padding up to the root's alignment.
///
/// Returns the position of the root.
#[inline]
fn write_parts<T, S>(value: &T, serializer: &mut S) -> Result<(usize, T::Resolver), S::Error>
where
    T: Serialize<S>,
    S: Fallible + Writer + Positional + ?Sized,
{
    let resolver = value.serialize(serializer)?;
    Ok((serializer.align_for::<T::Archived>()?, resolver))
}

/// Writes the root.
///
/// # Safety
///
/// `out` is aligned for the root and valid for writes of it. Nothing else accesses these bytes
/// during the call.
#[inline]
unsafe fn resolve<T>(value: &T, resolver: T::Resolver, pos: usize, out: NonNull<T::Archived>)
where
    T: Archive<Archived: Describe>,
{
    if T::Archived::SHAPE.padded {
        // SAFETY: `out` is aligned and valid for writes of one root.
        unsafe { out.write_bytes(0, 1) };
    }
    // SAFETY: `out` is aligned and valid for writes of one root, and nothing else accesses it. Its
    // bytes are initialized: by the zeros above, or by the earlier content of the slot. In the
    // second case `resolve` overwrites all of them, because the shape has no padding.
    value.resolve(resolver, unsafe { Place::new_unchecked(pos, out.as_ptr()) });
}

/// Reusable scratch memory for serialization, and the way to copy large pieces.
#[doc(hidden)]
#[derive(Default)]
pub struct Scratch {
    arena: Option<Arena>,
    pub(crate) copies: CopyChoice,
}

// SAFETY: The arena is private to this module, and every method takes `&mut self`: a shared
// reference gives no access to it.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// Creates scratch memory without allocating. Types without pointers never need any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns empty scratch memory, at least as large as the previous use needed.
    #[inline]
    pub(super) fn acquire(&mut self) -> ArenaHandle<'_> {
        self.arena.get_or_insert_default().acquire()
    }

    #[cfg(test)]
    pub(super) fn capacity(&mut self) -> usize {
        self.arena.as_ref().map_or(0, Arena::capacity)
    }
}
