//! Why a value could not become a packet, or a packet a value.
//!
//! Errors of sending and receiving live with those operations; they carry these.

use std::{error::Error, fmt};

use super::explanation::Explanation;

/// A value that cannot be written as a packet.
#[derive(Debug)]
pub struct Unserializable(Reason);

#[derive(Debug)]
enum Reason {
    Changed { measured: usize },
    Refused(Explanation),
    Unreadable(String),
}

impl Unserializable {
    /// The value's archive did not come out at the size it was measured at just before.
    #[cold]
    pub(super) fn changed(measured: usize) -> Self {
        Self(Reason::Changed { measured })
    }

    /// rkyv, a wrapper or the writer refused.
    #[cold]
    pub(super) fn refused(cause: Explanation) -> Self {
        Self(Reason::Refused(cause))
    }

    /// No reader would accept the archive.
    #[cold]
    pub(super) fn unreadable(explanation: String) -> Self {
        Self(Reason::Unreadable(explanation))
    }
}

impl fmt::Display for Unserializable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Changed { measured } => write!(
                f,
                "the value changed while it was being sent: it was measured at {measured} bytes and \
                 then took another number"
            ),
            Reason::Refused(cause) => write!(f, "the value cannot be written: {cause}"),
            Reason::Unreadable(explanation) => {
                write!(f, "no reader would accept the value: {explanation}")
            }
        }
    }
}

impl Error for Unserializable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Reason::Refused(cause) => cause.source(),
            Reason::Changed { .. } | Reason::Unreadable(_) => None,
        }
    }
}

/// Bytes that are not a packet of the type; ask for an explanation where there is time for it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// A packet that could not be made into an owned value.
#[derive(Debug)]
pub struct UnpackError(Explanation);

impl UnpackError {
    #[cold]
    pub(super) fn new(cause: Explanation) -> Self {
        Self(cause)
    }
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the packet cannot be made into an owned value: {}", self.0)
    }
}

impl Error for UnpackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
