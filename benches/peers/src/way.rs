//! One direction between two processes that do not know each other yet: names for what they share,
//! and words that they leave for one another while they open it.
//!
//! Words are files in a directory of the case, written whole or not at all. Nothing here is on a
//! measured path.

use crate::transport::Failure;
use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the other side may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one thread leaves for another of this process.
static LEFT: Mutex<Option<HashMap<String, Box<dyn Any + Send>>>> = Mutex::new(None);

/// One direction of one case.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    directory: PathBuf,
    tag: String,
    direction: &'static str,
}

impl Way {
    /// From the side that measures to the other one.
    pub(crate) fn there(directory: &Path, tag: &str) -> Self {
        Self { directory: directory.into(), tag: tag.into(), direction: "there" }
    }

    /// The way back.
    pub(crate) fn back(directory: &Path, tag: &str) -> Self {
        Self { direction: "back", ..Self::there(directory, tag) }
    }

    /// Neither way: what concerns the whole case.
    #[cfg(feature = "aeron")]
    pub(crate) fn of_case(&self) -> Self {
        Self { direction: "case", ..self.clone() }
    }

    /// Whether this is the way back.
    #[cfg(feature = "aeron")]
    pub(crate) fn is_back(&self) -> bool {
        self.direction == "back"
    }

    /// A name that no other direction, case or run has. What has it in its own is removed
    /// afterwards if it is in `/dev/shm`.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.tag, self.direction)
    }

    /// A path in the case's directory.
    pub(crate) fn path(&self, end: &str) -> PathBuf {
        self.directory.join(format!("{}.{end}", self.direction))
    }

    /// The case's directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves a word.
    pub(crate) fn tell(&self, word: &str, content: &str) -> Result<(), Failure> {
        let unfinished = self.path(&format!("{word}.new"));
        std::fs::write(&unfinished, content)?;
        Ok(std::fs::rename(unfinished, self.path(word))?)
    }

    /// Waits for a word.
    pub(crate) fn learn(&self, word: &str) -> Result<String, Failure> {
        let path = self.path(word);
        self.wait(word, || std::fs::read_to_string(&path).ok())
    }

    /// Leaves something for another thread of this process.
    pub(crate) fn leave<T: Send + 'static>(&self, left: T) {
        let mut all = LEFT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.get_or_insert_default().insert(self.name(), Box::new(left));
    }

    /// Waits for what another thread of this process leaves.
    pub(crate) fn collect<T: Send + 'static>(&self) -> Result<T, Failure> {
        let left = self.wait("thread", || {
            let mut all = LEFT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            all.as_mut()?.remove(&self.name())
        })?;
        Ok(*left.downcast::<T>().map_err(|_| "the other thread left something else")?)
    }

    /// Looks until something is there; `word` says what is missing if nothing comes.
    pub(crate) fn wait<T>(
        &self,
        word: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if Instant::now() > give_up_at {
                return Err(format!("the other side never said {word:?}").into());
            }
            sleep(Duration::from_millis(1));
        }
    }
}
