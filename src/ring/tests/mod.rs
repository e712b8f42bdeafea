//! Tests of the protocol by itself, over memory that no kernel watches.
//!
//! `loom` checks the orderings: `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`. The others
//! stop real processes, or drive the core step by step, in an ordinary `cargo test`.

mod boxes;
#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod recovery;
