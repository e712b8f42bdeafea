//! How much of the packets a command reads: from where on, how many, how long.

use crate::args;
use crate::output::Outcome;
use clap::Args;
use packetring::observe::ObserveFrom;
use std::time::{Duration, Instant};

/// The packets that are read.
#[derive(Debug, Args)]
pub(crate) struct Extent {
    /// Ends after this many packets; exit status 1 if all rings were removed before
    #[arg(long, short = 'n', value_name = "NUMBER")]
    count: Option<u64>,
    /// Ends after this time
    #[arg(long = "for", value_name = "SECONDS", value_parser = args::seconds)]
    span: Option<Duration>,
    /// Begins with the packets that a reader still has ahead, not with the next one
    #[arg(long)]
    backlog: bool,
}

/// The lines that a command prints, one for each interval.
#[derive(Debug, Args)]
pub(crate) struct Lines {
    /// Seconds between two lines
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = args::interval)]
    pub(crate) interval: Duration,
    /// Ends after this many lines
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
    /// Ends after this time
    #[arg(long = "for", value_name = "SECONDS", value_parser = args::seconds)]
    pub(crate) span: Option<Duration>,
}

/// What ends a command that reads packets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    Packets(u64),
    Time(Duration),
}

impl Extent {
    /// What ends the command first of all, if it is known.
    pub(crate) fn goal(&self) -> Option<Goal> {
        self.count.map(Goal::Packets).or(self.span.map(Goal::Time))
    }

    /// Where to begin.
    pub(crate) fn from(&self) -> ObserveFrom {
        if self.backlog { ObserveFrom::Backlog } else { ObserveFrom::Now }
    }

    /// Most packets.
    pub(crate) fn most(&self) -> u64 {
        self.count.unwrap_or(u64::MAX)
    }

    /// When to end, if this is the beginning.
    pub(crate) fn end(&self) -> Option<Instant> {
        end(self.span)
    }

    /// The outcome after so many packets: not enough, if a number was asked for.
    pub(crate) fn outcome(&self, packets: u64) -> Outcome {
        match self.count.is_some_and(|count| packets < count) {
            true => Outcome::Found,
            false => Outcome::Done,
        }
    }
}

/// The end of a time from now on.
pub(crate) fn end(span: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(span?)
}
