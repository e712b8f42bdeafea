//! Deferred replies: sent after the handler has released the request.

use super::tags::RequestId;
use crate::cluster::error::ReplyError;
use crate::packet::{Packet, SendAs};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// The right to reply later. It has no borrow and can move to another thread.
///
/// The reply is sent by the service that received the request, or by another service of this
/// process. If a `Deferred` is dropped, the caller gets
/// [`NoReply`](crate::cluster::CallError::NoReply) at the service's next receive.
///
/// ```
/// # let cluster = format!("deferred-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::Request;
///
/// let worker = Worker::join(&cluster, "both")?;
/// let mut server = worker.service::<u64, u64>("double")?;
/// let mut client = worker.client::<u64, u64>("double")?;
/// let calls = [client.start(&1)?, client.start(&2)?];
///
/// let request = server.recv()?;
/// let doubled = request.to_native() * 2;
/// let later = Request::defer(request); // The service receives on meanwhile.
/// Request::reply(server.recv()?, &4)?;
/// later.reply(&mut server, &doubled)?;
///
/// assert_eq!(*client.wait(calls[1])?, 4);
/// assert_eq!(*client.wait(calls[0])?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the caller of a dropped request gets no reply"]
pub struct Deferred<R: Packet> {
    request: RequestId,
    dropped: DroppedReplies,
    is_over: bool,
    packet: PhantomData<fn(R)>,
}

/// The requests whose deferred replies were dropped.
pub(super) type DroppedReplies = Arc<Mutex<Vec<RequestId>>>;

/// Sends deferred replies: a [`Service`](super::Service).
pub trait Replier<R: Packet> {
    #[doc(hidden)]
    fn reply_later(
        &mut self,
        to: RequestId,
        reply: &impl Packet<Archived = R::Archived>,
    ) -> Result<(), ReplyError>;
    #[doc(hidden)]
    fn waits_for(&mut self, to: RequestId) -> bool;
}

impl<R: Packet> Deferred<R> {
    pub(super) fn new(request: RequestId, dropped: DroppedReplies) -> Self {
        Self { request, dropped, is_over: false, packet: PhantomData }
    }

    /// Sends the reply: `&reply`, or a [borrowed form](SendAs) of it.
    ///
    /// # Errors
    ///
    /// As [`Request::reply`](super::Request::reply). [`Open`](ReplyError::Open) if `service` did
    /// not receive the request and cannot reach the caller now; the caller gets
    /// [`NoReply`](crate::cluster::CallError::NoReply).
    pub fn reply(
        mut self,
        service: &mut impl Replier<R>,
        reply: impl SendAs<R>,
    ) -> Result<(), ReplyError> {
        let outcome = service.reply_later(self.request, reply.value());
        // After these errors, the service that received the request tries to send a no-reply
        // message: it may reach a caller that `service` does not reach.
        self.is_over = !matches!(
            outcome,
            Err(ReplyError::Open(_) | ReplyError::Full | ReplyError::CallerGone)
        );
        outcome
    }

    /// Returns true if the caller lives and has not cancelled this call.
    ///
    /// Costs a system call.
    pub fn is_wanted(&self, service: &mut impl Replier<R>) -> bool {
        service.waits_for(self.request)
    }
}

impl<R: Packet> fmt::Debug for Deferred<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("caller", &self.request.caller.worker())
            .field("reply", &R::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<R: Packet> Drop for Deferred<R> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            dropped.push(self.request);
        }
    }
}
