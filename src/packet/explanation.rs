//! An rkyv error with its context: the cause, then the path to it (fields and types).
//!
//! rkyv's own errors omit the context in their text. Creating an `Explanation` allocates; it is one
//! pointer wide.

use std::{error::Error, fmt};

use rkyv::rancor::{Source, Trace};

/// An rkyv error with its full context.
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
