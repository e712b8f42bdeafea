//! The reader's account of a stream: the next expected record, losses, and the time.
//!
//! The clock starts when the first record after the warm-up has been read, and stops when the last
//! record has. So a run reads the clock twice. If records may be lost, the time is divided by the
//! number of records that were read.

use crate::record::TORN;
use crate::transport::Failure;
use std::time::{Duration, Instant};

/// Checks and times the records of a stream.
#[derive(Debug)]
pub(crate) struct Tally {
    next: u64,
    /// Record at which the clock is read next: the first measured record, then the last.
    mark: u64,
    last: u64,
    measured: u64,
    /// Measured records that were lost.
    lost: u64,
    may_lose: bool,
    /// Record and time at which the clock started.
    started: Option<(u64, Instant)>,
    took: Option<Duration>,
    /// First wrong record: its number, and the expected one.
    wrong: Option<(u64, u64)>,
}

impl Tally {
    /// For a stream of `warm_up` records followed by `measured` records.
    pub(crate) fn new(warm_up: u64, measured: u64, may_lose: bool) -> Self {
        let last = warm_up + measured;
        let (started, took, wrong) = (None, None, None);
        Self { next: 0, mark: warm_up, last, measured, lost: 0, may_lose, started, took, wrong }
    }

    /// For a stream that is not timed and must not lose records.
    pub(crate) fn endless() -> Self {
        Self { mark: TORN, ..Self::new(0, TORN - 1, false) }
    }

    /// Accounts for a record that was read.
    #[inline]
    pub(crate) fn take(&mut self, sequence: u64) {
        if sequence != self.next || sequence == self.mark {
            self.account(sequence);
        }
        self.next = sequence.wrapping_add(1);
    }

    #[cold]
    fn account(&mut self, sequence: u64) {
        match sequence.checked_sub(self.next) {
            Some(0) => {}
            Some(_) if self.may_lose && sequence != TORN => {
                let first = self.last - self.measured;
                self.lost += sequence.saturating_sub(self.next.max(first));
            }
            _ => self.wrong = self.wrong.or(Some((sequence, self.next))),
        }
        if sequence >= self.mark {
            self.pass_mark(sequence);
        }
    }

    fn pass_mark(&mut self, sequence: u64) {
        match self.started {
            None => {
                self.started = Some((sequence, Instant::now()));
                self.mark = self.last;
            }
            Some((_, started)) => {
                self.took.get_or_insert_with(|| started.elapsed());
                self.mark = TORN;
            }
        }
    }

    /// Number of records that were read or lost.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }

    /// Returns true if the reader can stop: after the last record, or after a wrong one.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.next > self.last || self.wrong.is_some()
    }

    /// Returns an error if a record was damaged, repeated, or lost in a lossless stream.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.wrong {
            None => Ok(()),
            Some((found, expected)) => Err(wrong(found, expected)),
        }
    }

    /// Nanoseconds per record that was read, and the number of measured records that were lost.
    pub(crate) fn finish(&self) -> Result<(f64, u64), Failure> {
        self.check()?;
        let (Some((start, _)), Some(took)) = (self.started, self.took) else {
            return Err(format!(
                "no two records were timed: {} were lost; measure more records",
                self.lost
            )
            .into());
        };
        let lost_before = start - (self.last - self.measured);
        let read = self.last - start - (self.lost - lost_before);
        Ok((took.as_nanos() as f64 / read as f64, self.lost))
    }
}

/// The error for a record that is damaged or not the expected one.
#[cold]
pub(crate) fn wrong(found: u64, expected: u64) -> Failure {
    match found {
        TORN => format!("damaged record {expected}").into(),
        _ => format!("wrong record: {found} instead of {expected}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallied(may_lose: bool, sequences: &[u64]) -> Tally {
        let mut tally = Tally::new(2, 4, may_lose);
        sequences.iter().for_each(|sequence| tally.take(*sequence));
        tally
    }

    #[test]
    fn a_whole_stream_is_over_after_its_last_record() {
        assert!(!tallied(false, &[0, 1, 2, 3, 4, 5]).is_over());
        let tally = tallied(false, &[0, 1, 2, 3, 4, 5, 6]);
        assert!(tally.is_over());
        assert_eq!(tally.finish().unwrap().1, 0);
    }

    #[test]
    fn a_gap_a_repetition_and_damage_are_failures() {
        for wrong in [&[0, 1, 3][..], &[0, 1, 1], &[0, TORN], &[1]] {
            let tally = tallied(false, wrong);
            assert!(tally.is_over() && tally.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_lossy_stream_counts_what_it_lost_of_the_measured_records() {
        for (sequences, lost, read) in
            [(&[0, 1, 2, 3, 4, 5, 6][..], 0, 4.0), (&[1, 2, 5, 6], 2, 2.0), (&[0, 3, 4, 6], 2, 2.0)]
        {
            let tally = tallied(true, sequences);
            let (ns, found) = tally.finish().unwrap();
            assert_eq!(found, lost, "{sequences:?}");
            let timed = tally.took.unwrap().as_nanos() as f64 / ns;
            assert!((timed - read).abs() < 0.01, "{sequences:?}: {timed}");
        }
        assert!(tallied(true, &[0, 6]).finish().is_err());
        assert!(tallied(true, &[0, 3, 2]).check().is_err());
        assert!(tallied(true, &[0, TORN]).check().is_err());
    }
}
