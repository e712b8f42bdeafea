//! The crash protocol as explicit-state models: every order of the steps, and a SIGKILL of any
//! process before each step.
//!
//! Guarantees:
//!
//! - In each model every reachable state keeps the invariants.
//! - From every reachable state the goal can be reached without another kill, so nothing wedges.
//! - Each rule of the protocol is then broken, one at a time, and must produce its expected
//!   counterexample. A model that finds none, or a different one, fails.
//!
//! Limits: a model is not the code. Each model mirrors the code step for step and uses the step
//! names of `src/failpoint/mod.rs`. The header of each file names the source of each transition.
//! `failpoint::tests::kill` kills real processes at the same steps, and loom checks the memory
//! orderings (`ring::tests::loom`). Memory is sequentially consistent, except in the models whose
//! protocol depends on a fence, a `membarrier` or the order of a pin: `cells`, `joining`,
//! `parking`, `reactor` and `replies` buffer stores (`docs/internals/verification.md`).
//!
//! ```text
//! cargo test -p packetring-models -- --nocapture             # state counts and coverage
//! PACKETRING_MODEL_BOUND=large cargo test --release -p packetring-models -- --nocapture  # minutes
//! PACKETRING_MODEL_TRACES=1 cargo test -p packetring-models -- --nocapture   # each counterexample
//! ```

#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod batches;
mod cells;
mod claims;
mod deliveries;
mod eviction;
mod explorer;
mod history;
mod joining;
mod lifetime;
mod parking;
mod plans;
mod queues;
mod reactor;
mod replacing;
mod replies;
mod settling;
mod types;
mod waking;
mod worker_slots;
