//! `tail NAME`: the packets that pass through a ring, decoded by their schemas.

use crate::extent::Extent;
use crate::filter::Filter;
use crate::known::Workers;
use crate::names;
use crate::output::{BOLD, DIM, Failure, Outcome, Output, YELLOW};
use crate::progress::Progress;
use crate::seen::Seen;
use crate::text;
use clap::Args;
use packetring::cluster::WorkerInfo;
use packetring::dynamic::Schema;
use packetring::inventory::{ObjectInfo, ObjectKind};
use packetring::observe::{Observed, ObservedPacket, Observer};
use packetring::packet::Fingerprint;
use serde::Serialize;
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// How long one wait for packets lasts.
const WAIT: Duration = Duration::from_millis(200);

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// The ring, topic, inbox, queue, service or events
    name: String,
    #[command(flatten)]
    extent: Extent,
    /// Packets of this type only, by its name without the path
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Messages and events of this worker only, by its name or id
    #[arg(long, value_name = "WORKER")]
    sender: Option<String>,
    /// Events of this name only; `*` stands for any characters
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Packets only whose fields fit, as in 'price > 10 && symbol == "X"'
    ///
    /// Fields of structs in structs are `a.b`, elements `a[0]`, fields of tuples `.0`, the whole
    /// packet `.`. The operators are == != < <= > >= and ~ (contains), && || ! and parentheses. An
    /// enum equals the name of its variant, and a field that is not there equals null.
    #[arg(long = "where", value_name = "EXPRESSION")]
    filter: Option<String>,
}

/// A packet, as JSON.
#[derive(Serialize)]
pub(crate) struct Packet<'a> {
    /// The ring, where packets of several are printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ring: Option<&'a str>,
    pub(crate) position: u64,
    pub(crate) r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sender: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sender_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<packetring::dynamic::Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Prints packets until there are enough.
pub(crate) fn run(args: &TailArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let filter = args.filter.as_deref().map(Filter::parse).transpose().map_err(|error| {
        let given = text::plain(args.filter.as_deref().unwrap_or_default());
        Failure::Usage(format!("--where '{given}': {error}; see `packetring tail --help`"))
    })?;
    let objects = packetring::inventory()?;
    let object = names::find(&objects, &args.name)?;
    let workers = Workers::of(object);
    let mut tail = Tail {
        args,
        filter,
        senders: Senders::new(args, object, workers.found())?,
        workers,
        schemas: HashMap::new(),
        seen: Seen::default(),
        has_printed: false,
    };
    let mut observer = Observer::open(object, args.extent.from())?;
    let (end, mut printed) = (args.extent.end(), 0);
    let mut progress = Progress::of_extent("printing", &args.extent, output).unless_printing();
    while printed < args.extent.most() {
        let now = Instant::now();
        if end.is_some_and(|end| now >= end) {
            break;
        }
        progress.show(printed, || text::count(printed as usize, "packet"));
        let wait = end.map_or(WAIT, |end| WAIT.min(end - now));
        // Without a wait first, so that the output is flushed only where nothing waits.
        let observed = match observer.try_next().map_err(Failure::failed)? {
            Observed::Nothing => {
                output.flush()?;
                observer.next_timeout(wait).map_err(Failure::failed)?
            }
            observed => observed,
        };
        match observed {
            Observed::Next(packet) => printed += u64::from(tail.print(&packet, output)?),
            Observed::Skipped { slots } => skipped(slots, None, output)?,
            Observed::Removed => {
                removed(None, output)?;
                break;
            }
            _ => {}
        }
    }
    drop(progress);
    tail.report_nothing(output)?;
    Ok(args.extent.outcome(printed))
}

/// Prints that packets were skipped, and of which of several rings.
pub(crate) fn skipped(slots: u64, ring: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json {
        return output.json(&with_ring(serde_json::json!({ "skipped_slots": slots }), ring));
    }
    let text = format!("-- skipped {slots} slots: publishers overwrote them before they were read");
    let text = output.paint(YELLOW, text);
    write_ring(ring, output)?;
    writeln!(output, "{text}")?;
    Ok(())
}

/// Prints that the ring was removed, and which of several rings.
pub(crate) fn removed(ring: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json {
        return output.json(&with_ring(serde_json::json!({ "removed": true }), ring));
    }
    let text = output.paint(DIM, "-- the ring was removed");
    write_ring(ring, output)?;
    writeln!(output, "{text}")?;
    Ok(())
}

fn with_ring(mut line: serde_json::Value, ring: Option<&str>) -> serde_json::Value {
    if let Some(ring) = ring {
        line["ring"] = ring.into();
    }
    line
}

fn write_ring(ring: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    if let Some(ring) = ring {
        let ring = output.paint(BOLD, text::plain(ring));
        write!(output, "{ring} ")?;
    }
    Ok(())
}

/// The ids of the worker that `--sender` names; `None` without it.
struct Senders(Option<Vec<u16>>);

impl Senders {
    fn new(args: &TailArgs, object: &ObjectInfo, workers: &[WorkerInfo]) -> Result<Self, Failure> {
        let Some(sender) = &args.sender else { return Ok(Self(None)) };
        if !matches!(object.kind, ObjectKind::Inbox | ObjectKind::Events) {
            return Err(Failure::Usage(format!(
                "--sender: packets of a {} have no sender; use it for an inbox or events",
                names::word(object.kind)
            )));
        }
        let ids = Self::ids(sender, workers);
        if ids.is_empty() {
            let names: Vec<_> = workers.iter().map(|worker| worker.name.as_str()).collect();
            return Err(Failure::failed(format_args!(
                "no worker has the name {sender:?}; the workers are {}",
                names.join(", ")
            )));
        }
        Ok(Self(Some(ids)))
    }

