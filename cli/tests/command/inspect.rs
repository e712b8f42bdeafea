//! `inspect` and `workers`; and how `ls` and `doctor` name a reader that holds publishers back.

use crate::support::{Prefix, eventually, run, start_ready, stop};
use insta::assert_snapshot;
use packetring::{Board, Worker, packet};

#[packet]
struct Order {
    id: u64,
    customer: String,
    lines: Vec<Line>,
}

#[packet]
enum Line {
    Item { sku: u32, count: u16 },
    Discount(i64),
    Free,
}

fn order(id: u64) -> Order {
    let lines = vec![Line::Item { sku: 1, count: 2 }, Line::Discount(-3), Line::Free];
    Order { id, customer: "Ada".to_owned(), lines }
}

#[test]
fn a_ring_is_shown_with_endpoints_positions_and_types() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(64 * 1024).open("orders").unwrap();
    let (mut out, mut reader) =
        (ring.publisher::<Order>().unwrap(), ring.subscriber::<Order>().unwrap());
    drop(ring.durable::<Order>("log").unwrap());
    for id in 0..3 {
        out.send(&order(id)).unwrap();
    }
    drop(reader.recv().unwrap());

    let name = format!("{}:orders", prefix.0);
    let ran = run(&["inspect", &name]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    insta::with_settings!({ filters => [
        (r"\d+\.?\d* (B|[KMG]iB)", "SIZE"), (r"\d+ s\b", "AGE"), (r" +", " "),
        (r"[0-9a-f]{32}", "FINGERPRINT"), (r"sleeps .*", "sleeps"), (r"layout \d+", "layout N"),
    ] }, {
        assert_snapshot!(prefix.redact(&ran.out), @r#"
        ring P:orders
        file /dev/shm/packetring.P:orders, SIZE, mode 0600, AGE old, layout N
        state in use, durable: log
        geometry 1024 slots of SIZE (SIZE), claims: shared, when full: blocks, history: 0
        places 64 publishers, 64 subscribers
        tail 6, open
        room 1018 slots free; durable "log" holds the oldest slot
        sleeps

        ENDPOINT PID WORKER STATE POSITION BEHIND LOST IN FLIGHT TYPES
        publisher 0 PID - alive - - - - Order
        subscriber 0 PID - alive 2 2 0 unknown Order
        durable "log" PID - away 0 3 0 - Order

        // type 0, fingerprint FINGERPRINT
        struct Order { // 24 bytes, aligned to 8
         id: u64, // at 0
         customer: String, // at 8
         lines: Vec<Line>, // at 16
        }
        enum Line { // 16 bytes, aligned to 8
         Item { sku: u32, count: u16 },
         Discount(i64),
         Free,
        }
        "#);
    });

    let json = run(&["inspect", "--json", &name]).result();
    let endpoints = json["ring"]["endpoints"].as_array().unwrap();
    let lag = |at: usize| &endpoints[at]["lag"]["packets"];
    assert_eq!((lag(0), lag(1), lag(2)), (&serde_json::Value::Null, &2.into(), &3.into()));
    assert_eq!(endpoints[2]["state"], "away");
    assert_eq!(json["types"][0]["schema"]["kind"], "struct");
    assert!(json["types"][0]["rust"].as_str().unwrap().contains("customer: String"));

    let listed = run(&["ls", "--json", &name]).result();
    let summary = &listed["objects"][0]["endpoints"];
    assert_eq!((&summary["writers"], &summary["readers"]), (&1.into(), &2.into()));
    assert_eq!((&summary["away"], &summary["backlog"]["packets"]), (&1.into(), &3.into()));
}

#[test]
fn a_stopped_reader_is_named_until_it_is_gone() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(1024).open("slow").unwrap();
    let mut out = ring.publisher::<u64>().unwrap();
    let mut child = start_ready("read_none", &[&prefix.0, "slow"]);
    while out.try_send(&7).is_ok() {}
    let pid = child.id();
    stop(pid);

    let name = format!("{}:slow", prefix.0);
    let blocker = format!("subscriber 0 of process {pid} (stopped) holds the publishers back");
    let inspected = run(&["inspect", &name]);
    assert!(inspected.out.contains(&blocker), "{}", inspected.out);
    assert!(inspected.out.contains(&format!("kill -CONT {pid}")), "{}", inspected.out);
    let listed = run(&["ls", &name]).out;
    assert!(listed.contains("held back by subscriber 0"), "{listed}");
    let doctor = run(&["doctor", "--quick"]);
    assert_eq!(doctor.status, 1);
    assert!(doctor.out.contains(&format!("{name}: {blocker}")), "{}", doctor.out);
    let top = ["top", "--once", "--interval", "0.05", &name];
    let topped = run(&top).out;
    assert!(topped.contains(&format!("held back by process {pid} (stopped)")), "{topped}");
    assert!(topped.contains(&format!("{name}: {blocker}")), "{topped}");

    child.kill().unwrap();
    child.wait().unwrap();
    let dead = format!("subscriber 0 of process {pid} (gone) holds the publishers back");
    eventually("the death", || run(&["inspect", &name]).out.contains(&dead).then_some(()));
    let inspected = run(&["inspect", &name]).out;
    assert!(inspected.contains("-> nothing to do: a process that joins, waits"), "{inspected}");
    let doctor = run(&["doctor", "--quick"]).out;
    assert!(doctor.contains(&format!("{name}: {dead}")), "{doctor}");
    let topped = run(&top).out;
    assert!(topped.contains(&format!("held back by process {pid} (gone), 1 dead")), "{topped}");

    // The publisher clears the dead reader as soon as it needs the room.
    out.send(&8).unwrap();
    let inspected = run(&["inspect", &name]).out;
    assert!(!inspected.contains("subscriber 0"), "{inspected}");
    assert!(inspected.contains("last death  found "), "{inspected}");
    let doctor = run(&["doctor", "--quick"]).out;
    assert!(!doctor.contains("holds the publishers back"), "{doctor}");
    assert!(doctor.contains(&format!("{name}: a process died, which was found ")), "{doctor}");
    let topped = run(&top).out;
    assert!(!topped.contains("held back"), "{topped}");
    assert!(topped.contains("a process died "), "{topped}");
    let json = run(&[&top[..], &["--json"]].concat()).result();
    let row = &json["rings"][0];
    assert_eq!((&row["readers"], &row["dead"]), (&0.into(), &0.into()));
    assert!(row["seconds_since_death"].is_number(), "{row}");
}

