//! `record FILE NAME...`: packets of rings into a file, without taking part in them, or as a
//! subscriber that loses nothing.

use super::format::{Entry, NONE, Packet, Writer};
use super::now;
use super::rotation::{create, earlier_files, numbered};
use super::samples::Samples;
use super::source::{Found, Stream};
use crate::extent::Extent;
use crate::names;
use crate::output::{Failure, Outcome, Output, YELLOW};
use crate::progress::Progress;
use crate::text;
use clap::Args;
use packetring::inventory::ObjectInfo;
use packetring::observe::ObservedPacket;
use packetring::packet::Fingerprint;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest time that a packet waits for its block to be written.
const WRITE_EVERY: Duration = Duration::from_millis(200);
/// The first pause if no ring has a packet: a small ring is full soon.
const SHORTEST_PAUSE: Duration = Duration::from_micros(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_micros(200);
/// Least bytes of a file before the next begins.
const LEAST_ROTATION: u64 = 4096;

/// Arguments of `record`.
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// The file, which must not be there yet
    file: PathBuf,
    /// Rings, topics, inboxes, queues, services and events
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    extent: Extent,
    /// Joins the rings, topics and events as a subscriber: nothing is lost, and publishers wait for
    /// the recorder
    ///
    /// Begins with the packets that are published from then on, and with the history of a ring that
    /// has one. Inboxes, queues, services and rings that drop the oldest have no place for such a
    /// reader: record them without --lossless.
    #[arg(long, conflicts_with = "backlog")]
    lossless: bool,
    /// Begins another file, FILE.2, FILE.3 and so on, when one has this size, as in 64M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    rotate: Option<u64>,
    /// Deletes all but the last so many files
    #[arg(long, value_name = "NUMBER", requires = "rotate")]
    keep: Option<u64>,
    /// Overwrites the file, and removes FILE.2, FILE.3 and so on of an earlier recording
    ///
    /// The numbered files are removed with --rotate only.
    #[arg(long)]
    force: bool,
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if digits.is_empty() {
        return Err("give a size, as in 64M".to_owned());
    }
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        other => return Err(format!("no unit {other}: give K, M or G, as in 64M")),
    };
    let number: u64 = digits.parse().map_err(|_| "give a size, as in 64M".to_owned())?;
    match number.checked_mul(1 << shift) {
        Some(size) if size >= LEAST_ROTATION => Ok(size),
        _ => Err(format!("give at least {LEAST_ROTATION} bytes")),
    }
}

/// What was recorded.
#[derive(Debug, Default, Serialize)]
struct Recorded {
    packets: u64,
    gaps: u64,
    gap_slots: u64,
    bytes: u64,
    /// Packets and bytes of the files that are still there.
    kept_packets: u64,
    kept_bytes: u64,
    files: Vec<PathBuf>,
}

impl Recorded {
    /// The line for people.
    fn sentence(&self) -> String {
        let (files, kept) = (text::count(self.files.len(), "file"), text::bytes(self.kept_bytes));
        let packets = text::count(self.packets as usize, "packet");
        if self.kept_packets == self.packets {
            return format!("recorded {packets}, {kept} in {files}");
        }
        let files = files.replacen(' ', " kept ", 1);
        let has = if self.files.len() == 1 { "has" } else { "have" };
        format!("recorded {packets}; the {files} {has} the last {}, {kept}", self.kept_packets)
    }
}

