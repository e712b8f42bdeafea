//! `tail` and `hz`: packets as an observer sees them.

use crate::support::{OnDrop, Prefix, Running, command, run};
use insta::assert_snapshot;
use packetring::{Worker, packet};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

#[packet]
struct Price {
    symbol: String,
    price: f64,
    venue: Option<u32>,
}

fn price(symbol: &str, price: f64, venue: Option<u32>) -> Price {
    Price { symbol: symbol.to_owned(), price, venue }
}

fn results(out: &str) -> Vec<Value> {
    let result = |line: &str| serde_json::from_str::<Value>(line).unwrap()["result"].clone();
    out.lines().map(result).collect()
}

#[test]
fn packets_are_printed_and_filtered() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(64 * 1024).open("prices").unwrap();
    let mut out = ring.any_publisher().unwrap();
    let mut reader = ring.any_subscriber().unwrap();
    out.send(&price("X", 9.5, None)).unwrap();
    out.send(&price("X", 10.5, Some(7))).unwrap();
    out.send(&price("Y\u{1b}[2J", 11.5, None)).unwrap();
    out.send(&(7_u8, "text".to_owned())).unwrap();

    let name = format!("{}:prices", prefix.0);
    let ran = run(&["tail", &name, "--backlog", "-n", "4"]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r#"
    0 Price {"symbol":"X","price":9.5,"venue":null}
    1 Price {"symbol":"X","price":10.5,"venue":7}
    2 Price {"symbol":"Y\u001b[2J","price":11.5,"venue":null}
    3 (u8, String) [7,"text"]
    "#);

    let positions = |count: &str, arguments: &[&str]| {
        let ran = run(&[&["tail", &name, "--backlog", "--json", "-n", count], arguments].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        let position = |packet: Value| packet["position"].as_u64().unwrap();
        results(&ran.out).into_iter().map(position).collect::<Vec<_>>()
    };
    assert_eq!(positions("1", &["--where", "price > 10 && symbol == \"X\""]), [1]);
    assert_eq!(positions("2", &["--where", "venue == null && price"]), [0, 2]);
    assert_eq!(positions("3", &["--type", "Price"]), [0, 1, 2]);
    assert_eq!(positions("1", &["--where", ".1 == 'text'"]), [3]);
    let json = run(&["tail", &name, "--backlog", "--json", "-n", "2"]);
    let packet = &results(&json.out)[1];
    assert_eq!((&packet["value"]["price"], &packet["value"]["venue"]), (&10.5.into(), &7.into()));
    // It took nothing from the reader.
    assert_eq!(reader.recv().unwrap().open_as::<Price>().unwrap().price, 9.5);

    let ran = run(&["tail", &name, "--where", "price >"]);
    assert_eq!(ran.status, 2);
    assert!(ran.error.contains("at character 8"), "{}", ran.error);
    assert!(ran.error.contains("--where 'price >': "), "{}", ran.error);
    let listed = run(&["inspect", "--json", "--packets", "9", &name]).result();
    assert_eq!(listed["packets"].as_array().unwrap().len(), 3);
}

#[test]
fn fewer_packets_than_asked_for_are_status_1() {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("quiet").unwrap();
    let name = format!("{}:quiet", prefix.0);
    let ran = run(&["tail", &name, "-n", "1", "--for", "0.05"]);
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));

    let reader = ring.subscriber::<u64>().unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    out.send(&7).unwrap();
    let mut tail = command(&["tail", &name, "--backlog"]);
    let mut tail = Running::start(tail.stdout(Stdio::piped()));
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "0 u64 7");
    drop((ring, reader, out));
    assert_eq!(lines.next().unwrap(), "-- the ring was removed");
    assert!(tail.wait().unwrap().success());
}

#[test]
fn a_ring_that_is_removed_is_a_line_of_json() {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("quiet").unwrap();
    let (reader, mut out) = (ring.subscriber::<u64>().unwrap(), ring.publisher::<u64>().unwrap());
    out.send(&7).unwrap();
    let mut tail = command(&["tail", &format!("{}:quiet", prefix.0), "--backlog", "--json"]);
    let mut tail = Running::start(tail.stdout(Stdio::piped()));
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(results(&lines.next().unwrap())[0]["value"], 7);
    drop((ring, reader, out));
    assert_eq!(results(&lines.next().unwrap()), [serde_json::json!({ "removed": true })]);
    assert!(tail.wait().unwrap().success());
}

