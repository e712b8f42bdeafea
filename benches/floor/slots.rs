//! Bare slots: a writer stores packets into cache lines, a reader checks them in place.
//!
//! ```text
//!  cursor │ tail │ line 0: stamp, descriptor, payload │ line 1: stamp, descriptor, payload │ …
//! ```
//!
//! A packet of 48 bytes takes one line, a packet of 64 bytes takes two. The reader polls the stamp,
//! and publishes its cursor once in [`CREDIT`] packets. [`Order`] lists the ways to write. There
//! are no types, checks of headers, late readers or recovery.
//!
//! A packet is made from its number immediately before it is written, as in the scenarios. So it is
//! in registers, and costs no stores but those to its slot: see [`store`](super::store).

#[cfg(target_arch = "x86_64")]
use super::store::Avx;
use super::store::{Store, Words, has_avx};
use crate::shared::{Plain, Poll};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Size of a cache line in bytes.
const LINE: usize = 64;
/// The largest capacity in bytes.
const MOST: usize = 4 << 20;
/// The reader publishes its cursor once in this many packets.
const CREDIT: u64 = 64;
/// Packets of a batch.
pub(crate) const BATCH: u64 = 32;

/// How packets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One by one, by the only writer.
    Single,
    /// One by one, each claimed by a compare-and-swap as if there were more writers.
    Claimed,
    /// As `Claimed`, by the stores of [`Words`]. The reader then falls behind less often, which is
    /// faster on some processors.
    ClaimedByWords,
    /// In batches of [`BATCH`]. The first packet is stamped last, and the reader waits for it
    /// alone.
    Batches,
    /// As `Batches`, by non-temporal stores, which need no line from the reader's cache. The first
    /// packet follows a fence, by ordinary stores.
    BatchesPastCaches,
}

impl Order {
    /// The order in the name of a floor.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "slots",
            Self::Claimed => "claims",
            Self::ClaimedByWords => "claims_by_words",
            Self::Batches => "batches",
            Self::BatchesPastCaches => "batches_past_caches",
        }
    }
}

#[repr(C, align(64))]
struct Line(UnsafeCell<[u64; LINE / 8]>);

#[repr(align(128))]
struct Word(AtomicU64);

/// The lines, the reader's cursor, and the tail from which writers claim.
#[repr(C)]
pub(crate) struct Lines {
    cursor: Word,
    tail: Word,
    lines: [Line; MOST / LINE],
}

// SAFETY: the only writer writes a packet after it acquires a cursor beyond the previous packet of
// the slot, and before it releases the stamp. The only reader reads the packet after it acquires
// the stamp and before it releases the cursor.
unsafe impl Sync for Lines {}
// SAFETY: all fields are words, for which zeros are valid; the alignment is 128; all stores go to
// atomics or cells.
unsafe impl Plain for Lines {}

/// The first lines of a memory, as slots for packets of `WORDS` words.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a, const WORDS: usize> {
    lines: &'a Lines,
    count: u64,
}

impl<'a, const WORDS: usize> Slots<'a, WORDS> {
    /// Words of a slot: stamp, descriptor and payload, in whole lines.
    const SLOT: usize = (2 + WORDS).next_multiple_of(LINE / 8);

    /// As many slots as have room in `capacity` bytes, a power of two of at most [`MOST`].
    pub(crate) fn new(lines: &'a Lines, capacity: usize) -> Self {
        assert!(capacity.is_power_of_two() && capacity <= MOST, "no floor of {capacity} bytes");
        Self { lines, count: (capacity / 8 / Self::SLOT) as u64 }
    }

    /// Number of slots.
    pub(crate) fn count(self) -> u64 {
        self.count
    }

