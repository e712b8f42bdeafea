//! The files `FILE`, `FILE.2`, `FILE.3` and so on of one recording, and those of an earlier one.

use crate::output::Failure;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most files that an error lists.
const MOST_NAMES: usize = 8;

/// Creates a file of a recording.
pub(super) fn create(path: &Path, overwrites: bool) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(!overwrites).create(true).truncate(overwrites);
    options.open(path).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AlreadyExists => "choose another file, or overwrite it with --force",
            _ => "choose another file",
        };
        Failure::failed(format_args!("{path:?} not created: {error}; {advice}"))
    })
}

/// `FILE.2` of `FILE`.
pub(super) fn numbered(file: &Path, number: u64) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(format!(".{number}"));
    name.into()
}

/// The files `FILE.N` of an earlier rotation, which --force is to remove. Without --force an error
/// if there are any: the new recording would meet them, and its files would be mixed with theirs.
pub(super) fn earlier_files(file: &Path, is_forced: bool) -> Result<Vec<PathBuf>, Failure> {
    let mut numbers = match numbers_of(file) {
        Ok(numbers) => numbers,
        // The creation of the file reports the folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(Failure::failed(format_args!(
                "no list of the files beside {:?}: {error}; choose another folder",
                file
            )));
        }
    };
    numbers.sort_unstable();
    let files: Vec<_> = numbers.iter().map(|number| numbered(file, *number)).collect();
    if files.is_empty() || is_forced {
        return Ok(files);
    }
    let mut names: Vec<_> =
        files.iter().take(MOST_NAMES).map(|file| file.display().to_string()).collect();
    if files.len() > names.len() {
        names.push(format!("and {} more", files.len() - names.len()));
    }
    Err(Failure::failed(format_args!(
        "files of an earlier recording are there: {}; choose another file, or remove them with \
         --force",
        names.join(", ")
    )))
}

/// The numbers N of all files `FILE.N` that are there.
fn numbers_of(file: &Path) -> io::Result<Vec<u64>> {
    let Some(name) = file.file_name() else { return Ok(Vec::new()) };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut numbers = Vec::new();
    for entry in folder.unwrap_or(Path::new(".")).read_dir()? {
        let entry = entry?.file_name();
        let rest = entry.as_bytes().strip_prefix(name.as_bytes());
        let digits = rest.and_then(|rest| rest.strip_prefix(b"."));
        let number = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        // Without names such as `FILE.03`, which no rotation makes.
        numbers.extend(number.filter(|number| numbered(Path::new(name), *number) == *entry));
    }
    Ok(numbers)
}
