//! Waiting for a handover in a task: a thread that waits for the connections of all such handovers
//! of the process, and wakes their tasks.
//!
//! The thread starts with the first handover, and ends with the last. A forked child starts its
//! own.

use super::Handover;
use crate::cluster::error::{HandoverError, HandoverFailure};
use crate::sys::event::{EventFd, MarkedFd};
use crate::sys::owned::PerProcess;
use crate::sys::stop::Stop;
use crate::sys::thread::spawn_without_signals;
use crate::wait::LONGEST;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
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
            if let Some(entry) = this.entry.take_if(|entry| !entry.poller.is_open()) {
                entry.end(this.handover.as_fd());
            }
            if let Some(entry) = &this.entry {
                // The kernel reports an answer that came meanwhile, because it is still there.
                match entry.arm(this.handover.as_fd(), context.waker()) {
                    Ok(()) => return Poll::Pending,
                    Err(_) if !entry.poller.is_open() => continue,
                    Err(error) => return Poll::Ready(Err(HandoverError::System(error))),
                }
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
            if self.poller.epoll.is_open() {
                let _ = epoll::delete(&self.poller.epoll, connection);
            }
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
            Some(poller) if poller.is_open() => Arc::clone(poller),
            lost => {
                // Its thread wakes the tasks, which then move.
                lost.iter().for_each(|lost| lost.interrupt());
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
        if is_empty && current.as_deref().is_some_and(|it| std::ptr::eq(it, poller)) {
            *current = None;
        }
        is_empty
    }
}

/// The state that the thread and the futures share.
///
/// Other code of the process may close its descriptors. Then the futures move to another one.
struct Poller {
    epoll: MarkedFd,
    /// Interrupts the thread.
    control: EventFd,
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
        let (epoll, control) = (MarkedFd::epoll()?, EventFd::new()?);
        let data = epoll::EventData::new_u64(INTERRUPTION);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &control, data, flags)?;
        Ok(Self { epoll, control, state: Mutex::default() })
    }

    fn is_open(&self) -> bool {
        self.epoll.is_open() && self.control.is_open()
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        // No code of the user runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stop: Option<Stop>) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.entries.insert(number, AwaitedHandover { waker: None, stop });
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
        self.control.set();
    }

    /// Takes the wakers of these entries, and of those whose wait was stopped; or all.
    fn take_wakers(&self, ready: &[epoll::Event], all: bool) -> Vec<Waker> {
        let mut state = self.lock();
        let mut wakers = Vec::new();
        for event in ready {
            let waiting = state.entries.get_mut(&event.data.u64());
            wakers.extend(waiting.and_then(|it| it.waker.take()));
        }
        let others = state.entries.values_mut();
        let stopped = others.filter(|it| all || Stop::was_called(it.stop.as_ref()));
        wakers.extend(stopped.filter_map(|it| it.waker.take()));
        wakers
    }

    fn run(&self, all: &Pollers) {
        let mut events = Vec::with_capacity(BATCH);
        let longest = Timespec::try_from(LONGEST).ok();
        loop {
            let is_empty = self.lock().entries.is_empty();
            if is_empty && all.end(self) {
                return;
            }
            events.clear();
            // Bounded: a stop interrupts nothing, and neither does a descriptor that was closed.
            let waited = self
                .epoll
                .is_open()
                .then(|| epoll::wait(&self.epoll, spare_capacity(&mut events), longest.as_ref()));
            // Other code closed the descriptor: the tasks are leaving.
            if !matches!(waited, Some(Ok(_) | Err(Errno::INTR))) {
                std::thread::sleep(LONGEST);
            }
            let is_lost = !self.is_open();
            for waker in self.take_wakers(&events, is_lost) {
                // A waker that panics must not end the thread that serves other tasks.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
            }
        }
    }
}
