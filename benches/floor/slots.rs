//! Slots that a writer copies into and a reader copies out of, and nothing else.
//!
//! ```text
//!  cursor │ tail │ slot 0: stamp, payload │ slot 1: stamp, payload │ …
//! ```
//!
//! One line a slot, one stamp a slot, which the reader polls; it says how far it is once in
//! [`CREDIT`] slots. The writer knows that it is alone, or claims each slot as if it were not. No
//! lengths, types, checks, padding, late reader or recovery.

use crate::shared::{Plain, Poll};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// As many as the slots of a ring with the default capacity.
pub(crate) const SLOTS: usize = 1 << 14;
/// The reader publishes its cursor once in so many slots.
const CREDIT: u64 = 64;

/// As much as a packet of 48 archived bytes.
type Payload = [u64; 6];

#[repr(C, align(64))]
struct Slot {
    /// The position of the payload, plus one: a fresh slot holds none.
    stamp: AtomicU64,
    payload: UnsafeCell<Payload>,
}

#[repr(align(128))]
struct Word(AtomicU64);

/// The slots, the reader's cursor, and the tail that writers claim from.
#[repr(C)]
pub(crate) struct Slots {
    cursor: Word,
    tail: Word,
    slots: [Slot; SLOTS],
}

// SAFETY: a payload is written by the one writer, before the release of its stamp and after the
// acquire of a cursor beyond its last reading; and read by the one reader, between the two.
unsafe impl Sync for Slots {}
// SAFETY: words, for which zeros are values, aligned to 128; all that is stored to is an atomic or
// a cell.
unsafe impl Plain for Slots {}

impl Slots {
    /// Writes the payloads at these positions. The first call starts at 0, each goes on where the
    /// last one stopped; one process writes.
    pub(crate) fn write(&self, positions: Range<u64>, poll: &Poll) -> Result<(), String> {
        let mut limit = positions.start;
        for position in positions {
            self.wait_for_room(position, &mut limit, poll)?;
            self.fill(position);
        }
        Ok(())
    }

    /// Writes as [`write`](Self::write) does, and claims each slot from the tail first.
    pub(crate) fn claim_and_write(&self, end: u64, poll: &Poll) -> Result<(), String> {
        let mut limit = 0;
        loop {
            let position = self.tail.0.load(Ordering::Relaxed);
            if position >= end {
                return Ok(());
            }
            self.wait_for_room(position, &mut limit, poll)?;
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            let claim = self.tail.0.compare_exchange(position, position + 1, success, failure);
            if claim.is_ok() {
                self.fill(position);
            }
        }
    }

    /// Lets the writer write below `limit`, whatever was read.
    pub(crate) fn release(&self, limit: u64) {
        self.cursor.0.store(limit - SLOTS as u64, Ordering::Release);
    }

    #[inline]
    fn wait_for_room(&self, position: u64, limit: &mut u64, poll: &Poll) -> Result<(), String> {
        if position < *limit {
            return Ok(());
        }
        poll.until(|| {
            // Pairs with the release in `read`.
            *limit = self.cursor.0.load(Ordering::Acquire) + SLOTS as u64;
            position < *limit
        })
    }

    #[inline]
    fn fill(&self, position: u64) {
        let slot = self.slot(position);
        // SAFETY: the reader is beyond what was here, and not to look at it before the stamp.
        unsafe { slot.payload.get().write(black_box([position; 6])) };
        // Pairs with the acquire in `read`.
        slot.stamp.store(position + 1, Ordering::Release);
    }

    /// Reads the payloads at these positions. The first call starts at 0, each goes on where the
    /// last one stopped; one process reads.
    pub(crate) fn read(&self, positions: Range<u64>, poll: &Poll) -> Result<(), String> {
        for position in positions {
            let slot = self.slot(position);
            poll.until(|| slot.stamp.load(Ordering::Acquire) == position + 1)?;
            // SAFETY: the stamp says that it is written, and the writer waits for the cursor.
            let payload: Payload = unsafe { slot.payload.get().read() };
            if black_box(payload)[0] != position {
                return Err(format!("position {position} holds another payload"));
            }
            if (position + 1).is_multiple_of(CREDIT) {
                self.cursor.0.store(position + 1, Ordering::Release);
            }
        }
        Ok(())
    }

    fn slot(&self, position: u64) -> &Slot {
        &self.slots[position as usize % SLOTS]
    }
}
