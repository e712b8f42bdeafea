//! Calls of a service: start, wait, cancel.
//!
//! - `window`: the calls in flight. The reply ring has room for the replies to all of them, so no
//!   server ever waits for a client.
//! - `completion`: how each call completes.
//! - `reply`: a reply, read in place.
//! - `select`: waiting for a client together with other endpoints.

mod completion;
mod reply;
#[cfg(test)]
mod tests;
mod waiting;
mod window;

pub use reply::Reply;

use super::ring::reply_ring;
use super::tags::RequestTag;
use super::tags::{Call, WINDOW};
use crate::channel::{
    AnyPublisher, Selectable, Selectee, SendError, SendFailure, SendTimeoutError,
};
use crate::cluster::error::{CallError, CallTimeoutError, WaitingForServer};
use crate::cluster::names::{CallerId, ClusterObject};
use crate::cluster::worker::Worker;
use crate::error::{Failure, Form, OpenError};
use crate::packet::{Packet, SendAs};
use crate::wait::{Deadline, Pace, Timeout, Wait};
use completion::{CALL, CallLoss, CallTracker};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// Calls a service: sends requests of type `Q` and reads replies of type `R`.
///
/// A client may have 32 calls in flight; a 33rd is [`Busy`](CallError::Busy). A call takes its
/// place until its reply is read. So a slow caller fills its own window, and no server ever waits
/// for it.
///
/// A reply has at most 31,648 bytes, so that the client's ring holds 32 of them. A larger one is
/// [`ReplyTooLarge`](CallError::ReplyTooLarge).
///
/// # When a server dies
///
/// The client notices within milliseconds, whatever the timeout of the call:
///
/// - [`NoService`](CallError::NoService): no server had taken the request. No server will execute
///   it, not even a server that starts later. So it is safe to call again.
/// - [`ServiceGone`](CallError::ServiceGone): the dead server had taken the request. The work was
///   done, partly done, or not done.
///
/// # Cancellation
///
/// [`cancel`](Self::cancel) gives a call up, and so does a timeout of
/// [`call_timeout`](Self::call_timeout). A server that has not started with the request skips it. A
/// server that has started finds out with [`Request::is_wanted`](super::Request::is_wanted). The
/// client discards the reply. The call keeps its place in the window until the reply arrives or a
/// server skipped the request. Dropping a [`Call`] cancels nothing.
pub struct Client<Q: Packet, R: Packet> {
    requests: AnyPublisher,
    tracker: CallTracker,
    /// Entry of `requests` in the request ring. Servers find the client's id there.
    entry: u16,
    packets: PhantomData<fn(Q) -> R>,
}

impl Worker {
    /// Opens a client of the service of this name. The service need not have a server yet.
    ///
    /// Costs a ring of 1 MiB for the replies.
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
    /// As [`Ring::open`](crate::Ring::open) and [`Ring::publisher`](crate::Ring::publisher);
    /// [`TypeMismatch`](OpenError::TypeMismatch) if the service has other requests or replies.
    pub fn client<Q: Packet, R: Packet>(&self, name: &str) -> Result<Client<Q, R>, OpenError> {
        let service = self.request_ring(name)?;
        let requests = service.requests(&Q::TYPE, &R::TYPE)?;
        let random = crate::sys::random()
            .map_err(|errno| OpenError::system("draw a number for", "a client", errno))?;
        let id = CallerId::of(self.id(), random);
        let servers = service.settings().max_subscribers;
        let own = self.open(ClusterObject::Replies(id), reply_ring(servers))?;
        let replies = own.reply_receiver(&R::TYPE)?;
        let entry = requests.sign(id.0);
        let tracker = CallTracker::new(&self.cluster, service, replies, own, random);
        Ok(Client { requests, tracker, entry, packets: PhantomData })
    }
}

