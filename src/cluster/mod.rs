//! Clusters: workers that find each other by name, and the objects that they share.
//!
//! Guarantees:
//!
//! - A name belongs to at most one living worker.
//! - A death is noticed, and the next worker of the name takes the place.
//! - The first process that opens a name creates the object; all others get the same object.
//! - The cluster goes with its last worker, unless a worker is expected back or a queue is not
//!   done.
//!
//! Three rules hold everywhere:
//!
//! - **Liveness comes from kernel locks.** A clock only says when to ask.
//! - **State, not messages.** After a crash the others compare a word in shared memory with their
//!   copy. An event count makes the comparison quick; correctness never depends on it.
//! - **Lock order:** the directory's control lock, then the control lock of one other object. Never
//!   the reverse, and never two rings'.
//!
//! This layer is built on rings and endpoints of `channel`. It knows nothing of slots and cursors.
//! Only `directory` knows segments.
//!
//! Start with `directory`, then `inbox`, `service` and `events`. `docs/internals/directory.md` and
//! `docs/internals/services.md` describe the protocols.

#![forbid(unsafe_code)]

mod builder;
mod dead_letters;
mod default_name;
mod directory;
mod error;
mod events;
mod inbox;
mod names;
mod pool;
mod queue;
mod service;
mod topic;
mod types;
mod worker;

pub use crate::channel::{Delivery, QueueConsumer};
pub use builder::WorkerBuilder;
pub use directory::{Watch, WorkerChange, WorkerInfo, WorkerState};
pub use error::{
    CallError, CallTimeoutError, EmitError, EmitTimeoutError, JoinError, ReplyError, RunError,
    SendToError, SendToTimeoutError, ServerProcess, ServiceRecvError, ServiceRecvTimeoutError,
    TryEmitError, TrySendToError, TryServiceRecvError, WaitError, WaitingForInbox,
    WaitingForServer,
};
pub use events::{Context, Emitter, Events, HandlerId};
pub use inbox::{Inbox, Message};
pub use names::{Addressee, WorkerId};
pub use service::{Call, Client, Deferred, Replier, Reply, Request, Service};
pub use topic::TopicBuilder;
pub use worker::Worker;

/// Items that the failpoint tests use.
#[cfg(test)]
pub(crate) mod internals {
    pub(crate) use super::directory::{Directory, JoinRequest, Lookup};
    pub(crate) use super::names::{Address, ClusterObject, WorkerId};
}
