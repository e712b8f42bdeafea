//! A position, and the stamp that says that a packet is committed there.
//!
//! ```text
//!  stamp(position) = position + salt(lap)        lap = position / capacity
//!  salt(lap)       = SipHash-2-4(the ring's salt, lap)
//! ```
//!
//! Within a lap the stamp moves with the position, which is all that the hot paths do; the hash is
//! computed once a lap.
//!
//! Why each lap has a salt of its own: the inner slots of a packet hold payload where headers lie
//! in others, and a reader that comes there a lap later must not take payload for a stamp. What is
//! left over in a reservation shows the stamps of earlier laps, and from them nothing follows for
//! this lap or a later one, which is where its content will be looked at (`slot`).

use crate::segment::memory::Memory;

/// A position, and the stamp of a packet that begins there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) position: u64,
    pub(crate) stamp: u64,
}

impl Spot {
    /// The spot at a position. Computes a hash.
    #[cold]
    #[inline(never)]
    pub(crate) fn at(memory: &Memory, position: u64) -> Self {
        Self { position, stamp: memory.stamp(position) }
    }

    /// The spot at another position; computes a hash if that is in another lap.
    #[inline(always)]
    pub(crate) fn to(self, memory: &Memory, position: u64) -> Self {
        if self.position ^ position >= memory.capacity() {
            return Self::at(memory, position);
        }
        let stamp = self.stamp.wrapping_add(position.wrapping_sub(self.position));
        Self { position, stamp }
    }
}
