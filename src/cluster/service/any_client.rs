//! Calls by values: a client without the Rust types of a service.
//!
//! The ring of requests has the types of both sides: the first client or server registered them. A
//! client that joins by their fingerprints keeps them there, so the schema of the replies is known
//! before the first call.

use super::builder::ServiceBuilder;
use super::untyped::UntypedClient;
use crate::channel::{CarriedType, EndedCell, SendError, StableBytes, Types};
use crate::cluster::error::{CallError, CallTimeoutError, WaitingForServer};
use crate::cluster::worker::Worker;
use crate::error::{Form, OpenError};
use crate::packet::Fingerprint;
use crate::sys::stop::Stop;
use crate::wait::{Timeout, Wait};
use packetring_dynamic::{Schema, Value};
use std::fmt;
use std::time::Duration;

/// Calls a service without its Rust types: sends requests and reads replies as values.
///
/// It gives the promises of a [`Client`](super::Client): sizes, deaths and cancellation are as
/// there. It reserves for a reply what [`max_reply`](ServiceBuilder::max_reply) chooses, by default
/// a 32nd of the reply capacity.
pub struct AnyClient {
    untyped: UntypedClient,
    request: Schema,
    reply: Schema,
}

/// A reply whose Rust type is not known. Its place in the worker's memory for replies is free again
/// when it is dropped.
pub struct AnyReply {
    cell: EndedCell,
    schema: Schema,
}

impl Worker {
    /// Opens a client of the service of this name without its Rust types. The service must have
    /// been opened: its first client or server registers the types.
    ///
    /// ```
    /// # let cluster = format!("any-client-{}", std::process::id());
    /// use packetring::Worker;
    /// use packetring::cluster::Request;
    ///
    /// let worker = Worker::join(&cluster, "shop")?;
    /// # std::thread::scope(|scope| {
    /// let mut server = worker.service::<(u32, u32), u64>("multiply")?;
    /// # scope.spawn(move || {
    /// #     let request = server.recv().unwrap();
    /// #     let product = u64::from(request.0.to_native()) * u64::from(request.1.to_native());
    /// #     Request::reply(request, &product).unwrap();
    /// # });
    ///
    /// let client = worker.any_client("multiply")?;
    /// let request = client.request().encode(&serde_json::json!([6, 7]))?;
    /// let reply = client.call(client.request().read(&request)?)?;
    /// assert_eq!(reply.value()?.as_u64(), Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::client`]. [`NotFound`](OpenError::NotFound) if no client or server has opened
    /// the service. [`System`](OpenError::System) if a schema is damaged.
    pub fn any_client(&self, name: &str) -> Result<AnyClient, OpenError> {
        self.service_builder(name).any_client()
    }
}

impl ServiceBuilder<'_> {
    /// Opens a client of the service without its Rust types.
    ///
    /// # Errors
    ///
    /// As [`Worker::any_client`].
    pub fn any_client(self) -> Result<AnyClient, OpenError> {
        let ring = self.existing_ring()?;
        let types = ring.types();
        let name = || ring.segment().shown_name();
        let [request, reply] =
            pair_of(&types).ok_or_else(|| OpenError::NotFound { name: name() })?;
        let schema = |carried: &CarriedType| {
            let damaged = |error| std::io::Error::other(error);
            let schema = carried.layout().map_err(damaged);
            schema.map_err(|error| OpenError::system("read a type of", name().to_string(), error))
        };
        let (request, reply) = (schema(request)?, schema(reply)?);
        let prints = [&request, &reply].map(|schema| Fingerprint(schema.fingerprint()));
        let types = Types::Carried { request: prints[0], reply: prints[1] };
        let untyped = UntypedClient::open(&self, (&types, prints), None, || self.existing_ring())?;
        Ok(AnyClient { untyped, request, reply })
    }
}

impl AnyClient {
    /// The schema of requests.
    pub fn request(&self) -> &Schema {
        &self.request
    }

