//! The figures of a recording: totals, rates, gaps, senders, backlogs of readers.

use super::super::format::{Entry, Latency, NONE, Packet, Sample, UNKNOWN};
use super::bins::{Bins, Merge, Spans};
use std::collections::{BTreeMap, HashMap};

/// Most types, senders or readers of one ring that are told apart. The others are one together.
const MOST_PARTS: usize = 256;

/// The figures of all files.
#[derive(Default)]
pub(super) struct Figures {
    /// By name.
    pub(super) rings: BTreeMap<String, RingFigures>,
    /// The time of the first entry and of the last one, in nanoseconds since 1970.
    pub(super) span: Option<(u64, u64)>,
    /// The rings and types of the current file, by their ids.
    streams: HashMap<u16, String>,
    types: HashMap<u16, String>,
}

/// The figures of one ring.
pub(super) struct RingFigures {
    pub(super) kind: String,
    pub(super) all: Part,
    pub(super) bytes_over_time: Bins,
    pub(super) types: BTreeMap<String, Part>,
    pub(super) senders: BTreeMap<String, Part>,
    pub(super) gaps: u64,
    pub(super) gap_slots: u64,
    pub(super) gaps_over_time: Bins,
    pub(super) readers: BTreeMap<String, ReaderFigures>,
    pub(super) between: Spans,
    pub(super) latencies: LatencyFigures,
    /// When it was removed, in nanoseconds since the beginning.
    pub(super) removed: Option<u64>,
    last: Option<u64>,
    names: HashMap<u16, String>,
    /// Packets of senders before their name was written.
    unnamed: BTreeMap<u16, Part>,
}

/// Packets of a ring, of a type or of a sender.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Times of the first one and of the last one, since the beginning.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) over_time: Bins,
}

/// The samples of one reader.
pub(super) struct ReaderFigures {
    /// In packets: of the samples in which they were counted.
    pub(super) packets: Backlog,
    pub(super) slots: Backlog,
    pub(super) lost: u64,
}

/// Latencies that were sampled while the recorder ran, in nanoseconds.
pub(super) struct LatencyFigures {
    pub(super) samples: u64,
    pub(super) largest: u64,
    /// The largest of a bin: p50, p99, max.
    pub(super) over_time: [Bins; 3],
}

/// Backlogs of a reader in one unit.
pub(super) struct Backlog {
    pub(super) samples: u64,
    pub(super) largest: u64,
    sum: u128,
    pub(super) over_time: Bins,
}

impl Part {
    fn new() -> Self {
        Self { packets: 0, bytes: 0, first: u64::MAX, last: 0, over_time: Bins::new(Merge::Sum) }
    }

    fn add(&mut self, time: u64, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
        (self.first, self.last) = (self.first.min(time), self.last.max(time));
        self.over_time.add(time, 1);
    }

    fn join(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
        for (index, value) in other.over_time.values().iter().enumerate() {
            if let Some(value) = value {
                self.over_time.add(index as u64 * other.over_time.width(), *value);
            }
        }
    }
}

impl RingFigures {
    fn new(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            all: Part::new(),
            bytes_over_time: Bins::new(Merge::Sum),
            types: BTreeMap::new(),
            senders: BTreeMap::new(),
            gaps: 0,
            gap_slots: 0,
            gaps_over_time: Bins::new(Merge::Sum),
            readers: BTreeMap::new(),
            between: Spans::new(),
            latencies: LatencyFigures::new(),
            removed: None,
            last: None,
            names: HashMap::new(),
            unnamed: BTreeMap::new(),
        }
    }

    fn packet(&mut self, time: u64, packet: &Packet<'_>, kind: &str) {
        let bytes = packet.archive.len() as u64;
        self.all.add(time, bytes);
        self.bytes_over_time.add(time, bytes);
        part(&mut self.types, kind).add(time, bytes);
        if packet.sender != NONE {
            match self.names.get(&packet.sender) {
                Some(name) => part(&mut self.senders, name).add(time, bytes),
                None => {
                    self.unnamed.entry(packet.sender).or_insert_with(Part::new).add(time, bytes);
                }
            }
        }
        if let Some(last) = self.last.replace(time) {
            self.between.add(time.saturating_sub(last));
        }
    }

    fn worker(&mut self, id: u16, name: &str) {
        // Packets before the first name are its: the recorder writes names once a second.
        if let Some(before) = self.unnamed.remove(&id) {
            part(&mut self.senders, name).join(&before);
        }
        self.names.insert(id, name.to_owned());
    }

    fn sample(&mut self, time: u64, sample: &Sample<'_>) {
        let Sample { pid, packets, slots, lost, reader, worker, .. } = *sample;
        let name = match (worker, pid) {
            ("", 0) => reader.to_owned(),
            ("", pid) => format!("{reader} of process {pid}"),
            (worker, pid) => format!("{reader} of {worker}, process {pid}"),
        };
        let is_known = self.readers.contains_key(&name) || self.readers.len() < MOST_PARTS;
        let name = if is_known { name } else { OTHERS.to_owned() };
        let reader = self.readers.entry(name).or_insert_with(ReaderFigures::new);
        reader.lost = reader.lost.max(lost);
        reader.slots.add(time, slots);
        if packets != UNKNOWN {
            reader.packets.add(time, packets);
        }
    }

    /// The unit in which all readers are shown: slots, if the packets of a reader were counted in
    /// less than half of its samples.
    pub(super) fn unit(&self) -> &'static str {
        let is_known = |one: &ReaderFigures| 2 * one.packets.samples >= one.slots.samples;
        if self.readers.values().all(is_known) { "packets" } else { "slots" }
    }

    fn series(&mut self) -> impl Iterator<Item = &mut Bins> {
        let parts = self.types.values_mut().chain(self.senders.values_mut());
        let parts = parts.map(|part| &mut part.over_time);
        let readers = self.readers.values_mut();
        let readers = readers.flat_map(|one| [&mut one.packets, &mut one.slots]);
        let readers = readers.map(|backlog| &mut backlog.over_time);
        let own = [&mut self.all.over_time, &mut self.bytes_over_time, &mut self.gaps_over_time];
        own.into_iter().chain(parts).chain(readers).chain(&mut self.latencies.over_time)
    }
}

