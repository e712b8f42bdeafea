//! Packets in place whose types are not known yet: one in hand, or a batch of them.
//!
//! What is asked of one, a [`Parcel`] answers: a [`Mail`] is a parcel that can be put back.

use crate::channel::error::RecvError;
use crate::channel::join;
use crate::channel::received::Info;
use crate::channel::untyped::Receiver;
use crate::packet::{self, Fingerprint, Invalid, OneOf, Packet};
use crate::ring::buffer::{Steady, SteadyMany};
use crate::ring::guard::{Hand, Hands};
use crate::ring::reader::Taken;
use std::fmt;

/// A packet in its slot whose type is not known yet. Dropping it releases the slot.
pub struct Mail<'a> {
    hand: Hand<'a, Receiver>,
    /// Bytes before the archive: 0 in a ring without letters.
    front: usize,
}

impl<'a> Mail<'a> {
    #[inline]
    pub(crate) fn new(hand: Hand<'a, Receiver>) -> Self {
        Self { hand, front: 0 }
    }

    /// The packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, checked;
    /// `None`: it is of another type.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt): it says it is one of them, and is not sound.
    pub fn open<'m, W: OneOf<'m>>(&'m self) -> Result<Option<W>, RecvError> {
        self.parcel().open()
    }

    /// The packet as a `T`, checked.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt).
    #[inline(always)]
    pub fn open_as<T: Packet>(&self) -> Result<&T::Archived, RecvError> {
        self.parcel().open_as::<T>()
    }

    /// The name of the packet's type; empty if the ring does not know it.
    pub fn type_name(&self) -> String {
        self.parcel().type_name()
    }

    /// Position, and whether it was delivered before.
    pub fn info(&self) -> Info {
        self.parcel().info()
    }

    /// Puts the packet back: this subscriber's next call gets it again, flagged as redelivered.
    pub fn put_back(self) {
        self.hand.put_back();
    }

    /// Releases the packet, which was handled: for those whose guards do not by being dropped.
    #[inline]
    pub(crate) fn done(self) {
        self.hand.done();
    }

    /// What it was marked with.
    pub(crate) fn mark(&self) -> u16 {
        self.hand.taken().descriptor.mark()
    }

    /// All its bytes, a letter's front among them.
    #[inline]
    pub(crate) fn payload(&self) -> &[u8] {
        self.hand.bytes()
    }

    /// The letter whose archive begins behind so many bytes.
    #[inline(always)]
    pub(crate) fn behind(self, front: usize) -> Self {
        Self { front, ..self }
    }

    #[inline]
    fn parcel(&self) -> Parcel<'_> {
        let (receiver, taken) = (self.hand.holder(), *self.hand.taken());
        let archive = self.hand.bytes().get(self.front..).unwrap_or_default();
        Parcel { receiver, taken, archive }
    }
}

impl fmt::Debug for Mail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parcel().describe(f.debug_struct("Mail"))
    }
}

/// Several packets in their slots, of any types, released together when the batch is dropped.
pub struct MailBatch<'a> {
    hands: Hands<'a, Receiver>,
}

impl<'a> MailBatch<'a> {
    pub(crate) fn new(hands: Hands<'a, Receiver>) -> Self {
        Self { hands }
    }

    /// How many packets there are: one at least.
    pub fn len(&self) -> usize {
        self.hands.count()
    }

    /// Whether there are none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packet at an index, in the ring's order.
    pub fn get(&self, index: usize) -> Option<Parcel<'_>> {
        (index < self.len()).then(|| self.parcel(index))
    }

    /// The packets in the ring's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Parcel<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.parcel(index))
    }

    fn parcel(&self, index: usize) -> Parcel<'_> {
        let receiver = self.hands.holder();
        Parcel { receiver, taken: receiver.reader.batch()[index], archive: self.hands.bytes(index) }
    }
}

impl<'b> IntoIterator for &'b MailBatch<'_> {
    type Item = Parcel<'b>;
    type IntoIter = MailBatchIter<'b>;

    fn into_iter(self) -> MailBatchIter<'b> {
        MailBatchIter { batch: self, next: 0 }
    }
}

/// The packets of a [`MailBatch`], in the ring's order.
#[derive(Debug)]
pub struct MailBatchIter<'b> {
    batch: &'b MailBatch<'b>,
    next: usize,
}

impl<'b> Iterator for MailBatchIter<'b> {
    type Item = Parcel<'b>;

    fn next(&mut self) -> Option<Parcel<'b>> {
        let parcel = self.batch.get(self.next)?;
        self.next += 1;
        Some(parcel)
    }
}

impl fmt::Debug for MailBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// One packet of a [`MailBatch`], whose type is not known yet.
#[derive(Clone, Copy)]
pub struct Parcel<'b> {
    receiver: &'b Receiver,
    taken: Taken,
    archive: &'b [u8],
}

impl<'b> Parcel<'b> {
    /// The packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, checked: see
    /// [`Mail::open`].
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt): it says it is one of them, and is not sound.
    pub fn open<W: OneOf<'b>>(&self) -> Result<Option<W>, RecvError> {
        let Some(fingerprint) = self.fingerprint() else { return Ok(None) };
        W::open(fingerprint, self.archive)
            .map_err(|Invalid| self.corrupt(&W::explain(fingerprint, self.archive)))
    }

    /// The packet as a `T`, checked.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt).
    #[inline(always)]
    pub fn open_as<T: Packet>(&self) -> Result<&'b T::Archived, RecvError> {
        if self.fingerprint() != Some(T::TYPE.fingerprint) {
            return Err(self.mismatch::<T>());
        }
        match packet::validate::<T>(self.archive) {
            Ok(archived) => Ok(archived),
            Err(Invalid) => Err(self.invalid::<T>()),
        }
    }

    /// The name of the packet's type; empty if the ring does not know it.
    pub fn type_name(&self) -> String {
        let segment = &self.receiver.endpoint.segment;
        segment.with_types(|types| types.name(self.type_index())).unwrap_or_default()
    }

    /// Position, and whether it was delivered before.
    pub fn info(&self) -> Info {
        Info::of(self.receiver, &self.taken)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.receiver.types.get(self.type_index()).copied()
    }

    fn type_index(&self) -> usize {
        usize::from(self.taken.descriptor.type_index())
    }

    #[cold]
    fn mismatch<T: Packet>(&self) -> RecvError {
        let segment = &self.receiver.endpoint.segment;
        let types = join::mismatch(segment, &T::TYPE, self.taken.descriptor.type_index());
        RecvError::TypeMismatch(Box::new(types))
    }

    #[cold]
    fn invalid<T: Packet>(&self) -> RecvError {
        self.corrupt(&packet::explain::<T>(self.archive))
    }

    #[cold]
    fn corrupt(&self, what: &str) -> RecvError {
        RecvError::Corrupt(format!("at position {}: {what}", self.taken.position).into())
    }

    fn describe(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        let bytes = self.archive.len();
        out.field("type", &self.type_name()).field("bytes", &bytes).finish()
    }
}

impl fmt::Debug for Parcel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f.debug_struct("Parcel"))
    }
}
