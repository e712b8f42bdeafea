//! The process that removes a whole cluster is killed or frozen at each object. Others can then
//! join the cluster, or wait until they can, and remove it.

use super::process::{Process, State, Stop};
use super::worker_slots;
use crate::cluster::{JoinError, WorkerState};
use crate::failpoint::Failpoint;
use crate::{OpenError, Worker};
use std::time::Duration;

/// The peer's side.
pub(super) fn remove(cluster: &str) {
    assert!(Worker::remove_cluster(cluster).unwrap());
}

/// Leaves a cluster without living workers: a worker is away, and a packet of a queue is not
/// handled.
fn leave_behind(cluster: &str) {
    let worker = Worker::join(cluster, "away").unwrap();
    drop(worker.inbox().unwrap());
    worker.send_to("away", &7_u64).unwrap();
    worker.queue_publisher::<u64>("jobs").unwrap().send(&7).unwrap();
}

/// A cluster that a peer removes. The peer is stopped before it removes an object.
fn stopped(case: &str, stop: Stop) -> (String, Process) {
    let cluster = format!("removing-{case}-{}-{}", std::process::id(), stop.nth);
    leave_behind(&cluster);
    let mut peer = Process::start(&format!("remove {cluster}"), Some(stop));
    let _ = peer.settle();
    (cluster, peer)
}

/// The inbox, the queue, the directory.
const OBJECTS: usize = 3;

#[test]
fn a_cluster_can_be_joined_and_removed_after_a_kill_during_its_removal() {
    for nth in 1..=OBJECTS {
        let (cluster, mut peer) = stopped("again", Stop::kill(Failpoint::RemoveUnlink, nth));
        assert_eq!(peer.state(), State::Killed);
        assert!(Worker::remove_cluster(&cluster).unwrap());
        worker_slots::assert_gone(&cluster);
        let (cluster, mut peer) = stopped("joined", Stop::kill(Failpoint::RemoveUnlink, nth));
        assert_eq!(peer.state(), State::Killed);
        let other = Worker::join(&cluster, "other").unwrap();
        assert_eq!(other.worker("away").unwrap().state, WorkerState::Away);
        let worker = Worker::join(&cluster, "away").unwrap();
        let mut inbox = worker.inbox().unwrap();
        other.send_to("away", &8_u64).unwrap();
        loop {
            let message = inbox.try_recv().unwrap();
            let number = message.open_as::<u64>().unwrap().to_native();
            message.ack();
            if number == 8 {
                break;
            }
        }
        drop((inbox, other));
        worker.leave().unwrap();
        let _ = Worker::remove_cluster(&cluster).unwrap();
        worker_slots::assert_gone(&cluster);
    }
    let (cluster, mut peer) = stopped("whole", Stop::kill(Failpoint::RemoveUnlink, OBJECTS + 1));
    assert_eq!(peer.state(), State::Finished);
    worker_slots::assert_gone(&cluster);
}

#[test]
fn nobody_joins_a_cluster_that_is_being_removed() {
    for nth in 1..=OBJECTS {
        let (cluster, mut peer) = stopped("frozen", Stop::freeze(Failpoint::RemoveUnlink, nth));
        assert_eq!(peer.state(), State::Frozen);
        let hasty = Worker::builder().join_timeout(Duration::from_millis(5));
        let refused = hasty.join(&cluster, "other").unwrap_err();
        assert!(matches!(refused, JoinError::Open(OpenError::Busy { .. })), "{refused}");
        peer.thaw();
        assert_eq!(peer.settle(), State::Finished);
        let other = Worker::join(&cluster, "other").unwrap();
        assert!(other.worker("away").is_none());
        drop(other);
        worker_slots::assert_gone(&cluster);
    }
}
