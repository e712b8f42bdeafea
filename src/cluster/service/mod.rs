//! Services: typed requests and replies between workers.
//!
//! A request is handed out to one server, at most once. Its guard ends with a reply, with a
//! [`Deferred`] reply, or, if it is dropped by `?` or a panic, with a message that there is no
//! reply.
//!
//! - this file: [`Service`] and [`Request`], over the untyped `server`.
//! - `client`, `untyped`, `call`: [`Client`] and [`Call`], over `cluster::calls`.
//! - `any_client`: calls by values.
//! - `reply`: [`Reply`], and the right to send one later, [`Deferred`].
//! - `builder`: [`ServiceBuilder`], the sizes of a service.
//!
//! The protocol is described in `docs/internals/services.md`.

#[cfg(feature = "dynamic")]
mod any_client;
mod builder;
mod call;
mod client;
mod own_thread;
mod reply;
mod server;
mod untyped;

#[cfg(feature = "dynamic")]
pub use any_client::{AnyClient, AnyReply};
pub use builder::ServiceBuilder;
pub use call::Call;
pub use client::Client;
pub use reply::{Deferred, Reply};

use super::error::{
    ReplyError, ServiceRecvError, ServiceRecvFailure, ServiceRecvTimeoutError, TryServiceRecvError,
};
use super::names::WorkerId;
use super::worker::Worker;
use crate::channel::{
    Cursor, GroupReceiver, ReadGuard, Selectable, Selectee, StableBytes, Types, async_verb,
    consumers, reports, verb,
};
use crate::error::{Form, OpenError};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, SendAs};
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Pace, Subject, Timeout, Wait, wait_until};
use server::Server;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// Serves requests of type `Q` with replies of type `R`. Several servers may use one name; each
/// request goes to one of them.
///
/// A request has at most half of the request ring, by default 512 KiB. A reply has at most the
/// bytes that its client reserved, by default 8 KiB: see [`ServiceBuilder`].
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
/// # let client = worker.client::<u64, u64>("double")?;
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
/// # assert_eq!(*call.wait()?, 42);
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
/// let client = worker.client::<String, u64>("length")?;
///
/// let call = client.start(&"seven".to_owned())?;
/// let request = server.recv()?;
/// let length = request.len() as u64; // An `ArchivedString`, in its slot.
/// Request::reply(request, &length)?;
/// assert_eq!(*call.wait()?, 5);
///
/// let call = client.start(&String::new())?;
/// drop(server.recv()?);
/// assert!(matches!(call.wait(), Err(CallError::NoReply)));
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
    /// # let client = worker.client::<u64, u64>("double")?;
    /// # let call = client.start(&21)?;
    /// let request = server.recv()?;
    /// let doubled = request.to_native() * 2;
    /// Request::reply(request, &doubled)?;
    /// # assert_eq!(*call.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Ring::open`](crate::Ring::open) and [`Ring::subscriber`](crate::Ring::subscriber);
    /// [`TypeMismatch`](OpenError::TypeMismatch) if the service has other requests or replies.
    pub fn service<Q: Packet, R: Packet>(&self, name: &str) -> Result<Service<Q, R>, OpenError> {
        self.service_builder(name).server()
    }
}

impl ServiceBuilder<'_> {
    /// Joins the service as a server.
    ///
    /// # Errors
    ///
    /// As [`Worker::service`].
    pub fn server<Q: Packet, R: Packet>(self) -> Result<Service<Q, R>, OpenError> {
        Service::open(&self)
    }
}

impl<Q: Packet, R: Packet> Service<Q, R> {
    fn open(builder: &ServiceBuilder<'_>) -> Result<Self, OpenError> {
        let worker = builder.worker;
        let ring = builder.worker.with_space(|| builder.request_ring())?;
        let types = Types::Pair { request: &Q::TYPE, reply: &R::TYPE };
        // Entry 0 has the shared cursor and belongs to no server.
        let joined = ring.receiver(&types);
        let (mut receiver, request_type) =
            joined.map_err(|error| error.full_of("servers", |entries| entries - 1))?;
        receiver.drain_with(worker.draining.clone());
        let callers = worker.callers.get(&worker.cluster, || worker.directory.caretaker())?;
        Ok(Self { server: Server::new(receiver, request_type, callers), packets: PhantomData })
    }

    verb! {
        /// Returns the next request. Waits for one.
        ///
        /// # Errors
        ///
        /// [`Closed`](ServiceRecvError::Closed), [`Corrupt`](ServiceRecvError::Corrupt).
        /// [`Caller`](ServiceRecvError::Caller) if a caller's memory cannot be mapped now, for lack
        /// of descriptors or memory. It is reported once per request, which is received later.
        recv, try_recv, recv_timeout = receive() -> Request<'_, Q, R>;
        ServiceRecvError, TryServiceRecvError::Empty, ServiceRecvTimeoutError::Timeout
    }

