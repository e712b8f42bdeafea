//! The figures of `top`: two snapshots of all rings, and what changed between them.

use super::endpoints::Endpoint;
use crate::counters::Counts;
use crate::latency::figures::Figures;
use crate::ls::State;
use crate::names;
use crate::rings::{self, Backlog, Blocker};
use crate::selection::NamedSelection;
use crate::text;
use crate::users;
use packetring::inspect::{self, Inspection, RingInspection, SleepCounts};
use packetring::inventory::{self, ObjectInfo};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Bytes of a slot.
const SLOT: f64 = 64.0;
/// How many seconds a death is shown after it was found.
const RECENT: f64 = 60.0;
/// Rates that a sparkline shows.
pub(super) const HISTORY: usize = 8;

/// One ring at one time.
#[derive(Debug)]
struct Sample {
    name: String,
    kind: &'static str,
    ring: RingInspection,
}

/// Takes snapshots and compares each with the one before.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    before: HashMap<String, Sample>,
    taken: Option<Instant>,
    rates: HashMap<String, VecDeque<f64>>,
}

/// All rings, with the rates since the snapshot before.
#[derive(Debug, Default, Serialize)]
pub(super) struct View {
    /// Seconds since the snapshot before; 0 for the first one.
    pub(super) seconds: f64,
    pub(super) bytes_per_second: f64,
    pub(super) rings: Vec<Row>,
    /// Why rings are not shown that may be there: another layout, another user.
    pub(super) unread: Vec<String>,
}

/// Why objects are not shown.
fn unread(
    objects: &[ObjectInfo],
    selection: &NamedSelection,
) -> Result<Vec<String>, packetring::OpenError> {
    let of = |state: State| objects.iter().filter(move |one| State::of(one) == state).count();
    let mut unread = Vec::new();
    for (number, what) in
        [(of(State::OtherLayout), "of another layout"), (of(State::Damaged), "damaged")]
    {
        if number > 0 {
            unread.push(format!("{} {what}: see `packetring ls`", text::count(number, "object")));
        }
    }
    let others = inventory::of_other_users()?;
    let others: Vec<_> = others.iter().filter(|one| selection.has(one)).collect();
    unread.extend(users::sentence(&others));
    Ok(unread)
}

/// One ring.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// Slots that publishers have claimed since the ring was made.
    pub(super) tail: u64,
    pub(super) slots_per_second: f64,
    pub(super) bytes_per_second: f64,
    /// Packets that the publishers sent, which are there now.
    pub(super) packets_per_second: f64,
    /// Packets that the readers received, which are there now, each reader for itself.
    pub(super) received_per_second: f64,
    /// The part of the time, of 1, that the publisher slept for room that slept most.
    pub(super) blocked: f64,
    /// What the publishers counted that are there now, and what the readers did.
    pub(super) sent: Counts,
    pub(super) received: Counts,
    /// Used slots, of 1.
    pub(super) fill: Option<f64>,
    pub(super) backlog: Option<Backlog>,
    pub(super) writers: usize,
    pub(super) readers: usize,
    pub(super) dead: usize,
    /// Endpoints whose process is stopped.
    pub(super) stopped: usize,
    /// Time since a dead process was last found.
    pub(super) seconds_since_death: Option<f64>,
    /// Packets that readers lost because the ring drops the oldest, and that since the snapshot
    /// before.
    pub(super) missed: u64,
    pub(super) missed_per_second: f64,
    /// Notifications of sleeping endpoints.
    pub(super) wakes_per_second: f64,
    /// Endpoints that were about to sleep.
    pub(super) sleeps_per_second: f64,
    /// Publishers that were about to sleep, because the ring was full.
    pub(super) publisher_sleeps_per_second: f64,
    pub(super) blocker: Option<Blocker>,
    /// The latencies since the snapshot before, if they are sampled.
    pub(super) latency: Option<Figures>,
    pub(super) endpoints: Vec<Endpoint>,
    /// The last rates in slots, the oldest first.
    #[serde(skip)]
    pub(super) history: Vec<f64>,
}

impl Sampler {
    /// Takes a snapshot.
    pub(super) fn take(
        &mut self,
        selection: &NamedSelection,
    ) -> Result<View, packetring::OpenError> {
        let mut objects = packetring::inventory()?;
        objects.retain(|one| selection.has(one));
        let unread = unread(&objects, selection)?;
        let found = inspect::objects(objects).into_iter().filter_map(|object| {
            let (name, kind) = (names::full(&object.info), names::word(object.info.kind));
            match object.content {
                Ok(Inspection::Ring(ring)) => Some(Sample { name, kind, ring }),
                _ => None,
            }
        });
        let view = self.compare(found.collect(), Instant::now());
        Ok(View { unread, ..view })
    }

