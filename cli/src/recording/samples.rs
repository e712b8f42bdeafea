//! Backlogs of readers, latencies and names of workers, which a recorder writes about once a
//! second: read from outside, without a lock or a place in the rings.

use super::format::{Entry, Latency, Sample, UNKNOWN};
use super::now;
use crate::rings;
use packetring::inspect::{self, Inspection, LatencySnapshot, RingInspection};
use packetring::inventory::{ObjectInfo, ObjectKind};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The samples of a recorder.
pub(super) struct Samples<'a> {
    /// The object of each stream, and the directory of its cluster if its packets have senders.
    objects: Vec<(&'a ObjectInfo, Option<&'a ObjectInfo>)>,
    next: Instant,
    /// The names that are in the current file, by stream and id.
    names: HashMap<(u16, u16), String>,
    /// The latencies of each stream at its last sample.
    latencies: HashMap<u16, Box<LatencySnapshot>>,
}

impl<'a> Samples<'a> {
    /// Samples of these objects of a list.
    pub(super) fn new(
        objects: impl Iterator<Item = &'a ObjectInfo>,
        list: &'a [ObjectInfo],
    ) -> Self {
        let objects = objects.map(|object| (object, directory(object, list))).collect();
        Self { objects, next: Instant::now(), names: HashMap::new(), latencies: HashMap::new() }
    }

    /// Another file begins: it gets all names.
    pub(super) fn begin_file(&mut self) {
        self.names.clear();
        self.next = Instant::now();
    }

    /// Calls `put` with the entries of a sample, if it is time for one.
    pub(super) fn take<E>(
        &mut self,
        at: Instant,
        mut put: impl FnMut(&Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if at < self.next {
            return Ok(());
        }
        for (stream, (object, directory)) in self.objects.iter().enumerate() {
            let stream = stream as u16;
            if let Some(Ok(Inspection::Directory(found))) = directory.map(ObjectInfo::inspect) {
                for worker in &found.workers {
                    let (key, name) = ((stream, worker.id.0), &worker.name);
                    if self.names.get(&key) != Some(name) {
                        put(&Entry::Worker { stream, time: now(), id: key.1, name })?;
                        self.names.insert(key, name.clone());
                    }
                }
            }
            // A ring that was removed has no readers.
            if let Ok(Inspection::Ring(ring)) = object.inspect() {
                readers(stream, &ring, &mut put)?;
                if let Some(latency) = latency(stream, &ring, &mut self.latencies) {
                    put(&Entry::Latency(latency))?;
                }
            }
        }
        // After the inspection, so that a slow one does not take all the time.
        self.next = Instant::now() + SAMPLE_EVERY;
        Ok(())
    }

    /// Calls `put` with the latencies since the last sample, at the end of a recording.
    pub(super) fn end<E>(
        &mut self,
        mut put: impl FnMut(&Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (stream, (object, _)) in self.objects.iter().enumerate() {
            if let Ok(Inspection::Ring(ring)) = object.inspect()
                && let Some(latency) = latency(stream as u16, &ring, &mut self.latencies)
            {
                put(&Entry::Latency(latency))?;
            }
        }
        Ok(())
    }
}

/// The backlog of each reader, and of a queue.
fn readers<E>(
    stream: u16,
    ring: &RingInspection,
    put: &mut impl FnMut(&Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let time = now();
    let mut sample = |pid, reader: &str, worker: &str, lag: inspect::Lag, lost| {
        let packets = lag.packets.unwrap_or(UNKNOWN);
        let slots = lag.slots;
        put(&Entry::Sample(Sample { stream, time, pid, packets, slots, lost, reader, worker }))
    };
    if let Some(queue) = &ring.queue {
        sample(0, "queue", "", queue.lag, 0)?;
    }
    for endpoint in &ring.endpoints {
        let Some(lag) = endpoint.lag else { continue };
        let is_own = endpoint.pid == std::process::id();
        let reader = rings::role(endpoint);
        let reader = if is_own { format!("{reader} (recorder)") } else { reader };
        let worker = endpoint.worker.as_deref().unwrap_or_default();
        sample(endpoint.pid, &reader, worker, lag, rings::evicted(endpoint))?;
    }
    Ok(())
}

/// The latencies since the last sample. `None` if there are none.
fn latency(
    stream: u16,
    ring: &RingInspection,
    before: &mut HashMap<u16, Box<LatencySnapshot>>,
) -> Option<Latency> {
    let before = before.insert(stream, ring.latencies.clone())?;
    let found = ring.latencies.since(&before);
    let nanoseconds = |part| {
        let time = found.quantile(part).unwrap_or_default().as_nanos();
        u64::try_from(time).unwrap_or(u64::MAX)
    };
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(nanoseconds);
    (found.count > 0).then(|| Latency { stream, time: now(), samples: found.count, p50, p99, max })
}

/// The directory of an object's cluster, if its packets have senders.
fn directory<'a>(object: &ObjectInfo, list: &'a [ObjectInfo]) -> Option<&'a ObjectInfo> {
    let has_senders = matches!(object.kind, ObjectKind::Inbox | ObjectKind::Events);
    let is_it = |one: &&ObjectInfo| {
        one.kind == ObjectKind::Directory
            && one.cluster == object.cluster
            && one.prefix == object.prefix
    };
    list.iter().find(is_it).filter(|_| has_senders)
}
