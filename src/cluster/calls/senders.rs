//! The endpoints by which one worker sends requests to one service, and which thread uses them.
//!
//! The first thread that sends has an endpoint of its own, without a lock. All other threads share
//! endpoints: a thread takes one out, sends without the lock, and returns it. If none is idle, it
//! attaches another. No thread waits while another serializes, unless the request ring has no entry
//! left.

use super::tags::RequestTag;
use crate::channel::{AnyPublisher, SendFailure};
use crate::error::OpenError;
use crate::packet::Packet;
use crate::sys::owned::Owned;
use crate::wait::{Deadline, IDLE, Timeout, Wait};
use std::cell::RefCell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// All endpoints of a worker at one service.
pub(super) struct Senders {
    own: Owned<RefCell<Option<RequestSender>>>,
    shared: Mutex<Shared>,
    /// Notified when an endpoint returns.
    returned: Condvar,
}

#[derive(Default)]
struct Shared {
    idle: Vec<RequestSender>,
    /// Endpoints that threads have taken out.
    lent: usize,
}

/// An endpoint at a request ring.
pub(super) struct RequestSender {
    pub(super) publisher: AnyPublisher,
    /// Its entry in the request ring.
    pub(super) entry: u16,
}

/// Why a thread has no endpoint.
pub(super) enum NoSender {
    /// This thread is serializing a request to the same service.
    Nested,
    /// No entry is left, and no other thread returned one before the deadline.
    Full(OpenError),
    /// It cannot be attached.
    Open(OpenError),
}

/// An endpoint that is lent to this thread. Dropping it returns the endpoint, in a panic too.
struct Lent<'a> {
    senders: &'a Senders,
    sender: Option<RequestSender>,
}

impl Senders {
    /// The endpoints of a worker that has attached the first one.
    pub(super) fn new(first: RequestSender) -> Self {
        let shared = Shared { idle: vec![first], lent: 0 };
        Self { own: Owned::default(), shared: Mutex::new(shared), returned: Condvar::new() }
    }

    /// Lends an endpoint to `work`, or attaches one with `attach`, which gets true if the worker
    /// has others.
    #[inline]
    pub(super) fn with<R>(
        &self,
        deadline: Deadline,
        attach: impl Fn(bool) -> Result<RequestSender, OpenError>,
        work: impl FnOnce(&mut RequestSender) -> R,
    ) -> Result<R, NoSender> {
        if let Some(own) = self.own.get() {
            let Ok(mut own) = own.try_borrow_mut() else { return Err(NoSender::Nested) };
            if let Some(sender) = own.as_mut() {
                return Ok(work(sender));
            }
            let first = self.lock().idle.pop();
            let sender = match first {
                Some(sender) => sender,
                None => attach(false).map_err(NoSender::Open)?,
            };
            return Ok(work(own.insert(sender)));
        }
        let mut lent = self.lend(deadline, attach)?;
        lent.sender.as_mut().map(work).ok_or(NoSender::Nested)
    }

    #[inline(never)]
    fn lend(
        &self,
        deadline: Deadline,
        attach: impl Fn(bool) -> Result<RequestSender, OpenError>,
    ) -> Result<Lent<'_>, NoSender> {
        loop {
            let is_extra = {
                let mut shared = self.lock();
                if let Some(sender) = shared.idle.pop() {
                    shared.lent += 1;
                    return Ok(Lent { senders: self, sender: Some(sender) });
                }
                shared.lent > 0
            };
            match attach(is_extra) {
                Ok(sender) => {
                    self.lock().lent += 1;
                    return Ok(Lent { senders: self, sender: Some(sender) });
                }
                Err(error @ OpenError::Full { .. }) => {
                    let shared = self.lock();
                    if shared.idle.is_empty() {
                        if shared.lent == 0 || deadline.has_passed() {
                            return Err(NoSender::Full(error));
                        }
                        // A bounded wait: the thread that has one may have died in it.
                        let waited = self.returned.wait_timeout(shared, deadline.cut(IDLE));
                        drop(waited.unwrap_or_else(PoisonError::into_inner));
                    }
                }
                Err(error) => return Err(NoSender::Open(error)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic leaves the list consistent: no code of the user runs under the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestSender {
    /// Publishes a request. Returns its position.
    #[inline(always)]
    pub(super) fn send<T: Packet>(
        &mut self,
        cell: u16,
        request: &T,
        wait: Wait,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        if self.publisher.wait() != wait {
            self.publisher.set_wait(wait);
        }
        let tag = RequestTag { entry: self.entry, cell }.word();
        self.publisher.send_tagged(tag, request, timeout)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            let mut shared = self.senders.lock();
            shared.lent -= 1;
            shared.idle.push(sender);
            drop(shared);
            self.senders.returned.notify_one();
        }
    }
}
