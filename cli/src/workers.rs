//! `workers CLUSTER`: the workers of a cluster, with the backlogs of their inboxes.

use crate::names;
use crate::output::{DIM, Failure, GREEN, Outcome, Output, RED, YELLOW};
use crate::process;
use crate::rings::{self, Backlog};
use crate::sending::target;
use crate::text::{self, Align, Cell, Table};
use anstyle::Style;
use clap::Args;
use packetring::cluster::{WorkerInfo, WorkerState};
use packetring::inspect::{self, InspectedObject, Inspection};
use packetring::inventory::{ObjectInfo, ObjectKind};
use serde::Serialize;
use std::io::Write;

/// Arguments of `workers`.
#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    /// The cluster, as in `shop` or with a prefix `staging:shop`
    cluster: String,
    /// Shows also `packetring send`, `emit` and `call` after they left
    #[arg(long)]
    all: bool,
}

/// A worker, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Worker {
    id: u16,
    name: String,
    pid: u32,
    state: &'static str,
    seconds_since_join: f64,
    generation: u64,
    has_inbox: bool,
    has_died: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox_backlog: Option<Backlog>,
}

impl Worker {
    /// A worker of a directory.
    pub(crate) fn of(worker: &WorkerInfo) -> Self {
        Self {
            id: worker.id.0,
            name: worker.name.clone(),
            pid: worker.pid,
            state: state(worker),
            seconds_since_join: worker.uptime.as_secs_f64(),
            generation: worker.generation,
            has_inbox: worker.has_inbox,
            has_died: worker.has_died,
            inbox_backlog: None,
        }
    }
}

fn state(worker: &WorkerInfo) -> &'static str {
    match worker.state {
        WorkerState::Alive if process::is_stopped(worker.pid) => "stopped",
        WorkerState::Alive => "alive",
        WorkerState::Away => "away",
        _ => "gone",
    }
}

/// Returns true if a living worker has the name of this one.
fn is_replaced(worker: &WorkerInfo, workers: &[WorkerInfo]) -> bool {
    let is_successor =
        |other: &&WorkerInfo| other.state == WorkerState::Alive && other.name == worker.name;
    worker.state != WorkerState::Alive && workers.iter().any(|other| is_successor(&other))
}

/// The state in one word for people, which tells a worker that died from one that left.
fn word(worker: &WorkerInfo) -> &'static str {
    match state(worker) {
        "gone" if worker.has_died => "dead",
        "gone" => "left",
        state => state,
    }
}

/// The workers of a cluster that do not run: stopped, dead, or away with an inbox that is kept.
#[derive(Debug)]
pub(crate) struct Absent {
    /// The word for the state, and the names of the workers.
    states: Vec<(&'static str, Vec<String>)>,
}

impl Absent {
    /// `None` if all workers run or left in order.
    fn of(workers: &[WorkerInfo]) -> Option<Self> {
        let names = |state: &'static str| {
            let is_it = |one: &&WorkerInfo| word(one) == state && !is_replaced(one, workers);
            let workers = workers.iter().filter(is_it);
            (state, workers.map(|worker| text::plain(&worker.name).into_owned()).collect())
        };
        let states: Vec<(_, Vec<_>)> = ["stopped", "dead", "away"].map(names).into();
        let states: Vec<_> = states.into_iter().filter(|(_, names)| !names.is_empty()).collect();
        (!states.is_empty()).then_some(Self { states })
    }

    /// Those of a directory. `None` for any other object.
    pub(crate) fn of_object(object: &InspectedObject) -> Option<Self> {
        match &object.content {
            Ok(Inspection::Directory(directory)) => Self::of(&directory.workers),
            _ => None,
        }
    }

    /// The workers in words, as in `dead: web, away: billing`.
    pub(crate) fn sentence(&self) -> String {
        let states = self.states.iter();
        let states = states.map(|(state, names)| format!("{state}: {}", names.join(" ")));
        states.collect::<Vec<_>>().join(", ")
    }

    /// The color of the sentence.
    pub(crate) fn style(&self) -> Style {
        if self.states.iter().all(|(state, _)| *state == "away") { YELLOW } else { RED }
    }
}

