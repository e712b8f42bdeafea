//! A handler of events without its types.

use super::context::Context;
use crate::channel::AnyReceived;
use crate::cluster::directory::WorkerChange;
use crate::cluster::error::RunError;

/// What became of an event at one handler.
pub(in crate::cluster) enum Outcome {
    /// It ran.
    Ran,
    /// It ran and failed.
    Failed(RunError),
    /// It did not run, and should have.
    Unfit(RunError),
}

type OnEvent<'h> = dyn FnMut(&AnyReceived<'_>, &mut Context<'_>) -> Outcome + 'h;
type OnError<'h> = dyn FnMut(&RunError, &mut Context<'_>) + 'h;
type OnWorker<'h> = dyn FnMut(&WorkerChange, &mut Context<'_>) + 'h;

/// A handler.
pub(in crate::cluster) enum Handler<'h> {
    /// Of events.
    Event(Box<OnEvent<'h>>),
    /// Of errors.
    Error(Box<OnError<'h>>),
    /// Of what happens to workers.
    Worker(Box<OnWorker<'h>>),
}
