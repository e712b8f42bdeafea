//! The server that a call waits for: for errors, and to notice that a thread waits for itself.

use super::completion::CallTracker;
use super::window::CallOutcome;
use crate::channel::{EntryId, consumers};
use crate::cluster::directory;
use crate::cluster::error::{CallError, ServerProcess, WaitingForServer};
use crate::cluster::service::call::Call;
use crate::cluster::service::own_thread::{self, PATIENCE};
use crate::cluster::service::status::RequestStatus;
use crate::sync::Ordering;
use crate::wait::Deadline;

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
