//! A server without its packet types: takes requests, identifies their callers, sends replies.
//!
//! Guarantees:
//!
//! - The outcome of a request is sent before the server releases the request: before the request
//!   leaves the server's hand, or the range of its postponed requests. So a client that sees it
//!   released reads its ring once more, and then knows the outcome.
//! - A caller that cannot be reached now does not delay the others (`postponed`).

mod callers;
mod postponed;
mod send;

use super::deferred::DroppedReplies;
use super::own_thread::OwnServer;
use super::status;
use super::tags::RequestId;
use super::tags::RequestTag;
use crate::channel::{
    Cursor, EventCount, GroupReceiver, HoldsPacket, RecvFailure, Taken, Waitable, consumers,
};
use crate::cluster::error::{ServiceRecvError, ServiceRecvFailure};
use crate::cluster::worker::Worker;
use crate::error::OpenError;
use crate::packet::{Packet as _, TypeInfo};
use crate::wait::{Deadline, IDLE, LONGEST, PENDING, Timeout, Wait, wait_until};
use callers::{Callers, LOCK_TIMEOUT, ReachError};
use postponed::{PostponedRequest, PostponedRequests};
use rkyv::util::AlignedVec;
use std::fmt;
use std::time::Duration;

/// The untyped part of a service.
pub(super) struct Server {
    pub(super) receiver: GroupReceiver,
    /// For clients of this process, which must not wait for their own thread.
    own: OwnServer,
    callers: Callers,
    /// The request that was handed out and has no outcome yet.
    pub(super) open: Option<RequestId>,
    /// The open request is its caller's only call in flight, so that caller has read all replies.
    is_only: bool,
    postponed: PostponedRequests,
    /// The archive of the open request, if it was postponed.
    copy: Option<AlignedVec<16>>,
    dropped: DroppedReplies,
    /// A deferred reply may exist, and may be dropped.
    has_deferred: bool,
    pub(super) request_type: u16,
}

/// Result of checking a request that was just taken.
enum RequestCheck {
    /// Its caller waits for the reply.
    Wanted(RequestId),
    /// Nothing: it was released or postponed.
    Skipped,
    /// Postpone it, and report the shortage that makes its caller unreachable.
    Shortage(RequestId, OpenError),
    /// It has no valid caller.
    Unreadable,
}

impl Server {
    /// A server of requests with this type index, and of replies of type `reply`.
    pub(super) fn new(
        worker: &Worker,
        receiver: GroupReceiver,
        request_type: u16,
        reply: TypeInfo,
    ) -> Self {
        let ring = receiver.entry.segment.name();
        let own = OwnServer::new(ring, receiver.cursor.entry());
        Self {
            receiver,
            own,
            callers: Callers::new(worker.cluster.clone(), [reply, <[u64; 2]>::TYPE]),
            open: None,
            is_only: false,
            postponed: PostponedRequests::default(),
            copy: None,
            dropped: DroppedReplies::default(),
            has_deferred: false,
            request_type,
        }
    }

    /// Waits until another server of the service lives that does not hand over. Returns false after
    /// the deadline.
    pub(super) fn wait_for_successor(&self, deadline: Deadline) -> bool {
        let entry = &self.receiver.entry;
        let memory = self.receiver.cursor.memory();
        memory.subscribers()[self.receiver.cursor.entry()].consumer.set_hands_over();
        let has_successor = || {
            consumers(memory).any(|(id, other)| {
                id != entry.entry_id && !other.consumer.hands_over() && entry.is_alive(id)
            })
        };
        let found = wait_until(
            &mut (),
            deadline,
            |()| has_successor().then_some(()),
            // Not on the event count: a wake-up for a request must reach a server that takes it.
            |(), deadline| std::thread::sleep(deadline.cut(PENDING)),
        );
        found.is_some()
    }

    /// The list for deferred replies that are dropped.
    pub(super) fn dropped_replies(&mut self) -> DroppedReplies {
        self.has_deferred = true;
        self.dropped.clone()
    }

    /// Returns true if the caller of the open request waits for the reply.
    pub(super) fn is_open_wanted(&self) -> bool {
        self.open.is_some_and(|request| self.callers.waits_for(request.caller, request.call_slot))
    }

    /// Fast path: takes the next request if it is of the last caller and nothing else is to do.
    /// Returns false if [`next`](Self::next) must decide, which takes the request in flight again.
    #[inline(always)]
    pub(super) fn take_fast(&mut self, timeout: Timeout) -> bool {
        if self.open.is_some() || self.has_deferred || !self.postponed.is_empty() {
            return false;
        }
        let Some(taken) = self.receiver.take_fast(timeout) else { return false };
        if taken.descriptor.type_index() != self.request_type {
            return false;
        }
        let Some(request) = self.identify(taken) else { return false };
        let caller = self.callers.last(request.caller);
        let is_wanted = caller.is_some_and(|caller| !caller.has_given_up(request.call_slot));
        if is_wanted {
            self.open = Some(request);
        }
        is_wanted
    }

