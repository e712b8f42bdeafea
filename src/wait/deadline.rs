//! When to give up.

use std::time::{Duration, Instant};

/// A point in time to give up at, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Never.
    pub(crate) const NEVER: Self = Self(None);

    /// After `timeout`; never, if that is beyond what the clock can say.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Whether it has come.
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// `bound`, or what is left until the deadline if that is less.
    pub(crate) fn cut(self, bound: Duration) -> Duration {
        self.0.map_or(bound, |at| at.saturating_duration_since(Instant::now()).min(bound))
    }
}