    async_verb! {
        recv_async = recv() -> Request<'_, Q, R>; ServiceRecvError { take_next, open_taken? }
    }

    /// Hands the service over: waits until another server of it lives, then leaves. Returns false
    /// if there was none before the timeout. A server that hands over too is no successor.
    ///
    /// For a worker that [drains](Worker::drain). Until another server is there, requests wait: a
    /// caller gets [`NoService`](super::CallError::NoService) only if no server lives.
    #[must_use = "false: no other server has taken over"]
    pub fn hand_over(self, timeout: Duration) -> bool {
        wait_for_successor(&self.server.receiver, Deadline::after(timeout))
    }

    /// Sets what ends the waits of this service.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.server.receiver.entry.set_stop(stop);
    }

    /// Changes how this service waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.server.receiver.entry.set_wait(wait);
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
        let is_request = F::retry(|| self.take_next(timeout))?;
        Ok(self.open_taken(is_request)?)
    }

    /// Takes the next request. Returns true if it has the type of requests.
    fn take_next(&mut self, timeout: Timeout) -> Result<bool, ServiceRecvFailure> {
        self.server.next(timeout)
    }

    fn open_taken(&mut self, is_request: bool) -> Result<Request<'_, Q, R>, ServiceRecvError> {
        if is_request {
            return self.open_typed();
        }
        self.server.no_reply();
        Err(ServiceRecvError::Corrupt("another packet type".into()))
    }

    #[inline(always)]
    fn open_typed(&mut self) -> Result<Request<'_, Q, R>, ServiceRecvError> {
        match Validated::open(ReadGuard::new(&mut self.server)) {
            Ok(opened) => Ok(Request(opened, PhantomData)),
            Err((guard, _)) => Err(corrupt::<Q>(&guard)),
        }
    }
}

/// Waits until another server of the service lives that does not hand over. Returns false after
/// the deadline.
fn wait_for_successor(receiver: &GroupReceiver, deadline: Deadline) -> bool {
    let entry = &receiver.entry;
    let memory = receiver.cursor.memory();
    memory.subscribers()[receiver.cursor.entry()].consumer.set_hands_over();
    let has_successor = || {
        consumers(memory).any(|(id, other)| {
            id != entry.entry_id && !other.consumer.hands_over() && entry.is_alive(id)
        })
    };
    let found = wait_until(
        &mut Pace::new(),
        deadline,
        |_| entry.waiter.outcome(has_successor()),
        |pace, deadline| {
            // A server that joins wakes both sides.
            pace.pause(Subject { id: 0, is_pending: true }, deadline, |bound| {
                entry.waiter.park(entry.event_count(), bound, has_successor)
            });
        },
    );
    found.unwrap_or(false)
}

#[cold]
fn corrupt<Q: Packet>(guard: &ReadGuard<'_, Server>) -> ServiceRecvError {
    let (receiver, what) = (&guard.endpoint().receiver, packet::explain::<Q>(guard.bytes()));
    let position = receiver.cursor.in_flight().map_or(0, |taken| taken.position);
    reports::invalid(&receiver.entry.segment, position, &what);
    ServiceRecvError::Corrupt(what.into())
}

impl<Q: Packet, R: Packet> Request<'_, Q, R> {
    /// Replies with `&reply`, or with a [borrowed form](SendAs) of it.
    ///
    /// `Ok` means sent, not read. A reply to a caller that cancelled the call is `Ok`, too.
    /// [`Request::is_wanted`] tells whether the caller waits.
    ///
    /// # Errors
    ///
    /// - [`CallerGone`](ReplyError::CallerGone) if the worker of the caller has left, or was found
    ///   dead.
    /// - [`TooLarge`](ReplyError::TooLarge) if the client reserved less. The caller gets
    ///   [`ReplyTooLarge`](super::CallError::ReplyTooLarge).
    /// - [`Unserializable`](ReplyError::Unserializable). The caller gets
    ///   [`NoReply`](super::CallError::NoReply).
    /// - [`Open`](ReplyError::Open).
    pub fn reply(this: Self, reply: impl SendAs<R>) -> Result<(), ReplyError> {
        this.0.into_guard().end(|server| server.reply(reply.value()))
    }

    /// Releases the request, to reply later.
    pub fn defer(this: Self) -> Deferred<R> {
        this.0.into_guard().end(|server| {
            let (caller, right, gate) = server.defer();
            Deferred::new(caller, right, gate)
        })
    }

    /// The id of the worker that called.
    pub fn caller(this: &Self) -> WorkerId {
        this.server().caller().worker()
    }

    /// Returns true if the caller lives and has not cancelled this call. A hint: this may change at
    /// any time.
    ///
    /// Costs a system call.
    pub fn is_wanted(this: &Self) -> bool {
        this.server().is_open_wanted()
    }

    fn server(&self) -> &Server {
        self.0.guard().endpoint()
    }
}

impl<Q: Packet, R: Packet> Selectable for Service<Q, R> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.server)
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
