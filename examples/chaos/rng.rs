//! Reproducible pseudo-random numbers: equal seeds give equal decisions.
//!
//! The quality suffices for choosing actions and for nothing else.

/// A SplitMix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Creates a generator from a seed and the words that identify the decision.
    pub(crate) fn new(seed: u64, purpose: &[u64]) -> Self {
        let mut rng = Self(seed);
        for word in purpose {
            rng.0 = rng.next() ^ word.wrapping_mul(0xff51_afd7_ed55_8ccd);
        }
        rng
    }

    /// Returns any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Returns a number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Returns true with a probability of `cases` percent.
    pub(crate) fn percent(&mut self, cases: u64) -> bool {
        self.below(100) < cases
    }
}
