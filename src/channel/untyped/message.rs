//! The parts that a cluster adds to a packet: a tag, a prefix, and descriptors that travel through
//! a socket.

#[cfg(feature = "handover")]
use crate::segment::view::RingMemory;
#[cfg(feature = "handover")]
use std::fmt;

/// The parts of a cluster message besides its packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHeader<'a> {
    /// Bytes before the archive: a multiple of 16.
    pub(crate) prefix: &'a [u8],
    /// The tag in the descriptor.
    pub(crate) tag: u32,
    /// Most bytes of the archive.
    pub(crate) limit: usize,
    /// The descriptors that travel through a socket.
    #[cfg(feature = "handover")]
    pub(crate) attached: Option<Attached<'a>>,
}

/// A packet of any ring: no two packets ever have the same.
#[cfg(feature = "handover")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketId {
    /// A random number of the ring.
    pub(crate) ring: u64,
    pub(crate) position: u64,
}

#[cfg(feature = "handover")]
impl PacketId {
    pub(crate) fn new(memory: &RingMemory, position: u64) -> Self {
        Self { ring: memory.salt(0), position }
    }
}

/// Sends what goes with a packet, between writing the packet and publishing it. Returns false if it
/// was not sent; then the packet is not published.
#[cfg(feature = "handover")]
#[derive(Clone, Copy)]
pub(crate) struct Attached<'a>(pub(crate) &'a dyn Fn(PacketId) -> bool);

#[cfg(feature = "handover")]
impl fmt::Debug for Attached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached")
    }
}

impl<'a> MessageHeader<'a> {
    /// No prefix, no tag, no limit.
    pub(crate) const NONE: Self = Self {
        prefix: &[],
        tag: 0,
        limit: usize::MAX,
        #[cfg(feature = "handover")]
        attached: None,
    };

    /// No prefix and no limit.
    pub(crate) const fn tagged(tag: u32) -> Self {
        Self { tag, ..Self::NONE }
    }

    /// A prefix alone.
    pub(crate) fn of(prefix: &'a [u8]) -> Self {
        Self { prefix, ..Self::NONE }
    }
}
