//! Waiting of a client: the server that a call waits for, and the client in
//! [`select`](crate::select).
//!
//! In `select`, a client is ready as soon as one of its calls completes: with a reply, or because
//! there is no server. It is not ready for a deferred message, nor for the reply to a cancelled
//! call. A reply that `select` finds stays in the ring until the call is waited for.

use super::completion::CallTracker;
use super::window::CallOutcome;
use crate::channel::{EntryId, EventCount, Waitable, consumers};
use crate::cluster::directory;
use crate::cluster::error::{CallError, ServerProcess, WaitingForServer};
use crate::cluster::service::own_thread::{self, PATIENCE};
use crate::cluster::service::status::RequestStatus;
use crate::cluster::service::tags::Call;
use crate::cluster::service::tags::ReplyKind;
use crate::sync::Ordering;
use crate::wait::{Deadline, IDLE, Wait};

impl CallTracker {
    /// Returns true if this thread has waited for [`PATIENCE`] in one call, which began with
    /// `patience` as `None`, and every server of the service is this thread's own.
    pub(super) fn waits_for_itself(&self, patience: &mut Option<Deadline>) -> bool {
        let patience = patience.get_or_insert_with(|| Deadline::after(PATIENCE));
        patience.has_passed() && own_thread::serves_alone(&self.service)
    }

    /// Ends a call that only its own thread could serve, unless a server has taken its request.
    pub(super) fn give_up_on_itself(&mut self, call: Call) {
        let open = self.calls.get(call).filter(|state| state.outcome.is_none());
        let Some(position) = open.map(|state| state.position) else { return };
        if self.service.request_status(position) == RequestStatus::Waiting
            && self.withdraw(call, position)
            && let Some(state) = self.calls.get(call)
        {
            state.outcome = Some(Box::new(CallOutcome::FailedEarly(CallError::WouldDeadlock)));
        }
    }

    /// The server that a call waits for, or a call that could not start. Costs a system call for
    /// each server, and an attachment to the directory.
    #[cold]
    #[inline(never)]
    pub(super) fn waiting_for(&mut self, call: Option<Call>) -> WaitingForServer {
        let state = call.and_then(|call| self.calls.get(call));
        let (position, deferred) = state.map_or((None, None), |state| {
            let is_at = |&(entry, incarnation): &(usize, u64)| (entry, incarnation);
            (Some(state.position), state.deferred.as_ref().map(is_at))
        });
        let status = position.map(|position| self.service.request_status(position));
        match (status, deferred) {
            (Some(RequestStatus::InFlight(id)), _) => WaitingForServer::Working(self.process(id)),
            (Some(RequestStatus::Over), Some((entry, incarnation)))
                if self.service.is_server_alive(entry, incarnation) =>
            {
                WaitingForServer::Working(self.process(EntryId::Subscriber(entry)))
            }
            (Some(RequestStatus::Over), _) => match self.living() {
                // Its server has postponed it, or died a moment ago.
                Some(id) => WaitingForServer::Working(self.process(id)),
                None => WaitingForServer::NoServer,
            },
            (Some(RequestStatus::Waiting) | None, _) => match self.living() {
                Some(_) if own_thread::serves_alone(&self.service) => WaitingForServer::OwnThread,
                Some(id) => WaitingForServer::Untaken(self.process(id)),
                None => WaitingForServer::NoServer,
            },
        }
    }

    /// The first server that lives.
    fn living(&self) -> Option<EntryId> {
        let memory = self.service.segment().memory();
        let mut servers = consumers(memory).map(|(id, _)| id);
        servers.find(|id| self.service.liveness().is_alive(*id))
    }

    fn process(&self, id: EntryId) -> ServerProcess {
        let entries = self.service.segment().memory().subscribers();
        let entry = match id {
            EntryId::Subscriber(index) => entries.get(index),
            EntryId::Publisher(_) | EntryId::WorkerSlot(_) => None,
        };
        let pid = entry.map_or(0, |entry| entry.details.owner.pid.load(Ordering::Relaxed));
        ServerProcess { pid, worker: directory::worker_of_process(&self.cluster, pid) }
    }
}

impl CallTracker {
    /// Returns true if the next message is a wanted reply, or the ring has ended. Records the
    /// messages before it.
    fn has_reply(&mut self) -> bool {
        while self.replies.has_next() {
            let Some(taken) = self.replies.found_packet() else { return true };
            let is_wanted = self.header(&taken).is_some_and(|header| {
                let state = self.calls.find(header.call_slot, header.position);
                let is_open =
                    state.is_some_and(|state| !state.is_given_up && state.outcome.is_none());
                is_open && header.kind != ReplyKind::Deferred
            });
            // A wanted reply stays in place, and is not copied.
            if is_wanted || self.record_next().is_err() {
                return true;
            }
        }
        false
    }
}

impl Waitable for CallTracker {
    fn has_next(&mut self) -> bool {
        if self.calls.has_outcome() || self.has_reply() {
            return true;
        }
        if self.is_pending() && self.check_at.has_passed() {
            self.check_liveness(false);
        }
        self.calls.has_outcome()
    }

    fn is_ready(&self) -> bool {
        self.calls.has_outcome() || self.replies.is_ready()
    }

    fn event_count(&self) -> &EventCount {
        self.replies.event_count()
    }

    fn is_pending(&self) -> bool {
        self.calls.open().next().is_some() || self.replies.is_pending()
    }

    fn check_liveness(&mut self, is_long: bool) {
        self.check_at = Deadline::after(IDLE);
        Waitable::check_liveness(&mut self.replies, is_long);
        // The next receive returns the error.
        let _ = self.check_open_calls();
    }

    fn wait(&self) -> Wait {
        self.replies.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.replies.sleeps_on_futex()
    }
}
