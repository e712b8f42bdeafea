//! `replay FILE...`: the packets of a recording into a ring or a cluster, or as text.

use super::files::{self, ReadProgress, RecordingFile};
use super::fitting;
use super::format::{End, Entry, NONE, Packet};
use crate::args;
use crate::names;
use crate::output::{Failure, Outcome, Output, YELLOW};
use crate::sending;
use crate::sending::target::{self, Target};
use crate::tail;
use crate::text;
use clap::Args;
use packetring::Stop;
use packetring::dynamic::Schema;
use packetring::inventory::ObjectKind;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest sleep between two looks whether a signal came.
const SLEEP: Duration = Duration::from_millis(50);

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The files; they are read in the order of their first packets
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Sends the packets to this plain ring, which is made if it is not there, as in `test` or with
    /// a prefix `staging:test`; or to a topic, queue or inbox; or emits them to `shop/events`
    #[arg(long, value_name = "NAME", required_unless_present = "print")]
    to: Option<String>,
    /// Prints the packets, with the same lines as `tail`
    #[arg(long, conflicts_with = "to")]
    print: bool,
    /// How fast: 1 as recorded, 10 ten times as fast, `max` without pauses
    #[arg(long, default_value = "1", value_name = "SPEED", value_parser = speed)]
    speed: Speed,
    /// Packets of this ring only, by the name that it had
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Waits for this many subscribers before the first packet
    #[arg(long, value_name = "NUMBER")]
    subscribers: Option<usize>,
    /// Fails if a packet finds no room for so long, or the subscribers do not come; without it,
    /// waits
    #[arg(long, value_name = "SECONDS", conflicts_with = "print", value_parser = args::seconds)]
    timeout: Option<Duration>,
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Times(f64),
    Max,
}

fn speed(text: &str) -> Result<Speed, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Speed::Max),
        Ok(times) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
        _ => Err("give a number above 0, or max".to_owned()),
    }
}

/// What was replayed.
#[derive(Debug, Default, Serialize)]
struct Replayed {
    packets: u64,
    gaps: u64,
    gap_slots: u64,
    /// Packets whose type was not known when they were recorded.
    unknown: u64,
    /// Files whose last block is not whole, with its position.
    cut: Vec<(PathBuf, u64)>,
    /// Files with a damaged block: its position, and the bytes from there on.
    damaged: Vec<(PathBuf, u64, u64)>,
}

/// Replays the files.
pub(crate) fn run(args: &ReplayArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let sources = RecordingFile::open_all(&args.files)?;
    let streams: BTreeMap<_, _> = sources.iter().flat_map(RecordingFile::streams).collect();
    let rings: BTreeSet<_> = streams.keys().cloned().collect();
    if let Some(stream) = &args.stream
        && !rings.is_empty()
        && !rings.contains(stream)
    {
        let rings: Vec<_> = rings.into_iter().collect();
        return Err(Failure::failed(format_args!(
            "no ring of the recording has the name {stream:?}; the recording has the rings {}",
            names::list(&rings)
        )));
    }
    let has_several = rings.len() > 1;
    let stop = args.to.as_ref().map(|_| sending::stop_on_signals()).transpose()?;
    let stop = stop.unwrap_or_default();
    if let Some(to) = &args.to
        && let Some(object) = fitting::object(&packetring::inventory()?, to)
        && target::has_types(object.kind)
    {
        fitting::check_types(&args.files, args.stream.as_deref(), object, &stop, output)?;
    }
    let mut target = args.to.as_deref().map(|to| open(to, &stop)).transpose()?;
    if let Some(target) = &mut target {
        let is_meant = |name: &&String| args.stream.as_ref().is_none_or(|meant| meant == *name);
        for name in rings.iter().filter(is_meant) {
            let is_events = streams.get(name).is_some_and(|kind| kind == EVENTS);
            fitting::check_events(target.is_events(), is_events, name)?;
        }
        if let Some(number) = args.subscribers {
            target.wait_for_subscribers(number, args.timeout)?;
        }
    }
    let mut progress = ReadProgress::of("replaying", &args.files, output);
    if args.print {
        progress = progress.unless_printing();
    }
    let mut replay =
        Replay { args, target, stop, has_several, start: None, done: Replayed::default() };
    for source in sources {
        replay.file(source, &mut progress, output)?;
    }
    drop(progress);
    // This process leaves the target before it reports.
    drop(replay.target.take());
    let done = replay.done;
    for (path, at) in &done.cut {
        let cut = files::cut(path, *at);
        if !output.is_json {
            let cut = output.paint(YELLOW, text::plain(&cut));
            writeln!(output, "-- {cut}")?;
        }
    }
    if output.is_json && !args.print {
        output.json(&done)?;
    } else if !output.is_json && !args.print {
        let packets = text::count(done.packets as usize, "packet");
        let gaps = match done.gaps {
            0 => String::new(),
            gaps => format!(", {} of {} slots", text::count(gaps as usize, "gap"), done.gap_slots),
        };
        writeln!(output, "replayed {packets}{gaps}")?;
        if done.unknown > 0 {
            writeln!(
                output,
                "{} of unknown type left out",
                text::count(done.unknown as usize, "packet")
            )?;
        }
    }
    if let Some(damage) = files::damage(&done.damaged) {
        return Err(damage);
    }
    Ok(if done.unknown > 0 && !args.print { Outcome::Found } else { Outcome::Done })
}

/// The kind of a stream of events.
const EVENTS: &str = "events";

