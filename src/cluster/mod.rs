//! Clusters: workers that find each other by name, and the objects that they share.
//!
//! Guarantees:
//!
//! - A name belongs to at most one living worker.
//! - A death is noticed, and the next worker of the name gets the dead worker's place.
//! - The first process that opens a name creates the object; all others get the same object.
//! - The last worker to leave removes the cluster, unless a worker is away (its inbox is kept) or a
//!   queue has unfinished packets.
//!
//! Three rules hold everywhere:
//!
//! - **Liveness comes from kernel locks.** A clock only decides when to check the locks.
//! - **State, not messages.** A process learns of a change by comparing a word in shared memory
//!   with its own copy. An event count only makes it compare sooner; correctness never depends on
//!   the event count.
//! - **Lock order:** the directory's control lock first, then the control lock of one other object.
//!   No process takes them in the reverse order, or holds the control locks of two rings.
//!
//! [`Worker`] is the way in: it opens topics, inboxes, queues, services and events.

// This layer is built on rings and endpoints of `channel`. It does not access slots or cursors.
// Only `directory` knows segments. Start with `directory`, then `inbox`, `service` and `events`.
// `docs/internals/directory.md` and `docs/internals/services.md` describe the protocols.

#![forbid(unsafe_code)]

mod board;
mod builder;
mod calls;
mod dead_letters;
mod default_name;
mod directory;
mod error;
mod events;
#[cfg(feature = "handover")]
mod handover;
mod inbox;
mod leaving;
mod names;
mod pool;
mod queue;
mod service;
mod topic;
mod waits;
mod worker;

pub use crate::channel::{Delivery, QueueConsumer};
pub use builder::WorkerBuilder;
pub(crate) use directory::describe_all;
pub use directory::{Watch, WorkerChange, WorkerInfo, WorkerState};
pub use error::{
    CallError, CallLimit, CallTimeoutError, EmitError, EmitTimeoutError, JoinError, ReplyError,
    RunError, SendToError, SendToTimeoutError, ServerProcess, ServiceRecvError,
    ServiceRecvTimeoutError, TryEmitError, TrySendToError, TryServiceRecvError, WaitError,
    WaitingForInbox, WaitingForServer,
};
#[cfg(feature = "handover")]
pub use error::{
    HandoverError, HandoverTimeoutError, NotSent, SendFdsError, SendFdsTimeoutError, TakeFdsError,
    TryHandoverError, TrySendFdsError,
};
pub(crate) use events::parts_of_event;
pub use events::{Context, Emitter, Events, HandlerId};
#[cfg(feature = "handover")]
pub use handover::Handover;
pub use inbox::{Inbox, Message};
pub use names::{Addressee, WorkerId};
pub(crate) use names::{Cluster, MessageTag};
pub use queue::QueueBuilder;
#[cfg(feature = "dynamic")]
pub use service::{AnyClient, AnyReply};
pub use service::{Call, Client, Deferred, Reply, Request, Service, ServiceBuilder};
pub use topic::TopicBuilder;
pub use worker::Worker;

/// Items that the failpoint tests use.
#[cfg(test)]
pub(crate) mod internals {
    pub(crate) use super::directory::{Directory, JoinRequest, Lookup};
    pub(crate) use super::names::{Address, Cluster, ClusterObject, InboxName, WorkerId};
}
