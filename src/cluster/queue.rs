//! Work queues by name.
