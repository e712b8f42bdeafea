//! The examples work as documented. They succeed, report in the documented format, reject invalid
//! arguments, and leave nothing in `/dev/shm`, however they end.
//!
//! No test asserts on their speed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Far longer than any example takes.
const DEADLINE: Duration = Duration::from_secs(120);

// ── two terminals ──────────────────────────────────────────────────────────────────────────────

#[test]
fn hello_arrives_in_either_order() {
    for first in [None, Some("send")] {
        let received = two_terminals("hello", "RING", first);
        assert_eq!(received, "Ada: hello\n", "{first:?} was started first");
    }
}

#[test]
fn an_order_reaches_the_inbox_in_either_order() {
    // The sender's id is the first free one.
    for (first, sender) in [(None, 1), (Some("send"), 0)] {
        let received = two_terminals("inbox", "CLUSTER", first);
        let expected = format!("order 7 from {sender}: tea\n");
        assert_eq!(received, expected, "{first:?} was started first");
    }
}

#[test]
fn a_signal_ends_a_worker_that_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let name = format!("example-stop-{}-{}", std::process::id(), signal.as_raw());
        let _files = FilesWith(&name);
        let mut running = Running::start_with("stop", &[], &[("CLUSTER", &name)]);
        running.wait_until_mapped(&name);
        let pid = i32::try_from(running.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let run = running.finish();
        assert!(run.succeeded(), "{signal:?}: {}", run.errors());
        assert!(run.text().ends_with("stopped\n"), "{signal:?}: {}", run.text());
        assert_eq!(files_with(&name), Vec::<String>::new(), "left behind after {signal:?}");
    }
}

