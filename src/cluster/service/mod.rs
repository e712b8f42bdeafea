//! Services: typed requests and replies between workers.
//!
//! A request is handed out to one server, at most once. Its guard ends with a reply, with a
//! [`Deferred`] reply, or, if it is dropped by `?` or a panic, with a message that there is no
//! reply.
//!
//! - this file: [`Service`] and [`Request`], over the untyped `server`.
//! - `client`: [`Client`], [`Reply`], and the completion of calls.
//! - `call`, `tags`, `ring`: what both sides share.
//!
//! The protocol is described in `docs/internals/services.md`.

mod client;
mod deferred;
mod own_thread;
mod ring;
mod server;
mod status;
mod tags;

pub use client::{Client, Reply};
pub use deferred::{Deferred, Replier};
pub use tags::Call;

use super::error::{
    ReplyError, ServiceRecvError, ServiceRecvFailure, ServiceRecvTimeoutError, TryServiceRecvError,
};
use super::names::WorkerId;
use super::worker::Worker;
use crate::channel::{ReadGuard, Selectable, Selectee, StableBytes, Types, verb};
use crate::error::{Form, OpenError};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, SendAs};
use crate::wait::{Deadline, Timeout, Wait, wait_until};
use server::Server;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;
use tags::RequestId;

/// Longest sleep of a service. After it, the service sends a no-reply message for each dropped
/// `Deferred`.
const REPORT_DROPPED: Duration = Duration::from_millis(50);

/// Serves requests of type `Q` with replies of type `R`. Several servers may use one name; each
/// request goes to one of them.
///
/// A reply has at most 31,648 bytes, so that a client has room for the replies to all calls in
/// flight. A request has at most about 512 KiB. Send larger data by a topic, an inbox, or in parts.
///
/// # When a server dies
///
/// A request that the dead server had taken is not executed again; its caller gets
/// [`ServiceGone`](super::CallError::ServiceGone) within milliseconds. Other requests go to the
/// servers that are left. Without any, their callers get
/// [`NoService`](super::CallError::NoService).
///
/// # When a caller dies or cancels
///
/// A receive skips requests whose callers are gone or have cancelled the call. If that happens
/// later, [`Request::is_wanted`] returns false.
///
/// # Examples
///
/// ```
/// # let cluster = format!("serves-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::{Request, ServiceRecvTimeoutError};
/// use std::time::Duration;
///
/// let worker = Worker::join(&cluster, "doubler")?;
/// let mut server = worker.service::<u64, u64>("double")?;
/// # let mut client = worker.client::<u64, u64>("double")?;
/// # let call = client.start(&21)?;
/// loop {
///     match server.recv_timeout(Duration::from_millis(100)) {
///         Ok(request) => {
///             let doubled = request.to_native() * 2;
///             Request::reply(request, &doubled)?;
///         }
///         Err(ServiceRecvTimeoutError::Timeout) => break, // No call for a while.
///         Err(error) => eprintln!("request skipped or postponed: {error}"),
///     }
/// }
/// # assert_eq!(*client.wait(call)?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Service<Q: Packet, R: Packet> {
    server: Server,
    packets: PhantomData<fn(Q) -> R>,
}

/// A request, read in place. If it is dropped without a reply, by `?` or a panic, the caller gets
/// [`NoReply`](super::CallError::NoReply).
///
/// It derefs to the archived request, so everything else is an associated function.
///
/// ```
/// # let cluster = format!("request-{}", std::process::id());
/// use packetring::Worker;
/// use packetring::cluster::{CallError, Request};
///
/// let worker = Worker::join(&cluster, "both")?;
/// let mut server = worker.service::<String, u64>("length")?;
/// let mut client = worker.client::<String, u64>("length")?;
///
/// let call = client.start(&"seven".to_owned())?;
/// let request = server.recv()?;
/// let length = request.len() as u64; // An `ArchivedString`, in its slot.
/// Request::reply(request, &length)?;
/// assert_eq!(*client.wait(call)?, 5);
///
/// let call = client.start(&String::new())?;
/// drop(server.recv()?);
/// assert!(matches!(client.wait(call), Err(CallError::NoReply)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the caller of a dropped request gets no reply"]
pub struct Request<'a, Q: Packet, R: Packet>(
    Validated<ReadGuard<'a, Server>, Q>,
    PhantomData<fn(R)>,
);