/// Records until there is enough, all rings are gone, or a signal ends it.
pub(crate) fn run(args: &RecordArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let end = args.extent.end();
    let objects = packetring::inventory()?;
    let mut streams = Vec::new();
    let mut found = BTreeSet::new();
    for name in &args.names {
        let object = names::find(&objects, name)?;
        if !found.insert(&object.path) {
            continue;
        }
        streams.push(match args.lossless {
            true => Stream::joined(object),
            false => Stream::passive(object, args.extent.from()),
        }?);
    }
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let flag = Arc::clone(&is_ended);
        signal_hook::flag::register(signal, flag).map_err(Failure::failed)?;
    }
    let mut recorder = Recorder::new(args, &streams, &objects)?;
    let most = args.extent.most();
    let is_over = |now| is_ended.load(Ordering::Relaxed) || end.is_some_and(|end| now >= end);
    // Publishers wait for a lossless recorder, and are woken by each of its looks.
    let longest_pause = if args.lossless { 50 * LONGEST_PAUSE } else { LONGEST_PAUSE };
    let mut pause = SHORTEST_PAUSE;
    let mut progress = Progress::of_extent("recording", &args.extent, output);
    loop {
        let now = Instant::now();
        if recorder.done.packets >= most || is_over(now) || streams.iter().all(|one| one.is_over) {
            break;
        }
        recorder.sample(now)?;
        let mut is_idle = true;
        for (index, stream) in streams.iter_mut().enumerate() {
            is_idle &= !recorder.turn(index as u16, stream, most)?;
        }
        recorder.write_if_due(now, is_idle)?;
        progress.show(recorder.done.packets, || recorder.sentence());
        if is_idle {
            std::thread::sleep(pause);
            pause = longest_pause.min(2 * pause);
        } else {
            pause = SHORTEST_PAUSE;
        }
    }
    drop(progress);
    let done = recorder.finish()?;
    if output.is_json {
        output.json(&done)?;
    } else {
        writeln!(output, "{}", done.sentence())?;
        if done.gaps > 0 {
            let gaps = text::count(done.gaps as usize, "gap");
            let slots = done.gap_slots;
            let gaps =
                format!("{gaps} of {slots} slots: publishers overwrote them before they were read");
            let gaps = output.paint(YELLOW, gaps);
            writeln!(output, "{gaps}")?;
        }
    }
    Ok(args.extent.outcome(done.packets))
}

/// Writes the files.
struct Recorder<'a> {
    args: &'a RecordArgs,
    writer: Writer<File>,
    streams: Vec<(String, &'static str)>,
    samples: Samples<'a>,
    /// Ids of types in the current file.
    types: HashMap<Fingerprint, u16>,
    /// When the block that is not written yet got its first entry.
    since: Option<Instant>,
    /// Number of files so far.
    number: u64,
    /// Packets and bytes of each file of `done` that is complete.
    complete: VecDeque<(u64, u64)>,
    /// Packets of the files before the current one.
    packets_before: u64,
    done: Recorded,
}

