//! Latencies of a ring: the switch of their sampling, and snapshots of their histogram.

use crate::error::OpenError;
use crate::inventory::{ObjectInfo, ObjectKind};
use crate::ring::claim;
use crate::segment::PassiveSegment;
use crate::segment::latency::{BUCKETS, Histogram, end_of_bucket};
use crate::segment::view::RingMemory;
use std::num::NonZeroU32;
use std::time::Duration;

/// The latencies of a ring that its readers measured, as a histogram.
///
/// A latency is the age of a probe when a reader gets there. A probe is published immediately
/// before a packet is filled, so a latency includes what lies in front of it and the wake-up of a
/// reader that slept. It includes the time to fill that packet only for a reader that slept until
/// then, or was behind. Each reader of a probe measures one, and of the consumers of a queue one of
/// them.
///
/// The latencies of a reader that takes only the newest packets are those of the packets that it
/// finds first. What it passes over is not measured.
///
/// A snapshot has all latencies since the ring was made. The difference of two snapshots has those
/// [between them](Self::since).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencySnapshot {
    /// Latencies.
    pub count: u64,
    /// Their sum. It wraps around after 584 years.
    pub sum: Duration,
    /// The largest of them. Of a difference: an upper bound, which is the end of its last bucket.
    pub max: Duration,
    /// Probes that no latency follows from: their publisher has a clock of another time namespace,
    /// or their time lies in the future.
    pub ignored: u64,
    buckets: [u64; BUCKETS],
}

/// A bucket of a [`LatencySnapshot`]: a quarter of a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencyBucket {
    /// The latencies in it are shorter than this, and not shorter than the end of the bucket
    /// before. `None` for the last one, which begins at 51.5 s.
    pub end: Option<Duration>,
    /// Latencies in it.
    pub count: u64,
}

impl Default for LatencySnapshot {
    fn default() -> Self {
        let zero = Duration::ZERO;
        Self { count: 0, sum: zero, max: zero, ignored: 0, buckets: [0; BUCKETS] }
    }
}

impl LatencySnapshot {
    pub(super) fn of(memory: &RingMemory) -> Self {
        let Histogram { ignored, sum, largest, buckets } = memory.latency().histogram();
        let (sum, max) = (Duration::from_nanos(sum), Duration::from_nanos(largest));
        Self { count: total(&buckets), sum, max, ignored, buckets }
    }

    /// The latencies since an earlier snapshot of the same ring. Nothing, if a number has fallen,
    /// because the ring was made anew meanwhile.
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = || self.buckets.iter().zip(&earlier.buckets);
        let fell = self.sum < earlier.sum || self.ignored < earlier.ignored;
        if fell || pairs().any(|(now, before)| now < before) {
            return Self::default();
        }
        let mut buckets = [0; BUCKETS];
        for (bucket, (now, before)) in buckets.iter_mut().zip(pairs()) {
            *bucket = now - before;
        }
        let last = buckets.iter().rposition(|&count| count > 0);
        let bound = last.map_or(Duration::ZERO, |index| end(index).unwrap_or(Duration::MAX));
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let sum = nanoseconds(self.sum).wrapping_sub(nanoseconds(earlier.sum));
        Self {
            count: total(&buckets),
            sum: Duration::from_nanos(sum),
            max: bound.min(self.max),
            ignored: self.ignored.wrapping_sub(earlier.ignored),
            buckets,
        }
    }

    /// The latency that this part of all latencies does not exceed: 0.5 for the median, 0.99 for
    /// the 99th percentile. `None` without latencies.
    ///
    /// It is the end of a bucket, so it is at most a quarter too large, or 64 ns where it is less
    /// than that, and never more than [`max`](Self::max). A part outside of 0 to 1 counts as 0 or
    /// 1.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = (part.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut below = 0_u64;
        let found = self.buckets.iter().position(|&count| {
            below = below.saturating_add(count);
            below >= rank.min(self.count)
        });
        Some(found.and_then(end).unwrap_or(self.max).min(self.max))
    }

    /// The mean latency. `None` without latencies.
    pub fn mean(&self) -> Option<Duration> {
        let sum = u64::try_from(self.sum.as_nanos()).unwrap_or(u64::MAX);
        sum.checked_div(self.count).map(Duration::from_nanos)
    }

    /// All buckets, from the shortest latencies to the longest.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = LatencyBucket> + '_ {
        let counts = self.buckets.iter().enumerate();
        counts.map(|(index, &count)| LatencyBucket { end: end(index), count })
    }
}

