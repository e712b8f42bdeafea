//! What a handler of events may do, besides what it brings along.
//!
//! It guarantees that the list of handlers stands still while an event goes through it: what a
//! handler adds or removes is added or removed when the event is over.

use super::emitter::Emitter;
use super::handler::Handler;
use super::pattern::Pattern;
use super::registry::{Changes, Place, Subject};
use super::{
    BoxError, Fault, HandlerId, hearing, hearing_always, hearing_once, hearing_once_always,
};
use crate::cluster::error::{EmitError, TryEmitError};
use crate::cluster::names::WorkerId;
use crate::error::Form as _;
use crate::packet::Packet;
use crate::wait::Timeout;
use std::collections::VecDeque;
use std::fmt;

/// What a handler may do, and what it may know of the event.
pub struct Context<'a> {
    pub(in crate::cluster) emitter: &'a mut Emitter,
    pub(in crate::cluster) changes: &'a mut (dyn Changing + 'a),
    pub(in crate::cluster) stops: &'a mut bool,
    pub(in crate::cluster) faults: &'a mut VecDeque<Fault>,
    pub(in crate::cluster) event: &'a str,
    pub(in crate::cluster) sender: WorkerId,
}

/// The changes of a registry whose handlers live at least as long as a handler added by a handler.
pub(in crate::cluster) trait Changing {
    fn add(
        &mut self,
        event: Pattern,
        place: Place,
        once: bool,
        handler: Handler<'static>,
    ) -> HandlerId;
    fn nobody(&mut self) -> HandlerId;
    fn remove(&mut self, id: HandlerId);
    fn remove_all(&mut self, event: &str);
    fn remove_every(&mut self);
}

impl Changing for Changes<Handler<'_>> {
    fn add(
        &mut self,
        event: Pattern,
        place: Place,
        once: bool,
        handler: Handler<'static>,
    ) -> HandlerId {
        Changes::add(self, Subject::Event(event), place, once, handler)
    }

    fn nobody(&mut self) -> HandlerId {
        Changes::nobody(self)
    }

    fn remove(&mut self, id: HandlerId) {
        Changes::remove(self, id);
    }

    fn remove_all(&mut self, event: &str) {
        Changes::remove_all(self, event);
    }

    fn remove_every(&mut self) {
        Changes::remove_every(self);
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, sender, .. } = self;
        f.debug_struct("Context").field("event", event).field("sender", sender).finish()
    }
}

impl Context<'_> {
    /// The event's name; empty for what happens to workers, and for errors that are of no event.
    pub fn event(&self) -> &str {
        self.event
    }

    /// Who emitted the event; the worker that something happened to; oneself, for errors that are
    /// of no event.
    pub fn sender(&self) -> WorkerId {
        self.sender
    }

    /// Emits an event, as [`Events::emit`](crate::cluster::Events::emit) does: it comes to all, oneself
    /// included, after this one. Waits for room.
    ///
    /// # Errors
    ///
    /// As [`Events::emit`](crate::cluster::Events::emit). [`OwnBacklog`](EmitError::OwnBacklog): the ring is
    /// full of what this worker has still to handle. To wait here would be to wait for oneself.
    pub fn emit<T: Packet>(&mut self, event: &str, packet: &T) -> Result<(), EmitError> {
        EmitError::retry(|| self.emitter.emit(event, packet, Timeout::Never))
    }

    /// Emits an event if there is room now.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), and [`Full`](TryEmitError::Full).
    pub fn try_emit<T: Packet>(&mut self, event: &str, packet: &T) -> Result<(), TryEmitError> {
        TryEmitError::retry(|| self.emitter.emit(event, packet, Timeout::Zero))
    }

    /// Adds a handler behind all others; it waits for the next event. It may borrow nothing: see
    /// [`Events::on`](crate::cluster::Events::on) for what is known beforehand.
    pub fn on<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'static,
    ) -> HandlerId {
        self.add(event, Place::Back, false, hearing_always::<T>(handler))
    }

    /// Adds a handler that can fail: see [`on`](Self::on).
    pub fn try_on<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnMut(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'static,
    ) -> HandlerId {
        self.add(event, Place::Back, false, hearing::<T>(handler))
    }

    /// Adds a handler that runs once: see [`on`](Self::on).
    pub fn once<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnOnce(&T::Archived, &mut Context<'_>) + 'static,
    ) -> HandlerId {
        self.add(event, Place::Back, true, hearing_once_always::<T>(handler))
    }

    /// Adds a handler that runs once and can fail: see [`on`](Self::on).
    pub fn try_once<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnOnce(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'static,
    ) -> HandlerId {
        self.add(event, Place::Back, true, hearing_once::<T>(handler))
    }

    /// Adds a handler before all others: see [`on`](Self::on).
    pub fn prepend<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'static,
    ) -> HandlerId {
        self.add(event, Place::Front, false, hearing_always::<T>(handler))
    }

    /// Adds a handler before all others that runs once: see [`on`](Self::on).
    pub fn prepend_once<T: Packet>(
        &mut self,
        event: &str,
        handler: impl FnOnce(&T::Archived, &mut Context<'_>) + 'static,
    ) -> HandlerId {
        self.add(event, Place::Front, true, hearing_once_always::<T>(handler))
    }

    /// Removes a handler, if it is there. For this event it still runs.
    pub fn off(&mut self, handler: HandlerId) {
        self.changes.remove(handler);
    }

    /// Removes all handlers that were added for an event by this name or pattern. For this event
    /// they still run.
    pub fn off_all(&mut self, event: &str) {
        self.changes.remove_all(event);
    }

    /// Removes every handler, those of errors and of workers too. For this event they still run.
    pub fn off_every(&mut self) {
        self.changes.remove_every();
    }

    /// Has [`run`](crate::cluster::Events::run), `run_for` or `poll` return after this event.
    pub fn stop(&mut self) {
        *self.stops = true;
    }

    fn add(
        &mut self,
        event: &str,
        place: Place,
        once: bool,
        handler: Handler<'static>,
    ) -> HandlerId {
        match Pattern::new(event) {
            Ok(event) => self.changes.add(event, place, once, handler),
            Err(bad) => {
                self.faults.push_back(Fault::of_none(bad.into(), self.emitter.sender()));
                self.changes.nobody()
            }
        }
    }
}
