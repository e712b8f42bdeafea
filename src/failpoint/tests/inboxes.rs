//! A message that was sent successfully is in an inbox:
//!
//! - A sender is slow to attach to an inbox, while its worker leaves and another one of the same
//!   name joins.
//! - A worker that replaces its inbox by one of another capacity is killed or frozen at each
//!   failpoint, while another one sends to it. Each message is received by it or by its successor,
//!   in order. A message that both received is flagged.

use super::process::{GENEROUS, Process, State, Stop, hear, say};
use super::scenario::{self, Case};
use super::worker_slots;
use crate::cluster::{Inbox, SendToError, SendToTimeoutError, WorkerState};
use crate::failpoint::Failpoint;
use crate::inventory::ObjectKind;
use crate::{TryRecvError, Worker};
use std::time::Duration;

/// The sender's side: reports whether its message was sent.
pub(super) fn send(cluster: &str) {
    let worker = Worker::join(cluster, "sender").unwrap();
    match worker.send_to("shop", &7_u64) {
        Ok(()) => say("sent"),
        Err(SendToError::NoInbox { .. }) => say("no inbox"),
        Err(error) => panic!("{error}"),
    }
}

/// The successor's side: reports whether a message is there, when it is asked.
pub(super) fn receive(cluster: &str) {
    let worker = Worker::join(cluster, "shop").unwrap();
    let mut inbox = worker.inbox().unwrap();
    hear();
    match inbox.try_recv() {
        Ok(message) => message.ack(),
        Err(TryRecvError::Empty) => say("empty"),
        Err(error) => panic!("{error}"),
    }
    worker.leave().unwrap();
}

#[test]
fn no_message_is_sent_into_a_successors_inbox_before_it_is_open() {
    let cluster = format!("messages-{}", std::process::id());
    let shop = Worker::join(&cluster, "shop").unwrap();
    let inbox = shop.inbox().unwrap();
    // The first time is in the directory. At the second, the inbox is open and not locked.
    let slow = Stop::freeze(Failpoint::OpenLock, 2);
    let mut sender = Process::start(&format!("send {cluster}"), Some(slow));
    assert_eq!(sender.settle(), State::Frozen);
    drop(inbox);
    shop.leave().unwrap();
    // The directory, the inbox's ring, and the attachment of its durable subscriber, which has not
    // joined yet.
    let half = Stop::freeze(Failpoint::OpenLock, 3);
    let mut heir = Process::start(&format!("receive {cluster}"), Some(half));
    assert_eq!(heir.settle(), State::Frozen);
    sender.thaw();
    sender.expect("no inbox");
    assert_eq!(sender.settle(), State::Finished);
    heir.thaw();
    heir.tell("look");
    heir.expect("empty");
    assert_eq!(heir.settle(), State::Finished);
}

/// Messages that the survivor sends if the peer lives, and the one after them.
const MESSAGES: u64 = 12;
const LAST: u64 = u64::MAX;
/// The message that the survivor sends to the successor.
const EXTRA: u64 = LAST - 1;
const SHORT: Duration = Duration::from_millis(5);

fn join(cluster: &str, name: &str, capacity: usize) -> Worker {
    Worker::builder().max_workers(4).inbox_capacity(capacity).join(cluster, name).unwrap()
}

/// Reports and acknowledges each message that is there. Returns true after the last one.
fn receive_all(inbox: &mut Inbox) -> bool {
    while let Ok(message) = inbox.try_recv() {
        let number = message.open_as::<u64>().unwrap().to_native();
        say(&number.to_string());
        message.ack();
        if number == LAST {
            return true;
        }
    }
    false
}

/// The side of a worker that replaces its inbox: each time that it is empty when it is opened.
pub(super) fn live(cluster: &str) {
    let mut is_over = false;
    for capacity in [4096, 8192, 4096] {
        let mut found = 0;
        while found != capacity {
            let worker = join(cluster, "peer", capacity);
            let mut inbox = worker.inbox().unwrap();
            found = inbox.capacity();
            is_over |= receive_all(&mut inbox);
        }
    }
    let worker = join(cluster, "peer", 4096);
    let mut inbox = worker.inbox().unwrap();
    while !is_over {
        is_over = receive_all(&mut inbox);
    }
    say("leaves");
    worker.leave().unwrap();
}

