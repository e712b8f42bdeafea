//! The pace of liveness checks: they become rarer the longer a wait lasts.
//!
//! ```text
//!  sleep until the next check = a quarter of the time waited, at least the first sleep, which is
//!                               2 to 50 ms, at most 240 ms
//! ```
//!
//! - A death is noticed within the first sleep, or a quarter of the wait. [`LONGEST`] and [`JOINT`]
//!   add up to less than 250 ms.
//! - The first sleep is 2 ms. But an endpoint that waited for its last packet expects the next one
//!   after a similar time. Unless something is known to be under way, its first sleep is twice that
//!   long, at most [`IDLE`]. So a reader of a steady stream is woken by packets only.
//! - The longest sleeps end at multiples of [`LONGEST`] of the monotonic clock. All endpoints of a
//!   machine then wake up together: an idle core leaves its sleep once for all of them, and one
//!   check serves all endpoints of a process ([`JOINT`]).
//!
//! The times of checks are independent of the caller's deadlines: a wait that goes on in a second
//! call keeps its pace.

use super::Deadline;
use crate::sys::machine::monotonic;
use std::time::Duration;

/// First sleep of a wait, while something is known to be under way: of a publisher at its limit, or
/// of a reader behind an open claim.
pub(crate) const PENDING: Duration = Duration::from_millis(2);
/// Longest first sleep of a reader that waits for the next packet. Also the time between two checks
/// of an endpoint that never sleeps.
pub(crate) const IDLE: Duration = Duration::from_millis(50);
/// Longest sleep.
pub(crate) const LONGEST: Duration = Duration::from_millis(240);
/// A long sleep may end without a check if this process checked the same segment so recently.
pub(crate) const JOINT: Duration = Duration::from_millis(8);

/// Returns the time between two checks of a wait that has lasted for `waited`, and whose first
/// sleep was `first`.
fn interval(waited: Duration, first: Duration) -> Duration {
    (waited / 4).max(first).min(LONGEST)
}

/// The time of the first check of a wait, counted from its start, if the wait before it lasted for
/// `last`.
fn first(last: Duration, is_pending: bool) -> Duration {
    if is_pending { PENDING } else { (last * 2).clamp(PENDING, IDLE) }
}

/// The time of the check that follows `interval` after `now`, rounded down for the longest
/// interval. Nanoseconds of the monotonic clock.
fn next_check(now: u64, interval: Duration) -> u64 {
    let at = now.saturating_add(nanos(interval));
    if interval < LONGEST { at } else { at - at % nanos(LONGEST) }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The subject of a wait. A wait for another subject begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// A number that tells the waits of one endpoint apart, such as a position.
    pub(crate) id: u64,
    /// Something is known to be under way, such as an open claim.
    pub(crate) is_pending: bool,
}

/// Schedules the liveness checks of one endpoint while it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The present wait, which may go on in the next call.
    subject: Option<Subject>,
    /// When it began, in nanoseconds of the monotonic clock, and its first sleep.
    since: u64,
    first: Duration,
    check_at: u64,
    /// The length of the last wait that ended, with or without result.
    last: Duration,
}

impl Pace {
    /// The pace of an endpoint that has not waited yet.
    pub(crate) const fn new() -> Self {
        Self { subject: None, since: 0, first: PENDING, check_at: 0, last: Duration::ZERO }
    }

    /// Expects that the first wait lasts as long as one of another endpoint did.
    pub(crate) fn expect(&mut self, last: Duration) {
        if self.subject.is_none() && self.last.is_zero() {
            self.last = last;
        }
    }

    /// How long the last wait lasted that ended.
    pub(crate) fn last(&self) -> Duration {
        self.last
    }

    /// Starts a wait for `subject`, or continues the wait for it.
    pub(crate) fn begin(&mut self, subject: Subject) {
        if self.subject != Some(subject) {
            self.restart(subject, monotonic());
        }
    }

    /// Returns true if a wait for this id began and did not end.
    pub(crate) fn is_under_way(&self, id: u64) -> bool {
        self.subject.is_some_and(|subject| subject.id == id)
    }

    fn restart(&mut self, subject: Subject, now: u64) {
        if let Some(before) = self.subject
            && before.is_pending == subject.is_pending
        {
            self.last = Duration::from_nanos(now.saturating_sub(self.since));
        }
        (self.subject, self.since) = (Some(subject), now);
        self.first = first(self.last, subject.is_pending);
        self.check_at = now.saturating_add(nanos(self.first));
    }

    /// Continues the present wait under another id.
    pub(crate) fn rename(&mut self, id: u64) {
        if let Some(subject) = &mut self.subject {
            subject.id = id;
        }
    }

    /// Ends the present wait: it was successful. Returns false if there is none.
    pub(crate) fn end(&mut self) -> bool {
        let had_begun = self.subject.take().is_some();
        if had_begun {
            self.last = Duration::from_nanos(monotonic().saturating_sub(self.since));
        }
        had_begun
    }

    /// The time until the next check, or until the deadline if that is sooner.
    pub(crate) fn sleep(&self, deadline: Deadline) -> Duration {
        deadline.cut(Duration::from_nanos(self.check_at.saturating_sub(monotonic())))
    }

    /// When the next check is due, in nanoseconds of the monotonic clock.
    pub(crate) fn check_at(&self) -> u64 {
        self.check_at
    }

