//! Errors of sending to an inbox.

use crate::channel::{TypeMismatch, WaitingFor};
use crate::error::{Failure, OpenError, error_family};
use crate::packet::Unserializable;
use std::fmt;

/// Failure of sending to an inbox, before it becomes the error of a form.
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
            "packet type refused: the inbox accepts {}, found {}{}; send one of its types, or add this one there",
            types.expected, types.found, types.detail()
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
            waiting_for: WaitingForInbox,
        } => (
            "packet not sent from within a Serialize impl: {}",
            InboxFull { waiting_for, after: "" }
        ),
        /// The inbox could not be opened.
        Open(#[source] error: Box<OpenError>) => ("inbox not opened: {error}"),
    }

    /// Why [`try_send_to`](crate::Worker::try_send_to), which does not wait, sent no packet.
    TrySendToError adds {
        /// The inbox is full.
        Full {
            /// The worker of the inbox, alive or not ([`worker`](crate::Worker::worker) tells
            /// which), or another reason.
            waiting_for
        } => ("{}", InboxFull { waiting_for, after: "" })
    }

    /// Why [`send_to_timeout`](crate::Worker::send_to_timeout) sent no packet.
    SendToTimeoutError adds {
        /// The inbox was full until the timeout.
        Timeout {
            /// The worker of the inbox, alive or not ([`worker`](crate::Worker::worker) tells
            /// which), or another reason.
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
                "inbox of worker {who} full{after}: the worker, last in process {pid}, is slow, stopped or gone; receive there, start it again, or give the inbox up with Worker::retire"
            ),
            WaitingFor::Joining { .. } => {
                write!(f, "inbox of worker {who} not opened{after}: waiting for {reason}")
            }
            _ => write!(f, "inbox of worker {who} full{after}: waiting for {reason}"),
        }
    }
}
