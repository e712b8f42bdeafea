//! A worker is killed while a message or a job is handed out again. Its deliveries are counted:
//! never too few, and at most one too many, for a delivery in which the worker was killed. A dead
//! letter is never lost.

use super::process::{Process, State, Stop, say};
use crate::Worker;
use crate::cluster::Delivery;
use crate::failpoint::Failpoint;

/// Deliveries of each peer that is not killed before.
const TIMES: u64 = 3;

/// The peer's side: receives a message or a job without acknowledging it, and says each time how
/// often it was delivered.
pub(super) fn receive_again(cluster: &str, what: &str) {
    let worker = Worker::join(cluster, "shop").unwrap();
    if what == "job" {
        let mut jobs = worker.queue::<u64>("jobs").unwrap();
        for _ in 0..TIMES {
            let job = jobs.recv().unwrap();
            say(&Delivery::deliveries(&job).to_string());
        }
        // Dropped with a job in hand, as if it was killed here.
        return;
    }
    let mut inbox = worker.inbox().unwrap();
    for _ in 0..TIMES {
        let message = inbox.recv().unwrap();
        say(&message.deliveries().to_string());
    }
}

/// The peer's side: gives a message up after two deliveries.
pub(super) fn give_up(cluster: &str) {
    let builder = Worker::builder().max_deliveries(2).dead_letters("undertaker");
    let worker = builder.join(cluster, "shop").unwrap();
    let mut inbox = worker.inbox().unwrap();
    for _ in 0..2 {
        drop(inbox.recv().unwrap());
    }
    assert!(inbox.try_recv().is_err());
    say("given up");
}

fn run(what: &str, step: Failpoint, nth: usize) -> bool {
    let cluster = format!("again-{}-{what}-{step:?}-{nth}", std::process::id());
    let feed = Worker::join(&cluster, "feed").unwrap();
    let heir = if what == "job" {
        feed.queue_publisher::<u64>("jobs").unwrap().send(&7).unwrap();
        None
    } else {
        let shop = Worker::join(&cluster, "shop").unwrap();
        drop(shop.inbox().unwrap());
        feed.send_to("shop", &7_u64).unwrap();
        Some(shop)
    };
    drop(heir);
    let role = format!("again {cluster} {what}");
    let mut peer = Process::start(&role, Some(Stop::kill(step, nth)));
    let counts: Vec<u64> = peer.rest().iter().map(|line| line.parse().unwrap()).collect();
    let expected: Vec<u64> = (1..=counts.len() as u64).collect();
    assert_eq!(counts, expected, "{cluster}");
    let was_killed = peer.settle() == State::Killed;
    let next = counts.len() as u64 + 1;
    let shop = Worker::join(&cluster, "shop").unwrap();
    let found = if what == "job" {
        let mut jobs = shop.queue::<u64>("jobs").unwrap();
        let job = jobs.recv().unwrap();
        let found = Delivery::deliveries(&job);
        Delivery::ack(job);
        found
    } else {
        let mut inbox = shop.inbox().unwrap();
        let message = inbox.recv().unwrap();
        let found = message.deliveries();
        message.ack();
        found
    };
    let most = next + u64::from(was_killed);
    assert!((next..=most).contains(&found), "{cluster}: {found} after {counts:?}");
    shop.leave().unwrap();
    was_killed
}

#[test]
fn deliveries_are_counted_at_whichever_step_a_worker_is_killed() {
    for what in ["message", "job"] {
        // It is not killed: the count is exact.
        assert!(!run(what, Failpoint::Redeliver, 100));
        let mut killed = 0;
        for step in [
            Failpoint::Redeliver,
            Failpoint::ReceiveLook,
            Failpoint::Receive,
            Failpoint::TakeInFlight,
            Failpoint::TakeMove,
        ] {
            killed += (1..=4).filter(|&nth| run(what, step, nth)).count();
        }
        assert!(killed >= 4, "{what}: killed {killed} times");
    }
}

#[test]
fn a_message_is_given_up_at_whichever_step_its_worker_is_killed() {
    for (step, nth) in [
        (Failpoint::DeadLetter, 1),
        (Failpoint::CommitStamp, 1),
        (Failpoint::CommitAfter, 1),
        (Failpoint::Release, 1),
        (Failpoint::Redeliver, 1),
        (Failpoint::Redeliver, 2),
    ] {
        let cluster = format!("give-up-{}-{step:?}-{nth}", std::process::id());
        let undertaker = Worker::join(&cluster, "undertaker").unwrap();
        let mut dead_letters = undertaker.inbox().unwrap();
        let shop = Worker::join(&cluster, "shop").unwrap();
        drop(shop.inbox().unwrap());
        undertaker.send_to("shop", &7_u64).unwrap();
        drop(shop);
        let role = format!("give-up {cluster}");
        let mut peer = Process::start(&role, Some(Stop::kill(step, nth)));
        let _ = peer.rest();
        peer.settle();
        // Its successor gives it up, too, if it was not acknowledged.
        let builder = Worker::builder().max_deliveries(2).dead_letters("undertaker");
        let shop = builder.join(&cluster, "shop").unwrap();
        let mut inbox = shop.inbox().unwrap();
        let mut deliveries = 0;
        while let Ok(message) = inbox.try_recv() {
            deliveries += 1;
            assert!(message.deliveries() <= 2, "{cluster}");
        }
        assert!(deliveries <= 2, "{cluster}");
        let mut letters = 0;
        while let Ok(letter) = dead_letters.try_recv() {
            assert_eq!(*letter.open_as::<u64>().unwrap(), 7);
            assert_eq!(letter.sender(), undertaker.id());
            letter.ack();
            letters += 1;
        }
        // Two if the first worker was killed between the letter and the acknowledgement.
        assert!((1..=2).contains(&letters), "{cluster}: {letters}");
        drop((inbox, dead_letters));
        shop.leave().unwrap();
        undertaker.leave().unwrap();
    }
}
