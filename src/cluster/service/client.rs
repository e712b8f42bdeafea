//! Clients: start calls.

use super::builder::ServiceBuilder;
use super::call::Call;
use super::reply::Reply;
use super::untyped::UntypedClient;
use crate::channel::Types;
#[cfg(feature = "async")]
use crate::channel::{RoomWait, Selectable, await_subscribers};
use crate::cluster::calls::SentCall;
use crate::cluster::error::{CallError, CallTimeoutError};
use crate::cluster::worker::Worker;
use crate::error::OpenError;
use crate::packet::{Packet, SendAs};
use crate::sys::stop::Stop;
use crate::wait::{Deadline, Timeout, Wait};
use std::fmt;
use std::marker::PhantomData;
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
    untyped: UntypedClient,
    packets: PhantomData<fn(Q) -> R>,
}

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
        let types = Types::Pair { request: &Q::TYPE, reply: &R::TYPE };
        let types = (&types, [Q::TYPE.fingerprint, R::TYPE.fingerprint]);
        let open = || builder.request_ring();
        let untyped = UntypedClient::open(builder, types, R::FLAT_LEN, open)?;
        Ok(Self { untyped, packets: PhantomData })
    }

    /// Calls the service and waits for the reply. Takes `&request`, or a [borrowed form](SendAs) of
    /// it.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`Call::wait`].
    pub fn call(&self, request: impl SendAs<Q>) -> Result<Reply<R>, CallError> {
        let sent = self.untyped.begin::<CallError>(request.value(), Deadline::NEVER)?;
        self.untyped.finish(sent, Timeout::Never)
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
        let sent = self.untyped.begin::<CallTimeoutError>(request.value(), deadline)?;
        self.untyped.finish(sent, Timeout::After(timeout).left(deadline))
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
        let sent = self.untyped.begin::<CallError>(request.value(), Deadline::NEVER)?;
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
        let (mut place, mut room) =
            (self.untyped.place()?, RoomWait::new(self.untyped.stop.as_ref()));
        loop {
            let waits = (&self.untyped.wait, self.untyped.stop.as_ref());
            match self.untyped.link.send(place, request.value(), waits, Timeout::Zero) {
                Ok(sent) => return Ok(self.call_of(sent)),
                Err(failed) => place = self.untyped.again(failed)?,
            }
            if !self.untyped.link.has_servers() {
                return Err(CallError::NoService);
            }
            self.untyped.link.wait_in(&mut room);
            room.ready().await.map_err(CallError::System)?;
        }
    }

    /// Waits until there is a server.
    ///
    /// # Errors
    ///
    /// [`Send`](CallError::Send) if the request ring was closed.
    pub fn wait_for_server(&self) -> Result<(), CallError> {
        self.untyped.wait_for_server(None)
    }

    /// Waits until there is a server, for a limited time.
    ///
    /// # Errors
    ///
    /// [`NoService`](CallError::NoService) if there was none before the timeout.
    /// [`Send`](CallError::Send) as for [`wait_for_server`](Self::wait_for_server).
    pub fn wait_for_server_timeout(&self, timeout: Duration) -> Result<(), CallError> {
        self.untyped.wait_for_server(Some(timeout))
    }

    /// Waits in a task until there is a server, for any executor.
    ///
    /// # Errors
    ///
    /// [`Stopped`](CallError::Stopped). [`Send`](CallError::Send) as for
    /// [`wait_for_server`](Self::wait_for_server), and if the task cannot wait.
    #[cfg(feature = "async")]
    pub async fn wait_for_server_async(&self) -> Result<(), CallError> {
        let outcome =
            await_subscribers(self.untyped.link.requests.segment(), 1, self.untyped.stop.as_ref())
                .await;
        outcome.map_err(CallError::from)
    }

    /// Changes how calls of this client wait from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.untyped.wait = wait;
    }

    /// Sets what ends the waits of this client, and of the calls that it starts from now on. A call
    /// that is stopped is cancelled, except by [`Call::wait_timeout`].
    pub fn set_stop(&mut self, stop: &Stop) {
        self.untyped.stop = Some(stop.clone());
    }

    #[inline(always)]
    fn call_of(&self, sent: SentCall) -> Call<R> {
        Call::new(self.untyped.flight(Arc::clone(&self.untyped.link), sent))
    }
}

impl<Q: Packet, R: Packet> fmt::Debug for Client<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("request", &Q::TYPE.name)
            .field("reply", &R::TYPE.name)
            .field("service", &self.untyped.link.requests.name())
            .finish_non_exhaustive()
    }
}
