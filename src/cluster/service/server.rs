//! A server without its packet types: takes requests, identifies their callers, sends replies.
//!
//! Guarantee: the outcome of a request is written before the request leaves the server's hand. So a
//! caller that sees it gone looks at its cell once more, and then knows the outcome.

use super::own_thread::OwnServer;
use super::reply::{self, ReplyGate};
use crate::channel::{
    Cursor, EventCount, GroupReceiver, HoldsPacket, KeptEventCount, RecvFailure, ReplyRight, Taken,
    Waitable, rearm,
};
use crate::cluster::calls::{CallerCache, LastCaller, ReachError, TakenRequest};
use crate::cluster::error::{ReplyError, ServiceRecvError, ServiceRecvFailure};
use crate::cluster::names::CallerId;
use crate::error::OpenError;
use crate::failpoint::{Failpoint, failpoint};
use crate::packet::{Packet, Scratch};
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Listener, Pace, Subject, Timeout, Wait};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a server tries to map a caller before it gives its request up.
const MOST_RETRIES: Duration = Duration::from_secs(10);

/// The untyped part of a service.
pub(super) struct Server {
    pub(super) receiver: GroupReceiver,
    /// For clients of this process, which must not wait for their own thread.
    own: OwnServer,
    /// The request that was handed out and has no outcome yet.
    open: Option<OpenRequest>,
    last: LastCaller,
    gate: Arc<ReplyGate>,
    scratch: Scratch,
    request_type: u16,
    /// The position of the request whose caller could not be mapped, and when to give it up. It was
    /// reported.
    postponed: Option<(u64, Deadline)>,
    /// When to try again to map that caller.
    retries: Pace,
}

#[derive(Debug)]
struct OpenRequest {
    caller: CallerId,
    right: ReplyRight,
}

/// Releases the request in hand when it is dropped.
struct Released<'a>(&'a mut GroupReceiver);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.ack();
    }
}

/// Result of checking a request that was just taken.
enum RequestCheck {
    /// Its caller waits for the reply.
    Wanted(OpenRequest),
    /// Its caller does not wait. It was released.
    Skipped,
    /// Its caller cannot be mapped now.
    Shortage(OpenError),
    /// It has no valid caller.
    Unreadable,
}

impl Server {
    /// A server of requests with this type index.
    pub(super) fn new(
        receiver: GroupReceiver,
        request_type: u16,
        callers: Arc<CallerCache>,
    ) -> Self {
        let own = OwnServer::new(receiver.entry.segment.name(), receiver.cursor.entry());
        Self {
            receiver,
            own,
            open: None,
            last: LastCaller::NONE,
            gate: Arc::new(ReplyGate::new(callers)),
            scratch: Scratch::default(),
            request_type,
            postponed: None,
            retries: Pace::new(),
        }
    }

    /// Fast path: takes the next request if it is of the last caller and nothing else is to do.
    /// Returns false if [`next`](Self::next) must decide, which takes the request in flight again.
    #[inline(always)]
    pub(super) fn take_fast(&mut self, timeout: Timeout) -> bool {
        if self.open.is_some() {
            return false;
        }
        let Self { receiver, last, .. } = self;
        // Before the request is taken, so that the line comes meanwhile.
        let taken = receiver.take_request_fast(
            timeout,
            #[inline(always)]
            |tag| last.prefetch_reply(tag),
        );
        let Some(taken) = taken else { return false };
        let request = self.receiver.request(&taken);
        if let Some(TakenRequest { caller, right, may_be_given_up: false, .. }) = request
            && self.last.is(caller)
            && caller != CallerId::NONE
            && taken.descriptor.type_index() == self.request_type
        {
            self.open = Some(OpenRequest { caller, right });
            return true;
        }
        // It stays in hand, also if the worker drains from now on.
        self.receiver.leave_found(taken);
        false
    }

