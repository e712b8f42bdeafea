//! Waiting for a handover in a task: a thread that waits for the connections of all such handovers
//! of the process, and wakes their tasks.
//!
//! The thread starts with the first handover, and ends with the last. A forked child starts
//! its own.

use super::Handover;
use crate::cluster::error::{HandoverError, HandoverFailure};
use crate::sys::owned::PerProcess;
use crate::sys::stop::Stop;
use crate::sys::thread::spawn_without_signals;
use crate::wait::LONGEST;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Events that one system call returns.
const BATCH: usize = 64;
/// The number of the event by which the thread is interrupted.
const INTERRUPTION: u64 = 0;

impl Handover {
    /// As [`wait`](Self::wait), but waits in a task, for any executor.
    ///
    /// Dropping the future changes nothing: the handover can be waited for again. All such futures
    /// of the process share a thread.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub async fn wait_async(&mut self) -> Result<(), HandoverError> {
        Answered { handover: self, entry: None }.await
    }
}

/// A future that ends when it is known whether the descriptors were taken.
struct Answered<'a> {
    handover: &'a mut Handover,
    entry: Option<Entry>,
}

impl Future for Answered<'_> {
    type Output = Result<(), HandoverError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match this.handover.look() {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(HandoverFailure::Error(error)) => return Poll::Ready(Err(error)),
                Err(HandoverFailure::NotReady(())) => {}
            }
            let stop = this.handover.stop.as_ref();
            if Stop::was_called(stop) {
                return Poll::Ready(Err(HandoverError::Stopped));
            }
            if let Some(entry) = &this.entry {
                // The kernel reports an answer that came meanwhile, because it is still there.
                let armed = entry.arm(this.handover.as_fd(), context.waker());
                return armed.map_or_else(
                    |error| Poll::Ready(Err(HandoverError::System(error))),
                    |()| Poll::Pending,
                );
            }
            match Entry::new(this.handover.as_fd(), stop.cloned()) {
                Ok(entry) => this.entry = Some(entry),
                Err(error) => return Poll::Ready(Err(HandoverError::System(error))),
            }
        }
    }
}

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.end(self.handover.as_fd());
        }
    }
}

/// A connection that the thread waits for.
struct Entry {
    poller: Arc<Poller>,
    number: u64,
    process: u32,
}

impl Entry {
    fn new(connection: BorrowedFd<'_>, stop: Option<Stop>) -> io::Result<Self> {
        let (poller, number) = POLLERS.get().enter(stop)?;
        let entry = Self { poller, number, process: std::process::id() };
        let data = epoll::EventData::new_u64(number);
        let added =
            match epoll::add(&entry.poller.epoll, connection, data, epoll::EventFlags::ONESHOT) {
                // Of a future that was forgotten.
                Err(Errno::EXIST) => entry.modify(connection, epoll::EventFlags::ONESHOT),
                added => added,
            };
        match added {
            Ok(()) => Ok(entry),
            Err(error) => {
                entry.poller.leave(number);
                Err(error.into())
            }
        }
    }

    fn modify(&self, connection: BorrowedFd<'_>, flags: epoll::EventFlags) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(self.number);
        epoll::modify(&self.poller.epoll, connection, data, flags)
    }

    fn arm(&self, connection: BorrowedFd<'_>, waker: &Waker) -> io::Result<()> {
        self.poller.set_waker(self.number, waker);
        Ok(self.modify(connection, epoll::EventFlags::IN | epoll::EventFlags::ONESHOT)?)
    }

    fn end(self, connection: BorrowedFd<'_>) {
        // In a forked child the thread is the parent's, and its lock may be held for ever.
        if self.process == std::process::id() {
            let _ = epoll::delete(&self.poller.epoll, connection);
            self.poller.leave(self.number);
        }
    }
}

/// The thread of this process, if there is one.
#[derive(Default)]
struct Pollers(Mutex<Option<Arc<Poller>>>);