impl<'a> Recorder<'a> {
    fn new(
        args: &'a RecordArgs,
        streams: &[Stream<'a>],
        objects: &'a [ObjectInfo],
    ) -> Result<Self, Failure> {
        let earlier =
            if args.rotate.is_some() { earlier_files(&args.file, args.force)? } else { Vec::new() };
        let file = create(&args.file, args.force)?;
        for path in earlier {
            std::fs::remove_file(&path).map_err(|error| {
                Failure::failed(format_args!("{path:?} not removed: {error}; choose another file"))
            })?;
        }
        let mut recorder = Self {
            args,
            writer: Writer::new(file).map_err(|error| full(Some(&args.file), &error))?,
            streams: streams.iter().map(Self::named).collect(),
            samples: Samples::new(streams.iter().map(|one| one.object), objects),
            types: HashMap::new(),
            since: None,
            number: 1,
            complete: VecDeque::new(),
            packets_before: 0,
            done: Recorded { files: vec![args.file.clone()], ..Recorded::default() },
        };
        recorder.begin()?;
        Ok(recorder)
    }

    /// Writes the streams, so that a file is a recording as soon as it is there.
    fn begin(&mut self) -> Result<(), Failure> {
        for (id, (name, kind)) in self.streams.iter().enumerate() {
            self.writer
                .push(&Entry::Stream { id: id as u16, name, kind })
                .map_err(|error| full(self.done.files.last(), &error))?;
        }
        self.write_block()
    }

    fn named(stream: &Stream<'_>) -> (String, &'static str) {
        (stream.name.clone(), names::word(stream.object.kind))
    }

    /// Takes the packets of a ring, and returns whether there were any.
    fn turn(&mut self, id: u16, stream: &mut Stream<'_>, most: u64) -> Result<bool, Failure> {
        let left = most - self.done.packets.min(most);
        if stream.is_over || left == 0 {
            return Ok(false);
        }
        let found = stream.turn(left, &mut |packet| self.packet(id, packet))?;
        match found {
            Found::Packets | Found::Nothing => {}
            Found::Gap(slots) => {
                self.push(&Entry::Gap { stream: id, time: now(), slots })?;
                self.done.gaps += 1;
                self.done.gap_slots += slots;
            }
            Found::End => self.push(&Entry::Removed { stream: id, time: now() })?,
        }
        Ok(found != Found::Nothing)
    }

    /// Writes the backlogs of the readers, if it is time.
    fn sample(&mut self, at: Instant) -> Result<(), Failure> {
        let path = self.done.files.last();
        self.samples.take(at, |entry| self.writer.push(entry).map_err(|error| full(path, &error)))
    }

    fn push(&mut self, entry: &Entry<'_>) -> Result<(), Failure> {
        self.writer.push(entry).map_err(|error| full(self.done.files.last(), &error))
    }

    fn write_block(&mut self) -> Result<(), Failure> {
        self.writer.write_block().map_err(|error| full(self.done.files.last(), &error))
    }

    fn packet(&mut self, stream: u16, packet: &ObservedPacket<'_>) -> Result<(), Failure> {
        self.rotate_if_due(packet.archive().len() as u64)?;
        let kind = match packet.carried() {
            None => NONE,
            Some(carried) => match self.types.get(&carried.fingerprint) {
                Some(id) => *id,
                None if self.types.len() == usize::from(NONE) => NONE,
                None => {
                    let id = self.types.len() as u16;
                    self.types.insert(carried.fingerprint, id);
                    self.push(&Entry::Type {
                        id,
                        fingerprint: carried.fingerprint.0,
                        name: &carried.name,
                        schema: &carried.schema,
                    })?;
                    id
                }
            },
        };
        self.push(&Entry::Packet(Packet {
            stream,
            kind,
            time: now(),
            position: packet.position(),
            sender: packet.sender().map_or(NONE, |sender| sender.0),
            event: packet.event().unwrap_or_default(),
            archive: packet.archive(),
        }))?;
        self.done.packets += 1;
        Ok(())
    }

    fn write_if_due(&mut self, now: Instant, is_idle: bool) -> Result<(), Failure> {
        if !self.writer.has_entries() {
            self.since = None;
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        if is_idle || now - since >= WRITE_EVERY {
            self.write_block()?;
            self.since = None;
        }
        Ok(())
    }

    fn rotate_if_due(&mut self, next: u64) -> Result<(), Failure> {
        if self.args.rotate.is_none_or(|size| self.writer.bytes() + next < size) {
            return Ok(());
        }
        // First the block, so that no packet is lost if the next file cannot be created.
        self.write_block()?;
        self.number += 1;
        let path = numbered(&self.args.file, self.number);
        let file = create(&path, self.args.force)?;
        let next = Writer::new(file).map_err(|error| full(Some(&path), &error))?;
        let last = std::mem::replace(&mut self.writer, next);
        self.count(last.bytes());
        let synced = last.into_inner().sync_all();
        synced.map_err(|error| full(self.done.files.last(), &error))?;
        self.types.clear();
        self.samples.begin_file();
        self.done.files.push(path);
        self.begin()?;
        while self.args.keep.is_some_and(|keep| self.done.files.len() as u64 > keep.max(1)) {
            let oldest = self.done.files.remove(0);
            self.complete.pop_front();
            std::fs::remove_file(&oldest).map_err(|error| {
                Failure::failed(format_args!(
                    "{oldest:?} not deleted: {error}; record without --keep"
                ))
            })?;
        }
        Ok(())
    }

    /// Counts a file that is complete, of this many bytes.
    fn count(&mut self, bytes: u64) {
        let packets = self.done.packets - self.packets_before;
        self.packets_before = self.done.packets;
        self.done.bytes += bytes;
        self.complete.push_back((packets, bytes));
    }

    /// What was recorded so far.
    fn sentence(&self) -> String {
        let packets = text::count(self.done.packets as usize, "packet");
        let bytes = text::bytes(self.done.bytes + self.writer.bytes());
        match self.done.gaps {
            0 => format!("{packets}, {bytes}"),
            gaps => format!("{packets}, {}, {bytes}", text::count(gaps as usize, "gap")),
        }
    }

    fn finish(mut self) -> Result<Recorded, Failure> {
        self.samples
            .end(|entry| self.writer.push(entry))
            .map_err(|error| full(self.done.files.last(), &error))?;
        self.write_block()?;
        self.count(self.writer.bytes());
        let synced = self.writer.into_inner().sync_all();
        synced.map_err(|error| full(self.done.files.last(), &error))?;
        self.done.kept_packets = self.complete.iter().map(|(packets, _)| packets).sum();
        self.done.kept_bytes = self.complete.iter().map(|(_, bytes)| bytes).sum();
        Ok(self.done)
    }
}

/// The error of a file that cannot be written.
fn full(path: Option<&PathBuf>, error: &io::Error) -> Failure {
    let path = path.map(|path| path.display().to_string()).unwrap_or_default();
    Failure::failed(format_args!(
        "{path:?} not written: {error}; the packets since the last block are not in it: free space, \
         or choose another file"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("8k"), Ok(8192));
        for wrong in ["", "M", "64T", "1", "99999999999G", "-1M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
