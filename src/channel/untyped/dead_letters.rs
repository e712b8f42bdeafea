//! Dead letters: packets that were handed out too often.
//!
//! Guarantee: a packet is acknowledged only after its copy is in the ring of dead letters. If that
//! ring does not take it, the packet is handed out again. After a kill in between there are two.

use crate::channel::type_table::CarriedType;
use crate::ring::cursor::Taken;
use crate::segment::Segment;
use std::fmt;

/// A packet that was handed out too often.
pub(crate) struct DeadLetter<'a> {
    /// Its type, as its ring carries it.
    pub(crate) carried: CarriedType,
    /// The tag in its descriptor.
    pub(crate) tag: u16,
    /// Its archive.
    pub(crate) archive: &'a [u8],
}

/// Sends a dead letter. Returns false if it was not sent.
pub(crate) type Bury = Box<dyn FnMut(&DeadLetter<'_>) -> bool + Send + Sync>;

/// When a packet is a dead letter, and where it goes.
pub(crate) struct DeadLetters {
    /// A packet that was handed out so often is not handed out again.
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
