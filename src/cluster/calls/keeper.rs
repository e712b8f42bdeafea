//! The thread of a process with servers that removes what callers leave, even while each server is
//! blocked or busy in a handler.

use super::callers::CallerCache;
use crate::error::OpenError;
use crate::sys::thread;
use std::sync::Weak;
use std::thread::Thread;
use std::time::Duration;

/// Time between two checks of the callers.
const CHECK_AFTER: Duration = Duration::from_millis(500);

/// A handle of the thread. Dropping it ends the thread.
pub(super) struct Keeper(Thread);

impl Keeper {
    /// Starts the thread. It ends when the cache is dropped.
    pub(super) fn start(cache: Weak<CallerCache>) -> Result<Self, OpenError> {
        let work = move || {
            while let Some(cache) = cache.upgrade() {
                cache.tidy();
                drop(cache);
                std::thread::park_timeout(CHECK_AFTER);
            }
        };
        let thread = thread::spawn_without_signals("packetring", work)
            .map_err(|error| OpenError::system("start a thread for", "a service", error))?;
        Ok(Self(thread))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The cache is dropped at this moment, so the thread finds none.
        self.0.unpark();
    }
}
