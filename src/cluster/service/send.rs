//! Writing the outcome of a request into the cell of its call.

use crate::channel::{CallCell, CallMemory, ReplyRight, ReplyRoomError};
use crate::cluster::error::ReplyError;
use crate::packet::{self, Packet, Scratch};
use crate::wait::notify_once;

/// A request without an outcome. Dropping it ends the call without a reply: serialization is code
/// of the user, which may panic.
struct Outstanding<'m> {
    memory: &'m CallMemory,
    right: Option<ReplyRight>,
}

/// Writes a reply, and wakes the caller. If it cannot be written, the call ends without a reply.
#[inline]
pub(super) fn reply<R: Packet>(
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
