//! The floor of large packets: one process copies memory in, the other reads it in place.
//!
//! ```text
//!  cursor │ stamp, pad, bytes … │ stamp, pad, bytes … │ …
//! ```
//!
//! As in the scenario, the writer copies the bytes from its private memory, and the reader reads
//! one byte of each line. The shared memory is as large as the ring. A stamp with a cache line of
//! its own precedes each copy, so that each line of the copy is written as a whole.
//!
//! [`Copying`] lists the ways to copy. Which one is faster depends on the machine and its phase, so
//! the scenarios take both as floors.

use crate::harness::{Outcome, Run, Sample, Scenario, Side, Unit, check, millions};
use crate::shared::{Plain, Poll, Shared};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Most bytes that a full run moves.
const BYTES: u64 = 1 << 30;
/// Most packets that a full run moves.
const PACKETS: u64 = 4_000_000;
/// Size of a cache line.
const LINE: usize = 64;
/// Size of the largest ring.
const MOST: usize = 8 << 20;

/// Capacity of a ring for packets of this size: the default, or room for about eight.
pub(crate) fn capacity_for(size: usize) -> usize {
    (8 * size).next_power_of_two().clamp(1 << 20, MOST)
}

/// The bytes that are sent.
pub(crate) fn source(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index / LINE * 31 + 7) as u8).collect()
}

/// The sum that [`touch`] returns for the bytes of [`source`].
pub(crate) fn sum_of(size: usize) -> u64 {
    touch(&source(size))
}

/// Reads one byte of each cache line and returns their sum.
#[inline]
pub(crate) fn touch(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(LINE).map(|byte| u64::from(*byte)).sum()
}

#[repr(align(128))]
struct Word(AtomicU64);

#[repr(C, align(64))]
struct Line(UnsafeCell<[u8; LINE]>);

/// The reader's cursor and the space for copies.
#[repr(C)]
struct Bulk {
    cursor: Word,
    lines: [Line; MOST / LINE],
}

// SAFETY: the only writer writes bytes after it acquires a cursor beyond the previous copy in that
// place, and before it releases the stamp. The only reader reads them after it acquires the stamp
// and before it releases the cursor.
unsafe impl Sync for Bulk {}
// SAFETY: all fields are words and bytes, for which zeros are valid; the alignment is 128; all
// stores go to atomics or cells.
unsafe impl Plain for Bulk {}

/// The memory, divided into places for copies of one size.
struct Places<'a> {
    bulk: &'a Bulk,
    size: usize,
    /// Distance from one place to the next, in lines.
    stride: usize,
    count: u64,
}

impl<'a> Places<'a> {
    fn new(bulk: &'a Bulk, size: usize) -> Self {
        let stride = 1 + size.div_ceil(LINE);
        Self { bulk, size, stride, count: (capacity_for(size) / LINE / stride) as u64 }
    }

    /// Copies the bytes to these positions. Each call starts where the last one stopped.
    fn write(&self, copying: Copying, positions: Range<u64>, poll: &Poll) -> Result<(), String> {
        let source = source(self.size);
        let mut limit = 0;
        for position in positions {
            if position >= limit {
                poll.until(|| {
                    // Pairs with the release in `read`.
                    limit = self.bulk.cursor.0.load(Ordering::Acquire) + self.count;
                    position < limit
                })?;
            }
            let (stamp, bytes) = self.place(position);
            // SAFETY: the place has room for `size` bytes, is aligned to a line, and the reader has
            // passed it.
            unsafe { copying.copy(black_box(&source), bytes) };
            // Pairs with the acquire in `read`.
            stamp.store(position + 1, Ordering::Release);
        }
        Ok(())
    }

    /// Reads the copies at these positions in place.
    fn read(&self, positions: Range<u64>, poll: &Poll) -> Result<(), String> {
        let expected = sum_of(self.size);
        let credit = (self.count / 4).clamp(1, 64);
        for position in positions {
            let (stamp, bytes) = self.place(position);
            poll.until(|| stamp.load(Ordering::Acquire) == position + 1)?;
            // SAFETY: the stamp was stored after the bytes, and the writer waits for the cursor.
            let bytes = unsafe { std::slice::from_raw_parts(bytes, self.size) };
            check(touch(black_box(bytes)) == expected, position)?;
            if (position + 1).is_multiple_of(credit) {
                self.bulk.cursor.0.store(position + 1, Ordering::Release);
            }
        }
        Ok(())
    }

