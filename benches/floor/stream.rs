//! The floor of a stream: a writer copies into slots, a reader copies out of them, and nothing
//! else.
//!
//! ```text
//!  cursor │ slot 0: stamp, payload │ slot 1: stamp, payload │ …
//! ```
//!
//! One line a slot, one stamp a slot, which the reader polls; it says how far it is once in
//! [`CREDIT`] slots. No lengths, types, checks, padding, second writer, late reader or recovery.

use crate::shared::{Plain, Poll};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// As many as the slots of a ring with the default capacity.
const SLOTS: usize = 1 << 14;
/// The reader publishes its cursor once in so many slots.
const CREDIT: u64 = 64;

type Payload = [u64; 7];

#[repr(C, align(64))]
struct Slot {
    /// The position of the payload, plus one: a fresh slot holds none.
    stamp: AtomicU64,
    payload: UnsafeCell<Payload>,
}

#[repr(align(128))]
struct Cursor(AtomicU64);

/// The slots and the reader's cursor.
#[repr(C)]
pub(crate) struct Stream {
    cursor: Cursor,
    slots: [Slot; SLOTS],
}

// SAFETY: a payload is written by the one writer, before the release of its stamp and after the
// acquire of a cursor beyond its last reading; and read by the one reader, between the two.
unsafe impl Sync for Stream {}
// SAFETY: words, for which zeros are values, aligned to 128; all that is stored to is an atomic or
// a cell.
unsafe impl Plain for Stream {}

impl Stream {
    /// Writes the payloads at these positions. The first call starts at 0, each goes on where the
    /// last one stopped; one process writes.
    pub(crate) fn write(&self, positions: Range<u64>, poll: &Poll) -> Result<(), String> {
        let mut limit = positions.start;
        for position in positions {
            if position >= limit {
                poll.until(|| {
                    // Pairs with the release in `read`.
                    limit = self.cursor.0.load(Ordering::Acquire) + SLOTS as u64;
                    position < limit
                })?;
            }
            let slot = self.slot(position);
            // SAFETY: the reader is beyond what was here, and not to look at it before the stamp.
            unsafe { slot.payload.get().write(black_box([position; 7])) };
            // Pairs with the acquire in `read`.
            slot.stamp.store(position + 1, Ordering::Release);
        }
        Ok(())
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
