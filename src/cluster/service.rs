//! The server's side of a service: requests, and replies to them, typed.
//!
//! It guarantees that a request is handed out at most once, and that its guard ends with the reply, with
//! the right to reply later, or, dropped by `?` or a panic, with the word that there is none. Who the
//! callers are and how they are replied to: `server`.

use super::aside::SetAside;
use super::client::Kind;
use super::deferred::Deferred;
use super::error::ReplyError;
use super::names::{Object, WorkerId};
use super::server::{CallerId, Found, Server};
use super::worker::Worker;
use crate::channel::{Patience, RecvError, Ring, RingBuilder, Selectable, Selectee, Types};
use crate::error::OpenError;
use crate::packet::guard::{Copied, Opened};
use crate::packet::{self, Packet};
use crate::ring::job::Job;
use crate::ring::reader::Taken;
use crate::segment::bytes::{Behind, Steady};
use crate::segment::settings::MOST_ENTRIES;
use crate::wait::Wait;
use rkyv::util::AlignedVec;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::time::{Duration, Instant};

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
/// use packetring::{RecvError, Worker};
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
///             request.reply(&doubled)?;
///         }
///         Err(RecvError::Timeout) => break, // Nobody has called for a while.
///         Err(error) => eprintln!("a request was passed over, or waits: {error}"),
///     }
/// }
/// # assert_eq!(*client.wait(call)?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Service<Q: Packet, R: Packet> {
    pub(super) server: Server,
    /// The request that was set aside and is handed out.
    kept: AlignedVec<16>,
    packets: PhantomData<fn(Q) -> R>,
}

/// A request, read in place. One that is dropped without a reply, by `?` or a panic, is answered by
/// [`NoReply`](super::CallError::NoReply).
///
/// ```
/// # let cluster = format!("request-{}", std::process::id());
/// use packetring::{CallError, Worker};
///
/// let worker = Worker::join(&cluster, "both")?;
/// let mut server = worker.service::<String, u64>("length")?;
/// let mut client = worker.client::<String, u64>("length")?;
///
/// let call = client.start(&"seven".to_owned())?;
/// let request = server.recv()?;
/// let length = request.len() as u64; // An `ArchivedString`, where it lies.
/// request.reply(&length)?;
/// assert_eq!(*client.wait(call)?, 5);
///
/// let call = client.start(&String::new())?;
/// drop(server.recv()?);
/// assert!(matches!(client.wait(call), Err(CallError::NoReply)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Request<'a, Q: Packet, R: Packet>(Inner<'a, Q>, PhantomData<fn(R)>);

enum Inner<'a, Q: Packet> {
    InHand(Opened<Behind<Job<'a, Server>>, Q>),
    Kept(Opened<Copied<'a>, Q>, Answering<'a>),
}

/// A server with a request in none of its hands. Dropped, it answers that there is no reply.
struct Answering<'a>(&'a mut Server);

