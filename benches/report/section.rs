//! The rows of one phase. Each section becomes one table.

use super::row::Row;
use super::table::figure;
use crate::harness::{Phase, Probe, Spread};

/// All phases, in the order of their tables.
const ORDER: [Phase; 5] =
    [Phase::Siblings, Phase::Coupled, Phase::Apart, Phase::OneCore, Phase::Any];

/// The rows of one phase.
pub(crate) struct Section<'a> {
    pub(crate) phase: Phase,
    pub(crate) rows: Vec<&'a Row<'a>>,
    /// Nanoseconds of a cache line there and back. `None` if the phase needs no probe.
    pub(crate) bounces: Option<Spread>,
}

impl Section<'_> {
    /// Heading of the table, such as `cores apart (a cache line there and back in 440 ns, 410 to
    /// 500)`.
    pub(crate) fn title(&self) -> String {
        let title = self.phase.title();
        match self.bounces {
            _ if !self.has_runs() => format!("{title}: no runs"),
            None => title.to_owned(),
            Some(Spread { median, min, max }) => {
                let (median, min, max) =
                    (figure(Some(median)), figure(Some(min)), figure(Some(max)));
                format!("{title} (a cache line there and back in {median} ns, {min} to {max})")
            }
        }
    }

    /// Returns true if any scenario, or the floor of one, ran in this phase.
    pub(crate) fn has_runs(&self) -> bool {
        self.rows.iter().any(|row| row.work.runs + row.floor.runs > 0)
    }
}

/// Groups rows by phase. A phase without rows has no section.
pub(crate) fn sections<'a>(rows: &[&'a Row<'a>], probe: &Probe) -> Vec<Section<'a>> {
    let section = |phase| {
        let rows = rows.iter().copied().filter(|row| row.phase == phase).collect();
        Section { phase, rows, bounces: probe.bounces(phase) }
    };
    ORDER.into_iter().map(section).filter(|section| !section.rows.is_empty()).collect()
}
