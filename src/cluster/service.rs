//! The server's side of a service: requests, and replies to them.
//!
//! It guarantees that a request is one server's, is handed out at most once, and that its caller learns
//! what became of it: the reply, or the word that there is none, is sent before the request leaves the
//! server's hand, so that who sees it gone looks for the letter once more and knows.
//!
//! A reply never waits: its caller has room for as many as it has calls in flight. A caller that cannot
//! be reached now, at its first request, keeps none of the others waiting (`aside`).

use super::aside::{Aside, SetAside};
use super::call::bit;
use super::client::{self, Kind, REPLIES};
use super::deferred::{Deferred, Dropped};
use super::envelope::Envelope;
use super::error::ReplyError;
use super::names::{Object, WorkerId};
use super::worker::Worker;
use crate::channel::{
    Mismatch, MixedPublisher, Patience, RecvError, Ring, RingBuilder, Selectable, Selectee,
    SendError, Taker, Types, Waitable,
};
use crate::error::OpenError;
use crate::packet::guard::{Copied, Opened};
use crate::packet::{self, Packet, Scratch, TypeInfo};
use crate::ring::group::Group;
use crate::ring::job::{self, Job, Worker as _};
use crate::ring::reader::Taken;
use crate::segment::bytes::{Behind, Steady};
use crate::segment::layout::Bell;
use crate::segment::settings::MOST_ENTRIES;
use crate::wait::Wait;
use rkyv::util::AlignedVec;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Longest sleep, so that what was deferred and dropped is told of.
const TELL: Duration = Duration::from_millis(50);
/// How long a server waits for each lock that it takes to reach a caller: microseconds, unless somebody
/// was stopped in it.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is said of a request that got no reply at all.
const DROPPED: [usize; 2] = [0; 2];

/// A client: its worker, and the number of its ring.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerId {
    pub(super) worker: WorkerId,
    pub(super) ring: u64,
}

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

/// The untyped part.
pub(super) struct Server {
    taker: Taker,
    cluster: String,
    id: WorkerId,
    callers: Vec<Caller>,
    /// Which of them was asked for last.
    last: usize,
    /// The request that was handed out, and is not answered.
    open: Option<(CallerId, u64)>,
    /// That request is its caller's only call in flight: it has read all replies so far.
    is_only: bool,
    aside: Aside,
    dropped: Dropped,
    /// Some may reply later, and be dropped.
    has_deferred: bool,
    scratch: Scratch,
    request_type: u16,
    /// Those of its letters.
    types: [TypeInfo; 2],
}

/// A request that is to be handed out.
enum Found {
    /// In hand; its archive begins here.
    InHand(Taken, usize),
    /// It was set aside.
    Kept(Box<SetAside>),
}

/// Why a caller cannot be replied to.
enum Unreached {
    /// It is gone.
    Gone,
    /// It cannot be reached now.
    NotNow(OpenError),
}

