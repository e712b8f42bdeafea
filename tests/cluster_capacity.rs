//! The capacity of an inbox: a successor that chose another one replaces the inbox if it is empty.
//! Messages and senders do not notice.
//!
//! `failpoint::tests::inboxes` kills and freezes a successor at each step of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{Inbox, Message, SendToError, SendToTimeoutError};
use packetring::inventory::ObjectKind;
use packetring::{OpenError, TryRecvError, Worker, inventory};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::peer::{self, Peer, Role};
use support::{SHORT, Watch, unique};

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    match role.name.as_str() {
        "send" => send(&role),
        other => panic!("{other}"),
    }
}

fn join(cluster: &str, capacity: Option<usize>) -> Worker {
    let builder = Worker::builder().max_workers(8);
    let builder = match capacity {
        Some(bytes) => builder.inbox_capacity(bytes),
        None => builder,
    };
    builder.join(cluster, "shop").unwrap()
}

/// Bytes of the inboxes of a cluster in shared memory.
fn inboxes(cluster: &str) -> Vec<u64> {
    let all = inventory().unwrap().into_iter();
    let own = all.filter(|object| object.cluster.as_deref() == Some(cluster));
    own.filter(|object| object.kind == ObjectKind::Inbox).map(|object| object.bytes).collect()
}

fn number(message: &Message<'_>) -> u64 {
    message.open_as::<u64>().unwrap().to_native()
}

#[track_caller]
fn receive(inbox: &mut Inbox) -> u64 {
    let message = inbox.try_recv().unwrap();
    let number = number(&message);
    message.ack();
    number
}

#[test]
fn an_empty_inbox_gets_the_capacity_that_its_successor_chose() {
    let cluster = unique("capacity");
    let feed = Worker::builder().max_workers(8).join(&cluster, "feed").unwrap();
    let mut sizes = Vec::new();
    let chosen = [Some(8192), None, Some(32768), Some(32768), Some(4096), None, Some(8192)];
    for (round, (capacity, expected)) in
        chosen.into_iter().zip([8192, 8192, 32768, 32768, 4096, 4096, 8192]).enumerate()
    {
        let shop = join(&cluster, capacity);
        let mut inbox = shop.inbox().unwrap();
        assert_eq!(inbox.capacity(), expected, "with {capacity:?} chosen");
        let [bytes] = inboxes(&cluster)[..] else { panic!("{:?}", inboxes(&cluster)) };
        sizes.push(bytes - expected as u64);
        // By name and by id, through endpoints of the replaced inbox.
        feed.send_to("shop", &(2 * round as u64)).unwrap();
        feed.send_to(&shop.id(), &(2 * round as u64 + 1)).unwrap();
        assert_eq!(
            [receive(&mut inbox), receive(&mut inbox)],
            [2 * round as u64, 2 * round as u64 + 1]
        );
        // A message takes half of the inbox.
        let largest = vec![7_u8; expected / 2 - 100];
        feed.send_to("shop", &largest).unwrap();
        inbox.try_recv().unwrap().ack();
        let error = feed.send_to("shop", &vec![7_u8; expected / 2]).unwrap_err();
        assert!(matches!(error, SendToError::TooLarge { .. }), "{error}");
        assert_eq!(shop.inbox_types("shop").unwrap().len(), 2);
    }
    // The rest of the object is the same for each capacity.
    sizes.dedup();
    assert_eq!(sizes.len(), 1, "{sizes:?}");
    join(&cluster, None).leave().unwrap();
    assert_eq!(inboxes(&cluster), [0; 0]);
    let error = feed.send_to("shop", &1_u64).unwrap_err();
    assert!(matches!(error, SendToError::Dead { .. }), "{error}");
}

#[test]
fn an_invalid_capacity_is_named_also_if_the_inbox_exists() {
    let cluster = unique("invalid");
    drop(join(&cluster, Some(4096)).inbox().unwrap());
    let shop = join(&cluster, Some(5000));
    let error = shop.inbox().unwrap_err();
    assert!(matches!(error, OpenError::BadSettings { .. }), "{error}");
    drop(shop);
    let shop = join(&cluster, None);
    assert_eq!(shop.inbox().unwrap().capacity(), 4096);
    shop.leave().unwrap();
}

#[test]
fn an_inbox_with_messages_keeps_its_capacity_until_it_is_empty() {
    let cluster = unique("kept");
    let feed = Worker::builder().max_workers(8).join(&cluster, "feed").unwrap();
    drop(join(&cluster, Some(4096)).inbox().unwrap());
    feed.send_to("shop", &1_u64).unwrap();
    feed.send_to("shop", &2_u64).unwrap();

    let shop = join(&cluster, Some(16384));
    let mut inbox = shop.inbox().unwrap();
    assert_eq!(inbox.capacity(), 4096);
    assert_eq!(inboxes(&cluster).len(), 1);
    feed.send_to("shop", &3_u64).unwrap();
    let first = inbox.recv().unwrap();
    assert_eq!((number(&first), first.deliveries(), first.info().redelivered), (1, 1, false));
    first.ack();
    assert_eq!(receive(&mut inbox), 2);
    // In flight, and not acknowledged.
    assert_eq!(number(&inbox.recv().unwrap()), 3);
    drop(inbox);
    let mut inbox = shop.inbox().unwrap();
    assert_eq!(inbox.capacity(), 4096);
    let third = inbox.recv().unwrap();
    assert_eq!((number(&third), third.deliveries()), (3, 2));
    third.ack();

    // The same worker opens its inbox again, which is empty now.
    drop(inbox);
    let mut inbox = shop.inbox().unwrap();
    assert_eq!((inbox.capacity(), inboxes(&cluster).len()), (16384, 1));
    feed.send_to("shop", &4_u64).unwrap();
    assert_eq!(receive(&mut inbox), 4);
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    drop(inbox);
    shop.leave().unwrap();
}

