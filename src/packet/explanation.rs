//! Why rkyv refused: the cause, and what was on the way to it, such as the field and the type.
//!
//! rkyv's own errors drop the way when they are shown. Making one allocates; carrying one is a pointer.

use std::{error::Error, fmt};

use rkyv::rancor::{Source, Trace};

/// An error of rkyv's, in full.
pub(super) struct Explanation(Box<Told>);

struct Told {
    cause: Box<dyn Error + Send + Sync>,
    way: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { cause, way } = &*self.0;
        write!(f, "{cause}")?;
        way.iter().try_for_each(|step| write!(f, ", {step}"))
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
        self.0.way.push(trace.to_string());
        self
    }
}

impl Source for Explanation {
    #[cold]
    fn new<T: Error + Send + Sync + 'static>(source: T) -> Self {
        Self(Box::new(Told { cause: Box::new(source), way: Vec::new() }))
    }
}