    /// Schedules the next check that long from now.
    #[cfg(test)]
    pub(crate) fn postpone(&mut self, time: Duration) {
        self.check_at = monotonic().saturating_add(nanos(time));
    }

    /// Returns true if a check is due, and schedules the one after it.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = monotonic();
        let is_due = now >= self.check_at;
        if is_due {
            self.check_at = next_check(now, self.interval(now));
        }
        is_due
    }

    /// Sleeps once, in a wait whose caller looks again after each sleep: that look is its check.
    /// `sleep` sleeps for the time that it gets, at most.
    pub(crate) fn pause<R>(
        &mut self,
        subject: Subject,
        deadline: Deadline,
        sleep: impl FnOnce(Duration) -> R,
    ) -> R {
        self.begin(subject);
        let result = sleep(self.sleep(deadline));
        self.is_due();
        result
    }

    /// Returns true if the wait is so long that one check of this process serves all endpoints of a
    /// segment.
    pub(crate) fn may_share_checks(&self) -> bool {
        self.interval(monotonic()) >= JOINT * 8
    }

    fn interval(&self, now: u64) -> Duration {
        interval(Duration::from_nanos(now.saturating_sub(self.since)), self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A pace whose wait began at time 0 of the monotonic clock.
    fn begun(last: Duration, is_pending: bool) -> Pace {
        let mut pace = Pace { last, ..Pace::new() };
        pace.restart(Subject { id: 0, is_pending }, 0);
        pace
    }

    /// The times of the checks until `end`, if each sleep ends exactly on time.
    fn checks(pace: Pace, end: Duration) -> Vec<u64> {
        let mut checks = vec![pace.check_at];
        while let Some(&now) = checks.last().filter(|&&now| now < nanos(end)) {
            checks.push(next_check(now, pace.interval(now)));
        }
        checks
    }

    #[test]
    fn each_sleep_is_a_quarter_of_the_wait_within_bounds() {
        for (waited, expected) in
            [(0, 2), (8, 2), (9, 2), (40, 10), (400, 100), (960, 240), (1_000_000, 240)]
        {
            assert_eq!(interval(ms(waited), PENDING).as_millis(), expected, "after {waited} ms");
            let steady = interval(ms(waited), IDLE).as_millis();
            assert_eq!(steady, expected.max(50), "after {waited} ms, in a steady stream");
        }
        assert!(LONGEST + JOINT < ms(250));
    }

    #[test]
    fn a_death_at_any_time_is_noticed_within_a_quarter_of_the_wait() {
        for is_pending in [false, true] {
            let checks = checks(begun(Duration::ZERO, is_pending), ms(20_000));
            assert_eq!(checks[0], 2 * MILLI);
            for pair in checks.windows(2) {
                // A long sleep may rely on a check that another endpoint made before it.
                let slack = if pair[1] - pair[0] >= nanos(JOINT) * 8 { nanos(JOINT) } else { 0 };
                let delay = pair[1] - pair[0] + slack;
                let bound = (pair[1] / 4).clamp(2 * MILLI, 250 * MILLI);
                assert!(delay <= bound, "{delay} ns, noticed after {} ns", pair[1]);
            }
            assert!(checks.len() < 120, "{} checks in 20 s", checks.len());
        }
    }

    #[test]
    fn the_longest_sleeps_end_together() {
        for start in [0, 1, 17 * MILLI, 239 * MILLI] {
            let at = next_check(start, LONGEST);
            assert_eq!(at, 240 * MILLI, "from {start}");
            assert_eq!(next_check(at + 50_000, LONGEST), 480 * MILLI);
        }
    }

    #[test]
    fn a_reader_of_a_steady_stream_makes_no_checks_between_its_packets() {
        for (last, expected) in [(0, 2), (1, 2), (10, 20), (25, 50), (400, 50)] {
            assert_eq!(first(ms(last), false), ms(expected), "after a wait of {last} ms");
            assert_eq!(first(ms(last), true), PENDING);
        }
        let mut pace = Pace::new();
        pace.expect(ms(10));
        pace.restart(Subject { id: 0, is_pending: false }, 0);
        assert_eq!(pace.check_at, 20 * MILLI);
        assert!(pace.end());
        assert!(pace.last() > ms(20), "since the start of the clock");
        assert!(!pace.end(), "no wait is left");
    }

    #[test]
    fn a_wait_for_the_same_subject_goes_on_and_another_one_begins() {
        let (mut pace, subject) = (Pace::new(), Subject { id: 7, is_pending: false });
        pace.restart(subject, 0);
        let since = pace.since;
        pace.begin(subject);
        assert_eq!(pace.since, since);
        assert!(pace.is_due(), "the first check is 2 ms after time 0 of the clock");
        assert!(!pace.is_due(), "due twice");
        assert!(pace.may_share_checks());
        pace.begin(Subject { is_pending: true, ..subject });
        assert!(pace.since > since);
        assert!(!pace.may_share_checks());
        let since = pace.since;
        pace.rename(8);
        assert!(pace.is_under_way(8));
        pace.begin(Subject { id: 8, is_pending: true });
        assert_eq!(pace.since, since);
        pace.end();
        assert!(!pace.is_under_way(8));
        pace.begin(Subject { id: 8, is_pending: true });
        assert!(pace.since > since);
    }
}
