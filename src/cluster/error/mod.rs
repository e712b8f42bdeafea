//! The errors of a cluster's operations. Here: of joining, of waiting for a worker, and of sending
//! to an inbox.
//!
//! An operation has up to three forms, as `call` and `call_timeout`, each with its own error type:
//! see [`error_family`]. No error has a lifetime, so each can be stored and sent to other threads.
//! A failed send leaves the value with its owner, because values are passed by reference. Process
//! ids in errors are for display only: an id is valid in the pid namespace of its process.

mod events;
#[cfg(feature = "handover")]
mod handover;
mod service;

pub(super) use events::{BadName, EmitFailure};
pub use events::{EmitError, EmitTimeoutError, RunError, TryEmitError};
#[cfg(feature = "handover")]
pub use handover::{
    HandoverError, HandoverTimeoutError, NotSent, SendFdsError, SendFdsTimeoutError, TakeFdsError,
    TryHandoverError, TrySendFdsError,
};
#[cfg(feature = "handover")]
pub(super) use handover::{HandoverFailure, SendFdsFailure};
pub(super) use service::ServiceRecvFailure;
pub use service::{
    CallError, CallLimit, CallTimeoutError, ReplyError, ServerProcess, ServiceRecvError,
    ServiceRecvTimeoutError, TryServiceRecvError, WaitingForServer,
};

use crate::channel::{SendError, TypeMismatch, WaitingFor};
use crate::error::{Detachment, END_CLUSTER, Failure, OpenError, error_family};
use crate::packet::Unserializable;
use std::fmt;

error_family! {
    /// Why a worker could not join its cluster.
    JoinError, {
        /// A living worker has this name.
        NameTaken {
            /// The name.
            name: String,
            /// The worker's process.
            pid: u32,
            /// For [`from_env`](crate::Worker::from_env): the environment variables that made the
            /// name, as in `name="api" pm_id="7"`.
            variables: Option<String>,
        } => (
            "name taken: worker {name:?} lives in process {pid}; {}", Remedy(variables.as_deref())
        ),
        /// The name is not valid for a cluster or a worker.
        BadName {
            /// The name as given.
            name: String,
            /// The rule that it breaks.
            reason: &'static str,
        } => ("invalid name {name:?}: {reason}"),
        /// Each worker slot belongs to a living worker, or is kept with the inbox of an absent one.
        Full {
            /// Number of worker slots.
            limit: usize,
        } => (
            "cluster full: all {limit} worker slots are in use; retire workers that will not return (Worker::retire), or {END_CLUSTER} a larger WorkerBuilder::max_workers"
        ),
        /// The worker's [`Stop`](crate::Stop) was called while it waited for its name or for
        /// another process.
        Stopped => ("not joined: stopped"),
        /// The cluster's directory could not be opened.
        Open(#[source] error: OpenError) => ("cluster not joined: {error}"),
    }
}

error_family! {
    /// Why a wait for a worker, or for its inbox, failed.
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
            "worker {who} opened no inbox before the timeout: call Worker::inbox in its process, or wait longer"
        ),
        /// The [`Stop`](crate::Stop) of the waiting worker was called.
        Stopped => ("wait for a worker ended: stopped"),
        /// The operating system failed while a task began to wait.
        System(kind: std::io::ErrorKind) => (
            "wait for a worker failed: the task cannot wait: {kind}"
        ),
    }
}

/// The advice about a name that is taken. Shows the environment variables that made it.
struct Remedy<'a>(Option<&'a str>);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("end it or join by another name"),
            Some(variables) => {
                write!(f, "end it, or change one of the variables that made the name ({variables})")
            }
        }
    }
}

impl From<OpenError> for JoinError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::BadName { name, reason } => Self::BadName { name, reason },
            OpenError::Stopped { .. } => Self::Stopped,
            error => Self::Open(error),
        }
    }
}

/// Failure of sending to an inbox, common to `send_to`, `try_send_to` and `send_to_timeout`.
pub(super) type SendToFailure = Failure<SendToError, WaitingForInbox>;

/// The reason why a sender waits at an inbox, and the worker of that inbox.
///
/// If two workers wait for each other, the error of each names the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingForInbox {
    /// The worker's name or id as given to the call. [`worker`](crate::Worker::worker) tells
    /// whether it lives.
    pub who: String,
    /// The reason, with the process: for a full inbox the worker's last process, alive or not.
    pub reason: WaitingFor,
}

