//! `ls`: the list of rings, clusters and their objects.

use crate::names;
use crate::output::{DIM, Failure, GREEN, Outcome, Output, RED, YELLOW};
use crate::rings::{self, Summary};
use crate::selection::{NamedSelection, is_named};
use crate::text::{self, Align, Cell, Table};
use crate::users;
use crate::workers::Absent;
use anstyle::Style;
use clap::{Args, ValueEnum};
use packetring::inspect::{self, InspectedObject};
use packetring::inventory::{Kept, LAYOUT_VERSION, ObjectInfo, ObjectKind, of_other_users};
use serde::Serialize;
use std::io::Write;

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    objects: NamedSelection,
    /// Objects of these kinds only: ring, board, directory, topic, inbox, queue, service, replies,
    /// events, socket, foreign
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kind: Vec<String>,
    /// Objects that no living process uses only
    #[arg(long)]
    left: bool,
    /// The order
    #[arg(long, value_enum, default_value_t = Order::Name, value_name = "COLUMN")]
    sort: Order,
}

/// The order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// By name
    Name,
    /// The largest first
    Size,
    /// The youngest first
    Age,
}

/// The state of an object, as `ls` and `clean` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// A living process is attached, and this build can read the object.
    InUse,
    /// No process is attached, and something durable keeps the object.
    Kept,
    /// No process is attached, and nothing keeps the object: `clean` removes it.
    Left,
    /// The object has another layout, and a process is attached or it may keep something.
    OtherLayout,
    /// The object contradicts itself.
    Damaged,
    /// A file of another program.
    Foreign,
    /// Another user owns it, and this command leaves it alone.
    OtherUser,
}

impl State {
    /// The state of an object.
    pub(crate) fn of(object: &ObjectInfo) -> Self {
        let is_other = object.layout.is_some_and(|layout| layout != LAYOUT_VERSION);
        match (&object.fault, &object.kept) {
            _ if object.kind == ObjectKind::Foreign => Self::Foreign,
            _ if users::is_of_other(object) => Self::OtherUser,
            (Some(_), _) => Self::Damaged,
            _ if is_other && (object.is_attached || object.kept == Kept::Unknown) => {
                Self::OtherLayout
            }
            _ if object.is_attached => Self::InUse,
            (None, Kept::Nothing) => Self::Left,
            (None, _) => Self::Kept,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::InUse => GREEN,
            Self::Kept => Style::new(),
            Self::Left | Self::OtherLayout => YELLOW,
            Self::Damaged => RED,
            Self::Foreign | Self::OtherUser => DIM,
        }
    }
}

/// What is known of an object, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    name: String,
    kind: &'static str,
    prefix: Option<String>,
    cluster: Option<String>,
    plain_name: String,
    path: String,
    bytes: u64,
    mode: String,
    layout: Option<u32>,
    state: State,
    /// What a person reads about the state.
    detail: String,
    is_attached: bool,
    processes: Vec<u32>,
    /// Processes that only look at it.
    observers: Vec<u32>,
    owner: u32,
    age_seconds: f64,
    kept: Option<KeptContent>,
    /// Endpoints, backlog and types. `null` if the object has none or could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<Summary>,
}

/// What keeps an object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum KeptContent {
    Durable(Vec<String>),
    Jobs { waiting_slots: u64, in_flight: usize },
    Workers(Vec<String>),
    Unknown,
}

impl Listed {
    /// What is known of an object.
    pub(crate) fn of(object: &ObjectInfo, endpoints: Option<Summary>) -> Self {
        let kept = match &object.kept {
            Kept::Nothing => None,
            Kept::Durable(names) => Some(KeptContent::Durable(names.clone())),
            Kept::Jobs { waiting_slots, in_flight } => {
                Some(KeptContent::Jobs { waiting_slots: *waiting_slots, in_flight: *in_flight })
            }
            Kept::Workers(names) => Some(KeptContent::Workers(names.clone())),
            _ => Some(KeptContent::Unknown),
        };
        Self {
            name: names::full(object),
            kind: names::word(object.kind),
            prefix: object.prefix.clone(),
            cluster: object.cluster.clone(),
            plain_name: object.name.clone(),
            path: object.path.display().to_string(),
            bytes: object.bytes,
            mode: format!("{:04o}", object.mode),
            layout: object.layout,
            state: State::of(object),
            detail: detail(object),
            is_attached: object.is_attached,
            processes: object.processes.clone(),
            observers: object.observers.clone(),
            owner: object.owner,
            age_seconds: object.age.as_secs_f64(),
            kept,
            endpoints,
        }
    }
}

