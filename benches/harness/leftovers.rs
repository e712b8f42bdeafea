//! What a run left that was killed goes when the next one starts.
//!
//! The names of rings, of clusters and of floors' memory hold the id of the process that measures.
//! Those of processes that live are left alone, as is what somebody uses.

use packetring::{Ring, Worker};
use std::collections::BTreeSet;
use std::path::Path;

const OBJECTS: &str = "/dev/shm";
const RING: &str = "packetring.speed-";
const FLOOR: &str = "packetring-floor-";
/// What stands between a cluster's name and that of one of its objects.
const OF_CLUSTER: char = '~';

/// Removes what the dead left.
pub(crate) fn remove_of_the_dead() {
    let mut rings = BTreeSet::new();
    for name in objects() {
        if owner(&name).is_none_or(|owner| Path::new(&format!("/proc/{owner}")).exists()) {
            continue;
        }
        match name.strip_prefix("packetring.") {
            // The objects of a cluster go together.
            Some(ring) => {
                rings.insert(ring.split(OF_CLUSTER).next().unwrap_or(ring).to_owned());
            }
            // What cannot be removed is not ours, and is no matter.
            None => drop(rustix::shm::unlink(format!("/{name}"))),
        }
    }
    rings.iter().for_each(|ring| remove(ring));
}

/// Removes the ring and the cluster of this name, as far as nobody uses them.
pub(crate) fn remove(name: &str) {
    // What somebody alive uses stays, and what is not there is no matter.
    let _ = Ring::remove(name);
    let prefix = format!("packetring.{name}{OF_CLUSTER}");
    if objects().any(|object| object.starts_with(&prefix)) {
        sweep(name);
    }
}

/// Joins a cluster and leaves it, which removes what nobody is attached to or expected back at.
fn sweep(cluster: &str) {
    let Ok(broom) = Worker::join(cluster, "broom") else { return };
    for worker in broom.workers() {
        // Those that live are not retired.
        let _ = broom.retire(&worker.id);
    }
    let _ = broom.leave();
}

fn objects() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(OBJECTS).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// The process that measured with what has this name.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(RING).or_else(|| name.strip_prefix(FLOOR))?;
    rest.split('-').next()?.parse().ok()
}