    /// Writes packets with these numbers. The first call starts at 0, each further call where the
    /// last one stopped. Only one process may write.
    pub(crate) fn write(self, order: Order, all: Range<u64>, poll: &Poll) -> Result<(), String> {
        #[cfg(target_arch = "x86_64")]
        if order != Order::ClaimedByWords && has_avx() {
            // SAFETY: the processor has AVX.
            return unsafe { self.write_with_avx(order, all, poll) };
        }
        self.write_by(Words, order, all, poll)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx")]
    fn write_with_avx(self, order: Order, all: Range<u64>, poll: &Poll) -> Result<(), String> {
        self.write_by(Avx, order, all, poll)
    }

    /// Inlined, so that the loop and the stores are compiled for the same processor.
    #[inline(always)]
    fn write_by<S: Store>(
        self,
        store: S,
        order: Order,
        all: Range<u64>,
        poll: &Poll,
    ) -> Result<(), String> {
        match order {
            Order::Single => self.write_each(store, all, poll),
            Order::Claimed | Order::ClaimedByWords => self.claim_each(store, all.end, poll),
            Order::Batches => self.write_batches::<_, false>(store, all, poll),
            Order::BatchesPastCaches => self.write_batches::<_, true>(store, all, poll),
        }
    }

    #[inline(always)]
    fn write_each<S: Store>(self, store: S, all: Range<u64>, poll: &Poll) -> Result<(), String> {
        let mut limit = 0;
        for number in all {
            if number >= limit {
                limit = self.wait_for_room(number, poll)?;
            }
            // SAFETY: the reader has passed the previous packet of the slot.
            unsafe { store.put(self.slot(number), [number; WORDS], number + 1) };
        }
        Ok(())
    }

    #[inline(always)]
    fn claim_each<S: Store>(self, store: S, end: u64, poll: &Poll) -> Result<(), String> {
        let (tail, mut limit) = (&self.lines.tail.0, 0);
        loop {
            let number = tail.load(Ordering::Relaxed);
            if number >= end {
                return Ok(());
            }
            if number >= limit {
                limit = self.wait_for_room(number, poll)?;
            }
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            if tail.compare_exchange(number, number + 1, success, failure).is_ok() {
                // SAFETY: the reader has passed the previous packet of the slot.
                unsafe { store.put(self.slot(number), [number; WORDS], number + 1) };
            }
        }
    }

    #[inline(always)]
    fn write_batches<S: Store, const PAST_CACHES: bool>(
        self,
        store: S,
        all: Range<u64>,
        poll: &Poll,
    ) -> Result<(), String> {
        let mut limit = 0;
        for first in all.clone().step_by(BATCH as usize) {
            let end = all.end.min(first + BATCH);
            if end > limit {
                limit = self.wait_for_room(end - 1, poll)?;
            }
            for number in first + 1..end {
                let (slot, packet) = (self.slot(number), [number; WORDS]);
                // SAFETY: the reader has passed the previous packet of the slot.
                unsafe {
                    if PAST_CACHES {
                        store.put_past_caches(slot, packet, number + 1);
                    } else {
                        store.put(slot, packet, number + 1);
                    }
                }
            }
            if PAST_CACHES {
                store.fence();
            }
            // SAFETY: as above.
            unsafe { store.put(self.slot(first), [first; WORDS], first + 1) };
        }
        Ok(())
    }

    /// Lets the writer write packets below `limit` without a reader.
    pub(crate) fn release(self, limit: u64) {
        self.lines.cursor.0.store(limit - self.count, Ordering::Release);
    }

    /// Waits until this packet may be written. Returns the first number that may not yet. Values
    /// whose address is taken are stored to the stack, so this is a function of its own.
    #[cold]
    #[inline(never)]
    fn wait_for_room(self, number: u64, poll: &Poll) -> Result<u64, String> {
        let mut limit = 0;
        poll.until(|| {
            // Pairs with the release in `read`.
            limit = self.lines.cursor.0.load(Ordering::Acquire) + self.count;
            number < limit
        })?;
        Ok(limit)
    }

    /// Reads the packets with these numbers. The first call starts at 0, each further call where
    /// the last one stopped. Only one process may read.
    pub(crate) fn read(self, all: Range<u64>, poll: &Poll) -> Result<(), String> {
        for number in all {
            let slot = self.slot(number);
            // SAFETY: the slot starts with its stamp, which is aligned.
            let stamp = unsafe { AtomicU64::from_ptr(slot) };
            // Pairs with the release in `Store::put`.
            if stamp.load(Ordering::Acquire) != number + 1 {
                wait_for(stamp, number + 1, poll)?;
            }
            // SAFETY: the stamp was stored after the payload, and the writer waits for the cursor.
            let payload = unsafe { &*slot.add(2).cast::<[u64; WORDS]>() };
            let payload = black_box(payload);
            if payload[0] != number || payload[WORDS - 1] != number {
                return Err(format!("the slot of packet {number} holds another one"));
            }
            if (number + 1).is_multiple_of(CREDIT) {
                self.lines.cursor.0.store(number + 1, Ordering::Release);
            }
        }
        Ok(())
    }

    /// The slot of a packet: as many words as [`Self::SLOT`], aligned to a line.
    #[inline(always)]
    fn slot(self, number: u64) -> *mut u64 {
        let slot = (number & (self.count - 1)) as usize;
        let words = self.lines.lines.as_ptr().cast_mut().cast::<u64>();
        // SAFETY: `count` slots have room in the lines. All of them are cells.
        unsafe { words.add(slot * Self::SLOT) }
    }
}

#[cold]
#[inline(never)]
fn wait_for(stamp: &AtomicU64, value: u64, poll: &Poll) -> Result<(), String> {
    // Pairs with the release in `Store::put`.
    poll.until(|| stamp.load(Ordering::Acquire) == value)
}