#[test]
fn a_stopped_reader_is_named_before_it_holds_publishers_back() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(64 * 1024).open("idle").unwrap();
    let mut child = start_ready("read_none", &[&prefix.0, "idle"]);
    let (pid, name) = (child.id(), format!("{}:idle", prefix.0));
    let doctor = || run(&["doctor", "--quick"]).out;
    let says = format!("{name}: subscriber 0 of process {pid} is stopped");
    assert!(!doctor().contains(&says));
    stop(pid);
    assert!(doctor().contains(&says), "{}", doctor());
    let inspected = run(&["inspect", "--json", &name]).result();
    assert_eq!(inspected["ring"]["endpoints"][0]["state"], "stopped");
    let top = run(&["top", "--once", "--interval", "0.05", &name]).out;
    assert!(top.contains("1 stopped"), "{top}");
    child.kill().unwrap();
    child.wait().unwrap();
    let says = format!("{name}: subscriber 0 of process {pid} is dead");
    eventually("the death", || doctor().contains(&says).then_some(()));
    drop(ring);
}

#[test]
fn workers_are_listed_with_their_backlogs() {
    let prefix = Prefix::new();
    let join = |name: &str| Worker::builder().prefix(&prefix.0).join("shop", name).unwrap();
    let (shop, billing) = (join("shop"), join("billing"));
    let inbox = billing.inbox().unwrap();
    for id in 0..3 {
        shop.send_to("billing", &order(id)).unwrap();
    }

    let ran = run(&["workers", &format!("{}:shop", prefix.0)]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    insta::with_settings!({ filters => [(r"\d+ s\b", "AGE"), (r" +", " ")] }, {
        assert_snapshot!(prefix.redact(&ran.out), @r"
        ID NAME PID STATE JOINED STARTS INBOX
         0 shop PID alive AGE 1 -
         1 billing PID alive AGE 1 3
        ");
    });
    drop((inbox, billing));
    let ran = run(&["workers", &format!("{}:shop", prefix.0)]);
    let says = "billing does not run (process";
    assert!(ran.out.contains(says) && ran.out.contains("keeps 3 messages for it"), "{}", ran.out);
    let json = run(&["workers", "--json", &format!("{}:shop", prefix.0)]).result();
    assert_eq!(json["workers"][1]["state"], "away");
    assert_eq!(json["workers"][1]["inbox_backlog"]["packets"], 3);
    let inspected = run(&["inspect", &format!("{}:shop/billing", prefix.0)]);
    assert!(inspected.out.contains("durable \"inbox\""), "{}", inspected.out);
    let ran = run(&["workers", "no-such-cluster-at-all"]);
    assert_eq!(ran.status, 1);
}

#[test]
fn dead_workers_stand_out() {
    let prefix = Prefix::new();
    let cluster = format!("{}:shop", prefix.0);
    let _shop = Worker::builder().prefix(&prefix.0).join("shop", "shop").unwrap();
    let mut child = start_ready("work", &[&prefix.0, "shop", "web"]);
    let pid = child.id();
    assert!(!run(&["ls", "--prefix", &prefix.0]).out.contains("web"));
    stop(pid);
    let ran = run(&["workers", &cluster]);
    assert!(ran.out.contains(&format!("web is stopped: kill -CONT {pid} ")), "{}", ran.out);
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = eventually("the death", || {
        let ran = run(&["workers", &cluster, "--color", "always"]);
        ran.out.contains("dead").then_some(ran)
    });
    assert!(ran.out.contains("\x1b[1m\x1b[31mdead\x1b[0m"), "{:?}", ran.out);
    assert!(ran.out.contains(&format!("web died (process {pid}): ")), "{}", ran.out);
    let json = run(&["workers", &cluster, "--json"]).result();
    assert_eq!(
        (&json["workers"][1]["state"], &json["workers"][1]["has_died"]),
        (&"gone".into(), &true.into())
    );
    let ls = run(&["ls", "--prefix", &prefix.0]).out;
    assert!(ls.contains("in use, dead: web"), "{ls}");
    let doctor = run(&["doctor", "--quick"]).out;
    assert!(doctor.contains(&format!("{cluster}: dead: web")), "{doctor}");
    assert!(ls.contains(&format!("dead: web: `packetring workers {cluster}` says more")), "{ls}");
}

#[test]
fn a_board_is_shown_with_its_cells() {
    let prefix = Prefix::new();
    let board: Board<u64> = Board::<u64>::builder().prefix(&prefix.0).open("prices").unwrap();
    let mut writer = board.writer().unwrap();
    for value in [7, 8] {
        writer.write("ABC", &value).unwrap();
    }
    let json = run(&["inspect", "--json", &format!("{}:prices", prefix.0)]).result();
    let cell = &json["board"]["cells"][0];
    assert_eq!((&cell["key"], &cell["version"]), (&"ABC".into(), &2.into()));
    let ran = run(&["inspect", &format!("{}:prices", prefix.0)]);
    assert!(ran.out.contains("writer 0") && ran.out.contains("ABC"), "{}", ran.out);
}
