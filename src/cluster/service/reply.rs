//! The reply to a call, read in place.

use crate::channel::{EndedCell, Outcome, StableBytes};
use crate::cluster::error::CallError;
use crate::packet::guard::Validated;
use crate::packet::{self, Packet};
use std::fmt;
use std::ops::Deref;

/// A reply, read in place. Derefs to the archived reply.
///
/// It belongs to no borrow: it can be stored and sent to other threads. Its place in the worker's
/// memory for replies is free again when it is dropped.
pub struct Reply<R: Packet>(Validated<EndedCell, R>);

impl<R: Packet> Reply<R> {
    /// The reply of a call that has ended, or the reason why there is none.
    #[inline]
    pub(super) fn of(cell: EndedCell) -> Result<Self, CallError> {
        match cell.outcome() {
            Some(Outcome::Short(_) | Outcome::Long) => match Validated::open(cell) {
                Ok(opened) => Ok(Self(opened)),
                Err((cell, _)) => Err(corrupt::<R>(&cell)),
            },
            Some(Outcome::Refused) => Err(refused(&cell)),
            None => Err(CallError::ServiceGone),
        }
    }
}

#[cold]
fn corrupt<R: Packet>(cell: &EndedCell) -> CallError {
    CallError::Corrupt(packet::explain::<R>(cell.bytes()).into())
}

#[cold]
fn refused(cell: &EndedCell) -> CallError {
    match cell.refusal() {
        (needed, limit) if needed > limit => {
            CallError::ReplyTooLarge { needed: needed as usize, limit: limit as usize }
        }
        _ => CallError::NoReply,
    }
}

impl<R: Packet> Deref for Reply<R> {
    type Target = R::Archived;

    fn deref(&self) -> &R::Archived {
        self.0.get()
    }
}

impl<R: Packet> fmt::Debug for Reply<R>
where
    R::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
