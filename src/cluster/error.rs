//! What one operation of a cluster can answer instead of what was asked for.
//!
//! One enum an operation; none has a lifetime, so all can be kept and sent. A failed send leaves
//! the value with the caller, who passed it by reference.

use super::names::WorkerId;
use crate::channel::{SendError, TypeMismatch, WaitingFor};
use crate::error::OpenError;
use crate::packet::Unserializable;
use std::error::Error;
use std::{fmt, io};

/// Why a worker could not join its cluster.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// A living worker has this name.
    NameTaken {
        /// The name.
        name: String,
        /// The worker's process id, as its own pid namespace has it. For people.
        pid: u32,
    },
    /// The name cannot name a cluster or a worker.
    BadName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// All desks are in use: by the living, or kept for workers that have an inbox.
    Full {
        /// How many there are.
        limit: usize,
    },
    /// The cluster's directory could not be opened.
    Open(OpenError),
}

/// Why a worker that was waited for is not as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// No living worker had this name or id in time.
    NotThere {
        /// The name or id as given.
        who: String,
    },
    /// The worker lives, and had no inbox in time.
    NoInbox {
        /// The name or id as given.
        who: String,
    },
}

/// Why a packet was not sent to a worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendToError {
    /// No worker ever had this name or id.
    UnknownWorker {
        /// The name or id as given.
        who: String,
    },
    /// The worker lives and has no inbox: not yet, and
    /// [`wait_for_inbox_timeout`](super::Worker::wait_for_inbox_timeout) waits for it, or never.
    NoInbox {
        /// The name or id as given.
        who: String,
    },
    /// The worker died or left, and nobody is expected back.
    Dead {
        /// The name or id as given.
        who: String,
        /// The process it lived in, as its own pid namespace has it. For people.
        pid: u32,
    },
    /// The inbox takes packets of other types.
    TypeRefused(Box<TypeMismatch>),
    /// The inbox was closed.
    Closed,
    /// The packet does not fit, ever: make the inbox larger or the packet smaller.
    TooLarge {
        /// Bytes of its archive.
        needed: usize,
        /// The most a packet of this inbox may have.
        limit: usize,
    },
    /// The value refused to be archived.
    Unserializable(Unserializable),
    /// `try_`: the inbox is full.
    Full {
        /// The worker whose inbox it is, dead or alive ([`worker`](super::Worker::worker) tells), or who
        /// else holds the sender back.
        waiting_for: WaitingFor,
    },
    /// `_timeout`: the inbox stayed full.
    Timeout {
        /// The worker whose inbox it is, dead or alive ([`worker`](super::Worker::worker) tells), or who
        /// else holds the sender back.
        waiting_for: WaitingFor,
    },
    /// The inbox could not be opened.
    Open(Box<OpenError>),
}

/// Why a call has no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// `_timeout`: no reply came in time. The call is still in flight, unless it was cancelled.
    Timeout,
    /// There is no server, and none has taken the request, nor does one that comes later: it was not
    /// done, and it is safe to call again. [`wait_for_server`](super::Client::wait_for_server) waits
    /// for one.
    NoService,
    /// The server that had taken the request died: it may have done what was asked, or a part of it.
    ServiceGone,
    /// The server dropped the request without a reply.
    NoReply,
    /// The server had a reply that is larger than replies may be, so that it was not sent.
    ReplyTooLarge {
        /// Bytes of its archive.
        needed: usize,
        /// The most a reply may have.
        limit: usize,
    },
    /// No such call is in flight: it is over and was told of, or cancelled, or another client's. For
    /// [`wait_any`](super::Client::wait_any): none is.
    NotInFlight,
    /// As many calls are in flight as there may be: read their replies.
    Busy {
        /// How many.
        limit: usize,
    },
    /// The bytes of the reply are not a packet of its type.
    Corrupt(Box<str>),
    /// The request does not fit, ever.
    TooLarge {
        /// Bytes of its archive.
        needed: usize,
        /// The most a request of this service may have.
        limit: usize,
    },
    /// The request refused to be archived.
    Unserializable(Unserializable),
    /// The request was not sent, for another reason.
    Send(Box<SendError>),
}

/// Why a reply was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplyError {
    /// The caller dropped its client, or it died, and had other replies to read: of one that was
    /// killed while it waited for this reply alone it is not known.
    CallerGone,
    /// The caller's ring has no room, which it had when it called: it is not one of ours.
    Full,
    /// The reply does not fit, ever: replies have 31,648 bytes at most. The caller is told.
    TooLarge {
        /// Bytes of its archive.
        needed: usize,
        /// The most a reply may have.
        limit: usize,
    },
    /// The reply refused to be archived.
    Unserializable(Unserializable),
    /// The caller's ring could not be opened.
    Open(Box<OpenError>),
}

