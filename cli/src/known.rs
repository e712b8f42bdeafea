//! The workers of a cluster, for the names of senders: read again when a packet has a sender that
//! joined later.

use packetring::cluster::{WorkerId, WorkerInfo};
use packetring::inspect::Inspection;
use packetring::inventory::{ObjectInfo, ObjectKind};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The age from which the list is read again for the next packet: another worker can have taken the
/// id of one that left.
const OLD: Duration = Duration::from_secs(1);

/// The workers that were found by the last look.
#[derive(Debug)]
pub(crate) struct Workers {
    /// The directory of the cluster. `None` for an object without a cluster.
    directory: Option<ObjectInfo>,
    found: Vec<WorkerInfo>,
    /// Senders that the last look did not find.
    missing: BTreeSet<u16>,
    read_at: Instant,
}

impl Workers {
    /// The workers of the cluster of an object.
    pub(crate) fn of(object: &ObjectInfo) -> Self {
        let of = |one: &ObjectInfo| (one.prefix.clone(), one.cluster.clone());
        let is_directory =
            |one: &ObjectInfo| one.kind == ObjectKind::Directory && of(one) == of(object);
        let objects = packetring::inventory().unwrap_or_default();
        let directory = objects.into_iter().find(is_directory);
        let directory = directory.filter(|_| object.cluster.is_some());
        let read_at = Instant::now();
        let mut workers = Self { directory, found: Vec::new(), missing: BTreeSet::new(), read_at };
        workers.read();
        workers
    }

    /// The workers, also those that are gone.
    pub(crate) fn found(&self) -> &[WorkerInfo] {
        &self.found
    }

    /// Reads the list again, if it is old or has no worker of this id. Returns whether it was read.
    pub(crate) fn look_for(&mut self, id: WorkerId) -> bool {
        let is_known = self.found.iter().any(|one| one.id == id) || self.missing.contains(&id.0);
        if self.directory.is_none() || is_known && self.read_at.elapsed() < OLD {
            return false;
        }
        self.read();
        if !self.found.iter().any(|one| one.id == id) {
            self.missing.insert(id.0);
        }
        true
    }

    fn read(&mut self) {
        self.read_at = Instant::now();
        self.missing.clear();
        // A directory that was removed leaves the names that were read before.
        let directory = self.directory.as_ref().map(ObjectInfo::inspect);
        if let Some(Ok(Inspection::Directory(directory))) = directory {
            self.found = directory.workers;
        }
    }
}
