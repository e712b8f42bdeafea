//! What became of a call.

/// A call in flight: a number. Dropping it cancels nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call(pub(crate) u64);
