//! Prefixes of names: applications with one name for two things do not meet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use packetring::cluster::{JoinError, WorkerBuilder};
use packetring::inventory::{ObjectInfo, ObjectKind, StayReason};
use packetring::{OpenError, Ring, TryRecvError, Worker, inventory, purge_prefix};
use std::collections::BTreeSet;
use support::peer::{self, Peer, Role};
use support::unique;

/// Entry point of the child processes; does nothing without a role.
#[test]
fn peer() {
    let Some(role) = peer::role() else { return };
    let run: fn(&Role) = match role.name.as_str() {
        "by_variable" => by_variable,
        "invalid" => invalid,
        "desert" => desert,
        other => panic!("{other}"),
    };
    run(&role);
}

/// The files in shared memory that hold this text in their names.
fn files(text: &str) -> BTreeSet<String> {
    let all = std::fs::read_dir("/dev/shm").unwrap();
    let names = all.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(text)).collect()
}

fn of_prefix(prefix: &str) -> Vec<ObjectInfo> {
    let mut all = inventory().unwrap();
    all.retain(|object| object.prefix.as_deref() == Some(prefix));
    all
}

// ── Isolation ──────────────────────────────────────────────────────────────────────────────────

#[test]
fn rings_of_two_prefixes_do_not_meet() {
    let name = unique("prefix");
    let open = |prefix: &str| Ring::builder().prefix(prefix).open(&name).unwrap();
    let rings = [open("a"), open("b"), open("")];
    let mut readers = rings.each_ref().map(|ring| ring.subscriber::<u64>().unwrap());
    rings[0].publisher::<u64>().unwrap().send(&7).unwrap();
    assert_eq!(*readers[0].try_recv().unwrap(), 7);
    for other in &mut readers[1..] {
        assert!(matches!(other.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)));
    }
    assert!(rings.iter().all(|ring| ring.name() == name));
    // Without a prefix the file has the old name.
    let expected = [format!("packetring.a:{name}"), format!("packetring.b:{name}")];
    let plain = format!("packetring.{name}");
    assert_eq!(files(&name), expected.into_iter().chain([plain]).collect());

    drop((readers, rings));
    assert_eq!(files(&name), BTreeSet::new());
    let error = Ring::builder().prefix("a").attach(&name).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("ring \"{name}\" (prefix \"a\")")), "{text}");
}

#[test]
fn a_ring_is_removed_under_its_prefix_alone() {
    let name = unique("prefix-removed");
    for prefix in ["a", ""] {
        let ring = Ring::builder().prefix(prefix).open(&name).unwrap();
        drop(ring.durable::<u64>("billing").unwrap());
    }
    assert!(!Ring::builder().prefix("b").remove(&name).unwrap());
    assert!(Ring::builder().prefix("a").remove(&name).unwrap());
    assert_eq!(files(&name), BTreeSet::from([format!("packetring.{name}")]));
    assert!(Ring::remove(&name).unwrap());
}

/// Opens an object of each kind as worker `a`, and returns the worker with all of them.
fn open_all(builder: WorkerBuilder, cluster: &str) -> (Worker, impl Sized + use<>) {
    let worker = builder.max_workers(4).join(cluster, "a").unwrap();
    let inbox = worker.inbox().unwrap();
    let topic = worker.topic("t").publisher::<u64>().unwrap();
    let queue = worker.queue_publisher::<u64>("q").unwrap();
    let service = worker.service::<u64, u64>("s").unwrap();
    let client = worker.client::<u64, u64>("s").unwrap();
    let events = worker.events().unwrap();
    (worker, (inbox, topic, queue, service, client, events))
}

const KINDS: usize = 7;

#[test]
fn clusters_of_two_prefixes_do_not_meet() {
    let cluster = unique("prefix-cluster");
    let prefixes = ["a", "b", ""];
    let workers = prefixes.map(|prefix| open_all(Worker::builder().prefix(prefix), &cluster));
    for (worker, _) in &workers {
        assert_eq!(worker.workers().len(), 1);
    }
    for prefix in ["a:", "b:", ""] {
        assert_eq!(files(&format!("packetring.{prefix}{cluster}~")).len(), KINDS, "{prefix}");
    }
    let refused = Worker::builder().prefix("a").remove_cluster(&cluster);
    assert!(matches!(refused, Err(OpenError::WorkerLives { .. })));
    assert!(!Worker::builder().prefix("c").remove_cluster(&cluster).unwrap());

    let [(a, a_objects), others @ ..] = workers;
    drop(a_objects);
    a.leave().unwrap();
    assert_eq!(files(&format!("packetring.a:{cluster}~")), BTreeSet::new());
    for prefix in ["b:", ""] {
        assert_eq!(files(&format!("packetring.{prefix}{cluster}~")).len(), KINDS, "{prefix}");
    }
    for (worker, objects) in others {
        drop(objects);
        worker.leave().unwrap();
    }
    assert_eq!(files(&cluster), BTreeSet::new());
}

#[test]
fn calls_messages_and_dead_letters_pass_under_a_prefix() {
    let cluster = unique("prefix-calls");
    let builder = || Worker::builder().prefix("p").max_workers(4);
    let undertaker = builder().join(&cluster, "undertaker").unwrap();
    let mut letters = undertaker.inbox().unwrap();
    let failing = builder().max_deliveries(1).dead_letters("undertaker");
    let worker = failing.join(&cluster, "a").unwrap();
    let mut inbox = worker.inbox().unwrap();
    undertaker.send_to("a", &7_u64).unwrap();
    drop(inbox.recv().unwrap());
    assert!(matches!(inbox.try_recv(), Err(TryRecvError::Empty)));
    letters.recv().unwrap().ack();

    let mut service = worker.service::<u64, u64>("double").unwrap();
    let mut client = undertaker.client::<u64, u64>("double").unwrap();
    let call = client.start(&21).unwrap();
    let request = service.recv().unwrap();
    let doubled = request.to_native() * 2;
    packetring::cluster::Request::reply(request, &doubled).unwrap();
    assert_eq!(*client.wait(call).unwrap(), 42);
    drop((service, client, inbox, letters));
    worker.leave().unwrap();
    undertaker.leave().unwrap();
    assert_eq!(files(&cluster), BTreeSet::new());
}

