//! What a cluster adds to its packets and its receivers.
//!
//! **Packets**: a tag, a prefix, and descriptors that travel through a socket.
//!
//! **Draining**: the receivers of a worker that is about to end take nothing new. Any thread of the
//! process can start it. A receiver keeps the packet that it has in flight. A receiver that waits
//! notices within one bounded sleep. Consumers of queues and servers check at each receive. An
//! inbox checks when it finds no message at once, and after each eighth of its ring: a check at
//! each receive would cost every message 5 % more instructions.
//!
//! **Dead letters**: packets that were handed out too often. A packet is acknowledged only after
//! its copy is in another worker's inbox. If that inbox does not take it, the packet is handed out
//! again. After a kill in between there are two copies.

use crate::channel::carried_type::CarriedType;
use crate::ring::cursor::Taken;
use crate::segment::Segment;
#[cfg(feature = "handover")]
use crate::segment::view::RingMemory;
use crate::sync::{AtomicU32, Ordering};
use std::fmt;
use std::sync::Arc;

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

/// 1 as soon as a worker of this process drains. Until then a receive pays only the load of this
/// word.
static ANY: AtomicU32 = AtomicU32::new(0);

/// Whether one worker drains. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draining(Arc<AtomicU32>);

impl Draining {
    /// Starts to drain.
    pub(crate) fn start(&self) {
        // Relaxed: a receive that runs meanwhile may still take a packet.
        self.0.store(1, Ordering::Relaxed);
        ANY.store(1, Ordering::Relaxed);
    }

    /// Returns true if the worker drains.
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Returns true if any worker of this process drains.
#[inline(always)]
pub(super) fn is_any_draining() -> bool {
    ANY.load(Ordering::Relaxed) != 0
}

/// Choices of a worker for its receivers.
#[derive(Debug, Default)]
pub(super) struct WorkerOptions {
    /// Takes packets that were handed out too often.
    pub(super) dead_letters: Option<DeadLetters>,
    /// Whether the worker drains.
    pub(super) draining: Draining,
    /// Called at each check of liveness.
    #[cfg(feature = "handover")]
    pub(super) at_check: Option<AtCheck>,
}

/// A worker's action at each check of liveness. Its arguments: the id of the packet that is
/// received next, and a function that returns the tail.
#[cfg(feature = "handover")]
pub(crate) struct AtCheck(pub(super) Box<AtCheckFn>);

#[cfg(feature = "handover")]
pub(crate) type AtCheckFn = dyn FnMut(PacketId, &dyn Fn() -> u64) + Send + Sync;

#[cfg(feature = "handover")]
impl fmt::Debug for AtCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtCheck")
    }
}

/// A packet that was handed out too often.
pub(crate) struct DeadLetter<'a> {
    /// Its type, as its ring carries it.
    pub(crate) carried: CarriedType,
    /// The tag in its descriptor.
    pub(crate) tag: u32,
    /// Its archive.
    pub(crate) archive: &'a [u8],
}

/// Sends a dead letter. Returns false if it was not sent.
pub(crate) type Bury = Box<dyn FnMut(&DeadLetter<'_>) -> bool + Send + Sync>;

/// When a packet is a dead letter, and where it goes.
pub(crate) struct DeadLetters {
    /// A packet that was handed out this many times is not handed out again.
    pub(crate) max_deliveries: u64,
    pub(crate) send: Bury,
}

impl DeadLetters {
    /// Sends a packet of this ring as a dead letter.
    #[cold]
    #[inline(never)]
    pub(super) fn bury(&mut self, ring: &Segment, taken: &Taken, archive: &[u8]) -> bool {
        let index = usize::from(taken.descriptor.type_index());
        let carried = ring.with_types(|table| CarriedType::of(&table, index));
        let tag = taken.descriptor.tag();
        carried.is_some_and(|carried| (self.send)(&DeadLetter { carried, tag, archive }))
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("max_deliveries", &self.max_deliveries)
            .finish_non_exhaustive()
    }
}