impl<Q: Packet, R: Packet> Client<Q, R> {
    /// Calls the service and waits for the reply. Takes `&request`, or a [borrowed form](SendAs) of
    /// it.
    ///
    /// # Errors
    ///
    /// [`NoService`](CallError::NoService), [`ServiceGone`](CallError::ServiceGone),
    /// [`WouldDeadlock`](CallError::WouldDeadlock), [`NoReply`](CallError::NoReply),
    /// [`ReplyTooLarge`](CallError::ReplyTooLarge), [`Busy`](CallError::Busy),
    /// [`Corrupt`](CallError::Corrupt), [`TooLarge`](CallError::TooLarge),
    /// [`Unserializable`](CallError::Unserializable).
    pub fn call(&mut self, request: impl SendAs<Q>) -> Result<Reply<'_, R>, CallError> {
        let call = self.start(request)?;
        self.finish(call, Deadline::NEVER)
    }

    /// Calls the service and waits for the reply for a limited time. After a timeout the call is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and [`Timeout`](CallTimeoutError::Timeout).
    pub fn call_timeout(
        &mut self,
        request: impl SendAs<Q>,
        timeout: Duration,
    ) -> Result<Reply<'_, R>, CallTimeoutError> {
        let deadline = Deadline::after(timeout);
        let call = self.begin::<CallTimeoutError>(request.value(), deadline)?;
        if self.tracker.take_fast(call) {
            return Ok(Reply::in_ring(&mut self.tracker, 0)?);
        }
        match self.tracker.wait_for(call, deadline)? {
            Some(place) => Ok(Reply::open(&mut self.tracker, place)?),
            None => {
                let waiting_for = self.tracker.waiting_for(Some(call));
                self.cancel(call);
                Err(CallTimeoutError::Timeout { waiting_for })
            }
        }
    }

    /// Starts a call. [`wait`](Self::wait) reads its reply.
    ///
    /// Waits for room in the request ring if it is full and a server lives.
    ///
    /// # Errors
    ///
    /// [`Busy`](CallError::Busy) if 32 calls are in flight. [`NoService`](CallError::NoService) if
    /// there is no server, and either the request ring is full or the window is full of cancelled
    /// calls. [`TooLarge`](CallError::TooLarge), [`Unserializable`](CallError::Unserializable).
    pub fn start(&mut self, request: impl SendAs<Q>) -> Result<Call, CallError> {
        self.begin(request.value(), Deadline::NEVER)
    }

    /// Waits for the reply to a call.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call). [`NotInFlight`](CallError::NotInFlight) if the call is over, was
    /// cancelled, or belongs to another client.
    pub fn wait(&mut self, call: Call) -> Result<Reply<'_, R>, CallError> {
        self.finish(call, Deadline::NEVER)
    }

    /// Waits for the reply to a call for a limited time. After a timeout the call is still in
    /// flight.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`Timeout`](CallTimeoutError::Timeout).
    pub fn wait_timeout(
        &mut self,
        call: Call,
        timeout: Duration,
    ) -> Result<Reply<'_, R>, CallTimeoutError> {
        self.finish(call, Deadline::after(timeout))
    }

    /// Waits until any call completes, and removes it. Returns it with its reply or its error.
    ///
    /// # Errors
    ///
    /// Errors that are not about one call: [`NotInFlight`](CallError::NotInFlight) if no call is in
    /// flight, [`Corrupt`](CallError::Corrupt) if no more replies can be read.
    pub fn wait_any(&mut self) -> Result<(Call, Result<Reply<'_, R>, CallError>), CallError> {
        let (call, place) = self.tracker.wait_for_any()?;
        Ok((call, place.and_then(|place| Reply::open(&mut self.tracker, place))))
    }

    /// Cancels a call: its reply is discarded when it arrives. A server that has not started with
    /// the request skips it. Until then the call counts as in flight.
    pub fn cancel(&mut self, call: Call) {
        self.tracker.calls.give_up(call, &self.tracker.own);
    }

    /// Waits until there is a server.
    ///
    /// # Errors
    ///
    /// [`Send`](CallError::Send) if the request ring was closed.
    pub fn wait_for_server(&mut self) -> Result<(), CallError> {
        self.requests.wait_for_subscribers(1).map_err(|error| CallError::Send(Box::new(error)))
    }

    /// Waits until there is a server, for a limited time.
    ///
    /// # Errors
    ///
    /// [`NoService`](CallError::NoService) if there was none before the timeout.
    /// [`Send`](CallError::Send) as for [`wait_for_server`](Self::wait_for_server).
    pub fn wait_for_server_timeout(&mut self, timeout: Duration) -> Result<(), CallError> {
        let outcome = self.requests.wait_for_subscribers_timeout(1, timeout);
        outcome.map_err(|error| match error {
            SendTimeoutError::Timeout { .. } => CallError::NoService,
            // Waiting for subscribers has no other error.
            _ => CallError::Send(Box::new(SendError::Closed)),
        })
    }

    /// Changes how this client waits from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.requests.set_wait(wait);
        self.tracker.replies.entry.waiter.set(wait);
    }

    fn begin<F: Form<CallError, WaitingForServer>>(
        &mut self,
        request: &impl Packet<Archived = Q::Archived>,
        deadline: Deadline,
    ) -> Result<Call, F> {
        if self.tracker.calls.is_full() || self.tracker.calls.are_all_given_up() {
            self.make_room()?;
        }
        // A forgotten `Reply` would take the room of a later reply.
        self.tracker.replies.release_forgotten();
        let call = self.tracker.calls.number();
        let is_only = self.tracker.calls.is_empty();
        let tag = RequestTag { entry: self.entry, is_only, call_slot: call.call_slot() }.word();
        self.tracker.calls.clear_given_up(call, &self.tracker.own);
        let (mut patience, mut pace) = (None, Pace::new());
        loop {
            pace.begin(CALL);
            let bound = pace.sleep(deadline);
            let is_over = deadline.has_passed();
            match self.requests.send_tagged(tag, request, Timeout::After(bound)) {
                Ok(position) => {
                    self.tracker.calls.add(call, position);
                    return Ok(call);
                }
                Err(SendFailure::NotReady(_)) => {
                    pace.is_due();
                    if is_over && let Some(error) = F::not_ready(self.tracker.waiting_for(None)) {
                        return Err(error);
                    }
                    self.check_servers()?;
                    if self.tracker.waits_for_itself(&mut patience) {
                        return Err(CallError::WouldDeadlock.into());
                    }
                }
                Err(SendFailure::Error(error)) => return Err(CallError::from(error).into()),
            }
        }
    }

    /// Reads replies to calls that were given up, to free places of the window.
    fn make_room(&mut self) -> Result<(), CallError> {
        while self.tracker.record_next()? {}
        for call in self.tracker.calls.given_up() {
            if self.tracker.find_loss(call)? == CallLoss::Lost {
                self.tracker.calls.remove(call);
            }
        }
        if !self.tracker.calls.is_full() {
            return Ok(());
        }
        if self.tracker.calls.wanted().next().is_none() {
            // Only a server can free a place: it skips the requests.
            self.check_servers()?;
        }
        Err(CallError::Busy { limit: WINDOW })
    }

    #[inline]
    fn finish<F: Form<CallError, WaitingForServer>>(
        &mut self,
        call: Call,
        deadline: Deadline,
    ) -> Result<Reply<'_, R>, F> {
        if self.tracker.take_fast(call) {
            Ok(Reply::in_ring(&mut self.tracker, 0)?)
        } else {
            self.finish_slow(call, deadline)
        }
    }

    #[inline(never)]
    fn finish_slow<F: Form<CallError, WaitingForServer>>(
        &mut self,
        call: Call,
        deadline: Deadline,
    ) -> Result<Reply<'_, R>, F> {
        let tracker = &mut self.tracker;
        let place = F::retry(|| match tracker.wait_for(call, deadline)? {
            Some(place) => Ok(place),
            None => Err(Failure::NotReady(tracker.waiting_for(Some(call)))),
        })?;
        Ok(Reply::open(&mut self.tracker, place)?)
    }

    fn check_servers(&self) -> Result<(), CallError> {
        if self.tracker.has_servers() { Ok(()) } else { Err(CallError::NoService) }
    }
}

/// Ready as soon as a call completes: with a reply, or with the reason why there is none.
impl<Q: Packet, R: Packet> Selectable for Client<Q, R> {
    fn selectee(&mut self) -> Selectee<'_> {
        Selectee::new(&mut self.tracker)
    }
}

impl<Q: Packet, R: Packet> Drop for Client<Q, R> {
    fn drop(&mut self) {
        // Servers see the closed ring. If it cannot be closed now, they find the client's liveness
        // lock free.
        self.tracker.own.close_bounded();
    }
}

impl<Q: Packet, R: Packet> fmt::Debug for Client<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("request", &Q::TYPE.name)
            .field("reply", &R::TYPE.name)
            .field("service", &self.tracker.service.name())
            .finish_non_exhaustive()
    }
}