#[cfg(feature = "async")]
#[test]
fn two_processes_chat() {
    use std::io::{BufRead, BufReader, Write};
    let name = format!("example-chat-{}", std::process::id());
    let _files = FilesWith(&name);
    let start = |own: &str, other: &str| {
        let mut command = Command::new(path_of("async_chat"));
        command.args([own, other]).env("CLUSTER", &name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let (mut alice, mut bob) = (start("alice", "bob"), start("bob", "alice"));
    let mut heard =
        [&mut alice, &mut bob].map(|it| BufReader::new(it.stdout.take().unwrap()).lines());
    let mut says = [&mut alice, &mut bob].map(|it| it.stdin.take().unwrap());
    for lines in &mut heard {
        assert!(lines.next().unwrap().unwrap().contains("writes to"));
    }
    for round in 0..20 {
        let from = round % 2;
        writeln!(says[from], "line {round}").unwrap();
        let line = heard[1 - from].next().unwrap().unwrap();
        assert!(line.ends_with(&format!(": line {round}")), "{line}");
    }
    drop(says);
    assert!(alice.wait().unwrap().success() && bob.wait().unwrap().success());
    assert_eq!(files_with(&name), Vec::<String>::new(), "left behind");
}

/// The packet of the ring that the example `dynamic` reads: it does not have the type.
#[cfg(feature = "dynamic")]
#[packetring::packet]
struct Price {
    symbol: String,
    bid: u64,
    ask: Option<u64>,
}

#[cfg(feature = "dynamic")]
#[test]
fn packets_of_any_type_are_printed_and_sent() {
    use std::io::{BufRead, BufReader};
    let name = format!("example-dynamic-{}", std::process::id());
    let _files = FilesWith(&name);
    let ring = packetring::Ring::open(&name).unwrap();
    let mut prices = ring.publisher::<Price>().unwrap();
    let mut own = ring.subscriber::<Price>().unwrap();
    let mut running = Running::start("dynamic", &[&name]);
    while prices.subscribers() < 2 {
        assert_eq!(running.child.try_wait().unwrap(), None, "the example ended early");
        sleep(Duration::from_millis(1));
    }
    prices.send(&Price { symbol: "ABC \"é\"".into(), bid: u64::MAX, ask: None }).unwrap();
    drop(own.recv().unwrap());

    let json = r#"{ "ask": 9, "bid": 8, "symbol": "a symbol that is out of line" }"#;
    let sent = Run::of("dynamic", &[&name, "--send", json]);
    assert!(sent.succeeded(), "{}", sent.errors());
    let price = packetring::Received::unpack(own.recv().unwrap()).unwrap();
    assert_eq!((&*price.symbol, price.bid), ("a symbol that is out of line", 8));
    assert_eq!(price.ask, Some(9));
    for (json, reason) in [
        ("{", "EOF while parsing"),
        (r#"{ "symbol": "ABC", "bid": -1 }"#, ".bid: -1 is no value of u64"),
        (r#"{ "symbol": "ABC" }"#, "field \\\"bid\\\" is missing"),
    ] {
        let refused = Run::of("dynamic", &[&name, "--send", json]);
        assert!(!refused.succeeded() && refused.errors().contains(reason), "{}", refused.errors());
    }

    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
    let expected = [
        r#"{"symbol":"ABC \"é\"","bid":18446744073709551615,"ask":null}"#,
        r#"{"symbol":"a symbol that is out of line","bid":8,"ask":9}"#,
    ];
    for packet in expected {
        let line = lines.next().unwrap().unwrap();
        let found: Value = serde_json::from_str(&line).unwrap();
        assert!(found["position"].is_u64() && found["type"] == "Price", "{line}");
        assert!(line.ends_with(&format!(r#""packet":{packet}}}"#)), "{line}");
    }
    // It ends with the ring.
    ring.close().unwrap();
    assert!(lines.next().is_none());
    let give_up_at = Instant::now() + DEADLINE;
    while running.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < give_up_at, "the example did not end in time");
        sleep(Duration::from_millis(1));
    }
    assert!(running.child.wait().unwrap().success());
    drop((own, prices, ring));
    assert_eq!(files_with(&name), Vec::<String>::new(), "left behind");
}

/// Sends an HTTP request. Returns its status and its text.
#[cfg(feature = "async")]
fn post(address: &str, path: &str, text: &str) -> (u16, String) {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let len = text.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{text}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[cfg(feature = "async")]
#[test]
fn web_servers_ask_each_other() {
    let name = format!("example-axum-{}", std::process::id());
    let _files = FilesWith(&name);
    let mut servers = ["ada", "bob"].map(|own| {
        Running::start_with("axum_workers", &[own, "127.0.0.1:0"], &[("CLUSTER", &name)])
    });
    let [ada, bob] =
        servers.each_mut().map(|server| server.first_line().rsplit_once(' ').unwrap().1.to_owned());
    for round in 1..=20 {
        let expected = format!("bob: got \"hello {round}\" from ada, number {round}\n");
        assert_eq!(post(&ada, "/to/bob", &format!("hello {round}")), (200, expected));
    }
    // Several at a time, in both directions.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            for (address, to) in [(&ada, "bob"), (&bob, "ada")] {
                scope.spawn(move || {
                    let (status, text) = post(address, &format!("/to/{to}"), "hi");
                    assert!(status == 200 && text.starts_with(&format!("{to}: got \"hi\"")));
                });
            }
        }
    });
    let (status, text) = post(&ada, "/to/eve", "hello");
    assert!(status == 404 && text.contains("no server"), "{status} {text}");
    let [first, mut second] = servers;
    second.child.kill().unwrap();
    let (status, text) = post(&ada, "/to/bob", "hello");
    assert!([404, 502].contains(&status), "{status} {text}");
    let pid = i32::try_from(first.child.id()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let run = first.finish();
    assert!(run.succeeded(), "{}", run.errors());
    drop(second);
    assert_eq!(files_with(&name), Vec::<String>::new(), "left behind");
}

/// The packet of the example `handover`.
#[cfg(feature = "handover")]
#[packetring::packet]
struct Connection {
    client: String,
    peeked: u64,
}

#[cfg(feature = "handover")]
#[test]
fn connections_go_to_the_worker_that_they_name() {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Shutdown, TcpStream};
    let name = format!("example-handover-{}", std::process::id());
    let _files = FilesWith(&name);
    let mut running = [vec!["worker", "ada"], vec!["worker", "bob"], vec!["front", "127.0.0.1:0"]]
        .map(|arguments| Running::start_with("handover", &arguments, &[("CLUSTER", &name)]));
    let [ada, bob, front] = running.each_mut().map(Running::first_line);
    assert_eq!((&*ada, &*bob), ("ada is ready", "bob is ready"));
    let address = front.replace("listening on ", "");
    // A message of the right type without a connection.
    let other = packetring::Worker::join(&name, "other").unwrap();
    other.send_to("ada", &Connection { client: "nobody".into(), peeked: 0 }).unwrap();
    drop(other);
    for round in 0..20 {
        let to = ["ada", "bob", "eve"][round % 3];
        let mut client = TcpStream::connect(&address).unwrap();
        // The first word comes in two parts.
        client.write_all(&to.as_bytes()[..1]).unwrap();
        sleep(Duration::from_millis(2));
        client.write_all(format!("{} {round}\nmore\n", &to[1..]).as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let lines: Vec<String> = BufReader::new(client).lines().map(|it| it.unwrap()).collect();
        if to == "eve" {
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].contains("unknown worker eve"), "{lines:?}");
        } else {
            let expected = [format!("{to} got \"{to} {round}\""), format!("{to} got \"more\"")];
            assert_eq!(lines, expected);
        }
    }
    for process in running.each_ref() {
        let pid = i32::try_from(process.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }
    for process in running {
        let run = process.finish();
        assert!(run.succeeded(), "{}", run.errors());
    }
    assert_eq!(files_with(&name), Vec::<String>::new(), "left behind");
}

/// Runs an example twice at a time, as in two terminals. The second process starts when the first
/// one has mapped the ring or directory. Returns the output of the receiving process.
fn two_terminals(example: &str, variable: &str, first: Option<&str>) -> String {
    let second = if first.is_some() { None } else { Some("send") };
    let name = format!("example-{example}-{}-{}", std::process::id(), first.unwrap_or("receive"));
    let _files = FilesWith(&name);
    let start = |role: Option<&str>| {
        Running::start_with(example, role.as_slice(), &[(variable, name.as_str())])
    };
    let mut earlier = start(first);
    earlier.wait_until_mapped(&name);
    let later = start(second);
    let text = [later.finish(), earlier.finish()].map(|run| {
        assert!(run.succeeded(), "{example}, {first:?} first: {}", run.errors());
        run.text()
    });
    assert_eq!(files_with(&name), Vec::<String>::new(), "left behind by {example}");
    text.concat()
}

/// Removes the files whose names contain this text, in case the test fails.
struct FilesWith<'a>(&'a str);

impl Drop for FilesWith<'_> {
    fn drop(&mut self) {
        for name in files_with(self.0) {
            let _ = std::fs::remove_file(PathBuf::from("/dev/shm").join(name));
        }
    }
}

