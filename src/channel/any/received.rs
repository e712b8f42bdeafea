//! Packets in place whose types are not known yet: a guard over one, and a batch of them.
//!
//! [`AnyPacket`] is a view of one packet and has the implementation. [`AnyReceived`] is the guard
//! over a single packet: it makes such a view for each call.

use crate::channel::carried_type::CarriedType;
use crate::channel::error::RecvError;
use crate::channel::received::Info;
use crate::channel::reports;
use crate::channel::type_table;
#[cfg(feature = "handover")]
use crate::channel::untyped::PacketId;
use crate::channel::untyped::Receiver;
use crate::packet::{self, Archived, Fingerprint, Invalid, OneOf, Packet};
use crate::ring::buffer::{StableBatch, StableBytes};
use crate::ring::cursor::{Cursor, Taken};
use crate::ring::guard::{BatchGuard, ReadGuard};
#[cfg(feature = "dynamic")]
use packetring_dynamic::{ArchiveError, Schema, Value};
use std::fmt;

/// A packet in its slot whose type is not known yet. Dropping it releases the slot.
pub struct AnyReceived<'a> {
    guard: ReadGuard<'a, Receiver>,
    taken: Taken,
    /// Bytes before the archive: 0 outside a cluster.
    prefix: usize,
}

impl<'a> AnyReceived<'a> {
    #[inline]
    pub(crate) fn new(guard: ReadGuard<'a, Receiver>, taken: Taken) -> Self {
        Self { guard, taken, prefix: 0 }
    }

    /// Returns the packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, after a
    /// check. Returns `None` if it has another type.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if it has one of the types and is invalid.
    pub fn open<'m, W: OneOf<'m>>(&'m self) -> Result<Option<W>, RecvError> {
        self.view().open()
    }

    /// Returns the packet as a `T`, after a check.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt).
    #[inline(always)]
    pub fn open_as<T: Packet>(&self) -> Result<&Archived<T>, RecvError> {
        self.view().open_as::<T>()
    }

    /// Name of the packet's type, empty if the ring does not know it.
    pub fn type_name(&self) -> String {
        self.view().type_name()
    }

    /// The fingerprint of the packet's type. `None` if the ring does not know it.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.view().fingerprint()
    }

    /// Reads the schema of the packet's type, to read packets of this type as
    /// [values](Self::value). It costs more than reading a packet: keep it by its
    /// [fingerprint](Self::fingerprint).
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if the ring does not know the type, or has no valid schema.
    #[cfg(feature = "dynamic")]
    pub fn schema(&self) -> Result<Schema, RecvError> {
        self.view().schema()
    }

    /// Returns the packet as a value of this schema, after a check.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch) if its type has another fingerprint,
    /// [`Corrupt`](RecvError::Corrupt).
    #[cfg(feature = "dynamic")]
    #[inline(always)]
    pub fn value<'v>(&'v self, schema: &'v Schema) -> Result<Value<'v>, RecvError> {
        self.view().value(schema)
    }

    /// Position, and whether the packet was delivered before.
    pub fn info(&self) -> Info {
        self.view().info()
    }

    /// Puts the packet back. The next call receives it again, flagged as redelivered.
    pub fn unreceive(self) {
        self.guard.end(Receiver::unreceive);
    }

    /// Acknowledges the packet, for subscribers with explicit acknowledgement.
    #[inline]
    pub(crate) fn ack(self) {
        self.guard.end(Receiver::ack);
    }

    /// How often it was handed out, this time included.
    pub(crate) fn deliveries(&self) -> u64 {
        self.guard.endpoint().cursor.deliveries(&self.taken)
    }

    /// The tag in its descriptor.
    pub(crate) fn tag(&self) -> u32 {
        self.taken.descriptor.tag()
    }

    /// All its bytes, including a prefix.
    #[inline]
    pub(crate) fn payload(&self) -> &[u8] {
        self.guard.bytes()
    }

    /// Skips a prefix of this length before the archive.
    #[inline(always)]
    pub(crate) fn behind(self, prefix: usize) -> Self {
        Self { prefix, ..self }
    }

    /// The id of the packet, which no other packet has.
    #[cfg(feature = "handover")]
    pub(crate) fn id(&self) -> PacketId {
        PacketId::new(self.guard.endpoint().cursor.memory(), self.taken.position)
    }

    /// The end of the ring.
    #[cfg(feature = "handover")]
    pub(crate) fn tail(&self) -> u64 {
        self.guard.endpoint().cursor.tail()
    }

    #[inline]
    fn view(&self) -> AnyPacket<'_> {
        let (receiver, taken) = (self.guard.endpoint(), self.taken);
        let archive = self.guard.bytes().get(self.prefix..).unwrap_or_default();
        AnyPacket { receiver, taken, archive }
    }
}

