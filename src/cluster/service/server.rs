//! A server without its packet types: takes requests, knows their callers, sends replies.
//!
//! It guarantees that what became of a request is sent before it leaves the server's hand, or the
//! range of those set aside, so that who sees it gone looks for the letter once more and knows; and
//! that a caller who cannot be reached now keeps none of the others waiting (`aside`).

use super::call::{CallSlot, RequestId};
use super::client::REPLIES;
use super::deferred::Dropped;
use super::postponed::{PostponedRequest, PostponedRequests};
use super::status;
use super::tags::{self, Kind, ReplyTag, RequestTag};
use crate::channel::{
    AnyPublisher, GroupReceiver, MessageHeader, RecvFailure, Ring, RingBuilder, SendError,
    SendFailure, TypeMismatch, Waitable,
};
use crate::cluster::error::{ReplyError, ServiceRecvError, ServiceRecvFailure};
use crate::cluster::names::{CallerId, Object};
use crate::cluster::worker::Worker;
use crate::error::OpenError;
use crate::packet::{Packet, TypeInfo};
use crate::ring::cursor::{Cursor, Taken};
use crate::ring::guard::ReadEndpoint;
use crate::segment::layout::EventCount;
use crate::wait::{Timeout, Wait};
use rkyv::util::AlignedVec;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a server waits for each lock that it takes to reach a caller: microseconds, unless somebody
/// was stopped in it.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is said of a request that got no reply at all.
const DROPPED: [usize; 2] = [0; 2];

/// The untyped part.
pub(in crate::cluster) struct Server {
    pub(in crate::cluster) taker: GroupReceiver,
    cluster: String,
    callers: Vec<Caller>,
    /// Which of them was asked for last.
    last: usize,
    /// The request that was handed out, and is not answered.
    pub(in crate::cluster) open: Option<RequestId>,
    /// That request is its caller's only call in flight: it has read all replies so far.
    is_only: bool,
    aside: PostponedRequests,
    /// The archive of the open request, if it was postponed.
    copy: Option<AlignedVec<16>>,
    dropped: Dropped,
    /// Some may reply later, and be dropped.
    has_deferred: bool,
    pub(in crate::cluster) request_type: u16,
    /// Those of its letters.
    types: [TypeInfo; 2],
}

/// What is to be done with a request.
enum Vetted {
    /// Somebody waits for the reply.
    Wanted(RequestId),
    /// Nothing more: it is not in hand any more.
    Passed,
    /// It is to be set aside, and its caller cannot be reached for want of this.
    Unreached(RequestId, OpenError),
    /// It does not say whose it is.
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
    ring: Ring,
    publisher: AnyPublisher,
}

impl Caller {
    fn waits_for(&self, call_slot: CallSlot) -> bool {
        !self.has_given_up(call_slot) && self.is_alive()
    }

    fn has_given_up(&self, call_slot: CallSlot) -> bool {
        self.ring.given_up() & call_slot.bit() != 0 || self.ring.is_closed()
    }

    fn is_alive(&self) -> bool {
        !self.ring.is_closed() && self.publisher.subscribers() > 0
    }

    /// Why a letter to it could not be sent.
    #[cold]
    #[inline(never)]
    fn refused(&self, failure: SendFailure) -> ReplyError {
        match failure {
            SendFailure::Error(SendError::Closed) => ReplyError::CallerGone,
            SendFailure::Error(SendError::TooLarge { needed, limit }) => {
                ReplyError::TooLarge { needed, limit }
            }
            SendFailure::Error(SendError::Unserializable(error)) => {
                ReplyError::Unserializable(error)
            }
            _ if self.is_alive() => ReplyError::Full,
            _ => ReplyError::CallerGone,
        }
    }
}

impl Server {
    /// A server of requests of one type, by its index in their ring, with replies of another.
    pub(in crate::cluster) fn new(
        worker: &Worker,
        taker: GroupReceiver,
        request_type: u16,
        reply: TypeInfo,
    ) -> Self {
        Self {
            taker,
            cluster: worker.cluster.clone(),
            callers: Vec::new(),
            last: 0,
            open: None,
            is_only: false,
            aside: PostponedRequests::default(),
            copy: None,
            dropped: Dropped::default(),
            has_deferred: false,
            request_type,
            types: [reply, <[u64; 2]>::TYPE],
        }
    }

    /// Where replies that were to come later say that they were dropped.
    pub(in crate::cluster) fn later(&mut self) -> Dropped {
        self.has_deferred = true;
        self.dropped.clone()
    }

