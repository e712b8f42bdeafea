//! Removes shared memory that a killed run left behind.
//!
//! The names of rings, clusters and floor objects contain the id of the measuring process. Objects
//! of a live process stay, and so do objects that are in use.

use packetring::{Ring, Worker};
use std::collections::BTreeSet;
use std::path::Path;

const OBJECTS: &str = "/dev/shm";
const RING: &str = "packetring.speed-";
const FLOOR: &str = "packetring-floor-";
/// Separates the name of a cluster from the name of one of its objects.
const OF_CLUSTER: char = '~';

/// Removes the objects of processes that no longer exist.
pub(crate) fn remove_of_the_dead() {
    let mut rings = BTreeSet::new();
    for name in objects() {
        if owner(&name).is_none_or(|owner| Path::new(&format!("/proc/{owner}")).exists()) {
            continue;
        }
        match name.strip_prefix("packetring.") {
            // A cluster has several objects. `remove` handles them together.
            Some(ring) => {
                rings.insert(ring.split(OF_CLUSTER).next().unwrap_or(ring).to_owned());
            }
            // Unlinking fails for objects of other users. They stay.
            None => drop(rustix::shm::unlink(format!("/{name}"))),
        }
    }
    rings.iter().for_each(|ring| remove(ring));
}

/// Removes the ring and the cluster of this name unless they are in use.
pub(crate) fn remove(name: &str) {
    // It fails if the ring is in use or does not exist. Both are fine.
    let _ = Ring::remove(name);
    let prefix = format!("packetring.{name}{OF_CLUSTER}");
    if objects().any(|object| object.starts_with(&prefix)) {
        sweep(name);
    }
}

/// Retires the dead workers of a cluster. Joining and leaving it removes unused objects.
fn sweep(cluster: &str) {
    let Ok(cleaner) = Worker::join(cluster, "cleaner") else { return };
    for worker in cleaner.workers() {
        // It fails for live workers.
        let _ = cleaner.retire(&worker.id);
    }
    let _ = cleaner.leave();
}

fn objects() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(OBJECTS).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// The id of the measuring process, parsed from an object name.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(RING).or_else(|| name.strip_prefix(FLOOR))?;
    rest.split('-').next()?.parse().ok()
}