// ── ping_pong ──────────────────────────────────────────────────────────────────────────────────

#[test]
fn ping_pong_reports_json_for_every_wait_and_payload() {
    for wait in ["spin", "park", "event"] {
        for (payload, given) in [(16, None), (0, Some("0")), (5, Some("5")), (3000, Some("3000"))] {
            let mut arguments = vec!["--json", "--rounds", "37", "--wait", wait];
            arguments.extend(given.map(|bytes| ["--payload", bytes]).into_iter().flatten());
            let run = Run::of("ping_pong", &arguments);
            assert!(run.succeeded(), "{arguments:?}: {}", run.errors());
            let report: Value = serde_json::from_slice(&run.output.stdout).unwrap();
            check_report(&report, 37, payload, wait);
            run.assert_nothing_left();
        }
    }
}

fn check_report(report: &Value, rounds: u64, payload: u64, wait: &str) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut found = keys(report);
    found.sort();
    assert_eq!(found, ["floor_ns", "payload", "rounds", "rtt_ns", "wait"]);
    assert_eq!(report["rounds"].as_u64(), Some(rounds));
    assert_eq!(report["payload"].as_u64(), Some(payload));
    assert_eq!(report["wait"].as_str(), Some(wait));
    for times in [&report["rtt_ns"], &report["floor_ns"]] {
        let mut found = keys(times);
        found.sort();
        assert_eq!(found, ["max", "p50", "p99", "p999"]);
        let ascending = ["p50", "p99", "p999", "max"].map(|key| times[key].as_u64().unwrap());
        assert!(ascending[0] > 0 && ascending.is_sorted(), "{times}");
    }
}

