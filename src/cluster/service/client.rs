//! Clients: start calls.

use super::builder::ServiceBuilder;
use super::call::{CALL, Call, Flight};
use super::own_thread;
use super::reply::Reply;
use crate::channel::{FreshCell, NoPlace, OWN_THREAD_TIMEOUT, SendFailure};
#[cfg(feature = "async")]
use crate::channel::{RoomWait, Selectable, await_subscribers};
use crate::cluster::calls::{SentCall, ServiceLink, StartFailure, WindowPlace};
use crate::cluster::error::{CallError, CallLimit, CallTimeoutError, WaitingForServer};
use crate::cluster::worker::Worker;
use crate::error::{Form, OpenError};
use crate::packet::{Packet, SendAs};
use crate::sync::AtomicU64;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, PENDING, Pace, Sleep, Timeout, Wait, Waiter};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Calls a service: sends requests of type `Q` and reads replies of type `R`.
///
/// All methods but [`set_wait`](Self::set_wait) and [`set_stop`](Self::set_stop) take `&self`, so
/// threads share a client, for example in an `Arc`. Each thread waits for its own call and is woken
/// by its own reply.
///
/// # Sizes
///
/// A call reserves memory for its reply before it is sent, so no server ever waits for a caller:
/// see [`ServiceBuilder::max_reply`]. All clients of a worker share its
/// [`reply_capacity`](crate::cluster::WorkerBuilder::reply_capacity) (256 KiB) and its
/// [`max_calls`](crate::cluster::WorkerBuilder::max_calls) (256). A call without a place is
/// [`Busy`](CallError::Busy).
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
/// A dropped [`Call`] is cancelled, and so is a call whose
/// [`call_timeout`](Self::call_timeout) has passed. A server that has not started with the request
/// skips it. A server that has started finds out with
/// [`Request::is_wanted`](super::Request::is_wanted). The call keeps its place until the reply
/// arrives or a server skipped the request.
pub struct Client<Q: Packet, R: Packet> {
    link: Arc<ServiceLink>,
    /// Bytes that a call reserves for its reply.
    max_reply: usize,
    /// Calls in flight, if their number is limited.
    window: Option<(Arc<AtomicU64>, usize)>,
    wait: Wait,
    stop: Option<Stop>,
    packets: PhantomData<fn(Q) -> R>,
}

/// A cell, and a place in the window.
type Place<'c> = (FreshCell<'c>, Option<WindowPlace>);

impl Worker {
    /// Opens a client of the service of this name. The service need not have a server yet.
    ///
    /// The first client of a worker makes its memory for replies, which takes 292 KiB. Further
    /// clients share it.
    ///
    /// ```
    /// # let cluster = format!("client-{}", std::process::id());
    /// use packetring::Worker;
    /// use packetring::cluster::{CallError, Request};
    /// use std::time::Duration;
    ///
    /// let worker = Worker::join(&cluster, "caller")?;
    /// let client = worker.client::<u64, u64>("double")?;
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
    /// assert_eq!(*second.wait()?, 4);
    /// assert_eq!(*first.wait()?, 2);
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
        self.service_builder(name).client()
    }
}

impl ServiceBuilder<'_> {
    /// Opens a client of the service.
    ///
    /// # Errors
    ///
    /// As [`Worker::client`].
    pub fn client<Q: Packet, R: Packet>(self) -> Result<Client<Q, R>, OpenError> {
        Client::open(&self)
    }
}

impl<Q: Packet, R: Packet> Client<Q, R> {
    fn open(builder: &ServiceBuilder<'_>) -> Result<Self, OpenError> {
        let worker = builder.worker;
        worker.directory.refuse_inherited()?;
        let open = || builder.request_ring();
        let (types, settings) = ([Q::TYPE, R::TYPE], worker.area_settings());
        let make = || worker.calls.link(&worker.cluster, builder.name, types, &settings, open);
        let made = worker.with_space(make);
        let link = made.map_err(|error| error.full_of("clients", |entries| entries))?;
        let max_reply = builder.reply_size(R::FLAT_LEN, link.reply_capacity())?;
        let (window, stop) = (builder.new_window()?, worker.choices.stop.clone());
        Ok(Self { link, max_reply, window, wait: Wait::default(), stop, packets: PhantomData })
    }

    /// Calls the service and waits for the reply. Takes `&request`, or a [borrowed form](SendAs) of
    /// it.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`Call::wait`].
    pub fn call(&self, request: impl SendAs<Q>) -> Result<Reply<R>, CallError> {
        let sent = self.begin::<CallError>(request.value(), Deadline::NEVER)?;
        self.finish(sent, Timeout::Never)
    }