static POLLERS: PerProcess<Pollers> = PerProcess::new();

impl Pollers {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Poller>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an entry, and starts the thread if there is none. Returns the entry's number.
    fn enter(&'static self, stop: Option<Stop>) -> io::Result<(Arc<Poller>, u64)> {
        let mut current = self.lock();
        let poller = match &*current {
            Some(poller) => Arc::clone(poller),
            None => {
                let poller = Arc::new(Poller::new()?);
                let own = Arc::clone(&poller);
                spawn_without_signals("packetring-fds", move || own.run(self))?;
                *current = Some(Arc::clone(&poller));
                poller
            }
        };
        // Under the lock: the thread does not end in between.
        let number = poller.enter(stop);
        Ok((poller, number))
    }

    /// Ends a thread that has nothing to wait for. Returns false if it got something meanwhile.
    fn end(&self, poller: &Poller) -> bool {
        let mut current = self.lock();
        let is_empty = poller.lock().entries.is_empty();
        if is_empty {
            *current = None;
        }
        is_empty
    }
}

/// The state that the thread and the futures share.
struct Poller {
    epoll: OwnedFd,
    /// Interrupts the thread.
    control: OwnedFd,
    state: Mutex<Awaited>,
}

#[derive(Default)]
struct Awaited {
    /// By number.
    entries: HashMap<u64, AwaitedHandover>,
    /// The last number.
    last: u64,
}

#[derive(Default)]
struct AwaitedHandover {
    waker: Option<Waker>,
    stop: Option<Stop>,
}

impl Poller {
    fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let control = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(INTERRUPTION);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &control, data, flags)?;
        Ok(Self { epoll, control, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        // No code of the user runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stop: Option<Stop>) -> u64 {
        let has_stop = stop.is_some();
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.entries.insert(number, AwaitedHandover { waker: None, stop });
        drop(state);
        if has_stop {
            self.interrupt();
        }
        number
    }

    fn set_waker(&self, number: u64, waker: &Waker) {
        // Cloned and dropped without the lock: both run code of the executor.
        let new = waker.clone();
        let before = self.lock().entries.get_mut(&number).map(|it| it.waker.replace(new));
        drop(before);
    }

    fn leave(&self, number: u64) {
        let (before, is_last) = {
            let mut state = self.lock();
            (state.entries.remove(&number), state.entries.is_empty())
        };
        drop(before);
        if is_last {
            self.interrupt();
        }
    }

    fn interrupt(&self) {
        let _ = rustix::io::write(&self.control, &1_u64.to_ne_bytes());
    }

    /// Takes the wakers of these entries, and of those whose wait was stopped.
    fn take_wakers(&self, ready: &[epoll::Event]) -> Vec<Waker> {
        let mut state = self.lock();
        let mut wakers = Vec::new();
        for event in ready {
            let waiting = state.entries.get_mut(&event.data.u64());
            wakers.extend(waiting.and_then(|it| it.waker.take()));
        }
        let all = state.entries.values_mut();
        let stopped = all.filter(|it| Stop::was_called(it.stop.as_ref()));
        wakers.extend(stopped.filter_map(|it| it.waker.take()));
        wakers
    }

    fn run(&self, all: &Pollers) {
        let mut events = Vec::with_capacity(BATCH);
        loop {
            let (is_empty, has_stop) = {
                let state = self.lock();
                let has_stop = state.entries.values().any(|it| it.stop.is_some());
                (state.entries.is_empty(), has_stop)
            };
            if is_empty && all.end(self) {
                return;
            }
            let longest = if has_stop { Timespec::try_from(LONGEST).ok() } else { None };
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), longest.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // Only a descriptor that other code closed.
                Err(_) => std::thread::sleep(LONGEST),
            }
            for waker in self.take_wakers(&events) {
                // A waker that panics must not end the thread that serves other tasks.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
            }
        }
    }
}
