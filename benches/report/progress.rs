//! Progress on one line of the terminal. Prints nothing if standard error is not a terminal.

use std::io::{IsTerminal, stderr};

/// Counts the steps.
pub(crate) struct Progress {
    done: usize,
    all: usize,
    is_shown: bool,
}

impl Progress {
    pub(crate) fn new(all: usize) -> Self {
        Self { done: 0, all, is_shown: stderr().is_terminal() }
    }

    /// Shows the name of the next step.
    pub(crate) fn step(&mut self, name: &str) {
        self.done += 1;
        if self.is_shown {
            // Overwrites the previous line and clears the rest of it.
            eprint!("\r{:>4} of {}  {name}\x1b[K", self.done, self.all);
        }
    }

    /// Clears the line.
    pub(crate) fn finish(&mut self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}
