//! What becomes of a call: its reply, or why there is none.
//!
//! It guarantees that each call ends: with its reply, or with what became of its request. Who has a
//! request in hand is seen in the service's ring, and whether that one lives is asked of the kernel
//! after each short sleep: so a server that dies is known of at once, and not at a deadline.

use super::call::{Call, CallSlot, Outcome};
use super::client::Client;
use super::status::RequestStatus;
use super::tags::{self, Kind, PREFIX, ReplyTag};
use crate::channel::RecvFailure;
use crate::cluster::error::CallError;
use crate::error::Form;
use crate::packet::{self, Packet};
use crate::ring::cursor::Taken;
use crate::ring::guard::ReadEndpoint as _;
use crate::wait::{Deadline, IDLE, PENDING, Timeout};
use rkyv::util::AlignedVec;
use std::time::Instant;

/// Why a call has no reply, as a letter of its server says.
#[cold]
fn why_none(archive: &[u8]) -> CallError {
    let words =
        packet::validate::<[u64; 2]>(archive).map(|words| words.map(|word| word.to_native()));
    match words {
        Ok([needed, limit]) if needed > limit => {
            CallError::ReplyTooLarge { needed: needed as usize, limit: limit as usize }
        }
        _ => CallError::NoReply,
    }
}

/// Which call a letter belongs to, and what it says of it.
pub(in crate::cluster) struct Addressed {
    pub(in crate::cluster) kind: Kind,
    pub(in crate::cluster) call_slot: CallSlot,
    /// Where the request was published; `None`: it is at hand, and the lane says enough.
    pub(in crate::cluster) position: Option<u64>,
}

impl Addressed {
    /// Bytes before its archive.
    #[inline]
    fn prefix(&self) -> usize {
        if self.position.is_some() { PREFIX } else { 0 }
    }
}

/// Whether a call is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Loss {
    /// It is not, or it is known already what came of it.
    None,
    /// Its server is gone, and a letter of his may lie behind what another one has not written yet.
    HeldUp,
    /// Its server is gone, and there is no letter.
    Sure,
}

/// What came of one call of several.
pub(in crate::cluster) type Any = (Call, Result<Found, CallError>);

/// What came of a call.
pub(in crate::cluster) enum Found {
    /// Its reply, in hand, whose archive begins here.
    InPlace(usize),
    /// Its reply, kept.
    Kept,
}

impl<Q: Packet, R: Packet> Client<Q, R> {
    /// The reply to a call, if it is the next letter and comes at once: the way of most, short and
    /// straight.
    #[inline(always)]
    pub(in crate::cluster) fn ready(&mut self, call: Call) -> bool {
        let Some(index) = self.calls.index_of_open(call) else { return false };
        let Some(taken) = self.replies.take_fast(Timeout::After(PENDING)) else { return false };
        let tag = ReplyTag { kind: Kind::Reply, call_slot: call.call_slot() };
        let is_its = taken.descriptor.tag() == tag.word()
            && taken.descriptor.type_index() == self.reply_type;
        if is_its {
            self.calls.end_at(index);
        } else {
            self.replies.leave_found(taken);
        }
        is_its
    }