#[test]
fn ping_pong_prints_a_table_for_every_wait() {
    for wait in ["spin", "park", "event"] {
        let run = Run::of("ping_pong", &["--rounds", "37", "--wait", wait, "--spin-for", "0"]);
        assert!(run.succeeded(), "{wait}: {}", run.errors());
        let text = run.text();
        for part in
            ["37 round trips", "archived bytes", wait, "p99.9", "packetring", "floor", "ratio"]
        {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
        assert!(text.contains("uncorrected"), "{text}");
        run.assert_nothing_left();
    }
}

#[test]
fn a_default_packet_fits_a_slot() {
    let run = Run::of("ping_pong", &["--rounds", "1"]);
    assert!(run.succeeded(), "{}", run.errors());
    let text = run.text();
    let line = text.lines().next().unwrap();
    let sizes = line.split_once(':').unwrap().1.split(|c: char| !c.is_ascii_digit());
    let sizes: Vec<u64> = sizes.filter_map(|number| number.parse().ok()).collect();
    assert!(sizes.len() >= 2 && sizes[..2].iter().all(|&bytes| bytes <= 48), "{line}");
}

#[test]
fn ping_pong_reports_a_shared_core() {
    let core = allowed_core();
    let run = Run::of("ping_pong", &["--rounds", "37", "--pin", &format!("{core},{core}")]);
    assert!(run.succeeded(), "{}", run.errors());
    assert!(run.text().contains(&format!("both processes share core {core}")), "{}", run.text());
    run.assert_nothing_left();
}

fn allowed_core() -> usize {
    let set = rustix::thread::sched_getaffinity(None).unwrap();
    (0..rustix::thread::CpuSet::MAX_CPU).find(|&core| set.is_set(core)).unwrap()
}

#[test]
fn invalid_arguments_are_rejected_with_a_reason() {
    for (example, arguments, reason) in [
        ("ping_pong", ["--rounds", "0"], "0 is not in"),
        ("ping_pong", ["--rounds", "many"], "invalid digit"),
        ("ping_pong", ["--payload", "99999999"], "99999999 is not in"),
        ("ping_pong", ["--wait", "patiently"], "possible values: spin, park, event"),
        ("ping_pong", ["--pin", "0"], "two core numbers, such as 0,1"),
        ("ping_pong", ["--pin", "0,100000"], "core 100000 may not be used"),
        ("ping_pong", ["--speed", "9"], "unexpected argument"),
        ("topic", ["--subscribers", "0"], "0 is not in"),
        ("topic", ["--overflow", "panic"], "possible values: block, drop-oldest"),
        ("topic", ["--packets", "-1"], "unexpected argument"),
        ("chaos", ["--seconds", "0"], "0 is not in"),
        ("chaos", ["--worker", "1,2,3"], "eight numbers"),
        ("workers", ["--workers", "0"], "0 is not in"),
        ("jobs", ["--encoders", "1"], "1 is not in"),
        ("service", ["--calls", "0"], "0 is not in"),
        ("events", ["--threads", "27"], "27 is not in"),
    ] {
        let run = Run::of(example, &arguments);
        assert!(!run.succeeded(), "{example} {arguments:?} was accepted");
        assert!(run.errors().contains(reason), "{example} {arguments:?}: {}", run.errors());
        assert_eq!(run.text(), "", "{example} {arguments:?}");
        run.assert_nothing_left();
    }
}

#[test]
fn an_interrupted_ping_pong_leaves_nothing() {
    for signal in [Signal::INT, Signal::KILL] {
        let mut running = Running::start("ping_pong", &["--rounds", "100000000"]);
        running.wait_for_peer();
        let group = Pid::from_child(&running.child);
        // As Ctrl-C in a terminal does.
        kill_process_group(group, signal).unwrap();
        let run = running.finish();
        assert!(!run.succeeded(), "{signal:?}");
        run.assert_nothing_left();
    }
}

#[test]
fn ping_pong_reports_a_killed_peer() {
    let mut running = Running::start("ping_pong", &["--rounds", "100000000"]);
    let peer = running.wait_for_peer();
    kill_process(peer, Signal::KILL).unwrap();
    let run = running.finish();
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.errors().contains("the peer is gone (signal: 9"), "{}", run.errors());
    run.assert_nothing_left();
}

// ── topic ──────────────────────────────────────────────────────────────────────────────────────

