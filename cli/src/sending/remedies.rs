//! Errors of sending whose remedy is a call of the library, in terms of the command.

use crate::output::Failure;
use packetring::OpenError;
use packetring::WaitingFor;
use packetring::cluster::{EmitTimeoutError, JoinError, SendToTimeoutError, WaitingForInbox};

/// The error of a cluster that cannot be joined.
pub(super) fn join(error: JoinError, cluster: &str) -> Failure {
    match error {
        JoinError::Full { limit } => Failure::failed(format_args!(
            "cluster full: all {limit} worker slots are in use; end a worker, or start those that \
             are away, as `packetring workers {cluster}` shows them"
        )),
        error => Failure::failed(error),
    }
}

/// The error of a ring that cannot be opened to publish.
pub(super) fn publisher(error: OpenError) -> Failure {
    match error {
        OpenError::PublisherTaken { name, pid } => Failure::failed(format_args!(
            "{name} is exclusive: process {pid} publishes to it, and no other process can; end that \
             process first, or send through it"
        )),
        error => error.into(),
    }
}

/// The error of a packet to an inbox.
pub(super) fn inbox(error: SendToTimeoutError, cluster: &str) -> Failure {
    let workers = format!("`packetring workers {cluster}`");
    match error {
        SendToTimeoutError::NoInbox { who } => Failure::failed(format_args!(
            "worker {who} has no inbox: its program has opened none yet; try again later, or send to \
             another worker of {workers}"
        )),
        SendToTimeoutError::TooLarge { needed, limit } => Failure::failed(format_args!(
            "packet too large: {needed} bytes, limit {limit}; send a smaller one, or give the \
             workers larger inboxes"
        )),
        SendToTimeoutError::TypeRefused(types) => Failure::failed(format_args!(
            "packet type refused: the inbox accepts {}, found {}; give an accepted type",
            types.expected, types.found
        )),
        SendToTimeoutError::Timeout {
            waiting_for: WaitingForInbox { who, reason: WaitingFor::Subscriber { pid } },
        } => Failure::failed(format_args!(
            "inbox of worker {who} full until the timeout: the worker, last in process {pid}, is \
             slow, stopped or dead; see {workers}, and start it again"
        )),
        error => Failure::failed(error),
    }
}

/// The error of an event.
pub(super) fn event(error: EmitTimeoutError, cluster: &str) -> Failure {
    match error {
        EmitTimeoutError::Timeout { waiting_for: WaitingFor::Subscriber { pid } } => {
            Failure::failed(format_args!(
                "ring of events full until the timeout: a worker in process {pid} handles its events \
                 too slowly, or none; see `packetring inspect {cluster}/events`"
            ))
        }
        error => Failure::failed(error),
    }
}
