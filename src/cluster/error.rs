//! The errors of a cluster's operations, one for each form of a verb.
//!
//! None has a lifetime, so all can be stored and sent. A failed send leaves the value with its
//! owner, because values are passed by reference. Process ids in errors are for people: they are
//! those of the process's own pid namespace.

use super::names::WorkerId;
use crate::channel::{RecvError, SendError, TypeMismatch, WaitingFor};
use crate::error::{Failure, OpenError, error_family};
use crate::packet::Unserializable;
use std::error::Error;
use std::{fmt, io};

/// Failure of sending to an inbox, before it becomes the error of a form.
pub(super) type SendToFailure = Failure<SendToError, WaitingFor>;
/// Failure of emitting an event.
pub(super) type EmitFailure = Failure<EmitError, WaitingFor>;
/// Failure of receiving a request.
pub(super) type ServiceRecvFailure = Failure<ServiceRecvError, ()>;

error_family! {
    /// Why a worker could not join its cluster.
    JoinError, {
        /// A living worker has this name.
        NameTaken {
            /// The name.
            name: String,
            /// The worker's process.
            pid: u32,
        } => (
            "name taken: worker {name:?} lives in process {pid}; end it or join by another name"
        ),
        /// The name is not valid for a cluster or a worker.
        BadName {
            /// The name as given.
            name: String,
            /// The rule that it breaks.
            reason: &'static str,
        } => ("invalid name {name:?}: {reason}"),
        /// All worker slots are in use: by living workers, or kept for workers with an inbox.
        Full {
            /// Number of worker slots.
            limit: usize,
        } => (
            "cluster full: all {limit} worker slots are in use; create it with a larger max_workers, or retire workers that do not come back"
        ),
        /// The cluster's directory could not be opened.
        Open(#[source] error: OpenError) => ("directory not opened: {error}"),
    }
}

error_family! {
    /// Why waiting for a worker ended without it.
    #[derive(Clone, PartialEq, Eq)]
    WaitError, {
        /// No living worker had this name or id before the timeout.
        NotThere {
            /// The name or id as given.
            who: String,
        } => (
            "worker {who} not found before the timeout: start it, check the name, or wait longer"
        ),
        /// The worker lives, but had no inbox before the timeout.
        NoInbox {
            /// The name or id as given.
            who: String,
        } => (
            "worker {who} opened no inbox before the timeout: call Worker::inbox there, or wait longer"
        ),
    }
}

error_family! {
    /// Why [`send_to`](super::Worker::send_to), which waits for room, sent no packet.
    SendToError waits for WaitingFor, {
        /// No worker ever had this name or id.
        UnknownWorker {
            /// The name or id as given.
            who: String,
        } => ("unknown worker {who}: start it, or check the name"),
        /// The worker lives and has no inbox. It may open one later, see
        /// [`wait_for_inbox_timeout`](super::Worker::wait_for_inbox_timeout).
        NoInbox {
            /// The name or id as given.
            who: String,
        } => (
            "worker {who} has no inbox: wait with Worker::wait_for_inbox_timeout, or call Worker::inbox there"
        ),
        /// The worker died or left, and no successor is expected.
        Dead {
            /// The name or id as given.
            who: String,
            /// Its last process.
            pid: u32,
        } => (
            "worker {who} is gone: it was in process {pid} and is not expected back; start it again"
        ),
        /// The inbox accepts packets of other types.
        TypeRefused(types: Box<TypeMismatch>) => (
            "packet type refused: the inbox accepts {}, found {}; send one of its types, or add this one there",
            types.expected, types.found
        ),
        /// The inbox was closed.
        Closed => ("packet not sent: the inbox is closed"),
        /// The packet never fits.
        TooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Most bytes of a packet in this inbox.
            limit: usize,
        } => (
            "packet too large: {needed} bytes, limit {limit}; enlarge the inbox with inbox_capacity"
        ),
        /// The value could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("packet not serialized: {error}"),
        /// The inbox is full, and the call came from code that serializes a packet. Waiting could
        /// never end: the reader may need the claim of the outer packet.
        WouldDeadlock {
            /// The worker of the inbox, alive or not, or another reason.
            waiting_for: WaitingFor,
        } => (
            "packet not sent from within a Serialize impl: {}",
            InboxFull { reason: *waiting_for, after: "" }
        ),
        /// The inbox could not be opened.
        Open(#[source] error: Box<OpenError>) => ("inbox not opened: {error}"),
    }

    /// Why [`try_send_to`](super::Worker::try_send_to), which does not wait, sent no packet.
    TrySendToError adds {
        /// The inbox is full.
        Full {
            /// The worker of the inbox, alive or not ([`worker`](super::Worker::worker) tells
            /// which), or another reason.
            waiting_for
        } => ("{}", InboxFull { reason: *waiting_for, after: "" })
    }

    /// Why [`send_to_timeout`](super::Worker::send_to_timeout) sent no packet.
    SendToTimeoutError adds {
        /// The inbox was full until the timeout.
        Timeout {
            /// The worker of the inbox, alive or not ([`worker`](super::Worker::worker) tells
            /// which), or another reason.
            waiting_for
        } => ("{}", InboxFull { reason: *waiting_for, after: " until the timeout" })
    }
}

error_family! {
    /// Why a call has no reply, in a form that waits: [`call`](super::Client::call),
    /// [`start`](super::Client::start), [`wait`](super::Client::wait) and
    /// [`wait_any`](super::Client::wait_any).
    CallError waits for (), {
        /// There is no server. The request was not taken and will not be, so it is safe to call
        /// again. [`wait_for_server`](super::Client::wait_for_server) waits for a server.
        NoService => ("no server: nothing was done; start one and call again"),
        /// The server that had taken the request died. It may have done all or a part of the work.
        ServiceGone => ("server died during the call: the work may be done, in part or not at all"),
        /// The server dropped the request without a reply.
        NoReply => ("no reply: the server dropped the request"),
        /// The server's reply was larger than a reply may be, so it was not sent.
        ReplyTooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Most bytes of a reply.
            limit: usize,
        } => (
            "reply too large: {needed} bytes, limit {limit}; request less, or use a topic or an inbox for it"
        ),
        /// No such call is in flight: it is over and was reported, or was cancelled, or belongs to
        /// another client. From [`wait_any`](super::Client::wait_any): no call is in flight.
        NotInFlight => (
            "call not in flight: it was reported, was cancelled, or belongs to another client"
        ),
        /// The client has the maximum number of calls in flight.
        Busy {
            /// The maximum.
            limit: usize,
        } => ("too many calls: {limit} are in flight; wait for some of them first"),
        /// The bytes of the reply are not a packet of its type.
        Corrupt(what: Box<str>) => ("corrupt reply: {what}"),
        /// The request never fits.
        TooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Most bytes of a request to this service.
            limit: usize,
        } => ("request too large: {needed} bytes, limit {limit}; send it in parts"),
        /// The request could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("request not serialized: {error}"),
        /// The request was not sent for another reason.
        Send(#[source] error: Box<SendError>) => ("request not sent: {error}"),
    }

    /// Why a call has no reply, in a form with a timeout:
    /// [`call_timeout`](super::Client::call_timeout) and
    /// [`wait_timeout`](super::Client::wait_timeout).
    CallTimeoutError adds {
        /// No reply came before the timeout. After `wait_timeout` the call is still in flight.
        Timeout => ("no reply before the timeout")
    }
}