    /// Whether somebody waits for the reply to the open request.
    pub(in crate::cluster) fn is_open_wanted(&self) -> bool {
        self.open.is_some_and(|asked| {
            let known = self.callers.iter().find(|one| one.id == asked.caller);
            known.is_some_and(|one| one.waits_for(asked.call_slot))
        })
    }

    /// The next request, if there is nothing else to do, and it is of the caller that was asked for last:
    /// the way of most, short and straight. `None` says nothing: what was taken is still in hand, and is
    /// what [`next`](Self::next) takes.
    #[inline(always)]
    pub(in crate::cluster) fn ready(&mut self, timeout: Timeout) -> Option<()> {
        if self.open.is_some() || self.has_deferred || !self.aside.is_empty() {
            return None;
        }
        let taken = self.taker.take_fast(timeout)?;
        if taken.descriptor.type_index() != self.request_type {
            return None;
        }
        let asked = self.read(taken)?;
        let caller = self.callers.get(self.last).filter(|caller| caller.id == asked.caller)?;
        if caller.has_given_up(asked.call_slot) {
            return None;
        }
        self.open = Some(asked);
        Some(())
    }

    /// The next request that somebody waits for, at hand now: the index of its type.
    pub(in crate::cluster) fn next(&mut self, timeout: Timeout) -> Result<u16, ServiceRecvFailure> {
        if self.open.is_some() {
            // Its guard was forgotten, or the reply's own code panicked.
            self.no_reply();
        }
        self.tell_dropped();
        // What a look found is in hand, and comes first: no more than one thing is at hand.
        if !self.aside.is_empty()
            && !self.taker.cursor.holds()
            && let Some(found) = self.take_aside()
        {
            return Ok(found);
        }
        loop {
            let taken = match self.taker.take(timeout) {
                Ok(taken) => taken,
                Err(RecvFailure::NotReady(())) => {
                    self.forget_the_gone();
                    return Err(ServiceRecvFailure::NotReady(()));
                }
                Err(RecvFailure::Error(error)) => return Err(ServiceRecvError::from(error).into()),
            };
            match self.vet(taken) {
                Vetted::Wanted(asked) => {
                    self.open = Some(asked);
                    return Ok(taken.descriptor.type_index());
                }
                Vetted::Unreached(asked, error) => {
                    self.set_postponed(asked, taken);
                    return Err(ServiceRecvError::Caller(Box::new(error)).into());
                }
                Vetted::Unreadable => {
                    self.taker.ack();
                    return Err(ServiceRecvError::Corrupt("no valid caller id".into()).into());
                }
                Vetted::Passed => {}
            }
        }
    }

    /// What is to be done with a request that was just taken. One that nobody waits for is let go of
    /// here, and one whose caller is busy set aside.
    fn vet(&mut self, taken: Taken) -> Vetted {
        let Some(asked) = self.read(taken) else { return Vetted::Unreadable };
        // Where nobody gets a reply, nothing is done for it.
        match self.reach(asked.caller, PATIENCE) {
            Ok(known) if !known.has_given_up(asked.call_slot) => return Vetted::Wanted(asked),
            Ok(_) | Err(Unreached::Gone) => self.taker.ack(),
            Err(Unreached::NotNow(OpenError::Busy { .. })) => self.set_postponed(asked, taken),
            Err(Unreached::NotNow(error)) => return Vetted::Unreached(asked, error),
        }
        Vetted::Passed
    }

    /// Lets go of the request in hand, whose caller cannot be reached now.
    #[cold]
    fn set_postponed(&mut self, asked: RequestId, taken: Taken) {
        let type_index = taken.descriptor.type_index();
        let mut archive = AlignedVec::new();
        archive.extend_from_slice(self.taker.payload());
        self.aside.push(PostponedRequest { asked, type_index, archive });
        // Before the hand: who sees that empty sees this.
        self.record_postponed();
        self.taker.ack();
    }

    /// The first request that was set aside, and whose caller can be reached now.
    #[cold]
    fn take_aside(&mut self) -> Option<u16> {
        if !self.has_aside() {
            return None;
        }
        let request = self.aside.take_of(is_one_of(&self.callers))?;
        (self.open, self.is_only) = (Some(request.asked), false);
        self.copy = Some(request.archive);
        Some(request.type_index)
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
        let is_given_up = |request: &PostponedRequest| {
            let mut all = callers.iter();
            let PostponedRequest { asked, .. } = request;
            all.any(|one| one.id == asked.caller && one.has_given_up(asked.call_slot))
        };
        self.aside.retain(|request| !is_given_up(request));
        self.record_postponed();
        self.aside.has_of(is_one_of(&self.callers))
    }

