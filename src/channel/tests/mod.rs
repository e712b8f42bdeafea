//! Tests of endpoints that need types made at run time, or what lies behind an endpoint.

mod boards;
mod queues;
mod sealed;
pub(crate) mod types;