    /// Waits for what comes of a call.
    pub(in crate::cluster) fn until<F: Form<CallError, ()>>(
        &mut self,
        call: Call,
        end: Option<Instant>,
    ) -> Result<Found, F> {
        loop {
            if let Some(found) = self.kept(call)? {
                return Ok(found);
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let timeout = Timeout::After(left.map_or(PENDING, |left| left.min(PENDING)));
            if let Some(Some(found)) = self.read(timeout, Some(call))? {
                return Ok(found);
            }
            if self.calls.get(call).is_some_and(|one| one.outcome.is_some()) {
                continue;
            }
            if left.is_some_and(|left| left.is_zero())
                && let Some(error) = F::not_ready(())
            {
                return Err(error);
            }
            self.ask_after(call)?;
        }
    }

    /// What came of any of the calls, after a short sleep.
    pub(in crate::cluster) fn find_any(
        &mut self,
        calls: &[Call],
    ) -> Result<Option<Any>, CallError> {
        for &call in calls {
            if let Some(found) = self.kept(call).transpose() {
                return Ok(Some((call, found)));
            }
        }
        if self.read(Timeout::After(PENDING), None)?.is_some() {
            return Ok(None);
        }
        self.ask_after_all()?;
        Ok(None)
    }

    /// What came of a call before it was asked for.
    fn kept(&mut self, call: Call) -> Result<Option<Found>, CallError> {
        let Some(one) = self.calls.get(call).filter(|one| !one.is_given_up) else {
            return Err(CallError::NotInFlight);
        };
        match one.outcome.take() {
            None => Ok(None),
            Some(outcome) => self.come_out(call, *outcome).map(Some),
        }
    }

    #[cold]
    fn come_out(&mut self, call: Call, outcome: Outcome) -> Result<Found, CallError> {
        match outcome {
            Outcome::Failed(error) => {
                self.calls.end(call);
                Err(error)
            }
            Outcome::Told(error) => {
                // Until it is over, no other call has its lane.
                self.calls.give_up(call, &self.own);
                Err(error)
            }
            Outcome::Reply(archive) => {
                self.calls.end(call);
                self.kept = archive;
                Ok(Found::Kept)
            }
        }
    }

    /// Reads one letter, if one is there, and notes what it says; `false`: none is.
    pub(in crate::cluster) fn note_next(&mut self) -> Result<bool, CallError> {
        Ok(self.read(Timeout::Zero, None)?.is_some())
    }

    /// Reads one letter, if one comes in time; `None`: none did. A reply to `wanted` stays in hand and
    /// is returned; what it says of another call is kept with that.
    fn read(
        &mut self,
        timeout: Timeout,
        wanted: Option<Call>,
    ) -> Result<Option<Option<Found>>, CallError> {
        let taken = match self.replies.take(timeout) {
            Ok(taken) => taken,
            Err(RecvFailure::NotReady(())) => return Ok(None),
            Err(RecvFailure::Error(error)) => {
                return Err(CallError::Corrupt(error.to_string().into()));
            }
        };
        let found = self.note(taken, wanted);
        if found.is_none() {
            self.replies.release();
        }
        Ok(Some(found))
    }

    /// What a letter says of itself.
    #[inline]
    pub(in crate::cluster) fn addressed(&self, taken: &Taken) -> Option<Addressed> {
        let ReplyTag { kind, call_slot } = ReplyTag::of(taken.descriptor.tag())?;
        let position = match kind {
            Kind::Reply => None,
            _ => Some(tags::position(self.replies.payload())?),
        };
        Some(Addressed { kind, call_slot, position })
    }

    /// Notes what a letter says of its call; a reply that is wanted is returned.
    #[inline]
    fn note(&mut self, taken: Taken, wanted: Option<Call>) -> Option<Found> {
        let Some(letter) = self.addressed(&taken) else {
            self.unreadable += 1;
            return None;
        };
        let one = self.calls.at(letter.call_slot, letter.position)?;
        let call = one.call;
        let is_reply = matches!(letter.kind, Kind::Reply | Kind::Late)
            && taken.descriptor.type_index() == self.reply_type;
        if is_reply && wanted == Some(call) && !one.is_given_up {
            self.calls.end(call);
            return Some(Found::InPlace(letter.prefix()));
        }
        self.note_slowly(&letter, is_reply);
        None
    }

    #[inline(never)]
    fn note_slowly(&mut self, letter: &Addressed, is_reply: bool) {
        let archive = &self.replies.payload()[letter.prefix()..];
        let Some(one) = self.calls.at(letter.call_slot, letter.position) else { return };
        if letter.kind == Kind::Deferred {
            match packet::validate::<[u64; 2]>(archive) {
                Ok(words) => {
                    one.deferred = Some((words[0].to_native() as usize, words[1].to_native()));
                }
                Err(_) => self.unreadable += 1,
            }
        } else if one.is_given_up {
            let call = one.call;
            self.calls.end(call);
        } else if is_reply {
            let mut copy = AlignedVec::with_capacity(archive.len());
            copy.extend_from_slice(archive);
            one.outcome = Some(Box::new(Outcome::Reply(copy)));
        } else {
            one.outcome = Some(Box::new(Outcome::Failed(why_none(archive))));
        }
    }

    /// After a sleep without a letter: is anybody at it still? Notes what became of it, if not.
    fn ask_after(&mut self, call: Call) -> Result<(), CallError> {
        let Some(one) = self.calls.get(call).filter(|one| one.outcome.is_none()) else {
            return Ok(());
        };
        let position = one.position;
        let outcome = if self.service.fate(position) == RequestStatus::Waiting {
            let is_left = !self.has_servers() && self.leave(call, position);
            is_left.then_some(Outcome::Told(CallError::NoService))
        } else {
            match self.look_for_loss(call)? {
                Loss::Sure => Some(Outcome::Failed(self.why_lost())),
                Loss::HeldUp if self.is_held_up_for_long(call) => {
                    Some(Outcome::Told(self.why_lost()))
                }
                Loss::HeldUp | Loss::None => None,
            }
        };
        if let Some(one) = self.calls.get(call).filter(|_| outcome.is_some()) {
            one.outcome = outcome.map(Box::new);
        }
        Ok(())
    }

    /// Has no server begin with a request that none has taken; `false`: one has.
    pub(in crate::cluster) fn leave(&mut self, call: Call, position: u64) -> bool {
        // First, so that one that takes it after the look sees it.
        self.calls.withhold(call, &self.own);
        let is_left = self.service.is_untaken(position);
        if !is_left {
            self.calls.want(call, &self.own);
        }
        is_left
    }

    /// The same, of all that are open.
    pub(in crate::cluster) fn ask_after_all(&mut self) -> Result<(), CallError> {
        let open: Vec<Call> = self.calls.open().collect();
        open.into_iter().try_for_each(|call| self.ask_after(call))
    }

    /// Why a call is over of which no letter says so.
    fn why_lost(&mut self) -> CallError {
        if self.unreadable == 0 {
            return CallError::ServiceGone;
        }
        self.unreadable -= 1;
        CallError::Corrupt("reply without a call id".into())
    }

    /// Whether nobody who lives has a call's request, or is to reply to it later, and no letter says
    /// what became of it.
    pub(in crate::cluster) fn look_for_loss(&mut self, call: Call) -> Result<Loss, CallError> {
        let Some(one) = self.calls.get(call) else { return Ok(Loss::None) };
        let is_held = match (self.service.fate(one.position), one.deferred) {
            (RequestStatus::Waiting | RequestStatus::InFlight(_), _) => true,
            (RequestStatus::Over, Some((entry, incarnation))) => {
                self.service.is_there(entry, incarnation)
            }
            (RequestStatus::Over, None) => false,
        };
        if is_held || self.service.is_postponed(one.position) {
            return Ok(Loss::None);
        }
        // Letters come before the hand: what was sent is there by now.
        while self.note_next()? {}
        let is_held_up = self.replies.is_held_up();
        let Some(one) = self.calls.get(call) else { return Ok(Loss::None) };
        let is_deferred = one
            .deferred
            .is_some_and(|(entry, incarnation)| self.service.is_there(entry, incarnation));
        Ok(match one.outcome {
            Some(_) => Loss::None,
            None if is_deferred => Loss::None,
            None if is_held_up => Loss::HeldUp,
            None => Loss::Sure,
        })
    }

    /// Whether a letter was waited for long enough: what is in its way may be a claim of one who was
    /// stopped there, which nobody may take from him.
    fn is_held_up_for_long(&mut self, call: Call) -> bool {
        let one = self.calls.get(call);
        one.is_some_and(|one| one.held_up.get_or_insert(Deadline::after(IDLE)).has_passed())
    }

    pub(in crate::cluster) fn has_servers(&self) -> bool {
        self.service.subscribers() > 0
    }
}
