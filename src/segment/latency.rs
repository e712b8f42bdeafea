//! Latencies of a ring, as its probes measure them (`ring::probe`): a histogram of all readers, and
//! three words for each subscriber entry.
//!
//! ```text
//!  word  0        1     2         3 …       122    123 + 3 × entry …
//!        ┌────────┬─────┬─────────┬─────────────┬──────────────────────┐
//!        │ ignored│ sum │ largest │ 120 buckets │ count, sum, largest  │ …
//!        └────────┴─────┴─────────┴─────────────┴──────────────────────┘
//! ```
//!
//! - A bucket counts the latencies of a quarter of a power of two: from 64 ns to 51 s. The first
//!   bucket has all below, the last one all above.
//! - Every reader adds to the first 123 words, by locked additions. The words of an entry are
//!   written by its owner alone, and begin anew with another owner.
//! - The words lie side by side: only a reader that passes a probe writes to them, and a ring has
//!   no probes unless sampling was switched on.
//! - They order nothing, and no decision depends on them. Sums wrap around.
//! - A directory, a board and a call area have none of these words: each access does nothing.

use crate::sync::{AtomicU64, Ordering};

/// Buckets of a histogram.
pub(crate) const BUCKETS: usize = 120;

/// The first bucket ends at this power of two, in nanoseconds.
const FIRST: u32 = 6;
/// Each power of two above has so many buckets, as a power of two.
const PARTS: u32 = 2;

const IGNORED: usize = 0;
const SUM: usize = 1;
const LARGEST: usize = 2;
const HISTOGRAM: usize = 3;
const READERS: usize = HISTOGRAM + BUCKETS;
/// Words of a subscriber entry.
const EACH: usize = 3;

/// The number of words in a segment with so many subscriber entries.
#[cfg(not(loom))]
pub(crate) const fn words(subscribers: usize) -> usize {
    READERS + EACH * subscribers
}

/// The bucket of a latency in nanoseconds.
fn bucket(latency: u64) -> usize {
    let power = latency.checked_ilog2().unwrap_or(0);
    if power < FIRST {
        return 0;
    }
    let part = latency >> (power - PARTS) & ((1 << PARTS) - 1);
    let index = 1 + (u64::from(power - FIRST) << PARTS) + part;
    (index as usize).min(BUCKETS - 1)
}

/// The end of a bucket in nanoseconds, which it does not include. `None` for the last one, which
/// has no end.
pub(crate) fn end_of_bucket(index: usize) -> Option<u64> {
    if index + 1 >= BUCKETS {
        return None;
    }
    let (power, part) = (FIRST + (index >> PARTS) as u32, index as u64 & ((1 << PARTS) - 1));
    Some((1 << power) + (part << (power - PARTS)))
}

/// The latencies of all readers of a ring since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// Probes whose time could not be compared with the reader's clock.
    pub(crate) ignored: u64,
    /// Nanoseconds.
    pub(crate) sum: u64,
    /// Nanoseconds.
    pub(crate) largest: u64,
    pub(crate) buckets: [u64; BUCKETS],
}

/// The latencies of one reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReaderLatency {
    pub(crate) count: u64,
    /// Nanoseconds.
    pub(crate) sum: u64,
    /// Nanoseconds.
    pub(crate) largest: u64,
}

/// The words of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LatencyWords<'a>(&'a [AtomicU64]);

impl<'a> LatencyWords<'a> {
    /// The words at this address: [`words`] of them, or none.
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Records a latency of the owner of a subscriber entry, in nanoseconds.
    #[cfg(not(loom))]
    pub(crate) fn record(self, entry: usize, latency: u64) {
        let [Some(sum), Some(largest), Some(count)] =
            [SUM, LARGEST, HISTOGRAM + bucket(latency)].map(|index| self.0.get(index))
        else {
            return;
        };
        sum.fetch_add(latency, Ordering::Relaxed);
        largest.fetch_max(latency, Ordering::Relaxed);
        count.fetch_add(1, Ordering::Relaxed);
        let mut own = self.of_reader(entry);
        own.count = own.count.wrapping_add(1);
        own.sum = own.sum.wrapping_add(latency);
        own.largest = own.largest.max(latency);
        self.store(entry, own);
    }

    /// Counts a probe whose time cannot be compared with the reader's clock.
    #[cfg(not(loom))]
    pub(crate) fn ignore(self) {
        if let Some(ignored) = self.0.get(IGNORED) {
            ignored.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins the words of an entry anew, for another owner.
    pub(crate) fn begin(self, entry: usize) {
        self.store(entry, ReaderLatency::default());
    }

    /// Moves the words of an entry to another one, which has the same owner.
    #[cfg(not(loom))]
    pub(crate) fn move_to(self, from: usize, to: usize) {
        self.store(to, self.of_reader(from));
        self.begin(from);
    }

    /// The latencies of the owner of a subscriber entry.
    #[cfg(not(loom))]
    pub(crate) fn of_reader(self, entry: usize) -> ReaderLatency {
        let mut loaded = self.entry(entry).iter().map(|word| word.load(Ordering::Relaxed));
        let mut next = || loaded.next().unwrap_or(0);
        ReaderLatency { count: next(), sum: next(), largest: next() }
    }

    /// The latencies of all readers.
    pub(crate) fn histogram(self) -> Histogram {
        let load = |index: usize| self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed));
        // Before the largest, which is stored first.
        let buckets = std::array::from_fn(|index| load(HISTOGRAM + index));
        let (ignored, sum, largest) = (load(IGNORED), load(SUM), load(LARGEST));
        Histogram { ignored, sum, largest, buckets }
    }