    /// Takes the next wanted request, and returns the index of its type.
    pub(super) fn next(&mut self, timeout: Timeout) -> Result<u16, ServiceRecvFailure> {
        self.own.touch();
        if self.open.is_some() {
            // Its guard was forgotten, or the handler panicked while it replied.
            self.no_reply();
        }
        self.report_dropped();
        // A request that `select` found is in flight. It comes first, because only one request is
        // open.
        if !self.postponed.is_empty()
            && !self.receiver.cursor.holds()
            && let Some(type_index) = self.open_postponed()
        {
            return Ok(type_index);
        }
        loop {
            if self.receiver.is_draining() {
                return Err(ServiceRecvError::Closed.into());
            }
            let taken = match self.receiver.take(timeout) {
                Ok(taken) => taken,
                Err(RecvFailure::NotReady(())) => {
                    self.callers.drop_gone();
                    return Err(ServiceRecvFailure::NotReady(()));
                }
                Err(RecvFailure::Error(error)) => return Err(ServiceRecvError::from(error).into()),
            };
            match self.check(taken) {
                RequestCheck::Wanted(request) => {
                    self.open = Some(request);
                    return Ok(taken.descriptor.type_index());
                }
                RequestCheck::Shortage(request, error) => {
                    self.postpone(request, taken);
                    return Err(ServiceRecvError::Caller(Box::new(error)).into());
                }
                RequestCheck::Unreadable => {
                    self.receiver.ack();
                    return Err(ServiceRecvError::Corrupt("no valid caller id".into()).into());
                }
                RequestCheck::Skipped => {}
            }
        }
    }

    /// Checks a request that was just taken. Releases it if its caller does not wait for it, and
    /// postpones it if the lock of its caller's ring is held.
    fn check(&mut self, taken: Taken) -> RequestCheck {
        let Some(request) = self.identify(taken) else { return RequestCheck::Unreadable };
        match self.reach(request.caller, LOCK_TIMEOUT) {
            Ok(()) if !self.callers.last_mut().has_given_up(request.call_slot) => {
                return RequestCheck::Wanted(request);
            }
            Ok(()) | Err(ReachError::Gone) => self.receiver.ack(),
            Err(ReachError::NotNow(OpenError::Busy { .. })) => self.postpone(request, taken),
            Err(ReachError::NotNow(error)) => return RequestCheck::Shortage(request, error),
        }
        RequestCheck::Skipped
    }

    /// Copies and releases the request in flight, whose caller cannot be reached now.
    #[cold]
    fn postpone(&mut self, id: RequestId, taken: Taken) {
        let type_index = taken.descriptor.type_index();
        let mut archive = AlignedVec::new();
        archive.extend_from_slice(self.receiver.payload());
        self.postponed.push(PostponedRequest { id, type_index, archive });
        // Before the release: a client that sees the request released sees the range.
        self.record_postponed();
        self.receiver.ack();
    }

    /// Opens the first postponed request whose caller can be reached now. Returns its type index.
    #[cold]
    fn open_postponed(&mut self) -> Option<u16> {
        if !self.has_reachable_postponed() {
            return None;
        }
        let request = self.postponed.open_first(|id| self.callers.contains(id))?;
        (self.open, self.is_only) = (Some(request.id), false);
        self.copy = Some(request.archive);
        Some(request.type_index)
    }

    /// Returns true if a postponed request can be served now. Tries to reach callers again if it is
    /// time to, and drops requests that were given up or whose callers are gone.
    fn has_reachable_postponed(&mut self) -> bool {
        for caller in self.postponed.due() {
            if let Err(ReachError::Gone) = self.reach(caller, Duration::ZERO) {
                self.postponed.retain(|id| id.caller != caller);
            }
        }
        let callers = &self.callers;
        self.postponed.retain(|id| !callers.has_given_up(id.caller, id.call_slot));
        self.record_postponed();
        self.postponed.has_from(|id| self.callers.contains(id))
    }

    /// Stores the range of postponed positions at the server's entry.
    fn record_postponed(&self) {
        let entry = self.receiver.cursor.entry();
        status::set_postponed(self.receiver.cursor.memory(), entry, self.postponed.range());
    }

    /// Reads the caller and the call from a request's tag.
    #[inline]
    fn identify(&mut self, taken: Taken) -> Option<RequestId> {
        let position = taken.position;
        let RequestTag { entry, is_only, call_slot } = RequestTag::of(taken.descriptor.tag());
        let caller = self.receiver.caller(entry, position)?;
        self.is_only = is_only;
        Some(RequestId { caller, position, call_slot })
    }

    /// Releases the open request, whose outcome was sent.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.receiver.ack();
        if !self.postponed.is_empty() {
            self.postponed.close();
            self.copy = None;
            self.record_postponed();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("open", &self.open).finish_non_exhaustive()
    }
}

impl HoldsPacket for Server {
    #[inline]
    fn payload(&self) -> &[u8] {
        match &self.copy {
            None => self.receiver.payload(),
            Some(copy) => copy,
        }
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
        self.report_dropped();
        if !self.postponed.is_empty() && self.has_reachable_postponed() {
            return true;
        }
        while self.receiver.has_next() {
            let Some(taken) = self.receiver.take_found() else { return true };
            // A receive would skip such a request and wait for another one.
            if !matches!(self.check(taken), RequestCheck::Skipped) {
                self.receiver.leave_found(taken);
                return true;
            }
        }
        false
    }

    fn is_ready(&self) -> bool {
        self.receiver.is_ready()
    }

    fn event_count(&self) -> &EventCount {
        self.receiver.event_count()
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

    fn longest_sleep(&self) -> Duration {
        // Postponed requests are tried again, and dropped replies are reported, in `has_next`.
        if self.has_deferred || !self.postponed.is_empty() { IDLE } else { LONGEST }
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
        self.report_dropped();
    }
}
