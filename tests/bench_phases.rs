//! Runs the unit tests of `benches/harness/phase.rs`. The bench itself has a `main` of its own and
//! runs no unit tests.

#[allow(dead_code, reason = "the benches use all of it")]
#[path = "../benches/harness/phase.rs"]
mod phase;
