//! Checks bytes and turns them into a typed reference.
//!
//! Input may be any bytes. The result is a reference whose every safe use is sound, or an error;
//! the check never panics. It takes time proportional to the number of bytes.
//!
//! Limit: a peer that keeps writing after the check can invalidate the result.

use rkyv::{
    Archive, Portable,
    api::{access_with_context, low::LowValidator},
    bytecheck::{CheckBytes, check_bytes_with_context},
    rancor::{Failure, Source, fail},
    validation::{Validator, archive::ArchiveValidator},
};

use super::{
    describe::{Describe, MAX_DEPTH, Shape},
    error::Explanation,
    error::Invalid,
};

/// The alignment of every packet, in bytes.
const ALIGN: usize = 16;

/// Checks bytes on the hot path. The error carries no text.
#[inline]
pub(super) fn validate<T>(bytes: &[u8]) -> Result<&T::Archived, Invalid>
where
    T: Archive<Archived: Describe + for<'a> CheckBytes<LowValidator<'a, Failure>>>,
{
    check_archive::<T::Archived, Failure>(bytes).map_err(|Failure| Invalid)
}

/// Checks bytes again and returns the reason why they are invalid, as text.
#[cold]
pub(super) fn explain<T>(bytes: &[u8]) -> String
where
    T: Archive<Archived: Describe + for<'a> CheckBytes<LowValidator<'a, Explanation>>>,
{
    match check_archive::<T::Archived, Explanation>(bytes) {
        Ok(_) => String::from("the packet changed between two checks: its bytes are valid now"),
        Err(error) => error.to_string(),
    }
}

#[inline]
fn check_archive<A, E>(bytes: &[u8]) -> Result<&A, E>
where
    A: Portable + Describe + for<'a> CheckBytes<LowValidator<'a, E>>,
    E: Source,
{
    // No bytes need no place: a copy of them may lie anywhere.
    let bytes = if A::SHAPE.size == 0 && bytes.is_empty() { NOWHERE } else { bytes };
    if !is_placed(bytes, A::SHAPE) {
        let address = bytes.as_ptr().addr();
        fail!(InvalidPlacement { address, len: bytes.len(), root: A::SHAPE.size });
    }
    let validator = ArchiveValidator::with_max_depth(bytes, Some(MAX_DEPTH));
    let mut validator = Validator::new(validator, ());
    if A::SHAPE.flat {
        // A flat archive is its root alone, so the root starts at the first byte.
        let root = bytes.as_ptr().cast::<A>();
        // SAFETY: `is_placed` returned true: there are exactly `size_of::<A>()` bytes, and they are
        // aligned to 16, which is enough for every archived type (`Shape` asserts it).
        unsafe { check_bytes_with_context::<A, _, E>(root, &mut validator) }?;
        // SAFETY: The pointer is valid as above, and the check found a valid `A`. The reference
        // borrows `bytes`.
        return Ok(unsafe { &*root });
    }
    let archived = access_with_context::<A, _, E>(bytes, &mut validator)?;
    if A::SHAPE.audited && !archived.audit(bytes) {
        fail!(InvalidTree);
    }
    Ok(archived)
}

/// Returns true if the length and the alignment of the bytes fit an archive of this shape.
#[inline]
fn is_placed(bytes: &[u8], shape: &Shape) -> bool {
    let fits = if shape.flat { bytes.len() == shape.size } else { bytes.len() >= shape.size };
    fits && bytes.as_ptr().addr().is_multiple_of(ALIGN)
}

/// No bytes, aligned like every packet.
const NOWHERE: &[u8] = {
    #[repr(align(16))]
    struct Aligned([u8; 0]);
    const { assert!(align_of::<Aligned>() == ALIGN) };
    &Aligned([]).0
};

/// The length or the alignment of the bytes does not fit the type.
#[derive(Debug)]
struct InvalidPlacement {
    address: usize,
    len: usize,
    root: usize,
}

impl std::fmt::Display for InvalidPlacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, len, root } = self;
        write!(
            f,
            "invalid packet: {len} bytes at {address:#x}, expected a root of {root} bytes, aligned to {ALIGN}"
        )
    }
}

impl std::error::Error for InvalidPlacement {}

/// A B-tree that rkyv accepts but cannot iterate soundly.
#[derive(Debug)]
struct InvalidTree;

impl std::fmt::Display for InvalidTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "invalid B-tree: an empty leaf, an inner node without a first child, or a node outside the packet",
        )
    }
}

impl std::error::Error for InvalidTree {}
