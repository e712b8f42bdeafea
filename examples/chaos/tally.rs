//! Totals of a run, and the problems found.

use crate::ledger::Book;
use hdrhistogram::Histogram;
use std::fmt;

/// Problems kept as text; further ones are only counted.
const MAX_PROBLEMS: usize = 40;

/// Longest stall that is recorded exactly, in nanoseconds.
const MAX_STALL: u64 = 100_000_000_000;

/// Times from a kill to progress, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Stalls(Histogram<u64>);

impl Stalls {
    fn new() -> Option<Self> {
        Histogram::new_with_max(MAX_STALL, 3).ok().map(Self)
    }

    /// Median, 99th percentile and maximum, in milliseconds.
    pub(crate) fn milliseconds(&self) -> [f64; 3] {
        let quantiles = [self.0.value_at_quantile(0.5), self.0.value_at_quantile(0.99)];
        [quantiles[0], quantiles[1], self.0.max()].map(|nanoseconds| nanoseconds as f64 / 1e6)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }
}

/// Totals over all phases.
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
    /// Packet counts of subscribers to dropping rings that could be checked exactly, and all such
    /// counts.
    pub(crate) exact_accounts: u64,
    pub(crate) accounts: u64,
    pub(crate) stalls: Stalls,
    /// Stalls of readers whose publisher died between stamping a packet and waking them.
    pub(crate) unwoken: Stalls,
    /// Stalls measured from instants at which no process was killed.
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
            unwoken: Stalls::new()?,
            controls: Stalls::new()?,
            problems: Vec::new(),
            more_problems: 0,
        })
    }

    /// Records a problem.
    pub(crate) fn problem(&mut self, text: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(text);
        } else {
            self.more_problems += 1;
        }
    }

    /// Returns true if no problem was recorded and every count that must be 0 is 0.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
            && self.lost + self.torn + self.unflagged_duplicates + self.leftovers == 0
    }

    /// The problems, one line each.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        let more = (self.more_problems > 0).then(|| format!("and {} more", self.more_problems));
        self.problems.iter().cloned().chain(more)
    }

    /// Adds the stalls of a ring.
    pub(crate) fn take_stalls(&mut self, book: &Book) {
        let lists = [
            (&mut self.stalls, &book.stall_count, &book.stalls),
            (&mut self.unwoken, &book.unwoken_count, &book.unwoken),
            (&mut self.controls, &book.control_count, &book.controls),
        ];
        for (stalls, count, list) in lists {
            let count = (count.get() as usize).min(list.len());
            // A zero entry: its writer was killed between counting the stall and writing it.
            for took in list[..count].iter().map(|word| word.get()).filter(|&took| took > 0) {
                stalls.0.saturating_record(took);
            }
        }
    }

    /// Formats the run as one JSON object.
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

/// Formats the run as a table.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line =
            |what: &str, count: u64, note: &str| writeln!(f, "{what:>24} {count:>12}  {note}");
        line("kills", self.kills, "by SIGKILL, at any instant")?;
        line("freezes", self.freezes, "by SIGSTOP, until SIGCONT")?;
        line("published", self.published, "committed, also by killed publishers")?;
        line("received", self.received, "by all subscribers together")?;
        line("missed", self.missed, "dropped, and reported as missed")?;
        let exact = format!("{} of them exactly", self.exact_accounts);
        line("accounts", self.accounts, &format!("of missed packets checked, {exact}"))?;
        line("redelivered", self.redelivered, "flagged")?;
        line("lost", self.lost, "must be 0")?;
        line("torn", self.torn, "must be 0")?;
        line("unflagged duplicates", self.unflagged_duplicates, "must be 0")?;
        line("leftovers", self.leftovers, "must be 0")?;
        let stalls = [
            ("held up by the dead", &self.stalls),
            ("without a kill", &self.controls),
            ("not woken", &self.unwoken),
        ];
        for (what, stalls) in stalls {
            let [p50, p99, max] = stalls.milliseconds();
            let count = stalls.count();
            writeln!(f, "{what:>24} {count:>12}  ms: p50 {p50:.3}, p99 {p99:.3}, max {max:.3}")?;
        }
        Ok(())
    }
}
