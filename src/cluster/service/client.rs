//! Calls of a service: started, waited for, given up; and their replies, read in place.
//!
//! It guarantees that there is room for the reply to each call in flight, so that no server ever waits
//! for a client. What becomes of a call is found out in `outcome`.

use super::call::{Call, Calls, WINDOW};
use super::completion::{Found, Loss};
use super::tags::{PREFIX, RequestTag};
use crate::channel::{
    AnyPublisher, Receiver, Ring, RingBuilder, SendError, SendFailure, SendTimeoutError,
};
use crate::cluster::error::{CallError, CallTimeoutError};
use crate::cluster::names::{CallerId, Object};
use crate::cluster::worker::Worker;
use crate::error::{Form, OpenError};
use crate::packet::guard::{Copied, Validated};
use crate::packet::{self, Packet};
use crate::ring::buffer::{StableBytes, Suffix};
use crate::ring::guard::ReadGuard;
use crate::wait::{Deadline, IDLE, PENDING, Timeout, Wait};
use rkyv::util::AlignedVec;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// The shape of a ring of replies.
pub(in crate::cluster) struct Replies {
    capacity: usize,
    /// Most bytes of a reply's archive.
    pub(in crate::cluster) limit: usize,
}

/// Room for a reply and a word about it to each call of the window, and for what is lost at the end of
/// the ring's memory.
pub(in crate::cluster) const REPLIES: Replies = {
    let capacity: usize = 1 << 20;
    let slots = capacity / 64;
    let span = (slots - WINDOW) / (WINDOW + 1);
    Replies { capacity, limit: span * 64 - 16 - PREFIX }
};

/// How a ring of replies is made that so many servers may reply to. Each place takes 256 bytes: in a
/// cluster of 128 workers those of all the servers that there can be are 32 KiB, beside the 1 MiB of
/// the replies.
fn settings(servers: usize) -> RingBuilder {
    RingBuilder::default().tagged_slots().or_else(|default| {
        default.capacity = REPLIES.capacity;
        default.stays_open = true;
        default.max_publishers = servers;
        default.max_subscribers = 1;
    })
}

/// Calls a service: sends requests of one type, and reads replies of another.
///
/// It may have 32 calls in flight. Each counts until its reply is read, or is thrown away because the
/// call was [cancelled](Self::cancel): so a slow caller fills its own window, and no server ever waits
/// for it.
///
/// A reply has 31,648 bytes at most, so that there is room for 32 of them; a larger one is
/// [`ReplyTooLarge`](CallError::ReplyTooLarge).
///
/// A server that is gone is known of within milliseconds, whatever the deadline. A call whose request
/// no server had taken is then [`NoService`](CallError::NoService): nothing was done, and no server
/// that comes later does it, so it can be made again. One that a server had taken is
/// [`ServiceGone`](CallError::ServiceGone): it may have been done, or a part of it.
pub struct Client<Q: Packet, R: Packet> {
    requests: AnyPublisher,
    pub(in crate::cluster) service: Ring,
    pub(in crate::cluster) replies: Receiver,
    pub(in crate::cluster) own: Ring,
    pub(in crate::cluster) reply_type: u16,
    /// Its publisher's entry among those of the requests, where servers find who it is.
    entry: u16,
    pub(in crate::cluster) calls: Calls,
    /// A reply that came while another was waited for.
    pub(in crate::cluster) kept: AlignedVec<16>,
    /// Letters that do not say which call's they are, and were the end of none yet.
    pub(in crate::cluster) unreadable: usize,
    /// When to ask after open calls, for those who only look.
    pub(in crate::cluster) ask_at: Deadline,
    packets: PhantomData<fn(Q) -> R>,
}

/// A reply, read in place.
pub struct Reply<'a, R: Packet>(Inner<'a, R>);