    fn store(self, entry: usize, ReaderLatency { count, sum, largest }: ReaderLatency) {
        for (word, value) in self.entry(entry).iter().zip([count, sum, largest]) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn entry(self, entry: usize) -> &'a [AtomicU64] {
        let start = READERS.saturating_add(entry.saturating_mul(EACH));
        self.0.get(start..start.saturating_add(EACH)).unwrap_or_default()
    }
}

/// The time of a probe.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbeTime {
    /// Nanoseconds of the monotonic clock.
    pub(crate) nanoseconds: u64,
    /// The time namespace of the process, which shifts this clock.
    pub(crate) namespace: u64,
}

#[cfg(not(loom))]
impl ProbeTime {
    /// The time now.
    pub(crate) fn now() -> Self {
        use crate::sys::machine;
        Self { nanoseconds: machine::monotonic(), namespace: machine::time_namespace() }
    }

    /// Nanoseconds since an earlier time. `None` if it is a later one, or of another clock.
    pub(crate) fn since(self, earlier: Self) -> Option<u64> {
        let is_one_clock = self.namespace == earlier.namespace;
        self.nanoseconds.checked_sub(earlier.nanoseconds).filter(|_| is_one_clock)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blank(subscribers: usize) -> Vec<AtomicU64> {
        (0..words(subscribers)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn buckets_are_quarters_of_powers_of_two() {
        assert_eq!([0, 63, 64, 79, 80, 127, 128].map(bucket), [0, 0, 1, 1, 2, 4, 5]);
        assert_eq!([0, 1, 2, 4].map(end_of_bucket), [Some(64), Some(80), Some(96), Some(128)]);
        assert_eq!([u64::MAX, 1 << 36, 3 << 34].map(bucket), [BUCKETS - 1; 3]);
        assert_eq!(bucket((3 << 34) - 1), BUCKETS - 2);
        assert_eq!(end_of_bucket(BUCKETS - 1), None);
        assert_eq!(end_of_bucket(BUCKETS - 2), Some(3 << 34));
    }

    proptest! {
        #[test]
        fn a_latency_lies_in_its_bucket(latency: u64, shift in 0u32..64) {
            let latency = latency >> shift;
            let index = bucket(latency);
            prop_assert!(end_of_bucket(index).is_none_or(|end| latency < end));
            prop_assert!(index == 0 || end_of_bucket(index - 1).is_some_and(|end| end <= latency));
        }
    }

    #[test]
    fn a_recorded_latency_is_counted_for_the_ring_and_its_reader() {
        let words = blank(3);
        let latency = LatencyWords::new(&words);
        for (entry, nanoseconds) in [(0, 100), (2, 5_000), (2, 300)] {
            latency.record(entry, nanoseconds);
        }
        latency.ignore();
        let found = latency.histogram();
        assert_eq!((found.ignored, found.sum, found.largest), (1, 5_400, 5_000));
        assert_eq!(found.buckets.iter().sum::<u64>(), 3);
        for nanoseconds in [100, 300, 5_000] {
            assert_eq!(found.buckets[bucket(nanoseconds)], 1, "{nanoseconds} ns");
        }
        let third = ReaderLatency { count: 2, sum: 5_300, largest: 5_000 };
        assert_eq!(latency.of_reader(2), third);
        assert_eq!(latency.of_reader(1), ReaderLatency::default());
        latency.move_to(2, 1);
        assert_eq!([1, 2].map(|entry| latency.of_reader(entry)), [third, <_>::default()]);
        latency.begin(1);
        assert_eq!(latency.of_reader(1), ReaderLatency::default());
        assert_eq!(latency.histogram(), found, "the owner of an entry changes no histogram");
    }

    #[test]
    fn words_of_any_content_and_number_are_harmless() {
        for count in [0, 1, 2, HISTOGRAM, READERS, READERS + 2] {
            let words: Vec<_> = (0..count).map(|_| AtomicU64::new(u64::MAX)).collect();
            let latency = LatencyWords::new(&words);
            for nanoseconds in [0, 1, u64::MAX] {
                latency.record(0, nanoseconds);
                latency.record(usize::MAX, nanoseconds);
            }
            latency.ignore();
            latency.begin(usize::MAX);
            latency.histogram();
        }
    }

    #[test]
    fn times_of_another_clock_or_of_the_future_are_no_latency() {
        let time = |nanoseconds, namespace| ProbeTime { nanoseconds, namespace };
        assert_eq!(time(10, 7).since(time(4, 7)), Some(6));
        assert_eq!(time(10, 7).since(time(11, 7)), None);
        assert_eq!(time(10, 7).since(time(4, 8)), None);
        assert_eq!(ProbeTime::now().namespace, ProbeTime::now().namespace);
    }
}