impl Worker {
    /// Joins the service of this name as a server. The first client or server creates the service.
    ///
    /// ```
    /// # let cluster = format!("service-{}", std::process::id());
    /// use packetring::Worker;
    ///
    /// use packetring::cluster::Request;
    ///
    /// let worker = Worker::join(&cluster, "doubler")?;
    /// let mut server = worker.service::<u64, u64>("double")?;
    /// # let mut client = worker.client::<u64, u64>("double")?;
    /// # let call = client.start(&21)?;
    /// let request = server.recv()?;
    /// let doubled = request.to_native() * 2;
    /// Request::reply(request, &doubled)?;
    /// # assert_eq!(*client.wait(call)?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Ring::open`](crate::Ring::open) and [`Ring::subscriber`](crate::Ring::subscriber);
    /// [`TypeMismatch`](OpenError::TypeMismatch) if the service has other requests or replies.
    pub fn service<Q: Packet, R: Packet>(&self, name: &str) -> Result<Service<Q, R>, OpenError> {
        let ring = self.request_ring(name)?;
        let types = Types::Pair { request: &Q::TYPE, reply: &R::TYPE };
        let (mut receiver, request_type) = ring.receiver(&types)?;
        receiver.drain_with(self.draining.clone());
        let server = Server::new(self, receiver, request_type, R::TYPE);
        Ok(Service { server, packets: PhantomData })
    }
}

impl<Q: Packet, R: Packet> Service<Q, R> {
    verb! {
        /// Returns the next request. Waits for one.
        ///
        /// # Errors
        ///
        /// [`Closed`](ServiceRecvError::Closed), [`Corrupt`](ServiceRecvError::Corrupt).
        /// [`Caller`](ServiceRecvError::Caller) if a caller's ring cannot be opened now, for lack
        /// of descriptors, memory or an entry. It is reported once per request, which is received
        /// later. If the ring is locked by a stopped process, its request is postponed without an
        /// error.
        recv, try_recv, recv_timeout = receive() -> Request<'_, Q, R>;
        ServiceRecvError, TryServiceRecvError::Empty, ServiceRecvTimeoutError::Timeout
    }

    /// Hands the service over: waits until another server of it lives, then leaves. Returns false
    /// if there was none before the timeout. A server that hands over too is no successor.
    ///
    /// For a worker that [drains](Worker::drain). Until another server is there, requests wait: a
    /// caller gets [`NoService`](super::CallError::NoService) only if no server lives.
    pub fn hand_over(self, timeout: Duration) -> bool {
        self.server.wait_for_successor(Deadline::after(timeout))
    }

    /// Changes how this service waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.server.receiver.entry.waiter.set(wait);
    }

    #[inline(always)]
    fn receive<F: Form<ServiceRecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Request<'_, Q, R>, F> {
        if !self.server.receiver.is_draining() && self.server.take_fast(timeout) {
            return Ok(self.open_typed()?);
        }
        self.receive_slow(timeout)
    }

    #[inline(never)]
    fn receive_slow<F: Form<ServiceRecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Request<'_, Q, R>, F> {
        let deadline = timeout.deadline();
        let server = &mut self.server;
        // Waiting is a part of `next`, which sends a no-reply message for each dropped `Deferred`.
        let found = F::retry(|| {
            let look = |server: &mut Server| {
                let timeout = match timeout {
                    Timeout::Zero => Timeout::Zero,
                    _ => Timeout::After(deadline.cut(REPORT_DROPPED)),
                };
                match server.next(timeout) {
                    Err(ServiceRecvFailure::NotReady(())) => None,
                    found => Some(found),
                }
            };
            wait_until(server, deadline, look, |_, _| {})
                .unwrap_or(Err(ServiceRecvFailure::NotReady(())))
        })?;
        Ok(self.open(found)?)
    }

    /// Opens the request in flight, whose type has this index.
    fn open(&mut self, type_index: u16) -> Result<Request<'_, Q, R>, ServiceRecvError> {
        if type_index != self.server.request_type {
            self.server.no_reply();
            return Err(ServiceRecvError::Corrupt("another packet type".into()));
        }
        self.open_typed()
    }

    #[inline(always)]
    fn open_typed(&mut self) -> Result<Request<'_, Q, R>, ServiceRecvError> {
        match Validated::open(ReadGuard::new(&mut self.server)) {
            Ok(opened) => Ok(Request(opened, PhantomData)),
            Err((guard, _)) => Err(corrupt::<Q>(&guard)),
        }
    }
}

