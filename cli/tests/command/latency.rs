//! `latency`: samples of live rings, the switch that is put back, and where else latencies are
//! shown.

use crate::support::{Folder, Prefix, Ran, command, eventually, run, signal};
use packetring::inspect::{Inspection, RingInspection};
use packetring::{Ring, Worker, inventory};
use serde_json::Value;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A ring in which packets pass until it is dropped.
struct Traffic {
    name: String,
    is_over: std::sync::Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    _ring: Ring,
}

impl Traffic {
    fn start(prefix: &Prefix, name: &str) -> Self {
        let ring = prefix.ring().open(name).unwrap();
        let (mut out, mut numbers) =
            (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        let flag = std::sync::Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for number in 0.. {
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                out.send(&number).unwrap();
                assert_eq!(*numbers.recv().unwrap(), number);
                thread::yield_now();
            }
        });
        let name = format!("{}:{name}", prefix.0);
        Self { name, is_over, thread: Some(thread), _ring: ring }
    }

    fn inspect(&self) -> RingInspection {
        let name = self.name.split(':').next_back().unwrap();
        let objects = inventory().unwrap();
        let is_it = |object: &&packetring::inventory::ObjectInfo| {
            object.name == name && self.name.starts_with(object.prefix.as_deref().unwrap_or("-"))
        };
        match objects.iter().find(is_it).unwrap().inspect().unwrap() {
            Inspection::Ring(ring) => ring,
            other => panic!("{other:?}"),
        }
    }

    fn every(&self) -> Option<u32> {
        self.inspect().sampling.map(std::num::NonZeroU32::get)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn lines_and_their_sum_have_the_latencies_of_live_traffic() {
    let prefix = Prefix::new();
    let traffic = Traffic::start(&prefix, "sampled");
    let options = ["--every", "2", "--interval", "0.1", "--count", "2"];
    let ran = run(&[&["latency", &traffic.name, "--json"][..], &options].concat());
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    let lines: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<_> = lines.iter().map(|line| &line["result"]).collect();
    let [first, second, total] = lines[..] else { panic!("{}", ran.out) };
    let samples = |line: &Value| line["samples"].as_u64().unwrap();
    assert_eq!(samples(first) + samples(second), samples(total));
    assert!(samples(total) > 0, "{total}");
    assert_eq!((&first["is_total"], &total["is_total"]), (&false.into(), &true.into()));
    assert_eq!(total["every"], 2);
    let times = ["p50_seconds", "p90_seconds", "p99_seconds", "p999_seconds", "max_seconds"];
    let times = times.map(|name| total[name].as_f64().unwrap());
    assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
    let in_buckets = total["buckets"].as_array().unwrap().iter();
    assert_eq!(in_buckets.map(samples).sum::<u64>(), samples(total));
    let reader = &total["readers"][0];
    assert_eq!(
        (&reader["endpoint"], &reader["pid"]),
        (&"subscriber 0".into(), &std::process::id().into())
    );
    assert!(samples(reader) >= samples(total));
    assert_eq!(traffic.every(), None, "it is off again");

    let ran = run(&[&["latency", &traffic.name][..], &options].concat());
    assert_eq!(ran.status, 0);
    for text in ["one sample for about 2 slots", "SAMPLES", "P99.9", "p50 ", "#", "subscriber 0"] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
}

#[test]
fn a_signal_puts_the_switch_back_and_a_kill_does_not() {
    let prefix = Prefix::new();
    let traffic = Traffic::start(&prefix, "switched");
    let start = |every: &str| {
        let mut command = command(&["latency", &traffic.name, "--every", every]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let every = every.parse().ok();
        eventually("the switch", || (traffic.every() == every).then_some(()));
        child
    };
    for (name, before) in [("INT", None), ("TERM", None), ("HUP", Some(9))] {
        if before.is_some() {
            let ran = run(&["latency", &traffic.name, "--on", "--every", "9"]);
            assert_eq!(ran.status, 0, "{ran:?}");
        }
        let child = start("3");
        signal(child.id(), name);
        let ran = Ran::of(&child.wait_with_output().unwrap());
        assert_eq!((ran.status, ran.error.as_str()), (0, ""), "{name}");
        assert!(ran.out.contains("samples: p50"), "{name}: {}", ran.out);
        assert_eq!(traffic.every(), before, "{name}");
    }
    let mut child = start("4");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(traffic.every(), Some(4), "nothing puts it back");
    let ran = run(&["latency", &traffic.name, "--off", "--json"]);
    assert_eq!(ran.result(), serde_json::json!({ "every": null, "before": 4 }));
    assert_eq!(traffic.every(), None);
    let ran = run(&["latency", &traffic.name, "--off"]);
    assert!(ran.out.contains("sampling was off"), "{ran:?}");
}

#[test]
fn the_last_of_two_commands_leaves_sampling_off() {
    let prefix = Prefix::new();
    let traffic = Traffic::start(&prefix, "shared-switch");
    let start = |every: &str| {
        let arguments = ["latency", &traffic.name, "--every", every, "--interval", "0.1"];
        let mut command = command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let every = every.parse().ok();
        eventually("the switch", || (traffic.every() == every).then_some(()));
        child
    };
    let (first, second) = (start("3"), start("5"));
    signal(first.id(), "INT");
    assert_eq!(Ran::of(&first.wait_with_output().unwrap()).status, 0);
    eventually("the second one goes on", || (traffic.every() == Some(5)).then_some(()));
    signal(second.id(), "INT");
    assert_eq!(Ran::of(&second.wait_with_output().unwrap()).status, 0);
    assert_eq!(traffic.every(), None);
}

#[test]
fn latencies_are_shown_by_inspect_top_and_export_while_they_are_sampled() {
    let prefix = Prefix::new();
    let traffic = Traffic::start(&prefix, "shown");
    let selected = |command: &'static str| [command, "--prefix", &prefix.0].map(str::to_owned);
    let export = || {
        let arguments = selected("export");
        run(&arguments.each_ref().map(String::as_str)).out
    };
    assert!(!export().contains("packetring_latency"));
    assert!(!run(&["inspect", &traffic.name]).out.contains("latency"));
    let ran = run(&["latency", &traffic.name, "--once"]);
    assert!(ran.out.contains("0 samples since the ring was made"), "{ran:?}");
    assert!(ran.out.contains("sampling is off"), "{ran:?}");

    let ran = run(&["latency", &traffic.name, "--on", "--every", "2"]);
    assert!(ran.out.contains("shown: one sample for about 2 slots"), "{ran:?}");
    eventually("a latency", || (traffic.inspect().latencies.count > 0).then_some(()));
    let inspected = run(&["inspect", &traffic.name]).out;
    assert!(inspected.contains("p99 ") && inspected.contains("; one for 2 slots"), "{inspected}");
    let json = run(&["inspect", &traffic.name, "--json"]).result();
    assert_eq!(json["ring"]["latency"]["every"], 2);
    assert!(json["ring"]["latency"]["samples"].as_u64().unwrap() > 0);
    let text = export();
    let metric = "packetring_latency_seconds";
    assert!(
        text.contains(&format!("# TYPE {metric} histogram\n# UNIT {metric} seconds")),
        "{text}"
    );
    let value = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        line.split(' ').next_back().unwrap().parse::<f64>().unwrap()
    };
    let infinite = text.lines().find(|line| line.contains("le=\"+Inf\"")).unwrap();
    let all: f64 = infinite.split(' ').next_back().unwrap().parse().unwrap();
    assert!(all > 0.0 && value(&format!("{metric}_count")) == all, "{text}");
    assert!(value(&format!("{metric}_sum")) > 0.0);
    let buckets = text.lines().filter(|line| line.starts_with(&format!("{metric}_bucket")));
    let counts: Vec<f64> =
        buckets.map(|line| line.split(' ').next_back().unwrap().parse().unwrap()).collect();
    assert!(counts.is_sorted() && counts.len() == 31, "{counts:?}");
    assert!(text.contains(",le=\"0.000000064\"}"), "{text}");

    let top = run(&["top", "--once", "--json", "--prefix", &prefix.0]).result();
    assert!(top["rings"][0]["latency"]["p99_seconds"].as_f64().unwrap() > 0.0, "{top}");
    run(&["latency", &traffic.name, "--off"]);
    let top = run(&["top", "--once", "--json", "--prefix", &prefix.0]).result();
    assert!(top["rings"][0]["latency"].is_null(), "{top}");
}

#[test]
fn a_recording_has_the_latencies_that_were_sampled_meanwhile() {
    let prefix = Prefix::new();
    let folder = Folder::new(&prefix);
    let traffic = Traffic::start(&prefix, "recorded");
    let report =
        |file: &str| run(&["report", file, "--json"]).result()["rings"][0]["latencies"].clone();
    // The recorder looks at latencies once a second, and at its end.
    let record = |file: &str| {
        let ran = run(&["record", file, &traffic.name, "--for", "0.6"]);
        assert_eq!(ran.status, 0, "{ran:?}");
    };
    run(&["latency", &traffic.name, "--on", "--every", "2"]);
    let file = folder.file("sampled");
    record(&file);
    let latencies = report(&file);
    assert!(latencies["samples"].as_u64().unwrap() > 0, "{latencies}");
    let last = |name: &str| {
        latencies[name].as_array().unwrap().iter().filter_map(Value::as_f64).next_back().unwrap()
    };
    let [p50, p99, max] = ["p50_over_time", "p99_over_time", "max_over_time"].map(last);
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{latencies}");
    let page = folder.file("page.html");
    assert_eq!(run(&["report", &file, "--to", &page]).status, 0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Latencies: p50 and p99") && page.contains("Largest latencies"));
    let replayed = run(&["replay", &file, "--print", "--speed", "max"]);
    assert_eq!(replayed.status, 0, "{}", replayed.error);

    run(&["latency", &traffic.name, "--off"]);
    let file = folder.file("off");
    record(&file);
    assert!(report(&file).is_null());
}

#[test]
fn an_object_without_latencies_is_named() {
    let prefix = Prefix::new();
    let worker = Worker::builder().prefix(&prefix.0).join("shop", "web").unwrap();
    let board = worker.board::<u64>("rates").unwrap();
    let name = format!("{}:shop/board/rates", prefix.0);
    let ran = run(&["latency", &name]);
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));
    assert!(ran.error.contains("has no latencies; name a ring, topic"), "{}", ran.error);
    assert_eq!(run(&["latency", &name, "--off", "--on"]).status, 2);
    assert_eq!(run(&["latency", &name, "--every", "0"]).status, 2);
    drop(board);
}