impl fmt::Debug for AnyReceived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().describe(f.debug_struct("AnyReceived"))
    }
}

/// Several packets of any types in their slots. They are released together when the batch is
/// dropped.
pub struct AnyBatch<'a> {
    guard: BatchGuard<'a, Receiver>,
}

impl<'a> AnyBatch<'a> {
    pub(crate) fn new(guard: BatchGuard<'a, Receiver>) -> Self {
        Self { guard }
    }

    /// Number of packets: at least one.
    pub fn len(&self) -> usize {
        self.guard.count()
    }

    /// Returns false: a batch has at least one packet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packet at an index, in ring order.
    pub fn get(&self, index: usize) -> Option<AnyPacket<'_>> {
        (index < self.len()).then(|| self.view(index))
    }

    /// The packets in ring order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AnyPacket<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.view(index))
    }

    fn view(&self, index: usize) -> AnyPacket<'_> {
        let receiver = self.guard.endpoint();
        AnyPacket { receiver, taken: self.guard.taken(index), archive: self.guard.bytes(index) }
    }
}

impl<'b> IntoIterator for &'b AnyBatch<'_> {
    type Item = AnyPacket<'b>;
    type IntoIter = AnyBatchIter<'b>;

    fn into_iter(self) -> AnyBatchIter<'b> {
        AnyBatchIter { batch: self, next: 0 }
    }
}

/// Iterator over the packets of an [`AnyBatch`], in ring order.
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct AnyBatchIter<'b> {
    batch: &'b AnyBatch<'b>,
    next: usize,
}

impl<'b> Iterator for AnyBatchIter<'b> {
    type Item = AnyPacket<'b>;

    fn next(&mut self) -> Option<AnyPacket<'b>> {
        let packet = self.batch.get(self.next)?;
        self.next += 1;
        Some(packet)
    }
}

impl fmt::Debug for AnyBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// A view of one packet of an [`AnyBatch`], whose type is not known yet.
#[derive(Clone, Copy)]
pub struct AnyPacket<'b> {
    receiver: &'b Receiver,
    taken: Taken,
    archive: &'b [u8],
}