    /// Calls the service and waits for the reply for a limited time. After a timeout the call is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and [`Timeout`](CallTimeoutError::Timeout).
    pub fn call_timeout(
        &self,
        request: impl SendAs<Q>,
        timeout: Duration,
    ) -> Result<Reply<R>, CallTimeoutError> {
        let deadline = Deadline::after(timeout);
        let sent = self.begin::<CallTimeoutError>(request.value(), deadline)?;
        self.finish(sent, Timeout::After(timeout).left(deadline))
    }

    /// Starts a call. [`Call::wait`] waits for its reply.
    ///
    /// Waits for room in the request ring if it is full and a server lives.
    ///
    /// # Errors
    ///
    /// [`Busy`](CallError::Busy) without a place for the call. [`NoService`](CallError::NoService)
    /// if the request ring is full and there is no server. [`TooLarge`](CallError::TooLarge),
    /// [`Unserializable`](CallError::Unserializable), [`Open`](CallError::Open),
    /// [`WouldDeadlock`](CallError::WouldDeadlock), [`Send`](CallError::Send).
    pub fn start(&self, request: impl SendAs<Q>) -> Result<Call<R>, CallError> {
        let sent = self.begin::<CallError>(request.value(), Deadline::NEVER)?;
        Ok(self.call_of(sent))
    }

    /// Calls the service and waits for the reply in a task, for any executor. Dropping the future
    /// cancels the call.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), except [`WouldDeadlock`](CallError::WouldDeadlock) for a server of
    /// this thread, which may be another task; and [`System`](CallError::System) as
    /// [`ready`](crate::Selectable::ready).
    #[cfg(feature = "async")]
    pub async fn call_async(&self, request: impl SendAs<Q>) -> Result<Reply<R>, CallError> {
        self.start_async(request).await?.wait_async().await
    }

    /// As [`start`](Self::start), but waits for room in a task, for any executor. Dropping the
    /// future sends nothing.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`call_async`](Self::call_async).
    #[cfg(feature = "async")]
    pub async fn start_async(&self, request: impl SendAs<Q>) -> Result<Call<R>, CallError> {
        let (mut place, mut room) = (self.place()?, RoomWait::new(self.stop.as_ref()));
        loop {
            let waits = (self.wait, self.stop.as_ref());
            match self.link.send(place, request.value(), waits, Timeout::Zero) {
                Ok(sent) => return Ok(self.call_of(sent)),
                Err(failed) => place = self.again(failed)?,
            }
            if !self.link.has_servers() {
                return Err(CallError::NoService);
            }
            self.link.wait_in(&mut room);
            room.ready().await.map_err(CallError::System)?;
        }
    }

    /// Waits until there is a server.
    ///
    /// # Errors
    ///
    /// [`Send`](CallError::Send) if the request ring was closed.
    pub fn wait_for_server(&self) -> Result<(), CallError> {
        let outcome = self.link.wait_for_servers(self.stop.as_ref(), None);
        outcome.map_err(|failure| self.start_error(failure))
    }

    /// Waits until there is a server, for a limited time.
    ///
    /// # Errors
    ///
    /// [`NoService`](CallError::NoService) if there was none before the timeout.
    /// [`Send`](CallError::Send) as for [`wait_for_server`](Self::wait_for_server).
    pub fn wait_for_server_timeout(&self, timeout: Duration) -> Result<(), CallError> {
        let outcome = self.link.wait_for_servers(self.stop.as_ref(), Some(timeout));
        outcome.map_err(|failure| self.start_error(failure))
    }

    /// Waits in a task until there is a server, for any executor.
    ///
    /// # Errors
    ///
    /// [`Stopped`](CallError::Stopped). [`Send`](CallError::Send) as for
    /// [`wait_for_server`](Self::wait_for_server), and if the task cannot wait.
    #[cfg(feature = "async")]
    pub async fn wait_for_server_async(&self) -> Result<(), CallError> {
        let outcome = await_subscribers(self.link.requests.segment(), 1, self.stop.as_ref()).await;
        outcome.map_err(CallError::from)
    }

    /// Changes how calls of this client wait from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// Sets what ends the waits of this client, and of the calls that it starts from now on. A call
    /// that is stopped is cancelled, except by [`Call::wait_timeout`].
    pub fn set_stop(&mut self, stop: &Stop) {
        self.stop = Some(stop.clone());
    }

    #[inline(always)]
    fn begin<F: Form<CallError, WaitingForServer>>(
        &self,
        request: &impl Packet<Archived = Q::Archived>,
        deadline: Deadline,
    ) -> Result<SentCall, F> {
        let (mut place, mut bound) = (self.place()?, deadline.cut(PENDING));
        let mut retries = None;
        loop {
            let waits = (self.wait, self.stop.as_ref());
            match self.link.send(place, request, waits, Timeout::After(bound)) {
                Ok(sent) => return Ok(sent),
                Err(failed) => (place, bound) = self.retry(failed, deadline, &mut retries)?,
            }
        }
    }

