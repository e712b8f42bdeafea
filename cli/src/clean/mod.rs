//! `clean`: the removal of what dead processes left.
//!
//! The library decides under the lock of each object whether it goes. An object that was not shown
//! is not removed, also if its last process ends meanwhile.

mod kept;

use crate::args::CleanArgs;
use crate::ls::{self, State};
use crate::names;
use crate::output::{DIM, Failure, Outcome, Output, RED, YELLOW};
use crate::text::{self, Align, Cell, Table};
use packetring::inventory::{
    Kept, LAYOUT_VERSION, ObjectInfo, StayReason, of_other_users, purge_where,
};
use serde::Serialize;
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};

/// One object of the report.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    bytes: u64,
    /// Why it stays, or why it goes.
    reason: String,
}

/// The report.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Objects that would go; empty after a removal.
    would_remove: Vec<Line>,
    /// Objects that were removed.
    removed: Vec<Line>,
    /// Objects that stay.
    stays: Vec<Line>,
    /// Objects that should have gone and could not be removed.
    failed: Vec<Line>,
}

/// Shows what would be removed, and removes it if this was asked for.
pub(crate) fn run(args: &CleanArgs, output: &mut Output) -> Result<Outcome, Failure> {
    if !args.kept.is_empty() {
        return kept::run(args, output);
    }
    let mut objects = packetring::inventory()?;
    objects.extend(of_other_users()?);
    args.objects.check(&objects)?;
    let meant = objects.iter().filter(|one| args.objects.has(one));
    let (going, staying): (Vec<_>, Vec<_>) = meant.partition(|one| State::of(one) == State::Left);
    // A queue whose packets are all void counts as one with jobs until it is locked.
    let is_tried = |one: &&&ObjectInfo| !one.is_attached && matches!(one.kept, Kept::Jobs { .. });
    let tried = staying.iter().filter(is_tried).copied();
    let paths: HashSet<_> =
        going.iter().copied().chain(tried).map(|one| one.path.clone()).collect();

    let mut report = Report {
        would_remove: going.iter().map(|one| line(one, ls::detail(one))).collect(),
        stays: staying.iter().map(|one| line(one, stay_reason(one))).collect(),
        ..Report::default()
    };
    if !output.is_json {
        print(&report, output)?;
    }
    let is_agreed =
        args.yes || (!paths.is_empty() && !going.is_empty() && ask(going.len(), output)?);
    if is_agreed {
        remove(&paths, &mut report)?;
    }
    if output.is_json {
        output.json(&report)?;
    } else if is_agreed {
        print_removed(&report, output)?;
    }
    Ok(report.outcome())
}

impl Report {
    /// Done, if nothing is left to remove.
    fn outcome(&self) -> Outcome {
        match self.would_remove.is_empty() && self.failed.is_empty() {
            true => Outcome::Done,
            false => Outcome::Found,
        }
    }
}

fn line(object: &ObjectInfo, reason: String) -> Line {
    Line { name: names::full(object), bytes: object.bytes, reason }
}

/// Why an object stays, as its list tells.
fn stay_reason(object: &ObjectInfo) -> String {
    match (&object.fault, State::of(object)) {
        (_, State::Foreign) => "a file of another program, which this command leaves alone".into(),
        (_, State::OtherUser) => format!("{}, and is left alone", ls::detail(object)),
        (Some(fault), _) => fault.to_string(),
        (None, State::InUse | State::OtherLayout) if object.is_attached => {
            let pids: Vec<_> = object.processes.iter().map(u32::to_string).collect();
            let layout = match object.layout {
                Some(layout) if layout != LAYOUT_VERSION => format!(", with layout {layout}"),
                _ => String::new(),
            };
            match &*pids {
                [] => format!("a living process uses it{layout}"),
                [pid] => format!("process {pid} uses it{layout}"),
                pids => format!("processes {} use it{layout}", pids.join(" ")),
            }
        }
        (None, State::OtherLayout) => {
            format!("{}, and it may keep packets: use the build that made it", ls::detail(object))
        }
        (None, _) => ls::detail(object),
    }
}

/// Asks on a terminal. Elsewhere the answer is no, with a hint.
fn ask(going: usize, output: &mut Output) -> Result<bool, Failure> {
    if output.is_json {
        return Ok(false);
    }
    if !output.is_terminal || !io::stdin().is_terminal() {
        writeln!(output, "nothing was removed: add --yes to remove")?;
        return Ok(false);
    }
    write!(output, "remove {}? [y/N] ", text::count(going, "object"))?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Removes the objects of these paths that are still deserted.
fn remove(paths: &HashSet<std::path::PathBuf>, report: &mut Report) -> Result<(), Failure> {
    let purged = purge_where(|object| paths.contains(&object.path))?;
    report.would_remove.clear();
    report.removed = purged.removed.iter().map(|one| line(one, ls::detail(one))).collect();
    let removed: HashSet<_> = report.removed.iter().map(|line| line.name.clone()).collect();
    report.stays.retain(|line| !removed.contains(&line.name));
    for (object, reason) in &purged.stays {
        let name = names::full(object);
        if report.stays.iter().any(|line| line.name == name) {
            continue;
        }
        let list = match reason {
            StayReason::InUse | StayReason::Kept => &mut report.stays,
            _ => &mut report.failed,
        };
        list.push(line(object, reason.to_string()));
    }
    Ok(())
}

fn print(report: &Report, output: &mut Output) -> Result<(), Failure> {
    if report.would_remove.is_empty() {
        writeln!(output, "nothing to remove")?;
    } else {
        let mut table = Table::new([
            ("WOULD REMOVE", Align::Left),
            ("SIZE", Align::Right),
            ("REASON", Align::Left),
        ]);
        for line in &report.would_remove {
            let name = text::plain(&line.name).into_owned();
            table.push([
                Cell::styled(name, YELLOW),
                text::bytes(line.bytes).into(),
                line.reason.as_str().into(),
            ]);
        }
        table.print(output)?;
    }
    if !report.stays.is_empty() {
        let mut table =
            Table::new([("STAYS", Align::Left), ("SIZE", Align::Right), ("REASON", Align::Left)]);
        for line in &report.stays {
            let name = text::plain(&line.name).into_owned();
            let size = Cell::styled(text::bytes(line.bytes), DIM);
            table.push([name.into(), size, text::plain(&line.reason).into_owned().into()]);
        }
        writeln!(output)?;
        table.print(output)?;
    }
    Ok(())
}

fn print_removed(report: &Report, output: &mut Output) -> Result<(), Failure> {
    let bytes = report.removed.iter().map(|line| line.bytes).sum();
    let objects = text::count(report.removed.len(), "object");
    writeln!(output, "removed {objects}, {}", text::bytes(bytes))?;
    for line in &report.failed {
        let failed = output.paint(RED, "not removed");
        writeln!(output, "{failed}: {}: {}", text::plain(&line.name), line.reason)?;
    }
    Ok(())
}