enum Inner<'a, R: Packet> {
    InPlace(Validated<Suffix<ReadGuard<'a, Receiver>>, R>),
    Kept(Validated<Copied<'a>, R>),
}

#[cold]
fn corrupt<R: Packet>(archive: &[u8]) -> CallError {
    CallError::Corrupt(packet::explain::<R>(archive).into())
}

impl Worker {
    /// Calls the service of this name, which need not be there yet.
    ///
    /// ```
    /// # let cluster = format!("client-{}", std::process::id());
    /// use packetring::Worker;
    /// use packetring::cluster::{CallError, Request};
    /// use std::time::Duration;
    ///
    /// let worker = Worker::join(&cluster, "caller")?;
    /// let mut client = worker.client::<u64, u64>("double")?;
    /// assert!(matches!(client.call(&1), Err(CallError::NoService)));
    ///
    /// # std::thread::scope(|scope| {
    /// # scope.spawn(|| {
    /// #     let mut server = worker.service::<u64, u64>("double").unwrap();
    /// #     for _ in 0..3 {
    /// #         let request = server.recv().unwrap();
    /// #         let doubled = request.to_native() * 2;
    /// #         Request::reply(request, &doubled).unwrap();
    /// #     }
    /// # });
    /// client.wait_for_server()?;
    /// assert_eq!(*client.call_timeout(&21, Duration::from_secs(10))?, 42);
    ///
    /// // Several in flight, and their replies in any order.
    /// let (first, second) = (client.start(&1)?, client.start(&2)?);
    /// assert_eq!(*client.wait(second)?, 4);
    /// assert_eq!(*client.wait(first)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Ring::open`] and [`Ring::publisher`]; [`TypeMismatch`](OpenError::TypeMismatch) if the
    /// service has other requests or replies.
    pub fn client<Q: Packet, R: Packet>(&self, name: &str) -> Result<Client<Q, R>, OpenError> {
        let (service, _) = self.requests::<Q, R>(name)?;
        let drawn = crate::sys::random()
            .map_err(|errno| OpenError::system("draw a number for", "a client", errno))?;
        let id = CallerId::of(self.id(), drawn);
        let servers = service.settings().max_subscribers;
        let own = self.open(Object::Replies(id), settings(servers))?;
        let (replies, reply_type) = own.replies(&R::TYPE)?;
        let requests = service.any_publisher()?;
        let entry = requests.sign(id.0);
        Ok(Client {
            requests,
            service,
            replies,
            own,
            reply_type,
            entry,
            calls: Calls::from(drawn),
            kept: AlignedVec::new(),
            unreadable: 0,
            ask_at: Deadline::after(IDLE),
            packets: PhantomData,
        })
    }
}

impl<Q: Packet, R: Packet> Client<Q, R> {
    /// Calls, and waits for the reply.
    ///
    /// # Errors
    ///
    /// [`NoService`](CallError::NoService), [`ServiceGone`](CallError::ServiceGone),
    /// [`NoReply`](CallError::NoReply), [`ReplyTooLarge`](CallError::ReplyTooLarge),
    /// [`Busy`](CallError::Busy), [`Corrupt`](CallError::Corrupt),
    /// [`TooLarge`](CallError::TooLarge), [`Unserializable`](CallError::Unserializable).
    pub fn call(&mut self, request: &Q) -> Result<Reply<'_, R>, CallError> {
        let call = self.begin::<CallError>(request, None)?;
        self.finish(call, None)
    }

    /// Calls, and waits for the reply if it comes in time. Otherwise the call is cancelled.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and [`Timeout`](CallTimeoutError::Timeout).
    pub fn call_timeout(
        &mut self,
        request: &Q,
        timeout: Duration,
    ) -> Result<Reply<'_, R>, CallTimeoutError> {
        let end = Instant::now().checked_add(timeout);
        let call = self.begin::<CallTimeoutError>(request, end)?;
        if self.ready(call) {
            return Ok(self.open_in_place(0)?);
        }
        match self.until(call, end) {
            Err(CallTimeoutError::Timeout) => {
                self.cancel(call);
                Err(CallTimeoutError::Timeout)
            }
            Err(error) => Err(error),
            Ok(found) => Ok(self.open(found)?),
        }
    }

    /// Starts a call. Several may be in flight.
    ///
    /// # Errors
    ///
    /// [`Busy`](CallError::Busy) if 32 are; [`NoService`](CallError::NoService) if there is no server,
    /// and no room for the request, or 32 were given up that no server has taken;
    /// [`TooLarge`](CallError::TooLarge), [`Unserializable`](CallError::Unserializable).
    pub fn start(&mut self, request: &Q) -> Result<Call, CallError> {
        self.begin(request, None)
    }

    /// The reply to a call. Waits for it.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); [`NotInFlight`](CallError::NotInFlight) of a call that is over, was
    /// cancelled, or is another client's.
    pub fn wait(&mut self, call: Call) -> Result<Reply<'_, R>, CallError> {
        self.finish(call, None)
    }

    /// The reply to a call, if it comes in time. Otherwise the call is still in flight.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`Timeout`](CallTimeoutError::Timeout).
    pub fn wait_timeout(
        &mut self,
        call: Call,
        timeout: Duration,
    ) -> Result<Reply<'_, R>, CallTimeoutError> {
        self.finish(call, Instant::now().checked_add(timeout))
    }

    /// What comes first of any call in flight: its reply, or why there is none. Waits for it. That call
    /// is over.
    ///
    /// # Errors
    ///
    /// What is not about one call: [`NotInFlight`](CallError::NotInFlight) if none is,
    /// [`Corrupt`](CallError::Corrupt) if replies cannot be read any more.
    pub fn wait_any(&mut self) -> Result<(Call, Result<Reply<'_, R>, CallError>), CallError> {
        let (call, found) = loop {
            let calls: Vec<Call> = self.calls.wanted().map(|one| one.call).collect();
            if calls.is_empty() {
                return Err(CallError::NotInFlight);
            }
            if let Some(found) = self.find_any(&calls)? {
                break found;
            }
        };
        Ok((call, found.and_then(|found| self.open(found))))
    }

    /// Gives a call up: its reply is thrown away when it comes, and a server that has not begun with it
    /// does not. It counts as in flight until then.
    pub fn cancel(&mut self, call: Call) {
        self.calls.give_up(call, &self.own);
    }

    /// Waits until a server is there.
    ///
    /// # Errors
    ///
    /// [`Send`](CallError::Send) if somebody closed the ring of requests.
    pub fn wait_for_server(&mut self) -> Result<(), CallError> {
        self.requests.wait_for_subscribers(1).map_err(|error| CallError::Send(Box::new(error)))
    }

    /// Waits until a server is there, if one comes in time.
    ///
    /// # Errors
    ///
    /// [`NoService`](CallError::NoService) if none came; [`Send`](CallError::Send) as
    /// [`wait_for_server`](Self::wait_for_server).
    pub fn wait_for_server_timeout(&mut self, timeout: Duration) -> Result<(), CallError> {
        let outcome = self.requests.wait_for_subscribers_timeout(1, timeout);
        outcome.map_err(|error| match error {
            SendTimeoutError::Timeout { .. } => CallError::NoService,
            // Waiting for subscribers fails in no other way.
            _ => CallError::Send(Box::new(SendError::Closed)),
        })
    }

    /// Chooses how this client waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.requests.set_wait(wait);
        self.replies.endpoint.waiter.set(wait);
    }

    fn begin<F: Form<CallError, ()>>(
        &mut self,
        request: &Q,
        end: Option<Instant>,
    ) -> Result<Call, F> {
        if self.calls.is_full() || self.calls.are_all_given_up() {
            self.make_room()?;
        }
        // Room that a reply would lack.
        self.replies.release_forgotten();
        let call = self.calls.number();
        let is_only = self.calls.is_empty();
        let tag = RequestTag { entry: self.entry, is_only, call_slot: call.call_slot() }.word();
        self.calls.want(call, &self.own);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let timeout = Timeout::After(left.map_or(PENDING, |left| left.min(PENDING)));
            match self.requests.send_tagged(tag, request, timeout) {
                Ok(position) => {
                    self.calls.begin(call, position);
                    return Ok(call);
                }
                Err(SendFailure::NotReady(_)) => {
                    if left.is_some_and(|left| left.is_zero())
                        && let Some(error) = F::not_ready(())
                    {
                        return Err(error);
                    }
                    self.check_servers()?;
                }
                Err(SendFailure::Error(error)) => return Err(CallError::from(error).into()),
            }
        }
    }

    /// Reads replies to calls that were given up.
    fn make_room(&mut self) -> Result<(), CallError> {
        while self.note_next()? {}
        for call in self.calls.given_up() {
            if self.look_for_loss(call)? == Loss::Sure {
                self.calls.end(call);
            }
        }
        if !self.calls.is_full() {
            return Ok(());
        }
        if self.calls.wanted().next().is_none() {
            // Nothing can be done about it but to start a server.
            self.check_servers()?;
        }
        Err(CallError::Busy { limit: WINDOW })
    }

    #[inline]
    fn finish<F: Form<CallError, ()>>(
        &mut self,
        call: Call,
        end: Option<Instant>,
    ) -> Result<Reply<'_, R>, F> {
        if self.ready(call) { Ok(self.open_in_place(0)?) } else { self.finish_slowly(call, end) }
    }

    #[inline(never)]
    fn finish_slowly<F: Form<CallError, ()>>(
        &mut self,
        call: Call,
        end: Option<Instant>,
    ) -> Result<Reply<'_, R>, F> {
        let found = self.until::<F>(call, end)?;
        Ok(self.open(found)?)
    }

    /// That there are servers: if not, what could not be sent was asked of nobody.
    fn check_servers(&self) -> Result<(), CallError> {
        if self.has_servers() { Ok(()) } else { Err(CallError::NoService) }
    }

    fn open(&mut self, found: Found) -> Result<Reply<'_, R>, CallError> {
        match found {
            Found::Kept => match Validated::open(Copied::new(&self.kept)) {
                Ok(opened) => Ok(Reply(Inner::Kept(opened))),
                Err((guard, _)) => Err(corrupt::<R>(guard.bytes())),
            },
            Found::InPlace(prefix) => self.open_in_place(prefix),
        }
    }

    #[inline]
    fn open_in_place(&mut self, prefix: usize) -> Result<Reply<'_, R>, CallError> {
        let hand = Suffix::new(ReadGuard::new(&mut self.replies), prefix);
        let Ok(hand) = hand else {
            return Err(CallError::Corrupt("shorter than its header".into()));
        };
        match Validated::open(hand) {
            Ok(opened) => Ok(Reply(Inner::InPlace(opened))),
            Err((guard, _)) => Err(corrupt::<R>(guard.bytes())),
        }
    }
}

