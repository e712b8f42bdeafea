//! Errors of services: of calls, of replies, and of receiving requests.

use crate::channel::{RecvError, SendError};
use crate::error::{Detachment, Failure, OpenError, error_family};
use crate::packet::Unserializable;
use std::fmt;

/// Failure of receiving a request, common to `recv`, `try_recv` and `recv_timeout`.
pub(in crate::cluster) type ServiceRecvFailure = Failure<ServiceRecvError, ()>;

error_family! {
    /// Why a call has no reply, in a form that waits: [`call`](crate::cluster::Client::call),
    /// [`start`](crate::cluster::Client::start) and [`wait`](crate::cluster::Call::wait).
    CallError waits for WaitingForServer, {
        /// There is no server. No server took the request and none will, so it is safe to call
        /// again. [`wait_for_server`](crate::cluster::Client::wait_for_server) waits for a server.
        NoService => ("no server: the request was not executed; start a server and call again"),
        /// The server that had taken the request died. It may have done all or a part of the work.
        ServiceGone => (
            "server died during the call: the work was done, partly done, or not done; call again only if that is safe"
        ),
        /// Every server of the service was opened or last used by the calling thread, which
        /// waited for itself. The request was not taken and will not be. A call reports this
        /// after it has waited for a second.
        WouldDeadlock => (
            "call not served: every server of the service belongs to the calling thread, which waits; receive in another thread"
        ),
        /// The server dropped the request without a reply.
        NoReply => ("no reply: the server dropped the request"),
        /// The server's reply was larger than the limit, so it was not sent.
        ReplyTooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Bytes that the client reserved for it.
            limit: usize,
        } => (
            "reply too large: {needed} bytes, limit {limit}; open the client with a larger max_reply, \
             and its worker with a reply_capacity of at least twice as much"
        ),
        /// This call has ended: its outcome was reported before.
        NotInFlight => ("call not in flight: its outcome was reported before"),
        /// There is no place for another call.
        Busy(limit: CallLimit) => ("too many calls: {limit}"),
        /// This process cannot reach the service any more, and waiting would never end.
        Detached(cause: Detachment) => ("no reply: the service is detached: {cause}"),
        /// The client's [`Stop`](crate::Stop) was called before the reply came. The call is
        /// cancelled, unless [`wait_timeout`](crate::cluster::Call::wait_timeout) returned this.
        Stopped => ("no reply: stopped"),
        /// The operating system failed while a task began to wait. The call is cancelled.
        System(#[source] error: std::io::Error) => ("no reply: the task cannot wait: {error}"),
        /// This worker cannot attach another endpoint to the service.
        Open(#[source] error: Box<OpenError>) => ("request not sent: {error}"),
        /// The bytes of the reply are not a packet of its type.
        Corrupt(what: Box<str>) => ("corrupt reply: {what}"),
        /// The request is larger than this service allows.
        TooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Most bytes of a request to this service.
            limit: usize,
        } => ("request too large: {needed} bytes, limit {limit}; split the request, or make the service with a larger capacity"),
        /// The request could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("request not serialized: {error}"),
        /// The request was not sent for another reason.
        Send(#[source] error: Box<SendError>) => ("request not sent: {error}"),
    }

    /// Why a call has no reply, in a form with a timeout:
    /// [`call_timeout`](crate::cluster::Client::call_timeout) and
    /// [`wait_timeout`](crate::cluster::Call::wait_timeout).
    CallTimeoutError adds {
        /// No reply came before the timeout. After `wait_timeout` the call is still in flight.
        Timeout {
            /// The server, as far as it is known.
            waiting_for
        } => ("no reply before the timeout: {waiting_for}")
    }
}

/// The limit that leaves no place for another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallLimit {
    /// The client has as many calls in flight as its
    /// [`window`](crate::cluster::ServiceBuilder::window) allows.
    Window {
        /// The window.
        calls: usize,
    },
    /// The worker has as many calls in flight as its
    /// [`max_calls`](crate::cluster::WorkerBuilder::max_calls) allows.
    WorkerCalls {
        /// The limit.
        calls: usize,
    },
    /// The worker's memory for replies has no free block for the reply of this call.
    ReplyMemory {
        /// Bytes that the reply may need.
        needed: usize,
        /// Bytes of the largest free block.
        free: usize,
        /// Bytes of the whole memory: its
        /// [`reply_capacity`](crate::cluster::WorkerBuilder::reply_capacity).
        capacity: usize,
    },
}

impl fmt::Display for CallLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window { calls } => write!(
                f,
                "{calls} calls of this client are in flight; read replies first, or open the client with a larger window"
            ),
            Self::WorkerCalls { calls } => write!(
                f,
                "{calls} calls of this worker are in flight; read replies first, or join with a larger max_calls"
            ),
            Self::ReplyMemory { needed, free, capacity } => write!(
                f,
                "a reply may need {needed} bytes, of {capacity} bytes for replies {free} are free in one piece; drop replies first, open the client with a smaller max_reply, or join with a larger reply_capacity"
            ),
        }
    }
}

