//! The completion of calls: with a reply, or with the reason why there is none.
//!
//! Each call completes. The request ring shows which server has a request in flight, and that
//! server's liveness lock shows whether it lives. The client checks both after each short sleep, so
//! it notices the death of a server within milliseconds, before the call's timeout.
//!
//! The server writes its message before it releases the request. So if no living server has a
//! request, and the reply ring was read after that check, then a call without a message is lost.

use super::window::{CallOutcome, Calls};
use crate::channel::{HoldsPacket as _, Receiver, RecvError, RecvFailure, Ring, Taken};
use crate::cluster::error::CallError;
use crate::cluster::names::Cluster;
use crate::cluster::service::status::RequestStatus;
use crate::cluster::service::tags::{self, PREFIX, ReplyKind, ReplyTag};
use crate::cluster::service::tags::{Call, CallSlot};
use crate::packet;
use crate::wait::{Deadline, IDLE, PENDING, Pace, Subject, Timeout};
use rkyv::util::AlignedVec;

/// A client without its packet types: reads replies and completes calls.
pub(super) struct CallTracker {
    /// The cluster, for the names of workers in errors.
    pub(super) cluster: Cluster,
    pub(super) service: Ring,
    pub(super) replies: Receiver,
    /// The reply ring.
    pub(super) own: Ring,
    reply_type: u16,
    pub(super) calls: Calls,
    /// A copied reply: it arrived while the client waited for another one.
    pub(super) copy: AlignedVec<16>,
    /// Messages without a valid call id. Each explains one lost call.
    unreadable: usize,
    /// When `select` checks the open calls again.
    pub(super) check_at: Deadline,
}

/// The subject of a wait for a call.
pub(super) const CALL: Subject = Subject { id: 0, is_pending: true };

/// The place of a reply's archive.
pub(super) enum ReplyPlace {
    /// The packet in flight, and the number of bytes before the archive.
    InRing(usize),
    /// [`CallTracker::copy`].
    Copied,
}

/// Result of reading one message from the reply ring.
enum MessageRead {
    /// No message arrived in time.
    Nothing,
    /// The message was recorded at its call.
    Recorded,
    /// The wanted reply.
    Reply(ReplyPlace),
}

/// Whether a call is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallLoss {
    /// It is not lost, or its outcome is known.
    NotLost,
    /// No living server has it. A message may follow another server's open claim.
    Blocked,
    /// No living server has it, and there is no message.
    Lost,
}

/// The call of a message, and the kind of the message.
pub(super) struct ReplyHeader {
    pub(super) kind: ReplyKind,
    pub(super) call_slot: CallSlot,
    /// Position of the request. `None` for a direct reply, which its call slot identifies.
    pub(super) position: Option<u64>,
}

impl ReplyHeader {
    /// Bytes before the archive.
    #[inline]
    fn prefix(&self) -> usize {
        if self.position.is_some() { PREFIX } else { 0 }
    }
}

/// Decodes a no-reply message.
#[cold]
fn no_reply_error(archive: &[u8]) -> CallError {
    let words =
        packet::validate::<[u64; 2]>(archive).map(|words| words.map(|word| word.to_native()));
    match words {
        Ok([needed, limit]) if needed > limit => {
            CallError::ReplyTooLarge { needed: needed as usize, limit: limit as usize }
        }
        _ => CallError::NoReply,
    }
}