#[test]
fn a_selection_that_nothing_fits_tells_what_was_seen() {
    let prefix = Prefix::new();
    let join = |name: &str| Worker::builder().prefix(&prefix.0).join("shop", name).unwrap();
    let (web, billing) = (join("web"), join("billing"));
    let _events = billing.events().unwrap();
    let mut emitter = web.emitter().unwrap();
    emitter.emit("order/new", &7_u64).unwrap();
    emitter.emit("order/paid", &price("X", 1.0, None)).unwrap();
    let name = format!("{}:shop/events", prefix.0);
    for arguments in [["--type", "Prize"], ["--event", "x/*"], ["--sender", "billing"]] {
        let tail = ["tail", &name, "--backlog", "--for", "0.2"];
        let ran = run(&[&tail[..], &arguments].concat());
        assert_eq!((ran.status, ran.out.as_str()), (0, ""), "{ran:?}");
        let says = "packetring tail: no packet fits; 2 packets seen: types Price, u64; events \
                    order/new, order/paid; senders web\n";
        assert_eq!(ran.error, says);
    }
    let all = run(&["tail", &name, "--backlog", "--for", "0.2", "--type", "Price"]);
    assert_eq!(all.error, "");
    let none = run(&["tail", &name, "--for", "0.05", "--type", "Price"]);
    assert_eq!(none.error, "packetring tail: no packet was seen\n");
}

#[test]
fn messages_and_events_have_senders_and_names() {
    let prefix = Prefix::new();
    let join = |name: &str| Worker::builder().prefix(&prefix.0).join("shop", name).unwrap();
    let (web, billing, third) = (join("web"), join("billing"), join("third"));
    let inbox = billing.inbox().unwrap();
    web.send_to("billing", &price("A", 1.0, None)).unwrap();
    third.send_to("billing", &price("B", 2.0, None)).unwrap();
    let name = |rest: &str| format!("{}:shop/{rest}", prefix.0);
    let tail = |arguments: &[&str]| {
        let ran = run(&[&["tail", "--backlog", "--json"], arguments].concat());
        assert_eq!((ran.status, ran.error.as_str()), (0, ""), "{ran:?}");
        results(&ran.out)
    };
    let all = tail(&[&name("billing"), "-n", "2"]);
    assert_eq!((&all[0]["sender_name"], &all[1]["sender"]), (&"web".into(), &2.into()));
    let third_only = tail(&[&name("billing"), "-n", "1", "--sender", "third"]);
    assert_eq!(third_only[0]["value"]["symbol"], "B");
    let unknown = run(&["tail", &name("billing"), "--sender", "nobody"]);
    assert!(unknown.error.contains("the workers are web, billing, third"), "{}", unknown.error);

    let events = billing.events().unwrap();
    let mut emitter = web.emitter().unwrap();
    emitter.emit("order/new", &7_u64).unwrap();
    emitter.emit("order/paid", &8_u64).unwrap();
    let paid = tail(&[&name("events"), "-n", "1", "--event", "*/paid"]);
    assert_eq!((&paid[0]["event"], &paid[0]["value"]), (&"order/paid".into(), &8.into()));
    drop((inbox, events));
}

#[test]
fn a_sender_that_joins_later_has_its_name() {
    let prefix = Prefix::new();
    let join = |name: &str| Worker::builder().prefix(&prefix.0).join("shop", name).unwrap();
    let billing = join("billing");
    let inbox = billing.inbox().unwrap();
    billing.send_to("billing", &1_u64).unwrap();
    let mut tail = command(&["tail", &format!("{}:shop/inbox/billing", prefix.0), "--backlog"]);
    let mut tail = Running::start(tail.stdout(Stdio::piped()));
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "0 billing u64 1");
    let late = join("late");
    late.send_to("billing", &2_u64).unwrap();
    assert_eq!(lines.next().unwrap(), "1 late u64 2");
    drop((inbox, late));
    billing.leave().unwrap();
}

#[test]
fn packets_in_a_second_are_counted() {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("busy").unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let name = format!("{}:busy", prefix.0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                out.send(&7).unwrap();
                std::thread::yield_now();
            }
        });
        let _end = OnDrop(|| is_over.store(true, Ordering::Relaxed));
        let mut hz = command(&["hz", "--json", "--interval", "0.05", &name]);
        let mut hz = Running::start(hz.stdout(Stdio::piped()));
        let mut lines = BufReader::new(hz.stdout.take().unwrap()).lines().map(Result::unwrap);
        // On a busy machine the publisher may pause for an interval.
        let line = lines.find(|line| results(line)[0]["packets"] != 0).unwrap();
        let rates = &results(&line)[0];
        assert_eq!(rates["by_type"]["u64"], rates["packets"]);
        assert!(rates["packets_per_second"].as_f64().unwrap() > 0.0);
    });
    let ran = run(&["hz", "--interval", "0.01", "-n", "2", &name]);
    assert_eq!((ran.status, ran.out.lines().count()), (0, 2), "{ran:?}");
    assert_eq!(run(&["hz", "--interval", "0", &name]).status, 2);
}
