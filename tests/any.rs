//! Publishers and subscribers of any packet types: batches of one type, reservations, clones, and
//! draining batches.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::any::{AnyBatch, AnyPublisher};
use packetring::{
    OpenError, RecvError, RecvTimeoutError, Reserved, Ring, RingBuilder, SendAllError, SendError,
    SendTimeoutError, Tail, TryRecvError, TrySendError, WaitingFor, one_of, packet,
};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::{LONG, SHORT, on_all, on_both};

#[packet]
struct Job {
    id: u64,
}

#[packet]
struct Note(String);

#[one_of]
enum Work {
    Job(Job),
    Note(Note),
}

/// A large packet is refused, also if a small one has just got all the room of a lap.
#[test]
fn a_packet_that_is_too_large_is_refused_behind_a_small_one() {
    let ring = Ring::builder().capacity(1 << 16).exclusive().heap().unwrap();
    let mut out = ring.any_publisher().unwrap();
    out.send(&1_u8).unwrap();
    let refused = out.send(&[0_u8; 40_000]).unwrap_err();
    assert!(matches!(refused, SendError::TooLarge { needed: 40_000, .. }), "{refused}");
}

fn small() -> RingBuilder {
    Ring::builder().capacity(4096)
}

fn jobs(ids: std::ops::Range<u64>) -> Vec<Job> {
    ids.map(|id| Job { id }).collect()
}

fn ids(batch: &AnyBatch<'_>) -> Vec<u64> {
    batch.iter().map(|packet| packet.open_as::<Job>().unwrap().id.to_native()).collect()
}

/// Fills the ring with jobs and returns their number.
fn fill(out: &mut AnyPublisher) -> usize {
    let mut sent = 0;
    while out.try_send(&Job { id: 0 }).is_ok() {
        sent += 1;
    }
    sent
}

#[test]
fn send_all_keeps_the_order_of_packets() {
    on_all(small, |ring| {
        let mut work = ring.any_subscriber().unwrap();
        let mut boss = ring.any_publisher().unwrap();
        boss.send_all(&jobs(0..20)).unwrap();
        boss.try_send_all(&[Note("a".into()), Note("b".into())]).unwrap();
        boss.send_all_timeout(&jobs(20..25), LONG).unwrap();
        boss.send_all::<Job>(&[]).unwrap();
        let mut received = Vec::new();
        for packet in &work.drain().unwrap() {
            received.push(match packet.open().unwrap().unwrap() {
                Work::Job(job) => job.id.to_string(),
                Work::Note(note) => note.0.to_string(),
            });
        }
        let numbers = |range: std::ops::Range<u64>| range.map(|id| id.to_string());
        let expected = numbers(0..20).chain(["a".into(), "b".into()]).chain(numbers(20..25));
        assert_eq!(received, expected.collect::<Vec<_>>());
        assert!(matches!(work.try_drain(), Err(TryRecvError::Empty)));
        assert!(matches!(work.drain_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
    });
}

#[test]
fn a_batch_that_does_not_fit_reports_the_number_sent() {
    on_all(small, |ring| {
        let mut work = ring.any_subscriber().unwrap();
        let mut boss = ring.any_publisher().unwrap();
        let many = jobs(0..100);
        let error = boss.try_send_all(&many).unwrap_err();
        assert!(matches!(error, SendAllError { sent: 64, source: TrySendError::Full { .. } }));
        let error = boss.send_all_timeout(&many, SHORT).unwrap_err();
        assert!(matches!(
            error,
            SendAllError { sent: 0, source: SendTimeoutError::Timeout { .. } }
        ));
        assert_eq!(ids(&work.drain().unwrap()), (0..64).collect::<Vec<_>>());
        ring.close().unwrap();
        let error = boss.send_all(&many).unwrap_err();
        assert!(matches!(error, SendAllError { sent: 0, source: SendError::Closed }));
    });
}

#[test]
fn a_batch_holds_and_releases_its_slots_together() {
    on_all(small, |ring| {
        let mut work = ring.any_subscriber().unwrap();
        let mut boss = ring.any_publisher().unwrap();
        let whole = fill(&mut boss);
        let batch = work.try_drain().unwrap();
        assert_eq!((batch.len(), batch.is_empty()), (whole, false));
        assert!(batch.get(whole).is_none());
        let (first, last) = (batch.get(0).unwrap().info(), batch.get(whole - 1).unwrap().info());
        assert_eq!((last.position - first.position, first.redelivered), (whole as u64 - 1, false));
        let error = boss.try_send(&Job { id: 0 }).unwrap_err();
        assert!(matches!(error, TrySendError::Full { .. }), "the batch still holds its slots");
        drop(batch);
        assert_eq!(fill(&mut boss), whole, "dropping the batch releases all of it");
        forget(work.try_drain().unwrap());
        assert!(matches!(work.try_drain(), Err(TryRecvError::Empty)));
        assert_eq!(fill(&mut boss), whole, "a forgotten batch is released by the next receive");
    });
}

#[test]
fn a_packet_opens_only_as_its_own_type() {
    on_all(small, |ring| {
        let mut work = ring.any_subscriber().unwrap();
        let mut boss = ring.any_publisher().unwrap();
        boss.send(&Note("n".into())).unwrap();
        boss.send(&7_u64).unwrap();
        let batch = work.drain().unwrap();
        let [note, number] = [0, 1].map(|index| batch.get(index).unwrap());
        assert_eq!(note.open_as::<Note>().unwrap().0, "n");
        assert_eq!((note.type_name(), number.type_name()), ("Note".into(), "u64".into()));
        assert!(number.open::<Work<'_>>().unwrap().is_none());
        let RecvError::TypeMismatch(types) = number.open_as::<Note>().map(drop).unwrap_err() else {
            panic!("a u64 was opened as a Note");
        };
        assert!(types.expected.starts_with("Note (") && types.found.starts_with("u64 ("));
        assert_eq!(format!("{batch:?}"), format!("[{note:?}, {number:?}]"));
    });
}

#[test]
fn a_durable_batch_is_redelivered_after_a_panic() {
    on_both(small, |ring| {
        let mut work = ring.any_durable("work").unwrap();
        let mut boss = ring.any_publisher().unwrap();
        boss.send_all(&jobs(0..3)).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let batch = work.try_drain().unwrap();
            assert_eq!(ids(&batch), [0, 1, 7], "deliberately wrong expectation");
        }));
        outcome.unwrap_err();
        let batch = work.try_drain().unwrap();
        assert_eq!(ids(&batch), [0, 1, 2]);
        assert!(batch.iter().all(|packet| packet.info().redelivered));
        drop(batch);
        assert!(matches!(work.try_drain(), Err(TryRecvError::Empty)));
        drop(work);
        ring.remove_durable("work").unwrap();
    });
}