    /// Takes the next wanted request. Returns true if it has the type of requests.
    pub(super) fn next(&mut self, timeout: Timeout) -> Result<bool, ServiceRecvFailure> {
        self.own.touch();
        if self.open.is_some() {
            // Its guard was forgotten, or the handler panicked while it replied.
            self.no_reply();
        }
        let deadline = timeout.deadline();
        loop {
            // Not if a request was found before.
            if self.receiver.is_draining() {
                return Err(ServiceRecvError::Closed.into());
            }
            if self.is_postponed() {
                self.wait_to_retry(deadline)?;
                continue;
            }
            let taken = match self.receiver.take(timeout.left(deadline)) {
                Ok(taken) => taken,
                Err(RecvFailure::NotReady(())) => return Err(ServiceRecvFailure::NotReady(())),
                Err(RecvFailure::Error(error)) => return Err(ServiceRecvError::from(error).into()),
            };
            match self.check(taken) {
                RequestCheck::Wanted(request) => {
                    self.open = Some(request);
                    return Ok(taken.descriptor.type_index() == self.request_type);
                }
                RequestCheck::Shortage(error) => {
                    if self.keep_for_later(taken) {
                        return Err(ServiceRecvError::Caller(Box::new(error)).into());
                    }
                }
                RequestCheck::Unreadable => {
                    self.receiver.ack();
                    return Err(ServiceRecvError::Corrupt("no valid caller id".into()).into());
                }
                RequestCheck::Skipped => {}
            }
        }
    }

    /// Keeps a request whose caller cannot be mapped now for the next try, for some seconds.
    /// Returns true the first time.
    #[cold]
    fn keep_for_later(&mut self, taken: Taken) -> bool {
        match self.postponed {
            Some((position, until)) if position == taken.position => {
                if until.has_passed() {
                    // Others wait behind it. Its caller gets `ServiceGone`.
                    self.receiver.ack();
                } else {
                    self.receiver.leave_found(taken);
                    self.retries.is_due();
                }
                false
            }
            _ => {
                self.postponed = Some((taken.position, Deadline::after(MOST_RETRIES)));
                self.retries.begin(Subject { id: taken.position, is_pending: true });
                self.receiver.leave_found(taken);
                true
            }
        }
    }

    /// Returns true if the request was reported as one for later.
    fn was_reported(&self, taken: &Taken) -> bool {
        self.postponed.is_some_and(|(position, _)| position == taken.position)
    }

    /// Returns true if the request in hand waits for the next try to map its caller.
    fn is_postponed(&self) -> bool {
        self.receiver.found_packet().is_some_and(|taken| self.was_reported(&taken))
            && !self.retries.sleep(Deadline::NEVER).is_zero()
    }

    /// Sleeps until the next try to map a caller. No event tells that there is memory.
    #[cold]
    fn wait_to_retry(&mut self, deadline: Deadline) -> Result<(), ServiceRecvFailure> {
        let stop = Waitable::stop(&self.receiver);
        if Stop::was_called(stop) {
            return Err(ServiceRecvError::Stopped.into());
        }
        if deadline.has_passed() {
            rearm(self);
            return Err(ServiceRecvFailure::NotReady(()));
        }
        Stop::sleep(stop, self.retries.sleep(deadline));
        Ok(())
    }

    /// Checks a request that was just taken. Releases it if its caller does not wait for it.
    fn check(&mut self, taken: Taken) -> RequestCheck {
        failpoint(Failpoint::RequestCheck);
        let Some(request) = self.receiver.request(&taken) else {
            return RequestCheck::Unreadable;
        };
        let TakenRequest { caller, right, entry, may_be_given_up } = request;
        match self.gate.callers.reach(caller) {
            Ok(memory) if may_be_given_up && right.is_given_up(&memory) => {}
            Ok(memory) => {
                self.last = LastCaller::new(caller, &memory, entry);
                return RequestCheck::Wanted(OpenRequest { caller, right });
            }
            Err(ReachError::Gone) => {}
            Err(ReachError::NotNow(error)) => return RequestCheck::Shortage(error),
        }
        self.receiver.ack();
        RequestCheck::Skipped
    }

    /// The caller of the open request.
    pub(super) fn caller(&self) -> CallerId {
        self.open.as_ref().map_or(CallerId::NONE, |open| open.caller)
    }

    /// Returns true if the caller of the open request waits for the reply.
    pub(super) fn is_open_wanted(&self) -> bool {
        self.open.as_ref().is_some_and(|open| self.gate.is_wanted(open.caller, &open.right))
    }