impl<Q: Packet, R: Packet> Drop for Client<Q, R> {
    fn drop(&mut self) {
        // Servers that reply to it learn that it is gone. If it cannot be closed, they ask who lives.
        self.own.end();
    }
}

impl<R: Packet> Deref for Reply<'_, R> {
    type Target = R::Archived;

    fn deref(&self) -> &R::Archived {
        match &self.0 {
            Inner::InPlace(opened) => opened.get(),
            Inner::Kept(opened) => opened.get(),
        }
    }
}

impl<R: Packet> fmt::Debug for Reply<'_, R>
where
    R::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<Q: Packet, R: Packet> fmt::Debug for Client<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("request", &Q::TYPE.name)
            .field("reply", &R::TYPE.name)
            .field("service", &self.service.name())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Types;
    use crate::cluster::{ReplyError, Request};
    use crate::ring::cursor::Cursor;

    type Numbers = Client<u64, u64>;

    /// Long enough for any machine; nothing is measured by it.
    const LONG: Duration = Duration::from_secs(30);

    /// A client of a service of which there is no server.
    fn client(name: &str) -> (Worker, Numbers) {
        let cluster = format!("client-{name}-{}", std::process::id());
        let worker = Worker::join(&cluster, "both").unwrap();
        let client = worker.client("double").unwrap();
        (worker, client)
    }

    /// Puts something into a client's ring of replies that is no letter.
    fn disturb(client: &Numbers) {
        client.own.any_publisher().unwrap().send(&7_u64).unwrap();
    }

    /// Has the kernel say of its reader what it says of a dead one.
    fn die(client: &Numbers) {
        let endpoint = &client.replies.endpoint;
        endpoint.release_liveness();
    }

    /// Starts a call, takes its request, and says whether that says that it is the only one.
    fn is_only(client: &mut Numbers) -> (Call, bool) {
        let call = client.start(&1).unwrap();
        let (mut requests, _) = client.service.taker(&Types::Any).unwrap();
        let taken = requests.take(Timeout::Zero).unwrap();
        let tag = RequestTag::of(taken.descriptor.tag());
        assert_eq!(tag.call_slot, call.call_slot());
        (call, tag.is_only)
    }

    #[test]
    fn a_call_that_was_given_up_is_in_flight_until_its_request_is_passed() {
        let (worker, mut client) = client("passed");
        assert!(matches!(client.call(&1).map(drop), Err(CallError::NoService)));
        let mut server = worker.service::<u64, u64>("double").unwrap();
        assert!(server.try_recv().is_err());
        assert!(is_only(&mut client).1);
    }

    #[test]
    fn a_request_is_left_unless_somebody_has_taken_it() {
        let (_worker, mut client) = client("left");
        let calls = [1, 2].map(|number| client.start(&number).unwrap());
        let places = calls.map(|call| client.calls.get(call).unwrap().position);
        // Somebody came after it was found that nobody is there.
        let (mut requests, _) = client.service.taker(&Types::Any).unwrap();
        let _ = requests.take(Timeout::Zero).unwrap();
        for _ in 0..2 {
            assert!(!client.leave(calls[0], places[0]));
            assert_eq!(client.own.given_up(), 0);
            requests.ack();
        }
        assert!(client.leave(calls[1], places[1]));
        assert_eq!(client.own.given_up(), calls[1].call_slot().bit());
    }

    #[test]
    fn a_request_says_whether_its_client_has_other_calls_in_flight() {
        let (worker, mut client) = client("alone");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let in_flight: Vec<(Call, bool)> = (0..WINDOW).map(|_| is_only(&mut client)).collect();
        assert!(in_flight[0].1 && in_flight[1..].iter().all(|&(_, is_only)| !is_only));
        // Nobody has them any more, and no letter says so: they end.
        for (call, _) in in_flight {
            assert!(matches!(client.wait(call), Err(CallError::ServiceGone)));
        }
        assert!(is_only(&mut client).1);
        assert!(server.try_recv().is_err());
    }

    #[test]
    fn a_caller_with_one_call_in_flight_is_not_asked_whether_it_reads_its_replies() {
        let (worker, mut client) = client("only");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        // Something to read, which its only call says there is not.
        disturb(&client);
        let _ = client.start(&1).unwrap();
        let only = server.recv().unwrap();
        die(&client);
        Request::reply(only, &2).unwrap();
        // With two, one of which is unread, it is asked.
        let _ = client.start(&2).unwrap();
        let outcome = Request::reply(server.recv().unwrap(), &4);
        assert!(matches!(outcome, Err(ReplyError::CallerGone)), "{outcome:?}");
    }

    #[test]
    fn a_client_waits_as_it_is_told_for_room_and_for_replies() {
        let (worker, mut client) = client("waits");
        let waits =
            |client: &Numbers| [client.requests.wait(), client.replies.endpoint.waiter.wait()];
        assert_eq!(waits(&client), [Wait::park(); 2]);
        for wait in [Wait::spin(), Wait::park().spin_for(Duration::ZERO)] {
            client.set_wait(wait);
            assert_eq!(waits(&client), [wait; 2]);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut server = worker.service::<u64, u64>("double").unwrap();
                    server.set_wait(wait);
                    let request = server.recv().unwrap();
                    let doubled = request.to_native() * 2;
                    Request::reply(request, &doubled).unwrap();
                });
                while client.service.subscribers() == 0 {
                    std::thread::yield_now();
                }
                assert_eq!(*client.call(&7).unwrap(), 14);
            });
        }
    }

    #[test]
    fn a_letter_that_cannot_be_read_hides_none_behind_it() {
        let (worker, mut client) = client("disturbed");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let calls = [1, 2, 3].map(|number| client.start(&number).unwrap());
        disturb(&client);
        for _ in calls {
            let request = server.recv().unwrap();
            let doubled = request.to_native() * 2;
            Request::reply(request, &doubled).unwrap();
        }
        let loss = client.look_for_loss(calls[0]).unwrap();
        assert_eq!(loss, Loss::None, "its reply is there");
        assert_eq!(*client.wait(calls[1]).unwrap(), 4);
        assert_eq!(*client.wait(calls[0]).unwrap(), 2);
        disturb(&client);
        let (call, reply) = client.wait_any().unwrap();
        assert_eq!((call, reply.unwrap().to_native()), (calls[2], 6));
    }

    #[test]
    fn a_reply_behind_what_another_server_is_just_sending_is_waited_for() {
        let (worker, mut client) = client("behind");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let call = client.start(&1).unwrap();
        let mut other = client.own.any_publisher().unwrap();
        let unfinished = other.reserve::<u64>().unwrap();
        Request::reply(server.recv().unwrap(), &2).unwrap();
        assert!(matches!(client.wait_timeout(call, PENDING * 3), Err(CallTimeoutError::Timeout)));
        drop(unfinished);
        assert_eq!(*client.wait(call).unwrap(), 2);
    }

    #[test]
    fn a_claim_that_nobody_commits_holds_no_call_up_and_keeps_its_lane() {
        let (worker, mut client) = client("claimed");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let call = client.start(&1).unwrap();
        let mut other = client.own.any_publisher().unwrap();
        let unfinished = other.reserve::<u64>().unwrap();
        Request::reply(server.recv().unwrap(), &2).unwrap();
        let outcome = client.wait_timeout(call, LONG).map(drop);
        assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
        // The reply is there, and is nobody's.
        for _ in 1..WINDOW {
            assert_ne!(client.start(&3).unwrap().call_slot(), call.call_slot());
        }
        assert!(matches!(client.start(&3), Err(CallError::Busy { .. })));
        drop(unfinished);
        assert_eq!(client.start(&3).unwrap().call_slot(), call.call_slot());
    }

    #[test]
    fn a_tail_that_cannot_be_holds_no_call_up() {
        for tail in [1 << 40, u64::MAX] {
            let (worker, mut client) = client("tail");
            let mut server = worker.service::<u64, u64>("double").unwrap();
            let call = client.start(&1).unwrap();
            std::mem::forget(server.recv().unwrap());
            server.server.forget();
            let head = client.replies.cursor.memory().head();
            head.tail.store(tail, crate::sync::Ordering::SeqCst);
            let outcome = client.wait_timeout(call, LONG).map(drop);
            assert!(matches!(outcome, Err(CallTimeoutError::ServiceGone)), "{outcome:?}");
        }
    }

    #[test]
    fn a_request_of_one_who_left_is_not_taken_for_that_of_who_came_after() {
        let (worker, mut left) = client("after");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let _ = left.start(&1).unwrap();
        let entry = left.entry;
        drop(left);
        let mut client = worker.client::<u64, u64>("double").unwrap();
        assert_eq!(client.entry, entry, "else this tests nothing");
        let call = client.start(&2).unwrap();
        let request = server.recv().unwrap();
        assert_eq!(*request, 2);
        Request::reply(request, &4).unwrap();
        assert_eq!(*client.wait(call).unwrap(), 4);
    }

    #[test]
    fn a_call_whose_reply_cannot_be_read_is_not_told_that_its_server_died() {
        let (worker, mut client) = client("unreadable");
        let mut server = worker.service::<u64, u64>("double").unwrap();
        let call = client.start(&1).unwrap();
        std::mem::forget(server.recv().unwrap());
        disturb(&client);
        // Nobody has it in hand, and no letter says so.
        server.server.forget();
        let outcome = client.wait(call).map(drop);
        assert!(matches!(outcome, Err(CallError::Corrupt(_))), "{outcome:?}");
        let call = client.start(&2).unwrap();
        std::mem::forget(server.recv().unwrap());
        server.server.forget();
        let outcome = client.wait(call).map(drop);
        assert!(matches!(outcome, Err(CallError::ServiceGone)), "{outcome:?}");
    }
}
