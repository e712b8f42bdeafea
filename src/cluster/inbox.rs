//! A worker's inbox.

/// A worker's inbox.
#[derive(Debug)]
pub struct Inbox {}
