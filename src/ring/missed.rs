//! How many packets a subscriber lost to eviction.
//!
//! An evictor adds to `evictions_begun`, moves the cursor, and adds to `evictions_counted`. The
//! two agree unless an evictor is between its two additions, or died there: so the subscriber
//! knows whether the number it reports is exact.
//!
//! An account belongs to one stay at an entry. What evictors of an earlier stay count late is not
//! this one's, unless it is a durable subscriber's successor.

use crate::segment::layout::SubscriberDetails;
use crate::sync::Ordering;

/// How many packets a subscriber lost.
///
/// A publisher that is preempted while it evicts counts late: what one report was short of is in
/// a later one. So over all reports the sum is right, or too small by what a publisher that died
/// while it was evicting could not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Missed {
    /// The number of packets. If it is exact, never 0.
    pub packets: u64,
    /// Whether there were exactly so many. Otherwise there were at least so many, perhaps none: a
    /// publisher died, or was stopped, while it was evicting.
    pub exact: bool,
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.packets == 0 {
            return f.write_str("packets that are not counted yet, if any");
        }
        let least = if self.exact { "" } else { "at least " };
        let plural = if self.packets == 1 { "" } else { "s" };
        write!(f, "{least}{} packet{plural}", self.packets)
    }
}

/// What a subscriber was told so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossCounter {
    /// Evictions reported.
    reported: u64,
    /// Packets of evictions begun that are given up: perhaps they are never counted.
    orphaned: u64,
    /// Of those, how many are an earlier stay's, which is not told of here.
    ahead: u64,
}

impl LossCounter {
    /// The account of a subscriber that just sat down, while nobody can evict it: all that was
    /// begun before is an earlier stay's.
    pub(crate) fn open(details: &SubscriberDetails) -> Self {
        let (reported, open) = evictions(details);
        Self { reported, orphaned: open, ahead: open }
    }

    /// The account of a durable subscriber's successor: what its predecessor was not told of is
    /// its own.
    pub(crate) fn succeed(details: &SubscriberDetails) -> Self {
        let (_, orphaned) = evictions(details);
        let reported = details.durable.evictions_reported();
        Self { reported, orphaned, ahead: 0 }
    }

    /// Remembers, for a successor, what the user was told of.
    pub(crate) fn record_reported(&self, details: &SubscriberDetails) {
        details.durable.set_evictions_reported(self.reported);
    }

    /// What evictors counted and nobody was told of: because they counted it only after the move
    /// of the cursor had been reported, or while a durable subscriber was gone.
    pub(crate) fn late(&mut self, details: &SubscriberDetails) -> Option<Missed> {
        let (counted, open) = evictions(details);
        let late = self.unreported(counted, open);
        self.reported = counted;
        (late > 0).then_some(Missed { packets: late, exact: true })
    }

    /// How many packets were evicted since the last report. The cursor was found moved.
    pub(crate) fn missed(&mut self, details: &SubscriberDetails) -> Missed {
        let backoff = crossbeam_utils::Backoff::new();
        loop {
            let (counted, open) = evictions(details);
            let exact = open == self.orphaned;
            // An evictor that lives adds what is missing within nanoseconds, unless it was
            // preempted between its two additions.
            if !exact && !backoff.is_completed() && !cfg!(loom) {
                backoff.snooze();
                continue;
            }
            // Never ahead of the count: whether what is counted next was told of already could
            // not be known while another evictor has begun. And the cursor may have been moved
            // over void packets alone.
            let packets = self.unreported(counted, open);
            self.orphaned = open;
            self.reported = counted;
            return Missed { packets, exact };
        }
    }

    /// How many counted packets are to be reported: those that an earlier stay lost are not.
    fn unreported(&mut self, counted: u64, open: u64) -> u64 {
        let mut new = counted.wrapping_sub(self.reported);
        if (new as i64) < 0 {
            new = 0;
        }
        if open < self.orphaned {
            new -= self.ahead.min(new);
            self.orphaned = open;
            self.ahead = self.ahead.min(open);
        }
        new
    }
}

/// Packets whose eviction is counted, and those whose eviction is begun and not counted.
fn evictions(details: &SubscriberDetails) -> (u64, u64) {
    // Pairs with the release in `evict`.
    let counted = details.evictions_counted.load(Ordering::Acquire);
    let begun = details.evictions_begun.load(Ordering::Relaxed);
    (counted, begun.wrapping_sub(counted))
}
