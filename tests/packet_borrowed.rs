//! Borrowed packets through every endpoint. The reader sees no difference from owned packets.
//!
//! The bytes of each kind of field are compared inside the crate, beside the format.

#![deny(missing_docs, unused, private_interfaces)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use packetring::cluster::{Deferred, Delivery, Request};
use packetring::packet::{Borrowed, SendAs, Unpack, unpack};
use packetring::{Packet, Ring, Worker, packet};
use support::{SHORT, unique};

/// A public packet in a public module: its twin and the fields of the twin are documented.
#[forbid(unsafe_code)]
pub mod public {
    use packetring::packet;

    /// A line of a chat.
    #[packet(borrowed)]
    #[derive(Debug, PartialEq)]
    pub struct Chat {
        /// The author.
        pub name: String,
        /// The words.
        pub words: Vec<String>,
        pub(crate) age: u32,
    }

    /// A twin that nothing uses causes no lint.
    #[packet(borrowed = BorrowedUnused)]
    pub enum Unused {
        /// A text.
        Text(String),
    }
}

use public::{Chat, ChatRef};

/// A packet whose twin has another name than that of an existing item.
#[packet(borrowed = Said)]
struct Line {
    text: String,
}

struct LineRef;

fn owned(name: &str) -> Chat {
    Chat { name: name.to_owned(), words: vec!["some".to_owned(), "words".to_owned()], age: 36 }
}

fn twin(name: &str) -> ChatRef<'_> {
    ChatRef { name, words: &["some", "words"], age: 36 }
}

#[test]
fn a_ring_carries_borrowed_packets() {
    let ring = Ring::builder().heap().unwrap();
    let (mut out, mut all) =
        (ring.publisher::<Chat>().unwrap(), ring.subscriber::<Chat>().unwrap());
    let (mut any, mut lines) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
    for name in ["ada", "grace hopper, of the navy"] {
        out.send(twin(name)).unwrap();
        out.try_send(twin(name)).unwrap();
        out.send_timeout(twin(name), SHORT).unwrap();
        any.send(twin(name)).unwrap();
        any.try_send::<Chat>(twin(name)).unwrap();
        any.send_timeout(&twin(name), SHORT).unwrap();
        for _ in 0..6 {
            assert_eq!(*all.recv().unwrap(), owned(name));
            assert_eq!(*lines.recv().unwrap().open_as::<Chat>().unwrap(), owned(name));
        }
    }
    let _ = LineRef;
    any.send(Said { text: "hello" }).unwrap();
    assert_eq!(lines.recv().unwrap().open_as::<Line>().unwrap().text, "hello");
}

#[test]
fn a_ring_carries_borrowed_parts_of_library_types() {
    let ring = Ring::builder().heap().unwrap();
    let (mut out, mut all) =
        (ring.publisher::<Vec<(u32, String)>>().unwrap(), ring.any_subscriber().unwrap());
    out.send(Borrowed(&[(1, "one"), (2, "two")][..])).unwrap();
    let packet = all.recv().unwrap();
    let list = unpack::<Vec<(u32, String)>>(packet.open_as::<Vec<(u32, String)>>().unwrap());
    assert_eq!(list.unwrap(), [(1, "one".to_owned()), (2, "two".to_owned())]);
    drop(packet);
    let mut any = ring.any_publisher().unwrap();
    any.send::<String>(Borrowed("a text")).unwrap();
    assert_eq!(all.recv().unwrap().open_as::<String>().unwrap(), "a text");
}

#[test]
fn inboxes_and_queues_carry_borrowed_packets() {
    let worker = Worker::join(&unique("borrowed"), "both").unwrap();
    let mut inbox = worker.inbox().unwrap();
    worker.send_to("both", twin("one")).unwrap();
    worker.try_send_to("both", twin("one")).unwrap();
    worker.send_to_timeout("both", twin("one"), SHORT).unwrap();
    for _ in 0..3 {
        let message = inbox.recv().unwrap();
        assert_eq!(*message.open_as::<Chat>().unwrap(), owned("one"));
        message.ack();
    }
    let mut jobs = worker.queue::<Chat>("jobs").unwrap();
    worker.queue_publisher::<Chat>("jobs").unwrap().send(twin("two")).unwrap();
    let job = jobs.recv().unwrap();
    assert_eq!(*job, owned("two"));
    Delivery::ack(job);
    let mut topic = worker.subscriber::<Chat>("topic").unwrap();
    worker.publisher::<Chat>("topic").unwrap().send(twin("three")).unwrap();
    assert_eq!(*topic.recv().unwrap(), owned("three"));
    drop((inbox, jobs, topic));
    worker.leave().unwrap();
}