    fn place(&self, position: u64) -> (&'a AtomicU64, *mut u8) {
        let first = (position % self.count) as usize * self.stride;
        let lines = &self.bulk.lines[first..first + self.stride];
        let start = lines.as_ptr().cast_mut().cast::<u8>();
        // SAFETY: `start` is aligned to a line. The first bytes of that line are only used as a
        // stamp; the lines after it are in the same slice. All of them are cells.
        unsafe { (AtomicU64::from_ptr(start.cast()), start.add(LINE)) }
    }
}

/// A way to copy bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copying {
    /// By the system's `memcpy`.
    Memcpy,
    /// By non-temporal stores and a fence. They need no line from the reader's cache.
    #[cfg(target_arch = "x86_64")]
    PastCaches,
}

impl Copying {
    /// The ways that this processor has.
    pub(crate) const ALL: &[Self] = &[
        Self::Memcpy,
        #[cfg(target_arch = "x86_64")]
        Self::PastCaches,
    ];

    /// # Safety
    ///
    /// `to` is aligned to 16, has room for the bytes, and is not read or written by anything else.
    unsafe fn copy(self, from: &[u8], to: *mut u8) {
        match self {
            // SAFETY: the caller's promise.
            Self::Memcpy => unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise.
            Self::PastCaches => unsafe { copy_past_caches(from, to) },
        }
    }
}

/// # Safety
///
/// As for [`Copying::copy`].
#[cfg(target_arch = "x86_64")]
unsafe fn copy_past_caches(from: &[u8], to: *mut u8) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    let (pieces, rest) = from.as_chunks::<16>();
    for (index, piece) in pieces.iter().enumerate() {
        // SAFETY: the caller's promise; each piece lies in it, and is aligned as `to` is.
        unsafe {
            _mm_stream_si128(
                to.cast::<__m128i>().add(index),
                _mm_loadu_si128(piece.as_ptr().cast()),
            )
        };
    }
    // SAFETY: the caller's promise.
    unsafe { to.add(16 * pieces.len()).copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
    // SAFETY: every processor of this architecture has it. It keeps the stamp, which comes next,
    // from overtaking the non-temporal stores.
    unsafe { _mm_sfence() };
}

/// Copies of one size from one process to the other.
pub(crate) struct Copies {
    pub(crate) copying: Copying,
    pub(crate) size: usize,
    /// Packets or bytes per second.
    pub(crate) unit: Unit,
}

impl Copies {
    /// Packets of a run: two laps of warm-up, and the packets that are measured.
    pub(crate) fn packets(&self, run: &Run) -> (u64, u64) {
        let laps = 2 * (capacity_for(self.size) / self.size) as u64;
        (laps.min(1 << 15), run.count((BYTES / self.size as u64).min(PACKETS)))
    }

    /// The value in the unit, for this many packets since `started`.
    pub(crate) fn value(&self, packets: u64, started: Instant) -> f64 {
        let millions = millions(packets, started.elapsed());
        match self.unit {
            Unit::GigabytesPerSecond => millions * self.size as f64 / 1e3,
            _ => millions,
        }
    }
}

impl Scenario for Copies {
    fn name(&self) -> String {
        let how = if self.copying == Copying::Memcpy { "memcpy" } else { "copy_past_caches" };
        format!("floor_{how}_{}", self.size)
    }

    fn about(&self) -> String {
        let how = if self.copying == Copying::Memcpy { "memcpy" } else { "non-temporal stores" };
        format!("{} bytes, copied in by {how}, each line read by the other process", self.size)
    }

    fn payload(&self) -> usize {
        self.size
    }

    fn unit(&self) -> Unit {
        self.unit
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let _pinned = run.pin_before_joining()?;
        let bulk: Shared<Bulk> = Shared::create(&run.object())?;
        let partner = run.start(0)?;
        let _pinned = run.pin_after_joining()?;
        let (warm_up, packets) = self.packets(run);
        let places = Places::new(&bulk, self.size);
        places.read(0..warm_up, &run.poll())?;
        let started = Instant::now();
        places.read(warm_up..warm_up + packets, &run.poll())?;
        let value = self.value(packets, started);
        partner.finish()?;
        Ok(Sample::of(value))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        let _pinned = side.pin_before_joining()?;
        let bulk: Shared<Bulk> = Shared::open(&side.run.object())?;
        side.ready()?;
        let _pinned = side.pin_after_joining()?;
        let (warm_up, packets) = self.packets(&side.run);
        Places::new(&bulk, self.size).write(self.copying, 0..warm_up + packets, &side.poll())?;
        Ok(())
    }
}
