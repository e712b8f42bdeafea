//! Adding handlers of events: the methods of `Events` and `Context`, and the untyped [`Handler`] of
//! a user's closure for a packet type `T`.
//!
//! `Events` and `Context` have the same methods: handlers of `Events` may borrow, handlers of a
//! `Context` may not. Each handler checks the packet, then calls the closure.

use super::context::{Context, Handler, HandlerOutcome};
use super::registry::InsertAt;
use super::{Events, HandlerId};
use crate::channel::{AnyReceived, RecvError};
use crate::cluster::error::RunError;
use crate::packet::{Archived, Packet};
use std::error::Error;

/// Writes the methods for a type that has a method `add`. Handlers live for `$life`.
macro_rules! handler_methods {
    (impl [$($generic:lifetime)?] $type:ty, $life:lifetime, $(#[$on:meta])*) => {
        impl$(<$generic>)? $type {
            $(#[$on])*
            pub fn on<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnMut(&Archived<T>, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, false, on::<T>(handler))
            }

            /// Adds a handler that can fail: see [`on`](Self::on).
            pub fn try_on<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnMut(&Archived<T>, &mut Context<'_>) -> Result<(), BoxError> + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, false, try_on::<T>(handler))
            }

            /// Adds a handler that runs once: see [`on`](Self::on).
            ///
            /// It is removed before it runs. An event with another packet type does not remove it.
            pub fn once<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnOnce(&Archived<T>, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, true, once::<T>(handler))
            }

            /// Adds a handler that runs once and can fail: see [`once`](Self::once).
            pub fn try_once<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnOnce(&Archived<T>, &mut Context<'_>) -> Result<(), BoxError> + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, true, try_once::<T>(handler))
            }

            /// Adds a handler that runs before all others: see [`on`](Self::on).
            pub fn prepend<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnMut(&Archived<T>, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Front, false, on::<T>(handler))
            }

            /// Adds a handler that runs once, before all others: see [`once`](Self::once).
            pub fn prepend_once<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnOnce(&Archived<T>, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Front, true, once::<T>(handler))
            }
        }
    };
}

handler_methods! {
    impl ['h] Events<'h>, 'h,
    /// Adds a handler of events with this name, after all other handlers.
    ///
    /// The name may be a pattern: the part `*` matches any one part between `::`, and `**` matches
    /// any number of parts.
    ///
    /// If an event carries another packet type than `T`, the handler does not run, and the dispatch
    /// reports [`TypeMismatch`](super::RunError::TypeMismatch). This holds for patterns too.
    ///
    /// A name that is empty or longer than 1024 bytes can never match. The handler is not added,
    /// and the next dispatch reports [`BadName`](super::RunError::BadName).
}

handler_methods! {
    impl [] Context<'_>, 'static,
    /// Adds a handler of events with this name or pattern, after all other handlers. It first runs
    /// for the next event.
    ///
    /// It may borrow nothing. Handlers that borrow are added with
    /// [`Events::on`](crate::cluster::Events::on), which also lists the errors.
}

impl<'h> Events<'h> {
    fn add(&mut self, event: &str, at: InsertAt, once: bool, handler: Handler<'h>) -> HandlerId {
        let (id, change) = self.recorder.register_for_event(event, at, once, handler);
        self.handlers.apply(change);
        id
    }
}

impl Context<'_> {
    fn add(
        &mut self,
        event: &str,
        at: InsertAt,
        once: bool,
        handler: Handler<'static>,
    ) -> HandlerId {
        let (id, change) = self.recorder.register_for_event(event, at, once, handler);
        self.recorder.record(change);
        id
    }
}

/// The error that a handler may return.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Returns a handler whose closure can fail.
pub(super) fn try_on<'h, T: Packet>(
    mut handler: impl FnMut(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'h,
) -> Handler<'h> {
    Handler::Event(Box::new(move |packet, context| match open::<T>(packet, context.event) {
        Ok(packet) => match handler(packet, context) {
            Ok(()) => HandlerOutcome::Done,
            Err(source) => HandlerOutcome::Failed(failed(context.event, source)),
        },
        Err(error) => HandlerOutcome::Skipped(error),
    }))
}

/// Returns a handler whose closure cannot fail.
pub(super) fn on<'h, T: Packet>(
    mut handler: impl FnMut(&T::Archived, &mut Context<'_>) + 'h,
) -> Handler<'h> {
    try_on::<T>(move |packet, context| {
        handler(packet, context);
        Ok(())
    })
}

/// Returns a handler that runs its closure once. The closure can fail.
pub(super) fn try_once<'h, T: Packet>(
    handler: impl FnOnce(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + 'h,
) -> Handler<'h> {
    let mut handler = Some(handler);
    try_on::<T>(move |packet, context| {
        handler.take().map_or(Ok(()), |handler| handler(packet, context))
    })
}

/// Returns a handler that runs its closure once. The closure cannot fail.
pub(super) fn once<'h, T: Packet>(
    handler: impl FnOnce(&T::Archived, &mut Context<'_>) + 'h,
) -> Handler<'h> {
    try_once::<T>(move |packet, context| {
        handler(packet, context);
        Ok(())
    })
}

/// Checks an event's packet and returns it as an archived `T`.
pub(super) fn open<'m, T: Packet>(
    packet: &'m AnyReceived<'_>,
    event: &str,
) -> Result<&'m T::Archived, RunError> {
    packet.open_as::<T>().map_err(|error| match error {
        RecvError::TypeMismatch(types) => RunError::TypeMismatch { event: event.to_owned(), types },
        error => RunError::Corrupt(format!("{event:?}: {error}").into()),
    })
}

/// Wraps the error that a handler of `event` returned.
pub(super) fn failed(event: &str, source: BoxError) -> RunError {
    RunError::Handler { event: event.to_owned(), source }
}
