//! The server's side of a service: requests, and replies to them, typed.
//!
//! It guarantees that a request is handed out at most once, and that its guard ends with the reply, with
//! the right to reply later, or, dropped by `?` or a panic, with the word that there is none. Who the
//! callers are and how they are replied to: `server`.

mod call;
mod client;
mod completion;
mod deferred;
mod postponed;
mod ring;
mod select;
mod server;
mod status;
mod tags;

pub use call::Call;
pub use client::{Client, Reply};
pub use deferred::{Deferred, Replier};

use super::error::{
    ReplyError, ServiceRecvError, ServiceRecvFailure, ServiceRecvTimeoutError, TryServiceRecvError,
};
use super::names::{Object, WorkerId};
use super::worker::Worker;
use crate::channel::{Ring, RingBuilder, Selectable, Selectee, Types};
use crate::error::{Form, OpenError};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet};
use crate::ring::buffer::StableBytes;
use crate::ring::guard::ReadGuard;
use crate::segment::settings::MAX_ENTRIES;
use crate::wait::{Timeout, Wait};
use call::RequestId;
use server::Server;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// Longest sleep, so that what was deferred and dropped is told of.
const TELL: Duration = Duration::from_millis(50);

/// Serves requests of one type with replies of another. Several servers may serve under one name: each
/// request is one's.
///
/// A reply has 31,648 bytes at most, so that a caller has room for the replies to all calls that it can
/// have in flight; a request some 512 KiB. What is larger goes by a topic or an inbox, or in parts.
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
///         Err(ServiceRecvTimeoutError::Timeout) => break, // Nobody has called for a while.
///         Err(error) => eprintln!("a request was passed over, or waits: {error}"),
///     }
/// }
/// # assert_eq!(*client.wait(call)?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Service<Q: Packet, R: Packet> {
    pub(super) server: Server,
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
/// let length = request.len() as u64; // An `ArchivedString`, where it lies.
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
    /// Serves requests under a name, making the service if it is not there.
    ///
    /// ```
    /// # let cluster = format!("service-{}", std::process::id());
    /// use packetring::Worker;
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
    /// As [`Ring::open`] and [`Ring::subscriber`]; [`TypeMismatch`](OpenError::TypeMismatch) if it has
    /// other requests or replies.
    pub fn service<Q: Packet, R: Packet>(&self, name: &str) -> Result<Service<Q, R>, OpenError> {
        let (ring, request_type) = self.requests::<Q, R>(name)?;
        let (taker, _) = ring.taker(&Types::Any)?;
        let server = Server::new(self, taker, request_type, R::TYPE);
        Ok(Service { server, packets: PhantomData })
    }

    /// The ring of a service's requests, and the index of their type.
    pub(super) fn requests<Q: Packet, R: Packet>(
        &self,
        name: &str,
    ) -> Result<(Ring, u16), OpenError> {
        let entries = self.directory.worker_slots();
        let settings = RingBuilder::default().queue().tagged_slots().or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            // The first is no server's.
            default.max_subscribers = (entries + 1).min(MAX_ENTRIES);
        });
        let ring = self.open(Object::Service(name), settings)?;
        let request_type = ring.agree(&Q::TYPE, &R::TYPE)?;
        Ok((ring, request_type))
    }
}

