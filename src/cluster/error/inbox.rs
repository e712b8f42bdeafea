//! Errors of sending to an inbox.

use crate::channel::{TypeMismatch, WaitingFor};
use crate::error::{Detachment, Failure, OpenError, error_family};
use crate::packet::Unserializable;
use std::fmt;

/// Failure of sending to an inbox, common to `send_to`, `try_send_to` and `send_to_timeout`.
pub(in crate::cluster) type SendToFailure = Failure<SendToError, WaitingForInbox>;

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
pub(super) struct InboxFull<'a> {
    pub(super) waiting_for: &'a WaitingForInbox,
    pub(super) after: &'static str,
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
