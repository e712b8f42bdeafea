//! What a run comes to: the numbers that it reports, and what went wrong.

use crate::ledger::Book;
use hdrhistogram::Histogram;
use std::fmt;

/// Problems that are kept in words; the others are counted.
const MOST: usize = 40;

/// The longest stall that is told from a longer one, in nanoseconds.
const LONGEST: u64 = 100_000_000_000;

/// Times from a kill to progress, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Stalls(Histogram<u64>);

impl Stalls {
    fn new() -> Option<Self> {
        Histogram::new_with_max(LONGEST, 3).ok().map(Self)
    }

    /// In milliseconds: p50, p99 and the longest.
    pub(crate) fn milliseconds(&self) -> [f64; 3] {
        let quantiles = [self.0.value_at_quantile(0.5), self.0.value_at_quantile(0.99)];
        [quantiles[0], quantiles[1], self.0.max()].map(|nanoseconds| nanoseconds as f64 / 1e6)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }
}

/// The sums over all phases.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) phases: u64,
    pub(crate) kills: u64,
    pub(crate) freezes: u64,
    pub(crate) published: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) torn: u64,
    pub(crate) unflagged_duplicates: u64,
    pub(crate) redelivered: u64,
    pub(crate) missed: u64,
    pub(crate) leftovers: u64,
    /// Accounts of subscribers to rings that drop that could be checked to the packet.
    pub(crate) exact_accounts: u64,
    pub(crate) accounts: u64,
    pub(crate) stalls: Stalls,
    /// The exception: readers whose publisher died between stamping and waking.
    pub(crate) lates: Stalls,
    /// The same times from instants at which nobody was killed.
    pub(crate) controls: Stalls,
    problems: Vec<String>,
    more_problems: u64,
}

impl Tally {
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            phases: 0,
            kills: 0,
            freezes: 0,
            published: 0,
            received: 0,
            lost: 0,
            torn: 0,
            unflagged_duplicates: 0,
            redelivered: 0,
            missed: 0,
            leftovers: 0,
            exact_accounts: 0,
            accounts: 0,
            stalls: Stalls::new()?,
            lates: Stalls::new()?,
            controls: Stalls::new()?,
            problems: Vec::new(),
            more_problems: 0,
        })
    }

    /// Notes what must not be.
    pub(crate) fn problem(&mut self, text: String) {
        if self.problems.len() < MOST {
            self.problems.push(text);
        } else {
            self.more_problems += 1;
        }
    }

    /// Whether all that must be 0 is, and nothing else went wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
            && self.lost + self.torn + self.unflagged_duplicates + self.leftovers == 0
    }

    /// What went wrong, a line each.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        let more = (self.more_problems > 0).then(|| format!("and {} more", self.more_problems));
        self.problems.iter().cloned().chain(more)
    }

    /// Takes over the stalls of a ring.
    pub(crate) fn take_stalls(&mut self, book: &Book) {
        let lists = [
            (&mut self.stalls, &book.stall_count, &book.stalls),
            (&mut self.lates, &book.late_count, &book.lates),
            (&mut self.controls, &book.control_count, &book.controls),
        ];
        for (stalls, count, list) in lists {
            let count = (count.get() as usize).min(list.len());
            // A zero: whoever counted it was killed before he wrote it down.
            for took in list[..count].iter().map(|word| word.get()).filter(|&took| took > 0) {
                stalls.0.saturating_record(took);
            }
        }
    }

    /// The run as one JSON object.
    pub(crate) fn json(&self, seconds: f64) -> String {
        let Self { kills, freezes, published, received, lost, torn, .. } = self;
        let Self { unflagged_duplicates, redelivered, missed, leftovers, .. } = self;
        let [p50, p99, max] = self.stalls.milliseconds();
        format!(
            "{{\"seconds\":{seconds:.1},\"kills\":{kills},\"freezes\":{freezes},\
             \"published\":{published},\"received\":{received},\"lost\":{lost},\"torn\":{torn},\
             \"unflagged_duplicates\":{unflagged_duplicates},\"redelivered\":{redelivered},\
             \"missed\":{missed},\
             \"stall_ms\":{{\"p50\":{p50:.3},\"p99\":{p99:.3},\"max\":{max:.3}}},\
             \"leftovers\":{leftovers}}}"
        )
    }
}

/// The run as a table.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line =
            |what: &str, count: u64, note: &str| writeln!(f, "{what:>24} {count:>12}  {note}");
        line("kills", self.kills, "by SIGKILL, at any instant")?;
        line("freezes", self.freezes, "by SIGSTOP, until SIGCONT")?;
        line("published", self.published, "committed, also by those killed")?;
        line("received", self.received, "by all subscribers together")?;
        line("missed", self.missed, "dropped, and reported as missed")?;
        let exact = format!("{} of them to the packet", self.exact_accounts);
        line("accounts", self.accounts, &format!("of what was missed agree, {exact}"))?;
        line("redelivered", self.redelivered, "flagged")?;
        line("lost", self.lost, "must be 0")?;
        line("torn", self.torn, "must be 0")?;
        line("unflagged duplicates", self.unflagged_duplicates, "must be 0")?;
        line("leftovers", self.leftovers, "must be 0")?;
        let stalls = [
            ("held up by the dead", &self.stalls),
            ("the same without a kill", &self.controls),
            ("not woken", &self.lates),
        ];
        for (what, stalls) in stalls {
            let [p50, p99, max] = stalls.milliseconds();
            let count = stalls.count();
            writeln!(f, "{what:>24} {count:>12}  ms: p50 {p50:.3}, p99 {p99:.3}, max {max:.3}")?;
        }
        Ok(())
    }
}
