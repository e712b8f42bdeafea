//! The endpoints by which one worker sends requests to one service, and which thread uses them.
//!
//! Threads share endpoints. A thread uses the first one under its lock, if no other thread does.
//! Else it takes one out of a list, sends without the list's lock, and returns it. If none is idle,
//! it attaches another. No thread waits while another serializes, unless the request ring has no
//! entry left: then it waits until one is idle. There is always one.
//!
//! Serialization runs code of the user, which may call the same service. Servers read nothing
//! behind the open claim of the outer request, so such a call would wait for itself: it is refused.

use super::requests::RequestTag;
use crate::channel::{AnyPublisher, EventCount, MessageHeader, Outgoing, Ring, SendFailure, Types};
use crate::cluster::names::CallerId;
use crate::error::OpenError;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::stop::Stop;
use crate::wait::{Pace, Sleep, Subject, Timeout, Wait, Waiter, notify_one, wait_until};
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

thread_local! {
    /// The address of the [`Senders`] whose endpoint this thread is sending with; 0: none.
    static SENDING: Cell<usize> = const { Cell::new(0) };
    /// Those of the sends around it, which serialize.
    static OUTER: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// In boxes: an endpoint is large, and each call would move it twice.
type IdleSenders = Vec<Box<RequestSender>>;

/// All endpoints of a worker at one service: at least one.
pub(super) struct Senders {
    /// Locked while a thread sends with it.
    first: Mutex<RequestSender>,
    /// Endpoints beside the first that no thread sends with.
    idle: Mutex<IdleSenders>,
    /// Threads that wait for an endpoint.
    waiting: AtomicU64,
    /// Notified when an endpoint is idle and a thread waits.
    returned: EventCount,
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

/// An endpoint that no other thread uses.
pub(super) enum Idle<'a> {
    First(MutexGuard<'a, RequestSender>),
    Other(Box<RequestSender>),
}

/// An endpoint that is lent to this thread. Dropping it returns the endpoint, in a panic too.
struct Lent<'a> {
    senders: &'a Senders,
    /// `None` while it is dropped.
    sender: Option<Idle<'a>>,
    /// The value of [`SENDING`] before.
    outer: usize,
}

impl Senders {
    /// The endpoints of a worker that has attached the first one.
    pub(super) fn new(first: RequestSender) -> Self {
        Self {
            first: Mutex::new(first),
            idle: Mutex::default(),
            waiting: AtomicU64::new(0),
            returned: EventCount::default(),
        }
    }

    /// Lends an endpoint to `work`. If none is idle, calls `get` for one.
    #[inline(always)]
    pub(super) fn with<'a, R>(
        &'a self,
        get: impl FnOnce() -> Result<Idle<'a>, NoSender>,
        work: impl FnOnce(&mut RequestSender) -> R,
    ) -> Result<R, NoSender> {
        let (own, outer) = (std::ptr::from_ref(self).addr(), SENDING.get());
        if outer != 0 && is_within(own, outer) {
            return Err(NoSender::Nested);
        }
        let sender = match self.first().or_else(|| self.other()) {
            Some(sender) => sender,
            None => get()?,
        };
        let mut lent = Lent { senders: self, sender: Some(sender), outer };
        SENDING.set(own);
        if outer != 0 {
            OUTER.with_borrow_mut(|all| all.push(outer));
        }
        let sender: Option<&mut RequestSender> = match &mut lent.sender {
            Some(Idle::First(sender)) => Some(sender),
            Some(Idle::Other(sender)) => Some(sender),
            None => None,
        };
        sender.map(work).ok_or(NoSender::Nested)
    }

    /// The first endpoint, if no thread uses it.
    #[inline]
    fn first(&self) -> Option<Idle<'_>> {
        match self.first.try_lock() {
            Ok(sender) => Some(Idle::First(sender)),
            // A panic leaves it as it is: the next operation aborts a claim that is still open.
            Err(TryLockError::Poisoned(poisoned)) => Some(Idle::First(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Another endpoint that no thread uses.
    fn other(&self) -> Option<Idle<'_>> {
        self.lock().pop().map(Idle::Other)
    }

    /// Attaches an endpoint with `attach`, or waits until one is idle.
    #[cold]
    pub(super) fn attach_or_wait(
        &self,
        timeout: Timeout,
        stop: Option<&Stop>,
        attach: impl Fn() -> Result<RequestSender, OpenError>,
    ) -> Result<Idle<'_>, NoSender> {
        let waiter = Waiter::new(Wait::park(), Sleep::Futex).with_stop(stop);
        let look = |_: &mut Pace| {
            if let Some(sender) = self.first().or_else(|| self.other()) {
                return Some(Ok(sender));
            }
            match attach() {
                Err(OpenError::Full { .. }) if !waiter.is_stopped() => None,
                Err(OpenError::Full { .. }) => Some(Err(NoSender::Full)),
                Err(error) => Some(Err(NoSender::Open(error))),
                Ok(sender) => Some(Ok(Idle::Other(Box::new(sender)))),
            }
        };
        let pause = |pace: &mut Pace, deadline| {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            // Another worker may leave an entry, too, which nothing tells.
            let is_idle = || self.first().is_some() || !self.lock().is_empty();
            pace.pause(Subject { id: 0, is_pending: true }, deadline, |bound| {
                waiter.park_once(&self.returned, bound, is_idle)
            });
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        };
        let found = wait_until(&mut Pace::new(), timeout.deadline(), look, pause);
        found.unwrap_or(Err(NoSender::Full))
    }

    fn lock(&self) -> MutexGuard<'_, IdleSenders> {
        // A panic leaves the list consistent: no code of the user runs under the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if this thread sends with an endpoint of `own` already. `outer` is its innermost
/// send.
#[cold]
fn is_within(own: usize, outer: usize) -> bool {
    outer == own || OUTER.with_borrow(|all| all.contains(&own))
}

impl RequestSender {
    /// Attaches an endpoint: see [`Ring::request_sender`].
    pub(super) fn attach(
        requests: &Ring,
        types: &Types<'_>,
        caller: CallerId,
        is_extra: bool,
    ) -> Result<Self, OpenError> {
        let (publisher, entry) = requests.request_sender(types, caller, is_extra)?;
        Ok(Self { publisher, entry })
    }

    /// Publishes a request. Returns its position and the entry of this endpoint.
    #[inline(always)]
    pub(super) fn send(
        &mut self,
        cell: u16,
        request: impl Outgoing,
        (wait, stop): (&Wait, Option<&Stop>),
        timeout: Timeout,
    ) -> Result<(u64, u16), SendFailure> {
        if self.publisher.wait() != *wait {
            self.publisher.set_wait(*wait);
        }
        self.publisher.set_stop_to(stop);
        let tag = RequestTag { entry: self.entry, cell }.word();
        let position =
            self.publisher.send_with_header(MessageHeader::tagged(tag), request, timeout)?;
        Ok((position, self.entry))
    }
}

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        SENDING.set(self.outer);
        if self.outer != 0 {
            OUTER.with_borrow_mut(|all| all.pop());
        }
        match self.sender.take() {
            Some(Idle::Other(sender)) => self.senders.lock().push(sender),
            first => drop(first),
        }
        // A waiter that this load misses finds the endpoint after its sleep, which is bounded.
        if self.senders.waiting.load(Ordering::SeqCst) > 0 {
            notify_one(&self.senders.returned);
        }
    }
}
