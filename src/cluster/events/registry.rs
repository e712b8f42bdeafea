//! The handlers of one `Events`, and the order in which they run.
//!
//! The rules are those of Node's `EventEmitter`:
//!
//! - Handlers run in the order in which they were added. A prepended handler runs before all
//!   others.
//! - An event runs the handlers that were in the list when the event began. Handlers record their
//!   changes of the list, and the changes are applied after the event, also if a handler panics.
//! - A once handler leaves the list before it runs.
//!
//! The module is generic over the handlers and reads only the names of events.

use super::HandlerId;
use super::pattern::Pattern;
use std::mem;

/// The triggers that a handler was added for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Events whose names match.
    Event(Pattern),
    /// Errors of the dispatch.
    Errors,
    /// Changes of workers.
    Workers,
}

/// A reason to run handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger<'a> {
    /// An event of this name.
    Event(&'a str),
    /// An error of the dispatch.
    Error,
    /// A change of a worker.
    Worker,
}

impl Filter {
    fn matches(&self, trigger: Trigger<'_>) -> bool {
        match (self, trigger) {
            (Self::Event(pattern), Trigger::Event(name)) => pattern.matches(name),
            (Self::Errors, Trigger::Error) | (Self::Workers, Trigger::Worker) => true,
            _ => false,
        }
    }
}

/// The end of the list at which a handler is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InsertAt {
    /// After all handlers.
    Back,
    /// Before all handlers.
    Front,
}

/// A handler that is in the list or will be.
pub(super) struct Registration<H> {
    pub(super) id: HandlerId,
    pub(super) filter: Filter,
    /// The handler runs for one event only.
    pub(super) once: bool,
    pub(super) handler: H,
}

impl<H> Registration<H> {
    /// The event name or pattern that the handler was added for.
    fn event(&self) -> Option<&str> {
        match &self.filter {
            Filter::Event(pattern) => Some(pattern.text()),
            Filter::Errors | Filter::Workers => None,
        }
    }
}

/// A change of the list.
pub(super) enum Change<H> {
    /// Adds a handler.
    Insert(Registration<H>, InsertAt),
    /// Removes one handler.
    Remove(HandlerId),
    /// Removes all handlers that were added with this event name or pattern.
    RemoveAll(String),
    /// Removes all handlers.
    RemoveEvery,
}

/// Holds the changes that handlers record while an event runs.
pub(super) trait RecordChanges<H> {
    /// Removes and returns the recorded changes, in their order.
    fn take_changes(&mut self) -> Vec<Change<H>>;
}

/// The list of handlers, in the order in which they run.
pub(super) struct HandlerList<H> {
    entries: Vec<Registration<H>>,
}

impl<H> Default for HandlerList<H> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<H> HandlerList<H> {
    /// Makes changes in their order.
    pub(super) fn apply(&mut self, changes: impl IntoIterator<Item = Change<H>>) {
        for change in changes {
            match change {
                Change::Insert(entry, InsertAt::Back) => self.entries.push(entry),
                Change::Insert(entry, InsertAt::Front) => self.entries.insert(0, entry),
                Change::Remove(id) => _ = self.remove(id),
                Change::RemoveAll(event) => _ = self.remove_all(&event),
                Change::RemoveEvery => _ = self.remove_every(),
            }
        }
    }

    /// Removes a handler. Returns false if it is not in the list.
    pub(super) fn remove(&mut self, id: HandlerId) -> bool {
        let index = self.entries.iter().position(|entry| entry.id == id);
        index.map(|index| self.entries.remove(index)).is_some()
    }

    /// Removes all handlers that were added with this event name or pattern. Returns their number.
    pub(super) fn remove_all(&mut self, event: &str) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.event() != Some(event));
        before - self.entries.len()
    }

    /// Removes all handlers. Returns their number.
    pub(super) fn remove_every(&mut self) -> usize {
        mem::take(&mut self.entries).len()
    }

    /// The number of handlers that this trigger would run.
    pub(super) fn count(&self, trigger: Trigger<'_>) -> usize {
        self.entries.iter().filter(|entry| entry.filter.matches(trigger)).count()
    }

    /// The event names and patterns that have handlers, each once, in the order of the list.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for event in self.entries.iter().filter_map(Registration::event) {
            if !names.contains(&event) {
                names.push(event);
            }
        }
        names
    }

    /// Passes each handler that matches the trigger to `call`, in order, then applies the changes
    /// in `recorder`. `call` returns whether the handler ran: a once handler that did not run
    /// stays.
    pub(super) fn run<R: RecordChanges<H>>(
        &mut self,
        trigger: Trigger<'_>,
        recorder: &mut R,
        mut call: impl FnMut(&mut H, &mut R) -> bool,
    ) {
        let run = ApplyOnDrop { list: self, recorder };
        let entries = &mut run.list.entries;
        let mut index = 0;
        while let Some(entry) = entries.get_mut(index) {
            if entry.filter.matches(trigger) {
                if entry.once {
                    let mut entry = entries.remove(index);
                    if call(&mut entry.handler, run.recorder) {
                        continue;
                    }
                    entries.insert(index, entry);
                } else {
                    call(&mut entry.handler, run.recorder);
                }
            }
            index += 1;
        }
    }
}

/// Applies the recorded changes when it is dropped, also by a panic.
struct ApplyOnDrop<'a, H, R: RecordChanges<H>> {
    list: &'a mut HandlerList<H>,
    recorder: &'a mut R,
}

impl<H, R: RecordChanges<H>> Drop for ApplyOnDrop<'_, H, R> {
    fn drop(&mut self) {
        self.list.apply(self.recorder.take_changes());
    }
}

#[cfg(test)]
mod tests;