impl CallTracker {
    pub(super) fn new(
        cluster: &Cluster,
        service: Ring,
        (replies, reply_type): (Receiver, u16),
        own: Ring,
        first_call: u64,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            service,
            replies,
            own,
            reply_type,
            calls: Calls::starting_at(first_call),
            copy: AlignedVec::new(),
            unreadable: 0,
            check_at: Deadline::after(IDLE),
        }
    }

    /// Fast path: takes the direct reply to a call if it is the next message. Returns false if
    /// [`wait_for`](Self::wait_for) must decide.
    #[inline(always)]
    pub(super) fn take_fast(&mut self, call: Call) -> bool {
        let Some(index) = self.calls.index_of_open(call) else { return false };
        let Some(taken) = self.replies.take_fast(Timeout::After(PENDING)) else { return false };
        let tag = ReplyTag { kind: ReplyKind::Reply, call_slot: call.call_slot() };
        let is_its = taken.descriptor.tag() == tag.word()
            && taken.descriptor.type_index() == self.reply_type;
        if is_its {
            self.calls.remove_at(index);
        } else {
            self.replies.leave_found(taken);
        }
        is_its
    }

    /// Waits until a call completes. `None` if it did not before the deadline.
    pub(super) fn wait_for(
        &mut self,
        call: Call,
        deadline: Deadline,
    ) -> Result<Option<ReplyPlace>, CallError> {
        let (mut patience, mut pace) = (None, Pace::new());
        // Not `wait_until`: one bounded read is both the look and the pause, and a timeout below
        // `PENDING` still checks the server.
        loop {
            if let Some(place) = self.take_outcome(call)? {
                return Ok(Some(place));
            }
            pace.begin(CALL);
            let bound = pace.sleep(deadline);
            let is_over = deadline.has_passed();
            match self.read(Timeout::After(bound), Some(call))? {
                MessageRead::Reply(place) => return Ok(Some(place)),
                _ if self.calls.get(call).is_some_and(|state| state.outcome.is_some()) => {}
                _ if is_over => return Ok(None),
                _ if !pace.is_due() && !deadline.has_passed() => {}
                _ => {
                    self.check_call(call)?;
                    if self.waits_for_itself(&mut patience) {
                        self.give_up_on_itself(call);
                    }
                }
            }
        }
    }

    /// Waits until any wanted call completes.
    pub(super) fn wait_for_any(
        &mut self,
    ) -> Result<(Call, Result<ReplyPlace, CallError>), CallError> {
        let (mut patience, mut pace) = (None, Pace::new());
        loop {
            let calls: Vec<Call> = self.calls.wanted().map(|state| state.call).collect();
            if calls.is_empty() {
                return Err(CallError::NotInFlight);
            }
            for call in calls {
                if let Some(place) = self.take_outcome(call).transpose() {
                    return Ok((call, place));
                }
            }
            pace.begin(CALL);
            let bound = pace.sleep(Deadline::NEVER);
            let read = self.read(Timeout::After(bound), None)?;
            if matches!(read, MessageRead::Nothing) && pace.is_due() {
                self.check_open_calls()?;
                if self.waits_for_itself(&mut patience) {
                    let open: Vec<Call> = self.calls.open().collect();
                    open.into_iter().for_each(|call| self.give_up_on_itself(call));
                }
            }
        }
    }

    /// Takes the recorded outcome of a call.
    fn take_outcome(&mut self, call: Call) -> Result<Option<ReplyPlace>, CallError> {
        let Some(state) = self.calls.get(call).filter(|state| !state.is_given_up) else {
            return Err(CallError::NotInFlight);
        };
        match state.outcome.take() {
            None => Ok(None),
            Some(outcome) => self.complete(call, *outcome).map(Some),
        }
    }

    #[cold]
    fn complete(&mut self, call: Call, outcome: CallOutcome) -> Result<ReplyPlace, CallError> {
        match outcome {
            CallOutcome::Failed(error) => {
                self.calls.remove(call);
                Err(error)
            }
            CallOutcome::FailedEarly(error) => {
                // The call slot stays taken until the call is over.
                self.calls.give_up(call, &self.own);
                Err(error)
            }
            CallOutcome::Reply(archive) => {
                self.calls.remove(call);
                self.copy = archive;
                Ok(ReplyPlace::Copied)
            }
        }
    }

    /// Records the next message, if there is one. Returns false if there is none.
    pub(super) fn record_next(&mut self) -> Result<bool, CallError> {
        Ok(!matches!(self.read(Timeout::Zero, None)?, MessageRead::Nothing))
    }

    /// Reads one message. A reply to `wanted` stays in flight; any other message is recorded.
    fn read(&mut self, timeout: Timeout, wanted: Option<Call>) -> Result<MessageRead, CallError> {
        let taken = match self.replies.take(timeout) {
            Ok(taken) => taken,
            Err(RecvFailure::NotReady(())) => return Ok(MessageRead::Nothing),
            Err(RecvFailure::Error(RecvError::Detached(cause))) => {
                return Err(CallError::Detached(cause));
            }
            Err(RecvFailure::Error(error)) => {
                return Err(CallError::Corrupt(error.to_string().into()));
            }
        };
        match self.sort(taken, wanted) {
            Some(place) => Ok(MessageRead::Reply(place)),
            None => {
                self.replies.release();
                Ok(MessageRead::Recorded)
            }
        }
    }

    /// Decodes the header of a message. `None` if it is not valid.
    #[inline]
    pub(super) fn header(&self, taken: &Taken) -> Option<ReplyHeader> {
        let ReplyTag { kind, call_slot } = ReplyTag::of(taken.descriptor.tag())?;
        let position = match kind {
            ReplyKind::Reply => None,
            _ => Some(tags::position(self.replies.payload())?),
        };
        Some(ReplyHeader { kind, call_slot, position })
    }

    /// Returns the message in flight if it is the wanted reply, and records it otherwise.
    #[inline]
    fn sort(&mut self, taken: Taken, wanted: Option<Call>) -> Option<ReplyPlace> {
        let Some(header) = self.header(&taken) else {
            self.unreadable += 1;
            return None;
        };
        let state = self.calls.find(header.call_slot, header.position)?;
        let call = state.call;
        let is_reply = matches!(header.kind, ReplyKind::Reply | ReplyKind::Late)
            && taken.descriptor.type_index() == self.reply_type;
        if is_reply && wanted == Some(call) && !state.is_given_up {
            self.calls.remove(call);
            return Some(ReplyPlace::InRing(header.prefix()));
        }
        self.record(&header, is_reply);
        None
    }

    #[inline(never)]
    fn record(&mut self, header: &ReplyHeader, is_reply: bool) {
        let archive = &self.replies.payload()[header.prefix()..];
        let Some(state) = self.calls.find(header.call_slot, header.position) else { return };
        if header.kind == ReplyKind::Deferred {
            match packet::validate::<[u64; 2]>(archive) {
                Ok(words) => {
                    state.deferred = Some((words[0].to_native() as usize, words[1].to_native()));
                }
                Err(_) => self.unreadable += 1,
            }
        } else if state.is_given_up {
            let call = state.call;
            self.calls.remove(call);
        } else if is_reply {
            let mut copy = AlignedVec::with_capacity(archive.len());
            copy.extend_from_slice(archive);
            state.outcome = Some(Box::new(CallOutcome::Reply(copy)));
        } else {
            state.outcome = Some(Box::new(CallOutcome::Failed(no_reply_error(archive))));
        }
    }

    /// Checks a call without a message: records its outcome if no living server works on it.
    fn check_call(&mut self, call: Call) -> Result<(), CallError> {
        let Some(state) = self.calls.get(call).filter(|state| state.outcome.is_none()) else {
            return Ok(());
        };
        let position = state.position;
        let outcome = if self.service.request_status(position) == RequestStatus::Waiting {
            let is_withdrawn = !self.has_servers() && self.withdraw(call, position);
            is_withdrawn.then_some(CallOutcome::FailedEarly(CallError::NoService))
        } else {
            match self.find_loss(call)? {
                CallLoss::Lost => Some(CallOutcome::Failed(self.loss_error())),
                CallLoss::Blocked if self.is_blocked_for_long(call) => {
                    Some(CallOutcome::FailedEarly(self.loss_error()))
                }
                CallLoss::Blocked | CallLoss::NotLost => None,
            }
        };
        if let Some(state) = self.calls.get(call).filter(|_| outcome.is_some()) {
            state.outcome = outcome.map(Box::new);
        }
        Ok(())
    }

    /// Checks all open calls.
    pub(super) fn check_open_calls(&mut self) -> Result<(), CallError> {
        let open: Vec<Call> = self.calls.open().collect();
        open.into_iter().try_for_each(|call| self.check_call(call))
    }

    /// Withdraws a request that no server has taken. Returns false if a server has taken it.
    pub(super) fn withdraw(&mut self, call: Call, position: u64) -> bool {
        // Before the check: a server that takes the request after it sees the bit.
        self.calls.set_given_up(call, &self.own);
        let is_untaken = self.service.is_untaken(position);
        if !is_untaken {
            self.calls.clear_given_up(call, &self.own);
        }
        is_untaken
    }

    /// The error of a lost call.
    fn loss_error(&mut self) -> CallError {
        if self.unreadable == 0 {
            return CallError::ServiceGone;
        }
        self.unreadable -= 1;
        CallError::Corrupt("reply without a call id".into())
    }

    /// Checks whether a call is lost: no living server has its request or deferred the reply, and
    /// there is no message about it.
    pub(super) fn find_loss(&mut self, call: Call) -> Result<CallLoss, CallError> {
        let Some(state) = self.calls.get(call) else { return Ok(CallLoss::NotLost) };
        let is_held = match (self.service.request_status(state.position), state.deferred) {
            (RequestStatus::Waiting | RequestStatus::InFlight(_), _) => true,
            (RequestStatus::Over, Some((entry, incarnation))) => {
                self.service.is_server_alive(entry, incarnation)
            }
            (RequestStatus::Over, None) => false,
        };
        if is_held || self.service.is_postponed(state.position) {
            return Ok(CallLoss::NotLost);
        }
        // The server sends its message before it releases the request, so the message is there by
        // now.
        while self.record_next()? {}
        let is_blocked = self.replies.is_held_up();
        let Some(state) = self.calls.get(call) else { return Ok(CallLoss::NotLost) };
        let is_deferred = state
            .deferred
            .is_some_and(|(entry, incarnation)| self.service.is_server_alive(entry, incarnation));
        Ok(match state.outcome {
            Some(_) => CallLoss::NotLost,
            None if is_deferred => CallLoss::NotLost,
            None if is_blocked => CallLoss::Blocked,
            None => CallLoss::Lost,
        })
    }

    /// Returns true if the reply ring has been blocked for 50 ms. The owner of the open claim may
    /// be stopped, and no process may take the claim from a living one.
    fn is_blocked_for_long(&mut self, call: Call) -> bool {
        let state = self.calls.get(call);
        state.is_some_and(|state| {
            state.blocked_until.get_or_insert(Deadline::after(IDLE)).has_passed()
        })
    }

    /// Returns true if a server lives. Costs a system call for each server.
    pub(super) fn has_servers(&self) -> bool {
        self.service.subscribers() > 0
    }
}
