//! Threads of this library: their signal mask, and a [`Keeper`] that repeats its work.

use super::check;
use crate::sync::{AtomicU32, Ordering};
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Starts a thread that receives no signals: handlers of the program run on its own threads only.
pub(crate) fn spawn_without_signals(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    // A new thread has the signal mask of its creator.
    let before = set_mask(None)?;
    let spawned = Builder::new().name(name.to_owned()).spawn(work);
    set_mask(Some(before))?;
    spawned
}

/// Sets the signal mask of this thread; `None` blocks all signals. Returns the mask before.
fn set_mask(mask: Option<libc::sigset_t>) -> io::Result<libc::sigset_t> {
    let mask = match mask {
        Some(mask) => mask,
        None => {
            let mut all = MaybeUninit::uninit();
            // SAFETY: the call writes one `sigset_t`, and there is room.
            check(unsafe { libc::sigfillset(all.as_mut_ptr()) })?;
            // SAFETY: the call succeeded, so the set is written.
            unsafe { all.assume_init() }
        }
    };
    let mut before = MaybeUninit::uninit();
    // SAFETY: the call reads one `sigset_t`, and writes one for which there is room.
    let errno =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, before.as_mut_ptr()) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    // SAFETY: the call succeeded, so the set is written.
    Ok(unsafe { before.assume_init() })
}

/// A handle of a thread that does a round of work again and again. Dropping it waits for the end of
/// the round and ends the thread.
pub(crate) struct Keeper {
    /// Not 0: the thread ends.
    stop: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
    process: u32,
}

impl Keeper {
    /// Starts a thread that calls `round`, pauses, and repeats both.
    pub(crate) fn start(round: impl Fn() + Send + 'static, pause: Duration) -> io::Result<Self> {
        let stop = Arc::new(AtomicU32::new(0));
        let stopped = Arc::clone(&stop);
        let work = move || {
            while stopped.load(Ordering::Acquire) == 0 {
                round();
                std::thread::park_timeout(pause);
            }
        };
        let thread = spawn_without_signals("packetring", work)?;
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
            // It does not panic: of the user's code it runs trace subscribers, whose panics are
            // caught.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_the_creator_stays() {
        let before = set_mask(None).unwrap();
        set_mask(Some(before)).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let work = move || {
            let mask = set_mask(None).unwrap();
            // SAFETY: the call only reads the set.
            sender.send(unsafe { libc::sigismember(&raw const mask, libc::SIGTERM) }).unwrap();
        };
        let thread = spawn_without_signals("test", work).unwrap();
        assert_eq!(receiver.recv().unwrap(), 1, "blocked in the thread");
        thread.join().unwrap();
        let mask = set_mask(Some(before)).unwrap();
        // SAFETY: the call only reads the set.
        assert_eq!(unsafe { libc::sigismember(&raw const mask, libc::SIGTERM) }, 0, "not here");
    }
}