/// The state of an object for people, as in `in use, keeps durable readers: log`.
pub(crate) fn detail(object: &ObjectInfo) -> String {
    let state = match State::of(object) {
        State::InUse => "in use".to_owned(),
        State::Kept => "kept".to_owned(),
        State::Left if object.layout.is_none() && object.kind != ObjectKind::Socket => {
            "left incomplete".to_owned()
        }
        State::Left => "left".to_owned(),
        State::OtherLayout => format!(
            "{}layout {}, this command reads {LAYOUT_VERSION}",
            if object.is_attached { "in use, " } else { "" },
            object.layout.unwrap_or_default(),
        ),
        State::Damaged => "damaged".to_owned(),
        State::Foreign => "not of packetring".to_owned(),
        State::OtherUser => format!("of another user: {}", users::shown(object.owner)),
    };
    let state = match &object.kept {
        Kept::Durable(_) if object.kind == ObjectKind::Inbox => {
            format!("{state}, keeps its messages")
        }
        Kept::Durable(readers) => format!("{state}, durable: {}", joined(readers)),
        Kept::Jobs { waiting_slots, in_flight } => {
            format!("{state}, jobs: {waiting_slots} slots wait, {in_flight} in flight")
        }
        Kept::Workers(workers) => format!("{state}, workers: {}", joined(workers)),
        _ => state,
    };
    let observers: Vec<_> = object.observers.iter().map(u32::to_string).collect();
    match observers.is_empty() {
        true => state,
        false => format!("{state}, observed by {}", shortened(&observers, 4)),
    }
}

fn joined(names: &[String]) -> String {
    names.iter().map(|name| text::plain(name)).collect::<Vec<_>>().join(" ")
}

/// One line of the list.
struct Row {
    object: ObjectInfo,
    summary: Option<Summary>,
    /// Of a directory: its workers that do not run.
    absent: Option<Absent>,
}

impl Row {
    fn of(found: InspectedObject) -> Self {
        let (summary, absent) = (Summary::of(&found), Absent::of_object(&found));
        Self { object: found.info, summary, absent }
    }
}

/// Prints the list.
pub(crate) fn run(args: &LsArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let mut objects = packetring::inventory()?;
    objects.extend(of_other_users()?);
    check_kinds(&args.kind)?;
    let mut wanted = args.objects.names.iter();
    if let Some(name) = wanted.find(|name| !objects.iter().any(|one| is_named(one, name))) {
        return Err(names::not_found(&objects, name));
    }
    args.objects.selection.check(&objects)?;
    let is_listed = |object: &ObjectInfo| {
        args.objects.has(object)
            && (args.kind.is_empty()
                || args.kind.iter().any(|kind| kind == names::word(object.kind)))
            && (!args.left || !object.is_attached && !users::is_of_other(object))
    };
    objects.retain(is_listed);
    objects.sort_by_cached_key(names::full);
    match args.sort {
        Order::Name => {}
        Order::Size => objects.sort_by_key(|object| std::cmp::Reverse(object.bytes)),
        Order::Age => objects.sort_by_key(|object| object.age),
    }
    let (others, own): (Vec<_>, Vec<_>) = objects.into_iter().partition(users::is_of_other);
    let rows: Vec<_> = inspect::objects(own).into_iter().map(Row::of).collect();
    if output.is_json {
        let objects = rows.into_iter().map(|row| Listed::of(&row.object, row.summary));
        let others = others.iter().map(|object| Listed::of(object, None));
        output.json(&serde_json::json!({
            "objects": objects.collect::<Vec<_>>(),
            "of_other_users": others.collect::<Vec<_>>(),
            "layout": LAYOUT_VERSION,
        }))?;
    } else {
        print(rows, others, output)?;
    }
    Ok(Outcome::Done)
}