#[test]
fn reservations_of_several_types_are_filled_in_place() {
    on_all(small, |ring| {
        let mut work = ring.any_subscriber().unwrap();
        let mut boss = ring.any_publisher().unwrap();
        for id in 0..30_u64 {
            let mut job = boss.reserve::<Job>().unwrap();
            job.id = id.into();
            Reserved::commit(job);
            drop(boss.try_reserve::<u64>().unwrap());
            let mut line = boss.reserve_tail::<u32, u8>(5).unwrap();
            *line.head_mut() = 17.into();
            line.tail_mut().copy_from_slice(b"hello");
            line.commit();
            boss.reserve_timeout::<Job>(LONG).unwrap().id = 99.into();
            drop(boss.try_reserve_tail::<u32, u8>(1).unwrap());
            drop(boss.reserve_tail_timeout::<u32, u8>(1, LONG).unwrap());
            assert_eq!(work.recv().unwrap().open_as::<Job>().unwrap().id, id);
            let received = work.recv().unwrap();
            let line = received.open_as::<Tail<u32, u8>>().unwrap();
            assert_eq!((line.head.to_native(), line.tail.as_slice()), (17, &b"hello"[..]));
            drop(received);
            assert!(matches!(work.try_recv(), Err(TryRecvError::Empty)));
        }
        fill(&mut boss);
        assert!(matches!(boss.try_reserve::<Job>(), Err(TrySendError::Full { .. })));
        assert!(matches!(
            boss.reserve_timeout::<Job>(SHORT),
            Err(SendTimeoutError::Timeout { .. })
        ));
        assert!(matches!(boss.try_reserve_tail::<u8, u8>(9), Err(TrySendError::Full { .. })));
        let error = boss.reserve_tail_timeout::<u8, u8>(9, SHORT).err().unwrap();
        assert!(matches!(error, SendTimeoutError::Timeout { .. }));
        let error = boss.reserve_tail::<u8, u8>(usize::MAX).err().unwrap();
        assert!(matches!(error, SendError::TooLarge { .. }));
    });
}

#[test]
fn a_cloned_publisher_keeps_its_known_types() {
    on_both(
        || small().max_publishers(2),
        |ring| {
            let mut work = ring.any_subscriber().unwrap();
            let mut boss = ring.any_publisher().unwrap();
            boss.send(&Job { id: 1 }).unwrap();
            let mut second = boss.try_clone().unwrap();
            second.send(&Job { id: 2 }).unwrap();
            second.send(&Note("x".into())).unwrap();
            boss.send(&Note("y".into())).unwrap();
            let types: Vec<_> = ring.types().into_iter().map(|carried| carried.name).collect();
            assert_eq!(types, ["Job", "Note"]);
            let batch = work.drain().unwrap();
            let opened: Vec<_> = batch.iter().map(|packet| packet.type_name()).collect();
            assert_eq!(opened, ["Job", "Job", "Note", "Note"]);
            let error = boss.try_clone().unwrap_err();
            assert!(matches!(error, OpenError::Full { what: "publishers", limit: 2 }));
        },
    );
    on_both(
        || small().exclusive(),
        |ring| {
            let boss = ring.any_publisher().unwrap();
            let error = boss.try_clone().unwrap_err();
            assert!(matches!(error, OpenError::PublisherTaken { .. }));
        },
    );
}

#[test]
fn a_publisher_waits_for_subscribers() {
    on_all(small, |ring| {
        let mut boss = ring.any_publisher().unwrap();
        boss.wait_for_subscribers(0).unwrap();
        let missing = WaitingFor::Subscribers { missing: 1 };
        let error = boss.try_wait_for_subscribers(1).unwrap_err();
        assert!(matches!(error, TrySendError::Full { waiting_for } if waiting_for == missing));
        let error = boss.wait_for_subscribers_timeout(1, SHORT).unwrap_err();
        assert!(
            matches!(error, SendTimeoutError::Timeout { waiting_for } if waiting_for == missing)
        );
        let _work = ring.any_subscriber().unwrap();
        boss.wait_for_subscribers_timeout(1, LONG).unwrap();
        boss.send_all(&jobs(0..3)).unwrap();
        assert_eq!((boss.subscribers(), boss.backlog()), (1, 3));
    });
}
