//! The methods that add handlers of events. `Events` and `Context` have the same ones: handlers of
//! `Events` may borrow, handlers of a `Context` may not.

use super::context::{Context, Handler};
use super::handler::{self, BoxError};
use super::registry::InsertAt;
use super::{Events, HandlerId};
use crate::packet::Packet;

/// Writes the methods for a type that has a method `add`. Handlers live for `$life`.
macro_rules! handler_methods {
    (impl [$($generic:lifetime)?] $type:ty, $life:lifetime, $(#[$on:meta])*) => {
        impl$(<$generic>)? $type {
            $(#[$on])*
            pub fn on<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnMut(&T::Archived, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, false, handler::on::<T>(handler))
            }

            /// Adds a handler that can fail: see [`on`](Self::on).
            pub fn try_on<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnMut(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, false, handler::try_on::<T>(handler))
            }

            /// Adds a handler that runs once: see [`on`](Self::on).
            ///
            /// It is removed before it runs. An event with another packet type does not remove it.
            pub fn once<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnOnce(&T::Archived, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, true, handler::once::<T>(handler))
            }

            /// Adds a handler that runs once and can fail: see [`once`](Self::once).
            pub fn try_once<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnOnce(&T::Archived, &mut Context<'_>) -> Result<(), BoxError> + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Back, true, handler::try_once::<T>(handler))
            }

            /// Adds a handler that runs before all others: see [`on`](Self::on).
            pub fn prepend<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnMut(&T::Archived, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Front, false, handler::on::<T>(handler))
            }

            /// Adds a handler that runs once, before all others: see [`once`](Self::once).
            pub fn prepend_once<T: Packet>(
                &mut self,
                event: &str,
                handler: impl FnOnce(&T::Archived, &mut Context<'_>) + $life,
            ) -> HandlerId {
                self.add(event, InsertAt::Front, true, handler::once::<T>(handler))
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
