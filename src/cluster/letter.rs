//! A letter in hand: who sent it, what is in it, and that it was handled.

use super::envelope::Envelope;
use super::names::WorkerId;
use crate::channel::{Info, Mail, RecvError};
use crate::packet::{OneOf, Packet};
use std::fmt;

/// A packet in an inbox, in its slot. Dropped without [`done`](Self::done), it comes again, flagged.
#[must_use = "it comes again, if it is not done with"]
pub struct Letter<'a> {
    envelope: Envelope,
    mail: Mail<'a>,
}

impl<'a> Letter<'a> {
    #[inline(always)]
    pub(super) fn open_envelope(mail: Mail<'a>) -> Result<Self, RecvError> {
        let (envelope, mail) = mail.fronted()?;
        Ok(Self { envelope, mail })
    }
}

impl Letter<'_> {
    /// The packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, checked;
    /// `None`: it is of another type.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt): it says it is one of them, and is not sound. It comes again
    /// unless it is [done](Self::done) with.
    pub fn open<'m, W: OneOf<'m>>(&'m self) -> Result<Option<W>, RecvError> {
        self.mail.open()
    }

    /// The packet as a `T`, checked.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt). It comes again
    /// unless it is [done](Self::done) with.
    #[inline(always)]
    pub fn open_as<T: Packet>(&self) -> Result<&T::Archived, RecvError> {
        self.mail.open_as::<T>()
    }

    /// Who sent it. A name of theirs is what [`Worker::worker`](super::Worker::worker) says.
    pub fn sender(&self) -> WorkerId {
        self.envelope.sender
    }

    /// Which of those who had the sender's number one after the other sent it:
    /// [`WorkerInfo::generation`](super::WorkerInfo::generation) of that time. A number is given to
    /// another worker when its owner is gone and not expected back.
    pub fn sender_generation(&self) -> u64 {
        self.envelope.correlation
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
    pub fn done(self) {
        self.mail.done();
    }
}

impl fmt::Debug for Letter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sender = self.envelope.sender;
        f.debug_struct("Letter").field("sender", &sender).field("mail", &self.mail).finish()
    }
}