#[test]
fn services_take_borrowed_requests_and_replies() {
    let worker = Worker::join(&unique("borrowed-service"), "both").unwrap();
    let mut server = worker.service::<Chat, Chat>("echo").unwrap();
    let client = worker.client::<Chat, Chat>("echo").unwrap();
    let call = client.start(twin("one")).unwrap();
    let request = server.recv().unwrap();
    assert_eq!(*request, owned("one"));
    Request::reply(request, twin("reply")).unwrap();
    assert_eq!(*call.wait().unwrap(), owned("reply"));

    let call = client.start(&owned("two")).unwrap();
    let later = Request::defer(server.recv().unwrap());
    Deferred::reply(later, twin("late")).unwrap();
    assert_eq!(*call.wait().unwrap(), owned("late"));
}

#[test]
fn events_carry_borrowed_packets() {
    let worker = Worker::join(&unique("borrowed-events"), "both").unwrap();
    let mut emitter = worker.emitter().unwrap();
    let (mut names, mut echoes) = (Vec::new(), 0);
    let mut events = worker.events().unwrap();
    events.on::<Chat>("said", |chat, context| {
        names.push(chat.name.to_string());
        context.emit("echo", twin(&chat.name)).unwrap();
    });
    events.on::<Chat>("echo", |_, _| echoes += 1);
    emitter.emit("said", twin("one")).unwrap();
    emitter.try_emit("said", twin("two")).unwrap();
    emitter.emit_timeout("said", twin("three"), SHORT).unwrap();
    events.emit("said", twin("four")).unwrap();
    events.poll().unwrap();
    events.poll().unwrap();
    drop(events);
    assert_eq!((names.join(" ").as_str(), echoes), ("one two three four", 4));
}

/// A generic function sends `&T` without further bounds.
fn send_all_forms<T: Packet + Unpack + PartialEq>(value: T) {
    let ring = Ring::builder().heap().unwrap();
    let (mut out, mut all) = (ring.publisher::<T>().unwrap(), ring.subscriber::<T>().unwrap());
    out.send(&value).unwrap();
    assert!(packetring::Received::unpack(all.recv().unwrap()).unwrap() == value);
    fn forward<T: Packet>(out: &mut packetring::Publisher<T>, value: impl SendAs<T>) {
        out.send(value).unwrap();
    }
    forward(&mut out, &value);
    assert!(packetring::Received::unpack(all.recv().unwrap()).unwrap() == value);
}

#[test]
fn generic_code_sends_references() {
    send_all_forms(owned("one"));
    send_all_forms(7_u64);
}

#[test]
fn the_type_of_an_owned_packet_is_inferred() {
    let ring = Ring::builder().heap().unwrap();
    let (mut numbers, mut all) =
        (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    numbers.send(&7).unwrap();
    numbers.send(&7_u32.into()).unwrap();
    numbers.send(&"7".parse().unwrap()).unwrap();
    numbers.send(&mut 7).unwrap();
    for _ in 0..4 {
        assert_eq!(*all.recv().unwrap(), 7);
    }
    numbers.send(&Default::default()).unwrap();
    assert_eq!(*all.recv().unwrap(), 0);
    let ring = Ring::builder().heap().unwrap();
    let (mut options, mut all) = (
        ring.publisher::<Option<Vec<u8>>>().unwrap(),
        ring.subscriber::<Option<Vec<u8>>>().unwrap(),
    );
    options.send(&None).unwrap();
    assert!(all.recv().unwrap().is_none());
    options.send(&Some(vec![])).unwrap();
    options.send(&Some([].into())).unwrap();
    assert!(all.recv().unwrap().is_some());
}