fn check_kinds(kinds: &[String]) -> Result<(), Failure> {
    const KINDS: [&str; 12] = [
        "ring",
        "board",
        "directory",
        "topic",
        "inbox",
        "queue",
        "service",
        "replies",
        "events",
        "socket",
        "foreign",
        "unknown",
    ];
    match kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        Some(kind) => Err(Failure::Usage(format!(
            "no object is of the kind {kind:?}; the kinds are {}",
            KINDS.join(", ")
        ))),
        None => Ok(()),
    }
}

fn print(mut rows: Vec<Row>, others: Vec<ObjectInfo>, output: &mut Output) -> Result<(), Failure> {
    let number = rows.len();
    rows.extend(others.into_iter().map(|object| Row { object, summary: None, absent: None }));
    if rows.is_empty() {
        writeln!(output, "no objects")?;
        return Ok(());
    }
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("SIZE", Align::Right),
        ("AGE", Align::Right),
        ("PROCESSES", Align::Left),
        ("WRITERS", Align::Right),
        ("READERS", Align::Right),
        ("BACKLOG", Align::Right),
        ("TYPES", Align::Left),
        ("STATE", Align::Left),
    ]);
    for row in &rows {
        let Row { object, summary, .. } = row;
        let pids: Vec<_> = object.processes.iter().map(u32::to_string).collect();
        let number = |number: &dyn Fn(&Summary) -> usize| {
            summary.as_ref().map_or_else(|| "-".to_owned(), |summary| number(summary).to_string())
        };
        let types = summary.as_ref().map_or(&[][..], |summary| &summary.types);
        let types: Vec<_> = types.iter().map(|name| text::plain(name).into_owned()).collect();
        table.push([
            text::plain(&names::full(object)).into_owned().into(),
            names::word(object.kind).into(),
            text::bytes(object.bytes).into(),
            text::age(object.age).into(),
            shortened(&pids, 4).into(),
            number(&|summary| summary.writers).into(),
            number(&|summary| summary.readers).into(),
            rings::backlog_text(summary.as_ref().and_then(|summary| summary.backlog)).into(),
            shortened(&types, 1).into(),
            state_cell(row),
        ]);
    }
    table.print(output)?;
    let (rows, others) = rows.split_at(number);
    let bytes = rows.iter().map(|row| row.object.bytes).sum();
    let sum = format!("{}, {}", text::count(number, "object"), text::bytes(bytes));
    let left = rows.iter().filter(|row| State::of(&row.object) == State::Left).count();
    let left = (left > 0).then(|| {
        format!("{} left: `packetring clean` removes such objects", text::count(left, "object"))
    });
    let others: Vec<_> = others.iter().map(|row| &row.object).collect();
    let others = users::sentence(&others)
        .map(|sentence| format!("{sentence}; {} shows more", users::advice(&others, "ls")));
    let sum = [Some(sum), left, others].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let sum = output.paint(DIM, sum);
    writeln!(output, "{sum}")?;
    for row in rows {
        if let (Some(absent), Some(cluster)) = (&row.absent, &row.object.cluster) {
            let cluster = names::of_cluster(&row.object, cluster);
            let line = format!("{}: `packetring workers {cluster}` says more", absent.sentence());
            let line = output.paint(absent.style(), text::plain(&line).into_owned());
            writeln!(output, "{line}")?;
        }
    }
    Ok(())
}

/// The state, with the endpoints and workers that need attention.
fn state_cell(row: &Row) -> Cell {
    let (mut detail, mut style) = (detail(&row.object), State::of(&row.object).style());
    if let Some(absent) = &row.absent {
        detail += &format!(", {}", absent.sentence());
        style = absent.style();
    }
    if let Some(summary) = &row.summary {
        if summary.dead > 0 {
            detail += &format!(", {} dead", summary.dead);
            style = RED;
        }
        if let Some(blocker) = &summary.blocker {
            detail += &format!(", held back by {}", blocker.endpoint);
            style = RED;
        }
    }
    Cell::styled(detail, style)
}

/// The first of these texts, and how many more there are.
fn shortened(texts: &[String], most: usize) -> String {
    match texts {
        [] => "-".to_owned(),
        texts if texts.len() > most => {
            format!("{} +{}", texts[..most].join(" "), texts.len() - most)
        }
        texts => texts.join(" "),
    }
}
