//! Typed guards: over the bytes of a received packet, and over space that is being filled.
//!
//! Another layer owns the bytes through a guard of its own. The guards here check the bytes once,
//! and from then on give access to them by type.

mod uninit;
mod validated;

pub(crate) use self::{
    uninit::{Uninit, UninitTail, tail_len_or_most},
    validated::{CopiedBytes, Validated, ValidatedBatch},
};