    fn record_postponed(&self) {
        let entry = self.taker.cursor.entry();
        status::set_postponed(self.taker.cursor.memory(), entry, self.aside.range());
    }

    /// Whose request one is, and which of its calls.
    #[inline]
    fn read(&mut self, taken: Taken) -> Option<RequestId> {
        let position = taken.position;
        let RequestTag { entry, is_only, call_slot } = RequestTag::of(taken.descriptor.tag());
        let caller = self.taker.caller(entry, position)?.map_or(CallerId::NOBODY, CallerId);
        self.is_only = is_only;
        Some(RequestId { caller, position, call_slot })
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
        for asked in dropped {
            let _ = self.send_none(asked, DROPPED);
        }
    }

    /// Lets go of the rings of clients that are gone.
    fn forget_the_gone(&mut self) {
        self.callers.retain(Caller::is_alive);
    }

    /// Sends the reply to the open request, or says that there is none because it cannot be sent. The
    /// request leaves the hand.
    #[inline]
    pub(in crate::cluster) fn answer<R: Packet>(&mut self, reply: &R) -> Result<(), ReplyError> {
        let Some(RequestId { caller, position, call_slot }) = self.open else {
            return Err(ReplyError::CallerGone);
        };
        let tag = ReplyTag { kind: Kind::Reply, call_slot }.word();
        // Asking costs a line that its reader has just written to.
        match self.send(caller, (tag, &[]), !self.is_only, reply) {
            Ok(()) => {
                self.close();
                Ok(())
            }
            Err(error) => Err(self.fail(RequestId { caller, position, call_slot }, error)),
        }
    }

