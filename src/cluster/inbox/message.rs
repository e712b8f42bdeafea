//! The guard of a received message.

use crate::channel::{AnyReceived, Info, RecvError};
use crate::cluster::directory::WorkerInfo;
#[cfg(feature = "handover")]
use crate::cluster::handover::OwnSocket;
use crate::cluster::names::{MessageTag, SenderTag, WorkerId};
use crate::packet::{Archived, Fingerprint, OneOf, Packet};
#[cfg(feature = "dynamic")]
use packetring_dynamic::{Schema, Value};
use std::fmt;

/// A message, read in place in the inbox. [`Inbox::recv`](super::Inbox::recv) returns it.
///
/// If it is dropped without [`ack`](Self::ack), it is delivered again, flagged as
/// [redelivered](Info::redelivered).
#[must_use = "a message that is not acknowledged is delivered again"]
pub struct Message<'a> {
    pub(super) received: AnyReceived<'a>,
    #[cfg(feature = "handover")]
    pub(super) fds: &'a OwnSocket,
}

impl Message<'_> {
    /// Opens the packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, after a
    /// check. `None` if it has another type.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if the bytes are not a valid packet of the type that the
    /// message names. The message is delivered again unless it is [acknowledged](Self::ack).
    pub fn open<'m, W: OneOf<'m>>(&'m self) -> Result<Option<W>, RecvError> {
        self.received.open()
    }

    /// Opens the packet as a `T`, after a check.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt). The message is
    /// delivered again unless it is [acknowledged](Self::ack).
    #[inline]
    pub fn open_as<T: Packet>(&self) -> Result<&Archived<T>, RecvError> {
        self.received.open_as::<T>()
    }

    /// The fingerprint of the packet's type. `None` if the inbox does not know it.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.received.fingerprint()
    }

    /// Reads the schema of the packet's type: see [`AnyReceived::schema`].
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if the inbox does not know the type, or has no valid schema.
    #[cfg(feature = "dynamic")]
    pub fn schema(&self) -> Result<Schema, RecvError> {
        self.received.schema()
    }

    /// Returns the packet as a value of this schema, after a check: see [`AnyReceived::value`].
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt).
    #[cfg(feature = "dynamic")]
    pub fn value<'v>(&'v self, schema: &'v Schema) -> Result<Value<'v>, RecvError> {
        self.received.value(schema)
    }

    /// The id of the worker that sent it. [`Worker::worker`](crate::cluster::Worker::worker)
    /// returns its name.
    pub fn sender(&self) -> WorkerId {
        self.sender_tag().id()
    }

    /// Returns true if this worker sent the message.
    ///
    /// An id has several owners over time: a restarted worker, or another worker after the first
    /// one left. A message identifies its sender by the id and the last six bits of the sender's
    /// [`generation`](WorkerInfo::generation).
    pub fn is_from(&self, worker: &WorkerInfo) -> bool {
        self.sender_tag() == SenderTag::of(worker.id, worker.generation)
    }

    fn sender_tag(&self) -> SenderTag {
        self.tag().sender()
    }

    pub(super) fn tag(&self) -> MessageTag {
        MessageTag(self.received.tag())
    }

    /// The name of the packet's type; empty if the inbox does not know it.
    pub fn type_name(&self) -> String {
        self.received.type_name()
    }

    /// The position of the message in the inbox, and whether it was delivered before.
    ///
    /// A redelivered message may have been handled: by this inbox, or by an earlier worker of this
    /// name.
    pub fn info(&self) -> Info {
        self.received.info()
    }

    /// How often the message was delivered, this delivery included: also to earlier workers of this
    /// name, and if they were killed.
    ///
    /// It is never too low. A worker that is killed while it receives may count a delivery that it
    /// did not return. [`max_deliveries`](crate::cluster::WorkerBuilder::max_deliveries) limits it.
    pub fn deliveries(&self) -> u64 {
        self.received.deliveries()
    }

    /// Acknowledges the message: it is not delivered again. Also for a message that is refused.
    #[inline]
    pub fn ack(self) {
        #[cfg(feature = "handover")]
        self.discard_fds();
        self.received.ack();
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
