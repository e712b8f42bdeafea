//! What is under way, on one line of a terminal. Nothing if standard error is none.

use std::io::{IsTerminal, stderr};

/// How far it is.
pub(crate) struct Progress {
    done: usize,
    all: usize,
    is_shown: bool,
}

impl Progress {
    pub(crate) fn new(all: usize) -> Self {
        Self { done: 0, all, is_shown: stderr().is_terminal() }
    }

    /// This comes next.
    pub(crate) fn step(&mut self, name: &str) {
        self.done += 1;
        if self.is_shown {
            // Over the line before, and to the end of it.
            eprint!("\r{:>4} of {}  {name}\x1b[K", self.done, self.all);
        }
    }

    /// That was all.
    pub(crate) fn finish(&mut self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}