/// Why an event was not emitted.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitError {
    /// No event can have this name.
    BadName {
        /// The name as given, cut if it is too long.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The ring is full of what this very worker has not run its handlers for: it would wait for
    /// itself. Run or poll first.
    OwnBacklog,
    /// `try_`: there is no room now.
    Full {
        /// Who holds it back.
        waiting_for: WaitingFor,
    },
    /// `_timeout`: there was no room in time.
    Timeout {
        /// Who holds it back.
        waiting_for: WaitingFor,
    },
    /// The packet does not fit, ever.
    TooLarge {
        /// Bytes of its archive, and of what is before it: the event's name, and 16 more.
        needed: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The value refused to be archived.
    Unserializable(Unserializable),
    /// It was not sent, for another reason.
    Send(Box<SendError>),
}

/// What went wrong while events were dispatched, and no error handler took it.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A handler failed.
    Handler {
        /// The event.
        event: String,
        /// What the handler returned.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Events were lost: the ring drops the oldest, and this worker was too slow.
    Missed(u64),
    /// An event carries a packet of another type than its handler expects: that handler did not run.
    TypeMismatch {
        /// The event.
        event: String,
        /// Both types.
        types: Box<TypeMismatch>,
    },
    /// Somebody is to listen for events of this name, and none can have it: no handler was added.
    BadName {
        /// The name as given, cut if it is too long.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The event `error` came, and nobody here listens for it.
    Unheard {
        /// Who emitted it.
        sender: WorkerId,
        /// The type of its packet; empty if the ring does not know it.
        type_name: String,
    },
    /// An event is not sound, or no event at all: it was skipped.
    Corrupt(Box<str>),
    /// The operating system refused, or somebody closed the ring of events.
    System(io::Error),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken { name, pid } => write!(
                f,
                "process {pid} is alive and is the worker {name:?}: end it, or join by another name"
            ),
            Self::BadName { name, reason } => {
                write!(f, "{name:?} cannot be a name here: {reason}")
            }
            Self::Full { limit } => write!(
                f,
                "all {limit} desks of the cluster are in use: make it with a larger max_workers, or retire workers that do not come back"
            ),
            Self::Open(error) => write!(f, "the cluster's directory cannot be used: {error}"),
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere { who } => write!(
                f,
                "worker {who} was not there in time: start it, look for a mistake in the name, or wait longer"
            ),
            Self::NoInbox { who } => write!(
                f,
                "worker {who} is alive and opened no inbox in time: call Worker::inbox there, or wait longer"
            ),
        }
    }
}

impl fmt::Display for SendToError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWorker { who } => {
                write!(f, "no worker {who} has joined: start it, or look for a mistake in the name")
            }
            Self::NoInbox { who } => write!(
                f,
                "worker {who} is alive and has no inbox yet: wait with Worker::wait_for_inbox_timeout; if it never has one, call Worker::inbox there"
            ),
            Self::Dead { who, pid } => write!(
                f,
                "worker {who}, last in process {pid}, is gone and not expected back: start it again"
            ),
            Self::TypeRefused(types) => write!(
                f,
                "the inbox takes {}, and not {}: send one of its types, or add this one there",
                types.expected, types.found
            ),
            Self::Closed => f.write_str("the inbox was closed"),
            Self::TooLarge { needed, limit } => write!(
                f,
                "the packet takes {needed} bytes and this inbox' take {limit} at most: make it larger with inbox_capacity"
            ),
            Self::Unserializable(error) => write!(f, "the packet cannot be archived: {error}"),
            Self::Full { waiting_for } => inbox_is(f, "is full", *waiting_for),
            Self::Timeout { waiting_for } => inbox_is(f, "stayed full", *waiting_for),
            Self::Open(error) => write!(f, "the inbox cannot be opened: {error}"),
        }
    }
}

/// Whose inbox it is, and what can be done.
fn inbox_is(f: &mut fmt::Formatter<'_>, full: &str, waiting_for: WaitingFor) -> fmt::Result {
    match waiting_for {
        WaitingFor::Subscriber { pid } => write!(
            f,
            "the inbox {full}: its worker, last in process {pid}, is slow, stopped or away, which Worker::worker tells: receive there, start it again, or give its inbox up with Worker::retire"
        ),
        joining @ WaitingFor::Joining { .. } => {
            write!(f, "the inbox cannot be entered, waiting for {joining}")
        }
        other => write!(f, "the inbox {full}, waiting for {other}"),
    }
}

