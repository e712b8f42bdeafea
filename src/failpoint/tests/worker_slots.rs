//! A worker is killed or frozen at each failpoint of joining and leaving a cluster. Afterwards its
//! worker slot is free or its own, and the messages in its inbox are there.

use super::process::{GENEROUS, Process, State, Stop};
use super::scenario::{self, Case};
use crate::cluster::internals::{
    Address, Cluster, ClusterObject, Directory, InboxName, JoinRequest, Lookup, WorkerId,
};
use crate::cluster::{JoinError, WorkerState};
use crate::segment::name::Name;
use crate::sys::lock::LockLimit;
use crate::{OpenError, Ring, Subscriber, TrySendError, Wait};
use std::path::PathBuf;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);
const PEER: Address<'_> = Address::Name("peer");
/// The survivor joins first.
const WORKER: WorkerId = WorkerId(1);

fn join(cluster: &str, name: &str, timeout: Duration) -> Result<Directory, JoinError> {
    let request = JoinRequest {
        name,
        id: None,
        hint: None,
        max_workers: None,
        limit: LockLimit::timeout(timeout),
        wait_for_name: None,
    };
    Directory::join(&Cluster::plain(cluster), &request)
}

/// The ring of the peer's inbox, made if it does not exist.
fn ring(cluster: &str) -> Ring {
    let settings = Ring::builder().capacity(8192).stays_open(true).tagged_slots();
    settings.wait(Wait::park()).open_named(&inbox_name(cluster)).unwrap()
}

fn inbox_name(cluster: &str) -> Name {
    let inbox = ClusterObject::Inbox("peer", InboxName::First);
    inbox.name(&Cluster::plain(cluster)).unwrap()
}

fn inbox(cluster: &str) -> Subscriber<u64> {
    ring(cluster).durable("inbox").unwrap()
}

fn objects(cluster: &str) -> Vec<PathBuf> {
    let prefix = format!("packetring.{cluster}~");
    let all = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap());
    let own = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    own.map(|entry| entry.path()).collect()
}

/// Asserts that nothing is left of a cluster.
pub(super) fn assert_gone(cluster: &str) {
    assert_eq!(objects(cluster), [] as [PathBuf; 0]);
}

fn has_inbox(cluster: &str) -> bool {
    objects(cluster).iter().any(|path| path.to_string_lossy().contains("~i."))
}

/// The peer's side: a worker without an inbox, a worker that is kept and returns, and a worker that
/// leaves.
pub(super) fn live(cluster: &str) {
    let join = || join(cluster, "peer", GENEROUS).unwrap();
    drop(join());
    let worker = join();
    let inbox = inbox(cluster);
    worker.keep().unwrap();
    let Lookup::Inbox(first) = worker.find(&PEER) else { panic!("not kept") };
    drop((inbox, worker));
    let worker = join();
    // Other workers may have had the name in between.
    let Lookup::Inbox(second) = worker.find(&PEER) else { panic!("not kept") };
    assert!(second.presence.generation() > first.presence.generation());
    worker.leave().unwrap();
    // The first killed worker is cleared by another one, which is killed while it does so.
    let worker = join();
    drop(self::inbox(cluster));
    drop(worker);
}

#[test]
fn a_worker_that_is_away_keeps_its_cluster_until_it_is_retired() {
    let cluster = format!("slots-away-{}", std::process::id());
    let worker = join(&cluster, "peer", GENEROUS).unwrap();
    let messages = inbox(&cluster);
    worker.keep().unwrap();
    ring(&cluster).publisher::<u64>().unwrap().send(&7).unwrap();
    drop((messages, worker));
    // No worker is there, and both objects are.
    assert_eq!(objects(&cluster).len(), 2);
    let heir = join(&cluster, "peer", GENEROUS).unwrap();
    let Lookup::Inbox(found) = heir.find(&PEER) else { panic!("not kept") };
    let id = found.id;
    assert_eq!((id, found.presence.generation()), (heir.id(), 2));
    assert_eq!(*inbox(&cluster).try_recv().unwrap(), 7);
    drop(heir);
    let other = join(&cluster, "other", GENEROUS).unwrap();
    assert_ne!(other.id(), id);
    assert_eq!(other.info(&PEER).unwrap().state, WorkerState::Away);
    assert_eq!(other.list().len(), 2);
    assert!(other.retire(&PEER).unwrap());
    assert_eq!(other.info(&PEER).unwrap().state, WorkerState::Gone);
    assert!(!other.retire(&PEER).unwrap());
    assert!(!has_inbox(&cluster));
    drop(other);
    assert_gone(&cluster);
}

