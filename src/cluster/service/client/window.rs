//! The window of a client: its calls in flight.
//!
//! A call takes one of 32 places from its start until its reply is read, or until it is known that
//! no reply will come. A cancelled call keeps its place until then, too. Two guarantees follow:
//!
//! - The reply ring always has room for the replies to all calls in flight.
//! - A call slot is not reused while a request or a direct reply of its call can still arrive.

use crate::channel::Ring;
use crate::cluster::error::CallError;
use crate::cluster::service::tags::{Call, CallSlot, WINDOW};
use crate::wait::Deadline;
use rkyv::util::AlignedVec;

/// The end of a call that was not reported yet.
#[derive(Debug)]
pub(super) enum CallOutcome {
    /// The archive of its reply.
    Reply(AlignedVec<16>),
    /// There is no reply, and the call is over.
    Failed(CallError),
    /// The error is reported, but the call keeps its place: a server may still find its request, or
    /// a late message may arrive.
    FailedEarly(CallError),
}

/// A call in flight.
#[derive(Debug)]
pub(super) struct CallState {
    pub(super) call: Call,
    /// Position of the request in the request ring.
    pub(super) position: u64,
    pub(super) is_given_up: bool,
    /// The server that will reply later: its entry and incarnation.
    pub(super) deferred: Option<(usize, u64)>,
    /// How long to wait for a message that may follow another server's open claim.
    pub(super) blocked_until: Option<Deadline>,
    pub(super) outcome: Option<Box<CallOutcome>>,
}

/// All calls in flight of one client.
#[derive(Debug)]
pub(super) struct Calls {
    list: Vec<CallState>,
    next: u64,
    /// The bits of the call slots that were given up.
    given_up: u64,
}

impl Calls {
    /// An empty window. `first` is the number of the first call.
    pub(super) fn starting_at(first: u64) -> Self {
        Self { list: Vec::with_capacity(WINDOW), next: first, given_up: 0 }
    }

    /// Returns true if no further call can start.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= WINDOW
    }

    /// Returns true if no call is in flight.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Numbers a new call, whose call slot is free. The window must not be full.
    #[inline]
    pub(super) fn number(&mut self) -> Call {
        let mut call = Call(self.next);
        while self.list.iter().any(|state| state.call.call_slot() == call.call_slot()) {
            call = Call(call.0.wrapping_add(1));
        }
        self.next = call.0.wrapping_add(1);
        call
    }

    /// Adds a call whose request was published at a position.
    pub(super) fn add(&mut self, call: Call, position: u64) {
        self.list.push(CallState {
            call,
            position,
            is_given_up: false,
            deferred: None,
            blocked_until: None,
            outcome: None,
        });
    }

    /// The state of a call. `None` if it is over, or belongs to another client.
    pub(super) fn get(&mut self, call: Call) -> Option<&mut CallState> {
        self.list.iter_mut().find(|state| state.call == call)
    }

    /// The call in flight with this call slot. If `position` is given, its request must be there.
    #[inline]
    pub(super) fn find(
        &mut self,
        call_slot: CallSlot,
        position: Option<u64>,
    ) -> Option<&mut CallState> {
        let state = self.list.iter_mut().find(|state| state.call.call_slot() == call_slot)?;
        position.is_none_or(|position| position == state.position).then_some(state)
    }

    /// Index of a call that was not given up and has no outcome yet.
    #[inline]
    pub(super) fn index_of_open(&self, call: Call) -> Option<usize> {
        self.list
            .iter()
            .position(|state| state.call == call && !state.is_given_up && state.outcome.is_none())
    }

    /// Removes the call at an index.
    #[inline]
    pub(super) fn remove_at(&mut self, index: usize) {
        self.list.swap_remove(index);
    }

    /// Removes a call.
    pub(super) fn remove(&mut self, call: Call) {
        let Some(index) = self.list.iter().position(|state| state.call == call) else { return };
        self.remove_at(index);
    }

    /// The calls that were not given up.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &CallState> {
        self.list.iter().filter(|state| !state.is_given_up)
    }

    /// The calls that were given up.
    pub(super) fn given_up(&self) -> Vec<Call> {
        self.list.iter().filter(|state| state.is_given_up).map(|state| state.call).collect()
    }

    /// Returns true if calls are in flight and all were given up.
    #[inline]
    pub(super) fn are_all_given_up(&self) -> bool {
        !self.list.is_empty() && self.wanted().next().is_none()
    }

    /// The wanted calls without an outcome.
    pub(super) fn open(&self) -> impl Iterator<Item = Call> {
        self.wanted().filter(|state| state.outcome.is_none()).map(|state| state.call)
    }

    /// Returns true if a wanted call has an outcome.
    pub(super) fn has_outcome(&self) -> bool {
        self.wanted().any(|state| state.outcome.is_some())
    }

    /// Gives a call up: its reply is discarded when it arrives.
    pub(super) fn give_up(&mut self, call: Call, replies: &Ring) {
        let Some(state) = self.get(call) else { return };
        state.is_given_up = true;
        let outcome = state.outcome.take();
        if outcome.is_some_and(|outcome| !matches!(*outcome, CallOutcome::FailedEarly(_))) {
            self.remove(call);
        }
        self.set_given_up(call, replies);
    }

    /// Sets the call's bit in the reply ring: a server that takes the request from now on skips it.
    pub(super) fn set_given_up(&mut self, call: Call, replies: &Ring) {
        self.given_up |= call.call_slot().bit();
        replies.set_given_up(self.given_up);
    }

    /// Clears the bit of the call's slot, which an earlier call may have set.
    pub(super) fn clear_given_up(&mut self, call: Call, replies: &Ring) {
        if self.given_up & call.call_slot().bit() != 0 {
            self.given_up &= !call.call_slot().bit();
            replies.set_given_up(self.given_up);
        }
    }
}
