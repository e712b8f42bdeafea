//! Packets without their Rust types, through rings: received, printed, encoded, sent and relayed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{
    CallError, CallTimeoutError, Delivery, EmitError, Request, SendToError, SendToTimeoutError,
    TryEmitError, TrySendToError, WaitingForServer,
};
use packetring::dynamic::{Value, layout_of};
use packetring::packet::fingerprint_of;
use packetring::{
    OpenError, Received, RecvError, Ring, RingBuilder, SendError, TrySendError, Worker, packet,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use support::on_both;

#[packet]
#[derive(Clone, Debug, PartialEq)]
struct Order {
    id: u64,
    customer: String,
    lines: Vec<Line>,
    tags: BTreeMap<String, u32>,
    note: Option<String>,
}

#[packet]
#[derive(Clone, Debug, PartialEq)]
enum Line {
    Item { sku: u32, count: u16 },
    Discount(i64),
    Free,
}

#[packet]
struct Quit;

fn small() -> RingBuilder {
    Ring::builder().capacity(16 << 10)
}

fn order() -> Order {
    Order {
        id: 7,
        customer: "Ada Lovelace".into(),
        lines: vec![Line::Item { sku: 9, count: 2 }, Line::Discount(-5), Line::Free],
        tags: BTreeMap::from([("new".into(), 1), ("paid".into(), 2)]),
        note: None,
    }
}

const TEXT: &str = r#"{"id":7,"customer":"Ada Lovelace","lines":[{"Item":{"sku":9,"count":2}},{"Discount":-5},"Free"],"tags":{"new":1,"paid":2},"note":null}"#;

#[test]
fn a_received_packet_is_read_by_the_schema_of_its_ring() {
    on_both(small, |ring| {
        let mut all = ring.any_subscriber().unwrap();
        let mut out = ring.publisher::<Order>().unwrap();
        out.send(&order()).unwrap();
        let packet = all.recv().unwrap();
        assert_eq!(packet.fingerprint(), Some(fingerprint_of::<Order>()));
        let schema = packet.schema().unwrap();
        assert_eq!(schema.text(), layout_of::<Order>().unwrap().text());
        let value = packet.value(&schema).unwrap();
        assert_eq!(value.get("id").unwrap().as_u64(), Some(7));
        assert_eq!(value.get("customer").unwrap().as_str(), Some("Ada Lovelace"));
        let lines = value.get("lines").unwrap();
        assert_eq!((lines.len(), lines.at(1).unwrap().variant()), (3, Some("Discount")));
        assert_eq!(lines.at(0).unwrap().get("count").unwrap().as_i64(), Some(2));
        let tags = value.get("tags").unwrap().entries();
        let tags: Vec<_> = tags.map(|(k, v)| (k.as_str().unwrap(), v.as_u64().unwrap())).collect();
        assert_eq!(tags, [("new", 1), ("paid", 2)]);
        assert!(value.get("note").unwrap().is_none());
        assert_eq!(value.to_string(), TEXT);
        assert!(format!("{value:#}").contains("\n  \"id\": 7,"));
    });
}

#[packet]
struct Point {
    x: i32,
    at: (u8, Inner),
    a_name_of_more_than_16_bytes: u16,
    a_name_of_more_then_16_bytes: u16,
    perhaps: Option<Inner>,
}

#[packet]
struct Inner {
    share: f64,
}

#[test]
fn fields_are_looked_up_once() {
    let ring = small().heap().unwrap();
    let (mut out, mut all) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
    let inner = Inner { share: 0.5 };
    let (a, b) = (1, 2);
    out.send(&Point {
        x: -3,
        at: (4, inner),
        a_name_of_more_than_16_bytes: a,
        a_name_of_more_then_16_bytes: b,
        perhaps: Some(Inner { share: 0.25 }),
    })
    .unwrap();
    let packet = all.recv().unwrap();
    let schema = packet.schema().unwrap();
    let value = packet.value(&schema).unwrap();
    let read = |path: &str| value.field(&schema.field(path).unwrap()).unwrap().to_string();
    assert_eq!([read("x"), read("at.0"), read("at.1.share")], ["-3", "4", "0.5"]);
    let long = ["a_name_of_more_than_16_bytes", "a_name_of_more_then_16_bytes"];
    assert_eq!(long.map(read), ["1", "2"]);
    assert_eq!(long.map(|name| value.get(name).unwrap().as_u64()), [Some(1), Some(2)]);
    assert!(value.get("a_name_of_more_thxn_16_bytes").is_none());
    let none = ["", ".", "y", "X", "x.", "x.y", "at.2", "at..0", "perhaps.share", "at.1.share.x"];
    assert!(none.iter().all(|path| schema.field(path).is_none()));

    // A field belongs to a schema, its clones, and the type.
    let x = schema.field("x").unwrap();
    assert_eq!(x.type_name(), "i32");
    let clone = schema.clone();
    assert!(packet.value(&clone).unwrap().field(&x).is_some());
    let other = packet.schema().unwrap();
    assert!(packet.value(&other).unwrap().field(&x).is_none());
    assert!(value.get("at").unwrap().field(&x).is_none());
}

#[test]
fn the_types_of_a_ring_have_schemas() {
    let ring = small().heap().unwrap();
    let _out = ring.publisher::<Order>().unwrap();
    let types = ring.types();
    let schema = types[0].layout().unwrap();
    assert_eq!((schema.name(), schema.fingerprint()), ("Order", fingerprint_of::<Order>().0));
    let mut damaged = types[0].clone();
    damaged.schema.truncate(30);
    assert!(damaged.layout().unwrap_err().to_string().contains("not JSON"));
}

#[test]
fn an_encoded_value_is_received_as_its_type() {
    on_both(small, |ring| {
        let mut orders = ring.subscriber::<Order>().unwrap();
        let schema = ring.types()[0].layout().unwrap();
        let archive = schema.encode(&serde_json::from_str(TEXT).unwrap()).unwrap();
        let mut out = ring.any_publisher().unwrap();
        out.send_value(schema.read(&archive).unwrap()).unwrap();
        out.try_send_value(schema.read(&archive).unwrap()).unwrap();
        out.send_value_timeout(schema.read(&archive).unwrap(), support::LONG).unwrap();
        for _ in 0..3 {
            let received = packetring::Received::unpack(orders.recv().unwrap()).unwrap();
            assert_eq!(received, order());
        }
    });
}

/// A program that has no type relays packets to a ring that has not seen the type.
#[test]
fn packets_are_relayed_with_their_types() {
    let (from, to) = (small().heap().unwrap(), small().heap().unwrap());
    let mut all = from.any_subscriber().unwrap();
    let mut relay = to.any_publisher().unwrap();
    let mut far = to.any_subscriber().unwrap();
    let mut out = from.any_publisher().unwrap();
    out.send(&order()).unwrap();
    out.send(&Quit).unwrap();
    let mut schemas = BTreeMap::new();
    for _ in 0..2 {
        let packet = all.recv().unwrap();
        let schema = schemas
            .entry(packet.fingerprint().unwrap())
            .or_insert_with(|| packet.schema().unwrap());
        relay.send_value(packet.value(schema).unwrap()).unwrap();
    }
    assert_eq!(far.recv().unwrap().open_as::<Order>().unwrap().customer, "Ada Lovelace");
    let quit = far.recv().unwrap();
    assert!(quit.open_as::<Quit>().is_ok());
    assert_eq!(quit.schema().unwrap().text(), layout_of::<Quit>().unwrap().text());
    let names: Vec<_> = to.types().into_iter().map(|carried| carried.name).collect();
    assert_eq!(names, ["Order", "Quit"]);
}

#[test]
fn a_packet_of_another_type_is_a_mismatch() {
    let ring = small().heap().unwrap();
    let (mut out, mut all) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
    out.send(&Quit).unwrap();
    let schema = layout_of::<Order>().unwrap();
    let packet = all.recv().unwrap();
    let Err(RecvError::TypeMismatch(types)) = packet.value(&schema) else { panic!() };
    assert!(
        types.expected.starts_with("Order (") && types.found.starts_with("Quit ("),
        "{types:?}"
    );
}

#[test]
fn a_part_of_a_packet_is_not_sent() {
    let ring = small().heap().unwrap();
    let mut out = ring.any_publisher().unwrap();
    let schema = layout_of::<(u64, String)>().unwrap();
    let archive = schema.encode(&json!([1, "a text"])).unwrap();
    let part = schema.read(&archive).unwrap().at(0).unwrap();
    assert_eq!(part.archive(), None);
    let Err(SendError::Unserializable(error)) = out.send_value(part) else { panic!() };
    assert!(error.to_string().contains("a part of a packet"), "{error}");
    assert_eq!(ring.types(), []);
}

#[test]
fn sending_values_has_the_errors_of_sending() {
    let ring = small().heap().unwrap();
    let _reader = ring.any_subscriber().unwrap();
    let mut out = ring.any_publisher().unwrap();
    let schema = layout_of::<String>().unwrap();
    let long = schema.encode(&json!("x".repeat(20_000))).unwrap();
    let value = schema.read(&long).unwrap();
    assert!(matches!(out.send_value(value), Err(SendError::TooLarge { .. })));
    let short = schema.encode(&json!("x".repeat(1000))).unwrap();
    let value = schema.read(&short).unwrap();
    let full = (0..100).find_map(|_| out.try_send_value(value).err());
    assert!(matches!(full, Some(TrySendError::Full { .. })));
    ring.close().unwrap();
    assert!(matches!(out.send_value(value), Err(SendError::Closed)));
}

#[test]
fn the_packets_of_a_batch_and_of_an_inbox_are_values() {
    let ring = small().heap().unwrap();
    let (mut out, mut all) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
    out.send_all(&[0_u32, 1, 2][..]).unwrap();
    let batch = all.drain().unwrap();
    let schema = batch.get(0).unwrap().schema().unwrap();
    let numbers: Vec<_> = batch.iter().map(|packet| packet.value(&schema).unwrap()).collect();
    assert_eq!(numbers.iter().map(Value::as_u64).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);

    let cluster = format!("dynamic-{}", std::process::id());
    let boss = Worker::join(&cluster, "boss").unwrap();
    let helper = Worker::join(&cluster, "helper").unwrap();
    let mut inbox = helper.inbox().unwrap();
    boss.send_to("helper", &order()).unwrap();
    let message = inbox.recv().unwrap();
    let schema = message.schema().unwrap();
    assert_eq!(message.fingerprint().map(|found| found.0), Some(schema.fingerprint()));
    assert_eq!(message.value(&schema).unwrap().to_string(), TEXT);
    message.ack();
    drop(inbox);
    helper.leave().unwrap();
    boss.leave().unwrap();
}

/// A part borrows the schema and the bytes, and not the value that it was taken from.
/// `tests/allocations.rs` shows that reading allocates nothing.
#[test]
fn parts_outlive_the_value_that_they_are_read_from() {
    fn customer<'v>(value: Value<'v>) -> Option<&'v str> {
        value.get("customer")?.as_str()
    }
    let schema = layout_of::<Order>().unwrap();
    let archive = schema.encode(&serde_json::from_str(TEXT).unwrap()).unwrap();
    let text = customer(schema.read(&archive).unwrap());
    assert_eq!(text, Some("Ada Lovelace"));
}

