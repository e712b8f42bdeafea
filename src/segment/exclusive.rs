//! Taking an object's name away while nobody can come into it.
//!
//! It guarantees that nobody is attached from its making to its removal: who opens the name meanwhile
//! waits for the control lock, and then finds the name gone, or what was there before.

use super::lifecycle::{Absent, Locked, open_object};
use super::name::Name;
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use std::time::Duration;

/// An object that nobody alive is attached to, and that nobody comes into as long as this is held.
pub(crate) struct ExclusiveSegment<'a> {
    locked: Locked<'a>,
    /// There is nothing in it, whoever made it.
    is_empty: bool,
}

impl<'a> ExclusiveSegment<'a> {
    /// Seizes the object of this name; [`InUse`](OpenError::InUse): somebody is attached. Waits for its
    /// control lock for `lock_timeout` at most, if there is one.
    pub(crate) fn take(
        name: &'a Name,
        absent: Absent<'_>,
        lock_timeout: Option<Duration>,
    ) -> Result<Self, OpenError> {
        loop {
            let locked = Locked::take(open_object(name, absent)?, name, lock_timeout)?;
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
        failpoint(Failpoint::RemoveUnlink);
        self.locked.unlink()?;
        Ok(!self.is_empty)
    }
}

impl Drop for ExclusiveSegment<'_> {
    fn drop(&mut self) {
        if self.is_empty {
            // As if it had not been made. What cannot be taken away is made by the next to open it.
            let _ = self.locked.unlink();
        }
    }
}
