//! Output: text with colors on a terminal, or JSON; and the errors of the command.

use crate::args::{Args, Color};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// The version of the JSON: raised if the meaning of a member changes.
const JSON_FORMAT: u32 = 1;

/// The outcome of a command that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit status 0.
    Done,
    /// Exit status 1: found something that needs attention.
    Found,
}

/// Why a command ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The reader of the output is gone. No message.
    BrokenPipe,
    /// Exit status 1, with a message that says what to do.
    Failed(String),
    /// Exit status 2.
    Usage(String),
}

impl Failure {
    /// The failure of something that could not be done.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// The message; empty if the reader of the output is gone.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::BrokenPipe => "",
            Self::Failed(message) | Self::Usage(message) => message,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed(format!("output not written: {error}; check where it goes")),
        }
    }
}

impl From<packetring::OpenError> for Failure {
    fn from(error: packetring::OpenError) -> Self {
        match error {
            packetring::OpenError::OtherVersion { .. } => Self::Failed(format!(
                "{error}; to look at it, use the command of the version that made it"
            )),
            error => Self::failed(error),
        }
    }
}

/// The standard output.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    /// Whether to print JSON.
    pub(crate) is_json: bool,
    /// Whether a terminal shows the output.
    pub(crate) is_terminal: bool,
    /// Whether to use colors.
    pub(crate) has_colors: bool,
    command: &'static str,
}

impl Output {
    /// The output of this command.
    pub(crate) fn new(args: &Args, command: &'static str) -> Self {
        let out = io::stdout();
        let has_colors = match args.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never,
        };
        Self {
            is_json: args.json,
            is_terminal: out.is_terminal(),
            has_colors,
            command,
            out: BufWriter::new(out.lock()),
        }
    }

    /// Prints a result as one line of JSON.
    pub(crate) fn json(&mut self, result: &impl Serialize) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Line<'a, R> {
            format: u32,
            command: &'a str,
            result: &'a R,
        }
        let line = Line { format: JSON_FORMAT, command: self.command, result };
        serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Prints the error of the command, and returns its exit status.
    pub(crate) fn fail(&mut self, failure: &Failure) -> u8 {
        let (message, status) = match failure {
            Failure::BrokenPipe => return 0,
            Failure::Failed(message) => (message, 1),
            Failure::Usage(message) => (message, 2),
        };
        if self.is_json {
            json_error(self.command, message, &mut self.out);
        } else {
            let _ = self.out.flush();
            let _ = writeln!(io::stderr(), "packetring {}: {message}", self.command);
        }
        status
    }

    /// A text in a style, if the output has colors.
    pub(crate) fn paint<T: fmt::Display>(&self, style: Style, text: T) -> Painted<T> {
        Painted { text, style: self.has_colors.then_some(style) }
    }
}

/// Prints an error as one line of JSON.
pub(crate) fn json_error(command: &str, message: &str, out: &mut impl Write) {
    let line = serde_json::json!({
        "format": JSON_FORMAT, "command": command, "error": { "message": message },
    });
    // Without a reader, the exit status alone tells.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A text that may have a style.
#[derive(Debug)]
pub(crate) struct Painted<T> {
    text: T,
    style: Option<Style>,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            Some(style) => write!(f, "{style}{}{style:#}", self.text),
            None => self.text.fmt(f),
        }
    }
}

/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// Details.
pub(crate) const DIM: Style = Style::new().dimmed();
/// All is well.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Needs attention.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Is wrong.
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