/// A cluster of one test, with a worker.
fn worker(test: &str) -> Worker {
    Worker::join(&format!("dynamic-{test}-{}", std::process::id()), "boss").unwrap()
}

#[test]
fn values_are_published_to_topics_and_queues() {
    let worker = worker("topics");
    let mut orders = worker.subscriber::<Order>("orders").unwrap();
    let mut jobs = worker.queue::<Order>("jobs").unwrap();
    let mut all = worker.topic("orders").any_subscriber().unwrap();

    let schema = worker.topic_types("orders").unwrap()[0].layout().unwrap();
    let archive = schema.encode(&serde_json::from_str(TEXT).unwrap()).unwrap();
    let value = schema.read(&archive).unwrap();
    worker.topic("orders").any_publisher().unwrap().send_value(value).unwrap();
    worker.queue_builder("jobs").any_publisher().unwrap().send_value(value).unwrap();

    assert_eq!(Received::unpack(orders.recv().unwrap()).unwrap(), order());
    assert_eq!(all.recv().unwrap().value(&schema).unwrap().to_string(), TEXT);
    let job = jobs.recv().unwrap();
    assert_eq!(job.customer, "Ada Lovelace");
    Delivery::ack(job);
}

#[test]
fn values_are_messages() {
    let boss = worker("messages");
    let cluster = format!("dynamic-messages-{}", std::process::id());
    let helper = Worker::join(&cluster, "helper").unwrap();
    let mut inbox = helper.inbox().unwrap();
    let schema = layout_of::<Order>().unwrap();
    let archive = schema.encode(&serde_json::from_str(TEXT).unwrap()).unwrap();
    let value = schema.read(&archive).unwrap();
    // The second one by the endpoint that is known.
    for _ in 0..2 {
        boss.send_value_to("helper", value).unwrap();
        let message = inbox.recv().unwrap();
        assert_eq!(message.sender(), boss.id());
        assert_eq!(message.open_as::<Order>().unwrap().id, 7);
        message.ack();
    }
    let error = boss.send_value_to("nobody", value).unwrap_err();
    assert!(matches!(error, SendToError::UnknownWorker { .. }), "{error}");
    let error = boss.send_value_to("helper", value.get("id").unwrap()).unwrap_err();
    assert!(matches!(error, SendToError::Unserializable(_)), "{error}");
    let full = (0..10_000).find_map(|_| boss.try_send_value_to("helper", value).err());
    assert!(matches!(full, Some(TrySendToError::Full { .. })), "{full:?}");
    let late = boss.send_value_to_timeout("helper", value, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(late, SendToTimeoutError::Timeout { .. }), "{late}");
    while let Ok(message) = inbox.try_recv() {
        assert_eq!(message.value(&schema).unwrap().to_string(), TEXT);
        message.ack();
    }
    drop(inbox);
    helper.leave().unwrap();
}

