//! A server without its packet types: takes requests, knows their callers, sends replies.
//!
//! It guarantees that what became of a request is sent before it leaves the server's hand, or the
//! range of those set aside, so that who sees it gone looks for the letter once more and knows; and
//! that a caller who cannot be reached now keeps none of the others waiting (`aside`).

use super::aside::{Aside, SetAside};
use super::call::bit;
use super::client::{self, Kind, REPLIES};
use super::deferred::Dropped;
use super::envelope::Envelope;
use super::error::ReplyError;
use super::names::{Object, WorkerId};
use super::worker::Worker;
use crate::channel::{
    Mismatch, MixedPublisher, Patience, RecvError, Ring, RingBuilder, SendError, Taker, Waitable,
};
use crate::error::OpenError;
use crate::packet::{self, Packet, Scratch, TypeInfo};
use crate::ring::group::Group;
use crate::ring::job::{self, Job, Worker as _};
use crate::ring::reader::Taken;
use crate::segment::bytes::Steady;
use crate::segment::layout::Bell;
use crate::wait::Wait;
use rkyv::util::AlignedVec;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
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

/// The untyped part.
pub(super) struct Server {
    pub(super) taker: Taker,
    cluster: String,
    id: WorkerId,
    callers: Vec<Caller>,
    /// Which of them was asked for last.
    last: usize,
    /// The request that was handed out, and is not answered.
    pub(super) open: Option<(CallerId, u64)>,
    /// That request is its caller's only call in flight: it has read all replies so far.
    is_only: bool,
    aside: Aside,
    dropped: Dropped,
    /// Some may reply later, and be dropped.
    has_deferred: bool,
    scratch: Scratch,
    pub(super) request_type: u16,
    /// Those of its letters.
    types: [TypeInfo; 2],
}

/// A request that is to be handed out.
pub(super) enum Found {
    /// In hand; its archive begins here.
    InHand(Taken, usize),
    /// It was set aside.
    Kept(Box<SetAside>),
}

/// Whose request one is, which of its calls, and where its archive begins.
struct Address {
    caller: CallerId,
    correlation: u64,
    front: usize,
}

/// What is to be done with a request.
enum Vetted {
    /// Somebody waits for the reply.
    Wanted(Address),
    /// Nothing more: it is not in hand any more.
    Passed,
    /// It is to be set aside, and its caller cannot be reached for want of this.
    Unreached(Address, OpenError),
    /// It has no envelope.
    Unreadable,
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

impl CallerId {
    pub(super) const NOBODY: Self = Self { worker: WorkerId(u16::MAX), ring: 0 };
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
    /// A server of requests of one type, by its index in their ring, with replies of another.
    pub(super) fn new(worker: &Worker, taker: Taker, request_type: u16, reply: TypeInfo) -> Self {
        Self {
            taker,
            cluster: worker.cluster.clone(),
            id: worker.id(),
            callers: Vec::new(),
            last: 0,
            open: None,
            is_only: false,
            aside: Aside::default(),
            dropped: Dropped::default(),
            has_deferred: false,
            scratch: Scratch::default(),
            request_type,
            types: [reply, <[u64; 2]>::TYPE],
        }
    }

    /// Its entry among the servers, and how many have sat there with it: what a caller asks after whose
    /// reply comes later.
    pub(super) fn place(&self) -> [u64; 2] {
        let (entry, stays) = self.taker.place();
        [entry as u64, stays]
    }

    /// Where replies that were to come later say that they were dropped.
    pub(super) fn later(&mut self) -> Dropped {
        self.has_deferred = true;
        self.dropped.clone()
    }

    /// Whether somebody waits for the reply to the open request.
    pub(super) fn is_open_wanted(&self) -> bool {
        self.open.is_some_and(|(caller, correlation)| {
            let known = self.callers.iter().find(|one| one.id == caller);
            known.is_some_and(|one| one.waits_for(correlation))
        })
    }

    /// The next request that somebody waits for, and where its archive begins.
    pub(super) fn next(&mut self, patience: Patience) -> Result<Found, RecvError> {
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
            match self.vet(taken) {
                Vetted::Wanted(request) => {
                    self.open = Some((request.caller, request.correlation));
                    return Ok(Found::InHand(taken, request.front));
                }
                Vetted::Unreached(request, error) => {
                    self.set_aside(request, taken);
                    return Err(RecvError::Caller(Box::new(error)));
                }
                Vetted::Unreadable => {
                    self.taker.done();
                    return Err(RecvError::Corrupt("a request without an envelope".into()));
                }
                Vetted::Passed => {}
            }
        }
    }

    /// What is to be done with a request that was just taken. One that nobody waits for is let go of
    /// here, and one whose caller is busy set aside.
    fn vet(&mut self, taken: Taken) -> Vetted {
        let Some(request) = self.read(taken) else { return Vetted::Unreadable };
        // Where nobody gets a reply, nothing is done for it.
        match self.reach(request.caller, PATIENCE) {
            Ok(known) if !known.has_given_up(request.correlation) => {
                return Vetted::Wanted(request);
            }
            Ok(_) | Err(Unreached::Gone) => self.taker.done(),
            Err(Unreached::NotNow(OpenError::Busy { .. })) => self.set_aside(request, taken),
            Err(Unreached::NotNow(error)) => return Vetted::Unreached(request, error),
        }
        Vetted::Passed
    }

    /// Lets go of the request in hand, whose caller cannot be reached now.
    #[cold]
    fn set_aside(&mut self, request: Address, taken: Taken) {
        let Address { caller, correlation, front } = request;
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
        if !self.has_aside() {
            return None;
        }
        let request = self.aside.take_of(is_one_of(&self.callers))?;
        (self.open, self.is_only) = (Some((request.caller, request.correlation)), false);
        Some(Found::Kept(Box::new(request)))
    }

    /// Whether a request that was set aside can be answered now. Tries again to reach their callers, if
    /// it is time to, and drops those that were given up.
    fn has_aside(&mut self) -> bool {
        for caller in self.aside.due() {
            if let Err(Unreached::Gone) = self.reach(caller, Duration::ZERO) {
                self.aside.forget(caller);
            }
        }
        let callers = &self.callers;
        let is_given_up = |request: &SetAside| {
            let mut all = callers.iter();
            all.any(|one| one.id == request.caller && one.has_given_up(request.correlation))
        };
        self.aside.retain(|request| !is_given_up(request));
        self.taker.group.set_aside(self.aside.range());
        self.aside.has_of(is_one_of(&self.callers))
    }

    /// What a request's envelope says.
    fn read(&mut self, taken: Taken) -> Option<Address> {
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
        Some(Address { caller, correlation: envelope.correlation, front })
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

    pub(super) fn send<T: Packet>(
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
    pub(super) fn no_reply(&mut self) {
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
    pub(super) fn close(&mut self) {
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
        if !self.aside.is_empty() && self.has_aside() {
            return true;
        }
        while self.taker.has_next() {
            // What a receive would pass over, to wait for another.
            let is_passed = match self.taker.group().held() {
                Some(taken) => matches!(self.vet(taken), Vetted::Passed),
                None => false,
            };
            if !is_passed {
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