/// Who does not handle its events, and what can be done.
fn events_are(f: &mut fmt::Formatter<'_>, full: &str, waiting_for: WaitingFor) -> fmt::Result {
    match waiting_for {
        WaitingFor::Subscriber { pid } => write!(
            f,
            "the ring of events {full}: a worker in process {pid} has not handled its own: run or poll there, drop its Events, or have the first worker choose events_overflow(DropOldest)"
        ),
        joining @ WaitingFor::Joining { .. } => {
            write!(f, "the ring of events cannot be entered, waiting for {joining}")
        }
        other => write!(f, "the ring of events {full}, waiting for {other}"),
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no reply came in time"),
            Self::NoService => {
                f.write_str("no server is there, and nothing was done: start one, and call again")
            }
            Self::ServiceGone => f.write_str(
                "the server died during the call: it may have done what was asked, or not",
            ),
            Self::NoReply => f.write_str("the server dropped the request without a reply"),
            Self::ReplyTooLarge { needed, limit } => write!(
                f,
                "the server's reply takes {needed} bytes and replies take {limit} at most: ask for less, or let it be sent otherwise"
            ),
            Self::NotInFlight => f.write_str(
                "no such call is in flight: it was told of already, or cancelled, or is another client's",
            ),
            Self::Busy { limit } => write!(
                f,
                "{limit} calls are in flight, as many as there may be: wait for some of them first"
            ),
            Self::Corrupt(what) => write!(f, "the reply is corrupt: {what}"),
            Self::TooLarge { needed, limit } => write!(
                f,
                "the request takes {needed} bytes and this service's take {limit} at most: make it smaller"
            ),
            Self::Unserializable(error) => write!(f, "the request cannot be archived: {error}"),
            Self::Send(error) => write!(f, "the request was not sent: {error}"),
        }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallerGone => f.write_str("the caller is gone: nobody waits for this reply"),
            Self::Full => f.write_str("the caller has no room for the replies it asked for"),
            Self::TooLarge { needed, limit } => write!(
                f,
                "the reply takes {needed} bytes and replies take {limit} at most: make it smaller"
            ),
            Self::Unserializable(error) => write!(f, "the reply cannot be archived: {error}"),
            Self::Open(error) => write!(f, "the caller's ring cannot be opened: {error}"),
        }
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName { name, reason } => {
                write!(f, "{name:?} cannot be the name of an event: {reason}")
            }
            Self::OwnBacklog => f.write_str(
                "the ring is full of events that this worker has not handled: poll before it emits more",
            ),
            Self::Full { waiting_for } => events_are(f, "is full", *waiting_for),
            Self::Timeout { waiting_for } => events_are(f, "stayed full", *waiting_for),
            Self::TooLarge { needed, limit } => write!(
                f,
                "the event takes {needed} bytes and this cluster's take {limit} at most: make it smaller, or a topic"
            ),
            Self::Unserializable(error) => write!(f, "the packet cannot be archived: {error}"),
            Self::Send(error) => write!(f, "the event was not emitted: {error}"),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler { event, source } => write!(f, "a handler of {event:?} failed: {source}"),
            Self::Missed(count) => write!(
                f,
                "missed {count} events: too slow for a ring that drops the oldest, poll more often"
            ),
            Self::TypeMismatch { event, types } => write!(
                f,
                "{event:?} carries a {}, and a handler expects a {}: emit what it expects, or handle what is emitted",
                types.found, types.expected
            ),
            Self::BadName { name, reason } => {
                write!(f, "nothing can be heard of events {name:?}: {reason}")
            }
            Self::Unheard { sender, type_name } => write!(
                f,
                "worker {sender} emitted \"error\" with a {type_name}, and nobody listens here: add a handler of \"error\", or of errors"
            ),
            Self::Corrupt(what) => write!(f, "an event is corrupt: {what}"),
            Self::System(error) => write!(f, "events could not be waited for: {error}"),
        }
    }
}

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            _ => None,
        }
    }
}

impl Error for WaitError {}

impl Error for SendToError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unserializable(error) => Some(error),
            Self::Open(error) => Some(error),
            _ => None,
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unserializable(error) => Some(error),
            Self::Send(error) => Some(error),
            _ => None,
        }
    }
}

impl Error for ReplyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unserializable(error) => Some(error),
            Self::Open(error) => Some(error),
            _ => None,
        }
    }
}

impl Error for EmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unserializable(error) => Some(error),
            Self::Send(error) => Some(error),
            _ => None,
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

impl From<BadName> for EmitError {
    fn from(BadName { name, reason }: BadName) -> Self {
        Self::BadName { name, reason }
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

/// Why something is not the name of an event, or no pattern over such names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadName {
    /// The name as given, cut if it is too long.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) reason: &'static str,
}
