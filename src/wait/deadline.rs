//! Timeouts, deadlines, and the loop that every blocking call runs.

use std::time::{Duration, Instant};

/// How long an operation may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    /// It does not wait (`try_` calls).
    Zero,
    /// It waits for this long.
    After(Duration),
    /// It waits until it succeeds.
    Never,
}

impl Timeout {
    /// The deadline of an operation that starts now. Reads the clock: call it after the first try.
    pub(crate) fn deadline(self) -> Deadline {
        match self {
            Self::Zero => Deadline::after(Duration::ZERO),
            Self::After(timeout) => Deadline::after(timeout),
            Self::Never => Deadline::NEVER,
        }
    }

    /// The time that is left for the rest of an operation with this deadline.
    pub(crate) fn left(self, deadline: Deadline) -> Self {
        match self {
            Self::After(timeout) => Self::After(deadline.cut(timeout)),
            Self::Zero | Self::Never => self,
        }
    }
}

/// The instant at which an operation gives up, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// A deadline that never passes.
    pub(crate) const NEVER: Self = Self(None);

    /// A deadline `timeout` from now; [`NEVER`](Self::NEVER) if the clock cannot represent it.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Returns true if the deadline has passed.
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// `bound`, or the time left until the deadline if that is shorter.
    pub(crate) fn cut(self, bound: Duration) -> Duration {
        self.0.map_or(bound, |at| at.saturating_duration_since(Instant::now()).min(bound))
    }
}

/// Calls `look` until it returns a value or the deadline passes, with a bounded `pause` between two
/// calls. Returns `None` after the deadline. `look` runs once more after the last pause.
pub(crate) fn wait_until<S: ?Sized, T>(
    state: &mut S,
    deadline: Deadline,
    mut look: impl FnMut(&mut S) -> Option<T>,
    mut pause: impl FnMut(&mut S, Deadline),
) -> Option<T> {
    loop {
        if let Some(found) = look(state) {
            return Some(found);
        }
        if deadline.has_passed() {
            return None;
        }
        pause(state, deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, wait_until};
    use std::time::Duration;

    #[test]
    fn wait_until_looks_after_the_last_pause() {
        let mut pauses = 0;
        let found = wait_until(
            &mut pauses,
            Deadline::after(Duration::ZERO),
            |_| None::<()>,
            |pauses, _| *pauses += 1,
        );
        assert_eq!((found, pauses), (None, 0));
        let found = wait_until(
            &mut pauses,
            Deadline::NEVER,
            |pauses| (*pauses == 3).then_some(*pauses),
            |pauses, _| *pauses += 1,
        );
        assert_eq!(found, Some(3));
    }
}
