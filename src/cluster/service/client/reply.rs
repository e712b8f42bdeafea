//! The reply to a call, read in place.

use super::completion::{CallTracker, ReplyPlace};
use crate::channel::{ReadGuard, Receiver, StableBytes, Suffix};
use crate::cluster::error::CallError;
use crate::packet::guard::{CopiedBytes, Validated};
use crate::packet::{self, Packet};
use std::fmt;
use std::ops::Deref;

/// A reply, read in place. Derefs to the archived reply.
///
/// Its slots in the client's ring are released when it is dropped.
pub struct Reply<'a, R: Packet>(ReplyArchive<'a, R>);

enum ReplyArchive<'a, R: Packet> {
    InRing(Validated<Suffix<ReadGuard<'a, Receiver>>, R>),
    Copied(Validated<CopiedBytes<'a>, R>),
}

impl<'a, R: Packet> Reply<'a, R> {
    pub(super) fn open(tracker: &'a mut CallTracker, place: ReplyPlace) -> Result<Self, CallError> {
        match place {
            ReplyPlace::InRing(prefix) => Self::in_ring(tracker, prefix),
            ReplyPlace::Copied => match Validated::open(CopiedBytes::new(&tracker.copy)) {
                Ok(opened) => Ok(Self(ReplyArchive::Copied(opened))),
                Err((guard, _)) => Err(corrupt::<R>(guard.bytes())),
            },
        }
    }

    #[inline]
    pub(super) fn in_ring(tracker: &'a mut CallTracker, prefix: usize) -> Result<Self, CallError> {
        let guard = Suffix::new(ReadGuard::new(&mut tracker.replies), prefix);
        let Ok(guard) = guard else {
            return Err(CallError::Corrupt("shorter than its header".into()));
        };
        match Validated::open(guard) {
            Ok(opened) => Ok(Self(ReplyArchive::InRing(opened))),
            Err((guard, _)) => Err(corrupt::<R>(guard.bytes())),
        }
    }
}

#[cold]
fn corrupt<R: Packet>(archive: &[u8]) -> CallError {
    CallError::Corrupt(packet::explain::<R>(archive).into())
}

impl<R: Packet> Deref for Reply<'_, R> {
    type Target = R::Archived;

    fn deref(&self) -> &R::Archived {
        match &self.0 {
            ReplyArchive::InRing(opened) => opened.get(),
            ReplyArchive::Copied(opened) => opened.get(),
        }
    }
}

impl<R: Packet> fmt::Debug for Reply<'_, R>
where
    R::Archived: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