    /// Compares a snapshot with the one before, and keeps it.
    fn compare(&mut self, samples: Vec<Sample>, now: Instant) -> View {
        let seconds = self.taken.map_or(0.0, |taken| (now - taken).as_secs_f64());
        let mut rings = Vec::new();
        for sample in &samples {
            // A ring whose positions went back is another one of the name.
            let before = self.before.get(&sample.name).map(|before| &before.ring);
            let before = before.filter(|before| before.tail <= sample.ring.tail);
            let mut row = Row::of(sample, before, seconds);
            let rates = self.rates.entry(sample.name.clone()).or_default();
            if before.is_some() {
                rates.push_back(row.slots_per_second);
            }
            while rates.len() > HISTORY {
                rates.pop_front();
            }
            row.history = rates.iter().copied().collect();
            rings.push(row);
        }
        self.rates.retain(|name, _| samples.iter().any(|sample| sample.name == *name));
        self.before = samples.into_iter().map(|sample| (sample.name.clone(), sample)).collect();
        self.taken = Some(now);
        let bytes_per_second = rings.iter().map(|row| row.bytes_per_second).sum();
        View { seconds, bytes_per_second, rings, unread: Vec::new() }
    }
}

impl Row {
    fn of(sample: &Sample, before: Option<&RingInspection>, seconds: f64) -> Self {
        let ring = &sample.ring;
        let per_second = |number: f64| if seconds > 0.0 { number / seconds } else { 0.0 };
        let since = |now: u64, then: Option<u64>| {
            per_second(then.map_or(0.0, |then| now.saturating_sub(then) as f64))
        };
        let slots_per_second = since(ring.tail, before.map(|before| before.tail));
        let missed = |ring: &RingInspection| ring.endpoints.iter().map(rings::evicted).sum();
        let counts = |now: SleepCounts, then: Option<SleepCounts>| {
            // Both counts wrap around.
            let grown = |now: u32, then: u32| f64::from(now.wrapping_sub(then));
            then.map_or((0.0, 0.0), |then| {
                let sleeps = grown(now.sleeps, then.sleeps);
                (per_second(sleeps), per_second(grown(now.notifications, then.notifications)))
            })
        };
        let (reader_sleeps, reader_wakes) =
            counts(ring.readers, before.map(|before| before.readers));
        let (writer_sleeps, writer_wakes) =
            counts(ring.writers, before.map(|before| before.writers));
        let writers = ring.endpoints.iter().filter(|one| rings::is_writer(one)).count();
        let endpoints: Vec<_> =
            ring.endpoints.iter().map(|one| Endpoint::of(one, before, seconds)).collect();
        let count = |state: &str| endpoints.iter().filter(|one| one.state == state).count();
        let side =
            |is_writing: bool| endpoints.iter().filter(move |one| one.is_writing == is_writing);
        Self {
            name: sample.name.clone(),
            kind: sample.kind,
            tail: ring.tail,
            slots_per_second,
            bytes_per_second: slots_per_second * SLOT,
            packets_per_second: side(true).map(|one| one.packets_per_second).sum(),
            received_per_second: side(false).map(|one| one.packets_per_second).sum(),
            blocked: side(true).map(|one| one.blocked).fold(0.0, f64::max),
            sent: side(true).map(|one| one.counters).sum(),
            received: side(false).map(|one| one.counters).sum(),
            fill: ring.gate.map(|gate| 1.0 - gate.free_slots as f64 / ring.slots.max(1) as f64),
            backlog: rings::backlog(ring),
            writers,
            readers: endpoints.len() - writers,
            dead: count("dead"),
            stopped: count("stopped"),
            seconds_since_death: ring.last_death.map(|time| time.as_secs_f64()),
            missed: missed(ring),
            missed_per_second: since(missed(ring), before.map(missed)),
            wakes_per_second: reader_wakes + writer_wakes,
            sleeps_per_second: reader_sleeps + writer_sleeps,
            publisher_sleeps_per_second: writer_sleeps,
            blocker: Blocker::of(ring),
            latency: Figures::sampled(ring, before),
            endpoints,
            history: Vec::new(),
        }
    }

    /// How much the ring needs attention: 2 if its publishers are held back, 1 if an endpoint is
    /// dead or stopped, 0 otherwise.
    pub(super) fn attention(&self) -> u8 {
        match (&self.blocker, self.dead + self.stopped) {
            (Some(_), _) => 2,
            (None, 1..) => 1,
            (None, 0) => 0,
        }
    }

    /// The state in words, empty if nothing needs attention.
    pub(super) fn state(&self) -> String {
        let mut states = Vec::new();
        if let Some(blocker) = &self.blocker {
            states.push(format!("held back by {}", blocker.cause()));
        }
        if self.dead > 0 {
            states.push(format!("{} dead", self.dead));
        }
        if self.stopped > 0 && self.blocker.is_none() {
            states.push(format!("{} stopped", self.stopped));
        }
        if let Some(seconds) = self.seconds_since_death.filter(|seconds| *seconds < RECENT) {
            states.push(format!("a process died {seconds:.0} s ago"));
        }
        states.join(", ")
    }

