//! The command as a user runs it: the built binary, against live rings of this process and of
//! children.
//!
//! Each test has a prefix of its own, so it sees no object of another test or program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod bench;
mod clean;
mod dashboard;
mod export;
mod general;
mod inspect;
mod latency;
mod lossless;
mod ls;
mod progress;
mod recording;
mod report;
mod sending;
mod support;
mod system_calls;
mod tail;
mod top;

/// Entry point of the child processes; does nothing without a role.
#[test]
fn child() {
    support::run_role();
}
