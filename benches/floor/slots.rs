//! Bare slots: a writer copies payloads in, a reader copies them out.
//!
//! ```text
//!  cursor │ tail │ slot 0: stamp, payload │ slot 1: stamp, payload │ …
//! ```
//!
//! A slot is one cache line with a stamp, which the reader polls. The reader publishes its cursor
//! once in [`CREDIT`] slots. The writer either knows that it is alone, or claims each slot as if
//! there were others. There are no lengths, types, checks, padding, late readers or recovery.

use crate::shared::{Plain, Poll};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of slots: as many as a ring with the default capacity has.
pub(crate) const SLOTS: usize = 1 << 14;
/// The reader publishes its cursor once in this many slots.
const CREDIT: u64 = 64;

/// 48 bytes, as the archive of a small packet.
type Payload = [u64; 6];

#[repr(C, align(64))]
struct Slot {
    /// Position of the payload plus one; 0 in a fresh slot.
    stamp: AtomicU64,
    payload: UnsafeCell<Payload>,
}

#[repr(align(128))]
struct Word(AtomicU64);

/// The slots, the reader's cursor, and the tail from which writers claim.
#[repr(C)]
pub(crate) struct Slots {
    cursor: Word,
    tail: Word,
    slots: [Slot; SLOTS],
}

// SAFETY: the only writer writes a payload after it acquires a cursor beyond the previous payload
// of the slot, and before it releases the stamp. The only reader reads the payload after it
// acquires the stamp and before it releases the cursor.
unsafe impl Sync for Slots {}
// SAFETY: all fields are words, for which zeros are valid; the alignment is 128; all stores go to
// atomics or cells.
unsafe impl Plain for Slots {}

impl Slots {
    /// Writes the payloads at these positions. The first call starts at 0, each further call where
    /// the last one stopped. Only one process may write.
    pub(crate) fn write(&self, positions: Range<u64>, poll: &Poll) -> Result<(), String> {
        let mut limit = positions.start;
        for position in positions {
            self.wait_for_room(position, &mut limit, poll)?;
            self.fill(position);
        }
        Ok(())
    }

    /// Like [`write`](Self::write), but first claims each slot from the tail.
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

    /// Lets the writer write below `limit` without a reader.
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
        // SAFETY: the reader has passed the previous payload, and reads no payload before its
        // stamp.
        unsafe { slot.payload.get().write(black_box([position; 6])) };
        // Pairs with the acquire in `read`.
        slot.stamp.store(position + 1, Ordering::Release);
    }

    /// Reads the payloads at these positions. The first call starts at 0, each further call where
    /// the last one stopped. Only one process may read.
    pub(crate) fn read(&self, positions: Range<u64>, poll: &Poll) -> Result<(), String> {
        for position in positions {
            let slot = self.slot(position);
            poll.until(|| slot.stamp.load(Ordering::Acquire) == position + 1)?;
            // SAFETY: the stamp was stored after the payload, and the writer waits for the cursor.
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