error_family! {
    /// Why [`send_to`](crate::Worker::send_to), which waits for room, sent no packet.
    SendToError waits for WaitingForInbox, {
        /// No worker ever had this name or id.
        UnknownWorker {
            /// The name or id as given.
            who: String,
        } => ("unknown worker {who}: start it, or check the name"),
        /// The worker lives and has no inbox. It may open one later, see
        /// [`wait_for_inbox_timeout`](crate::Worker::wait_for_inbox_timeout).
        NoInbox {
            /// The name or id as given.
            who: String,
        } => (
            "worker {who} has no inbox: wait with Worker::wait_for_inbox_timeout, or call Worker::inbox in its process"
        ),
        /// The worker died or left, and no successor is expected.
        Dead {
            /// The name or id as given.
            who: String,
            /// Its last process.
            pid: u32,
        } => (
            "worker {who} died or left: last process {pid}; start the worker again"
        ),
        /// The inbox accepts packets of other types.
        TypeRefused(types: Box<TypeMismatch>) => (
            "packet type refused: the inbox accepts {}, found {}{}; send an accepted type, or add this type to the types of Worker::inbox_of",
            types.expected, types.found, types.detail()
        ),
        /// This process cannot reach the inbox any more, and waiting would never end: the name of
        /// the inbox or of the cluster's directory was removed, or a descriptor was closed.
        Detached(cause: Detachment) => (
            "packet not sent: the inbox or its cluster is detached: {cause}"
        ),
        /// The inbox was closed.
        Closed => ("packet not sent: the inbox is closed"),
        /// The packet is larger than this inbox allows.
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
        /// The inbox is full, and a `Serialize` impl made this call. Waiting might never end: the
        /// reader of the inbox may wait for the packet that is being serialized.
        WouldDeadlock {
            /// The worker of the inbox (it need not be alive), or another reason.
            waiting_for: WaitingForInbox,
        } => (
            "packet not sent from within a Serialize impl: {}",
            InboxFull { waiting_for, after: "" }
        ),
        /// The inbox is full, and the [`Stop`](crate::Stop) of the sending worker was called.
        Stopped => ("packet not sent: stopped"),
        /// The inbox could not be opened.
        Open(#[source] error: Box<OpenError>) => ("inbox not opened: {error}"),
    }

    /// Why [`try_send_to`](crate::Worker::try_send_to), which does not wait, sent no packet.
    TrySendToError adds {
        /// The inbox is full.
        Full {
            /// The worker of the inbox, or another reason. [`worker`](crate::Worker::worker)
            /// returns whether that worker is alive.
            waiting_for
        } => ("{}", InboxFull { waiting_for, after: "" })
    }

    /// Why [`send_to_timeout`](crate::Worker::send_to_timeout) sent no packet.
    SendToTimeoutError adds {
        /// The inbox was full until the timeout.
        Timeout {
            /// The worker of the inbox, or another reason. [`worker`](crate::Worker::worker)
            /// returns whether that worker is alive.
            waiting_for
        } => ("{}", InboxFull { waiting_for, after: " until the timeout" })
    }
}

/// The text of a full inbox, and what to do.
struct InboxFull<'a> {
    waiting_for: &'a WaitingForInbox,
    after: &'static str,
}

impl fmt::Display for InboxFull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiting_for: WaitingForInbox { who, reason }, after } = self;
        match reason {
            WaitingFor::Subscriber { pid } => write!(
                f,
                "inbox of worker {who} full{after}: the worker, last in process {pid}, is slow, stopped, dead or dropped; receive there, start it again, or delete the inbox with Worker::retire"
            ),
            WaitingFor::Joining { .. } => {
                write!(f, "inbox of worker {who} not opened{after}: waiting for {reason}")
            }
            _ => write!(f, "inbox of worker {who} full{after}: waiting for {reason}"),
        }
    }
}

impl From<SendError> for SendToError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed => Self::Closed,
            SendError::Detached(cause) => Self::Detached(cause),
            SendError::TooLarge { needed, limit } => Self::TooLarge { needed, limit },
            SendError::Unserializable(error) => Self::Unserializable(error),
            SendError::TypeRefused(types) => Self::TypeRefused(types),
            SendError::Stopped => Self::Stopped,
            SendError::TooManyTypes(room) => Self::Open(Box::new(OpenError::TooManyTypes(room))),
            SendError::System(source) => {
                let (action, object) = ("enter a packet's type into", "an inbox".to_owned());
                Self::Open(Box::new(OpenError::System { action, object, source }))
            }
        }
    }
}
