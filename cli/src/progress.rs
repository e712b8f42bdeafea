//! The progress of a long command: one line on the standard error, if that is a terminal.
//!
//! With `--json`, and on a standard error that is no terminal, nothing is written. The line is
//! removed before the command prints its result or its error.

use crate::extent::{Extent, Goal};
use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::fs::FileType;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// The least time between two updates of the line.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// The line if the end of the work is known.
const BOUNDED: &str = "{prefix} [{bar:30}] {percent:>3} %, {msg}, {elapsed}";
/// The line if it is not.
const OPEN: &str = "{prefix} {spinner} {msg}, {elapsed}";

/// The progress of one command. The line goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` if nothing is shown.
    bar: Option<ProgressBar>,
    started_at: Instant,
    shown_at: Option<Instant>,
    /// The position is the time in milliseconds.
    is_timed: bool,
}

impl Progress {
    /// The progress of a command, as in `recording`, up to the position `total`, if that is known.
    pub(crate) fn new(command: &'static str, total: Option<u64>, output: &Output) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        if output.is_json || is_dumb || !io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let bar = bar.with_prefix(command);
        let template = if total.is_some() { BOUNDED } else { OPEN };
        // The templates are constants, and tests draw both.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
        }
        let mut progress = Self::hidden();
        progress.bar = Some(bar);
        progress
    }

    /// The progress of a command that reads packets until there are enough.
    pub(crate) fn of_extent(command: &'static str, extent: &Extent, output: &Output) -> Self {
        let total = extent.goal();
        let is_timed = matches!(total, Some(Goal::Time(_)));
        let total = total.map(|total| match total {
            Goal::Packets(packets) => packets,
            Goal::Time(span) => span.as_millis().try_into().unwrap_or(u64::MAX),
        });
        let mut progress = Self::new(command, total, output);
        progress.is_timed = is_timed;
        progress
    }

    /// Nothing is shown.
    fn hidden() -> Self {
        Self { bar: None, started_at: Instant::now(), shown_at: None, is_timed: false }
    }

    /// This progress, of a command that prints packets meanwhile: shown only if they go into a
    /// file. Behind a pipe, another program may print on the terminal.
    pub(crate) fn unless_printing(mut self) -> Self {
        let stat = rustix::fs::fstat(io::stdout());
        let is_file = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode).is_file();
        if !stat.is_ok_and(is_file) {
            self.bar = None;
        }
        self
    }

    /// Shows the position and what was done, if it is time.
    pub(crate) fn show(&mut self, position: u64, done: impl FnOnce() -> String) {
        let Some(bar) = &self.bar else { return };
        let now = Instant::now();
        if self.shown_at.is_some_and(|shown_at| now < shown_at + SHOW_EVERY) {
            return;
        }
        bar.set_message(done());
        let elapsed = now.duration_since(self.started_at).as_millis();
        bar.set_position(if self.is_timed { elapsed as u64 } else { position });
        if self.shown_at.is_none() {
            // The time goes on where a command waits.
            bar.enable_steady_tick(2 * SHOW_EVERY);
        }
        self.shown_at = Some(now);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
