//! `send`, `emit`, `call` and `replay --to`: what arrives, what is refused, and what stays behind.

use crate::recording::record_some;
use crate::support::{
    Folder, OnDrop, Prefix, Ran, Running, command, eventually, run, signal, start_role,
};
use insta::assert_snapshot;
use packetring::cluster::{Delivery, Request, WorkerState};
use packetring::{RecvError, Stop, TryRecvError, Worker, packet};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

#[packet]
struct Order {
    id: u64,
    customer: String,
    note: Option<String>,
}

mod other {
    #[packetring::packet]
    pub(super) struct Order {
        pub(super) total: f64,
    }
}

/// What an inbox of numbers takes.
#[packetring::one_of]
enum Numbers {
    Number(u64),
}

const ADA: &str = r#"{"id":7,"customer":"Ada"}"#;

/// Runs the command with a text as its standard input.
fn feed(arguments: &[&str], input: &str) -> Ran {
    let mut child = start(arguments);
    // The command may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.end()
}

fn start(arguments: &[&str]) -> Running {
    let mut command = command(arguments);
    Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// A worker of the cluster `shop`.
fn join(prefix: &Prefix, name: &str) -> Worker {
    Worker::builder().prefix(&prefix.0).join("shop", name).unwrap()
}

/// Fails with status 1 and these words.
#[track_caller]
fn fails(ran: &Ran, says: &str) {
    assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.error.contains(says), "{says:?}: {}", ran.error);
}