    fn ids(sender: &str, workers: &[WorkerInfo]) -> Vec<u16> {
        let named = workers.iter().filter(|worker| worker.name == sender).map(|worker| worker.id.0);
        named.chain(sender.parse().ok()).collect()
    }

    /// Finds the worker again, which may have another id since it started again.
    fn find(&mut self, args: &TailArgs, workers: &[WorkerInfo]) {
        if let (Some(ids), Some(sender)) = (&mut self.0, &args.sender) {
            *ids = Self::ids(sender, workers);
        }
    }

    fn fit(&self, packet: &ObservedPacket<'_>) -> bool {
        match &self.0 {
            None => true,
            Some(ids) => packet.sender().is_some_and(|sender| ids.contains(&sender.0)),
        }
    }
}

struct Tail<'a> {
    args: &'a TailArgs,
    filter: Option<Filter>,
    senders: Senders,
    workers: Workers,
    schemas: HashMap<Fingerprint, Option<Schema>>,
    /// The packets before the first one that fits.
    seen: Seen,
    has_printed: bool,
}

impl Tail<'_> {
    /// Reports on the standard error what was seen, if a selection fitted no packet.
    fn report_nothing(&self, output: &mut Output) -> Result<(), Failure> {
        let args = self.args;
        let is_selection =
            [&args.kind, &args.event, &args.sender, &args.filter].iter().any(|one| one.is_some());
        if is_selection && !self.has_printed {
            output.flush()?;
            // Without a reader of the standard error, the exit status alone tells.
            let _ = writeln!(std::io::stderr(), "packetring tail: {}", self.seen.sentence());
        }
        Ok(())
    }

    /// Prints a packet, if it fits. Returns whether it did.
    fn print(&mut self, packet: &ObservedPacket<'_>, output: &mut Output) -> Result<bool, Failure> {
        if let Some(sender) = packet.sender()
            && self.workers.look_for(sender)
        {
            self.senders.find(self.args, self.workers.found());
        }
        if !self.has_printed {
            self.seen.add(packet, self.workers.found());
        }
        let is_printed = self.print_fitting(packet, output)?;
        self.has_printed |= is_printed;
        Ok(is_printed)
    }

    fn print_fitting(
        &mut self,
        packet: &ObservedPacket<'_>,
        output: &mut Output,
    ) -> Result<bool, Failure> {
        if !self.is_meant(packet) {
            return Ok(false);
        }
        let schema = packet.fingerprint().and_then(|fingerprint| {
            let schema = self.schemas.entry(fingerprint);
            schema.or_insert_with(|| packet.schema().ok()).as_ref()
        });
        let value = match schema {
            Some(schema) => packet.value(schema).map_err(|error| error.to_string()),
            None => packet
                .schema()
                .map_err(|error| error.to_string())
                .and_then(|_| Err("the type has no schema".to_owned())),
        };
        if let Some(filter) = &self.filter
            && !value.as_ref().is_ok_and(|value| filter.fits(*value))
        {
            return Ok(false);
        }
        let sender = packet.sender().map(|sender| sender.0);
        let by_id = |id| self.workers.found().iter().find(|worker| worker.id.0 == id);
        let sender_name = sender.and_then(by_id).map(|worker| worker.name.as_str());
        let (value, error) = match value {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        let line = Packet {
            ring: None,
            position: packet.position(),
            r#type: packet.type_name(),
            sender,
            sender_name,
            event: packet.event(),
            value,
            error,
        };
        if output.is_json {
            output.json(&line)?;
        } else {
            line.print(output)?;
        }
        Ok(true)
    }

    fn is_meant(&self, packet: &ObservedPacket<'_>) -> bool {
        let name = packet.type_name();
        let is_type = self.args.kind.as_deref().is_none_or(|kind| {
            kind == name || name.rsplit_once("::").is_some_and(|(_, last)| last == kind)
        });
        let is_event = self.args.event.as_deref().is_none_or(|pattern| {
            packet.event().is_some_and(|event| crate::selection::is_match(event, pattern))
        });
        is_type && is_event && self.senders.fit(packet)
    }
}

impl Packet<'_> {
    /// Prints the packet in one line.
    pub(crate) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        write_ring(self.ring, output)?;
        let position = output.paint(DIM, self.position);
        write!(output, "{position}")?;
        if let Some(sender) = self.sender {
            let id = sender.to_string();
            write!(output, " {}", text::plain(self.sender_name.unwrap_or(&id)))?;
        }
        if let Some(event) = self.event {
            let event = output.paint(BOLD, text::plain(event));
            write!(output, " {event}")?;
        }
        write!(output, " {} ", text::plain(self.r#type))?;
        match (&self.value, &self.error) {
            (Some(value), _) => writeln!(output, "{}", text::plain(&value.to_string()))?,
            (_, error) => writeln!(output, "-- {}", text::plain(error.as_deref().unwrap_or("")))?,
        }
        Ok(())
    }
}