#[test]
fn an_inbox_of_other_types_refuses_a_value() {
    #[packetring::one_of]
    enum Work {
        Quit(Quit),
    }
    let boss = worker("refused");
    let other = Worker::join(&format!("dynamic-refused-{}", std::process::id()), "other").unwrap();
    let mut inbox = boss.inbox().unwrap();
    let schema = layout_of::<(u64, String)>().unwrap();
    let archive = schema.encode(&json!([1, "a text"])).unwrap();
    // The endpoint of this worker knows the type before the inbox refuses it.
    other.send_value_to("boss", schema.read(&archive).unwrap()).unwrap();
    inbox.recv().unwrap().ack();
    drop(inbox);
    let inbox = boss.inbox_of::<Work>().unwrap();
    for boss in [&other, &boss] {
        let error = boss.send_value_to("boss", schema.read(&archive).unwrap()).unwrap_err();
        let SendToError::TypeRefused(types) = error else { panic!("{error}") };
        assert!(types.expected.starts_with("Quit (fingerprint "), "{types:?}");
        assert!(types.found.starts_with("(u64, String) (fingerprint "), "{types:?}");
    }
    drop(inbox);
    other.leave().unwrap();
    boss.leave().unwrap();
}

#[test]
fn values_are_events() {
    let worker = worker("events");
    let mut emitter = worker.emitter().unwrap();
    let mut found = Vec::new();
    let mut events = worker.events().unwrap();
    events.on::<Order>("order::new", |order, context| {
        found.push((order.id.to_native(), context.event().to_owned(), context.sender()));
    });
    let schema = layout_of::<Order>().unwrap();
    let archive = schema.encode(&serde_json::from_str(TEXT).unwrap()).unwrap();
    let value = schema.read(&archive).unwrap();
    emitter.emit_value("order::new", value).unwrap();
    emitter.emit_value("order::old", value).unwrap();
    emitter.emit_value_timeout("order::new", value, Duration::from_secs(60)).unwrap();
    assert_eq!(events.poll().unwrap(), 3);
    assert!(matches!(emitter.emit_value("*", value), Err(EmitError::BadName { .. })));
    let part = value.get("customer").unwrap();
    assert!(matches!(emitter.emit_value("x", part), Err(EmitError::Unserializable(_))));
    let full = (0..100_000).find_map(|_| emitter.try_emit_value("order::old", value).err());
    assert!(matches!(full, Some(TryEmitError::Full { .. })), "{full:?}");
    drop(events);
    let new = || (7, "order::new".to_owned(), worker.id());
    assert_eq!(found, [new(), new()]);
}

