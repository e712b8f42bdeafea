//! Of several who leave at once one removes the ring, also where none of them has its lock in time; and
//! what a killed worker was attached to goes with the last that leaves its cluster.

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
fn who_gives_the_lock_back_removes_what_others_could_not() {
    let name = format!("leaving-{}", std::process::id());
    let ring = Ring::builder().capacity(1024).open(&name).unwrap();
    let stop = Some(Stop::freeze(Failpoint::DetachUnlock, 1));
    let mut leaving = Process::start(&format!("leave {name}"), stop);
    // It has found this one attached, and holds the lock.
    assert_eq!(leaving.settle(), State::Frozen);
    drop(ring);
    leaving.thaw();
    assert_eq!(leaving.settle(), State::Finished);
    scenario::assert_gone(&name);
}

/// Another peer's side: has a topic in a cluster until it is killed.
pub(super) fn stay(cluster: &str) {
    let worker = Worker::join(cluster, "staying").unwrap();
    let _numbers = worker.publisher::<u64>("numbers").unwrap();
    say("here");
    hear();
}

/// And another's: joins a cluster, and leaves it.
pub(super) fn pass(cluster: &str) {
    drop(Worker::join(cluster, "passing").unwrap());
}

#[test]
fn who_leaves_as_another_is_killed_clears_away_what_that_one_had() {
    let cluster = format!("leaving-cluster-{}", std::process::id());
    let mut staying = Process::start(&format!("stay {cluster}"), None);
    staying.expect("here");
    let stop = Some(Stop::freeze(Failpoint::Detach, 1));
    let mut passing = Process::start(&format!("pass {cluster}"), stop);
    // It has found the other alive.
    assert_eq!(passing.settle(), State::Frozen);
    drop(staying);
    passing.thaw();
    assert_eq!(passing.settle(), State::Finished);
    worker_slots::assert_gone(&cluster);
}
