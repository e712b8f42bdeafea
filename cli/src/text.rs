//! Texts for people: sizes, ages, tables, and names without control characters.

use crate::output::{BOLD, Output};
use anstyle::Style;
use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

/// A number of bytes, as in `2.1 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let digits = usize::from(value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A time, as in `3 h` or `12 min`.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A length of time, as in `1.2 µs`, `12.3 s` or `2 h 3 min`.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        small if small < 1e-6 => format!("{:.0} ns", small * 1e9),
        small if small < 1e-3 => format!("{:.1} µs", small * 1e6),
        small if small < 1.0 => format!("{:.1} ms", small * 1e3),
        middle if middle < 120.0 => format!("{middle:.1} s"),
        long if long < 7200.0 => format!("{:.0} min {:.0} s", (long / 60.0).floor(), long % 60.0),
        long => format!("{:.0} h {:.0} min", (long / 3600.0).floor(), long % 3600.0 / 60.0),
    }
}

/// `1 object`, `2 objects`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

/// A text without control characters, which could change the terminal.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let escape = |c: char| match c.is_control() {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        };
        return text.chars().map(escape).collect::<String>().into();
    }
    text.into()
}

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// At the left.
    Left,
    /// At the right, for numbers.
    Right,
}

/// Rows of texts below headings.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

/// A text of a table, with its style.
#[derive(Debug)]
pub(crate) struct Cell(String, Style);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text.into(), Style::new())
    }
}

impl Cell {
    /// A text in a style.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self(text.into(), style)
    }
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: impl Into<Vec<(&'static str, Align)>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: impl Into<Vec<Cell>>) {
        self.rows.push(row.into());
    }

    /// Prints the table. The last column is not padded.
    pub(crate) fn print(&self, output: &mut Output) -> io::Result<()> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.0.chars().count()).max();
            widest.unwrap_or(0).max(self.columns[column].0.len())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let headings = self.columns.iter().map(|(heading, _)| (*heading, BOLD));
        self.line(output, &widths, headings)?;
        for row in &self.rows {
            self.line(output, &widths, row.iter().map(|cell| (cell.0.as_str(), cell.1)))?;
        }
        Ok(())
    }

    fn line<'a>(
        &self,
        output: &mut Output,
        widths: &[usize],
        cells: impl Iterator<Item = (&'a str, Style)>,
    ) -> io::Result<()> {
        let mut line = String::new();
        for (index, (text, style)) in cells.enumerate() {
            let padding = " ".repeat(widths[index].saturating_sub(text.chars().count()));
            let painted = output.paint(style, text);
            match self.columns[index].1 {
                Align::Right => line += &format!("{padding}{painted}  "),
                Align::Left if index + 1 == self.columns.len() => line += &painted.to_string(),
                Align::Left => line += &format!("{painted}{padding}  "),
            }
        }
        writeln!(output, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_have_two_or_three_digits() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (102_400, "100 KiB"),
            (1_048_570, "1.0 MiB"),
            (2_174_976, "2.1 MiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (seconds, text) in [(119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        for (seconds, text) in
            [(2e-7, "200 ns"), (0.0123, "12.3 ms"), (90.0, "90.0 s"), (7380.0, "2 h 3 min")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(plain("a\x1b[2Jb\u{9b}"), "a\\u{1b}[2Jb\\u{9b}");
        assert_eq!(plain("prïces"), "prïces");
    }
}
