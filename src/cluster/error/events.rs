//! Errors of events: of emitting and of dispatching.

use crate::channel::{SendError, TypeMismatch, WaitingFor};
use crate::cluster::names::WorkerId;
use crate::error::{Detachment, Failure, error_family};
use crate::packet::Unserializable;
use std::error::Error;
use std::{fmt, io};

/// Failure of emitting an event, common to `emit`, `try_emit` and `emit_timeout`.
pub(in crate::cluster) type EmitFailure = Failure<EmitError, WaitingFor>;

error_family! {
    /// Why [`emit`](crate::cluster::Events::emit), which waits for room, emitted no event.
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
            "event not emitted: this worker's own unhandled events fill the ring; call poll or run first, or emit through Worker::emitter"
        ),
        /// The event is larger than the ring of events allows.
        TooLarge {
            /// Bytes of its archive and of the header before it: 8 more than the event's name,
            /// rounded up to 16.
            needed: usize,
            /// Most bytes of both.
            limit: usize,
        } => ("event too large: {needed} bytes, limit {limit}; send the data by a topic"),
        /// The value could not be serialized.
        Unserializable(#[source] error: Unserializable) => ("packet not serialized: {error}"),
        /// There is no room, and the [`Stop`](crate::Stop) of the emitting worker was called.
        Stopped => ("event not emitted: stopped"),
        /// The event was not emitted for another reason.
        Send(#[source] error: Box<SendError>) => ("event not emitted: {error}"),
    }

    /// Why [`try_emit`](crate::cluster::Events::try_emit), which does not wait, emitted no event.
    TryEmitError adds {
        /// There is no room now.
        Full {
            /// The reason.
            waiting_for
        } => ("{}", EventsFull { reason: *waiting_for, after: "" })
    }

    /// Why [`emit_timeout`](crate::cluster::Events::emit_timeout) emitted no event.
    EmitTimeoutError adds {
        /// There was no room before the timeout.
        Timeout {
            /// The reason.
            waiting_for
        } => ("{}", EventsFull { reason: *waiting_for, after: " until the timeout" })
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
                "ring of events full{after}: a worker in process {pid} has a backlog; call poll or run in that worker, drop its Events, or open the events first with events_overflow(DropOldest)"
            ),
            WaitingFor::Joining { .. } => {
                write!(f, "packet type not registered{after}: waiting for {reason}")
            }
            _ => write!(f, "ring of events full{after}: waiting for {reason}"),
        }
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
    /// No event can come any more: this process lost the ring of events, or its name was removed
    /// and no other worker uses it.
    Detached(Detachment),
    /// All events were handled, and the [`Stop`](crate::Stop) of the worker was called.
    Stopped,
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
                "wrong packet type of event {event:?}: a handler expects {}, found {}{}; emit the expected type or handle the other one",
                types.expected,
                types.found,
                types.detail()
            ),
            Self::BadName { name, reason } => {
                write!(f, "invalid event name {name:?}: {reason}")
            }
            Self::Unheard { sender, type_name } => write!(
                f,
                "event \"error\" not handled: worker {sender} emitted it with a {type_name}; add a handler of \"error\" or an error handler"
            ),
            Self::Corrupt(what) => write!(f, "corrupt event: {what}"),
            Self::Detached(cause) => write!(f, "no more events: their ring is detached: {cause}"),
            Self::Stopped => f.write_str("no more events: stopped"),
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

/// Error of a text that is no valid name of an event, or no valid pattern over such names.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cluster) struct BadName {
    /// The name as given, cut if it is too long.
    pub(in crate::cluster) name: String,
    /// The rule that it breaks.
    pub(in crate::cluster) reason: &'static str,
}

impl From<BadName> for EmitFailure {
    fn from(bad_name: BadName) -> Self {
        EmitError::from(bad_name).into()
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