/// Runs a case. Returns true if the peer reached the failpoint and was killed there.
pub(super) fn survive(stop: Stop) -> bool {
    let cluster = format!("slots-{}-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let own = join(&cluster, "survivor", GENEROUS).unwrap();
    let mut peer = scenario::start(&cluster, Case::Cluster, stop);
    let _ = peer.settle();
    let found = own.find(&PEER);
    assert!(!matches!(found, Lookup::NoInbox), "{cluster}: {found:?}");
    let is_kept = matches!(found, Lookup::Inbox(_));
    if is_kept {
        assert_eq!(own.info(&PEER).unwrap().state, WorkerState::Away);
        // A message to a worker that is away is there when it returns.
        ring(&cluster).publisher::<u64>().unwrap().send_timeout(&7, GENEROUS).unwrap();
    }
    let heir = join(&cluster, "peer", GENEROUS).unwrap();
    assert_eq!(heir.id(), WORKER, "{cluster}");
    assert_eq!(has_inbox(&cluster), is_kept, "{cluster}: {found:?}");
    let kept = own.find(&PEER);
    assert_eq!(matches!(kept, Lookup::Inbox(_)), is_kept, "{cluster}: {kept:?}");
    let mut messages = inbox(&cluster);
    if is_kept {
        assert_eq!(*messages.recv_timeout(GENEROUS).unwrap(), 7, "{cluster}");
    }
    drop(messages);
    // A process that stays attached learns of it, and blocks nobody.
    let mut cached = ring(&cluster).publisher::<u64>().unwrap();
    heir.leave().unwrap();
    assert!(!has_inbox(&cluster), "{cluster}");
    assert!(matches!(cached.try_send(&8), Err(TrySendError::Closed)), "{cluster}");
    assert!(matches!(own.find(&PEER), Lookup::Gone { .. }), "{cluster}");
    drop(own);
    assert_gone(&cluster);
    peer.state() == State::Killed
}

/// Runs a case. Returns true if the peer reached the failpoint and was frozen there.
pub(super) fn outlast(stop: Stop) -> bool {
    let cluster = format!("slots-freeze-{}-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let own = join(&cluster, "survivor", GENEROUS).unwrap();
    let mut peer = scenario::start(&cluster, Case::Cluster, stop);
    let was_frozen = peer.settle() == State::Frozen;
    if was_frozen {
        go_on_beside(&cluster, &own, &peer);
        peer.thaw();
    }
    assert_eq!(peer.settle(), State::Finished);
    drop(own);
    assert_gone(&cluster);
    was_frozen
}

/// A lookup does not wait. A join succeeds, or reports the holder of the lock.
fn go_on_beside(cluster: &str, own: &Directory, peer: &Process) {
    let _ = (own.find(&PEER), own.list());
    match join(cluster, "other", SHORT) {
        Ok(other) => assert_ne!(other.id(), own.id()),
        Err(error) => assert!(matches!(error, JoinError::Open(OpenError::Busy { .. })), "{error}"),
    }
    match join(cluster, "peer", SHORT) {
        Err(JoinError::NameTaken { pid, .. }) => assert_eq!(pid, peer.pid()),
        Err(JoinError::Open(OpenError::Busy { .. })) => {}
        // The peer has not joined yet, or has left. The name must be free again before it
        // continues.
        Ok(_) => {}
        Err(error) => panic!("{error}"),
    }
}
