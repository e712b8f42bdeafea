//! A reply to a call: written by its server into the cell of the call, and read in place by its
//! caller.

use crate::channel::{
    CallCell, CallMemory, EndedCell, Outcome, ReplyRight, ReplyRoomError, StableBytes,
};
use crate::cluster::error::{CallError, ReplyError};
use crate::packet::guard::Validated;
use crate::packet::{self, Packet, Scratch};
use crate::wait::notify_once;
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

/// A request without an outcome. Dropping it ends the call without a reply: serialization is code
/// of the user, which may panic.
struct Outstanding<'m> {
    memory: &'m CallMemory,
    right: Option<ReplyRight>,
}

/// Writes a reply, and wakes the caller. If it cannot be written, the call ends without a reply.
#[inline]
pub(super) fn write_reply<R: Packet>(
    memory: &CallMemory,
    right: ReplyRight,
    reply: &R,
    scratch: &mut Scratch,
) -> Result<(), ReplyError> {
    let mut outstanding = Outstanding { memory, right: Some(right) };
    let needed = packet::measure(reply, scratch).map_err(ReplyError::Unserializable)?;
    let room = outstanding.right.as_mut().map(|right| right.room(memory, needed));
    match room {
        Some(Ok(room)) => {
            packet::write(reply, room, scratch).map_err(ReplyError::Unserializable)?;
            wake(outstanding.right.take().and_then(|right| right.reply(memory, needed)));
            Ok(())
        }
        Some(Err(ReplyRoomError::TooLarge { limit })) => {
            let right = outstanding.right.take();
            wake(right.and_then(|right| right.refuse(memory, (needed, limit))));
            Err(ReplyError::TooLarge { needed, limit })
        }
        // An area without the cell that its request named is no caller.
        Some(Err(ReplyRoomError::NoCell)) | None => Err(ReplyError::CallerGone),
    }
}

/// Ends a call without a reply, and wakes the caller.
pub(super) fn refuse(memory: &CallMemory, right: ReplyRight) {
    drop(Outstanding { memory, right: Some(right) });
}

impl Drop for Outstanding<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(right) = self.right.take() {
            wake(right.refuse(self.memory, (0, 0)));
        }
    }
}

#[inline]
fn wake(cell: Option<&CallCell>) {
    if let Some(cell) = cell {
        notify_once(&cell.event_count);
    }
}