/// Serves requests until one is 0: replies with the double, and with nothing to 13.
fn double(worker: &Worker) {
    let mut server = worker.service::<u64, (u64, String)>("double").unwrap();
    loop {
        let request = server.recv().unwrap();
        match request.to_native() {
            0 => return Request::reply(request, &(0, String::new())).unwrap(),
            13 => drop(request),
            number @ 1000.. => {
                let _ = Request::reply(request, &(number, "x".repeat(100_000)));
            }
            number => Request::reply(request, &(number * 2, "twice".into())).unwrap(),
        }
    }
}

#[test]
fn a_service_is_called_by_values() {
    let worker = worker("calls");
    let error = worker.any_client("double").unwrap_err();
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    // A typed client registers the types, too.
    let typed = worker.client::<u64, (u64, String)>("double").unwrap();
    let client = worker.any_client("double").unwrap();
    assert_eq!((client.request().name(), client.reply().name()), ("u64", "(u64, String)"));
    let archive = |number: u64| client.request().encode(&json!(number)).unwrap();
    let call = |number| client.call(client.request().read(&archive(number)).unwrap());
    assert!(matches!(call(1), Err(CallError::NoService)));

    std::thread::scope(|scope| {
        scope.spawn(|| double(&worker));
        client.wait_for_server_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(call(21).unwrap().value().unwrap().to_string(), r#"[42,"twice"]"#);
        assert_eq!(typed.call(&4).unwrap().0, 8);
        assert!(matches!(call(13), Err(CallError::NoReply)));
        assert!(matches!(call(1000), Err(CallError::ReplyTooLarge { .. })));

        let other = layout_of::<u32>().unwrap();
        let wrong = other.encode(&json!(1)).unwrap();
        let Err(CallError::Send(error)) = client.call(other.read(&wrong).unwrap()) else {
            panic!("a request of another type was sent")
        };
        let SendError::TypeRefused(types) = *error else { panic!("{error}") };
        assert!(types.expected.starts_with("u64 (") && types.found.starts_with("u32 ("));
        assert_eq!(worker.service_types("double").unwrap().len(), 3);
        // The last request that the server takes: each of the others came once.
        assert_eq!(call(0).unwrap().value().unwrap().to_string(), r#"[0,""]"#);
    });
}

#[test]
fn a_call_by_values_that_times_out_is_cancelled() {
    let worker = worker("late");
    let mut server = worker.service::<String, String>("echo").unwrap();
    let client = worker.any_client("echo").unwrap();
    let archive = client.request().encode(&json!("hello")).unwrap();
    let request = client.request().read(&archive).unwrap();
    let late = client.call_timeout(request, Duration::from_millis(1)).unwrap_err();
    let CallTimeoutError::Timeout { waiting_for } = late else { panic!("{late}") };
    assert!(!matches!(waiting_for, WaitingForServer::NoServer), "{waiting_for:?}");
    // The server skips the request that nobody waits for.
    assert!(server.try_recv().is_err());

    let large = client.request().encode(&json!("x".repeat(600 << 10))).unwrap();
    let error = client.call(client.request().read(&large).unwrap()).unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error}");
}
