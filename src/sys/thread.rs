//! Threads of this library: their signal mask, a [`Keeper`] that repeats its work, and
//! [`PerProcess`], what threads of one process share and a forked child has anew.

use super::{check, fork};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::with_exposed_provenance;
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
            // It does not panic: it runs no code of the user.
            let _ = thread.join();
        }
    }
}

/// One value for each process, made when it is first needed. A forked child makes its own, because
/// a thread that it does not have may be inside the value of its parent. No value is ever freed.
///
/// # Invariant
///
/// `address` is 0, or that of a leaked [`OfProcess`] whose provenance is exposed.
pub(crate) struct PerProcess<T: 'static> {
    address: AtomicU64,
    value: PhantomData<fn() -> T>,
}

/// A value, and the process that it is for: its id, and its generation, as an id is used again.
struct OfProcess<T> {
    process: (u32, u32),
    value: T,
}

impl<T: Default + Sync> PerProcess<T> {
    /// No value yet.
    pub(crate) const fn new() -> Self {
        Self { address: AtomicU64::new(0), value: PhantomData }
    }

    /// The value of this process.
    pub(crate) fn get(&self) -> &'static T {
        let process = (std::process::id(), fork::generation());
        loop {
            // Pairs with the release below: the value is seen.
            let address = self.address.load(Ordering::Acquire);
            // SAFETY: by the invariant the pointer is null, or valid for ever and shared.
            let made =
                unsafe { with_exposed_provenance::<OfProcess<T>>(address as usize).as_ref() };
            if let Some(made) = made.filter(|made| made.process == process) {
                return &made.value;
            }
            let new = Box::into_raw(Box::new(OfProcess { process, value: T::default() }));
            let exchanged = self.address.compare_exchange(
                address,
                new.expose_provenance() as u64,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if exchanged.is_err() {
                // SAFETY: the pointer comes from `Box::into_raw`, and nobody else has it.
                drop(unsafe { Box::from_raw(new) });
            }
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