    /// Sends the reply to the open request, and releases the request.
    #[inline]
    pub(super) fn reply<R: Packet>(&mut self, reply: &R) -> Result<(), ReplyError> {
        let Some(OpenRequest { caller, right }) = self.open.take() else {
            return Err(ReplyError::CallerGone);
        };
        // Also if the serialization panics: the request must not be handed out again.
        let _released = Released(&mut self.receiver);
        match self.last.memory_of(caller).map_or_else(|| self.gate.callers.reach(caller), Ok) {
            Ok(memory) => reply::write_reply(&memory, right, reply, &mut self.scratch),
            Err(ReachError::Gone) => Err(ReplyError::CallerGone),
            Err(ReachError::NotNow(error)) => Err(ReplyError::Open(Box::new(error))),
        }
    }

    /// Releases the open request, to reply later. `None` if there is none.
    pub(super) fn defer(&mut self) -> (CallerId, Option<ReplyRight>, Arc<ReplyGate>) {
        let gate = Arc::clone(&self.gate);
        let Some(OpenRequest { caller, right }) = self.open.take() else {
            return (CallerId::NONE, None, gate);
        };
        // A caller that cannot be reached now gets `ServiceGone`.
        let right = self.gate.callers.reach(caller).ok().map(|memory| {
            let (entry, incarnation) = self.receiver.entry_and_incarnation();
            right.defer(&memory, entry, incarnation);
            right
        });
        self.receiver.ack();
        (caller, right, gate)
    }

    /// Ends the open request without a reply.
    pub(super) fn no_reply(&mut self) {
        if let Some(OpenRequest { caller, right }) = self.open.take()
            && let Ok(memory) = self.gate.callers.reach(caller)
        {
            reply::refuse(&memory, right);
        }
        self.receiver.ack();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("open", &self.open).finish_non_exhaustive()
    }
}

impl HoldsPacket for Server {
    type Cursor = <GroupReceiver as HoldsPacket>::Cursor;

    #[inline]
    fn cursor(&self) -> &Self::Cursor {
        self.receiver.cursor()
    }

    fn release(&mut self) {
        self.no_reply();
    }
}

impl Waitable for Server {
    fn has_next(&mut self) -> bool {
        self.own.touch();
        if self.open.is_some() {
            self.no_reply();
        }
        while !self.is_postponed() && self.receiver.has_next() {
            let Some(taken) = self.receiver.take_found() else { return true };
            match self.check(taken) {
                // A receive would skip such a request and wait for another one.
                RequestCheck::Skipped => {}
                // A receive would keep it for later or give it up.
                RequestCheck::Shortage(_) if self.was_reported(&taken) => {
                    self.keep_for_later(taken);
                }
                _ => {
                    self.receiver.leave_found(taken);
                    return true;
                }
            }
        }
        false
    }

    fn is_ready(&self) -> bool {
        // The requests behind a postponed one wait, too.
        !self.is_postponed() && self.receiver.is_ready()
    }

    fn event_count(&self) -> Option<&EventCount> {
        self.receiver.event_count()
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        self.receiver.event_counts()
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        self.receiver.listener()
    }

    fn is_woken_by_count(&self) -> bool {
        self.receiver.is_woken_by_count()
    }

    fn place(&self) -> u64 {
        self.receiver.place()
    }

    fn stop(&self) -> Option<&Stop> {
        Waitable::stop(&self.receiver)
    }

    fn is_pending(&self) -> bool {
        self.receiver.is_pending()
    }

    fn check_liveness(&mut self, is_long: bool) {
        Waitable::check_liveness(&mut self.receiver, is_long);
    }

    fn end_sleep(&self) {
        self.receiver.end_sleep();
    }

    fn wait(&self) -> Wait {
        self.receiver.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.receiver.sleeps_on_futex()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.receiver.entry.segment.is_inherited() {
            // In a forked child, the endpoint and its requests belong to the parent, which replies.
            return;
        }
        if self.open.is_some() {
            self.no_reply();
        }
        // A request that a search found and no receive returned.
        if let Some(taken) = self.receiver.take_found()
            && let Some(TakenRequest { caller, right, .. }) = self.receiver.request(&taken)
        {
            self.open = Some(OpenRequest { caller, right });
            self.no_reply();
        }
        // Before the entry is free: then no deferred reply is written any more.
        self.gate.close();
    }
}
