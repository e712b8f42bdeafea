//! A position, and the stamp that says that a packet is committed there.
//!
//! ```text
//!  stamp(position) = position + salt(lap)        lap = position / capacity
//!  salt(lap)       = SipHash-2-4(the ring's salt, lap)
//! ```
//!
//! The hash is computed once a lap: within one, the stamp is an addition.
//!
//! Why each lap has a salt of its own: the inner slots of a packet hold payload where headers lie
//! in others, and a reader that comes there a lap later must not take payload for a stamp. What is
//! left over in a reservation shows the stamps of earlier laps, and from them nothing follows for
//! this lap or a later one, which is where its content will be looked at (`slot`).

use crate::segment::view::RingMemory;

/// A position, and the salt of its lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StampedPosition {
    pub(crate) position: u64,
    salt: u64,
}

impl StampedPosition {
    /// The spot at a position. Computes a hash.
    #[cold]
    #[inline(never)]
    pub(crate) fn at(memory: &RingMemory, position: u64) -> Self {
        Self { position, salt: memory.salt(position) }
    }

    /// The spot at another position; computes a hash if that is in another lap.
    #[inline(always)]
    pub(crate) fn to(mut self, memory: &RingMemory, position: u64) -> Self {
        self.go(memory, position);
        self
    }

    /// Goes to another position, as [`to`](Self::to).
    #[inline(always)]
    pub(crate) fn go(&mut self, memory: &RingMemory, position: u64) {
        if memory.is_one_lap(self.position, position) {
            self.position = position;
        } else {
            *self = Self::at(memory, position);
        }
    }

    /// What marks a packet that begins there as committed.
    #[inline(always)]
    pub(crate) fn stamp(self) -> u64 {
        self.position.wrapping_add(self.salt)
    }
}
