//! A guard borrows its endpoint mutably: there is no second one while it lives.

use packetring::cluster::{Inbox, QueueConsumer, Request, Service};

fn message(inbox: &mut Inbox) {
    let first = inbox.recv().unwrap();
    let second = inbox.recv().unwrap();
    first.ack();
    second.ack();
}

fn opened_message(inbox: &mut Inbox) {
    let message = inbox.recv().unwrap();
    let number = message.open_as::<u64>().unwrap();
    message.ack();
    assert_eq!(*number, 7);
}

fn delivery(jobs: &mut QueueConsumer<u64>) {
    let first = jobs.recv().unwrap();
    let second = jobs.recv().unwrap();
    assert!(*first < *second);
}

fn request(service: &mut Service<u64, u64>) {
    let first = service.recv().unwrap();
    let second = service.recv().unwrap();
    Request::reply(first, &1).unwrap();
    Request::reply(second, &2).unwrap();
}

fn main() {}
