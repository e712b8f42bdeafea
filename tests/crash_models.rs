//! The crash protocol as explicit-state models: every order of the steps, and a SIGKILL of any
//! process before each of them.
//!
//! What it guarantees: in each model every reachable state keeps the promises, and from every
//! one of them the goal can still be reached without another kill, so nothing wedges. Each rule
//! of the protocol is then broken, one at a time, and must have its counterexample: a model that
//! finds nothing, or just anything, does not pass.
//!
//! What it is not: the code itself. A model is written beside the code, step for step, with the
//! names of `src/steps.rs`; the header of each file says which source each transition mirrors.
//! `channel::tests::kill` kills the real thing at the same steps, and loom checks its orderings
//! (`ring::tests::loom`). Memory is sequentially consistent here, but in `joining` and `parking`,
//! where the protocol depends on a fence or a `membarrier` and stores are buffered.
//!
//! ```text
//! cargo test --test crash_models -- --nocapture                    # how many states, what was seen
//! PACKETRING_MODEL_BOUND=large cargo test --release --test crash_models -- --nocapture  # minutes
//! PACKETRING_MODEL_TRACES=1 cargo test --test crash_models -- --nocapture   # each counterexample
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod crash_models {
    mod claims;
    mod desks;
    mod eviction;
    mod explorer;
    mod groups;
    mod history;
    mod joining;
    mod lifetime;
    mod parking;
}
