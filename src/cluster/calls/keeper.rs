//! The thread of a process with servers that removes what callers leave, even while each server is
//! blocked or busy in a handler.

use crate::error::OpenError;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::thread;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(500);

/// A handle of the thread. Dropping it waits for the end of the round and ends the thread.
pub(super) struct Keeper {
    /// Not 0: the thread ends.
    stop: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
    process: u32,
}

impl Keeper {
    /// Starts the thread, which does `round` again and again.
    pub(super) fn start(round: impl Fn() + Send + 'static) -> Result<Self, OpenError> {
        let stop = Arc::new(AtomicU32::new(0));
        let stopped = Arc::clone(&stop);
        let work = move || {
            while stopped.load(Ordering::Acquire) == 0 {
                round();
                std::thread::park_timeout(ROUND);
            }
        };
        let thread = thread::spawn_without_signals("packetring", work)
            .map_err(|error| OpenError::system("start a thread for", "a service", error))?;
        Ok(Self { stop, thread: Some(thread), process: std::process::id() })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(1, Ordering::Release);
        thread.thread().unpark();
        // A forked child does not have the thread. The thread itself drops this with the last late
        // work.
        let is_own = thread.thread().id() == std::thread::current().id();
        if self.process == std::process::id() && !is_own {
            // It does not panic: it runs no code of the user.
            let _ = thread.join();
        }
    }
}