/// What to do about each worker that does not run, in its own line.
fn advise(
    workers: &[WorkerInfo],
    objects: &[InspectedObject],
    output: &mut Output,
) -> Result<(), Failure> {
    for worker in workers.iter().filter(|worker| !is_replaced(worker, workers)) {
        let (name, pid) = (text::plain(&worker.name), worker.pid);
        let (style, line) = match word(worker) {
            "stopped" => (
                RED,
                format!(
                    "{name} is stopped: kill -CONT {pid} continues its process, kill {pid} ends it"
                ),
            ),
            "dead" => (
                RED,
                format!(
                    "{name} died (process {pid}): see its log, and dmesg for the OOM killer; start it again"
                ),
            ),
            "away" => {
                let waiting = match inbox_backlog(objects, worker) {
                    Some(Backlog { packets: Some(packets), .. }) => {
                        format!("{} for it", text::count(packets as usize, "message"))
                    }
                    _ => "its messages".to_owned(),
                };
                (
                    YELLOW,
                    format!(
                        "{name} does not run (process {pid} died, or dropped it): its inbox keeps \
                         {waiting}; start it again"
                    ),
                )
            }
            _ => continue,
        };
        let line = output.paint(style, line);
        writeln!(output, "{line}")?;
    }
    Ok(())
}

/// Prints the workers of a cluster.
pub(crate) fn run(args: &WorkersArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let all = packetring::inventory()?;
    let directories: Vec<_> =
        all.into_iter().filter(|one| one.kind == ObjectKind::Directory).collect();
    let directory = find(&directories, &args.cluster)?;
    let prefix = directory.prefix.clone().unwrap_or_default();
    let cluster = directory.cluster.clone().unwrap_or_default();
    // Its own error, if it has another layout or is damaged.
    directory.inspect()?;
    let found = inspect::cluster(&prefix, &cluster)?;
    if output.is_json {
        let worker = |info| {
            let inbox_backlog = inbox_backlog(&found.objects, info);
            Worker { inbox_backlog, ..Worker::of(info) }
        };
        let workers: Vec<_> = found.workers.iter().map(worker).collect();
        output.json(&serde_json::json!({ "cluster": cluster, "workers": workers }))?;
    } else {
        let is_shown =
            |one: &&WorkerInfo| args.all || word(one) != "left" || !target::is_command(&one.name);
        let shown: Vec<_> = found.workers.iter().filter(is_shown).cloned().collect();
        table(&shown, &found.objects).print(output)?;
        advise(&shown, &found.objects, output)?;
    }
    Ok(Outcome::Done)
}

/// Finds a directory by the name of its cluster, or by its own name.
pub(crate) fn find<'a>(
    directories: &'a [ObjectInfo],
    cluster: &str,
) -> Result<&'a ObjectInfo, Failure> {
    match names::find(directories, &format!("{cluster}/directory")) {
        Ok(directory) => Ok(directory),
        Err(_) => names::find(directories, cluster),
    }
}

/// The backlog of a worker's inbox.
fn inbox_backlog(objects: &[InspectedObject], worker: &WorkerInfo) -> Option<Backlog> {
    let is_inbox =
        |one: &&InspectedObject| one.info.kind == ObjectKind::Inbox && one.info.name == worker.name;
    // A replaced inbox may be there for a moment: the sum would count no message twice.
    let rings = objects.iter().filter(is_inbox).filter_map(|one| match &one.content {
        Ok(Inspection::Ring(ring)) => rings::backlog(ring),
        _ => None,
    });
    rings.reduce(|one, other| Backlog {
        packets: one.packets.zip(other.packets).map(|(one, other)| one + other),
        slots: one.slots + other.slots,
    })
}

/// The table of workers, with the backlogs of the inboxes among these objects.
pub(crate) fn table(workers: &[WorkerInfo], objects: &[InspectedObject]) -> Table {
    let mut table = Table::new([
        ("ID", Align::Right),
        ("NAME", Align::Left),
        ("PID", Align::Right),
        ("STATE", Align::Left),
        ("JOINED", Align::Right),
        ("STARTS", Align::Right),
        ("INBOX", Align::Right),
    ]);
    for worker in workers {
        let state = word(worker);
        let style = match state {
            "alive" => GREEN,
            "stopped" | "dead" => RED,
            "away" => YELLOW,
            _ => DIM,
        };
        let inbox = match (worker.has_inbox, inbox_backlog(objects, worker)) {
            (false, _) => "-".to_owned(),
            (true, None) => "yes".to_owned(),
            (true, backlog) => rings::backlog_text(backlog),
        };
        table.push([
            worker.id.to_string().into(),
            text::plain(&worker.name).into_owned().into(),
            worker.pid.to_string().into(),
            Cell::styled(state, style),
            text::age(worker.uptime).into(),
            worker.generation.to_string().into(),
            inbox.into(),
        ]);
    }
    table
}
