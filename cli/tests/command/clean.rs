//! `clean`: removes what was left, and nothing else.

use crate::support::{Prefix, run, start_ready};
use insta::assert_snapshot;
use packetring::Worker;
use std::path::Path;

/// A child of another test has the mappings of this process until it executes its program. So the
/// output may name it, too.
fn is_used_by_this_process(out: &str) -> bool {
    let pid = std::process::id().to_string();
    out.lines().any(|line| {
        line.split(' ').any(|word| word == pid)
            && (line.contains("uses it") || line.contains("use it"))
    })
}

fn exists(prefix: &Prefix, name: &str) -> bool {
    Path::new(&prefix.file(name)).exists()
}

#[test]
fn nothing_is_removed_without_consent_and_nothing_in_use_at_all() {
    let prefix = Prefix::new();
    let _live = prefix.ring().capacity(64 * 1024).open("live").unwrap();
    prefix.leave("left");
    std::fs::write(prefix.file("strange"), "no segment").unwrap();

    let shown = run(&["clean", "--prefix", &prefix.0]);
    assert_eq!((shown.status, shown.error.as_str()), (1, ""));
    insta::with_settings!({ filters => [
        (r"\d+\.?\d* (B|[KMG]iB)", "SIZE"), (r" +", " "),
    ] }, {
        assert_snapshot!(prefix.redact(&shown.out), @r"
        WOULD REMOVE SIZE REASON
        P:left SIZE left

        STAYS SIZE REASON
        P:live SIZE process PID uses it
        /dev/shm/packetring.P:strange SIZE a file of another program, which this command leaves alone
        nothing was removed: add --yes to remove
        ");
    });
    let json = run(&["clean", "--json", "--prefix", &prefix.0]);
    assert_eq!(json.status, 1);
    assert_eq!(json.result()["would_remove"][0]["name"], format!("{}:left", prefix.0));
    assert!(exists(&prefix, "left"), "it was removed without consent");

    let done = run(&["clean", "--yes", "--prefix", &prefix.0]);
    assert_eq!((done.status, done.error.as_str()), (0, ""));
    assert!(done.out.contains("removed 1 object, "), "{}", done.out);
    assert!(!exists(&prefix, "left"));
    assert!(exists(&prefix, "live") && exists(&prefix, "strange"));

    let again = run(&["clean", "--prefix", &prefix.0]);
    assert_eq!(again.status, 0);
    assert!(again.out.starts_with("nothing to remove\n"), "{}", again.out);
}

#[test]
fn durable_readers_and_objects_of_other_prefixes_stay() {
    let (prefix, other) = (Prefix::new(), Prefix::new());
    drop(prefix.ring().open("kept").unwrap().durable::<u64>("log").unwrap());
    other.leave("left");
    let json = run(&["clean", "--yes", "--json", "--prefix", &prefix.0]).result();
    assert!(json["removed"].as_array().unwrap().is_empty());
    assert_eq!(json["stays"][0]["reason"], "kept, durable: log");
    assert!(exists(&prefix, "kept") && exists(&other, "left"));
}

#[test]
fn kept_objects_go_by_name_with_consent_and_show_what_is_lost() {
    let prefix = Prefix::new();
    let name = |rest: &str| format!("{}:{rest}", prefix.0);
    let ring = prefix.ring().open("trades").unwrap();
    drop(ring.durable::<u64>("log").unwrap());
    let mut out = ring.publisher::<u64>().unwrap();
    for number in 0..3 {
        out.send(&number).unwrap();
    }
    drop((out, ring));
    drop(prefix.ring().open("other").unwrap().durable::<u64>("log").unwrap());

    let shown = run(&["clean", "--kept", &name("trades")]);
    assert_eq!((shown.status, shown.error.as_str()), (1, ""));
    insta::with_settings!({ filters => [
        (r"\d+\.?\d* (B|[KMG]iB)", "SIZE"), (r" +", " "),
    ] }, {
        assert_snapshot!(prefix.redact(&shown.out), @r#"
        WOULD REMOVE SIZE REASON
        P:trades SIZE kept, durable: log; loses 3 packets for "log"
        nothing was removed: add --yes to remove
        "#);
    });
    assert!(exists(&prefix, "trades"), "it was removed without consent");
    let json = run(&["clean", "--kept", &name("trades"), "--yes", "--json"]);
    assert_eq!(json.status, 0, "{json:?}");
    assert_eq!(json.result()["removed"][0]["name"], name("trades"));
    assert!(!exists(&prefix, "trades") && exists(&prefix, "other"));
    for (wrong, status) in [("no-such-object-at-all", 1), ("*", 2)] {
        assert_eq!(run(&["clean", "--yes", "--kept", wrong]).status, status, "{wrong}");
    }
}

#[test]
fn a_kept_cluster_needs_no_prefix_if_one_has_its_name() {
    let (prefix, other) = (Prefix::new(), Prefix::new());
    let name = format!("kept{}", std::process::id());
    let leave = |prefix: &Prefix| {
        let worker = Worker::builder().prefix(&prefix.0).join(&name, "billing").unwrap();
        drop(worker.inbox().unwrap()); // it stays
    };
    leave(&prefix);
    leave(&other);
    let ran = run(&["clean", "--yes", "--kept", &name]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.error.contains("is ambiguous"), "{}", ran.error);
    let full = format!("{}:{name}", other.0);
    assert_eq!(run(&["clean", "--yes", "--kept", &full]).status, 0);
    let ran = run(&["clean", "--yes", "--kept", &name]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(!exists(&prefix, &format!("{name}~d")), "{}", ran.out);
}

#[test]
fn a_doctor_names_a_reader_that_is_away_and_how_to_remove_it() {
    let prefix = Prefix::new();
    let name = format!("{}:full", prefix.0);
    let ring = prefix.ring().capacity(4096).open("full").unwrap();
    drop(ring.durable::<u64>("log").unwrap());
    let mut out = ring.publisher::<u64>().unwrap();
    while out.try_send(&1).is_ok() {}
    drop((out, ring));
    let doctor = run(&["doctor", "--quick"]).out;
    let line = format!("{name}: durable \"log\" of process {}", std::process::id());
    assert!(doctor.contains(&line), "{doctor}");
    let remedy = format!("packetring clean --kept {name} --durable \"log\"");
    assert!(doctor.contains(&remedy), "{doctor}");
    assert!(run(&["inspect", &name]).out.contains(&remedy));
    assert_eq!(run(&["clean", "--kept", &name, "--durable", "log", "--yes"]).status, 0);
}

#[test]
fn kept_objects_that_a_process_uses_stay() {
    let prefix = Prefix::new();
    let name = format!("{}:live", prefix.0);
    let ring = prefix.ring().open("live").unwrap();
    drop(ring.durable::<u64>("log").unwrap());
    let ran = run(&["clean", "--yes", "--kept", &name]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(is_used_by_this_process(&ran.out), "{}", ran.out);
    assert!(exists(&prefix, "live"));
    drop(ring);
    assert_eq!(run(&["clean", "--yes", "--kept", &name]).status, 0);
    assert!(!exists(&prefix, "live"));
}

#[test]
fn a_durable_subscriber_that_is_away_goes_alone() {
    let prefix = Prefix::new();
    let name = format!("{}:live", prefix.0);
    let ring = prefix.ring().open("live").unwrap();
    let log = ring.durable::<u64>("log").unwrap();
    ring.publisher::<u64>().unwrap().send(&7).unwrap();
    let clean = |arguments: &[&str]| run(&[&["clean", "--kept", &name], arguments].concat());
    let ran = clean(&["--durable", "log", "--yes"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(is_used_by_this_process(&ran.out), "{}", ran.out);
    drop(log);
    let ran = clean(&["--durable", "log"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("live, durable \"log\"  64 B  away; loses 1 packet"), "{}", ran.out);
    let wrong = clean(&["--durable", "other", "--yes"]);
    assert!(wrong.error.contains("has no durable subscriber \"other\""), "{wrong:?}");
    assert_eq!(run(&["clean", "--durable", "log"]).status, 2);
    let kept = || run(&["ls", "--json", &name]).result()["objects"][0]["kept"].clone();
    assert_eq!(kept()["durable"][0], "log");
    assert_eq!(clean(&["--durable", "log", "--yes"]).status, 0);
    assert!(kept().is_null() && exists(&prefix, "live"));
    drop(ring);
}

#[test]
fn a_cluster_goes_as_a_whole_once_no_worker_lives() {
    let prefix = Prefix::new();
    let cluster = format!("{}:shop", prefix.0);
    let mut child = start_ready("work", &[&prefix.0, "shop", "web"]);
    let billing = Worker::builder().prefix(&prefix.0).join("shop", "billing").unwrap();
    let inbox = billing.inbox().unwrap();
    billing.send_to("billing", &7_u64).unwrap();
    billing.queue_publisher::<u64>("jobs").unwrap().send(&8).unwrap();
    drop((inbox, billing));
    let ran = run(&["clean", "--yes", "--kept", &cluster]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains(&format!("process {} uses it", child.id())), "{}", ran.out);
    assert!(ran.out.contains("a process uses its cluster"), "{}", ran.out);
    assert!(exists(&prefix, "shop~q.jobs"));
    let ran = run(&["clean", "--yes", "--kept", &format!("{cluster}/inbox/billing")]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.error.contains(&format!("`packetring clean --kept {cluster}`")), "{}", ran.error);

    child.kill().unwrap();
    child.wait().unwrap();
    let ran = crate::support::eventually("a cluster without a process", || {
        let ran = run(&["clean", "--kept", &cluster, "--yes"]);
        (ran.status == 0).then_some(ran)
    });
    assert!(ran.out.contains("loses 1 message for \"inbox\""), "{}", ran.out);
    assert!(ran.out.contains("1 job without an acknowledgement"), "{}", ran.out);
    assert!(ran.out.contains("workers: billing"), "{}", ran.out);
    assert!(!exists(&prefix, "shop~q.jobs") && !exists(&prefix, "shop~d"));
}