error_family! {
    /// Why a reply was not sent.
    ReplyError, {
        /// The client was dropped, or died with unread replies. If it was killed while it waited
        /// for this reply alone, the reply counts as sent.
        CallerGone => ("reply not sent: the caller is gone"),
        /// The caller's ring of replies has no room, although it had when the call was made. Its
        /// client does not follow the protocol.
        Full => ("reply not sent: the caller's ring of replies is full"),
        /// The reply never fits: a reply has at most 31,648 bytes. The caller is told.
        TooLarge {
            /// Bytes of its archive.
            needed: usize,
            /// Most bytes of a reply.
            limit: usize,
        } => ("reply too large: {needed} bytes, limit {limit}; send less"),
        /// The reply could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("reply not serialized: {error}"),
        /// The caller's ring of replies could not be opened.
        Open(#[source] error: Box<OpenError>) => ("caller's ring of replies not opened: {error}"),
    }
}

error_family! {
    /// Why [`recv`](super::Service::recv), which waits for a request, returned none.
    ServiceRecvError waits for (), {
        /// The ring of requests was closed.
        Closed => ("no more requests: the service is closed"),
        /// The bytes are not a valid request. It was skipped.
        Corrupt(what: Box<str>) => ("corrupt request: {what}"),
        /// A caller's ring of replies could not be opened, for want of descriptors, memory or an
        /// entry. Its request was postponed and is tried again. Other requests are served
        /// meanwhile.
        Caller(#[source] error: Box<OpenError>) => (
            "request postponed: the caller's ring of replies was not opened: {error}"
        ),
    }

    /// Why [`try_recv`](super::Service::try_recv) returned no request.
    TryServiceRecvError adds {
        /// There is no request now.
        Empty => ("no request available")
    }

    /// Why [`recv_timeout`](super::Service::recv_timeout) returned no request.
    ServiceRecvTimeoutError adds {
        /// No request came before the timeout.
        Timeout => ("no request before the timeout")
    }
}

error_family! {
    /// Why [`emit`](super::Events::emit), which waits for room, emitted no event.
    EmitError waits for WaitingFor, {
        /// The name is not valid for an event.
        BadName {
            /// The name as given, cut if it is too long.
            name: String,
            /// The rule that it breaks.
            reason: &'static str,
        } => ("invalid event name {name:?}: {reason}"),
        /// The ring is full of events that this worker has not handled. Waiting would never end.
        OwnBacklog => (
            "ring of events full of this worker's own backlog: call poll or run before emitting more"
        ),
        /// The event never fits.
        TooLarge {
            /// Bytes of its archive and of the header before it: 8 more than the event's name,
            /// rounded up to 16.
            needed: usize,
            /// Most bytes of both.
            limit: usize,
        } => ("event too large: {needed} bytes, limit {limit}; use a topic for it"),
        /// The value could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("packet not serialized: {error}"),
        /// The event was not emitted for another reason.
        Send(#[source] error: Box<SendError>) => ("event not emitted: {error}"),
    }

    /// Why [`try_emit`](super::Events::try_emit), which does not wait, emitted no event.
    TryEmitError adds {
        /// There is no room now.
        Full {
            /// The reason.
            waiting_for
        } => ("{}", EventsFull { reason: *waiting_for, after: "" })
    }

    /// Why [`emit_timeout`](super::Events::emit_timeout) emitted no event.
    EmitTimeoutError adds {
        /// There was no room before the timeout.
        Timeout {
            /// The reason.
            waiting_for
        } => ("{}", EventsFull { reason: *waiting_for, after: " until the timeout" })
    }
}

/// An error of dispatching events that no error handler took.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A handler failed.
    Handler {
        /// The event.
        event: String,
        /// The error that the handler returned.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Events were lost: the ring drops the oldest, and this worker was too slow. The number of
    /// them.
    Missed(u64),
    /// An event has another packet type than its handler expects. The handler did not run.
    TypeMismatch {
        /// The event.
        event: String,
        /// Both types.
        types: Box<TypeMismatch>,
    },
    /// A handler was added for a name that no event can have. It will not run.
    BadName {
        /// The name as given, cut if it is too long.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The event `error` came, and no handler of this worker listens for it.
    Unheard {
        /// The worker that emitted it.
        sender: WorkerId,
        /// The type of its packet; empty if the ring does not know it.
        type_name: String,
    },
    /// The bytes are not a valid event. It was skipped.
    Corrupt(Box<str>),
    /// The operating system failed, or the ring of events was closed.
    System(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler { event, source } => write!(f, "handler of {event:?} failed: {source}"),
            Self::Missed(count) => {
                write!(f, "events lost: {count}, because this worker was too slow; poll more often")
            }
            Self::TypeMismatch { event, types } => write!(
                f,
                "wrong packet type of event {event:?}: a handler expects {}, found {}; emit the expected type or handle the other one",
                types.expected, types.found
            ),
            Self::BadName { name, reason } => {
                write!(f, "invalid event name {name:?}: {reason}")
            }
            Self::Unheard { sender, type_name } => write!(
                f,
                "event \"error\" not handled: worker {sender} emitted it with a {type_name}; add a handler of \"error\" or an error handler"
            ),
            Self::Corrupt(what) => write!(f, "corrupt event: {what}"),
            Self::System(error) => write!(f, "events not received: {error}"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Handler { source, .. } => Some(&**source),
            Self::System(error) => Some(error),
            _ => None,
        }
    }
}

/// The text of a full inbox, and what to do.
struct InboxFull {
    reason: WaitingFor,
    after: &'static str,
}

impl fmt::Display for InboxFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, after } = self;
        match reason {
            WaitingFor::Subscriber { pid } => write!(
                f,
                "inbox full{after}: its worker, last in process {pid}, is slow, stopped or gone; receive there, start it again, or give the inbox up with Worker::retire"
            ),
            WaitingFor::Joining { .. } => {
                write!(f, "inbox not opened{after}: waiting for {reason}")
            }
            _ => write!(f, "inbox full{after}: waiting for {reason}"),
        }
    }
}

