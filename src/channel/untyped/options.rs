//! The choices of a worker for its receivers.

use super::dead_letters::DeadLetters;
use super::draining::Draining;

/// Choices of a worker for its receivers.
#[derive(Debug, Default)]
pub(super) struct WorkerOptions {
    /// Takes packets that were handed out too often.
    pub(super) dead_letters: Option<DeadLetters>,
    /// Whether the worker drains.
    pub(super) draining: Draining,
}
