//! Tests of endpoints that need what users do not see: steps to be killed at.

mod dead_claims;
mod kill;