/// A client that this server has replied to.
#[derive(Debug)]
struct Caller {
    id: CallerId,
    /// The number of its ring, as its requests say it.
    name: [u8; 16],
    ring: Ring,
    publisher: MixedPublisher,
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
        let server = Server {
            taker,
            cluster: self.cluster.clone(),
            id: self.id(),
            callers: Vec::new(),
            last: 0,
            open: None,
            is_only: false,
            aside: Aside::default(),
            dropped: Dropped::default(),
            has_deferred: false,
            scratch: Scratch::default(),
            request_type,
            types: [R::TYPE, <[u64; 2]>::TYPE],
        };
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
            let (entry, stays) = server.taker.place();
            // Who is gone is not told.
            let _ = server.send(caller, Kind::Deferred, correlation, &[entry as u64, stays]);
            server.close();
            server.has_deferred = true;
            Deferred::new(caller, correlation, server.dropped.clone())
        })
    }

    /// The worker that called.
    pub fn caller(&self) -> WorkerId {
        self.server().open.map_or(WorkerId(u16::MAX), |(caller, _)| caller.worker)
    }

    /// Whether somebody waits for the reply: the caller lives, and has not given this call up. A hint:
    /// it may have changed when this returns.
    pub fn is_wanted(&self) -> bool {
        let server = self.server();
        server.open.is_some_and(|(caller, correlation)| {
            let known = server.callers.iter().find(|one| one.id == caller);
            known.is_some_and(|one| one.waits_for(correlation))
        })
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

impl CallerId {
    const NOBODY: Self = Self { worker: WorkerId(u16::MAX), ring: 0 };
}

impl Caller {
    fn waits_for(&self, correlation: u64) -> bool {
        !self.has_given_up(correlation) && self.lives()
    }

    fn has_given_up(&self, correlation: u64) -> bool {
        self.ring.given_up() & bit(correlation) != 0 || self.ring.is_closed()
    }

    fn lives(&self) -> bool {
        !self.ring.is_closed() && self.publisher.subscribers() > 0
    }
}

impl Server {
    /// The next request that somebody waits for, and where its archive begins.
    fn next(&mut self, patience: Patience) -> Result<Found, RecvError> {
        if self.open.is_some() {
            // Its guard was forgotten, or the reply's own code panicked.
            self.no_reply();
        }
        self.tell_dropped();
        if !self.aside.is_empty()
            && let Some(found) = self.take_aside()
        {
            return Ok(found);
        }
        loop {
            let taken = match self.taker.take(patience) {
                Err(RecvError::Timeout | RecvError::Empty) if self.forget_the_gone() => continue,
                taken => taken?,
            };
            let Some((caller, correlation, front)) = self.read(taken) else {
                self.taker.done();
                return Err(RecvError::Corrupt("a request without an envelope".into()));
            };
            // Where nobody gets a reply, nothing is done for it.
            match self.reach(caller, PATIENCE) {
                Ok(known) if !known.has_given_up(correlation) => {
                    self.open = Some((caller, correlation));
                    return Ok(Found::InHand(taken, front));
                }
                Ok(_) | Err(Unreached::Gone) => self.taker.done(),
                Err(Unreached::NotNow(error)) => {
                    self.set_aside(caller, correlation, taken, front);
                    if !matches!(error, OpenError::Busy { .. }) {
                        return Err(RecvError::Caller(Box::new(error)));
                    }
                }
            }
        }
    }

    /// Lets go of the request in hand, whose caller cannot be reached now.
    #[cold]
    fn set_aside(&mut self, caller: CallerId, correlation: u64, taken: Taken, front: usize) {
        let type_index = taken.descriptor.type_index();
        let mut archive = AlignedVec::new();
        archive.extend_from_slice(&Job::new(&mut self.taker, taken).bytes()[front..]);
        let position = taken.position;
        self.aside.push(SetAside { caller, correlation, position, type_index, archive });
        // Before the hand: who sees that empty sees this.
        self.taker.group.set_aside(self.aside.range());
        self.taker.done();
    }

    /// The first request that was set aside, and whose caller can be reached now.
    #[cold]
    fn take_aside(&mut self) -> Option<Found> {
        self.try_aside();
        let mut found = None;
        while let Some(request) = self.aside.take_of(is_one_of(&self.callers)) {
            let SetAside { caller, correlation, .. } = request;
            let known = self.callers.iter().find(|one| one.id == caller);
            if known.is_some_and(|known| !known.has_given_up(correlation)) {
                (self.open, self.is_only) = (Some((caller, correlation)), false);
                found = Some(Found::Kept(Box::new(request)));
                break;
            }
            self.aside.is_answered();
        }
        self.taker.group.set_aside(self.aside.range());
        found
    }

    /// Whether a request that was set aside can be answered now. Drops those that were given up.
    fn has_aside(&mut self) -> bool {
        let callers = &self.callers;
        let is_given_up = |request: &SetAside| {
            let mut all = callers.iter();
            all.any(|one| one.id == request.caller && one.has_given_up(request.correlation))
        };
        self.aside.retain(|request| !is_given_up(request));
        self.taker.group.set_aside(self.aside.range());
        self.aside.has_of(is_one_of(&self.callers))
    }

    /// Drops the request that was just found if nobody waits for it, or sets it aside, as a receive
    /// would, which would then wait for another. `false`: a receive returns at once.
    fn skips(&mut self) -> bool {
        let Some(taken) = self.taker.group.held() else { return false };
        let Some((caller, correlation, front)) = self.read(taken) else { return false };
        match self.reach(caller, PATIENCE) {
            Ok(known) if !known.has_given_up(correlation) => return false,
            Ok(_) | Err(Unreached::Gone) => self.taker.done(),
            Err(Unreached::NotNow(OpenError::Busy { .. })) => {
                self.set_aside(caller, correlation, taken, front);
            }
            Err(Unreached::NotNow(_)) => return false,
        }
        true
    }

    /// Tries again to reach those whose requests were set aside, if it is time to.
    fn try_aside(&mut self) {
        for caller in self.aside.due() {
            if let Err(Unreached::Gone) = self.reach(caller, Duration::ZERO) {
                self.aside.forget(caller);
            }
        }
    }

    /// Whose request this is, which of its calls, and where its archive begins.
    fn read(&mut self, taken: Taken) -> Option<(CallerId, u64, usize)> {
        let job = Job::new(&mut self.taker, taken);
        let (envelope, name, front) = Envelope::split(job.bytes())?;
        let worker = envelope.sender;
        let is_its = |caller: &Caller| caller.id.worker == worker && caller.name[..] == *name;
        let caller = match self.callers.get(self.last).filter(|caller| is_its(caller)) {
            Some(last) => last.id,
            None => match self.callers.iter().find(|caller| is_its(caller)) {
                Some(known) => known.id,
                None => CallerId { worker, ring: number(name)? },
            },
        };
        self.is_only = envelope.kind == 1;
        Some((caller, envelope.correlation, front))
    }

    /// Replies that were to come later and were dropped.
    #[inline]
    fn tell_dropped(&mut self) {
        if self.has_deferred {
            self.tell_those_dropped();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_those_dropped(&mut self) {
        // Before the look: one that is gone by now was put there.
        self.has_deferred = Arc::strong_count(&self.dropped) > 1;
        let dropped =
            std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        for (caller, correlation) in dropped {
            let _ = self.send_none(caller, correlation, DROPPED);
        }
    }

    /// Lets go of the rings of clients that are gone. Returns `false`.
    fn forget_the_gone(&mut self) -> bool {
        self.callers.retain(Caller::lives);
        false
    }

    /// Sends a reply, or says that there is none because it cannot be sent.
    pub(super) fn reply<R: Packet>(
        &mut self,
        to: CallerId,
        correlation: u64,
        reply: &R,
    ) -> Result<(), ReplyError> {
        let outcome = match packet::measure(reply, &mut self.scratch) {
            Ok(needed) if needed > REPLIES.limit => {
                Err(ReplyError::TooLarge { needed, limit: REPLIES.limit })
            }
            Ok(_) => self.send(to, Kind::Reply, correlation, reply),
            Err(error) => Err(ReplyError::Unserializable(error)),
        };
        match &outcome {
            Err(ReplyError::TooLarge { needed, limit }) => {
                let _ = self.send_none(to, correlation, [*needed, *limit]);
            }
            Err(ReplyError::Unserializable(_)) => {
                let _ = self.send_none(to, correlation, DROPPED);
            }
            _ => {}
        }
        outcome
    }

    /// Says that there is no reply: how many bytes one would have had, and how many it may have, or
    /// that there was [none](DROPPED).
    fn send_none(
        &mut self,
        to: CallerId,
        correlation: u64,
        why: [usize; 2],
    ) -> Result<(), ReplyError> {
        self.send(to, Kind::NoReply, correlation, &why.map(|bytes| bytes as u64))
    }

    fn send<T: Packet>(
        &mut self,
        to: CallerId,
        kind: Kind,
        correlation: u64,
        packet: &T,
    ) -> Result<(), ReplyError> {
        let front = Envelope { sender: self.id, kind: kind as u8, correlation }.plain();
        // Asking costs a line that its reader has just written to.
        let has_read_all = self.is_only && self.open == Some((to, correlation));
        let caller = self.caller(to)?;
        // One that reads its replies lives.
        if !has_read_all && caller.publisher.backlog() > 0 && !caller.lives() {
            return Err(ReplyError::CallerGone);
        }
        match caller.publisher.send_letter(&front, packet, Patience::None) {
            Ok(_) => Ok(()),
            Err(SendError::Closed) => Err(ReplyError::CallerGone),
            Err(SendError::TooLarge { needed, limit }) => {
                Err(ReplyError::TooLarge { needed, limit })
            }
            Err(SendError::Unserializable(error)) => Err(ReplyError::Unserializable(error)),
            Err(_) if caller.lives() => Err(ReplyError::Full),
            Err(_) => Err(ReplyError::CallerGone),
        }
    }

    /// The client of this id.
    fn caller(&mut self, id: CallerId) -> Result<&mut Caller, ReplyError> {
        self.reach(id, PATIENCE).map_err(|unreached| match unreached {
            Unreached::Gone => ReplyError::CallerGone,
            Unreached::NotNow(error) => ReplyError::Open(Box::new(error)),
        })
    }

    /// The same: its ring is opened at the first request. One that others already wait for is not
    /// waited for again.
    fn reach(&mut self, id: CallerId, patience: Duration) -> Result<&mut Caller, Unreached> {
        let is_last = self.callers.get(self.last).is_some_and(|caller| caller.id == id);
        if !is_last {
            self.last = match self.callers.iter().position(|caller| caller.id == id) {
                Some(index) => index,
                None => self.enter(id, patience)?,
            };
        }
        Ok(&mut self.callers[self.last])
    }

    /// Attaches to a client's ring, and says which of the callers it is.
    #[cold]
    #[inline(never)]
    fn enter(&mut self, id: CallerId, patience: Duration) -> Result<usize, Unreached> {
        self.forget_the_gone();
        let patience = if self.aside.is_of(id) { Duration::ZERO } else { patience };
        let caller = self.attach(id, patience).map_err(|error| match error {
            OpenError::Busy { .. } | OpenError::Full { .. } | OpenError::System { .. } => {
                Unreached::NotNow(error)
            }
            // There is no such ring, or it is closed, or none of ours.
            _ => Unreached::Gone,
        })?;
        self.callers.push(caller);
        Ok(self.callers.len() - 1)
    }

    /// Attaches to a client's ring, and needs its lock no more.
    fn attach(&self, id: CallerId, patience: Duration) -> Result<Caller, OpenError> {
        let name = Object::Replies(id.worker, id.ring).name(&self.cluster)?;
        let settings = RingBuilder::default().letters().patience(patience);
        let ring = settings.attach_named(&name)?;
        let mut publisher = ring.mixed_publisher()?;
        publisher.enter(&self.types, Patience::For(patience)).map_err(|error| match error {
            SendError::System(source) => {
                OpenError::system("enter a type into", ring.name(), source)
            }
            SendError::TooManyTypes { limit } => OpenError::TooManyTypes { limit },
            SendError::TypeRefused(types) => {
                let Mismatch { expected, found } = *types;
                OpenError::TypeMismatch { expected, found }
            }
            _ => OpenError::Busy { name: ring.name().to_owned(), pid: None },
        })?;
        let name = client::digits(id.ring);
        Ok(Caller { id, name, ring, publisher })
    }

    /// Whether somebody waits for a reply.
    pub(super) fn is_wanted(&mut self, to: CallerId, correlation: u64) -> bool {
        self.caller(to).is_ok_and(|caller| caller.waits_for(correlation))
    }

    /// The request that is open gets no reply.
    fn no_reply(&mut self) {
        if let Some((caller, correlation)) = self.open {
            let _ = self.send_none(caller, correlation, DROPPED);
        }
        self.close();
    }

    /// The open request leaves the hand, and nothing is said of it.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.close();
    }

    /// What becomes of the open request is said: it leaves the hand.
    fn close(&mut self) {
        self.open = None;
        self.taker.done();
        if !self.aside.is_empty() {
            self.aside.is_answered();
            self.taker.group.set_aside(self.aside.range());
        }
    }
}

/// The number of a client's ring, as its requests say it.
fn number(name: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(name).ok()?, 16).ok()
}

/// Whether a caller is one of these.
fn is_one_of(callers: &[Caller]) -> impl Fn(CallerId) -> bool {
    |id| callers.iter().any(|caller| caller.id == id)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("open", &self.open).finish_non_exhaustive()
    }
}

