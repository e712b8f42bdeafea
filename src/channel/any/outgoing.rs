//! Packets with a header, as clusters send them: of a Rust type, or values without one.
//!
//! Messages, events and requests take one way, whatever their packet is: [`Outgoing`] is what this
//! way needs of it.

use super::AnyPublisher;
use crate::channel::error::{SendError, SendFailure, TypeMismatch};
use crate::channel::type_table;
use crate::channel::untyped::MessageHeader;
use crate::packet::Packet;
#[cfg(feature = "dynamic")]
use crate::packet::Unserializable;
use crate::segment::Segment;
use crate::wait::Timeout;
#[cfg(feature = "dynamic")]
use packetring_dynamic::Value;

/// A packet that a cluster sends: `&T`, or a value.
pub(crate) trait Outgoing: Copy {
    /// Writing it runs no code of the user.
    const IS_COPIED: bool;

    /// Finds the index of its type, which is registered if it is new, and the rest of the timeout.
    fn index_in(
        self,
        publisher: &mut AnyPublisher,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), SendFailure>;

    /// Publishes it with the index of its type. Returns its position.
    fn send_by(
        self,
        publisher: &mut AnyPublisher,
        header: MessageHeader<'_>,
        index: u16,
        timeout: Timeout,
    ) -> Result<u64, SendFailure>;

    /// The error of a ring that does not accept its type.
    fn refusal(self, ring: &Segment) -> TypeMismatch;
}

impl<T: Packet> Outgoing for &T {
    const IS_COPIED: bool = T::IS_COPIED;

    #[inline(always)]
    fn index_in(
        self,
        publisher: &mut AnyPublisher,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), SendFailure> {
        publisher.types.index_of::<T, SendFailure>(&publisher.sender, timeout)
    }

    #[inline(always)]
    fn send_by(
        self,
        publisher: &mut AnyPublisher,
        header: MessageHeader<'_>,
        index: u16,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        // Cluster code makes no reservations, so no forgotten claim must be aborted first.
        #[cfg(feature = "handover")]
        if let Some(attached) = header.attached {
            return publisher.sender.send_attached(header.tag, self, index, attached, timeout);
        }
        publisher.sender.send_message(header, self, index, timeout)
    }

    fn refusal(self, ring: &Segment) -> TypeMismatch {
        type_table::refusal(ring, &T::TYPE)
    }
}

/// Descriptors do not travel with it: only typed messages have them.
#[cfg(feature = "dynamic")]
impl Outgoing for Value<'_> {
    const IS_COPIED: bool = true;

    fn index_in(
        self,
        publisher: &mut AnyPublisher,
        timeout: Timeout,
    ) -> Result<(u16, Timeout), SendFailure> {
        // First: a part of a packet registers no type.
        archive_of(self)?;
        publisher.types.index_of_schema(&publisher.sender, self.schema(), timeout)
    }

    fn send_by(
        self,
        publisher: &mut AnyPublisher,
        header: MessageHeader<'_>,
        index: u16,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        let archive = archive_of(self)?;
        publisher.sender.begin()?;
        publisher.sender.send_archive(archive, index, header, timeout)
    }

    fn refusal(self, ring: &Segment) -> TypeMismatch {
        type_table::refusal_of_schema(ring, self.schema())
    }
}

/// The bytes of a value that is a whole packet.
#[cfg(feature = "dynamic")]
pub(super) fn archive_of(value: Value<'_>) -> Result<&[u8], SendError> {
    value.archive().ok_or_else(|| Unserializable::part().into())
}

impl AnyPublisher {
    /// Publishes a message: a packet with a header.
    // Inlined, so that the compiler knows the length of a constant prefix.
    #[inline(always)]
    pub(crate) fn send_with_header<P: Outgoing>(
        &mut self,
        header: MessageHeader<'_>,
        packet: P,
        timeout: Timeout,
    ) -> Result<u64, SendFailure> {
        let (index, timeout) = packet.index_in(self, timeout)?;
        if !self.sender.writer.memory().head().membership.accepts(index) {
            return Err(self.refused(packet).into());
        }
        packet.send_by(self, header, index, timeout)
    }

    /// The error of a packet whose type the ring does not accept. A closed ring accepts no packet:
    /// the ring that replaced it may accept this one.
    #[cold]
    #[inline(never)]
    fn refused<P: Outgoing>(&self, packet: P) -> SendError {
        if self.sender.is_closed() {
            return SendError::Closed;
        }
        SendError::TypeRefused(Box::new(packet.refusal(&self.sender.entry.segment)))
    }
}
