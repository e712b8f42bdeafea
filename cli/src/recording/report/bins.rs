//! Figures over time, in a bounded number of bins, for a recording whose length is not known yet.

/// Most bins of a series.
const MOST: usize = 240;
/// The first width of a bin, in nanoseconds.
const FIRST_WIDTH: u64 = 1_000_000;

/// Classes of times between packets: 8 for each power of two.
const CLASSES: usize = 8 * u64::BITS as usize;

/// How two figures of one bin become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// The sum: packets, bytes.
    Sum,
    /// The largest: backlogs.
    Largest,
}

/// A series: one figure for each bin, if the bin has any. Bins become twice as wide when there are
/// too many of them.
#[derive(Clone, Debug)]
pub(super) struct Bins {
    merge: Merge,
    width: u64,
    values: Vec<Option<u64>>,
}

impl Bins {
    pub(super) fn new(merge: Merge) -> Self {
        Self { merge, width: FIRST_WIDTH, values: Vec::new() }
    }

    /// Adds a figure at a time, in nanoseconds since the beginning.
    pub(super) fn add(&mut self, time: u64, value: u64) {
        while time / self.width >= MOST as u64 {
            self.double();
        }
        let index = (time / self.width) as usize;
        if self.values.len() <= index {
            self.values.resize(index + 1, None);
        }
        self.values[index] = merged(self.merge, self.values[index], Some(value));
    }

    /// The width of a bin in nanoseconds.
    pub(super) fn width(&self) -> u64 {
        self.width
    }

    /// Makes the bins as wide as those of the series with the widest.
    pub(super) fn widen(&mut self, width: u64) {
        while self.width < width {
            self.double();
        }
    }

    /// The figures of so many bins. The last one has also those behind it.
    pub(super) fn folded(&self, count: usize) -> Vec<Option<u64>> {
        let mut folded: Vec<_> = self.values.iter().copied().take(count).collect();
        folded.resize(count, None);
        if let (Some(last), Some(rest)) = (folded.last_mut(), self.values.get(count..)) {
            *last = rest.iter().fold(*last, |one, other| merged(self.merge, one, *other));
        }
        folded
    }

    /// The figures, by bin. Bins at the end without any are left out.
    pub(super) fn values(&self) -> &[Option<u64>] {
        &self.values
    }

    fn double(&mut self) {
        let pair =
            |pair: &[Option<u64>]| merged(self.merge, pair[0], pair.get(1).copied().flatten());
        self.values = self.values.chunks(2).map(pair).collect();
        self.width *= 2;
    }
}

fn merged(merge: Merge, one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(match merge {
            Merge::Sum => one.saturating_add(other),
            Merge::Largest => one.max(other),
        }),
        (one, other) => one.or(other),
    }
}

/// Times between packets by their size: 8 classes for each power of two.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    classes: Vec<u64>,
    pub(super) count: u64,
    pub(super) longest: u64,
}

impl Spans {
    pub(super) fn new() -> Self {
        Self { classes: Vec::new(), count: 0, longest: 0 }
    }

    pub(super) fn add(&mut self, span: u64) {
        let exponent = span.max(8).ilog2();
        let class = 8 * exponent as usize + (span.max(8) >> (exponent - 3)) as usize % 8;
        self.classes.resize(CLASSES, 0);
        self.classes[class] += 1;
        self.count += 1;
        self.longest = self.longest.max(span);
    }

    /// The span that so large a part of all does not exceed, rounded up by at most an eighth.
    pub(super) fn quantile(&self, part: f64) -> u64 {
        let rank = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) && *count > 0 {
                let (exponent, part) = (class / 8, class as u64 % 8);
                let end = u128::from(9 + part) << exponent >> 3;
                return u64::try_from(end).unwrap_or(u64::MAX).min(self.longest);
            }
        }
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_become_wider_and_lose_nothing() {
        let (mut sum, mut largest) = (Bins::new(Merge::Sum), Bins::new(Merge::Largest));
        for time in 0..10_000_u64 {
            sum.add(time * 1_000_000, 2);
            largest.add(time * 1_000_000, time % 700);
        }
        assert_eq!(sum.width(), 64_000_000);
        assert_eq!(sum.values().iter().map(|one| one.unwrap_or(0)).sum::<u64>(), 20_000);
        assert_eq!(largest.values().iter().copied().flatten().max(), Some(699));
        // A time that a damaged file may have.
        sum.add(u64::MAX, 1);
        assert!(sum.values().len() <= MOST);
        assert_eq!(sum.values().iter().flatten().sum::<u64>(), 20_001);
        let mut late = Bins::new(Merge::Sum);
        late.add(500_000_000, 1);
        assert_eq!(late.values().iter().position(Option::is_some), Some(125));
        late.widen(sum.width());
        assert_eq!(late.values(), [Some(1)]);

        let (mut sum, mut largest) = (Bins::new(Merge::Sum), Bins::new(Merge::Largest));
        for (time, value) in [(0, 1), (2, 2), (3, 5)] {
            sum.add(time * FIRST_WIDTH, value);
            largest.add(time * FIRST_WIDTH, value);
        }
        assert_eq!(sum.folded(3), [Some(1), None, Some(7)]);
        assert_eq!(largest.folded(3), [Some(1), None, Some(5)]);
        assert_eq!(sum.folded(5), [Some(1), None, Some(2), Some(5), None]);
    }

    #[test]
    fn quantiles_are_at_most_an_eighth_too_large() {
        let mut spans = Spans::new();
        for span in 1..=100_000 {
            spans.add(span);
        }
        for (part, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = spans.quantile(part) as f64;
            assert!(found >= exact && found <= exact * 1.13, "{part}: {found}");
        }
        spans.add(u64::MAX);
        assert_eq!(spans.quantile(1.0), u64::MAX);
        assert_eq!(Spans::new().quantile(0.5), 0);
    }
}
