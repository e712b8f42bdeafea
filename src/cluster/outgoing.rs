//! Sending to inboxes: a worker's endpoints, by desk.

/// A worker's endpoints of others' inboxes.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {}
