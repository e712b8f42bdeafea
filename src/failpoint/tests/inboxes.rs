//! A sender is slow to attach to an inbox, while its worker leaves and another one of the same name
//! joins. A message that was sent successfully is in an inbox.

use super::process::{Process, State, Stop, hear, say};
use crate::cluster::SendToError;
use crate::failpoint::Failpoint;
use crate::{TryRecvError, Worker};

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
