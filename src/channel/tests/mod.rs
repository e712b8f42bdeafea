//! Tests of endpoints that need types made at run time, or what lies behind an endpoint.

mod queues;
mod sealed;
pub(crate) mod types;
