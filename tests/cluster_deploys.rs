//! Rolling deploys: two versions of a packet type in one ring, one after the other or both at once.
//!
//! The rules that the guide states: a ring keeps its types as long as it exists; a typed endpoint
//! joins if the ring carries no type, or its own; an untyped one always joins, and reads both
//! versions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::Delivery;
use packetring::{OpenError, RecvError, Ring, TryRecvError, Worker, one_of};
use support::{Watch, assert_gone, unique};

mod v1 {
    #[packetring::packet]
    pub(crate) struct Job {
        pub(crate) id: u64,
    }
}

#[packetring::packet]
struct Job {
    id: u64,
    priority: u8,
}

#[one_of]
enum Both {
    Old(v1::Job),
    New(Job),
}

fn is_mismatch<T>(outcome: Result<T, OpenError>) -> bool {
    matches!(outcome, Err(OpenError::TypeMismatch { difference: Some(_), .. }))
}

/// A durable subscriber keeps a ring whose publishers and whose first type have gone. The new
/// version reads what is left of the old one, and goes on with the new one.
#[test]
fn a_durable_subscriber_of_two_versions_drains_the_old_one() {
    let _watch = Watch::start();
    let name = unique("deploy-durable");
    {
        let ring = Ring::builder().stays_open(true).open(&name).unwrap();
        drop(ring.durable::<v1::Job>("ledger").unwrap());
        let mut out = ring.publisher::<v1::Job>().unwrap();
        (0..3).for_each(|id| _ = out.send(&v1::Job { id }).unwrap());
    }
    // No process of the old version is left. Its type is: no typed endpoint of the new one joins.
    let ring = Ring::open(&name).unwrap();
    assert!(is_mismatch(ring.durable::<Job>("ledger")));
    assert!(is_mismatch(ring.subscriber::<Job>()));
    assert!(is_mismatch(ring.publisher::<Job>()));
    // The old version, started again, joins as before.
    assert_eq!(ring.durable::<v1::Job>("ledger").unwrap().recv().unwrap().id, 0);

    let mut ledger = ring.any_durable("ledger").unwrap();
    let mut out = ring.any_publisher().unwrap();
    out.send(&Job { id: 3, priority: 9 }).unwrap();
    // Since the ring carries both types, typed endpoints of both join.
    drop(ring.publisher::<Job>().unwrap());
    drop(ring.publisher::<v1::Job>().unwrap());
    let mut seen = Vec::new();
    while let Ok(packet) = ledger.try_recv() {
        seen.push(match packet.open().unwrap() {
            Some(Both::Old(job)) => (job.id.to_native(), None),
            Some(Both::New(job)) => (job.id.to_native(), Some(job.priority)),
            None => panic!("another type"),
        });
    }
    assert_eq!(seen, [(1, None), (2, None), (3, Some(9))]);
    drop(ledger);
    // The old version is drained: a typed subscriber takes over.
    let mut ledger = ring.durable::<Job>("ledger").unwrap();
    out.send(&Job { id: 4, priority: 9 }).unwrap();
    assert_eq!(ledger.recv().unwrap().id, 4);
    // A typed subscriber skips packets of the other version, with an error for each.
    out.send(&v1::Job { id: 5 }).unwrap();
    out.send(&Job { id: 6, priority: 9 }).unwrap();
    assert!(matches!(ledger.recv().map(drop), Err(RecvError::TypeMismatch(_))));
    assert_eq!(ledger.recv().unwrap().id, 6);
    drop((ledger, out));
    assert!(ring.remove_durable("ledger").unwrap());
    drop(ring);
    assert_gone(&name);
}

/// A topic forgets its type with its last endpoint; a queue with jobs does not.
#[test]
fn a_topic_changes_its_type_when_nobody_is_left_and_a_queue_when_it_is_done() {
    let _watch = Watch::start();
    let worker = Worker::join(&unique("deploy-topic"), "w").unwrap();
    let old = worker.subscriber::<v1::Job>("jobs").unwrap();
    assert!(is_mismatch(worker.subscriber::<Job>("jobs")));
    drop(old);
    drop(worker.subscriber::<Job>("jobs").unwrap());

    worker.queue_publisher::<v1::Job>("jobs").unwrap().send(&v1::Job { id: 1 }).unwrap();
    assert!(is_mismatch(worker.queue::<Job>("jobs")));
    assert!(is_mismatch(worker.queue_publisher::<Job>("jobs")));
    let mut drain = worker.queue::<v1::Job>("jobs").unwrap();
    let job = drain.recv().unwrap();
    assert_eq!(job.id, 1);
    Delivery::ack(job);
    assert!(matches!(drain.try_recv(), Err(TryRecvError::Empty)));
    drop(drain);
    worker.queue::<Job>("jobs").unwrap();
}
