//! A cluster: the processes that know each other by name, and what they have for each other.
//!
//! It guarantees: a name is one living worker's; a worker that dies is told of, and its place goes to
//! who joins under its name; what is opened by a name is made by whoever comes first and is the same
//! for everyone; the cluster goes when the last has left and nobody is expected back.
//!
//! Three rules hold everywhere. **Who is dead is said by a lock of the kernel**; a clock only says
//! when to ask. **State, not messages**: what others must learn after a crash is a word in shared
//! memory that they compare with their copy; a bell makes it quick, never true. **Lock order**: the
//! directory's control lock, then one ring's; never the reverse, never two rings'.
//!
//! It is laid over rings and endpoints (`channel`) and knows nothing of slots and cursors.
//!
//! Start with `directory`.

#![forbid(unsafe_code)]

mod directory;
mod error;
mod events;
mod inbox;
mod names;
mod pool;
mod queue;
mod service;
mod topic;
mod worker;

pub use crate::channel::{Delivery, QueueConsumer};
pub use directory::{Watch, WorkerChange, WorkerInfo, WorkerState};
pub use error::{
    CallError, CallTimeoutError, EmitError, EmitTimeoutError, JoinError, ReplyError, RunError,
    SendToError, SendToTimeoutError, ServiceRecvError, ServiceRecvTimeoutError, TryEmitError,
    TrySendToError, TryServiceRecvError, WaitError,
};
pub use events::{Context, Events, HandlerId};
pub use inbox::{Inbox, Message};
pub use names::{Addressee, WorkerId};
pub use service::{Call, Client, Deferred, Replier, Reply, Request, Service};
pub use topic::TopicBuilder;
pub use worker::{Worker, WorkerBuilder};

/// Items that the failpoint tests use.
#[cfg(test)]
pub(crate) mod internals {
    pub(crate) use super::directory::{Directory, JoinRequest, Lookup};
    pub(crate) use super::names::{Address, Object, WorkerId};
}
