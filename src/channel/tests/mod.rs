//! Tests of endpoints that need types made at run time.

pub(crate) mod types;
