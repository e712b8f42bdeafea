//! The endpoints by which one worker sends requests to one service, and which thread uses them.
//!
//! Threads share endpoints: a thread takes one out, sends without the lock, and returns it. If none
//! is idle, it attaches another. No thread waits while another serializes, unless the request ring
//! has no entry left: then it waits until one is returned. There is always one.
//!
//! Serialization runs code of the user, which may call the same service. Servers read nothing
//! behind the open claim of the outer request, so such a call would wait for itself: it is refused.

use super::requests::RequestTag;
use crate::channel::{AnyPublisher, EventCount, MessageHeader, SendFailure};
use crate::error::OpenError;
use crate::packet::Packet;
use crate::sys::stop::Stop;
use crate::wait::{Pace, Sleep, Subject, Timeout, Wait, Waiter, notify_one, wait_until};
use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// The endpoints that this thread is sending with, by the addresses of their [`Senders`].
    static SENDING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// All endpoints of a worker at one service: at least one.
pub(super) struct Senders {
    shared: Mutex<Shared>,
    /// Notified when an endpoint returns and a thread waits.
    returned: EventCount,
}

struct Shared {
    #[expect(clippy::vec_box, reason = "an endpoint is large, and each call would move it twice")]
    idle: Vec<Box<RequestSender>>,
    /// Threads that wait for an endpoint.
    waiting: usize,
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
    /// No entry is left, and no other thread returned an endpoint before the timeout or the stop.
    Full,
    /// It cannot be attached.
    Open(OpenError),
}

/// An endpoint that is lent to this thread. Dropping it returns the endpoint, in a panic too.
struct Lent<'a> {
    senders: &'a Senders,
    sender: Option<Box<RequestSender>>,
}

impl Senders {
    /// The endpoints of a worker that has attached the first one.
    pub(super) fn new(first: RequestSender) -> Self {
        let shared = Shared { idle: vec![Box::new(first)], waiting: 0 };
        Self { shared: Mutex::new(shared), returned: EventCount::default() }
    }

    /// Lends an endpoint to `work`. If none is idle, calls `get` for one.
    #[inline]
    pub(super) fn with<R>(
        &self,
        get: impl FnOnce() -> Result<Box<RequestSender>, NoSender>,
        work: impl FnOnce(&mut RequestSender) -> R,
    ) -> Result<R, NoSender> {
        let own = std::ptr::from_ref(self).addr();
        if SENDING.with_borrow(|all| all.contains(&own)) {
            return Err(NoSender::Nested);
        }
        let idle = self.lock().idle.pop();
        let sender = match idle {
            Some(sender) => sender,
            None => get()?,
        };
        let mut lent = Lent { senders: self, sender: Some(sender) };
        SENDING.with_borrow_mut(|all| all.push(own));
        lent.sender.as_deref_mut().map(work).ok_or(NoSender::Nested)
    }

    /// Attaches an endpoint with `attach`, or waits until one is idle.
    #[cold]
    pub(super) fn attach_or_wait(
        &self,
        timeout: Timeout,
        stop: Option<&Stop>,
        attach: impl Fn() -> Result<RequestSender, OpenError>,
    ) -> Result<Box<RequestSender>, NoSender> {
        let waiter = Waiter::new(Wait::park(), Sleep::Futex).with_stop(stop);
        let look = |_: &mut Pace| {
            if let Some(sender) = self.lock().idle.pop() {
                return Some(Ok(sender));
            }
            match attach() {
                Err(OpenError::Full { .. }) if !waiter.is_stopped() => None,
                Err(OpenError::Full { .. }) => Some(Err(NoSender::Full)),
                attached => Some(attached.map(Box::new).map_err(NoSender::Open)),
            }
        };
        let pause = |pace: &mut Pace, deadline| {
            self.lock().waiting += 1;
            // Another worker may leave an entry, too, which nothing tells.
            let is_idle = || !self.lock().idle.is_empty();
            pace.pause(Subject { id: 0, is_pending: true }, deadline, |bound| {
                waiter.park_once(&self.returned, bound, is_idle)
            });
            self.lock().waiting -= 1;
        };
        let found = wait_until(&mut Pace::new(), timeout.deadline(), look, pause);
        found.unwrap_or(Err(NoSender::Full))
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
        (wait, stop): (Wait, Option<&Stop>),
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        if self.publisher.wait() != wait {
            self.publisher.set_wait(wait);
        }
        self.publisher.set_stop_to(stop);
        let tag = RequestTag { entry: self.entry, cell }.word();
        self.publisher.send_with_header(MessageHeader::tagged(tag), request, timeout)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        SENDING.with_borrow_mut(|all| all.pop());
        if let Some(sender) = self.sender.take() {
            let is_awaited = {
                let mut shared = self.senders.lock();
                shared.idle.push(sender);
                shared.waiting > 0
            };
            if is_awaited {
                notify_one(&self.senders.returned);
            }
        }
    }
}