#[test]
fn an_inbox_that_is_open_is_not_replaced() {
    let cluster = unique("open");
    let shop = join(&cluster, Some(4096));
    let mut inbox = shop.inbox().unwrap();
    drop(shop);
    let shop = join(&cluster, Some(8192));
    let error = shop.inbox().unwrap_err();
    assert!(matches!(error, OpenError::InboxOpen { .. }), "{error}");
    shop.send_to("shop", &7_u64).unwrap();
    assert_eq!(receive(&mut inbox), 7);
    drop(inbox);
    assert_eq!(shop.inbox().unwrap().capacity(), 8192);
    shop.leave().unwrap();
}

/// Two threads of one worker open the inbox at a time: one gets it, also while it is replaced.
#[test]
fn one_of_two_threads_gets_the_replaced_inbox() {
    let _watch = Watch::start();
    let cluster = unique("threads");
    drop(join(&cluster, Some(4096)).inbox().unwrap());
    for round in 0..50 {
        let capacity = if round % 2 == 0 { 8192 } else { 4096 };
        let shop = join(&cluster, Some(capacity));
        let open = || loop {
            match shop.inbox() {
                Ok(mut inbox) => {
                    assert_eq!(inbox.capacity(), capacity);
                    shop.send_to("shop", &round).unwrap();
                    break assert_eq!(receive(&mut inbox), round);
                }
                Err(OpenError::InboxOpen { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(open);
            scope.spawn(open);
        });
        assert_eq!(inboxes(&cluster).len(), 1);
    }
    join(&cluster, None).leave().unwrap();
}

// ── Senders during the change ──────────────────────────────────────────────────────────────────

/// Sending threads of each process.
const THREADS: u64 = 2;
/// A factor that tells the threads apart.
const THREAD: u64 = 1 << 32;
/// Times that the inbox must be replaced.
const TIMES: u64 = 50;

/// Sends numbered messages from two threads, each in its own way, with pauses in which the inbox
/// can be empty. Stops when it is told to, and reports how many each thread has sent. Arguments:
/// cluster, number of the first thread.
fn send(role: &Role) {
    let (first, is_over) = (role.number(1), AtomicBool::new(false));
    let builder = Worker::builder().max_workers(8);
    let worker = builder.join(&role.arguments[0], &format!("sender-{first}")).unwrap();
    let waiting = |number| worker.send_to("shop", &(first * THREAD + number)).unwrap();
    let polling = |number| {
        let message = (first + 1) * THREAD + number;
        while let Err(error) = worker.send_to_timeout("shop", &message, SHORT) {
            // The inbox is full of void packets for an instant.
            assert!(matches!(error, SendToTimeoutError::Timeout { .. }), "{error}");
        }
    };
    let all = |send: &dyn Fn(u64)| {
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) {
            send(sent);
            sent += 1;
            if sent.is_multiple_of(4) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        sent
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(|| all(&waiting)), scope.spawn(|| all(&polling))];
        peer::hear();
        is_over.store(true, Ordering::Relaxed);
        for thread in threads {
            peer::say(&thread.join().unwrap().to_string());
        }
    });
}

/// Receives until the inbox is empty. Asserts that each message is the next one of its thread.
fn receive_all(inbox: &mut Inbox, next: &mut [u64]) {
    while let Ok(message) = inbox.try_recv() {
        let number = number(&message);
        assert!(!message.info().redelivered, "{number} came twice");
        let thread = (number / THREAD) as usize;
        assert_eq!(number % THREAD, next[thread], "from thread {thread}");
        next[thread] += 1;
        message.ack();
    }
}

#[test]
fn senders_lose_nothing_while_the_inbox_is_replaced() {
    let _watch = Watch::start();
    let cluster = unique("senders");
    drop(join(&cluster, Some(4096)).inbox().unwrap());
    // Two processes, each with endpoints of its own.
    let start = |first| Peer::start(&format!("send {cluster} {first}"));
    let mut senders = [start(0), start(THREADS)];
    let mut next = [0; 2 * THREADS as usize];
    let (mut replaced, mut capacity) = (0, 4096);
    // A sender that fails would send no more.
    while replaced < TIMES || next.contains(&0) {
        let other = if capacity == 4096 { 8192 } else { 4096 };
        let shop = join(&cluster, Some(other));
        let mut inbox = shop.inbox().unwrap();
        replaced += u64::from(inbox.capacity() == other);
        capacity = inbox.capacity();
        receive_all(&mut inbox, &mut next);
    }
    let shop = join(&cluster, None);
    let mut inbox = shop.inbox().unwrap();
    let mut stop = || {
        senders.iter_mut().for_each(|sender| sender.tell("stop"));
        let count = |sender: &mut Peer| sender.hear().parse::<u64>().unwrap();
        senders.each_mut().map(|sender| [count(sender), count(sender)]).concat()
    };
    let sent = std::thread::scope(|scope| {
        let stopping = scope.spawn(&mut stop);
        // A sender may wait for room.
        while !stopping.is_finished() {
            receive_all(&mut inbox, &mut next);
            std::thread::sleep(SHORT);
        }
        stopping.join().unwrap()
    });
    receive_all(&mut inbox, &mut next);
    assert_eq!(next[..], sent);
    senders.into_iter().for_each(Peer::finish);
    drop(inbox);
    shop.leave().unwrap();
}