/// The server that a call waits for.
///
/// If two processes wait for each other, the error of each names the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitingForServer {
    /// This server has taken the request, and has not replied.
    Working(ServerProcess),
    /// No server has taken the request. This server lives.
    Untaken(ServerProcess),
    /// No server has taken the request, and each one was opened or last used by the calling thread,
    /// which waits for itself.
    OwnThread,
    /// No server lives.
    NoServer,
}

/// The process of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerProcess {
    /// Its process id, in its own pid namespace.
    pub pid: u32,
    /// The name of the worker in this process; `None` if there are several, or none is known.
    pub worker: Option<String>,
}

impl fmt::Display for WaitingForServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Working(server) => write!(f, "{server} has the request; wait longer there"),
            Self::Untaken(server) => write!(
                f,
                "no server has taken the request, {server} lives; it is busy, stopped or does not receive"
            ),
            Self::OwnThread => f.write_str(
                "every server of the service belongs to the calling thread, which waits; receive in another thread",
            ),
            Self::NoServer => f.write_str("no server lives; start one"),
        }
    }
}

impl fmt::Display for ServerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { pid, worker: Some(worker) } => write!(f, "worker {worker} in process {pid}"),
            Self { pid, worker: None } => write!(f, "a server in process {pid}"),
        }
    }
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TooLarge { needed, limit } => Self::TooLarge { needed, limit },
            SendError::Unserializable(error) => Self::Unserializable(error),
            SendError::Stopped => Self::Stopped,
            error => Self::Send(Box::new(error)),
        }
    }
}

error_family! {
    /// Why a reply was not sent.
    ReplyError, {
        /// The worker of the caller has left or died. A death may not be noticed yet: the reply is
        /// then `Ok`.
        CallerGone => ("reply not sent: the caller is gone"),
        /// The service that received the request was dropped before its deferred reply. The caller
        /// gets [`ServiceGone`](CallError::ServiceGone).
        ServiceDropped => (
            "reply not sent: the service that received the request was dropped; keep it until all deferred replies are sent"
        ),
        /// The reply is larger than the client allowed. The caller gets
        /// [`ReplyTooLarge`](CallError::ReplyTooLarge).
        TooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Bytes that the client reserved.
            limit: usize,
        } => ("reply too large: {needed} bytes, limit {limit}; send less, or let the client choose a larger max_reply"),
        /// The reply could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("reply not serialized: {error}"),
        /// The caller's memory could not be mapped. The caller gets
        /// [`ServiceGone`](CallError::ServiceGone).
        Open(#[source] error: Box<OpenError>) => ("caller's memory not mapped: {error}"),
    }
}

error_family! {
    /// Why [`recv`](crate::cluster::Service::recv), which waits for a request, returned none.
    ServiceRecvError waits for (), {
        /// The ring of requests was closed, or the worker [drains](crate::Worker::drain).
        Closed => ("no more requests: the service is closed, or the worker drains"),
        /// No request can come any more: this process lost the ring, or its name was removed and no
        /// client lives.
        Detached(cause: Detachment) => ("no more requests: the service is detached: {cause}"),
        /// The bytes are not a valid request. It was skipped.
        Corrupt(what: Box<str>) => ("corrupt request: {what}"),
        /// The caller's memory could not be mapped, because descriptors or memory ran out. The
        /// server keeps the request, and a later receive returns it. Other servers take other
        /// requests meanwhile.
        Caller(#[source] error: Box<OpenError>) => (
            "request kept for later: the caller's memory was not mapped: {error}"
        ),
        /// There is no request, and the service's [`Stop`](crate::Stop) was called.
        Stopped => ("no request: stopped"),
        /// The operating system failed while a task began to wait.
        System(#[source] error: std::io::Error) => ("no request: the task cannot wait: {error}"),
    }

    /// Why [`try_recv`](crate::cluster::Service::try_recv) returned no request.
    TryServiceRecvError adds {
        /// There is no request now.
        Empty => ("no request available")
    }

    /// Why [`recv_timeout`](crate::cluster::Service::recv_timeout) returned no request.
    ServiceRecvTimeoutError adds {
        /// No request came before the timeout.
        Timeout => ("no request before the timeout")
    }
}

impl From<RecvError> for ServiceRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Detached(cause) => Self::Detached(cause),
            RecvError::Corrupt(what) => Self::Corrupt(what),
            RecvError::Stopped => Self::Stopped,
            RecvError::System(error) => Self::System(error),
            error => Self::Corrupt(error.to_string().into()),
        }
    }
}