impl Worker {
    /// Serves requests under a name, making the service if it is not there.
    ///
    /// ```
    /// # let cluster = format!("service-{}", std::process::id());
    /// use packetring::Worker;
    ///
    /// let worker = Worker::join(&cluster, "doubler")?;
    /// let mut server = worker.service::<u64, u64>("double")?;
    /// # let mut client = worker.client::<u64, u64>("double")?;
    /// # let call = client.start(&21)?;
    /// let request = server.recv()?;
    /// let doubled = request.to_native() * 2;
    /// request.reply(&doubled)?;
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
        Ok(Service { server, kept: AlignedVec::new(), packets: PhantomData })
    }

    /// The ring of a service's requests, and the index of their type.
    pub(super) fn requests<Q: Packet, R: Packet>(
        &self,
        name: &str,
    ) -> Result<(Ring, u16), OpenError> {
        let entries = self.directory.desks();
        let settings = RingBuilder::default().grouped().letters().or_else(|default| {
            default.stays_open = true;
            default.max_publishers = entries;
            // The first is no server's.
            default.max_subscribers = (entries + 1).min(MOST_ENTRIES);
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
    /// [`Closed`](RecvError::Closed), [`Corrupt`](RecvError::Corrupt); [`Caller`](RecvError::Caller) once
    /// for each request that is set aside because its caller cannot be reached for want of something:
    /// it comes when it can. One whose caller's ring was stopped in is set aside without a word.
    pub fn recv(&mut self) -> Result<Request<'_, Q, R>, RecvError> {
        let found = loop {
            match self.server.next(Patience::For(TELL)) {
                Err(RecvError::Timeout) => {}
                found => break found?,
            }
        };
        self.open(found)
    }

    /// The next request, or [`Empty`](RecvError::Empty).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](RecvError::Empty).
    pub fn try_recv(&mut self) -> Result<Request<'_, Q, R>, RecvError> {
        let found = self.server.next(Patience::None)?;
        self.open(found)
    }

    /// The next request, if it comes in time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Timeout`](RecvError::Timeout).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Request<'_, Q, R>, RecvError> {
        let end = Instant::now().checked_add(timeout);
        let found = loop {
            let left = end.map_or(TELL, |end| end.saturating_duration_since(Instant::now()));
            match self.server.next(Patience::For(left.min(TELL))) {
                Err(RecvError::Timeout) if !left.is_zero() => {}
                found => break found?,
            }
        };
        self.open(found)
    }

    /// Chooses how this service waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.server.taker.endpoint.waiter.set(wait);
    }

    fn open(&mut self, found: Found) -> Result<Request<'_, Q, R>, RecvError> {
        let type_index = match &found {
            Found::InHand(taken, _) => taken.descriptor.type_index(),
            Found::Kept(request) => request.type_index,
        };
        if type_index != self.server.request_type {
            self.server.no_reply();
            return Err(RecvError::Corrupt("a request of another type".into()));
        }
        match found {
            Found::InHand(taken, front) => self.open_in_hand(taken, front),
            Found::Kept(request) => self.open_kept(*request),
        }
    }

    #[inline]
    fn open_in_hand(&mut self, taken: Taken, front: usize) -> Result<Request<'_, Q, R>, RecvError> {
        let job = Behind::new(Job::new(&mut self.server, taken), front);
        let Ok(job) = job else {
            return Err(RecvError::Corrupt("a request without an end".into()));
        };
        match Opened::open(job) {
            Ok(opened) => Ok(Request(Inner::InHand(opened), PhantomData)),
            Err((job, _)) => {
                let what = packet::explain::<Q>(job.bytes());
                Err(RecvError::Corrupt(what.into()))
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn open_kept(&mut self, request: SetAside) -> Result<Request<'_, Q, R>, RecvError> {
        self.kept = request.archive;
        let answering = Answering(&mut self.server);
        match Opened::open(Copied::new(&self.kept)) {
            Ok(opened) => Ok(Request(Inner::Kept(opened, answering), PhantomData)),
            Err((guard, _)) => {
                let what = packet::explain::<Q>(guard.bytes());
                Err(RecvError::Corrupt(what.into()))
            }
        }
    }
}

impl<Q: Packet, R: Packet> Request<'_, Q, R> {
    /// Replies. That it was sent does not say that it is read: of a caller that was killed with this call
    /// alone in flight, it is not asked whether it lives, as that would cost each reply a system call.
    /// [`is_wanted`](Self::is_wanted) asks.
    ///
    /// # Errors
    ///
    /// [`CallerGone`](ReplyError::CallerGone) if the client was dropped, or its process died with other
    /// replies unread; [`TooLarge`](ReplyError::TooLarge) if it has more than
    /// 31,648 bytes, after which the caller gets
    /// [`ReplyTooLarge`](super::CallError::ReplyTooLarge);
    /// [`Unserializable`](ReplyError::Unserializable), after which it gets
    /// [`NoReply`](super::CallError::NoReply).
    pub fn reply(self, reply: &R) -> Result<(), ReplyError> {
        self.0.end(|server| {
            let Some((caller, correlation)) = server.open else {
                return Err(ReplyError::CallerGone);
            };
            let outcome = server.reply(caller, correlation, reply);
            server.close();
            outcome
        })
    }

    /// Lets go of the request and replies later.
    pub fn defer(self) -> Deferred<R> {
        self.0.end(|server| {
            let (caller, correlation) = server.open.unwrap_or((CallerId::NOBODY, 0));
            // Who is gone is not told.
            let _ = server.send(caller, Kind::Deferred, correlation, &server.place());
            server.close();
            Deferred::new(caller, correlation, server.later())
        })
    }

    /// The worker that called.
    pub fn caller(&self) -> WorkerId {
        self.server().open.map_or(WorkerId(u16::MAX), |(caller, _)| caller.worker)
    }

    /// Whether somebody waits for the reply: the caller lives, and has not given this call up. A hint:
    /// it may have changed when this returns.
    pub fn is_wanted(&self) -> bool {
        self.server().is_open_wanted()
    }

    fn server(&self) -> &Server {
        match &self.0 {
            Inner::InHand(opened) => opened.guard().guard().worker(),
            Inner::Kept(_, answering) => answering.0,
        }
    }
}

impl<Q: Packet> Inner<'_, Q> {
    /// Ends with some work of the server's instead of the word that there is no reply.
    #[inline]
    fn end<T>(self, work: impl FnOnce(&mut Server) -> T) -> T {
        match self {
            Self::InHand(opened) => opened.into_guard().into_guard().end(work),
            Self::Kept(_, answering) => work(ManuallyDrop::new(answering).0),
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.no_reply();
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
        match &self.0 {
            Inner::InHand(opened) => opened.get(),
            Inner::Kept(opened, _) => opened.get(),
        }
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
