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

mod aside;
mod beside;
mod call;
mod client;
mod context;
mod deferred;
mod directory;
mod emitter;
mod envelope;
mod error;
mod events;
mod handler;
mod inbox;
mod lending;
mod letter;
mod mark;
mod names;
mod outcome;
mod outgoing;
mod pattern;
mod queue;
mod registry;
mod server;
mod service;
mod topic;
mod watch;
mod worker;

pub use call::Call;
pub use client::{Client, Reply};
pub use context::Context;
pub use deferred::{Deferred, Replier};
pub use directory::{WorkerChange, WorkerInfo, WorkerState};
pub use error::{CallError, EmitError, JoinError, ReplyError, RunError, SendToError, WaitError};
pub use events::{Events, HandlerId};
pub use inbox::Inbox;
pub use letter::Letter;
pub use names::{Addressee, WorkerId};
pub use service::{Request, Service};
pub use topic::TopicBuilder;
pub use watch::Watch;
pub use worker::{Worker, WorkerBuilder};

/// What tests of single steps see.
#[cfg(test)]
pub(crate) mod internals {
    pub(crate) use super::directory::{Directory, Found, Wanted};
    pub(crate) use super::names::{Address, Object, WorkerId};
}