/// Sends to the peer while it is running, until all messages are sent. Adds to `sent`. Returns the
/// state in which the peer is then.
fn send_all(own: &Worker, peer: &mut Process, sent: &mut Vec<u64>) -> State {
    loop {
        let state = peer.state();
        if state != State::Running {
            return state;
        }
        if sent.last() != Some(&LAST) {
            let number = if sent.len() as u64 >= MESSAGES { LAST } else { sent.len() as u64 };
            send_one(own, number, sent);
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn send_one(own: &Worker, number: u64, sent: &mut Vec<u64>) {
    match own.send_to_timeout("peer", &number, SHORT) {
        Ok(()) => sent.push(number),
        Err(
            SendToTimeoutError::Timeout { .. }
            | SendToTimeoutError::NoInbox { .. }
            | SendToTimeoutError::UnknownWorker { .. }
            | SendToTimeoutError::Dead { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}

/// The numbers that the peer received, and whether it began to leave.
fn reported(peer: &mut Process) -> (Vec<u64>, bool) {
    let lines = peer.rest();
    let numbers = lines.iter().filter_map(|line| line.parse().ok()).collect();
    (numbers, lines.iter().any(|line| line == "leaves"))
}

/// Runs one case with a kill. Returns true if the peer was killed at the failpoint.
pub(super) fn survive(stop: Stop) -> bool {
    let cluster = format!("kill-{}-inboxes-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let (own, mut sent) = (join(&cluster, "survivor", 4096), Vec::new());
    let mut peer = scenario::start(&cluster, Case::Inboxes, stop);
    let was_killed = send_all(&own, &mut peer, &mut sent) == State::Killed;
    let (received, has_left) = reported(&mut peer);
    let is_away = own.worker("peer").is_some_and(|peer| peer.state == WorkerState::Away);
    assert!(is_away || has_left || sent.is_empty(), "{cluster}: {sent:?} are lost");
    if is_away {
        // The inbox may be full of void packets. Then the message waits for the successor.
        std::thread::scope(|scope| {
            scope.spawn(|| own.send_to("peer", &EXTRA).unwrap());
            let successor = Worker::join(&cluster, "peer").unwrap();
            let mut inbox = successor.inbox().unwrap();
            go_on(&mut inbox, &sent, &received, &cluster);
        });
        assert_eq!(inbox_objects(&cluster), 1, "{cluster}");
        // It is empty now.
        let successor = join(&cluster, "peer", 16384);
        assert_eq!(successor.inbox().unwrap().capacity(), 16384, "{cluster}");
        assert_eq!(inbox_objects(&cluster), 1, "{cluster}");
        successor.leave().unwrap();
    }
    drop(own);
    worker_slots::assert_gone(&cluster);
    was_killed
}

/// Receives as the successor: the messages that were sent and that its predecessor did not
/// acknowledge, and one more at the end.
fn go_on(inbox: &mut Inbox, sent: &[u64], received: &[u64], cluster: &str) {
    let mut all = received.to_vec();
    loop {
        let message = inbox.recv_timeout(GENEROUS).unwrap();
        let number = message.open_as::<u64>().unwrap().to_native();
        if received.contains(&number) {
            assert!(message.info().redelivered, "{cluster}: {number} is not flagged");
        } else if number != EXTRA {
            all.push(number);
        }
        message.ack();
        if number == EXTRA {
            return assert_eq!(all, sent, "{cluster}");
        }
    }
}

fn inbox_objects(cluster: &str) -> usize {
    let all = crate::inventory().unwrap().into_iter();
    let own = all.filter(|object| object.cluster.as_deref() == Some(cluster));
    own.filter(|object| object.kind == ObjectKind::Inbox).count()
}

/// Runs one case with a freeze. Returns true if the peer was frozen at the failpoint.
pub(super) fn outlast(stop: Stop) -> bool {
    let cluster = format!("freeze-{}-inboxes-{:?}-{}", std::process::id(), stop.step, stop.nth);
    let (own, mut sent) = (join(&cluster, "survivor", 4096), Vec::new());
    let mut peer = scenario::start(&cluster, Case::Inboxes, stop);
    let mut state = send_all(&own, &mut peer, &mut sent);
    let was_frozen = state == State::Frozen;
    if was_frozen {
        // A send succeeds or ends in time. A lookup does not wait.
        for number in 0..2 {
            if sent.last() != Some(&LAST) {
                send_one(&own, MESSAGES + 1 + number, &mut sent);
            }
        }
        let _ = (own.worker("peer"), own.workers());
        peer.thaw();
        while peer.state() == State::Frozen {}
        state = send_all(&own, &mut peer, &mut sent);
    }
    assert_eq!(state, State::Finished, "{cluster}");
    assert_eq!(reported(&mut peer), (sent, true), "{cluster}");
    drop(own);
    worker_slots::assert_gone(&cluster);
    was_frozen
}