/// Joins the target. A name with a `/` is that of an object of a cluster, or of a ring that is
/// there.
fn open(name: &str, stop: &Stop) -> Result<Target, Failure> {
    if !name.contains('/') {
        return Target::make(name, stop);
    }
    let objects = packetring::inventory()?;
    match names::find(&objects, name) {
        Ok(object) if object.kind != ObjectKind::Directory => Target::open(object, stop),
        // Nobody has opened the events yet.
        Err(_) if name.ends_with("/events") => {
            Target::open(target::directory(&objects, name)?, stop)
        }
        Ok(_) => Err(Failure::failed(format_args!(
            "{name} takes no packets; give a ring, topic, queue or inbox, or CLUSTER/events"
        ))),
        Err(error) => Err(error),
    }
}

struct Replay<'a> {
    args: &'a ReplayArgs,
    target: Option<Target>,
    /// Ends the replay.
    stop: Stop,
    /// Whether the recording has several rings, so that each line names its ring.
    has_several: bool,
    /// When the first packet was replayed, and when it was recorded.
    start: Option<(Instant, u64)>,
    done: Replayed,
}

/// The streams and types of one file.
#[derive(Default)]
struct Known {
    streams: HashMap<u16, String>,
    types: HashMap<u16, (String, Option<Schema>)>,
    /// Names of senders, by stream and id.
    workers: HashMap<(u16, u16), String>,
}

impl Replay<'_> {
    fn file(
        &mut self,
        source: RecordingFile<'_>,
        progress: &mut ReadProgress,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let (path, mut known) = (source.path.to_owned(), Known::default());
        match source.read(progress, |entry| self.entry(entry, &mut known, output))? {
            End::Whole => {}
            End::Cut(at) => self.done.cut.push((path, at)),
            End::Damaged { at, unread } => self.done.damaged.push((path, at, unread)),
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &Entry<'_>,
        known: &mut Known,
        output: &mut Output,
    ) -> Result<(), Failure> {
        match *entry {
            Entry::Stream { id, name, .. } => {
                known.streams.insert(id, name.to_owned());
            }
            Entry::Type { id, fingerprint, name, schema } => {
                let schema = Schema::parse(schema, fingerprint).ok();
                known.types.insert(id, (name.to_owned(), schema));
            }
            Entry::Worker { stream, id, name, .. } => {
                known.workers.insert((stream, id), name.to_owned());
            }
            Entry::Packet(packet) if self.is_meant(packet.stream, known) => {
                self.pace(packet.time, output)?;
                self.packet(&packet, known, output)?;
            }
            Entry::Gap { stream, time, slots } if self.is_meant(stream, known) => {
                self.pace(time, output)?;
                self.done.gaps += 1;
                self.done.gap_slots += slots;
                if self.args.print {
                    tail::skipped(slots, self.ring(stream, known), output)?;
                }
            }
            Entry::Removed { stream, .. } if self.is_meant(stream, known) && self.args.print => {
                tail::removed(self.ring(stream, known), output)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The name of a ring, if lines name their rings.
    fn ring<'k>(&self, stream: u16, known: &'k Known) -> Option<&'k str> {
        known.streams.get(&stream).filter(|_| self.has_several).map(String::as_str)
    }

    fn is_meant(&self, stream: u16, known: &Known) -> bool {
        let name = known.streams.get(&stream);
        self.args.stream.as_ref().is_none_or(|meant| name == Some(meant))
    }

    /// Waits for the time of an entry.
    fn pace(&mut self, time: u64, output: &mut Output) -> Result<(), Failure> {
        let Speed::Times(times) = self.args.speed else { return Ok(()) };
        if self.args.print {
            return Ok(());
        }
        let (start, first) = *self.start.get_or_insert_with(|| (Instant::now(), time));
        let after = Duration::from_nanos(time.saturating_sub(first)).div_f64(times);
        loop {
            let wait = after.saturating_sub(start.elapsed());
            if wait.is_zero() || self.stop.is_stopped() {
                return Ok(());
            }
            output.flush()?;
            std::thread::sleep(wait.min(SLEEP));
        }
    }

    fn packet(
        &mut self,
        packet: &Packet<'_>,
        known: &Known,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let (name, schema) = match known.types.get(&packet.kind) {
            Some((name, schema)) => (name.as_str(), schema.as_ref()),
            None => ("", None),
        };
        let value = schema.map(|schema| schema.read(packet.archive));
        let value = value.ok_or("a type that is not known".to_owned());
        let value = value.and_then(|value| value.map_err(|error| error.to_string()));
        if let Some(target) = &mut self.target {
            let before = self.done.packets as usize;
            let ended = |error: &str| {
                let replayed = format!("{} replayed", text::count(before, "packet"));
                match self.stop.is_stopped() {
                    true => Failure::failed(format_args!("ended by a signal: {replayed}")),
                    false => Failure::failed(format_args!("{error}; {replayed} before")),
                }
            };
            if self.stop.is_stopped() {
                return Err(ended(""));
            }
            match value {
                Ok(value) => {
                    let stream = known.streams.get(&packet.stream).map_or("", String::as_str);
                    fitting::check_events(target.is_events(), !packet.event.is_empty(), stream)?;
                    let sent = target.send(value, packet.event, self.args.timeout);
                    sent.map_err(|error| ended(error.message()))?;
                    self.done.packets += 1;
                }
                Err(_) => self.done.unknown += 1,
            }
            return Ok(());
        }
        self.done.packets += 1;
        let line = tail::Packet {
            ring: self.ring(packet.stream, known),
            position: packet.position,
            r#type: name,
            sender: (packet.sender != NONE).then_some(packet.sender),
            sender_name: known.workers.get(&(packet.stream, packet.sender)).map(String::as_str),
            event: (!packet.event.is_empty()).then_some(packet.event),
            error: value.as_ref().err().cloned(),
            value: value.ok(),
        };
        if output.is_json { output.json(&line) } else { line.print(output) }
    }
}
