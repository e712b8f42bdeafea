//! `record` and `replay`.

mod format;
pub(crate) mod record;
pub(crate) mod replay;
mod rotation;