impl job::Worker for Server {
    fn group(&self) -> &Group {
        self.taker.group()
    }

    fn done(&mut self) {
        self.close();
    }

    fn retry(&mut self) {
        self.no_reply();
    }

    fn dropped(&mut self) {
        self.no_reply();
    }
}

impl Waitable for Server {
    fn has_next(&mut self) -> bool {
        if self.open.is_some() {
            self.no_reply();
        }
        self.tell_dropped();
        if !self.aside.is_empty() {
            self.try_aside();
            if self.has_aside() {
                return true;
            }
        }
        while self.taker.has_next() {
            if !self.skips() {
                return true;
            }
        }
        false
    }

    fn is_ready(&self) -> bool {
        self.taker.is_ready()
    }

    fn bell(&self) -> &Bell {
        self.taker.bell()
    }

    fn is_pending(&self) -> bool {
        self.taker.is_pending()
    }

    fn ask_locks(&mut self) {
        self.taker.ask_locks();
    }

    fn wait(&self) -> Wait {
        self.taker.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.taker.sleeps_on_futex()
    }
}

impl<Q: Packet, R: Packet> Selectable for Service<Q, R> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.taker.endpoint.segment.is_inherited() {
            // The parent's, in a forked child: so are the requests, which the parent replies to.
            return;
        }
        if self.open.is_some() {
            self.no_reply();
        }
        self.tell_dropped();
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