#[test]
fn packets_from_json_arrive_as_their_type() {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("orders").unwrap();
    let (_out, mut reader) = (ring.publisher::<Order>().unwrap(), ring.subscriber::<Order>());
    let reader = reader.as_mut().unwrap();
    let name = format!("{}:orders", prefix.0);
    let ran = run(&["send", &name, ADA]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    assert_snapshot!(prefix.redact(&ran.out), @"sent 1 packet of the type Order to P:orders");
    let ran = run(&["send", &name, "Order", r#"{"id":8,"customer":"Bob","note":"x"}"#, "--json"]);
    assert_snapshot!(prefix.redact(&ran.out), @r#"{"format":1,"command":"send","result":{"to":"P:orders","type":"Order","packets":1,"has_reader":true}}"#);
    let lines = format!("{ADA}\n\n{{\"id\":9,\"customer\":\"Cy\"}}");
    for arguments in [&["send", &name][..], &["send", &name, "-"], &["send", &name, "Order", "-"]] {
        let ran = feed(arguments, &lines);
        assert!(ran.out.starts_with("sent 2 packets "), "{ran:?}");
    }
    for (id, customer) in [(7, "Ada"), (8, "Bob"), (7, "Ada"), (9, "Cy"), (7, "Ada"), (9, "Cy")] {
        let order = reader.recv().unwrap();
        assert_eq!((order.id.to_native(), order.customer.as_str()), (id, customer));
        assert_eq!(order.note.as_ref().map(|note| note.as_str()), (id == 8).then_some("x"));
    }

    // A number that is negative is no option.
    let small = prefix.ring().open("small").unwrap();
    let (_out, mut numbers) = (small.any_publisher().unwrap(), small.subscriber::<i8>().unwrap());
    assert_eq!(run(&["send", &format!("{}:small", prefix.0), "-7"]).status, 0);
    assert_eq!(*numbers.recv().unwrap(), -7);
    drop(numbers);
    let ran = run(&["send", &format!("{}:small", prefix.0), "8"]);
    assert!(
        ran.out.ends_with("to P:small, which has no reader\n".replace('P', &prefix.0).as_str())
    );
}

#[test]
fn a_packet_that_does_not_fit_is_refused_and_nothing_is_joined() {
    let prefix = Prefix::new();
    let ring = prefix.ring().exclusive().open("orders").unwrap();
    let mut reader = ring.subscriber::<Order>().unwrap();
    let name = format!("{}:orders", prefix.0);
    // The ring has no publisher: a command that joined it would close it.
    for (arguments, says) in [
        (&["{"][..], "\"{\" is not JSON: EOF while parsing"),
        (&["Order"], "give JSON, or - to read it from the standard input"),
        (&[r#"{"id":-1,"customer":"A"}"#], "the JSON is no Order: value not encoded at .id: "),
        (&[r#"{"id":1}"#], "field \"customer\" is missing; add it"),
        (&["Odrer", ADA], "has no packet type \"Odrer\"; its types are Order"),
    ] {
        let ran = run(&[&["send", &name, "--may-close"], arguments].concat());
        fails(&ran, says);
    }
    assert!(matches!(reader.try_recv(), Err(TryRecvError::Empty)));
    fails(&run(&["send", "no-such-ring", "1"]), "no object has the name");
    let ran = run(&["send", &name, "Order", ADA, "more"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    let ran = run(&["send", &name, ADA, "--timeout", "soon"]);
    assert!(ran.status == 2 && ran.error.contains("give seconds, as in 1.5"), "{ran:?}");
    let ran = run(&["send", &name, "{", "--json", "--may-close"]);
    let line: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(line["error"]["message"].as_str().unwrap().contains("is not JSON"), "{line}");
}

#[test]
fn a_line_that_is_wrong_is_named_and_the_lines_before_it_were_sent() {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("orders").unwrap();
    let (_out, mut reader) =
        (ring.publisher::<Order>().unwrap(), ring.subscriber::<Order>().unwrap());
    let name = format!("{}:orders", prefix.0);
    for (wrong, says) in [
        ("nonsense", "line 4: not JSON: expected ident at line 1 column 2"),
        (r#"{"id":"x","customer":""}"#, "line 4: the JSON is no Order: value not encoded at .id"),
    ] {
        let ran = feed(&["send", &name], &format!("{ADA}\n\n{ADA}\n{wrong}\n{ADA}\n"));
        fails(&ran, says);
        assert!(ran.error.contains("; 2 packets sent before"), "{}", ran.error);
        for _ in 0..2 {
            assert_eq!(reader.recv().unwrap().id, 7);
        }
        assert!(matches!(reader.try_recv(), Err(TryRecvError::Empty)));
    }
}

#[test]
fn a_type_is_chosen_by_its_name_or_its_fingerprint() {
    let prefix = Prefix::new();
    let ring = prefix.ring().open("mixed").unwrap();
    let (mut out, mut reader) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
    let name = format!("{}:mixed", prefix.0);
    let says = "has no packet type yet; start a process that sends or receives packets there";
    fails(&run(&["send", &name, "1"]), says);
    out.send(&Order { id: 1, customer: "A".into(), note: None }).unwrap();
    out.send(&2_u64).unwrap();
    let says = "has 2 packet types; give one of them before the JSON: ";
    fails(&run(&["send", &name, "1"]), says);
    assert_eq!(run(&["send", &name, "u64", "3"]).status, 0);
    out.send(&other::Order { total: 1.5 }).unwrap();
    let ran = run(&["send", &name, "Order", r#"{"total":2.5}"#]);
    fails(&ran, "has 2 packet types \"Order\"; give the start of a fingerprint");
    let print = packetring::packet::fingerprint_of::<other::Order>().to_string();
    assert!(ran.error.contains(&format!("{print} Order")), "{}", ran.error);
    assert_eq!(run(&["send", &name, &print[..8].to_uppercase(), r#"{"total":2.5}"#]).status, 0);
    let names: Vec<_> = (0..5).map(|_| reader.recv().unwrap().type_name()).collect();
    assert_eq!(names, ["Order", "u64", "u64", "Order", "Order"]);

    // A ring without types takes them from another one.
    let empty = prefix.ring().open("empty").unwrap();
    let (_out, mut reader) = (empty.any_publisher().unwrap(), empty.any_subscriber().unwrap());
    let to = format!("{}:empty", prefix.0);
    assert_eq!(run(&["send", &to, "u64", "4", "--types-of", &name]).status, 0);
    assert_eq!(*reader.recv().unwrap().open_as::<u64>().unwrap(), 4);
}

#[test]
fn a_full_ring_ends_the_command_after_its_timeout_and_nothing_is_half_sent() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(4096).open("orders").unwrap();
    let (_out, mut reader) =
        (ring.publisher::<Order>().unwrap(), ring.subscriber::<Order>().unwrap());
    let name = format!("{}:orders", prefix.0);
    let ran = feed(&["send", &name, "--timeout", "0.05"], &format!("{ADA}\n").repeat(200));
    assert_eq!(ran.status, 1);
    let mut arrived = 0;
    while let Ok(order) = reader.try_recv() {
        assert_eq!((order.id.to_native(), order.customer.as_str()), (7, "Ada"));
        arrived += 1;
    }
    assert!(arrived > 10, "{arrived}");
    let says = format!("line {}: ring full until the timeout", arrived + 1);
    assert!(ran.error.contains(&says), "{says}: {}", ran.error);
    let says = format!("; {arrived} packets sent before");
    assert!(ran.error.contains(&says), "{says}: {}", ran.error);
    // It left, so that the ring works as before.
    assert_eq!(run(&["send", &name, ADA]).status, 0);
    assert_eq!(reader.recv().unwrap().id, 7);
}

#[test]
fn a_ring_that_would_close_or_has_its_only_publisher_is_left_alone() {
    let prefix = Prefix::new();
    let exclusive = prefix.ring().exclusive().open("exclusive").unwrap();
    let (out, _reader) =
        (exclusive.publisher::<u64>().unwrap(), exclusive.subscriber::<u64>().unwrap());
    let name = format!("{}:exclusive", prefix.0);
    let ran = run(&["send", &name, "1"]);
    fails(&ran, &format!("process {}", std::process::id()));
    assert!(ran.error.contains("exclusive"), "{}", ran.error);
    assert!(!ran.error.contains("RingBuilder"), "a call of the library: {}", ran.error);
    drop(out);

    let ring = prefix.ring().open("young").unwrap();
    let mut reader = ring.subscriber::<u64>().unwrap();
    let name = format!("{}:young", prefix.0);
    fails(&run(&["send", &name, "1"]), "would end after this packet; start its publisher first");
    assert!(matches!(reader.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(run(&["send", &name, "1", "--may-close"]).status, 0);
    assert_eq!(*reader.recv().unwrap(), 1);
    assert!(matches!(reader.recv(), Err(RecvError::Closed)));

    prefix.leave("left");
    fails(&run(&["send", &format!("{}:left", prefix.0), "1"]), "no process would get the packet");
}

#[test]
fn topics_queues_and_inboxes_get_packets_and_the_worker_leaves() {
    let prefix = Prefix::new();
    let billing = join(&prefix, "billing");
    let mut inbox = billing.inbox().unwrap();
    let mut topic = billing.subscriber::<Order>("orders").unwrap();
    let mut queue = billing.queue::<Order>("jobs").unwrap();
    billing.send_to("billing", &Order { id: 1, customer: "A".into(), note: None }).unwrap();
    inbox.recv().unwrap().ack();
    let before = run(&["ls", "--prefix", &prefix.0, "--json"]).result()["objects"].clone();
    let names = |objects: &Value| -> Vec<String> {
        objects.as_array().unwrap().iter().map(|one| one["name"].to_string()).collect()
    };
    let name = |rest: &str| format!("{}:shop/{rest}", prefix.0);
    for kind in ["topic/orders", "queue/jobs", "inbox/billing"] {
        let ran = feed(&["send", &name(kind)], &format!("{ADA}\n{ADA}"));
        assert!(ran.status == 0 && ran.out.starts_with("sent 2 packets"), "{ran:?}");
    }
    for _ in 0..2 {
        assert_eq!(topic.recv().unwrap().customer, "Ada");
        let job = queue.recv().unwrap();
        assert_eq!(job.customer, "Ada");
        Delivery::ack(job);
        let message = inbox.recv().unwrap();
        assert_eq!(message.open_as::<Order>().unwrap().id, 7);
        message.ack();
    }
    let after = run(&["ls", "--prefix", &prefix.0, "--json"]).result()["objects"].clone();
    assert_eq!(names(&before), names(&after));
    assert_eq!(billing.workers().len(), 1);

    fails(&run(&["send", &name("directory"), "1"]), "its kind is directory; give a ring");
    let events = billing.events().unwrap();
    let advice = format!("use `packetring emit {}:shop EVENT`", prefix.0);
    fails(&run(&["send", &name("events"), "1"]), &advice);
    let service = billing.service::<u64, u64>("double").unwrap();
    let says = format!("use `packetring call {}`", name("service/double"));
    fails(&run(&["send", &name("double"), "1"]), &says);
    drop((events, service, inbox));
    billing.leave().unwrap();
}

#[test]
fn all_commands_are_one_worker_and_only_those_at_one_time_differ() {
    let prefix = Prefix::new();
    let billing = join(&prefix, "billing");
    let mut inbox = billing.inbox().unwrap();
    billing.send_to("billing", &1_u64).unwrap();
    let message = inbox.recv().unwrap();
    let own = message.sender();
    message.ack();
    let name = format!("{}:shop/inbox/billing", prefix.0);
    let mut senders = Vec::new();
    for _ in 0..3 {
        assert_eq!(run(&["send", &name, "7"]).status, 0);
        let message = inbox.recv().unwrap();
        senders.push(message.sender());
        message.ack();
    }
    assert!(senders[0] != own && senders.iter().all(|id| *id == senders[0]), "{senders:?}");
    // A command that waits for its next line is a worker beside the next command.
    let mut child = start(&["send", &name]);
    writeln!(child.stdin.as_mut().unwrap(), "8").unwrap();
    let first = inbox.recv().unwrap();
    let first_sender = first.sender();
    first.ack();
    assert_eq!(run(&["send", &name, "9"]).status, 0);
    let second = inbox.recv().unwrap();
    assert!(first_sender == senders[0] && second.sender() != first_sender);
    second.ack();
    drop(child.stdin.take());
    assert_eq!(child.end().status, 0);

    let cluster = format!("{}:shop", prefix.0);
    let shown = run(&["workers", &cluster]).out;
    assert!(shown.contains("billing") && !shown.contains("packetring-cli"), "{shown}");
    let all = run(&["workers", &cluster, "--all"]).out;
    let lines: Vec<_> = all.lines().filter(|line| line.contains("packetring-cli")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("left")), "{all}");
    drop(inbox);
    billing.leave().unwrap();
}

#[test]
fn a_deserted_cluster_is_joined_only_for_what_it_keeps_and_says_what_goes() {
    let prefix = Prefix::new();
    let name = |rest: &str| format!("{}:shop/{rest}", prefix.0);
    let mut child = start_role("crash", &[&prefix.0, "shop", "billing"]);
    assert!(child.wait().unwrap().success());
    let topic = prefix.cluster_file("shop", "t.orders");
    assert!(std::fs::metadata(&topic).is_ok(), "{topic}");
    for arguments in [&["send", &name("topic/orders"), "1"][..], &["call", &name("slow"), "1"]] {
        fails(&run(arguments), "was left, and no process would get the packet; start the process");
    }
    assert!(std::fs::metadata(&topic).is_ok(), "{topic}");
    let ran = run(&["send", &name("inbox/billing"), "1"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.error.contains("no worker of shop lives: joining it removed "), "{}", ran.error);
    for left in ["topic/orders", "service/slow"] {
        assert!(ran.error.contains(&name(left)), "{}", ran.error);
    }
    assert!(std::fs::metadata(&topic).is_err(), "{topic}");
    // The message waits for the worker.
    let billing = join(&prefix, "billing");
    let mut inbox = billing.inbox().unwrap();
    let mut values = Vec::new();
    while let Ok(message) = inbox.try_recv() {
        values.push(message.open_as::<u64>().unwrap().to_native());
        message.ack();
    }
    assert_eq!(values, [7, 1]);
    drop(inbox);
    billing.leave().unwrap();
}

#[test]
fn a_signal_ends_a_send_that_waits_and_nothing_is_left() {
    let prefix = Prefix::new();
    let billing = join(&prefix, "billing");
    let inbox = billing.inbox().unwrap();
    while billing.try_send_to("billing", &[7_u64; 512]).is_ok() {}
    let name = format!("{}:shop/inbox/billing", prefix.0);
    let value = format!("{:?}", [7; 512]);
    let is_cli = |name: &str| name == "packetring-cli";
    for (end, arguments) in [("INT", &["send", &name, &value][..]), ("TERM", &["send", &name])] {
        let mut child = start(arguments);
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{value}").unwrap();
        eventually("the worker of the command", || {
            billing.workers().iter().any(|worker| is_cli(&worker.name)).then_some(())
        });
        signal(child.id(), end);
        let ran = child.end();
        fails(&ran, "ended by a signal: 0 packets sent");
        let left = billing.workers().into_iter().filter(|one| one.state == WorkerState::Alive);
        assert_eq!(left.map(|one| one.name).collect::<Vec<_>>(), ["billing"]);
    }
    // Also one that waits for its input.
    let mut child = start(&["send", &name]);
    let stdin = child.stdin.take();
    eventually("the handlers of signals", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
        (u64::from_str_radix(caught, 16).unwrap() & 0b10 != 0).then_some(())
    });
    signal(child.id(), "INT");
    let ran = child.end();
    fails(&ran, "ended by a signal: 0 packets sent");
    drop((stdin, inbox));
    billing.leave().unwrap();
}

#[test]
fn events_are_emitted_with_their_name() {
    let prefix = Prefix::new();
    let cluster = format!("{}:shop", prefix.0);
    fails(&run(&["emit", &cluster, "sold", "1"]), "no object has the name");
    let billing = join(&prefix, "billing");
    let _topic = billing.subscriber::<Order>("orders").unwrap();
    let ran = run(&["emit", &cluster, "order::new", ADA]);
    fails(&ran, "P:shop/events has no packet type yet".replace('P', &prefix.0).as_str());

    let mut found = Vec::new();
    let mut events = billing.events().unwrap();
    let types_of = format!("{cluster}/topic/orders");
    let first = run(&["emit", &cluster, "order::new", ADA, "--types-of", &types_of]);
    assert_eq!(first.error, "");
    let expected = r#"emitted 1 event "order::new" of the type Order to P:shop/events"#;
    assert_eq!(prefix.redact(&first.out).trim_end(), expected);
    // Now the events have the type.
    let ran = feed(&["emit", &cluster, "order::old", "Order", "-", "--json"], &format!("{ADA}\n"));
    assert_eq!(ran.result()["event"], "order::old");
    assert_eq!(ran.result()["packets"], 1);
    events.on::<Order>("order::*", |order, context| {
        found.push((context.event().to_owned(), order.id.to_native()));
    });
    fails(&run(&["emit", &cluster, "*", ADA]), "invalid event name \"*\"");
    fails(&run(&["emit", &cluster, "x", r#"{"id":0}"#]), "field \"customer\" is missing");
    assert_eq!(events.poll().unwrap(), 2);
    drop(events);
    assert_eq!(found, [("order::new".to_owned(), 7), ("order::old".to_owned(), 7)]);
    assert_eq!(billing.workers().len(), 1);
}

/// Serves until a request is 0, or the worker is stopped: the double, nothing to 13, and a long
/// text to 1000. Returns whether a request was 0.
fn serve(worker: &Worker) -> bool {
    let mut server = worker.service::<u64, (u64, String)>("double").unwrap();
    loop {
        let Ok(request) = server.recv() else { return false };
        match request.to_native() {
            0 => return Request::reply(request, &(0, String::new())).is_ok(),
            13 => drop(request),
            1000 => drop(Request::reply(request, &(0, "x".repeat(5000)))),
            number => Request::reply(request, &(number * 2, "twice".into())).unwrap(),
        }
    }
}

#[test]
fn a_service_is_called_and_its_reply_printed() {
    let prefix = Prefix::new();
    let stop = Stop::new();
    let billing = Worker::builder().prefix(&prefix.0).stop(&stop).join("shop", "billing").unwrap();
    let client = billing.client::<u64, (u64, String)>("double").unwrap();
    let name = format!("{}:shop/double", prefix.0);
    fails(&run(&["call", &name, "1"]), "no server: the request was not executed; start a server");
    fails(&run(&["call", &format!("{}:shop/directory", prefix.0), "1"]), "and no service; ");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&billing));
        let end = OnDrop(|| stop.stop());
        client.wait_for_server().unwrap();
        let ran = run(&["call", &name, "21"]);
        assert_eq!((ran.status, ran.out.as_str()), (0, "[42,\"twice\"]\n"), "{ran:?}");
        let ran = run(&["call", &name, "21", "--json"]);
        assert_snapshot!(ran.out, @r#"{"format":1,"command":"call","result":{"reply":[42,"twice"],"type":"(u64, String)"}}"#);
        let ran = feed(&["call", &name], "1\n2\n13\n3\n");
        assert_eq!((ran.status, ran.out.as_str()), (1, "[2,\"twice\"]\n[4,\"twice\"]\n"));
        assert!(ran.error.contains("line 3: no reply: the server dropped"), "{}", ran.error);
        fails(&run(&["call", &name, "1000", "--max-reply", "1000"]), "but its reply of ");
        assert_eq!(run(&["call", &name, "1000"]).out.len(), 5000 + "[0,\"\"]\n".len());
        fails(&run(&["call", &name, "\"x\""]), "the JSON is no u64: ");
        assert_eq!(run(&["call", &name, "0", "--timeout", "60"]).status, 0);
        drop(end);
        assert!(server.join().unwrap());
    });
    // Each request came once: the server ended with the last one.
    fails(&run(&["call", &name, "5"]), "no server: ");
    assert_eq!(billing.workers().len(), 1);
    let objects = run(&["ls", "--prefix", &prefix.0, "--kind", "replies", "--json"]).result();
    assert_eq!(objects["objects"].as_array().unwrap().len(), 1, "the replies of the own client");
}

#[test]
fn a_call_that_is_late_or_whose_server_dies_says_so() {
    let prefix = Prefix::new();
    let billing = join(&prefix, "billing");
    let mut server = billing.service::<u64, u64>("slow").unwrap();
    let slow = format!("{}:shop/slow", prefix.0);
    let ran = run(&["call", &slow, "1", "--timeout", "0.05"]);
    fails(&ran, "no reply before the timeout: no server has taken the request");
    // The call was cancelled.
    assert!(server.try_recv().is_err());

    let mut child = start_role("take_one", &[&prefix.0, "frail"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")));
    // Keeps the service, so that its types stay.
    let _client = billing.client::<u64, u64>("frail").unwrap();
    let ran = run(&["call", &format!("{}:shop/frail", prefix.0), "1"]);
    fails(&ran, "server died during the call: the work was done, partly done, or not done");
    child.wait().unwrap();

    let _texts = billing.service::<String, u64>("texts").unwrap();
    let ran = feed(
        &["call", &format!("{}:shop/texts", prefix.0)],
        &format!("{:?}\n", "x".repeat(600 << 10)),
    );
    fails(&ran, "line 1: request too large: ");
}

#[test]
fn a_recording_is_replayed_into_a_cluster() {
    let prefix = Prefix::new();
    let billing = join(&prefix, "billing");
    let mut emitter = billing.emitter().unwrap();
    let mut found = Vec::new();
    let mut events = billing.events().unwrap();
    for id in 0..3 {
        emitter
            .emit(&format!("order::{id}"), &Order { id, customer: "A".into(), note: None })
            .unwrap();
    }
    let ring = prefix.ring().open("orders").unwrap();
    let (mut out, mut reader) = (ring.any_publisher().unwrap(), ring.any_subscriber().unwrap());
    out.send(&Order { id: 9, customer: "A".into(), note: None }).unwrap();
    let folder = std::env::temp_dir().join(format!("packetring-replay-{}", prefix.0));
    std::fs::create_dir(&folder).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let name = |rest: &str| format!("{}:{rest}", prefix.0);
    let record = |to: &str, names: &[&str], count: &str| {
        let ran = run(&[&["record", to, "--backlog", "-n", count], names].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
    };
    record(&file("events"), &[&name("shop/events")], "3");
    record(&file("orders"), &[&name("orders")], "1");
    record(&file("both"), &[&name("shop/events"), &name("orders")], "4");
    assert_eq!(events.poll().unwrap(), 3);
    drop(reader.recv().unwrap());

    let mut inbox = billing.inbox().unwrap();
    let mut topic = billing.subscriber::<Order>("topic").unwrap();
    let mut queue = billing.queue::<Order>("queue").unwrap();
    let replay = |file: &str, to: &str, more: &[&str]| {
        run(&[&["replay", file, "--speed", "max", "--to", &name(to)], more].concat())
    };
    for to in ["shop/topic/topic", "shop/queue", "shop/inbox/billing", "orders"] {
        let ran = replay(&file("orders"), to, &[]);
        assert_eq!((ran.status, ran.out.as_str()), (0, "replayed 1 packet\n"), "{to}: {ran:?}");
    }
    assert_eq!(topic.recv().unwrap().id, 9);
    let job = queue.recv().unwrap();
    assert_eq!(job.id, 9);
    Delivery::ack(job);
    let message = inbox.recv().unwrap();
    assert_eq!(message.open_as::<Order>().unwrap().id, 9);
    message.ack();
    assert_eq!(reader.recv().unwrap().open_as::<Order>().unwrap().id, 9);

    let ran = replay(&file("events"), "shop/events", &["--json"]);
    assert_eq!(ran.result()["packets"], 3, "{ran:?}");
    events.on::<Order>("order::*", |order, context| {
        found.push(format!("{} {}", context.event(), order.id));
    });
    assert_eq!(events.poll().unwrap(), 3);

    // Nothing is sent of a recording that does not fit.
    fails(&replay(&file("both"), "shop/events", &[]), "has packets without event names");
    fails(&replay(&file("both"), "orders", &[]), "and their names would be lost; give CLUSTER/");
    fails(&replay(&file("events"), "shop/inbox/billing", &[]), "has events, and their names");
    fails(&replay(&file("orders"), "shop/directory", &[]), "takes no packets");
    fails(&replay(&file("orders"), "shop/topic/tpoic", &[]), "similar names: ");
    let ran = replay(&file("orders"), "shop/inbox/billing", &["--subscribers", "1"]);
    assert!(ran.status == 2 && ran.error.contains("an inbox and events have none"), "{ran:?}");
    assert_eq!(events.poll().unwrap(), 0);
    assert!(reader.try_recv().is_err() && inbox.try_recv().is_err());
    let only = replay(&file("both"), "orders", &["--stream", &name("orders")]);
    assert_eq!((only.status, only.out.as_str()), (0, "replayed 1 packet\n"), "{only:?}");
    drop(events);
    assert_eq!(found, ["order::0 0", "order::1 1", "order::2 2"]);
    assert_eq!(billing.workers().len(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    drop(inbox);
    billing.leave().unwrap();
}

#[test]
fn a_replay_does_not_mix_types_of_one_name() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let name = |name: &str| format!("{}:{name}", prefix.0);
    let rings = ["orders", "numbers"].map(|name| prefix.ring().open(name).unwrap());
    let _readers = rings.each_ref().map(|ring| ring.any_subscriber().unwrap());
    let order = Order { id: 9, customer: "A".into(), note: None };
    rings[0].publisher::<Order>().unwrap().send(&order).unwrap();
    rings[1].publisher::<u64>().unwrap().send(&7).unwrap();
    let file = folder.file("both");
    let record = ["record", &file, &name("numbers"), &name("orders"), "--backlog", "-n", "2"];
    assert_eq!(run(&record).status, 0);
    let replay = |to: &str, more: &[&str]| {
        run(&[&["replay", &file, "--speed", "max", "--to", &name(to)], more].concat())
    };

    let target = prefix.ring().open("target").unwrap();
    let (mut out, mut reader) = (target.any_publisher().unwrap(), target.any_subscriber().unwrap());
    out.send(&other::Order { total: 1.5 }).unwrap();
    drop(reader.recv().unwrap());
    let ran = replay("target", &[]);
    fails(&ran, "nothing was replayed: the type Order of the recording has the fingerprint ");
    let fingerprints = [
        packetring::packet::fingerprint_of::<Order>(),
        packetring::packet::fingerprint_of::<other::Order>(),
    ];
    for fingerprint in fingerprints {
        assert!(ran.error.contains(&fingerprint.to_string()), "{}", ran.error);
    }
    assert!(matches!(reader.try_recv(), Err(TryRecvError::Empty)), "a number was sent before");
    // A ring without such packets fits, and a ring that has the type itself.
    let only = replay("target", &["--stream", &name("numbers")]);
    assert_eq!((only.status, only.out.as_str()), (0, "replayed 1 packet\n"), "{only:?}");
    drop(reader.recv().unwrap());
    out.send(&order).unwrap();
    drop(reader.recv().unwrap());
    assert_eq!(replay("target", &[]).out, "replayed 2 packets\n");

    let billing = join(&prefix, "billing");
    let mut inbox = billing.inbox_of::<Numbers>().unwrap();
    let ran = replay("shop/inbox/billing", &[]);
    fails(&ran, "takes no packets of the type Order, which the recording has; its types are u64;");
    assert!(inbox.try_recv().is_err());
    let types_of = name("orders");
    let ran = run(&["send", &name("shop/inbox/billing"), ADA, "--types-of", &types_of]);
    fails(&ran, "packet type refused: the inbox accepts u64 (");
    assert!(ran.error.contains("); give an accepted type"), "{}", ran.error);
    assert!(!ran.error.contains("::"), "a call of the library: {}", ran.error);
    drop(inbox);
    billing.leave().unwrap();
}

#[test]
fn a_replay_into_a_full_ring_ends_after_its_timeout() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let file = record_some(&prefix, &folder, 100);
    let full = prefix.ring().capacity(1024).open("full").unwrap();
    let _reader = full.subscriber::<u64>().unwrap();
    let to = format!("{}:full", prefix.0);
    let replay = ["replay", &file, "--speed", "max", "--timeout", "0.05", "--to", &to];
    let ran = run(&replay);
    fails(&ran, "ring full until the timeout");
    assert!(ran.error.contains("; 16 packets replayed before"), "{}", ran.error);
    let ran = run(&[&replay[..], &["--subscribers", "2"]].concat());
    assert!(ran.status == 1 && ran.error.contains("subscriber"), "{ran:?}");
    assert_eq!(run(&["replay", &file, "--print", "--timeout", "1"]).status, 2);
}