    /// The reply to the open request could not be sent.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, to: RequestId, error: ReplyError) -> ReplyError {
        self.say_none(to, &error);
        self.close();
        error
    }

    /// Sends a reply later, or says that there is none because it cannot be sent.
    pub(in crate::cluster) fn reply_late<R: Packet>(
        &mut self,
        to: RequestId,
        reply: &R,
    ) -> Result<(), ReplyError> {
        let outcome = self.send_named(to, Kind::Late, reply);
        if let Err(error) = &outcome {
            self.say_none(to, error);
        }
        outcome
    }

    /// Says that there is no reply, if that is due to the reply, and not to its caller.
    fn say_none(&mut self, to: RequestId, error: &ReplyError) {
        let why = match *error {
            ReplyError::TooLarge { needed, limit } => [needed, limit],
            ReplyError::Unserializable(_) => DROPPED,
            _ => return,
        };
        let _ = self.send_none(to, why);
    }

    /// Says that there is no reply: how many bytes one would have had, and how many it may have, or
    /// that there was [none](DROPPED).
    fn send_none(&mut self, to: RequestId, why: [usize; 2]) -> Result<(), ReplyError> {
        self.send_named(to, Kind::NoReply, &why.map(|word| word as u64))
    }

    /// Says that the reply to the open request comes later.
    pub(in crate::cluster) fn send_deferred(&mut self, to: RequestId) {
        let (entry, incarnation) = self.taker.place();
        // Who is gone is not told.
        let _ = self.send_named(to, Kind::Deferred, &[entry as u64, incarnation]);
    }

    /// Sends a letter that names the request.
    fn send_named<T: Packet>(
        &mut self,
        to: RequestId,
        kind: Kind,
        packet: &T,
    ) -> Result<(), ReplyError> {
        let tag = ReplyTag { kind, call_slot: to.call_slot }.word();
        let has_unread = !(self.is_only && self.open == Some(to));
        self.send(to.caller, (tag, &tags::prefix(to.position)), has_unread, packet)
    }

    /// Sends a letter to a caller, who may have `unread` ones.
    #[inline(always)]
    fn send<T: Packet>(
        &mut self,
        to: CallerId,
        (tag, prefix): (u16, &[u8]),
        unread: bool,
        packet: &T,
    ) -> Result<(), ReplyError> {
        if self.callers.get(self.last).is_none_or(|caller| caller.id != to) {
            self.find(to)?;
        }
        let caller = &mut self.callers[self.last];
        // One that reads its replies lives.
        if unread && caller.publisher.backlog() > 0 && !caller.is_alive() {
            return Err(ReplyError::CallerGone);
        }
        let cover = MessageHeader { prefix, tag, limit: REPLIES.limit };
        let sent = caller.publisher.send_with_header(cover, packet, Timeout::Zero);
        sent.map(drop).map_err(|error| caller.refused(error))
    }

    /// Makes the client of this id the one that was asked for last.
    #[inline(never)]
    fn find(&mut self, id: CallerId) -> Result<(), ReplyError> {
        self.reach(id, PATIENCE).map(drop).map_err(|unreached| match unreached {
            Unreached::Gone => ReplyError::CallerGone,
            Unreached::NotNow(error) => ReplyError::Open(Box::new(error)),
        })
    }

    /// The same: its ring is opened at the first request. One that others already wait for is not
    /// waited for again.
    fn reach(&mut self, id: CallerId, timeout: Duration) -> Result<&mut Caller, Unreached> {
        let is_last = self.callers.get(self.last).is_some_and(|caller| caller.id == id);
        if !is_last {
            self.last = match self.callers.iter().position(|caller| caller.id == id) {
                Some(index) => index,
                None => self.enter(id, timeout)?,
            };
        }
        Ok(&mut self.callers[self.last])
    }

    /// Attaches to a client's ring, and says which of the callers it is.
    #[cold]
    #[inline(never)]
    fn enter(&mut self, id: CallerId, timeout: Duration) -> Result<usize, Unreached> {
        self.forget_the_gone();
        if id == CallerId::NOBODY {
            return Err(Unreached::Gone);
        }
        let timeout = if self.aside.is_of(id) { Duration::ZERO } else { timeout };
        let caller = self.attach(id, timeout).map_err(|error| match error {
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
    fn attach(&self, id: CallerId, timeout: Duration) -> Result<Caller, OpenError> {
        let name = Object::Replies(id).name(&self.cluster)?;
        let settings = RingBuilder::default().tagged_slots().open_timeout(timeout);
        let ring = settings.attach_named(&name)?;
        let mut publisher = ring.any_publisher()?;
        publisher.register(&self.types, Timeout::After(timeout)).map_err(|error| match error {
            SendFailure::Error(SendError::System(source)) => {
                OpenError::system("enter a type into", ring.name(), source)
            }
            SendFailure::Error(SendError::TooManyTypes { limit }) => {
                OpenError::TooManyTypes { limit }
            }
            SendFailure::Error(SendError::TypeRefused(types)) => {
                let TypeMismatch { expected, found } = *types;
                OpenError::TypeMismatch { expected, found }
            }
            _ => OpenError::Busy { name: ring.name().to_owned(), pid: None },
        })?;
        Ok(Caller { id, ring, publisher })
    }

    /// Whether somebody waits for a reply.
    pub(in crate::cluster) fn is_wanted(&mut self, to: RequestId) -> bool {
        self.find(to.caller).is_ok() && self.callers[self.last].waits_for(to.call_slot)
    }

    /// The request that is open gets no reply.
    pub(in crate::cluster) fn no_reply(&mut self) {
        if let Some(asked) = self.open {
            let _ = self.send_none(asked, DROPPED);
        }
        self.close();
    }

    /// The open request leaves the hand, and nothing is said of it.
    #[cfg(test)]
    pub(in crate::cluster) fn forget(&mut self) {
        self.close();
    }

    /// What becomes of the open request is said: it leaves the hand.
    pub(in crate::cluster) fn close(&mut self) {
        self.open = None;
        self.taker.ack();
        if !self.aside.is_empty() {
            self.aside.is_answered();
            self.copy = None;
            self.record_postponed();
        }
    }
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

impl ReadEndpoint for Server {
    #[inline]
    fn payload(&self) -> &[u8] {
        match &self.copy {
            None => self.taker.payload(),
            Some(copy) => copy,
        }
    }

    fn release(&mut self) {
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
            let Some(taken) = self.taker.take_found() else { return true };
            if !matches!(self.vet(taken), Vetted::Passed) {
                self.taker.leave_found(taken);
                return true;
            }
        }
        false
    }

    fn is_ready(&self) -> bool {
        self.taker.is_ready()
    }

    fn event_count(&self) -> &EventCount {
        self.taker.event_count()
    }

    fn is_pending(&self) -> bool {
        self.taker.is_pending()
    }

    fn reap_dead(&mut self) {
        self.taker.reap_dead();
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
