//! The errors of a cluster's operations.
//!
//! An operation has up to three forms, as `call` and `call_timeout`, each with its own error type:
//! see [`error_family`]. No error has a lifetime, so each can be stored and sent to other threads.
//! A failed send leaves the value with its owner, because values are passed by reference. Process
//! ids in errors are for display only: an id is valid in the pid namespace of its process.

mod events;
mod inbox;
mod service;

pub(super) use events::{BadName, EmitFailure};
pub use events::{EmitError, EmitTimeoutError, RunError, TryEmitError};
pub(super) use inbox::SendToFailure;
pub use inbox::{SendToError, SendToTimeoutError, TrySendToError, WaitingForInbox};
pub(super) use service::ServiceRecvFailure;
pub use service::{
    CallError, CallLimit, CallTimeoutError, ReplyError, ServerProcess, ServiceRecvError,
    ServiceRecvTimeoutError, TryServiceRecvError, WaitingForServer,
};

use crate::error::{END_CLUSTER, OpenError, error_family};
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
        Open(#[source] error: OpenError) => ("directory not opened: {error}"),
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

/// What to do about a name that is taken. Shows the environment variables that made it.
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