    /// The state in so many characters: it drops words before it drops a process id, and cuts no
    /// number. If nothing fits, an ellipsis.
    pub(super) fn state_within(&self, width: usize) -> String {
        let all = self.state();
        let mut forms = vec![all];
        if let Some(blocker) = &self.blocker {
            let causes = blocker.causes();
            forms.extend(causes.iter().map(|cause| format!("held back by {cause}")));
            forms.extend(causes.last().cloned());
        }
        if self.blocker.is_none() && self.dead > 0 {
            forms.push(format!("{} dead", self.dead));
        }
        let fitting = forms.into_iter().find(|form| form.chars().count() <= width);
        fitting.unwrap_or_else(|| "…".to_owned())
    }
}

/// The column by which rings are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Column {
    #[default]
    Rate,
    Name,
    Backlog,
    Fill,
    Missed,
    Wakes,
}

impl Column {
    /// The next column.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Name,
            Self::Name => Self::Backlog,
            Self::Backlog => Self::Fill,
            Self::Fill => Self::Missed,
            Self::Missed => Self::Wakes,
            Self::Wakes => Self::Rate,
        }
    }

    /// Its name on the screen.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Name => "name",
            Self::Backlog => "behind",
            Self::Fill => "full",
            Self::Missed => "missed",
            Self::Wakes => "wakes",
        }
    }

    /// Orders rings: the highest first, names ascending. In the order by rate, which is the first
    /// one, the rings that need attention come before all others: a full ring has no rate.
    pub(super) fn sort(self, rows: &mut [Row]) {
        let key = |row: &Row| match self {
            Self::Rate => row.slots_per_second,
            Self::Name => 0.0,
            Self::Backlog => row.backlog.map_or(-1.0, |backlog| backlog.slots as f64),
            Self::Fill => row.fill.unwrap_or(-1.0),
            Self::Missed => row.missed_per_second + row.missed as f64 / 1e12,
            Self::Wakes => row.wakes_per_second,
        };
        let attention = |row: &Row| if self == Self::Rate { row.attention() } else { 0 };
        rows.sort_by(|one, other| {
            let order = attention(other).cmp(&attention(one));
            let order = order.then_with(|| key(other).total_cmp(&key(one)));
            order.then_with(|| one.name.cmp(&other.name))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packetring::Ring;

    fn sample(name: &str) -> Sample {
        let objects = packetring::inventory().unwrap_or_default();
        let object = objects.iter().find(|object| object.name == name);
        let Some(Ok(Inspection::Ring(ring))) = object.map(|object| object.inspect()) else {
            unreachable!("the ring is there")
        };
        Sample { name: name.to_owned(), kind: "ring", ring }
    }

    #[test]
    fn rates_are_those_between_two_snapshots() -> Result<(), Box<dyn std::error::Error>> {
        let name = format!("top-model-{}", std::process::id());
        let ring = Ring::builder().prefix("").capacity(4096).open(&name)?;
        let (mut out, mut reader) = (ring.publisher::<u64>()?, ring.subscriber::<u64>()?);
        let (mut sampler, start) = (Sampler::default(), Instant::now());
        let first = sampler.compare(vec![sample(&name)], start);
        assert_eq!((first.seconds, first.rings[0].slots_per_second), (0.0, 0.0));
        for number in 0..60 {
            out.send(&number)?;
        }
        for _ in 0..20 {
            drop(reader.recv()?);
        }
        let two = std::time::Duration::from_secs(2);
        let second = sampler.compare(vec![sample(&name)], start + two);
        let row = &second.rings[0];
        assert_eq!((row.slots_per_second, row.bytes_per_second), (30.0, 1920.0));
        assert_eq!(row.endpoints[1].slots_per_second, Some(10.0));
        assert_eq!(row.backlog.and_then(|backlog| backlog.packets), Some(40));
        assert_eq!((row.fill, row.history.as_slice()), (Some(40.0 / 64.0), &[30.0][..]));
        for number in 0..23 {
            out.send(&number)?;
        }
        let third = sampler.compare(vec![sample(&name)], start + 2 * two);
        assert!(third.rings[0].state().starts_with("held back by process "));
        assert_eq!(third.rings[0].history, [30.0, 11.5]);
        Ok(())
    }

    #[test]
    fn columns_order_rings() {
        let row = |name: &str, rate: f64, missed| Row {
            name: name.to_owned(),
            slots_per_second: rate,
            missed,
            ..Row::default()
        };
        let mut rows = [row("b", 1.0, 0), row("a", 1.0, 7), row("c", 2.0, 3)];
        let mut order = |column: Column| {
            column.sort(&mut rows);
            rows.iter().map(|row| row.name.as_str()).collect::<String>()
        };
        assert_eq!(order(Column::Rate), "cab");
        assert_eq!(order(Column::Name), "abc");
        assert_eq!(order(Column::Missed), "acb");
        // Rings that need attention do not pass anything on, and come first.
        let held = Row { blocker: Some(Blocker::default()), ..row("d", 0.0, 0) };
        let dead = Row { dead: 1, ..row("e", 0.0, 0) };
        let mut rows = [row("b", 1.0, 0), dead, row("c", 2.0, 3), held];
        let mut order = |column: Column| {
            column.sort(&mut rows);
            rows.iter().map(|row| row.name.as_str()).collect::<String>()
        };
        assert_eq!(order(Column::Rate), "decb");
        assert_eq!(order(Column::Name), "bcde");
    }
}