#[cold]
fn corrupt<Q: Packet>(guard: &ReadGuard<'_, Server>) -> ServiceRecvError {
    ServiceRecvError::Corrupt(packet::explain::<Q>(guard.bytes()).into())
}

impl<Q: Packet, R: Packet> Request<'_, Q, R> {
    /// Replies with `&reply`, or with a [borrowed form](SendAs) of it.
    ///
    /// `Ok` means sent, not read. If the caller was killed with only this call in flight, the reply
    /// is `Ok`, too: checking whether the caller lives would cost each reply a system call.
    /// [`Request::is_wanted`] makes that check.
    ///
    /// # Errors
    ///
    /// - [`CallerGone`](ReplyError::CallerGone) if the client was dropped, or its process died with
    ///   other replies unread.
    /// - [`TooLarge`](ReplyError::TooLarge) if the reply has more than 31,648 bytes. The caller
    ///   gets [`ReplyTooLarge`](super::CallError::ReplyTooLarge).
    /// - [`Unserializable`](ReplyError::Unserializable). The caller gets
    ///   [`NoReply`](super::CallError::NoReply).
    pub fn reply(this: Self, reply: impl SendAs<R>) -> Result<(), ReplyError> {
        this.0.into_guard().end(|server| server.reply(reply.value()))
    }

    /// Releases the request, to reply later.
    pub fn defer(this: Self) -> Deferred<R> {
        this.0.into_guard().end(|server| {
            let request = server.open.unwrap_or(RequestId::NOTHING);
            server.send_deferred(request);
            server.close();
            Deferred::new(request, server.dropped_replies())
        })
    }

    /// The id of the worker that called.
    pub fn caller(this: &Self) -> WorkerId {
        this.server().open.unwrap_or(RequestId::NOTHING).caller.worker()
    }

    /// Returns true if the caller lives and has not cancelled this call. A hint: this may change at
    /// any time.
    ///
    /// Costs a system call.
    pub fn is_wanted(this: &Self) -> bool {
        this.server().is_open_wanted()
    }

    fn server(&self) -> &Server {
        self.0.guard().holder()
    }
}

impl<Q: Packet, R: Packet> Selectable for Service<Q, R> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.server)
    }
}

impl<Q: Packet, R: Packet> Replier<R> for Service<Q, R> {
    fn reply_later(
        &mut self,
        to: RequestId,
        reply: &impl Packet<Archived = R::Archived>,
    ) -> Result<(), ReplyError> {
        self.server.reply_late(to, reply)
    }

    fn waits_for(&mut self, to: RequestId) -> bool {
        self.server.is_wanted(to)
    }
}

impl<Q: Packet, R: Packet> Deref for Request<'_, Q, R> {
    type Target = Q::Archived;

    fn deref(&self) -> &Q::Archived {
        self.0.get()
    }
}

impl<Q: Packet, R: Packet> fmt::Debug for Request<'_, Q, R>
where
    Q::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<Q: Packet, R: Packet> fmt::Debug for Service<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("request", &Q::TYPE.name)
            .field("reply", &R::TYPE.name)
            .finish_non_exhaustive()
    }
}
