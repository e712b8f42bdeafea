//! Tests of the protocol alone, on the heap.
//!
//! `loom` checks the orderings: `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`. The
//! others stop real processes, or drive the core step by step, in an ordinary `cargo test`.

#[cfg(not(loom))]
mod accounts;
#[cfg(not(loom))]
mod batches;
pub(super) mod boxes;
#[cfg(not(loom))]
mod counters;
#[cfg(not(loom))]
mod guards;
#[cfg(not(loom))]
mod hostile;
#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod observing;
#[cfg(not(loom))]
mod recovery;
#[cfg(not(loom))]
mod stamps;
