//! A letter in hand: who sent it, what is in it, and that it was handled.

use crate::channel::{AnyReceived, Info, RecvError};
use crate::cluster::directory::WorkerInfo;
use crate::cluster::names::{SenderTag, WorkerId};
use crate::packet::{OneOf, Packet};
use std::fmt;

/// A packet in an inbox, in its slot. Dropped without [`done`](Self::ack), it comes again, flagged.
#[must_use = "it comes again, if it is not done with"]
pub struct Message<'a> {
    pub(in crate::cluster) mail: AnyReceived<'a>,
}

impl Message<'_> {
    /// The packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, checked;
    /// `None`: it is of another type.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt): it says it is one of them, and is not sound. It comes again
    /// unless it is [done](Self::ack) with.
    pub fn open<'m, W: OneOf<'m>>(&'m self) -> Result<Option<W>, RecvError> {
        self.mail.open()
    }

    /// The packet as a `T`, checked.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt). It comes again
    /// unless it is [done](Self::ack) with.
    #[inline(always)]
    pub fn open_as<T: Packet>(&self) -> Result<&T::Archived, RecvError> {
        self.mail.open_as::<T>()
    }

    /// Who sent it. A name of theirs is what [`Worker::worker`](crate::cluster::Worker::worker) says.
    pub fn sender(&self) -> WorkerId {
        self.sender_tag().id()
    }

    /// Whether that worker sent it, and not another who had its number before or after it: numbers
    /// are given to others once their owners are gone and not expected back, and to the next of their
    /// name. They are told apart by the last six bits of their
    /// [`generation`](WorkerInfo::generation).
    pub fn is_from(&self, worker: &WorkerInfo) -> bool {
        self.sender_tag() == SenderTag::of(worker.id, worker.generation)
    }

    fn sender_tag(&self) -> SenderTag {
        SenderTag(self.mail.tag())
    }

    /// The name of the packet's type; empty if the inbox does not know it.
    pub fn type_name(&self) -> String {
        self.mail.type_name()
    }

    /// Position, and whether it was delivered before: to this inbox, or to a predecessor's of this
    /// worker. Then it may have been handled, too.
    pub fn info(&self) -> Info {
        self.mail.info()
    }

    /// Acknowledges it: it does not come again. Also how to refuse one.
    #[inline]
    pub fn ack(self) {
        self.mail.ack();
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sender = self.sender();
        f.debug_struct("Message")
            .field("sender", &sender)
            .field("type", &self.type_name())
            .field("position", &self.info().position)
            .finish()
    }
}