/// The text of a full ring of events, and what to do.
struct EventsFull {
    reason: WaitingFor,
    after: &'static str,
}

impl fmt::Display for EventsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, after } = self;
        match reason {
            WaitingFor::Subscriber { pid } => write!(
                f,
                "ring of events full{after}: a worker in process {pid} has a backlog; call poll or run there, drop its Events, or let the first worker choose events_overflow(DropOldest)"
            ),
            WaitingFor::Joining { .. } => {
                write!(f, "packet type not registered{after}: waiting for {reason}")
            }
            _ => write!(f, "ring of events full{after}: waiting for {reason}"),
        }
    }
}

impl From<BadName> for EmitFailure {
    fn from(BadName { name, reason }: BadName) -> Self {
        EmitError::BadName { name, reason }.into()
    }
}

impl From<BadName> for RunError {
    fn from(BadName { name, reason }: BadName) -> Self {
        Self::BadName { name, reason }
    }
}

impl From<OpenError> for JoinError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::BadName { name, reason } => Self::BadName { name, reason },
            error => Self::Open(error),
        }
    }
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TooLarge { needed, limit } => Self::TooLarge { needed, limit },
            SendError::Unserializable(error) => Self::Unserializable(error),
            error => Self::Send(Box::new(error)),
        }
    }
}

impl From<RecvError> for ServiceRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Corrupt(what) => Self::Corrupt(what),
            error => Self::Corrupt(error.to_string().into()),
        }
    }
}

/// Why something is not the name of an event, or no pattern over such names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadName {
    /// The name as given, cut if it is too long.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) reason: &'static str,
}
