//! A sender that is slow to attach to an inbox while its worker leaves and another of its name comes: a
//! letter whose sending succeeded is in an inbox.

use super::process::{Process, State, Stop, hear, say};
use crate::cluster::SendToError;
use crate::failpoint::Failpoint;
use crate::{TryRecvError, Worker};

/// The sender's side: says whether its letter was taken.
pub(super) fn send(cluster: &str) {
    let worker = Worker::join(cluster, "sender").unwrap();
    match worker.send_to("desk", &7_u64) {
        Ok(()) => say("sent"),
        Err(SendToError::NoInbox { .. }) => say("no inbox"),
        Err(error) => panic!("{error}"),
    }
}

/// The successor's side: says whether a letter is there, when it is asked.
pub(super) fn receive(cluster: &str) {
    let worker = Worker::join(cluster, "desk").unwrap();
    let mut inbox = worker.inbox().unwrap();
    hear();
    match inbox.try_recv() {
        Ok(letter) => letter.ack(),
        Err(TryRecvError::Empty) => say("empty"),
        Err(error) => panic!("{error}"),
    }
    worker.leave().unwrap();
}

#[test]
fn a_letter_is_not_sent_into_a_successors_inbox_before_that_is_there() {
    let cluster = format!("letters-{}", std::process::id());
    let desk = Worker::join(&cluster, "desk").unwrap();
    let inbox = desk.inbox().unwrap();
    // The directory first; the inbox that it found is open then, and not locked.
    let slow = Stop::freeze(Failpoint::OpenLock, 2);
    let mut sender = Process::start(&format!("send {cluster}"), Some(slow));
    assert_eq!(sender.settle(), State::Frozen);
    drop(inbox);
    desk.leave().unwrap();
    // The directory, the inbox' ring, and that for its durable subscriber, which is not there yet.
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
