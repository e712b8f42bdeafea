//! Taking an object's name away while nobody can come into it.
//!
//! It guarantees that nobody is attached from its making to its removal: who opens the name meanwhile
//! waits for the control lock, and then finds the name gone, or what was there before.

use super::lifecycle::{Absent, Locked, open_object};
use super::name::Name;
use crate::error::OpenError;
use crate::failpoint::{Step, step};
use std::time::Duration;

/// An object that nobody alive is attached to, and that nobody comes into as long as this is held.
pub(crate) struct Seized<'a> {
    locked: Locked<'a>,
    /// There is nothing in it, whoever made it.
    is_empty: bool,
}

impl<'a> Seized<'a> {
    /// Seizes the object of this name; [`InUse`](OpenError::InUse): somebody is attached. Waits for its
    /// control lock for `patience` at most, if there is one.
    pub(crate) fn take(
        name: &'a Name,
        absent: Absent<'_>,
        patience: Option<Duration>,
    ) -> Result<Self, OpenError> {
        loop {
            let locked = Locked::take(open_object(name, absent)?, name, patience)?;
            let object = locked.measure()?;
            if object.unlinked {
                continue;
            }
            locked.check_kind(&object)?;
            locked.check_magic()?;
            if locked.is_attached() {
                return Err(OpenError::InUse { name: name.as_str().to_owned() });
            }
            return Ok(Self { locked, is_empty: object.len == 0 });
        }
    }

    /// Removes it, with durable subscribers and packets. `false`: there was nothing in it.
    pub(crate) fn remove(self) -> Result<bool, OpenError> {
        step(Step::RemoveUnlink);
        self.locked.unlink()?;
        Ok(!self.is_empty)
    }
}

impl Drop for Seized<'_> {
    fn drop(&mut self) {
        if self.is_empty {
            // As if it had not been made. What cannot be taken away is made by the next to open it.
            let _ = self.locked.unlink();
        }
    }
}