    /// The place of a call whose request was not sent, and how long to try again.
    #[cold]
    fn retry<'c, F: Form<CallError, WaitingForServer>>(
        &self,
        failed: (StartFailure, FreshCell<'c>, Option<WindowPlace>),
        deadline: Deadline,
        retries: &mut Option<(Deadline, Pace)>,
    ) -> Result<(Place<'c>, Duration), F> {
        let place = self.again(failed)?;
        if deadline.has_passed()
            && let Some(error) = F::not_ready(own_thread::untaken(&self.link))
        {
            return Err(error);
        }
        if !self.link.has_servers() {
            return Err(CallError::NoService.into());
        }
        let first = || (Deadline::after(OWN_THREAD_TIMEOUT), Pace::new());
        let (own_thread_deadline, pace) = retries.get_or_insert_with(first);
        if own_thread_deadline.has_passed() && own_thread::serves_alone(&self.link.requests) {
            return Err(CallError::WouldDeadlock.into());
        }
        pace.begin(CALL);
        pace.is_due();
        Ok((place, pace.sleep(deadline)))
    }

    /// Waits for the outcome and takes it. If it comes within a brief spin, the call needs no
    /// [`Flight`], which lies in memory.
    #[inline(always)]
    fn finish<F: Form<CallError, WaitingForServer>>(
        &self,
        sent: SentCall,
        timeout: Timeout,
    ) -> Result<Reply<R>, F> {
        match sent.end_within(Waiter::new(self.wait, Sleep::Futex).brief_spins()) {
            Ok(ended) => {
                own_thread::let_others_run();
                Ok(Reply::of(ended)?)
            }
            Err(sent) => self.flight(&*self.link, sent).finish(timeout, true),
        }
    }

    #[inline(always)]
    fn call_of(&self, sent: SentCall) -> Call<R> {
        Call::new(self.flight(Arc::clone(&self.link), sent))
    }

    #[inline(always)]
    fn flight<L: Deref<Target = ServiceLink>>(&self, link: L, sent: SentCall) -> Flight<L> {
        Flight::new(link, self.wait, self.stop.clone(), sent)
    }

    /// The place of a call whose request may be sent later.
    #[cold]
    fn again<'c>(
        &self,
        (failure, cell, window): (StartFailure, FreshCell<'c>, Option<WindowPlace>),
    ) -> Result<Place<'c>, CallError> {
        match failure {
            // The request ring is full, or other threads use all endpoints.
            StartFailure::Send(SendFailure::NotReady(_)) | StartFailure::NoSender => {
                let is_stopped = Stop::was_called(self.stop.as_ref());
                if is_stopped { Err(CallError::Stopped) } else { Ok((cell, window)) }
            }
            failure => Err(self.start_error(failure)),
        }
    }

    /// Takes a cell, and a place in the window, unless no server could take the call.
    #[inline(always)]
    fn place(&self) -> Result<Place<'_>, CallError> {
        if self.link.has_given_up() && !self.link.has_servers() {
            return Err(CallError::NoService);
        }
        let cell = self.link.take_cell(self.max_reply);
        let cell = cell.map_err(|failure| self.start_error(failure))?;
        let Some((calls, most)) = &self.window else { return Ok((cell, None)) };
        let place = WindowPlace::take(calls, *most).or_else(|| {
            self.link.collect();
            WindowPlace::take(calls, *most)
        });
        match place {
            Some(place) => Ok((cell, Some(place))),
            None if !self.link.has_servers() => Err(CallError::NoService),
            None => Err(CallError::Busy(CallLimit::Window { calls: *most })),
        }
    }

    #[cold]
    fn start_error(&self, failure: StartFailure) -> CallError {
        match failure {
            // Without a server, the calls that were given up keep their places.
            StartFailure::NoPlace(_) if !self.link.has_servers() => CallError::NoService,
            StartFailure::NoPlace(NoPlace::Cells) => {
                CallError::Busy(CallLimit::WorkerCalls { calls: self.link.max_calls() })
            }
            StartFailure::NoPlace(NoPlace::Memory { free }) => {
                let (needed, capacity) = (self.max_reply, self.link.reply_capacity());
                CallError::Busy(CallLimit::ReplyMemory { needed, free, capacity })
            }
            StartFailure::Open(OpenError::Stopped { .. }) => CallError::Stopped,
            StartFailure::Open(error) => CallError::Open(Box::new(error)),
            StartFailure::Nested => CallError::WouldDeadlock,
            StartFailure::Send(SendFailure::Error(error)) => CallError::from(error),
            StartFailure::NoSender if Stop::was_called(self.stop.as_ref()) => CallError::Stopped,
            StartFailure::Send(SendFailure::NotReady(_)) | StartFailure::NoSender => {
                CallError::NoService
            }
        }
    }
}

impl<Q: Packet, R: Packet> fmt::Debug for Client<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("request", &Q::TYPE.name)
            .field("reply", &R::TYPE.name)
            .field("service", &self.link.requests.name())
            .finish_non_exhaustive()
    }
}
