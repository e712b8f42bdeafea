//! From bytes to a typed reference: everything is checked before a reference exists.
//!
//! Any bytes may come in; the answer is a value whose every safe use is sound, or an error, and never a
//! panic. Checking takes time proportional to the bytes. It cannot help against a peer that goes on
//! writing afterwards.

use std::num::NonZeroUsize;

use rkyv::{
    Archive, Portable,
    api::{access_with_context, low::LowValidator},
    bytecheck::{CheckBytes, check_bytes_with_context},
    rancor::{Failure, Source, fail},
    validation::{Validator, archive::ArchiveValidator},
};

use super::{
    describe::{Describe, Shape},
    error::Invalid,
    explanation::Explanation,
};

/// How deep pointers may nest; keeps a check within its stack.
pub(crate) const MAX_DEPTH: NonZeroUsize = match NonZeroUsize::new(64) {
    Some(depth) => depth,
    None => NonZeroUsize::MIN,
};

/// How every packet is aligned.
const ALIGN: usize = 16;

/// Checks bytes on the hot path: no text is made.
#[inline]
pub(super) fn quickly<T>(bytes: &[u8]) -> Result<&T::Archived, Invalid>
where
    T: Archive<Archived: Describe + for<'a> CheckBytes<LowValidator<'a, Failure>>>,
{
    thoroughly::<T::Archived, Failure>(bytes).map_err(|Failure| Invalid)
}

/// Says in full what is wrong with bytes, or that nothing is.
#[cold]
pub(super) fn explanation<T>(bytes: &[u8]) -> String
where
    T: Archive<Archived: Describe + for<'a> CheckBytes<LowValidator<'a, Explanation>>>,
{
    match thoroughly::<T::Archived, Explanation>(bytes) {
        Ok(_) => String::from("the bytes are valid now; they were changed"),
        Err(error) => error.to_string(),
    }
}

#[inline]
fn thoroughly<A, E>(bytes: &[u8]) -> Result<&A, E>
where
    A: Portable + Describe + for<'a> CheckBytes<LowValidator<'a, E>>,
    E: Source,
{
    if !has_place(bytes, A::SHAPE) {
        fail!(Misplaced { address: bytes.as_ptr().addr(), len: bytes.len(), root: A::SHAPE.size });
    }
    let validator = ArchiveValidator::with_max_depth(bytes, Some(MAX_DEPTH));
    let mut validator = Validator::new(validator, ());
    if A::SHAPE.flat {
        // The bytes are the root, which points at nothing: where it lies needs no arithmetic.
        let root = bytes.as_ptr().cast::<A>();
        // SAFETY: They are as many as the root's and aligned for every packet, as was just seen.
        unsafe { check_bytes_with_context::<A, _, E>(root, &mut validator) }?;
        // SAFETY: As above, and they were found to be a value. They are borrowed for as long.
        return Ok(unsafe { &*root });
    }
    let archived = access_with_context::<A, _, E>(bytes, &mut validator)?;
    if A::SHAPE.audited && !archived.audit(bytes) {
        fail!(Unsound);
    }
    Ok(archived)
}

/// Whether the bytes lie and end where an archive of this shape would.
#[inline]
fn has_place(bytes: &[u8], shape: &Shape) -> bool {
    let fits = if shape.flat { bytes.len() == shape.size } else { bytes.len() >= shape.size };
    fits && bytes.as_ptr().addr().is_multiple_of(ALIGN)
}

#[derive(Debug)]
struct Misplaced {
    address: usize,
    len: usize,
    root: usize,
}

impl std::fmt::Display for Misplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, len, root } = self;
        write!(
            f,
            "{len} bytes at {address:#x} cannot hold a root of {root} bytes, aligned to {ALIGN}"
        )
    }
}

impl std::error::Error for Misplaced {}

#[derive(Debug)]
struct Unsound;

impl std::fmt::Display for Unsound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "a B-tree has an empty leaf, an inner node without a first child, or a node outside",
        )
    }
}

impl std::error::Error for Unsound {}
