//! Of several processes that leave at once, one removes the ring, even if none gets the lock in
//! time. The objects of a killed worker go with the last worker that leaves its cluster.

use super::process::{Process, State, Stop, hear, say};
use super::scenario;
use super::worker_slots;
use crate::failpoint::Failpoint;
use crate::{Ring, Worker};

/// The peer's side.
pub(super) fn leave(name: &str) {
    drop(Ring::attach(name).unwrap());
}

#[test]
fn the_process_that_releases_the_lock_removes_what_others_could_not() {
    let name = format!("leaving-{}", std::process::id());
    let ring = Ring::builder().capacity(1024).open(&name).unwrap();
    let stop = Some(Stop::freeze(Failpoint::DetachUnlock, 1));
    let mut leaving = Process::start(&format!("leave {name}"), stop);
    // It has found this process attached, and holds the lock.
    assert_eq!(leaving.settle(), State::Frozen);
    drop(ring);
    leaving.thaw();
    assert_eq!(leaving.settle(), State::Finished);
    scenario::assert_gone(&name);
}

/// Another peer's side: uses a topic of a cluster until it is killed.
pub(super) fn stay(cluster: &str) {
    let worker = Worker::join(cluster, "staying").unwrap();
    let _numbers = worker.publisher::<u64>("numbers").unwrap();
    say("here");
    hear();
}

/// A third peer's side: joins a cluster and leaves it.
pub(super) fn pass(cluster: &str) {
    drop(Worker::join(cluster, "passing").unwrap());
}

#[test]
fn a_worker_that_leaves_as_another_is_killed_removes_its_objects() {
    let cluster = format!("leaving-cluster-{}", std::process::id());
    let mut staying = Process::start(&format!("stay {cluster}"), None);
    staying.expect("here");
    let stop = Some(Stop::freeze(Failpoint::Detach, 1));
    let mut passing = Process::start(&format!("pass {cluster}"), stop);
    // It has found the other one alive.
    assert_eq!(passing.settle(), State::Frozen);
    drop(staying);
    passing.thaw();
    assert_eq!(passing.settle(), State::Finished);
    worker_slots::assert_gone(&cluster);
}
