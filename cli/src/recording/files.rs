//! Reads the files of a recording, entry by entry, for `replay` and `report`.

use super::format::{End, Entries, Entry, Reader};
use crate::output::{Failure, Output};
use crate::progress::Progress;
use crate::text;
use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// A file, with its first blocks.
pub(super) struct RecordingFile<'a> {
    pub(super) path: &'a Path,
    reader: Reader<BufReader<File>>,
    /// The blocks up to the first one with a time. The first of all has the rings.
    first: VecDeque<Result<Vec<u8>, End>>,
    /// The first time in the file.
    started: Option<u64>,
}

impl<'a> RecordingFile<'a> {
    /// Opens all files, and puts them in the order of their first times: the order of names, as in
    /// `day.rec.10 day.rec.2`, is another one.
    pub(super) fn open_all(paths: &'a [PathBuf]) -> Result<Vec<Self>, Failure> {
        let files =
            paths.iter().map(|path| Self::open(path).map_err(|error| unreadable(path, &error)));
        let mut files = files.collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(|file| file.started);
        Ok(files)
    }

    fn open(path: &'a Path) -> std::io::Result<Self> {
        let mut reader = Reader::new(BufReader::new(File::open(path)?))?;
        let (mut first, mut started) = (VecDeque::new(), None);
        while started.is_none() {
            let block = reader.next_block()?;
            let is_end = block.is_err();
            let entries = block.as_ref().ok().map(|payload| Entries::of(payload));
            started = entries.into_iter().flatten().flatten().find_map(|entry| entry.time());
            first.push_back(block);
            if is_end {
                break;
            }
        }
        Ok(Self { path, reader, first, started })
    }

    /// The names of the rings, and their kinds.
    pub(super) fn streams(&self) -> Vec<(String, String)> {
        let Some(Ok(payload)) = self.first.front() else { return Vec::new() };
        let stream = |entry: Option<Entry<'_>>| match entry {
            Some(Entry::Stream { name, kind, .. }) => Some((name.to_owned(), kind.to_owned())),
            _ => None,
        };
        Entries::of(payload).filter_map(stream).collect()
    }

    /// Calls `each` with all entries, and returns how the file ends.
    pub(super) fn read(
        self,
        progress: &mut ReadProgress,
        mut each: impl FnMut(&Entry<'_>) -> Result<(), Failure>,
    ) -> Result<End, Failure> {
        let Self { path, mut reader, mut first, .. } = self;
        loop {
            let block = match first.pop_front() {
                Some(block) => block,
                None => reader.next_block().map_err(|error| unreadable(path, &error))?,
            };
            let payload = match block {
                Ok(payload) => payload,
                Err(end) => return Ok(end),
            };
            for entry in Entries::of(&payload) {
                let Some(entry) = entry else {
                    return Err(Failure::failed(format_args!(
                        "{path:?} has an entry that is not valid: a later version of this command \
                         may have written it; use that version"
                    )));
                };
                each(&entry)?;
                progress.show();
            }
            progress.read += 8 + payload.len() as u64;
        }
    }
}

/// How much of the files was read.
pub(super) struct ReadProgress {
    progress: Progress,
    /// Bytes of the blocks that were read.
    read: u64,
    total: u64,
}

impl ReadProgress {
    /// Nothing was read of the files so far.
    pub(super) fn of(command: &'static str, files: &[PathBuf], output: &Output) -> Self {
        let sizes = files.iter().filter_map(|path| path.metadata().ok());
        let total = sizes.map(|file| file.len()).sum();
        Self { progress: Progress::new(command, Some(total), output), read: 0, total }
    }

    /// See [`Progress::unless_printing`].
    pub(super) fn unless_printing(self) -> Self {
        Self { progress: self.progress.unless_printing(), ..self }
    }

    fn show(&mut self) {
        let Self { read, total, .. } = *self;
        self.progress.show(read, || format!("{} of {}", text::bytes(read), text::bytes(total)));
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format_args!("{path:?} not read: {error}; choose another file"))
}

/// The error of files with a damaged block: its position, and the bytes from there on. `None` if
/// there are no such files.
pub(super) fn damage(files: &[(PathBuf, u64, u64)]) -> Option<Failure> {
    if files.is_empty() {
        return None;
    }
    let files = files.iter().map(|(path, at, unread)| {
        format!("{path:?} is damaged at byte {at}: the {unread} bytes from there on were not read")
    });
    let files = files.collect::<Vec<_>>().join("; ");
    Some(Failure::failed(format_args!("{files}; take a copy of the file, if any")))
}

/// The line about a file whose last block, at this byte, is not whole.
pub(super) fn cut(path: &Path, at: u64) -> String {
    format!("{}: the block at byte {at} is not whole: the recording ends before it", path.display())
}
