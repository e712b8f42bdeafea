//! `send`, `emit` and `call`: packets from JSON into rings and clusters.
//!
//! These commands take part: they join a ring as a publisher, or a cluster as the worker
//! `packetring-cli`. They leave at the end, also after a signal. Nothing is joined before the first
//! packet was read and fits its type.

pub(crate) mod call;
pub(crate) mod packet;
mod remedies;
pub(crate) mod send;
mod signals;
pub(crate) mod target;

pub(crate) use signals::stop_on_signals;