#[test]
fn topic_accounts_for_every_packet() {
    for overflow in ["block", "drop-oldest"] {
        let arguments = ["--subscribers", "3", "--packets", "20000", "--overflow", overflow];
        let run = Run::of("topic", &arguments);
        assert!(run.succeeded(), "{overflow}: {}", run.errors());
        let mut rows = rows(&run.text());
        rows.sort();
        let subscribers: Vec<u64> = rows.iter().map(|row| row[0]).collect();
        assert_eq!(subscribers, [0, 1, 2]);
        for row in rows {
            assert_eq!(row[1] + row[2], 20_000, "{overflow}");
            assert!(row[2] == 0 || overflow == "drop-oldest", "a blocking ring lost packets");
        }
        run.assert_nothing_left();
    }
}

/// The lines of a table that hold only numbers.
fn rows(text: &str) -> Vec<Vec<u64>> {
    let numbers = |line: &str| line.split_whitespace().map(|word| word.parse().ok()).collect();
    text.lines().filter(|line| !line.is_empty()).filter_map(numbers).collect()
}

#[test]
fn an_interrupted_topic_leaves_nothing() {
    let mut running = Running::start("topic", &["--packets", "1000000000"]);
    running.wait_for_peer();
    kill_process_group(Pid::from_child(&running.child), Signal::INT).unwrap();
    let run = running.finish();
    assert!(!run.succeeded());
    run.assert_nothing_left();
}

// ── chaos ──────────────────────────────────────────────────────────────────────────────────────

/// The seed differs in each run; a failure prints it.
#[test]
fn chaos_loses_nothing_and_reports_json() {
    let run = Run::of("chaos", &["--json", "--seconds", "4"]);
    assert!(run.succeeded(), "{}\n{}", run.text(), run.errors());
    let report: Value = serde_json::from_slice(&run.output.stdout).unwrap();
    assert_eq!(
        keys_in_order(&run.text()),
        [
            "seconds",
            "kills",
            "freezes",
            "published",
            "received",
            "lost",
            "torn",
            "unflagged_duplicates",
            "redelivered",
            "missed",
            "stall_ms",
            "p50",
            "p99",
            "max",
            "leftovers",
        ]
    );
    for zero in ["lost", "torn", "unflagged_duplicates", "leftovers"] {
        assert_eq!(report[zero].as_u64(), Some(0), "{zero}");
    }
    for some in ["kills", "freezes", "published", "received"] {
        assert!(report[some].as_u64() > Some(0), "{some}");
    }
    run.assert_nothing_left();
}