fn total(buckets: &[u64]) -> u64 {
    buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

fn end(bucket: usize) -> Option<Duration> {
    end_of_bucket(bucket).map(Duration::from_nanos)
}

impl ObjectInfo {
    /// Switches the sampling of latencies in a ring, topic, inbox, queue, the requests of a service
    /// or the events of a cluster: one probe for about `every` slots of 64 bytes that are
    /// published; `None`: no probes. Returns the setting before. Sampling is off in a new ring, and
    /// stays as it was switched until it is switched again or the ring is removed, also if the
    /// process that switched it dies.
    ///
    /// A publisher finds out when it publishes its next packet, and probes begin with the packet
    /// behind that. Readers need no switch: they measure what they find. The latencies are in
    /// [`RingInspection::latencies`](super::RingInspection::latencies) and
    /// [`EndpointInfo::counters`](super::EndpointInfo::counters).
    ///
    /// ```
    /// use packetring::{Ring, inspect::Inspection};
    /// use std::num::NonZeroU32;
    ///
    /// let name = format!("latency-{}", std::process::id());
    /// let ring = Ring::open(&name)?;
    /// let (mut out, mut numbers) = (ring.publisher::<u64>()?, ring.subscriber::<u64>()?);
    /// let objects = packetring::inventory()?;
    /// let object = objects.iter().find(|object| object.name == name).expect("it is listed");
    ///
    /// assert_eq!(object.sample_latency(NonZeroU32::new(4))?, None);
    /// for number in 0..100 {
    ///     out.send(&number)?;
    ///     assert_eq!(*numbers.recv()?, number);
    /// }
    /// let Inspection::Ring(found) = object.inspect()? else { panic!("{object} is a ring") };
    /// assert!(found.latencies.count > 10 && found.latencies.quantile(0.99).is_some());
    /// assert_eq!(object.sample_latency(None)?, NonZeroU32::new(4));
    /// # drop((out, numbers, ring));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Cost
    ///
    /// The call costs about 25 system calls, and a lock that joins and leaves take, too. While
    /// sampling is on, one of `every` slots holds a probe, and so a full ring holds that much less.
    /// A probe costs its publisher a reading of the clock and a turn through the slow path, and
    /// each reader a reading of the clock and three locked additions. While sampling is off, it
    /// costs nothing.
    ///
    /// # Errors
    ///
    /// [`BadSettings`](OpenError::BadSettings) for an object that is no ring: a board, a directory,
    /// a call area, a socket. [`NotFound`](OpenError::NotFound) if the object was removed or is not
    /// complete, [`OtherVersion`](OpenError::OtherVersion) if it has another layout,
    /// [`Busy`](OpenError::Busy) if another process held its control lock for a second,
    /// [`Foreign`](OpenError::Foreign), [`Corrupt`](OpenError::Corrupt),
    /// [`OtherUser`](OpenError::OtherUser) or [`System`](OpenError::System) if it cannot be opened.
    pub fn sample_latency(
        &self,
        every: Option<NonZeroU32>,
    ) -> Result<Option<NonZeroU32>, OpenError> {
        let no_ring = || OpenError::BadSettings {
            reason: format!(
                "{self} has no latencies; sample those of a ring, topic, inbox, queue, the \
                 requests of a service or the events of a cluster"
            ),
        };
        if self.kind == ObjectKind::Socket {
            return Err(no_ring());
        }
        let name = self.segment_name();
        let segment = PassiveSegment::open(name)?;
        if segment.settings().latency_words() == 0 {
            return Err(no_ring());
        }
        segment.change(name, |memory| claim::switch(memory, every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(counts: &[(usize, u64)], max: u64) -> LatencySnapshot {
        let mut found = LatencySnapshot { max: Duration::from_nanos(max), ..<_>::default() };
        for &(bucket, count) in counts {
            found.buckets[bucket] = count;
        }
        found.count = total(&found.buckets);
        found
    }

    #[test]
    fn a_quantile_is_the_end_of_a_bucket_and_at_most_the_largest() {
        assert_eq!(snapshot(&[], 0).quantile(0.5), None);
        let found = snapshot(&[(0, 50), (4, 49), (BUCKETS - 1, 1)], 60_000_000_000);
        let at = |part| found.quantile(part).unwrap();
        assert_eq!([0.0, 0.5].map(at), [Duration::from_nanos(64); 2]);
        assert_eq!([0.51, 0.99].map(at), [Duration::from_nanos(128); 2]);
        assert_eq!([0.991, 1.0, 7.0].map(at), [Duration::from_secs(60); 3]);
        assert_eq!(snapshot(&[(4, 1)], 117).quantile(0.5), Some(Duration::from_nanos(117)));
    }

    #[test]
    fn a_difference_has_what_came_between() {
        let before = snapshot(&[(0, 5), (80, 1)], 90_000_000);
        let after = snapshot(&[(0, 7), (4, 2), (80, 1)], 90_000_000);
        let between = after.since(&before);
        assert_eq!(between, snapshot(&[(0, 2), (4, 2)], 128));
        assert_eq!(before.since(&after), LatencySnapshot::default(), "another ring");
        assert_eq!(after.since(&LatencySnapshot::default()).count, after.count);
    }

    #[test]
    fn words_of_any_content_are_harmless() {
        let found = LatencySnapshot { buckets: [u64::MAX; BUCKETS], ..snapshot(&[], u64::MAX) };
        let found = LatencySnapshot { count: total(&found.buckets), ..found };
        for part in [f64::NAN, f64::INFINITY, -1.0, 0.5, 1.0] {
            let _ = found.quantile(part);
        }
        let _ = (found.mean(), found.since(&found), found.buckets().count());
    }
}
