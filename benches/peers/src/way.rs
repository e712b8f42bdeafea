//! A direction between two processes: names for shared objects, and notes to coordinate opening.
//!
//! Notes are files in the directory of the case, written atomically. None of this is on a measured
//! path.

use crate::transport::Failure;
use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest wait for the other side.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Values that one thread of this process leaves for another.
static LEFT: Mutex<Option<HashMap<String, Box<dyn Any + Send>>>> = Mutex::new(None);

/// A direction of a case.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    directory: PathBuf,
    tag: String,
    direction: &'static str,
}

impl Way {
    /// The direction from the measuring side to the other side.
    pub(crate) fn there(directory: &Path, tag: &str) -> Self {
        Self { directory: directory.into(), tag: tag.into(), direction: "there" }
    }

    /// The direction back.
    pub(crate) fn back(directory: &Path, tag: &str) -> Self {
        Self { direction: "back", ..Self::there(directory, tag) }
    }

    /// Not a direction: for notes that concern the whole case.
    #[cfg(feature = "aeron")]
    pub(crate) fn of_case(&self) -> Self {
        Self { direction: "case", ..self.clone() }
    }

    /// Returns true for the direction back.
    #[cfg(feature = "aeron")]
    pub(crate) fn is_back(&self) -> bool {
        self.direction == "back"
    }

    /// A name that no other direction, case or run has. Objects in `/dev/shm` whose names contain
    /// it are removed after the run.
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

    /// Leaves a note for the other side.
    pub(crate) fn post(&self, note: &str, content: &str) -> Result<(), Failure> {
        let unfinished = self.path(&format!("{note}.new"));
        std::fs::write(&unfinished, content)?;
        Ok(std::fs::rename(unfinished, self.path(note))?)
    }

    /// Waits for a note and returns its content.
    pub(crate) fn wait_for(&self, note: &str) -> Result<String, Failure> {
        let path = self.path(note);
        self.wait_until(note, || std::fs::read_to_string(&path).ok())
    }

    /// Leaves a value for another thread of this process.
    pub(crate) fn leave<T: Send + 'static>(&self, left: T) {
        let mut all = LEFT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.get_or_insert_default().insert(self.name(), Box::new(left));
    }

    /// Waits for the value that another thread of this process leaves.
    pub(crate) fn collect<T: Send + 'static>(&self) -> Result<T, Failure> {
        let left = self.wait_until("thread", || {
            let mut all = LEFT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            all.as_mut()?.remove(&self.name())
        })?;
        Ok(*left.downcast::<T>().map_err(|_| "other thread left a value of another type")?)
    }

    /// Polls until there is a value. `name` is the name of the value in the error.
    pub(crate) fn wait_until<T>(
        &self,
        name: &str,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let give_up_at = Instant::now() + TIMEOUT;
        loop {
            if let Some(found) = poll() {
                return Ok(found);
            }
            if Instant::now() > give_up_at {
                let seconds = TIMEOUT.as_secs();
                return Err(format!("no {name:?} from the other side after {seconds} s").into());
            }
            sleep(Duration::from_millis(1));
        }
    }
}
