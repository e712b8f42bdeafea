//! What a run left that was killed goes when the next one starts.
//!
//! The names of rings and of floors' memory hold the id of the process that measures. Those of
//! processes that live are left alone, as are rings that somebody uses.

use packetring::Ring;
use std::path::Path;

const RING: &str = "packetring.speed-";
const FLOOR: &str = "packetring-floor-";

/// Removes what the dead left in `/dev/shm`.
pub(crate) fn remove_of_the_dead() {
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_none_or(|owner| Path::new(&format!("/proc/{owner}")).exists()) {
            continue;
        }
        // What cannot be removed is not ours, and is no matter.
        match name.strip_prefix("packetring.") {
            Some(ring) => drop(Ring::remove(ring)),
            None => drop(rustix::shm::unlink(format!("/{name}"))),
        }
    }
}

/// The process that measured with what has this name.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(RING).or_else(|| name.strip_prefix(FLOOR))?;
    rest.split('-').next()?.parse().ok()
}