impl<'b> AnyPacket<'b> {
    /// Returns the packet as one of the types of a [`#[one_of]`](macro@crate::one_of) enum, after a
    /// check: see [`AnyReceived::open`].
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if it has one of the types and is invalid.
    pub fn open<W: OneOf<'b>>(&self) -> Result<Option<W>, RecvError> {
        let Some(fingerprint) = self.listed_fingerprint() else { return Ok(None) };
        W::open(fingerprint, self.archive)
            .map_err(|Invalid| self.corrupt(&W::explain(fingerprint, self.archive)))
    }

    /// Returns the packet as a `T`, after a check.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch), [`Corrupt`](RecvError::Corrupt).
    #[inline(always)]
    pub fn open_as<T: Packet>(&self) -> Result<&'b Archived<T>, RecvError> {
        if self.listed_fingerprint() != Some(T::TYPE.fingerprint) {
            return Err(self.mismatch::<T>());
        }
        match packet::validate::<T>(self.archive) {
            Ok(archived) => Ok(archived),
            Err(Invalid) => Err(self.invalid::<T>()),
        }
    }

    /// Name of the packet's type, empty if the ring does not know it.
    pub fn type_name(&self) -> String {
        let segment = &self.receiver.entry.segment;
        segment.with_types(|types| types.name(self.type_index())).unwrap_or_default()
    }

    /// Position, and whether the packet was delivered before.
    pub fn info(&self) -> Info {
        Info {
            position: self.taken.position,
            redelivered: self.receiver.cursor.is_redelivered(&self.taken),
        }
    }

    /// The fingerprint of the packet's type. `None` if the ring does not know it.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.listed_fingerprint().filter(|found| found.0 != 0)
    }

    /// The entry of the packet's type in the list of fingerprints.
    #[inline]
    fn listed_fingerprint(&self) -> Option<Fingerprint> {
        self.receiver.types.get(self.type_index()).copied()
    }

    /// Reads the schema of the packet's type: see [`AnyReceived::schema`].
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt) if the ring does not know the type, or has no valid schema.
    #[cfg(feature = "dynamic")]
    pub fn schema(&self) -> Result<Schema, RecvError> {
        match self.carried() {
            Some(carried) => carried.layout().map_err(|error| self.corrupt(&error.to_string())),
            None => Err(self.corrupt("a type that was never registered")),
        }
    }

    /// Returns the packet as a value of this schema, after a check.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](RecvError::TypeMismatch) if its type has another fingerprint,
    /// [`Corrupt`](RecvError::Corrupt).
    #[cfg(feature = "dynamic")]
    #[inline(always)]
    pub fn value<'v>(&self, schema: &'v Schema) -> Result<Value<'v>, RecvError>
    where
        'b: 'v,
    {
        if self.fingerprint() != Some(Fingerprint(schema.fingerprint())) {
            return Err(self.other_schema(schema));
        }
        match schema.read(self.archive) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.invalid_by(&error)),
        }
    }

    /// The place and the bytes of the packet, with the header that an event has before its archive.
    pub(crate) fn parts(&self) -> (Taken, &'b [u8]) {
        (self.taken, self.archive)
    }

    /// The packet's type, read from the ring. `None` if the ring does not know it.
    pub(crate) fn carried(&self) -> Option<CarriedType> {
        let segment = &self.receiver.entry.segment;
        segment.with_types(|types| CarriedType::of(&types, self.type_index()))
    }

    fn type_index(&self) -> usize {
        usize::from(self.taken.descriptor.type_index())
    }

    #[cold]
    fn mismatch<T: Packet>(&self) -> RecvError {
        let segment = &self.receiver.entry.segment;
        let types = type_table::mismatch(segment, &T::TYPE, self.taken.descriptor.type_index());
        RecvError::TypeMismatch(Box::new(types))
    }

    #[cfg(feature = "dynamic")]
    #[cold]
    fn other_schema(&self, schema: &Schema) -> RecvError {
        let (segment, found) = (&self.receiver.entry.segment, self.taken.descriptor.type_index());
        let types = type_table::mismatch_of_schema(segment, schema, found);
        RecvError::TypeMismatch(Box::new(types))
    }

    #[cfg(feature = "dynamic")]
    #[cold]
    fn invalid_by(&self, error: &ArchiveError) -> RecvError {
        self.corrupt(&error.to_string())
    }

    #[cold]
    fn invalid<T: Packet>(&self) -> RecvError {
        self.corrupt(&packet::explain::<T>(self.archive))
    }

    #[cold]
    fn corrupt(&self, what: &str) -> RecvError {
        reports::invalid(&self.receiver.entry.segment, self.taken.position, what);
        RecvError::Corrupt(format!("at position {}: {what}", self.taken.position).into())
    }

    fn describe(&self, mut out: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("type", &self.type_name())
            .field("position", &self.taken.position)
            .field("bytes", &self.archive.len())
            .finish()
    }
}

impl fmt::Debug for AnyPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f.debug_struct("AnyPacket"))
    }
}
