//! `report FILE... --to page.html`: a recording as one page with plots, or as JSON.

mod bins;
mod chart;
mod figures;
mod page;
mod summary;

use super::files::{self, ReadProgress, RecordingFile};
use super::format::{End, MAGIC};
use crate::output::{Failure, Outcome, Output, YELLOW};
use crate::text;
use clap::Args;
use figures::Figures;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use summary::Report;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The files; they are read in the order of their first packets
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Writes this page, which replaces an earlier one. With --json it may be left out
    #[arg(long, value_name = "PAGE")]
    to: Option<PathBuf>,
    /// Replaces also a file that no `report` wrote
    #[arg(long, requires = "to")]
    force: bool,
}

/// Reads the files and writes the page.
pub(crate) fn run(args: &ReportArgs, output: &mut Output) -> Result<Outcome, Failure> {
    if args.to.is_none() && !output.is_json {
        return Err(Failure::Usage(
            "no page to write: give --to page.html, or --json for the figures alone".to_owned(),
        ));
    }
    if let Some(page) = &args.to {
        refuse_own_file(page, &args.files)?;
        if !args.force {
            refuse_other_file(page)?;
        }
    }
    let sources = RecordingFile::open_all(&args.files)?;
    let files = sources.iter().map(|source| source.path.to_owned()).collect();
    let mut progress = ReadProgress::of("reading", &args.files, output);
    let (mut figures, mut cut, mut damaged) = (Figures::default(), Vec::new(), Vec::new());
    for source in sources {
        figures.begin_file();
        let path = source.path.to_owned();
        let end = source.read(&mut progress, |entry| {
            figures.add(entry);
            Ok(())
        })?;
        match end {
            End::Whole => {}
            End::Cut(at) => cut.push((path, at)),
            End::Damaged { at, unread } => damaged.push((path, at, unread)),
        }
    }
    drop(progress);
    let mut report = Report::of(figures, files);
    (report.cut, report.damaged) = (cut, damaged);
    if let Some(page) = &args.to {
        std::fs::write(page, page::page(&report)).map_err(|error| {
            Failure::failed(format_args!("{page:?} not written: {error}; choose another file"))
        })?;
    }
    print(&report, args.to.as_deref(), output)?;
    match files::damage(&report.damaged) {
        Some(damage) => Err(damage),
        None => Ok(Outcome::Done),
    }
}

fn print(report: &Report, page: Option<&Path>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json {
        // One object a line: of a damaged recording the error is the only one.
        return if report.damaged.is_empty() { output.json(report) } else { Ok(()) };
    }
    for (path, at) in &report.cut {
        let cut = files::cut(path, *at);
        let cut = output.paint(YELLOW, text::plain(&cut));
        writeln!(output, "-- {cut}")?;
    }
    let page = page.map(|page| page.display().to_string()).unwrap_or_default();
    let packets = text::count(report.packets as usize, "packet");
    let rings = text::count(report.rings.len(), "ring");
    writeln!(output, "{packets} of {rings} in {}", text::plain(&page))?;
    Ok(())
}

/// Fails if the page would replace a file that it is made of.
fn refuse_own_file(page: &Path, files: &[PathBuf]) -> Result<(), Failure> {
    let Ok(target) = page.canonicalize() else { return Ok(()) };
    if files.iter().any(|file| file.canonicalize().is_ok_and(|file| file == target)) {
        return Err(Failure::failed(format_args!(
            "{page:?} is one of the recordings to read; choose another file for the page"
        )));
    }
    Ok(())
}

/// Fails if the page would replace a file that is no earlier page: a recording, for example, if the
/// arguments are mixed up.
fn refuse_other_file(page: &Path) -> Result<(), Failure> {
    // A device or a pipe keeps nothing, and opening one may wait.
    if !page.metadata().is_ok_and(|file| file.is_file()) {
        return Ok(());
    }
    let mut start = Vec::new();
    let read =
        File::open(page).and_then(|file| file.take(page::HEAD_BYTES).read_to_end(&mut start));
    let refused = match read {
        Ok(_) if start.is_empty() || page::is_page(&start) => return Ok(()),
        Ok(_) if start.starts_with(MAGIC) => "is a recording".to_owned(),
        Ok(_) => "is no page of an earlier report".to_owned(),
        Err(error) => format!("cannot be read ({error})"),
    };
    Err(Failure::failed(format_args!(
        "{page:?} {refused}, and the page would replace it; choose another file, or replace it with \
         --force"
    )))
}
