//! How large pieces of a packet are copied into a slot: through the caches, or past them.
//!
//! A copy through the caches first fetches each line from the cache of the reader that read it a
//! lap ago. A copy past the caches (non-temporal stores) fetches nothing, but the reader then
//! gets each line from memory. Which one is faster depends on how far the two cores are apart, on
//! the caches and on the ring, and can change while a program runs. So a publisher tries the
//! other way for two laps in 64, and keeps what took less time. The second lap counts: the first
//! one finds the lines where the usual way left them.
//!
//! Non-temporal stores are not ordered as others are:
//!
//! - A fence behind them keeps them in front of the stamp: here, after each piece.
//! - A fence in front of them keeps them behind the publisher's limit, which an observer compares:
//!   [`fence_copies`](crate::sync::fence_copies), where the limit is stored.
//! - Loads are never overtaken by them, so a slot is not written before the cursor that freed it
//!   was read.

use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// Bytes of a piece from which on it may be copied past the caches.
pub(crate) const LARGE: usize = 1024;
/// A trial of the other way begins once in so many laps.
const LAPS: u32 = 64;
/// Two laps of the other way, and two of the usual one.
const LAPS_OF_TRIAL: u32 = 4;
/// The first trial comes after so many laps. The first lap of a ring is slow: its pages are new.
const FIRST_LAPS: u32 = 4;

/// A way to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Copying {
    #[default]
    ThroughCaches,
    PastCaches,
}

impl Copying {
    fn other(self) -> Self {
        match self {
            Self::ThroughCaches => Self::PastCaches,
            Self::PastCaches => Self::ThroughCaches,
        }
    }

    /// Copies `len` bytes, short pieces always through the caches.
    ///
    /// # Safety
    ///
    /// `from` is valid for reads and `to` for writes of `len` bytes. They do not overlap, and
    /// nothing else writes to them or reads `to` during the call.
    #[inline(always)]
    pub(super) unsafe fn copy(self, from: NonNull<u8>, to: NonNull<u8>, len: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if len >= LARGE && self == Self::PastCaches {
            // SAFETY: the caller's promise.
            return unsafe { copy_past_caches(from, to, len) };
        }
        // SAFETY: the caller's promise.
        unsafe { to.copy_from_nonoverlapping(from, len) };
    }
}

/// Copies whole lines by non-temporal stores, and what is in front of them and behind them through
/// the caches.
///
/// # Safety
///
/// As for [`Copying::copy`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(never)]
unsafe fn copy_past_caches(from: NonNull<u8>, to: NonNull<u8>, len: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    const LINE: usize = 64;
    let front = to.as_ptr().align_offset(LINE).min(len);
    let lines = (len - front) / LINE;
    let end = front + lines * LINE;
    // SAFETY: `front <= end <= len`, so all of it lies within what the caller promised.
    unsafe {
        to.copy_from_nonoverlapping(from, front);
        to.add(end).copy_from_nonoverlapping(from.add(end), len - end);
    }
    for line in 0..lines {
        let at = front + line * LINE;
        // SAFETY: the 64 bytes from `at` on lie within `len`, and `to` is aligned to a line there.
        // SSE2 is part of the architecture. The loads come before the stores.
        unsafe {
            let from = from.add(at).as_ptr().cast::<__m128i>();
            let to = to.add(at).as_ptr().cast::<__m128i>();
            let words = [0, 1, 2, 3].map(|word| _mm_loadu_si128(from.add(word)));
            for (index, word) in words.into_iter().enumerate() {
                _mm_stream_si128(to.add(index), word);
            }
        }
    }
    crate::sync::fence_copies();
}

/// The way that a publisher copies large pieces, by how long its laps took.
#[derive(Debug)]
pub(crate) struct CopyChoice {
    way: Copying,
    /// The lap under way, and when it began.
    lap: Option<(u64, Instant)>,
    /// Laps since the last trial.
    laps: u32,
    /// The lap before the trial, and the trial.
    before: Duration,
    trial: Duration,
}

impl Default for CopyChoice {
    fn default() -> Self {
        Self {
            way: Copying::default(),
            lap: None,
            laps: LAPS - FIRST_LAPS,
            before: Duration::ZERO,
            trial: Duration::ZERO,
        }
    }
}

impl CopyChoice {
    /// The way for the next piece.
    #[inline]
    pub(crate) fn way(&self) -> Copying {
        self.way
    }

    /// Uses this way, as long as no large packet is copied.
    #[cfg(test)]
    pub(crate) fn begin_with(&mut self, way: Copying) {
        self.way = way;
    }

    /// Chooses the way to copy a packet that was claimed at a position, if it is large.
    #[inline(always)]
    pub(crate) fn choose(&mut self, len: usize, position: u64, capacity: u64) {
        if len >= LARGE {
            self.enter(position / capacity);
        }
    }

