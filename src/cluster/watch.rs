//! Being told of joins, leaves and deaths.

/// Tells of joins, leaves and deaths.
#[derive(Debug)]
pub struct Watch {}
