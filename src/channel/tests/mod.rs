//! Tests of endpoints that need types made at run time.

mod queues;
pub(crate) mod types;
