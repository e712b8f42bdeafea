//! Replies that come later than the handler.

use super::Service;
use super::call::RequestId;
use crate::cluster::error::ReplyError;
use crate::packet::Packet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// The right to reply later. It has no borrow and can go to another thread; the reply goes by the
/// service that the request came to, or by another one of this process. Dropping it is no reply,
/// which the caller is told when the service next receives.
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
    asked: RequestId,
    dropped: Dropped,
    is_over: bool,
    packet: PhantomData<fn(R)>,
}

/// What deferred replies were dropped.
pub(in crate::cluster) type Dropped = Arc<Mutex<Vec<RequestId>>>;

/// What a deferred reply goes by: a [`Service`].
pub trait Replier<R: Packet> {
    #[doc(hidden)]
    fn reply_later(&mut self, to: RequestId, reply: &R) -> Result<(), ReplyError>;
    #[doc(hidden)]
    fn waits_for(&mut self, to: RequestId) -> bool;
}

impl<R: Packet> Deferred<R> {
    pub(in crate::cluster) fn new(asked: RequestId, dropped: Dropped) -> Self {
        Self { asked, dropped, is_over: false, packet: PhantomData }
    }

    /// Replies.
    ///
    /// # Errors
    ///
    /// As [`Request::reply`](crate::cluster::Request::reply); [`Open`](ReplyError::Open) if `service` is another
    /// one than the request came to and cannot reach the caller now, who is told that there is no reply.
    pub fn reply(mut self, service: &mut impl Replier<R>, reply: &R) -> Result<(), ReplyError> {
        let outcome = service.reply_later(self.asked, reply);
        // One that cannot be sent is no reply. Who is not found by another service may be there for the
        // one that it called.
        self.is_over = !matches!(
            outcome,
            Err(ReplyError::Open(_) | ReplyError::Full | ReplyError::CallerGone)
        );
        outcome
    }

    /// Whether somebody waits for the reply: the caller lives, and has not given this call up.
    pub fn is_wanted(&self, service: &mut impl Replier<R>) -> bool {
        service.waits_for(self.asked)
    }
}

impl<R: Packet> fmt::Debug for Deferred<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("caller", &self.asked.caller.worker())
            .field("reply", &R::TYPE.name)
            .finish_non_exhaustive()
    }
}

impl<R: Packet> Drop for Deferred<R> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            dropped.push(self.asked);
        }
    }
}

impl<Q: Packet, R: Packet> Replier<R> for Service<Q, R> {
    fn reply_later(&mut self, to: RequestId, reply: &R) -> Result<(), ReplyError> {
        self.server.reply_late(to, reply)
    }

    fn waits_for(&mut self, to: RequestId) -> bool {
        self.server.is_wanted(to)
    }
}
