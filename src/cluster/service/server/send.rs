//! Messages to callers: replies, late replies, no-reply messages and deferred messages.

use super::Server;
use super::callers::{LOCK_TIMEOUT, ReachError};
use crate::cluster::error::ReplyError;
use crate::cluster::names::CallerId;
use crate::cluster::service::tags::RequestId;
use crate::cluster::service::tags::{self, ReplyKind, ReplyTag};
use crate::packet::Packet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The content of a no-reply message for a request that was dropped.
const DROPPED: [usize; 2] = [0; 2];

impl Server {
    /// Sends a no-reply message for each deferred reply that was dropped.
    #[inline]
    pub(super) fn report_dropped(&mut self) {
        if self.has_deferred {
            self.report_dropped_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn report_dropped_slow(&mut self) {
        // Counted before the list is read: a reply that was dropped before the count is in the
        // list.
        self.has_deferred = Arc::strong_count(&self.dropped) > 1;
        let dropped =
            std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        for request in dropped {
            let _ = self.send_none(request, DROPPED);
        }
    }

    /// Sends the reply to the open request, or a no-reply message if it cannot be sent. Releases
    /// the request.
    #[inline]
    pub(in crate::cluster::service) fn reply<R: Packet>(
        &mut self,
        reply: &R,
    ) -> Result<(), ReplyError> {
        let Some(request) = self.open else { return Err(ReplyError::CallerGone) };
        let tag = ReplyTag { kind: ReplyKind::Reply, call_slot: request.call_slot }.word();
        // The check for unread messages reads a cache line that the client has just written.
        match self.send(request.caller, (tag, &[]), !self.is_only, reply) {
            Ok(()) => {
                self.close();
                Ok(())
            }
            Err(error) => Err(self.fail(request, error)),
        }
    }

    /// Ends the open request after its reply could not be sent.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, request: RequestId, error: ReplyError) -> ReplyError {
        self.send_failure(request, &error);
        self.close();
        error
    }

    /// Sends a late reply, or a no-reply message if it cannot be sent.
    pub(in crate::cluster::service) fn reply_late<R: Packet>(
        &mut self,
        request: RequestId,
        reply: &R,
    ) -> Result<(), ReplyError> {
        let outcome = self.send_named(request, ReplyKind::Late, reply);
        if let Err(error) = &outcome {
            self.send_failure(request, error);
        }
        outcome
    }

    /// Sends a no-reply message if the reply itself caused the error, and not the caller.
    fn send_failure(&mut self, request: RequestId, error: &ReplyError) {
        let reason = match *error {
            ReplyError::TooLarge { needed, limit } => [needed, limit],
            ReplyError::Unserializable(_) => DROPPED,
            _ => return,
        };
        let _ = self.send_none(request, reason);
    }

    /// Sends a no-reply message: the bytes that the reply needs and the limit, or [`DROPPED`].
    fn send_none(&mut self, request: RequestId, reason: [usize; 2]) -> Result<(), ReplyError> {
        self.send_named(request, ReplyKind::NoReply, &reason.map(|word| word as u64))
    }

    /// Tells the caller that this server replies later.
    pub(in crate::cluster::service) fn send_deferred(&mut self, request: RequestId) {
        let (entry, incarnation) = self.receiver.entry_and_incarnation();
        // A caller that is gone needs no message.
        let _ = self.send_named(request, ReplyKind::Deferred, &[entry as u64, incarnation]);
    }

    /// Sends a message that carries the position of the request.
    fn send_named<T: Packet>(
        &mut self,
        request: RequestId,
        kind: ReplyKind,
        packet: &T,
    ) -> Result<(), ReplyError> {
        let tag = ReplyTag { kind, call_slot: request.call_slot }.word();
        let may_have_unread = !(self.is_only && self.open == Some(request));
        self.send(request.caller, (tag, &tags::prefix(request.position)), may_have_unread, packet)
    }

    /// Sends a message to a caller.
    #[inline(always)]
    fn send<T: Packet>(
        &mut self,
        to: CallerId,
        header: (u16, &[u8]),
        may_have_unread: bool,
        packet: &T,
    ) -> Result<(), ReplyError> {
        if self.callers.last(to).is_none() {
            self.find(to)?;
        }
        self.callers.last_mut().send(header, may_have_unread, packet)
    }

    /// Makes the caller with this id the last one.
    #[inline(never)]
    fn find(&mut self, id: CallerId) -> Result<(), ReplyError> {
        self.reach(id, LOCK_TIMEOUT).map_err(|error| match error {
            ReachError::Gone => ReplyError::CallerGone,
            ReachError::NotNow(error) => ReplyError::Open(Box::new(error)),
        })
    }

    /// Makes the caller with this id the last one, and attaches to its ring if need be. Does not
    /// wait for a caller that has postponed requests.
    pub(super) fn reach(&mut self, id: CallerId, timeout: Duration) -> Result<(), ReachError> {
        if self.callers.select(id) {
            return Ok(());
        }
        let is_postponed = self.postponed.has_from(|caller| caller == id);
        self.callers.attach(id, if is_postponed { Duration::ZERO } else { timeout })
    }

    /// Returns true if the caller of this request waits for the reply.
    pub(in crate::cluster::service) fn is_wanted(&mut self, request: RequestId) -> bool {
        self.find(request.caller).is_ok()
            && self.callers.waits_for(request.caller, request.call_slot)
    }

    /// Ends the open request with a no-reply message.
    pub(in crate::cluster::service) fn no_reply(&mut self) {
        if let Some(request) = self.open {
            let _ = self.send_none(request, DROPPED);
        }
        self.close();
    }
}
