//! Errors of converting between values and packets.
//!
//! The errors of sending and receiving are defined beside those operations and carry these.

use std::{error::Error, fmt};

use rkyv::rancor::{Source, Trace};

/// A value could not be written as a packet.
///
/// Causes:
///
/// - rkyv or a [wrapper](crate::with) refused the value, for example a poisoned lock or a time
///   before 1970;
/// - the archive is larger than `i32::MAX` bytes;
/// - a value of a recursive type nests more than 62 pointers, so that no reader would accept it;
/// - the value changed between measuring and writing, for example through a lock or an atomic.
///
/// The text names the cause and the path to it. Nothing was published.
#[derive(Debug)]
pub struct Unserializable(Reason);

#[derive(Debug)]
enum Reason {
    Changed {
        measured: usize,
    },
    Refused(Explanation),
    Unreadable(String),
    #[cfg(feature = "dynamic")]
    Part,
}

impl Unserializable {
    /// The length of the archive differs from the length measured just before.
    #[cold]
    pub(super) fn changed(measured: usize) -> Self {
        Self(Reason::Changed { measured })
    }

    /// rkyv, a wrapper or the writer returned an error.
    #[cold]
    pub(super) fn refused(cause: Explanation) -> Self {
        Self(Reason::Refused(cause))
    }

    /// A value without a Rust type is a part of a packet.
    #[cfg(feature = "dynamic")]
    #[cold]
    pub(crate) fn part() -> Self {
        Self(Reason::Part)
    }

    /// The archive was written, but fails the check that every reader makes.
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
                "value changed while it was sent: measured {measured} bytes, written another number; \
                 do not modify a value during a send"
            ),
            Reason::Refused(cause) => write!(f, "value cannot be serialized: {cause}"),
            Reason::Unreadable(explanation) => {
                write!(f, "value cannot be read back: {explanation}")
            }
            #[cfg(feature = "dynamic")]
            Reason::Part => {
                f.write_str("value is a part of a packet; send the value of the whole packet")
            }
        }
    }
}

impl Error for Unserializable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Reason::Refused(cause) => cause.source(),
            _ => None,
        }
    }
}

/// The bytes are not a valid packet of the type. Carries no text: `Packet::explain` returns the
/// reason.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// A packet could not be converted into an owned value.
///
/// Only [wrappers](crate::with) cause it, for example a corrupted time in a field with
/// [`AsUnixTime`](crate::with::AsUnixTime), and a lack of threads in
/// [`unpack_boxed`](crate::packet::unpack_boxed). The packet itself stays readable in place.
#[derive(Debug)]
pub struct UnpackError(Explanation);

impl UnpackError {
    #[cold]
    pub(super) fn new(cause: Explanation) -> Self {
        Self(cause)
    }

    /// No thread could be started for a large value.
    #[cold]
    pub(super) fn no_thread(error: std::io::Error) -> Self {
        Self(Explanation::new(error))
    }
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet cannot be unpacked: {}", self.0)
    }
}

impl Error for UnpackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// An rkyv error with its context: the cause, then the path to it (fields and types).
///
/// rkyv's own errors omit the context in their text. Creating an `Explanation` allocates; it is one
/// pointer wide.
pub(super) struct Explanation(Box<Details>);

struct Details {
    cause: Box<dyn Error + Send + Sync>,
    /// From the innermost place outwards.
    context: Vec<String>,
}

/// The number of places that the text shows: those around the cause.
const SHOWN: usize = 12;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { cause, context } = &*self.0;
        write!(f, "{cause}")?;
        context.iter().take(SHOWN).try_for_each(|place| write!(f, ", {place}"))?;
        match context.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, ", and {more} more places around these"),
        }
    }
}

impl fmt::Debug for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Explanation({:?})", self.to_string())
    }
}

impl Error for Explanation {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0.cause)
    }
}

impl Trace for Explanation {
    #[cold]
    fn trace<R: fmt::Debug + fmt::Display + Send + Sync + 'static>(mut self, trace: R) -> Self {
        self.0.context.push(trace.to_string());
        self
    }
}

impl Source for Explanation {
    #[cold]
    fn new<T: Error + Send + Sync + 'static>(source: T) -> Self {
        Self(Box::new(Details { cause: Box::new(source), context: Vec::new() }))
    }
}
