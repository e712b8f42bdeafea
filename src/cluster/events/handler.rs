//! Turns a user's closure for a packet type `T` into a [`Handler`] for untyped packets.
//!
//! Each handler checks the packet, then calls the closure.

use super::context::{Context, Handler, HandlerOutcome};
use crate::channel::{AnyReceived, RecvError};
use crate::cluster::error::RunError;
use crate::packet::Packet;
use std::error::Error;

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
