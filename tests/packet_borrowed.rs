//! Borrowed packets through every endpoint. The reader sees no difference from owned packets.
//!
//! The bytes of each kind of field are compared inside the crate, beside the format.

#![deny(missing_docs, unused, private_interfaces)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use packetring::cluster::{Deferred, Delivery, Request};
use packetring::packet::{Borrowed, SendAllAs, SendAs, Unpack, unpack};
use packetring::{Packet, Publisher, Ring, SendAllError, SendError, Subscriber, Worker, packet};
use std::sync::Arc;
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

/// Takes all packets of a ring, as their names.
fn names(all: &mut Subscriber<Chat>) -> String {
    let batch = all.drain().unwrap();
    batch.iter().map(|chat| chat.name.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn batches_of_borrowed_packets_are_sent_at_once() {
    let ring = Ring::builder().heap().unwrap();
    let (mut out, mut all) =
        (ring.publisher::<Chat>().unwrap(), ring.subscriber::<Chat>().unwrap());
    let list = [twin("c"), twin("d")];
    out.send_all([twin("a"), twin("b")]).unwrap();
    out.try_send_all(Borrowed(&list[..])).unwrap();
    out.send_all_timeout(list.to_vec(), SHORT).unwrap();
    assert_eq!(names(&mut all), "a b c d c d");

    let (ada, bob) = (owned("ada"), owned("bob"));
    out.send_all([&ada, &bob]).unwrap();
    out.send_all(vec![&bob]).unwrap();
    assert_eq!(names(&mut all), "ada bob bob");

    let mut any = ring.any_publisher().unwrap();
    any.send_all([twin("a"), twin("b")]).unwrap();
    any.try_send_all::<Chat>(Borrowed(&list[..])).unwrap();
    any.send_all_timeout(list.to_vec(), SHORT).unwrap();
    assert_eq!(names(&mut all), "a b c d c d");

    // More than one claim holds.
    let many: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let twins: Vec<_> = many.iter().map(|name| twin(name)).collect();
    out.send_all(twins).unwrap();
    assert_eq!(names(&mut all), many.join(" "));

    // The first one that does not fit is reported, as with owned packets.
    let long = "long".repeat(1 << 20);
    let SendAllError { sent, source } = out.send_all([twin("a"), twin(&long)]).unwrap_err();
    assert!((sent, matches!(source, SendError::TooLarge { .. })) == (1, true), "{source:?}");
    assert_eq!(names(&mut all), "a");
}

#[test]
fn the_type_of_owned_packets_in_a_batch_is_inferred() {
    let ring = Ring::builder().heap().unwrap();
    let (mut out, mut all) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    let (boxed, shared): (Box<[u64]>, Arc<[u64]>) = ([6].into(), [7, 8].into());
    out.send_all(&[1, 2]).unwrap();
    out.send_all(&[]).unwrap();
    out.send_all(&vec![]).unwrap();
    out.send_all(&[Default::default(), 3_u32.into(), "4".parse().unwrap()]).unwrap();
    out.send_all(&mut [5, 99][..1]).unwrap();
    out.send_all(&boxed).unwrap();
    out.send_all(&shared[..]).unwrap();
    out.send_all(Borrowed(&[9][..])).unwrap();
    out.send_all([&10, &11]).unwrap();
    out.send_all(&(12..14).collect::<Vec<_>>()).unwrap();
    let batch = all.drain().unwrap();
    let found: Vec<u64> = batch.iter().map(|number| number.to_native()).collect();
    assert_eq!(found, [1, 2, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    drop(batch);

    let ring = Ring::builder().heap().unwrap();
    let (mut any, mut all) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
    any.send_all(&[owned("a"), owned("b")]).unwrap();
    any.send_all(&vec![owned("c")]).unwrap();
    any.send_all([&owned("d")]).unwrap();
    any.send_all::<Chat>(&[]).unwrap();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(all.recv().unwrap().open_as::<Chat>().unwrap().name, name);
    }
    assert!(all.try_recv().is_err());
}

/// A generic function sends `&[T]` without further bounds.
fn send_list<T: Packet>(out: &mut Publisher<T>, list: &[T]) -> Result<(), SendAllError> {
    out.send_all(list)
}

/// A generic function forwards any list.
fn forward_list<T: Packet>(out: &mut Publisher<T>, list: impl SendAllAs<T>) {
    out.send_all(list).unwrap();
}

#[test]
fn generic_code_sends_batches() {
    let ring = Ring::builder().heap().unwrap();
    let (mut out, mut all) =
        (ring.publisher::<Chat>().unwrap(), ring.subscriber::<Chat>().unwrap());
    send_list(&mut out, &[owned("a")]).unwrap();
    forward_list(&mut out, &[owned("b")]);
    forward_list(&mut out, [twin("c")]);
    assert_eq!(names(&mut all), "a b c");
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
