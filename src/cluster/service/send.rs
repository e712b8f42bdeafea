//! Writing the outcome of a request into the cell of its call.

use crate::channel::{CallCell, CallMemory, ReplyRight, ReplyRoomError};
use crate::cluster::error::ReplyError;
use crate::packet::{self, Packet, Scratch};
use crate::wait::notify_once;

/// Writes a reply, and wakes the caller. If it cannot be written, the call ends without a reply.
#[inline]
pub(super) fn reply<R: Packet>(
    memory: &CallMemory,
    right: ReplyRight,
    reply: &R,
    scratch: &mut Scratch,
) -> Result<(), ReplyError> {
    let needed = match packet::measure(reply, scratch) {
        Ok(needed) => needed,
        Err(error) => {
            refuse(memory, right);
            return Err(ReplyError::Unserializable(error));
        }
    };
    let (cell, outcome) = right.reply(memory, needed, |room| packet::write(reply, room, scratch));
    wake(cell);
    outcome.map_err(|error| match error {
        ReplyRoomError::TooLarge { limit } => ReplyError::TooLarge { needed, limit },
        ReplyRoomError::Fill(error) => ReplyError::Unserializable(error),
        // An area without the cell that its request named is no caller.
        ReplyRoomError::NoCell => ReplyError::CallerGone,
    })
}

/// Ends a call without a reply, and wakes the caller.
pub(super) fn refuse(memory: &CallMemory, right: ReplyRight) {
    wake(right.drop_request(memory));
}

#[inline]
fn wake(cell: Option<&CallCell>) {
    if let Some(cell) = cell {
        notify_once(&cell.event_count);
    }
}