impl<Q: Packet, R: Packet> Service<Q, R> {
    /// The next request. Waits for it.
    ///
    /// # Errors
    ///
    /// [`Closed`](ServiceRecvError::Closed), [`Corrupt`](ServiceRecvError::Corrupt);
    /// [`Caller`](ServiceRecvError::Caller) once
    /// for each request that is set aside because its caller cannot be reached for want of something:
    /// it comes when it can. One whose caller's ring was stopped in is set aside without a word.
    #[inline]
    pub fn recv(&mut self) -> Result<Request<'_, Q, R>, ServiceRecvError> {
        self.receive(Timeout::Never)
    }

    /// The next request, or [`Empty`](TryServiceRecvError::Empty).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](TryServiceRecvError::Empty).
    #[inline]
    pub fn try_recv(&mut self) -> Result<Request<'_, Q, R>, TryServiceRecvError> {
        self.receive(Timeout::Zero)
    }

    /// The next request, if it comes in time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](ServiceRecvTimeoutError::Timeout).
    #[inline]
    pub fn recv_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Request<'_, Q, R>, ServiceRecvTimeoutError> {
        self.receive(Timeout::After(timeout))
    }

    /// Chooses how this service waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.server.taker.endpoint.waiter.set(wait);
    }

    #[inline(always)]
    fn receive<F: Form<ServiceRecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Request<'_, Q, R>, F> {
        match self.server.ready(timeout) {
            Some(()) => Ok(self.open_ready()?),
            None => self.receive_slowly(timeout),
        }
    }

    #[inline(never)]
    fn receive_slowly<F: Form<ServiceRecvError, ()>>(
        &mut self,
        timeout: Timeout,
    ) -> Result<Request<'_, Q, R>, F> {
        let deadline = timeout.deadline();
        let found = F::retry(|| {
            loop {
                let timeout = match timeout {
                    Timeout::Zero => Timeout::Zero,
                    _ => Timeout::After(deadline.cut(TELL)),
                };
                match self.server.next(timeout) {
                    Err(ServiceRecvFailure::NotReady(())) if !deadline.has_passed() => {}
                    found => return found,
                }
            }
        })?;
        Ok(self.open(found)?)
    }

    /// Opens what is at hand, of a type by its index.
    fn open(&mut self, type_index: u16) -> Result<Request<'_, Q, R>, ServiceRecvError> {
        if type_index != self.server.request_type {
            self.server.no_reply();
            return Err(ServiceRecvError::Corrupt("a request of another type".into()));
        }
        self.open_ready()
    }

    #[inline(always)]
    fn open_ready(&mut self) -> Result<Request<'_, Q, R>, ServiceRecvError> {
        match Validated::open(ReadGuard::new(&mut self.server)) {
            Ok(opened) => Ok(Request(opened, PhantomData)),
            Err((job, _)) => Err(corrupt::<Q>(&job)),
        }
    }
}

#[cold]
fn corrupt<Q: Packet>(job: &ReadGuard<'_, Server>) -> ServiceRecvError {
    ServiceRecvError::Corrupt(packet::explain::<Q>(job.bytes()).into())
}

impl<Q: Packet, R: Packet> Request<'_, Q, R> {
    /// Replies. `Ok` means sent, not read. If the caller was killed with only this call in flight, the
    /// reply is `Ok`, too: asking would cost each reply a system call. [`Request::is_wanted`] asks.
    ///
    /// # Errors
    ///
    /// [`CallerGone`](ReplyError::CallerGone) if the client was dropped, or its process died with other
    /// replies unread; [`TooLarge`](ReplyError::TooLarge) if it has more than
    /// 31,648 bytes, after which the caller gets
    /// [`ReplyTooLarge`](super::CallError::ReplyTooLarge);
    /// [`Unserializable`](ReplyError::Unserializable), after which it gets
    /// [`NoReply`](super::CallError::NoReply).
    pub fn reply(this: Self, reply: &R) -> Result<(), ReplyError> {
        this.0.into_guard().end(|server| server.answer(reply))
    }

    /// Releases the request, to reply later.
    pub fn defer(this: Self) -> Deferred<R> {
        this.0.into_guard().end(|server| {
            let asked = server.open.unwrap_or(RequestId::NOTHING);
            server.send_deferred(asked);
            server.close();
            Deferred::new(asked, server.later())
        })
    }

    /// The worker that called.
    pub fn caller(this: &Self) -> WorkerId {
        this.server().open.unwrap_or(RequestId::NOTHING).caller.worker()
    }

    /// Returns true if the caller lives and has not cancelled this call. A hint: this may change at any
    /// time.
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
