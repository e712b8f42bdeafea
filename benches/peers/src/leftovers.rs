//! A directory for each case, and the removal of files that peers left behind.
//!
//! Names of objects in `/dev/shm` contain the tag of the case, and other files are in its
//! directory. The tag contains the id of this process. So the next run can remove the files of a
//! killed run without touching the files of a live one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};

const SHARED: &str = "/dev/shm";
const TAG: &str = "prpeer";
const DIRECTORY: &str = "packetring-peers.";

/// Directory of a case. Drop removes it with its content.
pub(crate) struct Directory {
    path: PathBuf,
    tag: String,
}

impl Directory {
    pub(crate) fn new() -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{DIRECTORY}{}.{number}", id()));
        fs::create_dir(&path)?;
        Ok(Self { path, tag: format!("{TAG}{}n{number}x", id()) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Part of the name of every object that the case creates elsewhere.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the objects in `/dev/shm` whose names contain this tag.
pub(crate) fn remove_shared(tag: &str) {
    entries(SHARED).filter(|(name, _)| name.contains(tag)).for_each(|(_, path)| remove(&path));
}

/// Removes the files of killed runs.
pub(crate) fn remove_of_the_dead() {
    for directory in [PathBuf::from(SHARED), std::env::temp_dir()] {
        entries(&directory)
            .filter(|(name, _)| owner(name).is_some_and(|owner| !is_alive(owner)))
            .for_each(|(_, path)| remove(&path));
    }
}

fn entries(directory: impl AsRef<Path>) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// The id of the process whose run created a file, parsed from its name.
fn owner(name: &str) -> Option<u32> {
    let (_, rest) = name.split_once(TAG).or_else(|| name.split_once(DIRECTORY))?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

fn remove(path: &Path) {
    // It fails if the file is gone already, or belongs to another user.
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_they_are() {
        assert_eq!(owner("packetring.prpeer123n4xthere"), Some(123));
        assert_eq!(owner("packetring-peers.77.1"), Some(77));
        assert_eq!(owner("packetring.prices"), None);
        assert_eq!(owner("somebody-else"), None);
    }

    #[test]
    fn a_case_leaves_nothing() {
        let directory = Directory::new().unwrap();
        let path = directory.path().to_owned();
        let shared = format!("{SHARED}/left.{}there", directory.tag());
        fs::write(path.join("socket"), "").unwrap();
        fs::create_dir(&shared).unwrap();
        fs::write(format!("{shared}/log"), "").unwrap();
        remove_shared(directory.tag());
        drop(directory);
        assert!(!path.exists() && !Path::new(&shared).exists());
    }
}
