//! From a value to the bytes of its archive, straight into their final place.
//!
//! Two passes: the first counts, the second writes exactly as much. Types without pointers have a
//! constant size and are written in one. Every byte of the archive is written, padding as zeros, so that
//! nothing of an older packet shows.

use std::ptr::NonNull;

use rkyv::{
    Archive, Place, Serialize,
    rancor::{Fallible, Strategy, fail},
    ser::{Positional, Serializer, Writer, WriterExt},
};

use super::{
    Unserializable,
    describe::Describe,
    explanation::Explanation,
    scratch::Scratch,
    writer::{Counter, Counting, MAX_LEN, NoRoom, Nothing, Resolving, SlotWriter, Writing},
};

type E = Explanation;

/// The length of the archive of a value with pointers.
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

/// Where an archive with its root at this position ends.
#[inline]
fn end_of_root<T: Archive>(root: usize) -> Result<usize, E> {
    let len = root + size_of::<T::Archived>();
    if len > MAX_LEN { fail!(NoRoom::beyond(MAX_LEN)) } else { Ok(len) }
}

/// Writes the archive of a value with pointers.
///
/// # Safety
///
/// `out` is aligned to 16 and valid for writes of `len` bytes, which nobody else accesses.
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
    // SAFETY: The caller's promise.
    let writer = unsafe { SlotWriter::new(out, len) };
    let mut serializer = Serializer::new(writer, scratch.acquire(), ());
    let parts = write_parts(value, Strategy::<_, E>::wrap(&mut serializer));
    let (root, resolver) = parts.map_err(Unserializable::refused)?;
    if root + size_of::<T::Archived>() != len {
        return Err(Unserializable::changed(len));
    }
    // SAFETY: `root` is aligned for the root relative to `out`, which is aligned for every archived type,
    // and `len - root` is exactly the root's size.
    unsafe { resolve(value, resolver, root, out.add(root).cast()) };
    Ok(())
}

/// Whether the archive of a value without pointers is a copy of it.
pub(super) const fn is_copied<T: Archive>() -> bool {
    T::COPY_OPTIMIZATION.is_enabled() && size_of::<T>() == size_of::<T::Archived>()
}

/// Writes the archive of a value without pointers: the root alone.
///
/// # Safety
///
/// `out` is aligned to 16 and valid for writes of the root's size, which nobody else accesses.
#[inline]
pub(super) unsafe fn write_flat<T>(value: &T, out: NonNull<u8>) -> Result<(), Unserializable>
where
    T: Serialize<Resolving<E>, Archived: Describe>,
{
    if const { is_copied::<T>() } {
        // SAFETY: With the copy optimization a value's bytes are its archive's, all of them initialized.
        // `out` is valid for as many, and nobody else accesses them, so they do not overlap `value`.
        unsafe { out.cast::<T>().copy_from_nonoverlapping(NonNull::from_ref(value), 1) };
        return Ok(());
    }
    let resolver =
        value.serialize(Strategy::wrap(&mut Nothing)).map_err(Unserializable::refused)?;
    // SAFETY: The caller's promise; 16 is enough for every archived type.
    unsafe { resolve(value, resolver, 0, out.cast()) };
    Ok(())
}

/// Writes everything that the root points at, and pads to where the root goes.
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
/// `out` is aligned for it, valid for writes of it, and nobody else accesses it.
#[inline]
unsafe fn resolve<T>(value: &T, resolver: T::Resolver, pos: usize, out: NonNull<T::Archived>)
where
    T: Archive<Archived: Describe>,
{
    if T::Archived::SHAPE.padded {
        // SAFETY: `out` is valid for writes.
        unsafe { out.write_bytes(0, 1) };
    }
    // SAFETY: `out` is aligned and valid. Its bytes are initialized: by the zeros, or, where each of them
    // is about to be written, by whatever the memory held.
    value.resolve(resolver, unsafe { Place::new_unchecked(pos, out.as_ptr()) });
}