    /// Tells that a large packet is about to be written in this lap of the ring.
    #[cold]
    #[inline(never)]
    fn enter(&mut self, lap: u64) {
        if cfg!(not(target_arch = "x86_64")) || self.lap.is_some_and(|(now, _)| now == lap) {
            return;
        }
        let now = Instant::now();
        if let Some((last, since)) = self.lap.replace((lap, now)) {
            if lap == last + 1 {
                self.end_lap(now - since);
            } else {
                // Small packets filled laps in between: begin anew, and with the usual way.
                self.end_trial();
            }
        }
    }

    /// A whole lap took this time.
    fn end_lap(&mut self, time: Duration) {
        self.laps += 1;
        match self.laps {
            LAPS => {
                self.before = time;
                self.way = self.way.other();
            }
            _ if self.laps == LAPS + 2 => {
                self.trial = time;
                self.way = self.way.other();
            }
            _ if self.laps == LAPS + LAPS_OF_TRIAL => {
                // Faster by an eighth than both laps beside it. A publisher that waits for its
                // work has laps of any length, and then both ways are good enough.
                if self.trial < self.before.min(time) / 8 * 7 {
                    self.way = self.way.other();
                }
                self.laps = LAPS_OF_TRIAL;
            }
            _ => {}
        }
    }

    /// Ends a trial that has no result.
    fn end_trial(&mut self) {
        if (LAPS..LAPS + 2).contains(&self.laps) {
            self.way = self.way.other();
        }
        self.laps = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_copy_each_byte_and_no_other() {
        let source: Vec<u8> = (0..6000_u32).map(|at| (at % 251) as u8 + 1).collect();
        for way in [Copying::ThroughCaches, Copying::PastCaches] {
            for (skip, at, len) in
                [(0, 0, 0), (1, 3, LARGE - 1), (0, 16, LARGE), (5, 63, 2000), (7, 64, 4096)]
            {
                let mut target = vec![0_u8; 6000];
                let from = NonNull::from(&source[skip..]).cast();
                let to = NonNull::from(&mut target[at..]).cast();
                // SAFETY: both have room for `len` bytes, and are two lists.
                unsafe { way.copy(from, to, len) };
                assert_eq!(target[at..at + len], source[skip..skip + len], "{way:?} {at} {len}");
                let is_rest_empty = target[..at].iter().chain(&target[at + len..]).all(|&b| b == 0);
                assert!(is_rest_empty, "{way:?} {at} {len}");
            }
        }
    }

    /// Ends so many laps that take the time that `of` says.
    fn run(choice: &mut CopyChoice, laps: u32, of: impl Fn(Copying) -> u64) {
        for _ in 0..laps {
            let time = of(choice.way());
            choice.end_lap(Duration::from_nanos(time));
        }
    }

    #[test]
    fn the_faster_way_is_kept_and_tried_again() {
        let mut choice = CopyChoice::default();
        let past_is_faster = |way| if way == Copying::PastCaches { 100 } else { 200 };
        run(&mut choice, FIRST_LAPS - 1, past_is_faster);
        assert_eq!(choice.way(), Copying::ThroughCaches);
        run(&mut choice, 1, past_is_faster);
        assert_eq!(choice.way(), Copying::PastCaches, "a trial");
        run(&mut choice, 2, past_is_faster);
        assert_eq!(choice.way(), Copying::ThroughCaches, "the laps beside it");
        run(&mut choice, 2, past_is_faster);
        assert_eq!(choice.way(), Copying::PastCaches);
        let past_is_slower = |way| if way == Copying::PastCaches { 200 } else { 100 };
        run(&mut choice, LAPS, past_is_slower);
        assert_eq!(choice.way(), Copying::ThroughCaches);
    }

    #[test]
    fn equal_ways_and_one_slow_lap_change_nothing() {
        let mut choice = CopyChoice::default();
        run(&mut choice, FIRST_LAPS + LAPS_OF_TRIAL, |_| 100);
        for round in 0..4 {
            run(&mut choice, LAPS, |_| 100 + round);
            assert_eq!(choice.way(), Copying::ThroughCaches);
        }
        let mut choice = CopyChoice::default();
        run(&mut choice, FIRST_LAPS - 1, |_| 100);
        choice.end_lap(Duration::from_nanos(900));
        run(&mut choice, LAPS_OF_TRIAL, |_| 100);
        assert_eq!(choice.way(), Copying::ThroughCaches);
    }

    #[test]
    fn laps_of_small_packets_end_a_trial() {
        let mut choice = CopyChoice::default();
        for lap in 0..=u64::from(FIRST_LAPS) {
            choice.enter(lap);
        }
        let trial =
            if cfg!(target_arch = "x86_64") { Copying::PastCaches } else { Copying::ThroughCaches };
        assert_eq!(choice.way(), trial);
        choice.enter(1000);
        assert_eq!(choice.way(), Copying::ThroughCaches);
    }
}