    /// The schema of replies.
    pub fn reply(&self) -> &Schema {
        &self.reply
    }

    /// Calls the service and waits for the reply.
    ///
    /// # Errors
    ///
    /// As [`Client::call`](super::Client::call), except [`Corrupt`](CallError::Corrupt): see
    /// [`AnyReply::value`]. [`Send`](CallError::Send) with
    /// [`TypeRefused`](SendError::TypeRefused) if the value is no request of this service.
    /// [`Unserializable`](CallError::Unserializable) if it is a part of a packet.
    pub fn call(&self, request: Value<'_>) -> Result<AnyReply, CallError> {
        self.call_with(request, Timeout::Never)
    }

    /// Calls the service and waits for the reply for a limited time. After a timeout the call is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and [`Timeout`](CallTimeoutError::Timeout).
    pub fn call_timeout(
        &self,
        request: Value<'_>,
        timeout: Duration,
    ) -> Result<AnyReply, CallTimeoutError> {
        self.call_with(request, Timeout::After(timeout))
    }

    /// Waits until there is a server: see
    /// [`Client::wait_for_server`](super::Client::wait_for_server).
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
    /// [`NoService`](CallError::NoService) if there was none before the timeout, and as
    /// [`wait_for_server`](Self::wait_for_server).
    pub fn wait_for_server_timeout(&self, timeout: Duration) -> Result<(), CallError> {
        self.untyped.wait_for_server(Some(timeout))
    }

    /// Changes how calls of this client wait from now on.
    pub fn set_wait(&mut self, wait: Wait) {
        self.untyped.wait = wait;
    }

    /// Sets what ends the waits of this client. A call that is stopped is cancelled.
    pub fn set_stop(&mut self, stop: &Stop) {
        self.untyped.stop = Some(stop.clone());
    }

    fn call_with<F: Form<CallError, WaitingForServer>>(
        &self,
        request: Value<'_>,
        timeout: Timeout,
    ) -> Result<AnyReply, F> {
        let (found, expected) = (request.schema(), &self.request);
        if found.fingerprint() != expected.fingerprint() {
            let (name, print) = (expected.name(), Fingerprint(expected.fingerprint()));
            let found = CarriedType::of_schema(found);
            let types = CarriedType::found_instead_of(Some(&found), name, print);
            return Err(CallError::from(SendError::TypeRefused(Box::new(types))).into());
        }
        let deadline = timeout.deadline();
        let sent = self.untyped.begin::<F>(request, deadline)?;
        let cell = self.untyped.finish::<EndedCell, F>(sent, timeout.left(deadline))?;
        Ok(AnyReply { cell, schema: self.reply.clone() })
    }
}

impl AnyReply {
    /// Returns the reply as a value, after a check.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](CallError::Corrupt).
    pub fn value(&self) -> Result<Value<'_>, CallError> {
        let value = self.schema.read(self.cell.bytes());
        value.map_err(|error| CallError::Corrupt(error.to_string().into()))
    }

    /// The schema of the reply.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// The types of requests and of replies among those of a service's ring. The third entry has the
/// fingerprint of the pair.
fn pair_of(types: &[CarriedType]) -> Option<[&CarriedType; 2]> {
    let is_pair = |request: &CarriedType, reply: &CarriedType| {
        let pair = Fingerprint::of_pair(request.fingerprint, reply.fingerprint);
        types.iter().any(|carried| carried.fingerprint == pair)
    };
    let with_reply = |request| {
        let reply = types.iter().find(|reply| is_pair(request, reply))?;
        Some([request, reply])
    };
    types.iter().find_map(with_reply)
}

impl fmt::Debug for AnyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyClient")
            .field("request", &self.request.name())
            .field("reply", &self.reply.name())
            .field("service", &self.untyped.link.requests.name())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AnyReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyReply")
            .field("type", &self.schema.name())
            .field("bytes", &self.cell.bytes().len())
            .finish_non_exhaustive()
    }
}
