//! Handlers without their packet types, the [`Context`] that each of them gets, and the
//! [`Recorder`] with which `Events` and `Context` register them.
//!
//! `Events` applies the change that a registration returns at once. `Context` records it, because
//! the list of handlers does not change while an event runs.
//!
//! Handler and context are in one file because each type names the other.

use super::HandlerId;
use super::emitter::EventSender;
use super::pattern::Pattern;
use super::registry::{Change, Filter, InsertAt, RecordChanges, Registration};
use crate::channel::AnyReceived;
use crate::cluster::directory::WorkerChange;
use crate::cluster::error::{EmitError, RunError, TryEmitError};
use crate::cluster::names::WorkerId;
use crate::error::Form as _;
use crate::packet::{Packet, SendAs};
use crate::wait::Timeout;
use std::collections::VecDeque;
use std::{fmt, mem};

type EventHandler<'h> = dyn FnMut(&AnyReceived<'_>, &mut Context<'_>) -> HandlerOutcome + 'h;
type ErrorHandler<'h> = dyn FnMut(&RunError, &mut Context<'_>) + 'h;
type WorkerHandler<'h> = dyn FnMut(&WorkerChange, &mut Context<'_>) + 'h;

/// A handler of any kind.
pub(super) enum Handler<'h> {
    /// Runs for events.
    Event(Box<EventHandler<'h>>),
    /// Runs for errors of the dispatch.
    Error(Box<ErrorHandler<'h>>),
    /// Runs for changes of workers.
    Worker(Box<WorkerHandler<'h>>),
}

/// The outcome of one event at one handler.
pub(super) enum HandlerOutcome {
    /// The handler ran.
    Done,
    /// The handler ran and returned an error.
    Failed(RunError),
    /// The handler did not run, because it cannot read the packet.
    Skipped(RunError),
}

/// Handlers that a handler adds borrow nothing, so they fit a list of any lifetime.
impl<'h> RecordChanges<Handler<'h>> for Recorder<Handler<'static>> {
    fn take_changes(&mut self) -> Vec<Change<Handler<'h>>> {
        self.drain()
    }
}

/// The current event of a handler, and operations on its [`Events`](crate::cluster::Events).
///
/// Handlers that are added or removed through a `Context` are in effect from the next event.
pub struct Context<'a> {
    pub(super) emitter: &'a mut EventSender,
    pub(super) recorder: &'a mut Recorder<Handler<'static>>,
    pub(super) event: &'a str,
    pub(super) sender: WorkerId,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, sender, .. } = self;
        f.debug_struct("Context").field("event", event).field("sender", sender).finish()
    }
}

impl Context<'_> {
    /// Returns the event's name. It is empty for changes of workers and for errors that no event
    /// caused.
    pub fn event(&self) -> &str {
        self.event
    }

    /// Returns the worker that emitted the event, or the worker that joined, left or died. For an
    /// error that no event caused, this is the own worker.
    pub fn sender(&self) -> WorkerId {
        self.sender
    }

    /// Emits an event, as [`Events::emit`](crate::cluster::Events::emit) does. Waits for room.
    ///
    /// The event reaches all workers with `Events`, this one included, after the current event.
    ///
    /// # Errors
    ///
    /// As [`Events::emit`](crate::cluster::Events::emit). [`OwnBacklog`](EmitError::OwnBacklog) if
    /// the ring is full of events that this worker has not handled: waiting would never end.
    pub fn emit<T: Packet>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
    ) -> Result<(), EmitError> {
        EmitError::retry(|| self.emitter.emit(event, packet.value(), Timeout::Never))
    }

    /// Emits an event if there is room now: see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), and [`Full`](TryEmitError::Full).
    pub fn try_emit<T: Packet>(
        &mut self,
        event: &str,
        packet: impl SendAs<T>,
    ) -> Result<(), TryEmitError> {
        TryEmitError::retry(|| self.emitter.emit(event, packet.value(), Timeout::Zero))
    }

    /// Removes a handler, if it exists. It still runs for the current event.
    pub fn off(&mut self, handler: HandlerId) {
        self.recorder.record([Change::Remove(handler)]);
    }

    /// Removes all handlers that were added with this event name or pattern. They still run for the
    /// current event.
    pub fn off_all(&mut self, event: &str) {
        self.recorder.record([Change::RemoveAll(event.to_owned())]);
    }

    /// Removes all handlers, those of errors and of workers too. They still run for the current
    /// event.
    pub fn off_every(&mut self) {
        self.recorder.record([Change::RemoveEvery]);
    }

    /// Makes [`run`](crate::cluster::Events::run), [`run_for`](crate::cluster::Events::run_for) or
    /// [`poll`](crate::cluster::Events::poll) return after the current event.
    pub fn stop(&mut self) {
        self.recorder.is_stopped = true;
    }
}

/// Numbers handlers, and collects changes and errors until the dispatch handles them.
pub(super) struct Recorder<H> {
    /// Errors that were not reported yet, oldest first.
    pub(super) errors: VecDeque<PendingError>,
    /// A handler asked the dispatch to return.
    pub(super) is_stopped: bool,
    /// The worker that owns the `Events`.
    own: WorkerId,
    last_id: u64,
    changes: Vec<Change<H>>,
}

/// An error that was not reported yet.
pub(super) struct PendingError {
    pub(super) error: RunError,
    /// The name of the event that caused it. Empty if no event did.
    pub(super) event: String,
    /// The worker that emitted the event, or this worker.
    pub(super) sender: WorkerId,
}

impl<H> Recorder<H> {
    pub(super) fn new(own: WorkerId) -> Self {
        Self { errors: VecDeque::new(), is_stopped: false, own, last_id: 0, changes: Vec::new() }
    }

    /// Registers a handler. The caller applies or records the returned change.
    pub(super) fn register<N>(&mut self, filter: Filter, handler: N) -> (HandlerId, Change<N>) {
        let id = self.next_id();
        let registration = Registration { id, filter, once: false, handler };
        (id, Change::Insert(registration, InsertAt::Back))
    }

    /// Registers a handler of events. If no event can have the name, there is no change, and the
    /// error is recorded. The id is not used for another handler.
    pub(super) fn register_for_event<N>(
        &mut self,
        event: &str,
        at: InsertAt,
        once: bool,
        handler: N,
    ) -> (HandlerId, Option<Change<N>>) {
        let id = self.next_id();
        let change = match Pattern::new(event) {
            Ok(pattern) => {
                let filter = Filter::Event(pattern);
                Some(Change::Insert(Registration { id, filter, once, handler }, at))
            }
            Err(bad) => {
                self.record_error(bad.into());
                None
            }
        };
        (id, change)
    }

    fn next_id(&mut self) -> HandlerId {
        self.last_id += 1;
        HandlerId(self.last_id)
    }

    /// Records changes that are applied after the current event.
    pub(super) fn record(&mut self, changes: impl IntoIterator<Item = Change<H>>) {
        self.changes.extend(changes);
    }

    /// Removes and returns the recorded changes, in their order.
    pub(super) fn drain(&mut self) -> Vec<Change<H>> {
        mem::take(&mut self.changes)
    }

    /// Records an error that no event caused.
    pub(super) fn record_error(&mut self, error: RunError) {
        self.errors.push_back(PendingError { error, event: String::new(), sender: self.own });
    }
}