/// The keys of an object and of the objects in it, in the order of the text.
fn keys_in_order(json: &str) -> Vec<String> {
    let words = json.split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

#[test]
fn chaos_prints_a_table_and_its_seed() {
    let run = Run::of("chaos", &["--seconds", "1", "--seed", "5", "--strikes", "200"]);
    assert!(run.succeeded(), "{}\n{}", run.text(), run.errors());
    for part in ["seed 5\n", "kills", "redelivered", "must be 0", "held up by the dead"] {
        assert!(run.text().contains(part), "no {part:?} in:\n{}", run.text());
    }
    run.assert_nothing_left();
}

#[test]
fn an_interrupted_chaos_leaves_nothing() {
    for signal in [Signal::INT, Signal::KILL] {
        let mut running = Running::start("chaos", &["--seconds", "60"]);
        running.wait_for_peer();
        running.wait_for_files(6);
        kill_process(Pid::from_child(&running.child), signal).unwrap();
        let run = running.finish();
        assert!(!run.succeeded(), "{signal:?}");
        run.assert_nothing_left();
    }
}

// ── the cluster ────────────────────────────────────────────────────────────────────────────────

#[test]
fn workers_receive_a_packet_of_the_right_type() {
    let run = Run::of("workers", &["--workers", "3"]);
    assert!(run.succeeded(), "{}\n{}", run.text(), run.errors());
    let text = run.text();
    let (to_one, to_all) = text.split_once("to all 3 workers\n").unwrap();
    assert!(to_one.starts_with("to worker 2 alone\n  worker-2 (id 2, "), "{text}");
    assert!(to_one.contains(r#""hello, i'm Ada, 36 and i count", of age"#), "{text}");
    let mut heard: Vec<&str> = to_all.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    heard.sort();
    assert_eq!(heard, ["worker-1", "worker-2", "worker-3"]);
    assert_eq!(to_all.matches(r#""hello, i'm Charles, 12 and i build", not of age"#).count(), 3);
    run.assert_nothing_left();
}

#[test]
fn the_job_of_a_killed_encoder_is_redelivered_and_flagged() {
    let run = Run::of("jobs", &["--encoders", "3", "--jobs", "60"]);
    assert!(run.succeeded(), "{}\n{}", run.text(), run.errors());
    let text = run.text();
    assert!(text.starts_with("encoder 0 was killed in the midst of job 0\n"), "{text}");
    assert_eq!(text.matches("flagged").count(), 1, "{text}");
    let rows = rows(&text);
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rows.iter().map(|row| row[1]).sum::<u64>(), 60);
    run.assert_nothing_left();
}

#[test]
fn events_arrive_from_every_process_and_errors_reach_the_handler() {
    let run = Run::of("events", &["--threads", "2"]);
    assert!(run.succeeded(), "{}\n{}", run.text(), run.errors());
    let text = run.text();
    for name in ["threadA", "threadB"] {
        let lines = text.lines().filter(|line| line.starts_with(&format!("{name}::")));
        let events: Vec<&str> = lines.map(|line| line.split(": ").next().unwrap()).collect();
        let progress = format!("{name}::progress");
        let (open, close) = (format!("{name}::open"), format!("{name}::close"));
        assert_eq!(events, [&open, &progress, &progress, &progress, &close], "{text}");
        assert!(text.contains(&format!("{close}: {name}.txt was not saved")), "{text}");
    }
    assert_eq!(text.matches("threadA has begun").count(), 1);
    assert!(text.contains("a handler expects Closed"), "{text}");
    run.assert_nothing_left();
}

#[test]
fn a_service_reports_the_outcome_of_every_call() {
    let run = Run::of("service", &["--servers", "2", "--calls", "200"]);
    assert!(run.succeeded(), "{}\n{}", run.text(), run.errors());
    let text = run.text();
    assert_eq!(rows(&text).iter().map(|row| row[1]).sum::<u64>(), 200, "{text}");
    assert_eq!(text.matches("a request that was dropped: no reply").count(), 1, "{text}");
    assert_eq!(text.matches("a killed server: server died during the call").count(), 2, "{text}");
    run.assert_nothing_left();
}

#[test]
fn an_interrupted_cluster_leaves_nothing() {
    for (example, arguments) in [
        ("workers", ["--workers", "12"]),
        ("jobs", ["--jobs", "20000"]),
        ("events", ["--threads", "12"]),
        ("service", ["--calls", "100000"]),
    ] {
        for signal in [Signal::INT, Signal::KILL] {
            let was_interrupted = || {
                let mut running = Running::start(example, &arguments);
                let found = running.peer_or_end();
                let peers = children_of(running.child.id());
                if found.is_some() {
                    // Fails if the process has ended meanwhile.
                    let _ = kill_process(Pid::from_child(&running.child), signal);
                }
                running.wait_for_end();
                // If no peer outlived an interrupted run, nobody removed its files.
                let outlived = peers.into_iter().any(maps_rings);
                let run = running.finish();
                if outlived || run.succeeded() {
                    run.assert_nothing_left();
                } else {
                    run.remove_files();
                }
                outlived && !run.succeeded()
            };
            let tries = std::iter::repeat_with(was_interrupted).take(50);
            assert!(
                tries.into_iter().any(|interrupted| interrupted),
                "{example} always ended before the signal"
            );
        }
    }
}

// ── Running an example ─────────────────────────────────────────────────────────────────────────

/// An example that has ended.
struct Run {
    pid: u32,
    output: Output,
}

impl Run {
    fn of(example: &str, arguments: &[&str]) -> Self {
        Running::start(example, arguments).finish()
    }

    fn succeeded(&self) -> bool {
        self.output.status.success()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Removes the files of a run that no peer outlived.
    fn remove_files(&self) {
        for name in files_of(self.pid) {
            // Fails if a peer has removed the file meanwhile.
            let _ = std::fs::remove_file(PathBuf::from("/dev/shm").join(name));
        }
    }

    /// Asserts that no file is left. Peers that outlive a killed example remove its files, so this
    /// waits.
    fn assert_nothing_left(&self) {
        let give_up_at = Instant::now() + DEADLINE;
        while !files_of(self.pid).is_empty() {
            assert!(Instant::now() < give_up_at, "left behind: {:?}", files_of(self.pid));
            sleep(Duration::from_millis(5));
        }
    }
}

/// A running example, in a process group of its own as in a terminal.
struct Running {
    child: Child,
}

impl Running {
    fn start(example: &str, arguments: &[&str]) -> Self {
        Self::start_with(example, arguments, &[])
    }

    fn start_with(example: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(path_of(example));
        command.args(arguments).envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.process_group(0).spawn().unwrap() }
    }

    /// The first line of its output. Takes what comes with it, too.
    #[cfg(any(feature = "async", feature = "handover"))]
    fn first_line(&mut self) -> String {
        use std::io::{BufRead, BufReader};
        let mut line = String::new();
        BufReader::new(self.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Waits until a child of the example has mapped its rings and returns the child's process id.
    fn wait_for_peer(&mut self) -> Pid {
        self.peer_or_end().expect("the example ended early")
    }

    /// Like [`wait_for_peer`](Self::wait_for_peer), but returns `None` if the example has ended.
    fn peer_or_end(&mut self) -> Option<Pid> {
        let give_up_at = Instant::now() + DEADLINE;
        loop {
            if let Some(pid) = children_of(self.child.id()).into_iter().find(|&pid| maps_rings(pid))
            {
                return Pid::from_raw(pid);
            }
            assert!(Instant::now() < give_up_at, "timed out waiting for a child that maps rings");
            if self.child.try_wait().unwrap().is_some() {
                return None;
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the example has created `count` files.
    fn wait_for_files(&mut self, count: usize) {
        let give_up_at = Instant::now() + DEADLINE;
        while files_of(self.child.id()).len() < count {
            assert!(Instant::now() < give_up_at, "timed out waiting for {count} files");
            assert_eq!(self.child.try_wait().unwrap(), None, "the example ended early");
            sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the example itself has mapped a file whose name contains `name`.
    fn wait_until_mapped(&mut self, name: &str) {
        let give_up_at = Instant::now() + DEADLINE;
        let maps = format!("/proc/{}/maps", self.child.id());
        while !std::fs::read_to_string(&maps).unwrap_or_default().contains(name) {
            assert!(Instant::now() < give_up_at, "timed out waiting for a mapping of {name}");
            assert_eq!(self.child.try_wait().unwrap(), None, "the example ended early");
            sleep(Duration::from_millis(1));
        }
    }

    fn finish(mut self) -> Run {
        self.wait_for_end();
        // The peers write to the pipes of the example too.
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Run { pid: self.child.id(), output: Output { status, stdout, stderr } }
    }

    fn wait_for_end(&mut self) {
        let give_up_at = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < give_up_at, "the example did not end in time");
            sleep(Duration::from_millis(1));
        }
    }
}

/// A failed test leaves no process. An example that has ended is not signalled again.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `cargo test` builds the examples in a folder beside that of the tests.
fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(example);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo test`, or `cargo build --examples` first",
        path.display()
    );
    path
}

/// The files of a process in `/dev/shm`, whose names contain its process id.
fn files_of(pid: u32) -> Vec<String> {
    let pid = pid.to_string();
    // Not any digits: the random part of a name can contain the id of another process.
    shared_files(|name| name.split(['-', '~', '.']).any(|part| part == pid))
}

/// The files in `/dev/shm` whose names contain `part`.
fn files_with(part: &str) -> Vec<String> {
    shared_files(|name| name.contains(part))
}

/// The chosen files of packetring in `/dev/shm`.
fn shared_files(chosen: impl Fn(&str) -> bool) -> Vec<String> {
    let names = std::fs::read_dir("/dev/shm").unwrap().filter_map(Result::ok);
    let names = names.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("packetring") && chosen(name)).collect()
}

/// The child processes of a process.
fn children_of(parent: u32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // pid (name) state parent …
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        fields.take(2).last() == Some(&parent.to_string())
    };
    pids.filter(is_child).collect()
}

/// Whether a process is a peer that has mapped its rings. Before `exec`, a child has the mappings
/// of its parent, so the command line is checked too.
fn maps_rings(pid: i32) -> bool {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let rings_of_a = [("--peer", 2), ("--subscriber\0", 2), ("--worker\0", 1), ("--as\0", 2)];
    let Some((_, count)) = rings_of_a.into_iter().find(|(role, _)| line.contains(role)) else {
        return false;
    };
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let rings = files.filter(|file| file.starts_with("/dev/shm/packetring."));
    rings.collect::<std::collections::BTreeSet<_>>().len() >= count
}
