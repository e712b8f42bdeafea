//! Registering handlers: `Events` and `Context` share one [`Recorder`].
//!
//! `Events` applies the change that a registration returns at once. `Context` records it, because
//! the list of handlers does not change while an event runs.

use super::HandlerId;
use super::pattern::Pattern;
use super::registry::{Change, Filter, InsertAt, Registration};
use crate::cluster::error::RunError;
use crate::cluster::names::WorkerId;
use std::collections::VecDeque;
use std::mem;

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