// ── The variable ───────────────────────────────────────────────────────────────────────────────

/// Opens a ring and a cluster with the prefix of the environment, and with others. Arguments: name,
/// prefix.
fn by_variable(role: &Role) {
    let [name, prefix] = &role.arguments[..] else { panic!() };
    let file = |prefix: &str| BTreeSet::from([format!("packetring.{prefix}{name}")]);
    let ring = Ring::open(name).unwrap();
    assert_eq!(files(name), file(&format!("{prefix}:")));
    Ring::attach(name).unwrap();
    drop(ring);
    assert!(!Ring::remove(name).unwrap());
    let worker = Worker::join(name, "a").unwrap();
    assert_eq!(files(name), file(&format!("{prefix}:")).iter().map(|f| f.clone() + "~d").collect());
    worker.leave().unwrap();
    // The builder wins, also with no prefix.
    let ring = Ring::builder().prefix("own").open(name).unwrap();
    assert_eq!(files(name), file("own:"));
    drop(ring);
    let worker = Worker::builder().prefix("").join(name, "a").unwrap();
    assert_eq!(files(name), BTreeSet::from([format!("packetring.{name}~d")]));
    worker.leave().unwrap();
}

#[test]
fn the_environment_gives_a_prefix() {
    let name = unique("prefix-variable");
    let run = |variable: &str, role: &str| Peer::start_under(&["env", variable], role).finish();
    run("PACKETRING_PREFIX=staging", &format!("by_variable {name} staging"));
    assert_eq!(files(&name), BTreeSet::new());
}

/// Opens names under an invalid prefix. Arguments: name.
fn invalid(role: &Role) {
    let name = &role.arguments[0];
    for error in [
        Ring::open(name).unwrap_err(),
        Ring::attach(name).unwrap_err(),
        Ring::remove(name).unwrap_err(),
        Worker::remove_cluster(name).unwrap_err(),
        match Worker::join(name, "a") {
            Err(JoinError::Open(error)) => error,
            other => panic!("{other:?}"),
        },
    ] {
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("\"a b\" in PACKETRING_PREFIX of 3 bytes"), "{text}");
    }
    Ring::builder().prefix("valid").open(name).unwrap();
    assert_eq!(files(name), BTreeSet::new());
}

#[test]
fn an_invalid_prefix_is_an_error() {
    let name = unique("prefix-invalid");
    Peer::start_under(&["env", "PACKETRING_PREFIX=a b"], &format!("invalid {name}")).finish();
    for prefix in ["a:b", "a/b", ".a", "ü", &"p".repeat(41)] {
        let error = Ring::builder().prefix(prefix).open(&name).unwrap_err();
        assert!(matches!(error, OpenError::BadSettings { .. }), "{error:?}");
        let error = Worker::builder().prefix(prefix).join(&name, "a").unwrap_err();
        assert!(matches!(error, JoinError::Open(OpenError::BadSettings { .. })), "{error:?}");
        assert!(matches!(purge_prefix(prefix), Err(OpenError::BadSettings { .. })));
    }
    assert_eq!(files(&name), BTreeSet::new());
}

// ── The list ───────────────────────────────────────────────────────────────────────────────────

/// Ends this process with a ring and a cluster open. Arguments: prefix.
fn desert(role: &Role) {
    let prefix = &role.arguments[0];
    let _ring = Ring::builder().prefix(prefix).open("r").unwrap();
    let _cluster = open_all(Worker::builder().prefix(prefix), "c:d");
    std::process::exit(0);
}

#[test]
fn objects_are_listed_and_purged_by_prefix() {
    let [one, other] = [unique("one"), unique("other")];
    for prefix in [&one, &other] {
        Peer::start(&format!("desert {prefix}")).finish();
    }
    let found = of_prefix(&one);
    assert_eq!(found.len(), KINDS + 1);
    for object in &found {
        let (cluster, name) = (object.cluster.as_deref(), &*object.name);
        match object.kind {
            ObjectKind::Ring => assert_eq!((cluster, name), (None, "r")),
            _ => assert_eq!(cluster, Some("c:d")),
        }
        assert!(object.to_string().ends_with(&format!("(prefix {one:?})")), "{object}");
    }
    let living = Ring::builder().prefix(&one).open("living").unwrap();
    let purged = purge_prefix(&one).unwrap();
    let is_own = |object: &ObjectInfo| object.prefix.as_ref() == Some(&one);
    assert!(purged.removed.iter().all(is_own));
    let stays: BTreeSet<_> = purged
        .stays
        .iter()
        .inspect(|(object, _)| assert!(is_own(object)))
        .map(|(object, reason)| (object.name.clone(), matches!(reason, StayReason::InUse)))
        .collect();
    // The directory and the inbox keep a worker.
    let kept = [(String::new(), false), ("a".to_owned(), false), ("living".to_owned(), true)];
    assert_eq!(stays, kept.into());
    assert_eq!(of_prefix(&other).len(), KINDS + 1);
    drop(living);
    for prefix in [&one, &other] {
        assert!(Worker::builder().prefix(prefix).remove_cluster("c:d").unwrap());
        let _ = purge_prefix(prefix).unwrap();
        assert_eq!(files(prefix), BTreeSet::new());
    }
}
