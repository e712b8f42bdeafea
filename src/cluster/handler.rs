//! A handler of events without its types.

use super::context::Context;
use super::directory::WorkerChange;
use super::error::RunError;
use crate::channel::Mail;

/// What became of an event at one handler.
pub(super) enum Outcome {
    /// It ran.
    Ran,
    /// It ran and failed.
    Failed(RunError),
    /// It did not run, and should have.
    Unfit(RunError),
}

type OnEvent<'h> = dyn FnMut(&Mail<'_>, &mut Context<'_>) -> Outcome + 'h;
type OnError<'h> = dyn FnMut(&RunError, &mut Context<'_>) + 'h;
type OnWorker<'h> = dyn FnMut(&WorkerChange, &mut Context<'_>) + 'h;

/// A handler.
pub(super) enum Handler<'h> {
    /// Of events.
    Event(Box<OnEvent<'h>>),
    /// Of errors.
    Error(Box<OnError<'h>>),
    /// Of what happens to workers.
    Worker(Box<OnWorker<'h>>),
}