/// The parts beyond the [`MOST_PARTS`] that are told apart.
const OTHERS: &str = "others";

fn part<'a>(parts: &'a mut BTreeMap<String, Part>, name: &str) -> &'a mut Part {
    let is_known = parts.contains_key(name) || parts.len() < MOST_PARTS;
    let name = if is_known { name } else { OTHERS };
    if !parts.contains_key(name) {
        parts.insert(name.to_owned(), Part::new());
    }
    parts.get_mut(name).unwrap_or_else(|| unreachable!("it was inserted"))
}

impl ReaderFigures {
    fn new() -> Self {
        Self { packets: Backlog::new(), slots: Backlog::new(), lost: 0 }
    }
}

impl LatencyFigures {
    fn new() -> Self {
        let over_time = [(); 3].map(|()| Bins::new(Merge::Largest));
        Self { samples: 0, largest: 0, over_time }
    }

    fn add(&mut self, time: u64, latency: &Latency) {
        let Latency { samples, p50, p99, max, .. } = *latency;
        self.samples = self.samples.saturating_add(samples);
        self.largest = self.largest.max(max);
        for (bins, value) in self.over_time.iter_mut().zip([p50, p99, max]) {
            bins.add(time, value);
        }
    }
}

impl Backlog {
    fn new() -> Self {
        Self { samples: 0, largest: 0, sum: 0, over_time: Bins::new(Merge::Largest) }
    }

    fn add(&mut self, time: u64, value: u64) {
        self.samples += 1;
        self.largest = self.largest.max(value);
        self.sum += u128::from(value);
        self.over_time.add(time, value);
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum as f64 / self.samples.max(1) as f64
    }
}

impl Figures {
    /// Another file begins.
    pub(super) fn begin_file(&mut self) {
        self.streams.clear();
        self.types.clear();
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        match *entry {
            Entry::Stream { id, name, kind } => {
                self.streams.insert(id, name.to_owned());
                self.rings.entry(name.to_owned()).or_insert_with(|| RingFigures::new(kind));
            }
            Entry::Type { id, name, .. } => {
                self.types.insert(id, name.to_owned());
            }
            Entry::Packet(packet) => {
                let time = self.at(packet.time);
                let kind = self.types.get(&packet.kind).map_or("unknown type", String::as_str);
                if let Some(ring) = ring(&self.streams, &mut self.rings, packet.stream) {
                    ring.packet(time, &packet, kind);
                }
            }
            Entry::Gap { stream, time, slots } => {
                let time = self.at(time);
                if let Some(ring) = ring(&self.streams, &mut self.rings, stream) {
                    ring.gaps += 1;
                    ring.gap_slots = ring.gap_slots.saturating_add(slots);
                    ring.gaps_over_time.add(time, slots);
                }
            }
            Entry::Removed { stream, time } => {
                let time = self.at(time);
                if let Some(ring) = ring(&self.streams, &mut self.rings, stream) {
                    ring.removed = Some(time);
                }
            }
            Entry::Worker { stream, id, name, .. } => {
                if let Some(ring) = ring(&self.streams, &mut self.rings, stream) {
                    ring.worker(id, name);
                }
            }
            Entry::Sample(sample) => {
                let time = self.at(sample.time);
                if let Some(ring) = ring(&self.streams, &mut self.rings, sample.stream) {
                    ring.sample(time, &sample);
                }
            }
            Entry::Latency(latency) => {
                let time = self.at(latency.time);
                if let Some(ring) = ring(&self.streams, &mut self.rings, latency.stream) {
                    ring.latencies.add(time, &latency);
                }
            }
        }
    }

    /// Nanoseconds since the first time. A clock that was set back gives 0.
    fn at(&mut self, time: u64) -> u64 {
        let (first, last) = self.span.get_or_insert((time, time));
        *last = time.max(*last);
        time.saturating_sub(*first)
    }

    /// Gives all series bins of one width, and returns it in nanoseconds.
    pub(super) fn finish(&mut self) -> u64 {
        for ring in self.rings.values_mut() {
            for (id, part_of) in std::mem::take(&mut ring.unnamed) {
                part(&mut ring.senders, &format!("worker {id}")).join(&part_of);
            }
        }
        let rings = self.rings.values_mut();
        let width = rings.flat_map(RingFigures::series).map(|bins| bins.width()).max().unwrap_or(1);
        let rings = self.rings.values_mut();
        rings.flat_map(RingFigures::series).for_each(|bins| bins.widen(width));
        width
    }

    /// The time between the first entry and the last one, in nanoseconds.
    pub(super) fn length(&self) -> u64 {
        self.span.map_or(0, |(first, last)| last - first)
    }
}

fn ring<'a>(
    streams: &HashMap<u16, String>,
    rings: &'a mut BTreeMap<String, RingFigures>,
    id: u16,
) -> Option<&'a mut RingFigures> {
    rings.get_mut(streams.get(&id)?)
}
